"""Residual ratios of every operator on every type of matrix."""

import numpy as np
import pytest
import tensorflow as tf
from accuracy import matrices
from accuracy.operators import OPERATORS
from accuracy.residuals import Ratio, check, wide

from statespace import linalg_ops

SMALL = (0, 1, 2, 3, 5, 8, 10, 16, 17)
SIZES = (*SMALL, 33, 50, 200)

every_operator = pytest.mark.parametrize("operator", OPERATORS, ids=lambda op: op.name)
dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64])


@every_operator
@dtypes
def test_residuals(operator, dtype, native):
    rng = np.random.default_rng(0)
    found = []
    for n in SIZES if native else SMALL:
        found += operator.measure(rng, n, dtype, samples=1 if n > 50 else 3)
    if not native:
        # TensorFlow's factorisations underflow on matrices that hold numbers of all magnitudes.
        found = [ratio for ratio in found if not ratio.matrix.startswith("graded")]
    check(found, operator.threshold)


@pytest.mark.slow
@every_operator
@dtypes
def test_residuals_at_every_size(operator, dtype):
    rng = np.random.default_rng(1)
    found = []
    for n in (*range(71), 96, 127, 128, 129, 200, 256):
        found += operator.measure(rng, n, dtype, samples=1 if n > 70 else 8)
    check(found, operator.threshold)


@dtypes
@pytest.mark.parametrize("n", [1, 2, 5, 16, 33, 70])
def test_cholesky_says_where_a_zero_pivot_is(n, dtype, native):
    """LAPACK's types with a zero first, middle or last row and column."""
    rng = np.random.default_rng(n)
    positions = sorted({0, n // 2, n - 1})
    a = np.stack([matrices.without_row_and_column(rng, n, k, dtype) for k in positions])
    l, info = linalg_ops.cholesky(a, return_info=True)
    np.testing.assert_array_equal(info, np.array(positions) + 1)
    assert np.all(np.isnan(l))


@dtypes
@pytest.mark.parametrize("n", [1, 2, 5, 16, 33])
def test_subnormal_numbers(n, dtype):
    """May count as zero, as they do where the processor flushes them; nothing may blow up."""
    least = float(np.finfo(dtype).smallest_normal)
    a = (np.random.default_rng(n).normal(size=(n, n)) * least / 100).astype(dtype)
    l, q = (wide(x) for x in linalg_ops.lq(a))
    assert np.max(np.abs(wide(a) - l @ q)) <= n * least
    assert np.max(np.abs(q @ q.T - np.eye(n))) <= 30 * n * matrices.limits(dtype).unit
    symmetric = np.tril(a) + np.tril(a, -1).T
    values, v = (wide(x) for x in linalg_ops.eigh(symmetric))
    assert np.max(np.abs(wide(symmetric) - (v * values) @ v.T)) <= n * least
    assert np.max(np.abs(v.T @ v - np.eye(n))) <= 60 * n * matrices.limits(dtype).unit


def test_the_check_finds_what_is_wrong():
    """TensorFlow's QR of small numbers has a residual as large as they are."""
    tiny = np.random.default_rng(0).normal(size=(3, 3)) * 1e-170
    q, r = (x.numpy() for x in tf.linalg.qr(tiny))
    error = np.max(np.abs(q @ r - tiny)) / np.max(np.abs(tiny)) / np.finfo(np.float64).eps
    for values in ([error], [np.nan], [31.0], [1.0] * 98 + [11.0, 11.0]):
        with pytest.raises(AssertionError):
            check([Ratio("test", "test", (3, 3), value) for value in values], 30.0)
    check([Ratio("test", "test", (3, 3), value) for value in [1.0] * 99 + [11.0]], 30.0)
