"""Inverses and determinants against mpmath; singular, nearly singular and badly scaled matrices."""

import mpmath
import numpy as np
import pytest
import tensorflow as tf

from statespace import linalg_ops

EPS = {np.float32: np.finfo(np.float32).eps, np.float64: np.finfo(np.float64).eps}


def conditioned(rng, n, condition, dtype=np.float64):
    """Orthogonal times singular values from 1 to 1 / condition times orthogonal."""
    u, v = (np.linalg.qr(rng.normal(size=(n, n)))[0] for _ in range(2))
    return ((u * np.geomspace(1.0, 1.0 / condition, n)) @ v).astype(dtype)


def of_rank(rng, n, rank):
    """Small whole numbers, so that products are exact and the rank is, too."""
    left, right = rng.integers(-3, 4, size=(n, rank)), rng.integers(-3, 4, size=(rank, n))
    return (left @ right).astype(np.float64)


def exact(a):
    with mpmath.workdps(80):
        return mpmath.matrix(np.asarray(a, np.float64).tolist())


def exact_inverse(a):
    with mpmath.workdps(80):
        return np.array((exact(a) ** -1).tolist(), object)


def exact_det(a):
    with mpmath.workdps(80):
        return mpmath.det(exact(a)) if len(a) else mpmath.mpf(1)


def exact_cofactors(a):
    n = len(a)
    rows = [
        [
            (-1) ** (i + j) * exact_det(np.delete(np.delete(a, i, 0), j, 1).tolist())
            for j in range(n)
        ]
        for i in range(n)
    ]
    return np.array(rows, object)


def distance(x, expected):
    """Largest error relative to the largest entry."""
    scale = max(abs(y) for y in expected.flat)
    return float(
        max(abs(y - float(x)) for x, y in zip(np.ravel(x), expected.flat, strict=True)) / scale
    )


def gradient(function, a, *cotangent):
    a = tf.constant(a)
    with tf.GradientTape() as tape:
        tape.watch(a)
        y = function(a)
    return tape.gradient(y, a, *cotangent).numpy()


@pytest.mark.parametrize("n", [2, 3, 5, 8])
@pytest.mark.parametrize("condition", [1e0, 1e5, 1e10, 1e15])
def test_near_singular_values(n, condition, native):
    """Backward stable: errors grow as the condition number, and no more."""
    a = conditioned(np.random.default_rng(n), n, condition)
    bound = 20 * n * EPS[np.float64] * condition
    det, inverse = exact_det(a), exact_inverse(a)
    assert abs(float(linalg_ops.det(a)) / float(det) - 1) < bound
    assert abs(float(linalg_ops.slogdet(a)[1]) - float(mpmath.log(abs(det)))) < bound
    assert distance(linalg_ops.inverse(a), inverse) < bound


@pytest.mark.parametrize("n", [2, 3, 5, 8])
@pytest.mark.parametrize("condition", [1e0, 1e5, 1e10, 1e15])
def test_near_singular_gradients(n, condition, native):
    a = conditioned(np.random.default_rng(n), n, condition)
    # The cofactors are as well conditioned as if the smallest singular value were not there.
    second = condition ** ((n - 2) / (n - 1)) if n > 1 else 1.0
    cofactors = exact_cofactors(a)
    got = gradient(linalg_ops.det, a)
    assert distance(got, cofactors) < 20 * n * EPS[np.float64] * second
    inverse = exact_inverse(a)
    got = gradient(lambda a: linalg_ops.slogdet(a)[1], a)
    assert distance(got, inverse.T) < 20 * n * EPS[np.float64] * condition


@pytest.mark.parametrize("n", [1, 2, 3, 4, 6])
@pytest.mark.parametrize("missing", [1, 2, 3])
def test_cofactors_of_singular_matrices(n, missing, native):
    a = of_rank(np.random.default_rng(n), n, max(n - missing, 0))
    expected = exact_cofactors(a).astype(np.float64)
    scale = max(np.max(np.abs(a)) ** (n - 1), 1.0)
    np.testing.assert_allclose(gradient(linalg_ops.det, a), expected, rtol=0, atol=1e-13 * scale)


@pytest.mark.parametrize("n", [2, 3, 5])
@pytest.mark.parametrize("missing", [0, 1, 2, 3])
def test_second_derivative_of_det_at_singular_matrices(n, missing, native):
    """det is a polynomial: its second derivative along B, C by an exact difference quotient."""
    rng = np.random.default_rng(10 * n + missing)
    a = of_rank(rng, n, max(n - missing, 0))
    b, c = rng.integers(-2, 3, size=(2, n, n)).astype(np.float64)
    variable = tf.constant(a)
    with tf.GradientTape() as outer:
        outer.watch(variable)
        with tf.GradientTape() as tape:
            tape.watch(variable)
            value = linalg_ops.det(variable)
        slope = tf.reduce_sum(tape.gradient(value, variable) * b)
    got = np.sum(outer.gradient(slope, variable) * c)
    with mpmath.workdps(80):
        h = mpmath.mpf(10) ** -20
        x, y, z = (mpmath.matrix(m.tolist()) for m in (a, b, c))
        corners = [mpmath.det(x + h * (s * y + t * z)) * s * t for s in (1, -1) for t in (1, -1)]
        expected = float(sum(corners) / (4 * h * h))
    scale = max(np.max(np.abs(a)) ** max(n - 2, 0), 1.0) * n**4
    assert abs(got - expected) < 1e-12 * scale


def test_a_nilpotent_matrix(native):
    """Every pivot of plain elimination is zero, yet one cofactor is not."""
    for n in (2, 5, 40):
        a = np.diag(np.ones(n - 1), 1)
        expected = np.zeros((n, n))
        expected[n - 1, 0] = (-1.0) ** (n - 1)
        np.testing.assert_allclose(gradient(linalg_ops.det, a), expected, atol=1e-14)


def test_determinants_beyond_the_range_on_the_way(native):
    for n in (2, 6, 40):
        d = np.where(np.arange(n) % 2, 1e-300, 1e300)[np.argsort(np.arange(n) % 2, kind="stable")]
        np.testing.assert_allclose(linalg_ops.det(np.diag(d)), 1.0, rtol=1e-10)
        sign, log_size = linalg_ops.slogdet(np.diag(-d))
        assert float(sign) == 1.0
        assert abs(float(log_size)) < 1e-9
    assert float(linalg_ops.det(1e200 * np.eye(2))) == np.inf
    assert float(linalg_ops.det(1e-200 * np.eye(2))) == 0.0


@pytest.mark.parametrize("scale", [1e-300, 1e-160, 1e160, 1e300])
def test_inverse_of_extreme_scales(scale, native):
    a = np.random.default_rng(0).normal(size=(5, 5))
    x = linalg_ops.inverse(a * scale)
    np.testing.assert_allclose(x * scale, np.linalg.inv(a), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("n", [0, 1, 2, 7, 33, 64, 65, 200])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_inverse_residual_of_every_size(n, dtype):
    a = np.random.default_rng(n).normal(size=(3, n, n)).astype(dtype)
    x = linalg_ops.inverse(a).numpy()
    signs, logs = linalg_ops.slogdet(a)
    for item in range(3):
        y, b = x[item].astype(np.float64), a[item].astype(np.float64)
        condition = np.linalg.norm(y, 1) * np.linalg.norm(b, 1) if n else 1.0
        bound = 10 * max(n, 1) * EPS[dtype] * condition
        for residual in (y @ b, b @ y):
            assert n == 0 or np.linalg.norm(residual - np.eye(n), 1) < bound
        sign, log_size = np.linalg.slogdet(b)
        assert signs[item] == sign
        assert abs(logs[item] - log_size) < bound


@pytest.mark.parametrize("n", [3, 70])
def test_gradients_of_large_and_small_agree_with_the_inverse(n):
    rng = np.random.default_rng(n)
    a = rng.normal(size=(2, n, n)) / np.sqrt(n) + np.eye(n)
    inverse = np.linalg.inv(a)
    det_bar = rng.normal(size=2)
    expected = (det_bar * np.linalg.det(a))[:, None, None] * np.swapaxes(inverse, -1, -2)
    got = gradient(linalg_ops.det, a, tf.constant(det_bar))
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-11 * np.max(np.abs(expected)))


@pytest.mark.parametrize("n", [1, 3, 70])
def test_status_of_singular_items(n, native):
    a = np.tile(np.eye(n), (4, 1, 1))
    a[1, n - 1] = 0.0
    a[3, 0, n - 1] = np.nan
    x, info = linalg_ops.inverse(a, return_info=True)
    np.testing.assert_array_equal(info, [0, n, 0, n + 1])
    np.testing.assert_array_equal(
        np.isnan(x), np.isin(np.arange(4), [1, 3])[:, None, None] | (x != x)
    )
    np.testing.assert_array_equal(x[0], np.eye(n))
    sign, log_size = linalg_ops.slogdet(a)
    np.testing.assert_array_equal(sign, [1.0, 0.0, 1.0, np.nan])
    np.testing.assert_array_equal(log_size, [0.0, -np.inf, 0.0, np.nan])
    np.testing.assert_array_equal(linalg_ops.det(a), [1.0, 0.0, 1.0, np.nan])
    with pytest.raises(
        tf.errors.InvalidArgumentError, match=rf"inverse: batch index \[1\] is singular.* {n}"
    ):
        linalg_ops.inverse(a, on_failure="raise")


def test_gradients_at_singular_and_bad_items(native):
    a = np.tile(2.0 * np.eye(2), (3, 1, 1))
    a[1] = [[1.0, 2.0], [2.0, 4.0]]
    a[2, 0, 1] = np.inf
    for function in (linalg_ops.inverse, lambda a: linalg_ops.slogdet(a)[1]):
        y = function(tf.constant(a))
        used = gradient(function, a, tf.ones_like(y))
        np.testing.assert_array_equal(np.all(np.isnan(used), axis=(-2, -1)), [False, True, True])
        assert np.all(np.isfinite(used[0]))
        first_only = np.zeros(y.shape)
        first_only[0] = 1.0
        np.testing.assert_array_equal(gradient(function, a, tf.constant(first_only))[1:], 0.0)
    used = gradient(linalg_ops.det, a)
    np.testing.assert_allclose(used[1], [[4.0, -2.0], [-2.0, 1.0]], rtol=1e-14)
    assert np.all(np.isnan(used[2]))
