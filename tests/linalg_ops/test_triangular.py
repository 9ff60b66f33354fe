"""Triangular systems and products: what fails, and what a failure leaves alone."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from statespace import linalg_ops

SIDES = [
    dict(zip(("lower", "adjoint", "right_side"), values, strict=True))
    for values in itertools.product((True, False), repeat=3)
]


@pytest.mark.parametrize("n", [3, 40])
@pytest.mark.parametrize("sides", SIDES)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_triangle_that_is_not_finite_fails(n, sides, bad, native):
    """Wherever in the triangle; what stands in the other one is not read."""
    rng = np.random.default_rng(0)
    keep = np.tril if sides["lower"] else np.triu
    l = keep(rng.normal(size=(4, n, n))) + 3 * np.sqrt(n) * np.eye(n)
    b = rng.normal(size=(4, 2, n) if sides["right_side"] else (4, n, 2))
    good = linalg_ops.triangular_solve(l, b, **sides).numpy()
    row, column = (n - 1, 0) if sides["lower"] else (0, n - 1)
    l[1, row, column] = bad
    l[2, 1, 1] = bad
    l[3, column, row] = bad
    x = linalg_ops.triangular_solve(l, b, **sides).numpy()
    assert np.all(np.isnan(x[1:3]))
    np.testing.assert_array_equal(x[[0, 3]], good[[0, 3]])


@pytest.mark.parametrize("operator", ["triangular_solve", "triangular_multiply", "cholesky_solve"])
@pytest.mark.parametrize("in_b", [False, True])
def test_an_unused_failure_stays_out_of_derivatives(operator, in_b, native):
    """Also of the second one, and by a number that all items share."""
    rng = np.random.default_rng(1)
    l = np.tril(rng.normal(size=(2, 3, 3))) + 3 * np.eye(3)
    b = rng.normal(size=(2, 3, 1))
    (b if in_b else l)[1, 2, 0] = np.nan
    shared = tf.constant(0.3, tf.float64)
    with tf.GradientTape() as outer:
        outer.watch(shared)
        with tf.GradientTape() as inner:
            inner.watch(shared)
            x = getattr(linalg_ops, operator)(l + shared * np.eye(3), b + shared**2)
            value = tf.reduce_sum(x[0] ** 2)
        gradient = inner.gradient(value, shared)
    assert np.isfinite(gradient)
    assert np.isfinite(outer.gradient(gradient, shared))


def test_second_derivatives_of_products_of_unlike_batches(native):
    """TensorFlow's own product of these shapes corrupts the heap (2.21, float32, with oneDNN)."""
    l, b = tf.ones([1, 1, 17, 17]), tf.ones([17, 1, 2, 17])
    with tf.GradientTape() as outer:
        outer.watch([l, b])
        with tf.GradientTape() as inner:
            inner.watch([l, b])
            x = linalg_ops.triangular_multiply(l, b, right_side=True, adjoint=True)
            value = tf.reduce_sum(tf.square(x))
        l_bar, b_bar = inner.gradient(value, [l, b])
    assert l_bar.shape == l.shape
    assert b_bar.shape == b.shape
    # value is quadratic in B, so its Hessian times B is its gradient.
    product = outer.gradient(b_bar, b, output_gradients=b)
    np.testing.assert_allclose(product, b_bar, rtol=1e-5)
