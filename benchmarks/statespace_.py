"""This library: eager, inside ``tf.function``, and inside ``tf.function(jit_compile=True)``.

The model is built inside the timed call, as in an optimiser's loop, where every call brings new
parameters.
"""

import textwrap

import tensorflow as tf
from workloads import Workload

import statespace as ss
from statespace import native

# Every case is a new tf.function, on purpose; TensorFlow would warn of retracing.
tf.get_logger().setLevel("ERROR")


def versions() -> dict[str, str]:
    return {"statespace": "\n" + textwrap.indent(ss.config.describe(), "  ")}


def cases(workload: Workload, job: str) -> dict:
    """Calls by column, each returning the job's results (see ``rivals.py``).

    Without the compiled library the reference implementation is timed, in ``tf.function`` only:
    eagerly it takes seconds. Without the XLA bridge there is no ``jit``: XLA would compile the
    reference.
    """
    parameters = {name: tf.constant(value) for name, value in workload.parameters.items()}
    y = tf.constant(workload.y)
    eager = _JOBS[job](workload)
    function = tf.function(eager)
    calls = {"function": lambda: function(parameters, y)}
    if ss.config.native_available():
        calls["eager"] = lambda: eager(parameters, y)
    if native.bridge_failure() is None:
        jit = tf.function(eager, jit_compile=True)
        calls["jit"] = lambda: jit(parameters, y)
    return calls


def _log_likelihood(workload):
    return lambda parameters, y: (ss.log_likelihood(ss.LinearGaussianSSM(**parameters), y),)


def _gradient(workload):
    def run(parameters, y):
        wanted = [parameters[name] for name in workload.gradient_of]
        with tf.GradientTape() as tape:
            tape.watch(wanted)
            total = tf.reduce_sum(ss.log_likelihood(ss.LinearGaussianSSM(**parameters), y))
        return total, *tape.gradient(total, wanted)

    return run


def _smooth(workload):
    def run(parameters, y):
        result = ss.kalman_smoother(ss.LinearGaussianSSM(**parameters), y, lag_one=False)
        return result.smoothed_mean, result.smoothed_covariance

    return run


_JOBS = {"log-likelihood": _log_likelihood, "gradient": _gradient, "smooth": _smooth}
