"""LQ beyond the contract: rank-deficient matrices, extreme scales, each cotangent on its own."""

import numpy as np
import pytest
import tensorflow as tf
from oracles import finite_differences

from statespace import config, linalg_ops

SHAPES = [(1, 1), (3, 3), (2, 5), (5, 2), (6, 6), (4, 9), (9, 4), (20, 20), (70, 70)]
shapes = pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: "x".join(map(str, shape)))
dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64])
needs_native = pytest.mark.skipif(
    not config.native_available(), reason="the compiled library is not available"
)


def gradient_of(function, a):
    a = tf.constant(a)
    with tf.GradientTape() as tape:
        tape.watch(a)
        value = function(a)
    return tape.gradient(value, a).numpy()


def of_rank(rng, rank, m, n):
    """Small integers, so that the rank is exact."""
    factors = rng.integers(-3, 4, size=(m, rank)), rng.integers(-3, 4, size=(rank, n))
    return (factors[0] @ factors[1]).astype(np.float64)


def residual_ratios(a, l, q):
    """|A - L Q| / (n |A| eps), each row by its own scale, and |Q Q' - I| / (n eps)."""
    eps, n = np.finfo(q.dtype).eps, max(a.shape)
    a, l, q = (x.astype(np.longdouble) for x in (a, l, q))
    size = np.abs(a).sum(axis=-1)
    backward = np.abs(l @ q - a).sum(axis=-1) / np.where(size > 0, size, 1)
    orthogonal = np.abs(q @ q.T - np.eye(len(q))).sum(axis=-1)
    return float(backward.max()) / (n * eps), float(orthogonal.max()) / (n * eps)


def check_factors(a):
    l, q = (x.numpy() for x in linalg_ops.lq(a))
    np.testing.assert_array_equal(l, linalg_ops.lq(a, mode="l"))
    np.testing.assert_array_equal(l, np.tril(l))
    assert np.all(np.diagonal(l) >= 0)
    assert max(residual_ratios(a, l, q)) < 10
    return l, q


@shapes
@dtypes
def test_residuals(shape, dtype, native):
    check_factors(np.random.default_rng(0).normal(size=shape).astype(dtype))


@shapes
@dtypes
def test_factors_of_rank_deficient_matrices(shape, dtype, native):
    rng = np.random.default_rng(1)
    for rank in {0, 1, min(shape) // 2, min(shape) - 1}:
        check_factors(of_rank(rng, rank, *shape).astype(dtype))
    check_factors(np.tril(np.ones(shape, dtype), -1))


@pytest.mark.parametrize(
    ("dtype", "small", "large"), [(np.float32, 1e-31, 1e37), (np.float64, 1e-300, 1e300)]
)
def test_extreme_scales(dtype, small, large, native):
    rng = np.random.default_rng(2)
    for shape in SHAPES:
        a = rng.normal(size=shape)
        for scales in ([small], [large], [small, large], [1, small], [1, large]):
            rows = np.resize(scales, (shape[0], 1))
            l, _ = check_factors((a * rows).astype(dtype))
            expected, _ = check_factors(a.astype(dtype))
            # The scales of the rows are those of L's; not to the last bit: they are no powers of 2.
            np.testing.assert_allclose(l / rows, expected, rtol=0, atol=1e3 * np.finfo(dtype).eps)
            if native:  # TensorFlow's QR, which the reference uses, leaves a column's scale to luck
                check_factors((a * np.resize(scales, shape[1])).astype(dtype))


@shapes
def test_factor_is_that_of_cholesky(shape, native):
    m, n = shape
    if m > n or m > 20:
        pytest.skip("A A' is singular, or worse conditioned than the comparison needs")
    a = np.random.default_rng(3).normal(size=shape) + 2 * np.eye(m, n)
    expected = np.linalg.cholesky(a @ a.T)
    np.testing.assert_allclose(linalg_ops.lq(a, mode="l"), expected, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("shape", [(3, 3), (2, 5), (5, 2), (6, 4)])
@pytest.mark.parametrize("parts", [("l",), ("q",), ("l", "q")])
def test_gradient_of_each_cotangent(shape, parts, native):
    rng = np.random.default_rng(4)
    a = rng.normal(size=shape) + 2 * np.eye(*shape)
    l, q = linalg_ops.lq(a)
    weights = {"l": rng.normal(size=l.shape), "q": rng.normal(size=q.shape)}

    def function(a):
        l, q = linalg_ops.lq(a)
        total = tf.zeros([], a.dtype)
        if "l" in parts:
            total += tf.reduce_sum(weights["l"] * l)
        if "q" in parts:
            total += tf.reduce_sum(weights["q"] * q)
        return total

    (expected,) = finite_differences.gradient(function, [a], step=1e-4)
    np.testing.assert_allclose(gradient_of(function, a), expected, rtol=1e-7, atol=1e-8)


@needs_native
def test_items_with_and_without_cotangent_of_q():
    """An item's gradient is the same, to the last bit, whatever the others' cotangents are."""
    rng = np.random.default_rng(5)
    a = rng.normal(size=(11, 3, 4))
    l_bar, q_bar = rng.normal(size=(11, 3, 3)), rng.normal(size=(11, 3, 4))
    q_bar[::2] = 0.0

    def gradient(items):
        def function(a):
            l, q = linalg_ops.lq(a)
            return tf.reduce_sum(l * l_bar[items]) + tf.reduce_sum(q * q_bar[items])

        return gradient_of(function, a[items])

    together = gradient(slice(None))
    for item in range(11):
        np.testing.assert_array_equal(together[item], gradient(item))


@shapes
def test_upper_triangle_of_the_cotangent_does_not_matter(shape, native):
    rng = np.random.default_rng(6)
    a = rng.normal(size=shape) + 3 * np.eye(*shape)
    l_bar = rng.normal(size=(shape[0], min(shape)))
    for mode in ("l", "reduced"):

        def factor(a, mode=mode):
            result = linalg_ops.lq(a, mode=mode)
            return result if mode == "l" else result[0]

        whole = gradient_of(lambda a: tf.reduce_sum(factor(a) * l_bar), a)
        lower = gradient_of(lambda a: tf.reduce_sum(factor(a) * np.tril(l_bar)), a)
        np.testing.assert_allclose(whole, lower, rtol=1e-10, atol=1e-10)


@shapes
@dtypes
@pytest.mark.parametrize("mode", ["l", "reduced"])
def test_gramian_functions_at_any_rank(shape, dtype, mode, native):
    """d <F, L L'> = <2 F A, dA> whatever the rank, and however small the pivots."""
    rng = np.random.default_rng(7)
    f = rng.normal(size=(shape[0], shape[0]))
    f = (f + f.T).astype(dtype)
    small = rng.normal(size=shape) * np.logspace(0, -30, shape[0])[:, np.newaxis]
    close = rng.normal(size=shape[1]) + 1e-5 * rng.normal(size=shape)
    ranks = [of_rank(rng, rank, *shape) for rank in (0, 1, min(shape) // 2, min(shape))]
    for a in [*ranks, small, small[::-1], close, np.tril(np.ones(shape), -1)]:
        a = a.astype(dtype)

        def function(a):
            l = linalg_ops.lq(a, mode=mode)
            l = l if mode == "l" else l[0]
            return tf.reduce_sum(f * tf.matmul(l, l, transpose_b=True))

        expected = 2 * f.astype(np.float64) @ a
        tolerance = {np.float32: 1e-4, np.float64: 1e-11}[dtype] * max(
            np.abs(expected).max(), 1e-30
        )
        np.testing.assert_allclose(gradient_of(function, a), expected, rtol=0, atol=tolerance)


def filter_step(y, f, g, h, c, s):
    """log N(y; 0, H S S' H' + C C'), and trace of the weighted covariance of the next state."""
    m, n = h.shape[0], f.shape[0]
    zeros = tf.zeros([m, g.shape[1]], s.dtype), tf.zeros([n, m], s.dtype)
    top = tf.concat([c, h @ s, zeros[0]], axis=1)
    pre_array = tf.concat([top, tf.concat([zeros[1], f @ s, g], axis=1)], axis=0)
    l = linalg_ops.lq(pre_array, mode="l")
    root, gain, scale = l[:m, :m], l[m:, :m], l[m:, m:]
    whitened = linalg_ops.triangular_solve(root, y)
    mean = gain @ whitened
    covariance = tf.matmul(scale, scale, transpose_b=True)
    log_density = -tf.reduce_sum(tf.math.log(tf.linalg.diag_part(root))) - 0.5 * tf.reduce_sum(
        whitened**2
    )
    return log_density + tf.reduce_sum(tf.sin(mean)) + tf.reduce_sum(tf.cos(covariance))


def filter_step_by_covariances(y, f, g, h, c, s):
    """The same from the Gramian, with no factor of a singular matrix."""
    p = tf.matmul(s, s, transpose_b=True)
    innovation = h @ p @ tf.transpose(h) + tf.matmul(c, c, transpose_b=True)
    gain = f @ p @ tf.transpose(h)
    mean = gain @ tf.linalg.solve(innovation, y)
    covariance = f @ p @ tf.transpose(f) + tf.matmul(g, g, transpose_b=True)
    covariance -= gain @ tf.linalg.solve(innovation, tf.transpose(gain))
    log_density = -0.5 * tf.linalg.logdet(innovation) - 0.5 * tf.reduce_sum(
        y * tf.linalg.solve(innovation, y)
    )
    return log_density + tf.reduce_sum(tf.sin(mean)) + tf.reduce_sum(tf.cos(covariance))


@pytest.mark.parametrize("rank_of_s", [0, 1, 2, 4])
@pytest.mark.parametrize("rank_of_g", [0, 1, 4])
def test_square_root_filter_with_singular_noise(rank_of_s, rank_of_g, native):
    """What masks its cotangent meets the regular block; the singular one reaches a product."""
    rng = np.random.default_rng(8)
    y, h, c = rng.normal(size=(2, 1)), rng.normal(size=(2, 4)), np.tril(rng.normal(size=(2, 2)))
    c += 2 * np.eye(2)
    s, g = of_rank(rng, rank_of_s, 4, 4) / 3, of_rank(rng, rank_of_g, 4, 3) / 3
    arguments = [tf.constant(x) for x in (y, rng.normal(size=(4, 4)), g, h, c, s)]
    results = []
    for function in (filter_step, filter_step_by_covariances):
        with tf.GradientTape() as tape:
            tape.watch(arguments)
            value = function(*arguments)
        results.append([value, *tape.gradient(value, arguments)])
    for got, expected in zip(*results, strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-10)


@shapes
@pytest.mark.parametrize("mode", ["l", "reduced"])
def test_cotangent_of_l_gives_a_finite_gradient(shape, mode, native):
    rng = np.random.default_rng(9)
    l_bar = np.tril(rng.normal(size=(shape[0], min(shape))))
    graded = np.tril(np.ones(shape), -1) + 1e-9 * np.eye(*shape)
    for a in [of_rank(rng, min(shape) // 2, *shape), np.zeros(shape), graded]:

        def function(a):
            l = linalg_ops.lq(a, mode=mode)
            return tf.reduce_sum(l_bar * (l if mode == "l" else l[0]))

        assert np.all(np.isfinite(gradient_of(function, a)))


@pytest.mark.parametrize("mode", ["reduced", "l"])
@pytest.mark.parametrize("shape", [(2**31 + 1, 0), (0, 2**31 + 1), (0, 2**29, 2**29)])
@pytest.mark.parametrize("static", [True, False])
def test_second_derivative_of_nothing(shape, static, mode):
    """TensorFlow's own operations crash on such shapes, or need memory for them."""

    def second(a):
        with tf.GradientTape() as outer:
            outer.watch(a)
            with tf.GradientTape() as inner:
                inner.watch(a)
                outputs = tf.nest.flatten(linalg_ops.lq(a, mode=mode))
            a_bar = inner.gradient(outputs, a, [tf.zeros_like(x) for x in outputs])
        return outer.gradient(a_bar, a, tf.zeros_like(a_bar))

    a = tf.zeros(tf.constant(shape, tf.int64))
    if not static:
        second = tf.function(second, input_signature=[tf.TensorSpec([None] * len(shape))])
    assert second(a).shape == shape


def test_cotangent_of_q_at_a_rank_deficient_matrix(native):
    """NaN for the item that has no derivative, and for no other; zero for a zero cotangent."""
    rng = np.random.default_rng(10)
    a = rng.normal(size=(4, 3, 5))
    a[1] = of_rank(rng, 2, 3, 5)
    a[3, 2] = 0.0
    used = np.array([1.0, 1.0, 1.0, 0.0])[:, np.newaxis, np.newaxis]
    gradient = gradient_of(lambda a: tf.reduce_sum(tf.sin(linalg_ops.lq(a)[1]) * used), a)
    assert np.all(np.isnan(gradient[1]))
    assert np.all(np.isfinite(gradient[[0, 2, 3]]))
    np.testing.assert_array_equal(gradient[3], 0.0)


def test_second_derivative_at_a_rank_deficient_matrix(native):
    rng = np.random.default_rng(11)
    a = tf.constant(np.stack([of_rank(rng, 2, 3, 5), rng.normal(size=(3, 5))]))
    direction = rng.normal(size=(2, 3, 5))
    with tf.GradientTape() as outer:
        outer.watch(a)
        slope = tf.reduce_sum(direction * gradient_tensor(a))
    gradient = outer.gradient(slope, a).numpy()
    assert np.all(np.isnan(gradient[0]))
    assert np.all(np.isfinite(gradient[1]))


def gradient_tensor(a):
    with tf.GradientTape() as tape:
        tape.watch(a)
        l = linalg_ops.lq(a, mode="l")
        value = tf.reduce_sum(l[..., 1:, :] ** 3)
    return tape.gradient(value, a)


@pytest.mark.parametrize("shape", [(3, 3), (2, 5), (5, 2)])
@pytest.mark.parametrize("mode", ["l", "reduced"])
def test_gradient_with_unknown_static_shape(shape, mode, native):
    a = np.random.default_rng(12).normal(size=(3, *shape))

    def gradient(a):
        with tf.GradientTape() as tape:
            tape.watch(a)
            value = tf.add_n(
                [tf.reduce_sum(x**3) for x in tf.nest.flatten(linalg_ops.lq(a, mode=mode))]
            )
        return tape.gradient(value, a)

    expected = gradient(tf.constant(a))
    for signature in ([None, None, None], [3, None, shape[1]], [None, shape[0], None]):
        graph = tf.function(gradient, input_signature=[tf.TensorSpec(signature, tf.float64)])
        np.testing.assert_allclose(graph(a), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("shape", [(0, 0), (0, 3), (3, 0)])
@pytest.mark.parametrize("mode", ["l", "reduced"])
def test_empty_matrices(shape, mode, native):
    a = np.zeros((2, *shape))
    results = tf.nest.flatten(linalg_ops.lq(a, mode=mode))
    assert results[0].shape == (2, shape[0], 0)
    gradient = gradient_of(
        lambda a: tf.add_n(
            [tf.reduce_sum(x) for x in tf.nest.flatten(linalg_ops.lq(a, mode=mode))]
        ),
        a,
    )
    assert gradient.shape == a.shape
