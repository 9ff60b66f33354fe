"""What is special about eigenvalues: signs, clusters, large matrices, extreme numbers, failures."""

import ctypes

import numpy as np
import pytest
import tensorflow as tf

from statespace import config, linalg_ops, native
from statespace.native import lapack


def _orthogonal(rng, n):
    return np.linalg.qr(rng.normal(size=(n, n)))[0]


def _residuals(a, eigenvalues, v):
    """LAPACK's test ratios: of A - V diag(lambda) V' and of V' V - I."""
    n, eps = len(a), np.finfo(np.asarray(a).dtype).eps
    a, eigenvalues, v = (np.asarray(x, np.longdouble) for x in (a, eigenvalues, v))
    lost = np.abs((v * eigenvalues) @ v.T - a).max() / (n * np.abs(a).max() * eps)
    return lost, np.abs(v.T @ v - np.eye(n)).max() / (n * eps)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n", [1, 2, 10, 64, 65, 130])
@pytest.mark.parametrize("exponent", [0, -0.85, 0.85])
def test_residuals_and_signs(dtype, n, exponent, native):
    rng = np.random.default_rng(n)
    a = rng.normal(size=(n, n))
    info = np.finfo(dtype)
    a = ((a + a.T) * 10.0 ** (exponent * info.maxexp * np.log10(2))).astype(dtype)
    eigenvalues, v = linalg_ops.eigh(a)
    # Compared in the range of ordinary numbers.
    unit = np.longdouble(np.abs(a).max())
    lost, skew = _residuals((a / unit).astype(dtype), eigenvalues.numpy() / unit, v)
    assert lost < 4
    assert skew < 4
    assert np.all(np.diff(eigenvalues) >= 0)
    magnitude = np.abs(v)
    first = np.argmax(magnitude >= (1 - 2.0**-10) * magnitude.max(axis=0), axis=0)
    assert np.all(v.numpy()[first, np.arange(n)] > 0)


def test_signs_do_not_depend_on_rounding(native):
    """Entries that are equal but for rounding: the first of them decides, in both dtypes."""
    a = np.array([[2.0, -1.0, 0.0], [-1.0, 2.0, -1.0], [0.0, -1.0, 2.0]])
    half, root = 0.5, np.sqrt(0.5)
    expected = [[half, root, -half], [root, 0.0, root], [half, -root, -half]]
    for dtype in (np.float32, np.float64):
        v = linalg_ops.eigh(a.astype(dtype))[1]
        np.testing.assert_allclose(v, expected, atol=4 * np.finfo(dtype).eps)


@pytest.mark.parametrize("n", [3, 70])
def test_repeated_eigenvalues(n, native):
    """Exact for functions of the eigenvalues alone and of projectors; finite for anything else."""
    rng = np.random.default_rng(0)
    q = _orthogonal(rng, n)
    exact = np.repeat([1.0, 3.0], [n // 2 + 1, n - n // 2 - 1])
    a = tf.constant((q * exact) @ q.T)
    weights = rng.normal(size=(n, n))
    weights = weights + weights.T
    inside = q[:, : n // 2 + 1] @ q[:, : n // 2 + 1].T
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(a)
        eigenvalues, v = linalg_ops.eigh(a)
        cubes = tf.reduce_sum(eigenvalues**3)
        low = v[:, : n // 2 + 1]
        projected = tf.reduce_sum(weights * tf.matmul(low, low, transpose_b=True))
        anything = tf.reduce_sum(weights * v)
    np.testing.assert_allclose(tape.gradient(cubes, a), 3 * a @ a, atol=1e-12)
    outside = np.eye(n) - inside
    expected = -0.5 * (inside @ weights @ outside + outside @ weights @ inside)
    np.testing.assert_allclose(tape.gradient(projected, a), expected, atol=1e-12)
    assert np.all(np.isfinite(tape.gradient(anything, a)))


def test_no_second_derivative_at_repeated_eigenvalues(native):
    """NaN rather than the zero which the rule of the first derivative would give."""
    direction = tf.constant([[0.0, 1.0], [1.0, 0.0]], tf.float64)
    for diagonal, known in (([1.0, 1.0], False), ([1.0, 2.0], True)):
        a = tf.constant(np.diag(diagonal))
        with tf.GradientTape() as outer:
            outer.watch(a)
            with tf.GradientTape() as inner:
                inner.watch(a)
                value = tf.reduce_sum(linalg_ops.eigh(a)[0] ** 2)
            slope = tf.reduce_sum(direction * inner.gradient(value, a))
        second = outer.gradient(slope, a).numpy()
        if known:
            np.testing.assert_allclose(second, 2 * direction, atol=1e-14)
        else:
            assert np.all(np.isnan(second))


@pytest.mark.parametrize("n", [2, 66])
def test_bad_items_fail_alone(n, native):
    rng = np.random.default_rng(1)
    a = rng.normal(size=(4, n, n))
    a = a + np.swapaxes(a, -1, -2)
    good = linalg_ops.eigh(a)
    a[1, 1, 0], a[2, 0, 0] = np.nan, -np.inf
    eigenvalues, v, info = linalg_ops.eigh(a, return_info=True)
    np.testing.assert_array_equal(info, [0, n, n, 0])
    for x, y in zip((eigenvalues, v), good, strict=True):
        assert np.all(np.isnan(x.numpy()[1:3]))
        np.testing.assert_array_equal(x.numpy()[[0, 3]], y.numpy()[[0, 3]])
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"eigh: batch index \[1\].* 2\."):
        linalg_ops.eigh(a[:, :2, :2], on_failure="raise")


def test_upper_triangle_is_not_read(native):
    for n in (3, 70):
        a = np.eye(n)
        a[np.triu_indices(n, 1)] = np.nan
        eigenvalues, v = linalg_ops.eigh(a)
        np.testing.assert_array_equal(eigenvalues, np.ones(n))
        np.testing.assert_array_equal(v, np.eye(n))


def test_empty(native):
    for shape in ((0, 0), (2, 0, 0), (0, 3, 3)):
        a = tf.zeros(shape)
        with tf.GradientTape() as tape:
            tape.watch(a)
            eigenvalues, v, info = linalg_ops.eigh(a, return_info=True)
        assert eigenvalues.shape == shape[:-1]
        assert v.shape == shape
        assert info.shape == shape[:-2]
        assert tape.gradient([eigenvalues, v], a).shape == shape


@pytest.mark.skipif(not config.native_available(), reason="the compiled library is not available")
def test_own_algorithm_where_there_is_no_lapack():
    """Without SciPy's pointers, or with unexpected ones, large matrices take the library's own."""
    rng = np.random.default_rng(2)
    a = rng.normal(size=(2, 70, 70))
    a = a + np.swapaxes(a, -1, -2)
    by_lapack = linalg_ops.eigh(a)
    set_lapack = native.api().set_lapack
    assert set_lapack(b"dnothing", None) == 1
    assert set_lapack(b"dsyevd", None) == 0
    try:
        own = linalg_ops.eigh(a)
    finally:
        lapack.hand_over(set_lapack)
    assert not np.array_equal(own[1], by_lapack[1])
    for x, y in zip(own, by_lapack, strict=True):
        np.testing.assert_allclose(x, y, atol=1e-12)


def test_lapack_of_another_signature_is_not_handed_over(monkeypatch):
    """Such as one with 64-bit integers."""
    from scipy.linalg import cython_lapack

    new = ctypes.pythonapi.PyCapsule_New
    new.restype = ctypes.py_object
    new.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p]
    name = ctypes.create_string_buffer(b"void (char *, char *, int64_t *)")
    capsule = new(ctypes.addressof(name), ctypes.addressof(name), None)
    monkeypatch.setattr(cython_lapack, "__pyx_capi__", {"dsyevd": capsule})
    handed = []
    lapack.hand_over(lambda *arguments: handed.append(arguments))
    assert handed == []
