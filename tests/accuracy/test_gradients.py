"""Accuracy of the gradients: differences, float32 against float64, ill-conditioned cases."""

import contextlib

import numpy as np
import pytest
import tensorflow as tf
from accuracy import exact
from accuracy.differentiable import DIFFERENTIABLE
from accuracy.matrices import limits
from oracles import finite_differences

from statespace import config

every_operator = pytest.mark.parametrize("operator", DIFFERENTIABLE, ids=lambda op: op.name)
SMALL = (1, 2, 3, 5, 8, 10)
SIZES = (*SMALL, 16, 17, 33, 50)


def outputs(result):
    return list(result) if isinstance(result, tuple) else [result]


def loss_weights(operator, arguments, rng):
    return [rng.normal(size=x.shape) for x in outputs(operator.apply(*arguments))]


def value(operator, weights, arguments):
    results = outputs(operator.apply(*arguments))
    return tf.add_n([tf.reduce_sum(w * x) for w, x in zip(weights, results, strict=True)])


def gradients(operator, arguments, weights, dtype=np.float64):
    variables = [tf.constant(x, dtype) for x in arguments]
    with tf.GradientTape() as tape:
        tape.watch(variables)
        total = value(operator, [tf.constant(w, dtype) for w in weights], variables)
    return [x.numpy().astype(np.float64) for x in tape.gradient(total, variables)]


def unit_directions(operator, arguments, rng):
    directions = [rng.normal(size=x.shape) for x in arguments]
    if operator.symmetric:
        directions[0] = directions[0] + directions[0].T
    return [d / max(np.linalg.norm(d), 1e-300) for d in directions]


@contextlib.contextmanager
def implementation(compiled):
    config.use_native(compiled)
    try:
        yield
    finally:
        config.use_native(True)


def skip_large_reference(n, native):
    if not native and n not in SMALL:
        pytest.skip("the reference is checked at small sizes")


@every_operator
@pytest.mark.parametrize("n", SIZES)
def test_equal_central_differences(operator, n, native):
    skip_large_reference(n, native)
    rng = np.random.default_rng(n)
    arguments = operator.make(rng, n, 10.0)
    weights = loss_weights(operator, arguments, rng)
    found = gradients(operator, arguments, weights)
    size = sum(np.linalg.norm(x) for x in found)

    def function(*arguments):
        return value(operator, weights, arguments)

    for _ in range(3):
        directions = unit_directions(operator, arguments, rng)
        expected = finite_differences.directional(function, arguments, directions, step=3e-4)
        got = sum(np.sum(g * d) for g, d in zip(found, directions, strict=True))
        assert abs(got - expected) < 1e-7 * size


@every_operator
@pytest.mark.parametrize("n", [*SIZES, 200])
def test_float32_equals_float64(operator, n, native):
    skip_large_reference(n, native)
    rng = np.random.default_rng(n)
    arguments = [x.astype(np.float32) for x in operator.make(rng, n, 10.0)]
    weights = [w.astype(np.float32) for w in loss_weights(operator, arguments, rng)]
    expected = gradients(operator, arguments, weights)
    for x, y in zip(gradients(operator, arguments, weights, np.float32), expected, strict=True):
        smallest = np.finfo(np.float32).smallest_normal  # the determinant of a large matrix
        assert np.linalg.norm(x - y) < max(2e-3 * np.linalg.norm(y), smallest)


@every_operator
@pytest.mark.parametrize("n", [2, 3, 4])
@pytest.mark.parametrize("condition", [1e8, 1e12])
def test_ill_conditioned(operator, n, condition):
    """As exact as arguments that are known to a few rounding errors allow.

    With the condition c of the map from arguments to gradient (relative, by norms), arguments that
    are off by one rounding error spoil the gradient by c units; 10 n c units are allowed.
    """
    rng = np.random.default_rng(n)
    arguments = operator.make(rng, n, condition)
    weights = loss_weights(operator, arguments, rng)
    with exact.DIGITS:
        expected, conditions = exact.sensitivity(
            operator.exact,
            [exact.matrix(x) for x in arguments],
            [exact.matrix(w) for w in weights],
            operator.symmetric,
            rng,
        )
        expected = [exact.array(x) for x in expected]
    unit = limits(np.float64).unit
    for compiled in {config.native_available(), False}:
        with implementation(compiled):
            found = gradients(operator, arguments, weights)
        for x, y, c in zip(found, expected, conditions, strict=True):
            error = np.linalg.norm(x - y) / np.linalg.norm(y)
            assert error <= 10 * n * max(c, 1.0) * unit, f"condition {c:.1e}, {compiled=}"
