"""Sizes beyond one block, the semidefinite factor, and the status of what fails."""

import numpy as np
import pytest
import tensorflow as tf
from oracles import finite_differences

from statespace import config, linalg_ops

# One block, several in lanes, one matrix at a time, and each side of the borders between them.
SIZES = (8, 9, 16, 23, 64, 65, 100)
needs_native = pytest.mark.skipif(
    not config.native_available(), reason="the compiled library is not available"
)


def positive_definite(rng, *shape):
    a = rng.normal(size=(*shape, shape[-1]))
    return a @ np.swapaxes(a, -1, -2) / shape[-1] + np.eye(shape[-1])


def low_rank(rng, n, rank):
    b = rng.normal(size=(n, rank))
    return b @ b.T


@needs_native
@pytest.mark.parametrize("n", SIZES)
def test_compiled_adjoints_equal_the_references_at_every_size(n):
    rng = np.random.default_rng(n)
    a, b = tf.constant(positive_definite(rng, 3, n)), tf.constant(rng.normal(size=(3, n, 5)))
    l = tf.linalg.cholesky(a)
    cases = {
        "cholesky": (lambda a, l, b: linalg_ops.cholesky(a)),
        "psd_cholesky": (lambda a, l, b: linalg_ops.psd_cholesky(a)),
        "inverse": (lambda a, l, b: linalg_ops.cholesky_inverse(l)),
        "solve": (lambda a, l, b: linalg_ops.cholesky_solve(l, b)),
        "triangular": (lambda a, l, b: linalg_ops.triangular_solve(l, b, adjoint=True)),
        "right": (lambda a, l, b: linalg_ops.triangular_solve(l, a, right_side=True)),
        "multiply": (lambda a, l, b: linalg_ops.triangular_multiply(l, b, lower=False)),
        "multiply right": (
            lambda a, l, b: linalg_ops.triangular_multiply(l, a, adjoint=True, right_side=True)
        ),
    }
    for name, function in cases.items():
        found = {}
        for compiled in (True, False):
            config.use_native(compiled)
            try:
                with tf.GradientTape() as tape:
                    tape.watch([a, l, b])
                    x = function(a, l, b)
            finally:
                config.use_native(True)
            weights = tf.constant(np.random.default_rng(0).normal(size=x.shape))
            gradients = tape.gradient(x, [a, l, b], weights)
            found[compiled] = [x] + [g for g in gradients if g is not None]
        for x, y in zip(found[True], found[False], strict=True):
            np.testing.assert_allclose(
                x, y, rtol=1e-11, atol=1e-11 * np.max(np.abs(y)), err_msg=name
            )


@pytest.mark.parametrize("rank", [0, 1, 3, 5])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_psd_cholesky_of_low_rank(rank, dtype, native):
    rng = np.random.default_rng(rank)
    n = 6
    a = np.stack([low_rank(rng, n, rank) for _ in range(7)]).astype(dtype)
    l, info = linalg_ops.psd_cholesky(a, return_info=True)
    np.testing.assert_array_equal(info, 0)
    scale = max(np.max(np.abs(a)), 1.0)
    np.testing.assert_allclose(
        l @ tf.linalg.matrix_transpose(l), a, atol=50 * np.finfo(dtype).eps * scale
    )
    assert np.all(np.sum(np.linalg.norm(l, axis=-2) > 0, axis=-1) == rank)
    np.testing.assert_array_equal(np.triu(l, 1), 0)


def test_psd_cholesky_with_zero_rows_is_the_factor_of_the_rest(native):
    rng = np.random.default_rng(3)
    a = positive_definite(rng, 5)
    kept = [0, 2, 3]
    padded = np.zeros((5, 5))
    padded[np.ix_(kept, kept)] = a[np.ix_(kept, kept)]
    expected = np.zeros((5, 5))
    expected[np.ix_(kept, kept)] = np.linalg.cholesky(a[np.ix_(kept, kept)])
    np.testing.assert_allclose(linalg_ops.psd_cholesky(padded), expected, atol=1e-14)


@pytest.mark.parametrize(
    ("a", "column"),
    [
        ([[1.0, 2.0], [2.0, 1.0]], 2),
        ([[0.0, 1.0], [1.0, 0.0]], 1),
        ([[-1.0, 0.0], [0.0, 1.0]], 1),
        ([[1.0, 1.0, 0.0], [1.0, 1.0, 0.5], [0.0, 0.5, 1.0]], 2),
        ([[1.0, 0.0], [0.0, np.nan]], 2),
        ([[np.inf, 0.0], [0.0, 1.0]], 1),
        ([[1.0, 0.0], [np.nan, 1.0]], 2),
    ],
)
def test_psd_cholesky_refuses_what_is_not_semidefinite(a, column, native):
    batch = np.stack([np.eye(len(a)), np.array(a)])
    l, info = linalg_ops.psd_cholesky(batch, return_info=True)
    np.testing.assert_array_equal(info, [0, column])
    np.testing.assert_array_equal(l[0], np.eye(len(a)))
    assert np.all(np.isnan(l[1]))
    with pytest.raises(tf.errors.InvalidArgumentError, match=rf"psd_cholesky.*\[1\].*{column}"):
        linalg_ops.psd_cholesky(batch, on_failure="raise")


def test_psd_cholesky_gradient_at_a_singular_matrix(native):
    """Along directions that keep the rank, and the place of the zero pivots, it is exact."""
    rng = np.random.default_rng(5)
    n, rank = 5, 3
    b, weights = rng.normal(size=(n, rank)), rng.normal(size=(n, n))
    b[3:] = rng.normal(size=(2, 3)) @ b[:3]

    def function(b):
        b = tf.convert_to_tensor(b)
        return tf.reduce_sum(weights * linalg_ops.psd_cholesky(tf.matmul(b, b, transpose_b=True)))

    variable = tf.constant(b)
    with tf.GradientTape() as tape:
        tape.watch(variable)
        value = function(variable)
    expected = finite_differences.gradient(function, [b])[0]
    np.testing.assert_allclose(tape.gradient(value, variable), expected, rtol=1e-7, atol=1e-7)


def test_return_info_counts_the_leading_minor(native):
    a = np.stack([np.eye(12)] * 3)
    a[1, 9, 9] = -1.0
    a[2, 0, 0] = np.nan
    l, info = linalg_ops.cholesky(a, return_info=True)
    np.testing.assert_array_equal(info, [0, 10, 1])
    np.testing.assert_array_equal(np.isnan(l).all(axis=(1, 2)), [False, True, True])


@needs_native
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_triangular_solve_near_the_limits_of_the_range(dtype):
    """Diagonals whose reciprocals lose digits or underflow, while the solution does not.

    No subnormal numbers: TensorFlow takes them for zero. (Its own solver, in the reference, divides
    by way of the reciprocal.)
    """
    tiny = np.finfo(dtype).tiny
    huge = np.finfo(dtype).max / 2
    l = np.array([[[tiny, 0.0], [0.0, 1.0]], [[huge, 0.0], [0.0, 1.0]]], dtype)
    b = np.array([[[tiny * 3], [1.0]], [[huge / 4], [1.0]]], dtype)
    x = linalg_ops.triangular_solve(l, b)
    np.testing.assert_allclose(x[..., 0], [[3.0, 1.0], [0.25, 1.0]], rtol=1e-6)


def test_gradient_of_empty_matrices_in_a_graph(native):
    """TensorFlow's optimiser of graphs divides by zero where it meets a product of such shapes."""

    @tf.function(input_signature=[tf.TensorSpec([17, 3, 0, 0])])
    def gradient(a):
        with tf.GradientTape() as tape:
            tape.watch(a)
            l = linalg_ops.psd_cholesky(a)
        return tape.gradient(l, a)

    assert gradient(tf.zeros([17, 3, 0, 0])).shape == (17, 3, 0, 0)
