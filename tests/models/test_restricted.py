"""Coordinates of stationary processes with zeros: complete, smooth, and always stationary."""

import numpy as np
import pytest
import tensorflow as tf
from oracles import finite_differences

from statespace.models.parameters import InvertibleCoefficients, StationaryCoefficients
from statespace.models.restricted import placed, restricted_bijector
from statespace.models.stationary import block_companion

CASES = {
    "one lag": (((3,),), (4,)),
    "lags 1 and 4": (((0,), (3,)), (4,)),
    "lags 2 and 3": (((1,), (2,)), (3,)),
    "lags 1, 6 and 7": (((0,), (5,), (6,)), (7,)),
    "triangular": (((0, 0, 0), (0, 1, 0), (0, 1, 1)), (1, 2, 2)),
    "nilpotent": (((0, 0, 1),), (1, 2, 2)),
    "two lags of two series": (((0, 0, 1), (1, 1, 0), (1, 1, 1)), (2, 2, 2)),
}
every_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())


def largest_root(coefficients, case):
    """Of the process, the largest size of an eigenvalue of its transition."""
    full = placed(coefficients, *case).numpy()
    if len(case[1]) == 1:
        full = full[..., np.newaxis, np.newaxis]
    return np.abs(np.linalg.eigvals(block_companion(tf.constant(full)).numpy())).max(axis=-1)


@every_case
@pytest.mark.parametrize("size", [0.1, 1.0, 4.0])
def test_all_coordinates_belong_to_stationary_processes(case, size):
    generator = np.random.default_rng(0)
    x = np.clip(generator.normal(scale=size, size=(60, len(case[0]))), -9, 9)
    coefficients = restricted_bijector(*case).forward(tf.constant(x)).numpy()
    assert np.isfinite(coefficients).all()
    assert largest_root(coefficients, case).max() < 1


@every_case
@pytest.mark.parametrize("root", [0.1, 0.9, 0.9999])
def test_all_stationary_processes_have_coordinates(case, root):
    """Coefficients scaled lag by lag until the largest root is where it is wanted."""
    bijector, lags = restricted_bijector(*case), np.array([place[0] + 1 for place in case[0]])
    coefficients = np.random.default_rng(1).normal(size=(40, len(lags)))
    if (largest := largest_root(coefficients, case)).all():
        coefficients *= (root / largest)[:, np.newaxis] ** lags
    x = bijector.inverse(tf.constant(coefficients)).numpy()
    again = bijector.forward(tf.constant(x)).numpy()
    np.testing.assert_allclose(again, coefficients, rtol=0, atol=1e-9)


@every_case
def test_coordinates_of_zero_are_zero_coefficients(case):
    zero = tf.zeros(len(case[0]), tf.float64)
    np.testing.assert_array_equal(restricted_bijector(*case).forward(zero), zero)


@pytest.mark.parametrize(
    "case",
    [
        # Tracing takes long; one of each kind is enough by default.
        pytest.param(
            case,
            id=name,
            marks=[pytest.mark.slow] * (name not in ("lags 1 and 4", "triangular")),
        )
        for name, case in CASES.items()
    ],
)
def test_two_derivatives_and_the_log_determinant(case):
    bijector, k = restricted_bijector(*case), len(case[0])
    along, across = np.random.default_rng(3).normal(size=(2, k))

    @tf.function(autograph=False)
    def slope(x, direction):
        with tf.GradientTape() as tape:
            tape.watch(x)
            total = tf.reduce_sum(direction * bijector.forward(x + 0.0))
        return tape.gradient(total, x)

    @tf.function(autograph=False)
    def curvature(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            total = tf.reduce_sum(across * slope(x, along))
        return tape.gradient(total, x)

    for x in (np.random.default_rng(2).normal(size=k), np.full(k, 1e-3)):
        point = tf.constant(x)
        [expected] = finite_differences.gradient(
            lambda x: along @ bijector.forward(tf.constant(x)).numpy(), [x], step=1e-3
        )
        np.testing.assert_allclose(slope(point, along), expected, rtol=1e-6, atol=1e-9)
        [expected] = finite_differences.gradient(
            lambda x: across @ slope(tf.constant(x), along).numpy(), [x], step=1e-3
        )
        np.testing.assert_allclose(curvature(point), expected, rtol=1e-6, atol=1e-8)
        jacobian = [slope(point, direction) for direction in np.eye(k)]
        log_det = bijector.forward_log_det_jacobian(point)
        np.testing.assert_allclose(log_det, np.linalg.slogdet(jacobian)[1], rtol=1e-8, atol=1e-12)


def test_a_single_coefficient_has_the_coordinate_of_a_first_order():
    """Whatever its lag, the inverse hyperbolic tangent."""
    x = tf.constant(np.linspace(-8.0, 8.0, 9)[:, np.newaxis])
    for parameter in (
        StationaryCoefficients("x", shape=(1,), lags=(1,)),
        StationaryCoefficients("x", shape=(1,), lags=(7,)),
    ):
        np.testing.assert_allclose(parameter.bijector.forward(x), np.tanh(x), rtol=1e-12)
    moving = InvertibleCoefficients("x", shape=(1,), lags=(4,))
    np.testing.assert_allclose(moving.bijector.forward(x), -np.tanh(x), rtol=1e-12)
