"""Products: forms, factors that broadcast or vanish, exact symmetry, NaN that stays where it is."""

import numpy as np
import pytest
import tensorflow as tf
from oracles import finite_differences

from statespace import linalg_ops


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


@pytest.mark.parametrize("transpose_a", [False, True])
@pytest.mark.parametrize("transpose_b", [False, True])
def test_gemm_broadcasts_all_three(transpose_a, transpose_b, native):
    a, b = normal(2, 1, 3, 4), normal(5, 4, 2)
    c = normal(1, 3, 2)
    expected = 1.5 * (a @ b) - 0.5 * c
    got = linalg_ops.gemm(
        np.swapaxes(a, -1, -2) if transpose_a else a,
        np.swapaxes(b, -1, -2) if transpose_b else b,
        c,
        transpose_a=transpose_a,
        transpose_b=transpose_b,
        alpha=1.5,
        beta=-0.5,
    )
    np.testing.assert_allclose(got, expected, rtol=1e-13, atol=1e-14)


def test_gemm_gradient_of_broadcast_arguments_and_factors(native):
    arguments = [normal(2, 1, 3, 4), normal(5, 4, 2), normal(3, 2), normal(5), normal(2, 1)]
    weights = normal(2, 5, 3, 2)

    def loss(a, b, c, alpha, beta):
        return tf.reduce_sum(weights * linalg_ops.gemm(a, b, c, alpha=alpha, beta=beta))

    variables = [tf.constant(x) for x in arguments]
    with tf.GradientTape() as tape:
        tape.watch(variables)
        value = loss(*variables)
    expected = finite_differences.gradient(loss, arguments)
    for x, y in zip(tape.gradient(value, variables), expected, strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("shape", [(3, 5), (70, 9), (9, 70), (130, 33)])
@pytest.mark.parametrize("transpose", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_syrk_is_symmetric_to_the_last_bit(shape, transpose, dtype, native):
    a = normal(4, *shape).astype(dtype)
    x = linalg_ops.syrk(a, transpose=transpose, alpha=1.0 / 3.0).numpy()
    np.testing.assert_array_equal(x, np.swapaxes(x, -1, -2))
    exact = a.astype(np.float64)
    exact = np.swapaxes(exact, -1, -2) @ exact if transpose else exact @ np.swapaxes(exact, -1, -2)
    tolerance = 20 * np.finfo(dtype).eps * np.max(np.abs(exact))
    np.testing.assert_allclose(x, exact / 3.0, rtol=0, atol=tolerance)


def test_more_elements_than_tensorflow_counts_are_refused():
    """Of a shape that it cannot count, TensorFlow aborts while it optimises the graph."""
    nothing = tf.zeros(tf.constant([17, 2**31, 0], tf.int64))
    for outer in (linalg_ops.syrk, tf.function(linalg_ops.syrk)):
        with pytest.raises(
            (ValueError, tf.errors.InvalidArgumentError), match="does not fit the address space; a "
        ):
            outer(nothing)


@pytest.mark.parametrize("op", ["gemm", "syrk"])
def test_a_factor_of_zero_hides_nan_and_its_gradient_is_right(op, native):
    a = normal(3, 2, 2)
    a[1] = np.nan
    alpha = tf.Variable([1.0, 0.0, 2.0], dtype=tf.float64)
    with tf.GradientTape() as tape:
        x = (
            linalg_ops.syrk(a, alpha=alpha)
            if op == "syrk"
            else linalg_ops.gemm(a, a, transpose_b=True, alpha=alpha)
        )
        total = tf.reduce_sum(tf.gather(x, [0, 2]))
    np.testing.assert_array_equal(x[1], 0.0)
    gradient = tape.gradient(total, alpha)
    plain = np.sum(a @ np.swapaxes(a, -1, -2), axis=(-2, -1))
    np.testing.assert_allclose(gradient, [plain[0], 0.0, plain[2]], rtol=1e-12)


def test_unused_nan_does_not_reach_a_shared_factor(native):
    """The item that failed has a zero cotangent: neither A, nor the shared B, nor alpha hears."""
    a = normal(3, 2, 2)
    a[1] = np.nan
    variables = [tf.constant(a), tf.constant(normal(2, 2)), tf.constant(0.5, tf.float64)]
    with tf.GradientTape() as tape:
        tape.watch(variables)
        x = linalg_ops.gemm(*variables[:2], alpha=variables[2])
        total = tf.reduce_sum(tf.gather(x, [0, 2]))
    assert np.all(np.isnan(x[1]))
    a_bar, b_bar, alpha_bar = tape.gradient(total, variables)
    np.testing.assert_array_equal(a_bar[1], 0.0)
    for x in (a_bar, b_bar, alpha_bar):
        assert np.all(np.isfinite(x))


def test_second_derivative_where_the_cotangent_is_zero(native):
    """The product of cotangent and factor is linear at zero too: its slope is not lost there."""
    a, b = tf.constant(normal(2, 3)), tf.constant(normal(3, 2, seed=1))
    weight = tf.Variable(tf.zeros([2, 2], tf.float64))
    with tf.GradientTape() as outer:
        with tf.GradientTape() as tape:
            tape.watch(a)
            value = tf.reduce_sum(weight * linalg_ops.gemm(a, b))
        slope = tf.reduce_sum(tape.gradient(value, a))
    expected = np.broadcast_to(np.sum(b, axis=0), (2, 2))
    np.testing.assert_allclose(outer.gradient(slope, weight), expected, rtol=1e-13)


def test_empty_sizes(native):
    assert linalg_ops.gemm(np.zeros((0, 3)), np.zeros((3, 2))).shape == (0, 2)
    np.testing.assert_array_equal(linalg_ops.gemm(np.zeros((2, 0)), np.zeros((0, 3))), 0.0)
    np.testing.assert_array_equal(linalg_ops.syrk(np.zeros((4, 2, 0))), np.zeros((4, 2, 2)))


def test_errors_name_the_argument(native):
    a, b = np.zeros((2, 3)), np.zeros((4, 2))
    with pytest.raises(ValueError, match=r"gemm: b has shape \(4, 2\).*k = 3"):
        linalg_ops.gemm(a, b)
    with pytest.raises(ValueError, match=r"gemm: c has shape \(3, 2\).*\[\.\.\., 2, 4\]"):
        linalg_ops.gemm(a, np.zeros((3, 4)), np.zeros((3, 2)))
    with pytest.raises(ValueError, match="syrk: alpha is float32"):
        linalg_ops.syrk(a, alpha=tf.constant(1.0, tf.float32))


def test_gemm_of_unlike_batches(native):
    """TensorFlow's own product of these shapes corrupts the heap (2.21, float32, with oneDNN)."""
    a, b = np.ones([17, 1, 2, 17], np.float32), np.ones([1, 1, 17, 17], np.float32)
    np.testing.assert_array_equal(linalg_ops.gemm(a, b), np.matmul(a, b))
