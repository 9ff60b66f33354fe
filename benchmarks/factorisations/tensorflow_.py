"""Stock TensorFlow: inside ``tf.function``, without and with ``jit_compile=True``."""

import tensorflow as tf

# Every column is a new tf.function, on purpose; TensorFlow would warn of retracing.
tf.get_logger().setLevel("ERROR")

# Where XLA is tried: below, calls into a library cost little; above, it takes minutes.
XLA_SIZES = range(8, 65)

LAYOUTS = {"lq": "qr"}
OPERATORS = {
    "cholesky": lambda a: (tf.linalg.cholesky(a),),
    "lq": lambda a: tuple(tf.linalg.qr(a)),
    "eigh": lambda a: tuple(tf.linalg.eigh(a)),
    "triangular_solve": lambda l, b: (tf.linalg.triangular_solve(l, b),),
    "triangular_multiply": lambda l, b: (tf.matmul(l, b),),
    "cholesky_inverse": lambda l: (
        tf.linalg.cholesky_solve(l, tf.eye(l.shape[-1], batch_shape=l.shape[:-2], dtype=l.dtype)),
    ),
    "cholesky_solve": lambda l, b: (tf.linalg.cholesky_solve(l, b),),
    "inverse": lambda a: (tf.linalg.inv(a),),
    "det": lambda a: (tf.linalg.det(a),),
}


def versions() -> dict[str, str]:
    return {"tensorflow": tf.__version__}


def columns(name: str, n: int) -> dict:
    if name not in OPERATORS:
        return {}
    ways = {"TF graph": maker(OPERATORS[name], tf.function)}
    if n in XLA_SIZES:
        ways["TF XLA"] = maker(OPERATORS[name], jitted)
    return ways


def bare_calls(problem, job) -> dict:
    """Calls, by way of compiling them, of the least that can stand in the operator's place.

    It makes results of the same shapes by one elementwise pass over the arguments, and its
    gradient is another one: whatever an operator computes, its call costs no less.
    """

    def elementwise(*arguments):
        x = tf.subtract(*arguments) if len(arguments) == 2 else tf.negative(arguments[0])
        return tuple(
            x if result.ndim == x.shape.rank else x[..., 0] for result in problem.cotangents
        )

    cotangents = problem.cotangents if job == "gradient" else None
    ways = {"eager": lambda call: call, "function": tf.function, "jit": jitted}
    calls = {k: maker(elementwise, way)(problem.arguments, cotangents) for k, way in ways.items()}
    for call in calls.values():
        call()  # compiles
    return calls


def jitted(function):
    return tf.function(function, jit_compile=True)


def maker(operator, compile_function):
    """The ``make`` of a column (see ``libraries.py``) from an operator on tensors."""

    def make(arguments, cotangents):
        arguments = [tf.constant(array) for array in arguments]
        if cotangents is None:
            forward = compile_function(operator)
            return lambda: forward(*arguments)
        cotangents = [tf.constant(array) for array in cotangents]
        gradient = compile_function(lambda *arrays: _gradient(operator, *arrays))
        return lambda: gradient(arguments, cotangents)

    return make


def _gradient(operator, arguments, cotangents):
    with tf.GradientTape() as tape:
        tape.watch(arguments)
        results = operator(*arguments)
    return *results, *tape.gradient(results, arguments, output_gradients=cotangents)
