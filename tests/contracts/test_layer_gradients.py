"""No trainable weight of any layer has gradient None, whatever of its outputs a loss uses."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from layers.kalman_cases import CASES, LAYERS, made

import statespace as ss


def assert_none_is_missing(layer, losses):
    """Each loss, a function without arguments, reaches every weight."""
    assert layer.trainable_weights
    for name, loss in losses.items():
        with tf.GradientTape() as tape:
            value = loss()
        gradients = tape.gradient(value, [w.value for w in layer.trainable_weights])
        for weight, gradient in zip(layer.trainable_weights, gradients, strict=True):
            assert gradient is not None, f"{layer.name}, {name}: {weight.name}"
            gradient = tf.convert_to_tensor(gradient)  # of an embedding, slices
            assert np.all(np.isfinite(gradient)), f"{layer.name}, {name}: {weight.name}"


@pytest.mark.parametrize("kind", sorted(LAYERS))
@pytest.mark.parametrize("case", sorted(set(CASES) - {"fixed", "fixed, all emitted"}))
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_kalman_layers(kind, case, dtype):
    layer, inputs = made(
        kind, case, dtype, return_log_likelihood=True, join_standard_deviation=True
    )
    states = len(layer.state_space_model(inputs).initial_mean)

    def mean():
        return tf.reduce_sum(layer(inputs)[0][..., :states] ** 2)

    def deviation():
        return tf.reduce_sum(layer(inputs)[0][..., states:] ** 2)

    def likelihood():
        return tf.reduce_sum(layer(inputs)[1])

    assert_none_is_missing(layer, {"mean": mean, "deviation": deviation, "likelihood": likelihood})


@pytest.mark.parametrize("kind", sorted(LAYERS))
def test_controls_of_fixed_dynamics(kind):
    layer, inputs = made(kind, "fixed, all emitted")
    assert [w.name for w in layer.trainable_weights] == ["control_matrix"]
    assert_none_is_missing(layer, {"mean": lambda: tf.reduce_sum(layer(inputs) ** 2)})
    assert not made(kind, "fixed")[0].trainable_weights


def test_what_is_emitted_leaves_no_idle_weights():
    names = {case: {w.name for w in made("smoother", case)[0].trainable_weights} for case in CASES}
    assert names["learned"] - names["learned, scale emitted"] == {"observation_scale"}
    assert names["learned"] - names["learned, all emitted"] == {
        "observation_scale",
        "transition_scale",
    }
    assert names["velocity"] - names["velocity, scale emitted"] == {"irregular.scale"}
    assert names["learned"] - names["learned in part"] == {"transition_matrix"}


@pytest.mark.parametrize("use_bias", [False, True])
def test_bayesian_linear(use_bias):
    layer = ss.layers.BayesianLinear(2, use_bias=use_bias, return_variance=True)
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(8, 3)).astype("float32"), rng.normal(size=(8, 2)).astype("float32")

    def evidence():
        layer(x, targets=y)
        return tf.add_n(layer.losses)

    evidence()
    losses = {
        "evidence": evidence,
        "variance given targets": lambda: tf.reduce_sum(layer(x, targets=y)[1]),
    }
    assert_none_is_missing(layer, losses)


def test_a_network_around_the_layers():
    """An encoder below and a decoder above: all of it learns."""
    y = keras.Input((None, 2))
    scale = keras.layers.Dense(2, activation="softplus")(keras.layers.GRU(4)(y)[:, None])
    filtered = ss.layers.KalmanFilter(3)((keras.layers.Dense(2)(y), scale))
    model = keras.Model(y, keras.layers.Dense(1)(filtered))
    data = np.random.default_rng(1).normal(size=(4, 6, 2)).astype("float32")
    assert_none_is_missing(model, {"output": lambda: tf.reduce_sum(model(data) ** 2)})


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("encoder", ["lstm", "gru", "convolution"])
def test_deep_state_space(encoder, dtype):
    """By the likelihood, and by losses on predictions."""
    base = ss.models.DampedTrend() + ss.models.Cycle() + ss.models.DynamicRegression(2)
    model = ss.models.DeepStateSpace(base, encoder, num_categories=3, dtype=dtype)
    rng = np.random.default_rng(2)
    inputs = {
        "y": rng.normal(size=(3, 7)),
        "covariates": rng.normal(size=(3, 7, 2)),
        "static": rng.normal(size=(3, 2)),
        "category": np.array([0, 2, 1]),
        "features": rng.normal(size=(3, 7, 2)),
        "lengths": np.array([7, 4, 6]),
    }
    model(inputs)
    names = {w.name for w in model.trainable_weights}
    assert {"slope.damping", "cycle.period", "cycle.damping", "embeddings"} <= names
    losses = {
        "likelihood": lambda: tf.reduce_sum(model.log_likelihood(inputs)),
        "predictions": lambda: tf.reduce_sum(model(inputs) ** 2),
    }
    assert_none_is_missing(model, losses)
