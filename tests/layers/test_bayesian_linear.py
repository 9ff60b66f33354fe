"""The last layer against closed forms, finite differences, and Keras's own ways to use it."""

import subprocess
import sys

import keras
import numpy as np
import pytest
import scipy.linalg
import tensorflow as tf
from oracles import finite_differences
from scipy import stats

import statespace as ss

BIAS = pytest.mark.parametrize("use_bias", [True, False], ids=["bias", "no bias"])
SHAPES = pytest.mark.parametrize("shape", [(20, 3), (4, 6)], ids=["tall", "wide"])


def data(shape, units=2, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=shape) + 3.0
    y = x @ rng.normal(size=(shape[1], units)) + 0.3 * rng.normal(size=(shape[0], units))
    return x, y - 5.0


def layer_of(x, **options):
    layer = ss.layers.BayesianLinear(
        2, noise_scale=0.4, weight_scale=1.3, dtype="float64", **options
    )
    layer.build(x.shape)
    return layer


def test_import_of_the_package_leaves_keras_alone():
    code = "import sys, statespace; sys.exit('keras' in sys.modules or 'tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-P", "-c", code], check=False).returncode == 0


@BIAS
@SHAPES
def test_log_evidence_is_a_normal_density(shape, use_bias, native):
    """Of the targets; with a bias, of what is left of them when their mean is taken out."""
    x, y = data(shape)
    covariance = 0.4**2 * np.eye(len(x)) + 1.3**2 * x @ x.T
    constant = 0.0
    if use_bias:
        contrasts = scipy.linalg.helmert(len(x))
        covariance, constant = contrasts @ covariance @ contrasts.T, -0.5 * np.log(len(x))
    targets = contrasts @ y if use_bias else y
    expected = stats.multivariate_normal(cov=covariance).logpdf(targets.T) + constant
    got = layer_of(x, use_bias=use_bias).log_evidence(x, y)
    np.testing.assert_allclose(got, expected, rtol=1e-10)


@BIAS
@SHAPES
def test_posterior_is_that_of_the_normal_equations(shape, use_bias, native):
    x, y = data(shape)
    others = data((5, shape[1]), seed=1)[0]
    layer = layer_of(x, use_bias=use_bias, return_variance=True)
    layer.fit_posterior(x, y, learn_scales=False)
    np.testing.assert_allclose(layer.noise_scale, 0.4)
    design, at, prior = x, others, np.eye(shape[1]) / 1.3**2
    if use_bias:
        design, at = (np.column_stack([np.ones(len(v)), v]) for v in (x, others))
        prior = scipy.linalg.block_diag(0.0, prior)
    covariance = np.linalg.inv(prior + design.T @ design / 0.4**2)
    expected = at @ covariance @ design.T @ y / 0.4**2
    variance = np.sum(at @ covariance * at, axis=1)[:, np.newaxis] * np.ones(2)
    for mean, with_noise in (
        layer(others),
        (lambda d: (d.mean(), d.variance()))(layer.predict_distribution(others)),
    ):
        np.testing.assert_allclose(mean, expected, rtol=1e-8)
        np.testing.assert_allclose(with_noise, variance + 0.4**2, rtol=1e-8)
    bare = layer.predict_distribution(others, noise=False)
    np.testing.assert_allclose(bare.variance(), variance, rtol=1e-7)
    # Any leading axes.
    stacked = layer(np.stack([others, others]))
    np.testing.assert_allclose(stacked[1][1], variance + 0.4**2, rtol=1e-8)


@BIAS
def test_scales_are_where_the_evidence_is_highest(use_bias):
    x, y = data((30, 3))
    layer = layer_of(x, use_bias=use_bias)
    layer.fit_posterior(x, y)
    with tf.GradientTape() as tape:
        value = tf.reduce_sum(layer.log_evidence(x, y))
    for slope in tape.gradient(value, [layer.log_noise_scale, layer.log_weight_scale]):
        np.testing.assert_allclose(slope, np.zeros(2), atol=1e-4)
    assert np.all(value > tf.reduce_sum(layer_of(x, use_bias=use_bias).log_evidence(x, y)))


@BIAS
@SHAPES
def test_derivatives_of_the_evidence(shape, use_bias, native):
    x, y = data(shape)
    layer = layer_of(x, use_bias=use_bias)
    rng = np.random.default_rng(2)
    directions = [rng.normal(size=v.shape) for v in (x, y)]

    def function(x, y):
        return tf.reduce_sum(tf.sin(layer.log_evidence(x, y) / 10))

    def gradient(function, arguments):
        arguments = [tf.convert_to_tensor(v) for v in arguments]
        with tf.GradientTape() as tape:
            tape.watch(arguments)
            value = function(*arguments)
        return tape.gradient(value, arguments)

    def slope(x, y):
        return tf.add_n([tf.reduce_sum(g**2) for g in gradient(function, [x, y])])

    for derived in (function, slope):
        got = gradient(derived, [x, y])
        got = sum(np.sum(g * d) for g, d in zip(got, directions, strict=True))
        expected = finite_differences.directional(derived, [x, y], directions)
        np.testing.assert_allclose(got, expected, rtol=1e-6)


def end_to_end(units=1, **options):
    """A model to train, with an input for targets, the part below the layer, and the layer."""
    keras.utils.set_random_seed(0)
    inputs, targets = keras.Input((2,)), keras.Input((units,))
    features = keras.layers.Dense(8, activation="tanh")(inputs)
    head = ss.layers.BayesianLinear(units, **options)
    trained = keras.Model([inputs, targets], head(features, targets=targets))
    return trained, keras.Model(inputs, features), head


@pytest.mark.parametrize("jit_compile", [False, True])
def test_a_network_trains_by_the_evidence(jit_compile):
    rng = np.random.default_rng(3)
    x = rng.uniform(-2, 2, size=(60, 2)).astype(np.float32)
    y = np.sin(2 * x[:, :1]) + 0.1 * rng.normal(size=(60, 1)).astype(np.float32)
    trained, below, head = end_to_end()
    trained.compile(keras.optimizers.Adam(0.03), jit_compile=jit_compile)
    before = head.log_evidence(below(x), y)
    assert trained.evaluate([x, y], batch_size=60, verbose=0) == pytest.approx(
        -float(before[0]) / 60, rel=1e-4
    )
    start = [w.numpy() for w in trained.trainable_variables]
    trained.fit([x, y], batch_size=60, epochs=60, verbose=0)
    for variable, old in zip(trained.trainable_variables, start, strict=True):
        assert not np.array_equal(variable, old), f"{variable.path} has not moved"
    assert head.log_evidence(below(x), y)[0] > before[0] + 30
    head.fit_posterior(below.predict(x, verbose=0), y)
    model = keras.Model(below.input, head(below.output))
    others = rng.uniform(-2, 2, size=(200, 2)).astype(np.float32)
    error = model.predict(others, verbose=0) - np.sin(2 * others[:, :1])
    assert np.sqrt(np.mean(error**2)) < 0.25


def test_batches_of_unknown_size_and_two_outputs():
    trained, below, head = end_to_end(units=2, return_variance=True)
    trained.compile(keras.optimizers.Adam(0.01))
    x = np.random.default_rng(4).normal(size=(50, 2)).astype(np.float32)
    trained.fit([x, x], batch_size=16, epochs=1, verbose=0)
    mean, variance = trained.predict([x, x], verbose=0)
    assert mean.shape == variance.shape == (50, 2)
    assert np.all(variance > 0)
    assert head.compute_output_shape((None, 8)) == ((None, 2), (None, 2))
    assert [tuple(t.shape) for t in head(below.output)] == [(None, 2), (None, 2)]


LOAD = """
import sys
import keras, numpy as np
import statespace.layers
model = keras.saving.load_model(sys.argv[1])
x = np.load(sys.argv[2])
distribution = model.layers[-1].predict_distribution(model.layers[0](x))
np.save(sys.argv[3], np.stack([model(x), distribution.mean(), distribution.stddev()]))
"""


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_saved_and_loaded_in_another_process(dtype, tmp_path):
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((2,), dtype=dtype),
            keras.layers.Dense(5, activation="tanh", dtype=dtype),
            ss.layers.BayesianLinear(1, dtype=dtype),
        ]
    )
    x = np.random.default_rng(5).normal(size=(30, 2)).astype(dtype)
    head, features = model.layers[-1], model.layers[0](x)
    head.fit_posterior(features, np.sum(x, axis=1) + 0.1 * np.sin(50 * x[:, 0]))
    distribution = head.predict_distribution(features)
    expected = np.stack([model(x), distribution.mean(), distribution.stddev()])
    assert expected.dtype == dtype
    paths = [str(tmp_path / name) for name in ("model.keras", "x.npy", "got.npy")]
    model.save(paths[0])
    np.save(paths[1], x)
    subprocess.run([sys.executable, "-P", "-c", LOAD, *paths], check=True)
    np.testing.assert_allclose(np.load(paths[2]), expected, rtol=1e-6)


def test_config_gives_the_layer_back():
    layer = ss.layers.BayesianLinear(
        3, use_bias=False, noise_scale=0.1, weight_scale=2.0, return_variance=True, name="head"
    )
    again = ss.layers.BayesianLinear.from_config(layer.get_config())
    assert again.get_config() == layer.get_config()
    assert again.name == "head"


def test_mixed_precision_computes_in_the_type_of_the_variables():
    x, y = (v.astype(np.float32) for v in data((20, 3)))
    full, mixed = (
        ss.layers.BayesianLinear(2, dtype=dtype) for dtype in ("float32", "mixed_float16")
    )
    for layer in (full, mixed):
        layer.fit_posterior(x, y)
    half = x.astype(np.float16)
    assert mixed(half).dtype == tf.float32
    np.testing.assert_array_equal(mixed(half), full(half.astype(np.float32)))


def test_before_any_data_it_predicts_by_the_prior():
    x, _ = data((4, 3))
    prediction = layer_of(x).predict_distribution(x)
    np.testing.assert_array_equal(prediction.mean(), np.zeros((4, 2)))
    expected = 1.3**2 * np.sum(x**2, axis=1, keepdims=True) + 0.4**2
    np.testing.assert_allclose(prediction.variance(), expected * np.ones(2))


def test_wrong_arguments_are_named():
    with pytest.raises(ValueError, match="BayesianLinear: units is 0"):
        ss.layers.BayesianLinear(0)
    with pytest.raises(ValueError, match=r"noise_scale is -1\.0; it must be positive"):
        ss.layers.BayesianLinear(1, noise_scale=-1.0)
    with pytest.raises(ValueError, match="dtype is float16; variables must be float32 or float64"):
        ss.layers.BayesianLinear(1, dtype="float16")
    x, y = data((6, 3))
    layer = layer_of(x)
    for scale in ("large", None, np.array([1.0, 2.0])):
        with pytest.raises(ValueError, match=r"weight_scale is .*; it must be positive and finite"):
            ss.layers.BayesianLinear(1, weight_scale=scale)
    with pytest.raises(ValueError, match="it has no scales yet"):
        _ = ss.layers.BayesianLinear(1).noise_scale
    broken = y.copy()
    broken[2, 0] = np.nan
    for call, message in (
        (lambda: layer.fit_posterior(x, y[:5]), r"targets \(5, 2\); they must be \[\.\.\., N, 3\]"),
        (lambda: layer.fit_posterior(x, broken), r"targets\[2, 0\] is nan"),
        (lambda: layer.fit_posterior(x[:0], y[:0]), "there are no rows"),
        (lambda: layer.fit_posterior(x, np.ones_like(y)), "y is constant .* learn_scales=False"),
        (lambda: layer.fit_posterior([["a"]], y), "features is no array of numbers"),
        (lambda: layer.log_evidence(x[:, :2], y), r"features have shape \(6, 2\)"),
        (lambda: layer.predict_distribution(broken.T[:, :3]), r"features\[0, 2\] is nan"),
    ):
        with pytest.raises(ValueError, match=message):
            call()
    with pytest.raises(ValueError, match="fit_posterior: it cannot be part of a graph"):
        tf.function(layer.fit_posterior)(x, y)


@pytest.mark.parametrize("shape", [(6, 1), (6, 2), (3,)])
def test_features_of_another_size_do_not_broadcast(shape):
    x, y = data((6, 3))
    layer = layer_of(x)
    layer.fit_posterior(x, y)
    for call in (layer, layer.predict_distribution):
        with pytest.raises(
            ValueError, match=r"features have shape .*; they must be \[\.\.\., N, D\]"
        ):
            call(np.ones(shape))


def test_features_of_another_type_are_cast():
    x, y = data((6, 3))
    layer = layer_of(x)
    layer.fit_posterior(x, y)
    want = layer.predict_distribution(x).mean()
    for features in (tf.constant(x), tf.cast(x, tf.float32), x.tolist()):
        got = layer.predict_distribution(features).mean()
        assert got.dtype == tf.float64
        np.testing.assert_allclose(got, want, rtol=1e-6)
    evidence = layer_of(x).log_evidence(x, y)
    unbuilt = ss.layers.BayesianLinear(2, noise_scale=0.4, weight_scale=1.3, dtype="float64")
    np.testing.assert_array_equal(unbuilt.log_evidence(x, y), evidence)
