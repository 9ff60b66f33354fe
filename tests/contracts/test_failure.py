"""The failure rule: what cannot be done spoils its own matrix, in all its outputs, and no other."""

import re

import numpy as np
import pytest
import tensorflow as tf
from contracts.operators import REPRESENTATIVES
from contracts.table import outputs

from statespace import linalg_ops

representatives = pytest.mark.parametrize("operator", REPRESENTATIVES, ids=lambda op: op.name)
of_several_arguments = pytest.mark.parametrize(
    "operator", [op for op in REPRESENTATIVES if len(op.core_dims) > 1], ids=lambda op: op.name
)
BAD = 2


def results_and_gradients(operator, arguments, weights):
    """Outputs, and the gradients of their sum with weights per batch item."""
    variables = [tf.constant(x) for x in arguments]
    with tf.GradientTape() as tape:
        tape.watch(variables)
        results = outputs(operator.apply(*variables))
    cotangents = [
        tf.ones_like(x) * np.reshape(weights, [5] + [1] * (x.shape.rank - 1)) for x in results
    ]
    return results, tape.gradient(results, variables, cotangents)


def assert_neighbours_equal(got, expected):
    """To the last bit, the sign of a zero included."""
    for x, y in zip(got, expected, strict=True):
        x, y = np.delete(x, BAD, axis=0), np.delete(y, BAD, axis=0)
        assert x.tobytes() == y.tobytes()


@representatives
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_no_entry_of_the_input_leaks(operator, dtype, native):
    """NaN or an infinity in each entry in turn of each argument: no other matrix changes a bit."""
    clean = operator.make(np.random.default_rng(0), (5,), dtype)
    expected, expected_gradients = results_and_gradients(operator, clean, np.ones(5))
    for which, x in enumerate(clean):
        for i, entry in enumerate(np.ndindex(*x.shape[1:])):
            arguments = [x.copy() for x in clean]
            arguments[which][(BAD, *entry)] = (np.nan, np.inf, -np.inf)[i % 3]
            results, gradients = results_and_gradients(operator, arguments, np.ones(5))
            assert_neighbours_equal(results, expected)
            assert_neighbours_equal(gradients, expected_gradients)


@representatives
@pytest.mark.parametrize("how", ["spoil", "nan", "inf"])
def test_unused_failure_has_zero_gradient(operator, how, native):
    if operator.spoil is None:
        pytest.skip("nothing can fail")
    arguments = operator.make(np.random.default_rng(0), (5,), np.float64)
    used = np.arange(5) != BAD
    _, expected = results_and_gradients(operator, arguments, used)
    spoilt = operator.spoil(arguments[0][BAD])
    arguments[0][BAD] = {"spoil": spoilt, "nan": np.nan, "inf": np.inf}[how]
    results, gradients = results_and_gradients(operator, arguments, used)
    if how == "spoil":
        assert all(np.all(np.isnan(x[BAD])) for x in results)
    for x in gradients:
        np.testing.assert_array_equal(x[BAD], 0.0)
    assert_neighbours_equal(gradients, expected)


@representatives
def test_used_failure_has_no_finite_gradient(operator, native):
    """It is NaN: a finite one would be a number from nowhere."""
    if operator.spoil is None:
        pytest.skip("nothing can fail")
    arguments = operator.make(np.random.default_rng(0), (5,), np.float64)
    arguments[0][BAD] = operator.spoil(arguments[0][BAD])
    _, gradients = results_and_gradients(operator, arguments, np.ones(5))
    assert any(np.any(np.isnan(x[BAD])) for x in gradients)
    for x in gradients:
        assert np.all(np.isfinite(np.delete(x, BAD, axis=0)))


@representatives
def test_second_derivative_of_an_unused_failure(operator, native):
    if operator.spoil is None:
        pytest.skip("nothing can fail")
    arguments = operator.make(np.random.default_rng(0), (5,), np.float64)
    arguments[0][BAD] = operator.spoil(arguments[0][BAD])
    variables = [tf.constant(x) for x in arguments]
    used = [i for i in range(5) if i != BAD]
    with tf.GradientTape() as outer:
        outer.watch(variables)
        with tf.GradientTape() as tape:
            tape.watch(variables)
            results = outputs(operator.apply(*variables))
            value = tf.add_n([tf.reduce_sum(tf.square(tf.gather(x, used))) for x in results])
        gradients = tape.gradient(value, variables)
        slope = tf.add_n([tf.reduce_sum(tf.square(tf.gather(x, used))) for x in gradients])
    for x in outer.gradient(slope, variables):
        assert np.all(np.isfinite(x))
        np.testing.assert_array_equal(x[BAD], 0.0)


@representatives
@pytest.mark.parametrize("batch", [(0,), (2, 0, 3)])
def test_empty_batches(operator, batch, native):
    variables = [tf.constant(x) for x in operator.make(np.random.default_rng(0), batch, np.float64)]
    with tf.GradientTape() as tape:
        tape.watch(variables)
        results = outputs(operator.apply(*variables))
    assert all(x.shape[: len(batch)] == batch for x in results)
    for x, y in zip(tape.gradient(results, variables), variables, strict=True):
        assert x.shape == y.shape


@of_several_arguments
def test_broadcasting(operator, native):
    """Batch axes broadcast; the gradient of what was broadcast is summed."""
    rng = np.random.default_rng(0)
    for batches in (((), (3,)), ((3,), ()), ((2, 1), (3,)), ((1,), (4,)), ((2, 3), (1, 3))):
        batches = (*batches, *[()] * (len(operator.core_dims) - 2))
        variables = [
            tf.constant(operator.make(rng, batch, np.float64)[i]) for i, batch in enumerate(batches)
        ]
        full = np.broadcast_shapes(*batches)
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(variables)
            results = outputs(operator.apply(*variables))
            spread = [tf.broadcast_to(x, (*full, *x.shape[-2:])) for x in variables]
            expected = outputs(operator.apply(*spread))
        for x, y in zip(results, expected, strict=True):
            np.testing.assert_array_equal(x, y)
        for x, y in zip(
            tape.gradient(results, variables), tape.gradient(expected, variables), strict=True
        ):
            np.testing.assert_allclose(x, y, rtol=1e-12, atol=1e-12)


# The public functions that take on_failure: a call that fails at batch index [1, 0].
def _indefinite():
    a = np.broadcast_to(np.eye(3), (2, 2, 3, 3)).copy()
    a[1, 0, 1, 1] = -1.0
    return a


RAISING = {"cholesky": (_indefinite, r"leading minor\]? \[?2")}


@pytest.mark.parametrize("name", RAISING)
@pytest.mark.parametrize("mode", ["eager", "graph", "unknown"])
def test_raises_by_name(name, mode, native):
    make, minor = RAISING[name]

    def function(a):
        return getattr(linalg_ops, name)(a, on_failure="raise")

    if mode == "graph":
        function = tf.function(function)
    if mode == "unknown":
        signature = [tf.TensorSpec([None] * 4, tf.float64)]
        function = tf.function(function, input_signature=signature)
    with pytest.raises(tf.errors.InvalidArgumentError) as caught:
        function(tf.constant(make()))
    message = str(caught.value).replace('"', "")
    assert name in message
    assert "[1, 0]" in message or "[1 0]" in message
    assert re.search(minor, message)


@pytest.mark.parametrize("name", RAISING)
def test_cannot_raise_inside_xla(name, native):
    make, _ = RAISING[name]

    @tf.function(jit_compile=True)
    def function(a):
        return getattr(linalg_ops, name)(a, on_failure="raise")

    result = function(tf.constant(make()))
    assert np.all(np.isnan(result[1, 0]))
    assert np.all(np.isfinite(result[0]))
