"""What TensorFlow 2.21's own operators get wrong, and ours must get right: one test each."""

import logging

import numpy as np
import pytest
import tensorflow as tf

from statespace import config, linalg_ops

MATRIX = np.array([[2.0, -1.0, 0.5, 3.0], [0.3, 1.0, -2.0, 0.1], [1.0, 4.0, 0.2, -0.7]])


@pytest.mark.parametrize(
    ("dtype", "scale"),
    [(np.float64, x) for x in (1e-300, 1e-160, 1e160, 1e300)]
    + [(np.float32, x) for x in (1e-35, 1e-20, 1e20, 1e35)],
)
def test_lq_of_tiny_and_huge_entries(dtype, scale, native):
    """Stock QR: silently wrong below, NaN above, for want of scaling in the Householder norms."""
    a = (MATRIX * scale).astype(dtype)
    l, q = linalg_ops.lq(tf.constant(a))
    l, q = l.numpy().astype(np.longdouble) / scale, q.numpy().astype(np.longdouble)
    eps = np.finfo(dtype).eps
    assert np.max(np.abs(l @ q - a.astype(np.longdouble) / scale)) < 100 * eps
    assert np.max(np.abs(q @ q.T - np.eye(3))) < 100 * eps


def test_lq_gradient_of_unknown_shapes(native):
    """Stock QR: NotImplementedError."""
    a = tf.constant(np.stack([MATRIX, -MATRIX]))

    def gradient(a):
        with tf.GradientTape() as tape:
            tape.watch(a)
            l, q = linalg_ops.lq(a)
            value = tf.reduce_sum(tf.sin(l)) + tf.reduce_sum(tf.sin(q))
        return tape.gradient(value, a)

    signature = [tf.TensorSpec([None, None, None], tf.float64)]
    got = tf.function(gradient, input_signature=signature)(a)
    np.testing.assert_allclose(got, gradient(a), rtol=1e-12)


@pytest.mark.skipif(not config.native_available(), reason="the compiled library is not available")
def test_vectorized_map_of_lq(caplog):
    """Stock QR has no such rule: a warning, and one matrix after the other."""
    a = tf.constant(np.random.default_rng(0).normal(size=(5, 3, 4)))
    with caplog.at_level(logging.WARNING, logger="tensorflow"):
        l, q = tf.vectorized_map(linalg_ops.lq, a, fallback_to_while_loop=False)
    assert not caplog.records
    for got, expected in zip((l, q), linalg_ops.lq(a), strict=True):
        np.testing.assert_array_equal(got, expected)


def test_failed_cholesky_is_nan_throughout(native):
    """Stock: whatever stood in memory, in its upper triangle."""
    for n in (1, 2, 5, 16, 70):
        a = np.stack([np.eye(n), -np.eye(n), np.eye(n)])
        l, info = linalg_ops.cholesky(tf.constant(a), return_info=True)
        assert np.all(np.isnan(l[1]))
        np.testing.assert_array_equal(l.numpy()[[0, 2]], a[[0, 2]])
        np.testing.assert_array_equal(info, [0, 1, 0])


def test_unused_failed_cholesky_leaves_shared_parameters_alone(native):
    """Stock: one failed candidate's NaN reaches the parameter that all share."""
    scales = tf.constant([[[1.0]], [[-1.0]], [[2.0]]], tf.float64)
    shared = tf.constant([[2.0, 0.5], [0.5, 1.0]], tf.float64)
    with tf.GradientTape() as tape:
        tape.watch(shared)
        l = linalg_ops.cholesky(scales * shared)
        finite = tf.reduce_all(tf.math.is_finite(l), axis=[-2, -1])
        value = tf.reduce_sum(tf.boolean_mask(l, finite))
    gradient = tape.gradient(value, shared)
    with tf.GradientTape() as tape:
        tape.watch(shared)
        value = tf.reduce_sum(linalg_ops.cholesky(tf.gather(scales, [0, 2]) * shared))
    np.testing.assert_allclose(gradient, tape.gradient(value, shared), rtol=1e-14)


def test_nan_matrix_in_eigh(native):
    """Stock: the whole batch fails."""
    a = np.stack([np.diag([1.0, 2.0, 3.0]), np.full((3, 3), np.nan), np.eye(3)])
    clean = linalg_ops.eigh(tf.constant(a[[0, 2]]))
    for x, y in zip(linalg_ops.eigh(tf.constant(a)), clean, strict=True):
        assert np.all(np.isnan(x[1]))
        np.testing.assert_array_equal(x.numpy()[[0, 2]], y)


def test_nan_and_singular_matrix_in_inverse(native):
    """Stock: the whole batch fails."""
    a = np.stack([np.diag([1.0, 2.0]), np.full((2, 2), np.nan), np.ones((2, 2)), np.eye(2)])
    x = linalg_ops.inverse(tf.constant(a)).numpy()
    assert np.all(np.isnan(x[1:3]))
    np.testing.assert_array_equal(x[[0, 3]], [np.diag([1.0, 0.5]), np.eye(2)])


@pytest.mark.parametrize("gap", [1e-6, 1e-10, 1e-14, 0.0])
def test_spectral_gradient_at_small_gaps(gap, native):
    """Stock, through eigh: wrong by percents at gaps of 1e-10, NaN at 0.

    The derivative of exp(A) along E is the upper right block of exp([[A, E], [0, A]]).
    """
    rng = np.random.default_rng(0)
    q = np.linalg.qr(rng.normal(size=(4, 4)))[0]
    a = (q * [1.0, 1.0 + gap, 1.0 + 2 * gap, 3.0]) @ q.T
    a = 0.5 * (a + a.T)
    weights = rng.normal(size=(4, 4))
    weights += weights.T
    along = rng.normal(size=(4, 4))
    along += along.T
    variable = tf.constant(a)
    with tf.GradientTape() as tape:
        tape.watch(variable)
        value = tf.reduce_sum(weights * linalg_ops.matrix_function(variable, "exp"))
    got = np.sum(tape.gradient(value, variable) * along)
    block = tf.linalg.expm(np.block([[a, along], [np.zeros((4, 4)), a]])).numpy()
    np.testing.assert_allclose(got, np.sum(weights * block[:4, 4:]), rtol=1e-11)


def test_eigenvector_signs_are_deterministic(native):
    """Stock: arbitrary. Ours: the (first) largest entry of each eigenvector is positive."""
    rng = np.random.default_rng(0)
    q = np.linalg.qr(rng.normal(size=(5, 5)))[0]
    a = (q * [1.0, 2.0, 3.0, 5.0, 8.0]) @ q.T
    a = 0.5 * (a + a.T)
    _, v = linalg_ops.eigh(tf.constant(a))
    assert np.all(_largest_entries(v) > 0)
    flip = np.diag([1.0, -1.0, 1.0, -1.0, 1.0])  # a similarity that turns vectors round
    _, flipped = linalg_ops.eigh(tf.constant(flip @ a @ flip))
    assert np.all(_largest_entries(flipped) > 0)


def _largest_entries(v):
    return np.take_along_axis(v.numpy(), np.abs(v).argmax(axis=0)[np.newaxis], axis=0)


def test_gradient_of_the_determinant_at_singular_matrices(native):
    """Stock: raises, though the gradient is the transposed adjugate; zero at rank n - 2."""
    a = np.stack(
        [np.array([[1.0, 2.0, 0.0], [2.0, 4.0, 0.0], [0.0, 0.0, 3.0]]), np.ones((3, 3)), np.eye(3)]
    )
    cofactors = [np.array([[12.0, -6.0, 0.0], [-6.0, 3.0, 0.0], [0.0, 0.0, 0.0]]), 0.0, np.eye(3)]
    variable = tf.constant(a)
    with tf.GradientTape() as tape:
        tape.watch(variable)
        value = linalg_ops.det(variable)
    np.testing.assert_allclose(value, [0.0, 0.0, 1.0], atol=1e-14)
    for got, expected in zip(tape.gradient(value, variable), cofactors, strict=True):
        np.testing.assert_allclose(got, np.broadcast_to(expected, (3, 3)), atol=1e-13)


def test_status(native):
    """Stock: none; which matrix failed, and where, is lost."""
    a = np.broadcast_to(np.eye(3), (2, 2, 3, 3)).copy()
    a[0, 1, 2, 2] = -1.0
    a[1, 1, 0, 0] = np.nan
    _, info = linalg_ops.cholesky(tf.constant(a), return_info=True)
    np.testing.assert_array_equal(info, [[0, 3], [0, 1]])
