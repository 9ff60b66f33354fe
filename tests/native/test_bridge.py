"""The compiled ops inside XLA: same bits as outside, clear refusals, loading at any time."""

import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from contracts.operators import OPERATORS
from kalman.models import floating

import statespace as ss
from statespace import native

FORMS = [name for name in ss.kalman.ALGORITHMS if name not in ("auto", "reference")]


@pytest.fixture(autouse=True)
def bridge():
    """Skips where the bridge is missing: building it takes a minute, `make test` does it first."""
    if native.bridge_failure() is not None:
        pytest.skip(native.bridge_failure())


def _random(rng, dtype, *shape):
    return tf.constant(rng.standard_normal(shape), dtype)


def _positive_definite(rng, dtype, *batch, n):
    root = rng.standard_normal((*batch, n, n))
    return tf.constant(root @ np.swapaxes(root, -1, -2) + np.eye(n), dtype)


def _model(rng, dtype):
    n, m = 3, 2
    return ss.LinearGaussianSSM(
        transition_matrix=0.5 * _random(rng, dtype, n, n),
        transition_scale=_random(rng, dtype, n, n),
        observation_matrix=_random(rng, dtype, m, n),
        observation_scale=_random(rng, dtype, m, m),
        initial_mean=_random(rng, dtype, n),
        initial_scale=_random(rng, dtype, n, n),
    )


def _public_calls(rng, dtype):
    """Calls that, with their gradients, run every op of the table at least once.

    The last matrix of each call is one to fail on, and an observation is missing: failure statuses
    and NaN must come out the same as well.
    """
    for operator in OPERATORS:
        arguments = operator.make(rng, (6,), dtype.as_numpy_dtype)
        if operator.spoil is not None:
            arguments[0][-1] = operator.spoil(arguments[0][-1])
        arguments = [tf.constant(x) for x in arguments]
        yield lambda f=operator.apply, x=arguments: f(*x), arguments
    ssm = _model(rng, dtype)
    y = _random(rng, dtype, 2, 7, 2).numpy()
    y[0, 3, 0] = np.nan
    y = tf.constant(y)
    for algorithm in FORMS:
        kind = {"algorithm": algorithm}
        yield lambda x=kind: ss.log_likelihood(ssm, y, **x), [y, *ssm.parameters()]
        yield lambda x=kind: ss.log_likelihood(ssm, y, per_step=True, **x), [y, *ssm.parameters()]
        # The gradients of these are ops of the table in one form alone.
        inputs = [y, *ssm.parameters()] if algorithm == "covariance" else []
        yield lambda x=kind: ss.kalman_filter(ssm, y, **x), inputs
        yield lambda x=kind: ss.kalman_smoother(ssm, y, **x), inputs
        yield lambda x=kind: ss.kalman_smoother(ssm, y, lag_one=False, **x), inputs


class _Recorder:
    """Stands in for the module of op wrappers and keeps what they are called with."""

    def __init__(self, ops):
        self.calls = []
        self._ops = ops

    def __getattr__(self, name):
        wrapper = getattr(self._ops, name)

        def recording(*arguments, **attributes):
            self.calls.append((name, wrapper, arguments, attributes))
            return wrapper(*arguments, **attributes)

        return recording


def _op_names():
    """Names in the table of ops/api.h, as Python spells the wrappers."""
    api = native.api()
    names = [op.name.decode() for op in api.ops[: api.num_ops]]
    return {re.sub("([A-Z])", r"_\1", name).lower().lstrip("_") for name in names}


def _one_of_each(recorded):
    """The first call of each op with each choice of attributes."""
    calls = {(call[0], str(call[-1])): call for call in reversed(recorded)}
    return calls.values()


@pytest.fixture
def recorded(monkeypatch, request):
    """Every call of a compiled op that the public calls and their gradients make, in a dtype."""
    recorder = _Recorder(native.library())
    monkeypatch.setattr(native, "_load", lambda: (recorder, None))
    for function, inputs in _public_calls(np.random.default_rng(0), request.param):
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            outputs = function()
        tape.gradient(floating(outputs), inputs)
    return recorder.calls


@pytest.mark.parametrize("recorded", [tf.float32, tf.float64], indirect=True, ids=lambda x: x.name)
def test_every_op_gives_the_same_bits_inside_xla(recorded):
    for name, wrapper, arguments, attributes in _one_of_each(recorded):

        def call(*arguments, wrapper=wrapper, attributes=attributes):
            return wrapper(*arguments, **attributes)

        outside = tf.nest.flatten(call(*arguments))
        inside = tf.nest.flatten(tf.function(call, jit_compile=True)(*arguments))
        for expected, got in zip(outside, inside, strict=True):
            assert (got.dtype, got.shape) == (expected.dtype, expected.shape), name
            assert got.numpy().tobytes() == expected.numpy().tobytes(), name
    assert {name for name, *_ in recorded} == _op_names(), "an op that no row or call reaches"


def test_gradient_of_a_jitted_likelihood():
    ssm, y = (
        _model(np.random.default_rng(1), tf.float64),
        tf.random.stateless_normal([9, 2], [1, 2]),
    )
    y = tf.cast(y, tf.float64)

    def value_and_gradients(y, parameters):
        with tf.GradientTape() as tape:
            tape.watch(parameters)
            value = ss.log_likelihood(ss.LinearGaussianSSM(**parameters), y)
        return value, tape.gradient(value, parameters)

    names = ("transition_matrix", "transition_scale", "observation_matrix", "observation_scale")
    parameters = {name: getattr(ssm, name) for name in (*names, "initial_mean", "initial_scale")}
    expected = value_and_gradients(y, parameters)
    got = tf.function(value_and_gradients, jit_compile=True)(y, parameters)
    for want, have in zip(tf.nest.flatten(expected), tf.nest.flatten(got), strict=True):
        np.testing.assert_allclose(have, want, rtol=1e-12, atol=1e-12)


def test_gradient_taken_outside_a_jitted_function():
    a = _positive_definite(np.random.default_rng(2), tf.float64, n=4)
    gradients = []
    for function in (
        ss.linalg_ops.cholesky,
        tf.function(ss.linalg_ops.cholesky, jit_compile=True),
    ):
        with tf.GradientTape() as tape:
            tape.watch(a)
            value = function(a)
        gradients.append(tape.gradient(value, a))
    np.testing.assert_array_equal(*gradients)


def test_empty_batches_and_scalar_results():
    empty = tf.zeros([0, 3, 3], tf.float64)
    assert tf.function(ss.linalg_ops.cholesky, jit_compile=True)(empty).shape == (0, 3, 3)
    ssm = _model(np.random.default_rng(3), tf.float64)
    likelihood = tf.function(lambda y: ss.log_likelihood(ssm, y), jit_compile=True)
    assert likelihood(tf.zeros([0, 2], tf.float64)).numpy() == 0.0
    assert likelihood(tf.zeros([5, 2], tf.float64)).shape == ()


def test_next_to_a_matrix_product():
    """XLA emits a product by looking at its neighbours, our call included (see xla_kernels.cc)."""
    a = _positive_definite(np.random.default_rng(4), tf.float64, n=4)

    def function(a):
        return ss.linalg_ops.cholesky(a @ a) @ a

    np.testing.assert_allclose(tf.function(function, jit_compile=True)(a), function(a), rtol=1e-10)


def test_column_major_operand():
    """XLA may choose to keep a transpose as a mere change of layout."""
    a = _random(np.random.default_rng(5), tf.float64, 3, 7)

    def function(a):
        return ss.linalg_ops.lq(tf.transpose(tf.transpose(a) + 1.0))[0]

    np.testing.assert_array_equal(tf.function(function, jit_compile=True)(a), function(a))


def _error(function, *arguments, signature):
    """The message with which a jitted function refuses arguments of a shape unknown to tracing."""
    with pytest.raises(tf.errors.InvalidArgumentError) as error:
        tf.function(function, jit_compile=True, input_signature=signature)(*arguments)
    return error.value.message


def test_wrong_shape_is_named():
    unknown = [tf.TensorSpec([None, None])]
    message = _error(native.library().statespace_cholesky, tf.zeros([2, 3]), signature=unknown)
    assert "StatespaceCholesky" in message
    assert "2" in message
    assert "3" in message


def test_too_many_axes_are_refused():
    message = _error(
        native.library().statespace_cholesky,
        tf.zeros([1] * 13),
        signature=[tf.TensorSpec(None)],
    )
    assert "13" in message
    assert "12" in message


def test_shape_known_at_run_time_only_is_refused():
    def function(a):
        return ss.linalg_ops.cholesky(tf.boolean_mask(a, a[:, 0, 0] > 0))

    message = _error(function, tf.eye(3, batch_shape=[4]), signature=[tf.TensorSpec([None, 3, 3])])
    assert "StatespaceCholesky: input a has a shape that is only known when" in message


def test_loads_after_xla_was_used():
    """In a fresh process: other functions are compiled first, then the library is loaded, twice."""
    script = """
        import tensorflow as tf
        double = tf.function(lambda x: x + x, jit_compile=True)
        double(tf.ones([2]))

        import statespace as ss
        from statespace import native
        from statespace.native import xla

        cholesky = tf.function(ss.linalg_ops.cholesky, jit_compile=True)
        print(cholesky(tf.constant([[4.0]])).numpy(), native.bridge_failure())
        print(xla.load(native.LIBRARY_PATH))
    """
    root = str(Path(ss.__file__).parents[1])
    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        env={**os.environ, "PYTHONPATH": root},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines() == ["[[2.]] None", "None"]
