"""PCA against NumPy, scikit-learn and SciPy; gradients against finite differences."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import finite_differences
from scipy import stats

import statespace as ss

METHODS = pytest.mark.parametrize("method", ["eigh", "lq"])
SHAPES = pytest.mark.parametrize("shape", [(30, 4), (4, 9), (5, 5), (6, 5)], ids=str)


def data(shape, seed=0):
    """Features that depend on each other and are far from zero."""
    rng = np.random.default_rng(seed)
    mix = rng.normal(size=(shape[-1], shape[-1])) * np.linspace(0.4, 2, shape[-1])
    return rng.normal(size=shape) @ mix + 10 * rng.normal(size=shape[-1])


def assert_same_directions(got, expected, tolerance):
    cosines = np.abs(np.sum(got * expected, axis=-1))
    np.testing.assert_allclose(cosines, 1.0, atol=tolerance)


@SHAPES
@METHODS
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_equals_the_singular_value_decomposition(shape, method, dtype, native):
    x, count = data((3, *shape)), 3
    pca = ss.models.PCA(count, method=method).fit(x.astype(dtype))
    tolerance = {np.float32: 3e-4, np.float64: 1e-10}[dtype]
    for item in range(3):
        centred = x[item] - x[item].mean(axis=0)
        _, sigma, directions = np.linalg.svd(centred, full_matrices=False)
        variance = sigma**2 / (shape[0] - 1)
        np.testing.assert_allclose(pca.mean[item], x[item].mean(axis=0), rtol=1e-5)
        np.testing.assert_allclose(pca.explained_variance[item], variance[:count], rtol=tolerance)
        ratio = variance[:count] / variance.sum()
        np.testing.assert_allclose(pca.explained_variance_ratio[item], ratio, rtol=tolerance)
        assert_same_directions(pca.components[item], directions[:count], tolerance)
        left = variance[count:].sum() / max(shape[1] - count, 1)
        np.testing.assert_allclose(
            pca.noise_variance[item], left, atol=tolerance * variance[0], rtol=tolerance
        )


@METHODS
@pytest.mark.parametrize("whiten", [False, True])
def test_equals_scikit_learn(method, whiten, native):
    decomposition = pytest.importorskip("sklearn.decomposition")
    x, others = data((40, 6)), data((5, 6), seed=1)
    theirs = decomposition.PCA(2, whiten=whiten).fit(x)
    ours = ss.models.PCA(2, method=method, whiten=whiten).fit(x)
    np.testing.assert_allclose(ours.components, theirs.components_, atol=1e-12)
    np.testing.assert_allclose(ours.explained_variance, theirs.explained_variance_, rtol=1e-12)
    np.testing.assert_allclose(
        ours.explained_variance_ratio, theirs.explained_variance_ratio_, rtol=1e-12
    )
    np.testing.assert_allclose(ours.noise_variance, theirs.noise_variance_, rtol=1e-11)
    z = ours.transform(others)
    np.testing.assert_allclose(z, theirs.transform(others), rtol=1e-10, atol=1e-11)
    np.testing.assert_allclose(ours.inverse_transform(z), theirs.inverse_transform(z), rtol=1e-11)
    # Of the model of x, which whitening of coordinates has no part in. (In scikit-learn it has.)
    theirs = decomposition.PCA(2).fit(x)
    np.testing.assert_allclose(ours.covariance(), theirs.get_covariance(), atol=1e-11)
    scores = theirs.score_samples(others)
    np.testing.assert_allclose(ours.log_likelihood(others), scores, rtol=1e-10)
    np.testing.assert_allclose(tf.reduce_mean(ours.log_likelihood(x)), theirs.score(x), rtol=1e-11)


@METHODS
def test_small_singular_values(method, native):
    """Below sqrt(eps) times the largest one the covariance has lost them; the data have not."""
    rng = np.random.default_rng(2)
    u = np.linalg.qr(np.concatenate([np.ones((20, 1)), rng.normal(size=(20, 3))], axis=1))[0][:, 1:]
    v = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    sigma = np.array([1.0, 1e-5, 1e-11])
    pca = ss.models.PCA(3, method=method).fit((u * sigma) @ v.T)
    error = np.abs(np.sqrt(19 * pca.explained_variance.numpy()) / sigma - 1)
    assert error[1] < 1e-5
    assert (error[2] < 1e-4) == (method == "lq")
    products = tf.matmul(pca.components, pca.components, transpose_b=True)
    np.testing.assert_allclose(products, np.eye(3), atol=1e-14)


@METHODS
def test_variances_that_are_zero(method, native):
    """Components beyond the rank complete an orthonormal basis."""
    x = np.outer(np.arange(6.0), [1.0, 2.0, 2.0])
    pca = ss.models.PCA(3, method=method).fit(x)
    np.testing.assert_allclose(pca.explained_variance, [9 * 3.5, 0, 0], rtol=1e-13, atol=1e-13)
    products = tf.matmul(pca.components, pca.components, transpose_b=True)
    np.testing.assert_allclose(products, np.eye(3), atol=1e-14)


@settings(max_examples=30)
@given(
    st.integers(2, 12),
    st.integers(1, 8),
    st.sampled_from(["eigh", "lq", "auto"]),
    st.sampled_from([np.float32, np.float64]),
    st.integers(0, 2**31),
)
def test_all_components_give_the_data_back(rows, columns, method, dtype, seed):
    x = np.random.default_rng(seed).normal(size=(2, rows, columns)).astype(dtype)
    count = min(rows - 1, columns)
    pca = ss.models.PCA(count, method=method, whiten=True).fit(x)
    tolerance = 200 * np.finfo(dtype).eps
    products = pca.components @ tf.linalg.matrix_transpose(pca.components)
    np.testing.assert_allclose(
        products, np.broadcast_to(np.eye(count), (2, count, count)), atol=tolerance
    )
    z = pca.transform(x)
    np.testing.assert_allclose(pca.inverse_transform(z), x, atol=100 * tolerance)
    assert np.all(np.diff(pca.explained_variance, axis=-1) <= 0)
    first = np.take_along_axis(
        pca.components.numpy(), np.abs(pca.components).argmax(-1)[..., np.newaxis], -1
    )
    # Of entries that agree to 0.1 % another one may be the positive one.
    magnitudes = np.sort(np.abs(pca.components), axis=-1)
    clear = columns == 1 or magnitudes[..., -2:-1] < 0.998 * magnitudes[..., -1:]
    assert np.all((first > 0) | ~np.asarray(clear))


@pytest.mark.parametrize("count", [1, 3, 4])
def test_log_likelihood_is_that_of_the_normal_distribution(count, native):
    x = data((25, 4))
    pca = ss.models.PCA(count, ddof=0).fit(x)
    expected = stats.multivariate_normal(pca.mean.numpy(), pca.covariance().numpy()).logpdf(x)
    np.testing.assert_allclose(pca.log_likelihood(x), expected, rtol=1e-10)


def test_likelihood_is_highest_where_tipping_and_bishop_say(native):
    """There the slope for loadings, noise and mean is zero, and no other place is better."""
    x = data((25, 4))
    pca = ss.models.PCA(2, ddof=0).fit(x)
    constant = tf.constant

    def likelihood(mean, loadings, noise):
        covariance = loadings @ tf.transpose(loadings) + noise * tf.eye(4, dtype=tf.float64)
        l = ss.linalg_ops.cholesky(covariance)
        white = ss.linalg_ops.triangular_solve(l, tf.transpose(x - mean))
        return -0.5 * tf.reduce_sum(white**2) - 25 * ss.linalg_ops.sum_log_diag(l)

    best = [constant(v) for v in (pca.mean, pca.loadings, pca.noise_variance)]
    with tf.GradientTape() as tape:
        tape.watch(best)
        highest = likelihood(*best)
    for slope in tape.gradient(highest, best):
        np.testing.assert_allclose(slope, np.zeros(slope.shape), atol=1e-9)
    rng = np.random.default_rng(3)
    for _ in range(20):
        other = [v * (1 + 0.1 * rng.normal(size=v.shape)) for v in best]
        assert likelihood(*other) < highest
    constant_part = -0.5 * 25 * 4 * np.log(2 * np.pi)
    np.testing.assert_allclose(
        tf.reduce_sum(pca.log_likelihood(x)), highest + constant_part, rtol=1e-12
    )


def gradient(function, x):
    x = tf.convert_to_tensor(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        value = function(x)
    return tape.gradient(value, x)


@SHAPES
@METHODS
def test_derivatives(shape, method, native):
    """Of all that comes of a fit, by its data: the first and, along a direction, the second."""
    x = data(shape)
    rng = np.random.default_rng(4)
    weights = rng.normal(size=(shape[0], 2))
    direction = rng.normal(size=shape)

    def function(x):
        pca = ss.models.PCA(2, method=method, whiten=True).fit(x)
        value = tf.reduce_sum(weights * tf.sin(pca.transform(x)))
        value += tf.reduce_sum(tf.sin(pca.components)) + tf.reduce_mean(pca.log_likelihood(x))
        return value + tf.reduce_sum(pca.explained_variance_ratio)

    def slope(x):
        return tf.reduce_sum(gradient(function, x) ** 2)

    for derived in (function, slope):
        got = np.sum(gradient(derived, x) * direction)
        expected = finite_differences.directional(derived, [x], [direction])
        np.testing.assert_allclose(got, expected, rtol=1e-6)


@METHODS
def test_gradient_of_a_reconstruction_at_equal_variances(method, native):
    """Components of one variance are not unique; what they span together is, and so its slope."""
    x = np.concatenate([np.eye(4)[:3], -np.eye(4)[:3], 0.1 * np.eye(4)[3:], -0.1 * np.eye(4)[3:]])
    direction = np.random.default_rng(5).normal(size=x.shape)

    def function(x):
        pca = ss.models.PCA(3, method=method).fit(x)
        return tf.reduce_sum(tf.sin(pca.inverse_transform(pca.transform(x)) + x))

    got = np.sum(gradient(function, x) * direction)
    expected = finite_differences.directional(function, [x], [direction])
    np.testing.assert_allclose(got, expected, rtol=1e-6)


@METHODS
def test_inside_a_compiled_graph(method, native):
    x = data((8, 4))

    def value_and_gradient(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            pca = ss.models.PCA(2, method=method).fit(x)
            value = tf.reduce_sum(tf.sin(pca.transform(x))) + tf.reduce_sum(pca.log_likelihood(x))
        return pca, value, tape.gradient(value, x)

    expected = tf.nest.flatten(value_and_gradient(tf.constant(x)), expand_composites=True)
    compiled = tf.function(value_and_gradient, jit_compile=True)(tf.constant(x))
    unknown = [tf.TensorSpec([None, 4], tf.float64)]
    traced = tf.function(value_and_gradient, input_signature=unknown)(x)
    assert traced[0].components.shape == (2, 4)
    for results in (compiled, traced):
        for got, wanted in zip(
            tf.nest.flatten(results, expand_composites=True), expected, strict=True
        ):
            np.testing.assert_allclose(got, wanted, rtol=1e-9, atol=1e-10)
    with pytest.raises(tf.errors.InvalidArgumentError, match="at least 3 rows"):
        tf.function(ss.models.PCA(2).fit, input_signature=unknown)(x[:2])


def test_a_network_learns_features_through_the_likelihood():
    """As a loss of a Keras model: the likelihood of what the network makes of a batch."""
    keras = tf.keras
    keras.utils.set_random_seed(0)
    network = keras.Sequential([keras.layers.Dense(4, activation="tanh"), keras.layers.Dense(4)])

    def loss(_, features):
        pca = ss.models.PCA(2).fit(features)
        rest = features - pca.inverse_transform(pca.transform(features))
        return tf.reduce_sum(rest**2) / tf.reduce_sum((features - pca.mean) ** 2)

    network.compile(keras.optimizers.Adam(2e-2), loss=loss)
    x = np.random.default_rng(6).normal(size=(64, 5)).astype(np.float32)
    history = network.fit(x, x, batch_size=32, epochs=15, verbose=0).history["loss"]
    assert history[-1] < 0.2 * history[0]


@METHODS
def test_failure_stays_within_its_item(method, native):
    x = data((3, 8, 4))
    good = ss.models.PCA(2, method=method).fit(x)
    x[1, 2, 1] = np.nan
    variable = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(variable)
        pca = ss.models.PCA(2, method=method).fit(variable)
        total = tf.reduce_sum(tf.gather(pca.transform(variable), [0, 2]))
    for name in ("mean", "components", "explained_variance", "noise_variance"):
        got, expected = getattr(pca, name).numpy(), getattr(good, name).numpy()
        np.testing.assert_array_equal(got[[0, 2]], expected[[0, 2]])
        if name != "mean":
            assert np.all(np.isnan(got[1]))
    slope = tape.gradient(total, variable).numpy()
    assert np.all(np.isfinite(slope))
    np.testing.assert_array_equal(slope[1], 0.0)


def test_wrong_arguments_are_named():
    with pytest.raises(ValueError, match="num_components is 0"):
        ss.models.PCA(0)
    with pytest.raises(ValueError, match="method is 'svd'; it must be one of auto, eigh, lq"):
        ss.models.PCA(1, method="svd")
    with pytest.raises(ValueError, match="ddof is 2"):
        ss.models.PCA(1, ddof=2)
    with pytest.raises(
        ValueError, match=r"x has shape \(3, 5\); 3 components need at least 4 rows"
    ):
        ss.models.PCA(3).fit(np.zeros((3, 5)))
    with pytest.raises(ValueError, match=r"3 components need .* 3 features"):
        ss.models.PCA(3).fit(np.zeros((8, 2)))
    pca = ss.models.PCA(2).fit(data((8, 4)))
    with pytest.raises(ValueError, match="its last axis must be the 4 features"):
        pca.transform(np.zeros((2, 3)))
    with pytest.raises(ValueError, match="its last axis must be the 2 coordinates"):
        pca.inverse_transform(np.zeros((2, 3)))
    with pytest.raises(ValueError, match="x is float32; the components are float64"):
        pca.log_likelihood(np.zeros((2, 4), np.float32))
