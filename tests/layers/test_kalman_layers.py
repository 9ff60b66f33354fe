"""What the Kalman layers compute, against a dense Gaussian and the functions they stand on."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from kalman.models import NAMES
from layers.kalman_cases import (
    BATCH,
    CASES,
    LAYERS,
    OBSERVED,
    STEPS,
    emitted,
    fixed_dynamics,
    made,
    observations,
)
from oracles import dense, finite_differences
from scipy import linalg

import statespace as ss

KINDS = pytest.mark.parametrize("kind", sorted(LAYERS))


def dense_model(ssm, inputs, control_matrix, series):
    """The oracle's model of one series: the emitted parts put in by NumPy."""
    p = {name: np.asarray(getattr(ssm, name)) for name in NAMES}

    def matrices(scale):
        scale = inputs[scale][series]
        return scale if scale.ndim == 3 else np.array([np.diag(x) for x in scale])

    def repeated(name):
        return np.repeat(p[name][np.newaxis], STEPS, 0)

    return dense.Model(
        f=repeated("transition_matrix"),
        g=p["transition_scale"] @ matrices("transition_noise_scale"),
        h=repeated("observation_matrix"),
        c=matrices("observation_noise_scale"),
        b=p["transition_offset"] + inputs["controls"][series] @ control_matrix.T,
        d=repeated("observation_offset"),
        m0=p["initial_mean"],
        s0=p["initial_scale"],
    )


@pytest.mark.parametrize("full", [False, True], ids=["diagonal", "full"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_moments_are_those_of_the_joint_gaussian(dtype, full, native):
    """With all that can be emitted: states, observations, predictions, likelihood."""
    ssm, inputs = fixed_dynamics(), emitted(2, full=full)
    control_matrix = np.random.default_rng(8).normal(size=(3, 2))
    tolerance = {"rtol": 1e-4, "atol": 1e-4} if dtype == "float32" else {"rtol": 1e-9, "atol": 1e-9}

    def run(kind, output):
        layer = LAYERS[kind](
            dynamics=ssm,
            fix={"control_matrix": control_matrix},
            output=output,
            return_covariance=True,
            return_scale=True,
            return_log_likelihood=True,
            dtype=dtype,
        )
        return [x.numpy() for x in layer(inputs)]

    results = {
        (kind, output): run(kind, output)
        for kind, layer in LAYERS.items()
        for output in layer.outputs
    }
    y = inputs["observations"]
    for series in range(BATCH):
        model = dense_model(ssm, inputs, control_matrix, series)
        for (kind, output), (mean, covariance, scale, total) in results.items():
            np.testing.assert_allclose(
                total[series], dense.log_likelihood(model, y[series]), **tolerance
            )
            for t in range(STEPS):
                known = y[series].copy()
                if kind == "filter":
                    known[t if output == "predictions" else t + 1 :] = np.nan
                expected, spread = dense.posterior(model, known)
                expected, spread = expected[t], spread[t, :, t]
                if output != "states":
                    h, c = model.h[t], model.c[t]
                    expected = h @ expected + model.d[t]
                    spread = h @ spread @ h.T + c @ c.T
                np.testing.assert_allclose(mean[series, t], expected, **tolerance)
                np.testing.assert_allclose(covariance[series, t], spread, **tolerance)
                np.testing.assert_allclose(
                    scale[series, t] @ scale[series, t].T, spread, **tolerance
                )
                assert np.all(np.triu(scale[series, t], 1) == 0)


@KINDS
@pytest.mark.parametrize("case", sorted(CASES))
def test_layers_and_functions_agree(kind, case):
    """On the model that the layer says it has."""
    layer, inputs = made(kind, case, return_covariance=True, return_log_likelihood=True)
    mean, covariance, total = layer(inputs)
    ssm = layer.state_space_model(inputs)
    y = inputs["observations"] if isinstance(inputs, dict) else inputs
    y = y[0] if isinstance(y, tuple) else y
    if kind == "filter":
        result = ss.kalman_filter(ssm, y, algorithm="square_root")
        expected = result.filtered_mean, result.filtered_covariance
    else:
        result = ss.kalman_smoother(ssm, y, algorithm="square_root")
        expected = result.smoothed_mean, result.smoothed_covariance
    size = np.max(np.abs(expected[1]))
    np.testing.assert_allclose(mean, expected[0], rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(covariance, expected[1], rtol=1e-6, atol=1e-8 * size)
    np.testing.assert_allclose(total, result.log_likelihood, rtol=1e-8)


def test_a_structural_model_is_what_its_build_says():
    """At its parameters' values, with the diffuse start exact."""
    model = ss.models.LocalLinearTrend()
    values = {"irregular.scale": 0.7, "level.scale": 0.3, "slope.scale": 0.1}
    layer = ss.layers.KalmanSmoother(
        dynamics=model, initial_values=values, diffuse_scale=None, dtype="float64"
    )
    y = observations()[..., :1]
    expected = ss.kalman_smoother(model.build(values), y).smoothed_mean
    np.testing.assert_allclose(layer(y), expected, rtol=1e-10, atol=1e-12)
    for name, value in layer.parameters.items():
        np.testing.assert_allclose(value, values[name], rtol=1e-12)
    vague = ss.layers.KalmanSmoother(dynamics=model, initial_values=values, dtype="float64")
    np.testing.assert_allclose(vague(y), expected, rtol=1e-4, atol=1e-4)


def test_dynamics_start_out_stable():
    layer = ss.layers.KalmanFilter(6, dtype="float64")
    layer(observations())
    values = layer.parameters
    f, g = np.asarray(values["transition_matrix"]), np.diag(values["transition_scale"])
    assert np.max(np.abs(np.linalg.eigvals(f))) < 1
    stationary = linalg.solve_discrete_lyapunov(f, g @ g.T)
    np.testing.assert_allclose(stationary, np.eye(6), atol=1e-12)
    rows = np.linalg.norm(values["observation_matrix"], axis=1)
    np.testing.assert_allclose(rows, np.ones(OBSERVED), rtol=1e-6)


@pytest.mark.parametrize(
    "model",
    [
        ss.models.LocalLevel(),
        ss.models.LocalLinearTrend(),
        ss.models.LocalLevel() + ss.models.Seasonal(4),
        ss.models.ConstantVelocity(1),
    ],
    ids=repr,
)
def test_components_start_at_scales_for_standardised_data(model):
    """White noise and a random walk: within some nats of what training can reach."""
    rng = np.random.default_rng(12)
    y = np.stack([rng.normal(size=(8, 80)), rng.normal(size=(8, 80)).cumsum(axis=1)])
    y = (y - y.mean(axis=-1, keepdims=True)) / y.std(axis=-1, keepdims=True)
    for kind in y:
        layer = ss.layers.KalmanFilter(dynamics=model, return_log_likelihood=True)
        _, total = layer(kind[..., np.newaxis])
        scales = layer.parameters.values()
        np.testing.assert_allclose(list(scales), 0.3, rtol=1e-6)
        assert -np.mean(total) / 80 < 5.0


@KINDS
def test_masks_and_nan_agree(kind):
    layer, (y, scale) = made(kind, "learned, scale emitted", return_log_likelihood=True)
    mask = np.random.default_rng(9).random((BATCH, STEPS)) < 0.7
    with_nan = np.where(mask[..., np.newaxis], y, np.nan)
    for got, expected in zip(
        layer((y, scale), mask=tf.constant(mask)), layer((with_nan, scale)), strict=True
    ):
        np.testing.assert_array_equal(got, expected)


@KINDS
@pytest.mark.parametrize("return_sequences", [False, True])
def test_ragged_series_equal_single_runs(kind, return_sequences):
    """What pads them has no influence, in values and gradients, and the last step is their own."""
    layer, (y, scale) = made(
        kind,
        "learned, scale emitted",
        return_sequences=return_sequences,
        return_log_likelihood=True,
        likelihood_weight=1.0,
    )
    lengths = [STEPS, 4, 2]
    mask = np.arange(STEPS) < np.array(lengths)[:, np.newaxis]
    padded = np.where(mask[..., np.newaxis], y, 1e3)
    mean, total = layer((padded, scale), mask=tf.constant(mask))
    [loss] = layer.losses
    for series, length in enumerate(lengths):
        alone, own = layer((y[series : series + 1, :length], scale[series : series + 1, :length]))
        got = mean[series, :length] if return_sequences else mean[series]
        np.testing.assert_allclose(got, alone[0], rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(total[series], own[0], rtol=1e-12)
    observed = np.any(mask[..., np.newaxis] & ~np.isnan(y), axis=-1)
    np.testing.assert_allclose(loss, -np.sum(total) / np.sum(observed), rtol=1e-12)


@pytest.mark.parametrize("case", ["learned", "velocity, all emitted", "fixed, all emitted"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_stream_in_pieces_is_one_call(case, dtype):
    # Of a vague start what is handed on would be rounded, as its variance is.
    options = {"diffuse_scale": 10.0, "return_covariance": True, "return_log_likelihood": True}
    whole, inputs = made("filter", case, dtype, output="predictions", **options)
    stream, _ = made("filter", case, dtype, output="predictions", stateful=True, **options)
    mask = np.random.default_rng(10).random((BATCH, STEPS)) < 0.8

    def pieces():
        for part in (slice(0, 1), slice(1, 5), slice(5, STEPS)):
            some = keras.tree.map_structure(lambda x, part=part: x[:, part], inputs)
            yield stream(some, mask=tf.constant(mask[:, part]))

    expected = whole(inputs, mask=tf.constant(mask))
    tolerance = 1e-6 if dtype == "float32" else 1e-9
    for _ in range(2):
        mean, covariance, total = zip(*pieces(), strict=True)
        np.testing.assert_allclose(np.concatenate(mean, 1), expected[0], rtol=0, atol=tolerance)
        got = np.concatenate(covariance, 1)
        np.testing.assert_allclose(got, expected[1], rtol=tolerance, atol=tolerance)
        np.testing.assert_allclose(np.sum(total, axis=0), expected[2], rtol=10 * tolerance)
        stream.reset_state()


@KINDS
@pytest.mark.parametrize("case", ["learned, all emitted", "velocity, all emitted"])
def test_gradients_equal_finite_differences(case, kind):
    """Of every output, for every input and weight, along random directions."""
    layer, inputs = made(
        kind,
        case,
        join_standard_deviation=True,
        return_scale=True,
        likelihood_weight=0.3,
        initial_values={"control_matrix": np.ones((3 if "learned" in case else 4, 2))},
        diffuse_scale=2.0,
    )
    layer(inputs)
    arrays = [*inputs.values(), *(w.numpy() for w in layer.trainable_weights)]
    rng = np.random.default_rng(11)
    directions = [rng.normal(size=x.shape) for x in arrays]

    def function(*values):
        for weight, value in zip(layer.trainable_weights, values[len(inputs) :], strict=True):
            weight.assign(value)
        outputs = layer(dict(zip(inputs, values[: len(inputs)], strict=True)))
        return tf.add_n([tf.reduce_sum(tf.sin(x)) for x in (*outputs, *layer.losses)])

    function(*arrays)
    tensors = [tf.constant(x) for x in inputs.values()]
    with tf.GradientTape() as tape:
        tape.watch(tensors)
        outputs = layer(dict(zip(inputs, tensors, strict=True)))
        value = tf.add_n([tf.reduce_sum(tf.sin(x)) for x in (*outputs, *layer.losses)])
    slopes = tape.gradient(value, [*tensors, *(w.value for w in layer.trainable_weights)])
    assert np.all(np.asarray(slopes[0])[np.isnan(arrays[0])] == 0)
    for which in range(len(arrays)):
        only = [d if i == which else 0 * d for i, d in enumerate(directions)]
        expected = finite_differences.directional(function, arrays, only)
        got = np.sum(slopes[which] * directions[which])
        np.testing.assert_allclose(got, expected, rtol=1e-6, atol=1e-8, err_msg=str(which))


def test_means_and_standard_deviations_joined():
    layer, y = made("smoother", "learned", join_standard_deviation=True, return_covariance=True)
    joined, covariance = layer(y)
    deviation = np.sqrt(np.diagonal(covariance, axis1=-2, axis2=-1))
    np.testing.assert_allclose(joined[..., 3:], deviation, rtol=1e-12)
    plain = made("smoother", "learned")[0](y)
    np.testing.assert_array_equal(joined[..., :3], plain)
