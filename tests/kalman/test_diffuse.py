"""The exact diffuse start against generalised least squares, statsmodels and published numbers."""

import math

import numpy as np
import pytest
import tensorflow as tf
from kalman.models import build, dense, floating, random_data, random_parameters, tensors
from oracles import dense as oracle
from oracles import finite_differences
from slow import slow_reference

import statespace as ss
from statespace import config

needs_native = pytest.mark.skipif(
    not config.native_available(), reason="the compiled library is not available"
)
T = 8
CASES = {  # name: (batch, lead of per-step parameters, n, m, diffuse states, missing)
    "all diffuse": ((), (), 2, 1, [True, True], 0.25),
    "per series": ((9,), (9, 1), 3, 2, [True, True, True], 0.25),
    "some proper, time-varying": ((3,), (3, T), 3, 2, [True, False, True], 0.25),
    "proper ones in between": ((2, 2), (T,), 4, 2, [False, True, False, True], 0.25),
    "mostly missing": ((5,), (5, T), 4, 3, [True, True, True, False], 0.5),
    "more components than states": ((), (T,), 2, 4, [True, True], 0.0),
    "none": ((3,), (), 2, 2, [False, False], 0.25),
}


@pytest.fixture(params=CASES.values(), ids=CASES.keys())
def case(request):
    batch, lead, n, m, diffuse, missing = request.param
    rng = np.random.default_rng(0)
    parameters = random_parameters(rng, n, m, lead=lead, batch=batch)
    y = random_data(rng, batch, T, m, missing)
    return parameters, y, np.array(diffuse)


def model(parameters, diffuse, dtype=tf.float64):
    return ss.LinearGaussianSSM(
        **{name: tf.cast(x, dtype) for name, x in parameters.items()}, diffuse=diffuse
    )


def without_start(parameters, diffuse):
    """The parameters, with zeros in what a diffuse start must ignore."""
    mean = np.where(diffuse, 0.0, parameters["initial_mean"])
    scale = np.where(diffuse[:, np.newaxis], 0.0, parameters["initial_scale"])
    return parameters | {"initial_mean": mean, "initial_scale": scale}


def close(x, expected, tolerance=1e-9):
    np.testing.assert_allclose(x, expected, rtol=tolerance, atol=tolerance)


def test_likelihood_and_smoother_against_least_squares(case, native):
    parameters, y, diffuse = case
    ssm, batch = model(parameters, diffuse), y.shape[:-2]
    value = ss.log_likelihood(ssm, y)
    result = ss.kalman_smoother(ssm, y)
    close(ss.kalman_filter(ssm, y).log_likelihood, value)
    close(tf.reduce_sum(ss.log_likelihood(ssm, y, per_step=True), axis=-1), value)
    np.testing.assert_array_equal(result.info, np.zeros(batch))
    np.testing.assert_array_equal(result.diffuse_observations, np.full(batch, sum(diffuse)))
    for item in np.ndindex(*batch):
        dense_model = dense(without_start(parameters, diffuse), item, batch, T)
        expected, mean, covariance = oracle.diffuse_posterior(dense_model, y[item], diffuse)
        close(value.numpy()[item], expected)
        close(result.smoothed_mean.numpy()[item], mean)
        for t in range(T):
            close(result.smoothed_covariance.numpy()[item][t], covariance[t, :, t])
        for t in range(T - 1):
            close(result.lag_one_covariance.numpy()[item][t], covariance[t + 1, :, t])


def test_filter_once_all_is_identified(case, native):
    parameters, y, diffuse = case
    batch = y.shape[:-2]
    result = ss.kalman_filter(model(parameters, diffuse), y)
    last = T - 1
    for item in np.ndindex(*batch):
        dense_model = dense(without_start(parameters, diffuse), item, batch, T)
        _, mean, covariance = oracle.diffuse_posterior(dense_model, y[item], diffuse)
        close(result.filtered_mean.numpy()[item][last], mean[last])
        close(result.filtered_covariance.numpy()[item][last], covariance[last, :, last])
        before = np.where(np.arange(T)[:, np.newaxis] < last, y[item], np.nan)
        _, mean, covariance = oracle.diffuse_posterior(dense_model, before, diffuse)
        close(result.predicted_mean.numpy()[item][last], mean[last])
        close(result.predicted_covariance.numpy()[item][last], covariance[last, :, last])


def test_start_of_diffuse_states_is_ignored(case, native):
    parameters, y, diffuse = case
    with tf.GradientTape() as tape:
        start = [tf.constant(parameters[name]) for name in ("initial_mean", "initial_scale")]
        tape.watch(start)
        moved = parameters | dict(zip(("initial_mean", "initial_scale"), start, strict=True))
        value = ss.log_likelihood(model(moved, diffuse), y)
    close(value, ss.log_likelihood(model(without_start(parameters, diffuse), diffuse), y), 0)
    mean_bar, scale_bar = tape.gradient(value, start)
    assert np.all(mean_bar.numpy()[..., diffuse] == 0.0)
    assert np.all(scale_bar.numpy()[..., diffuse, :] == 0.0)


def weighted(parameters, y, diffuse, algorithm="univariate"):
    """sum(w log p) with weights by step, and its gradient for the parameters and the data."""
    observed, weights = np.isfinite(y), np.random.default_rng(1).normal(size=(*y.shape[:-2], T))
    arguments = {name: tf.constant(x) for name, x in parameters.items()}
    arguments["y"] = tf.constant(np.where(observed, y, 0.0))

    def total(**arguments):
        data = arguments.pop("y")
        ssm = model(arguments, diffuse)
        value = ss.log_likelihood(ssm, data, mask=observed, per_step=True, algorithm=algorithm)
        return tf.reduce_sum(weights * value)

    with tf.GradientTape() as tape:
        tape.watch(arguments)
        value = total(**arguments)
    return total, arguments, tape.gradient(value, arguments)


@needs_native
def test_gradient_against_finite_differences(case):
    total, arguments, gradient = weighted(*case)
    for name, x in arguments.items():
        direction = np.random.default_rng(2).normal(size=x.shape)
        expected = finite_differences.directional(
            lambda moved, name=name: total(**(arguments | {name: moved})),
            [x.numpy()],
            [direction],
            step=1e-5,
        )
        got = np.sum(gradient[name] * direction)
        scale = np.sum(np.abs(gradient[name] * direction))
        assert abs(got - expected) < 1e-6 * max(scale, 1.0), name


@needs_native
def test_gradient_equals_that_of_the_reference(case):
    *_, gradient = weighted(*case)
    *_, expected = weighted(*case, algorithm="reference")
    for name, x in expected.items():
        close(gradient[name], x)


@slow_reference
def test_curvature(native):
    rng = np.random.default_rng(3)
    parameters = random_parameters(rng, 2, 2)
    y = random_data(rng, (2,), T, 2)
    scale = tf.constant(parameters["observation_scale"])
    direction = rng.normal(size=scale.shape)

    def slope(scale):
        with tf.GradientTape() as tape:
            tape.watch(scale)
            ssm = model(parameters | {"observation_scale": scale}, [True, False])
            value = tf.reduce_sum(ss.log_likelihood(ssm, y))
        return tf.reduce_sum(tape.gradient(value, scale) * direction)

    with tf.GradientTape() as tape:
        tape.watch(scale)
        value = slope(scale)
    got = np.sum(tape.gradient(value, scale) * direction)
    np.testing.assert_allclose(
        got, finite_differences.directional(slope, [scale], [direction]), rtol=1e-6
    )


@pytest.mark.parametrize("infer", [ss.kalman_filter, ss.kalman_smoother])
def test_moments_are_differentiable(infer, native):
    rng = np.random.default_rng(4)
    parameters = random_parameters(rng, 2, 1)
    y = random_data(rng, (2,), T, 1)
    names = ("transition_matrix", "transition_scale", "observation_matrix", "observation_scale")
    arrays = [tf.constant(parameters[name]) for name in names]
    directions = [rng.normal(size=x.shape) for x in arrays]

    def total(*arrays):
        ssm = model(parameters | dict(zip(names, arrays, strict=True)), [True, True])
        return tf.add_n([tf.reduce_sum(tf.sin(x)) for x in floating(infer(ssm, y))])

    with tf.GradientTape() as tape:
        tape.watch(arrays)
        value = total(*arrays)
    pairs = zip(tape.gradient(value, arrays), directions, strict=True)
    got = sum(np.sum(g * d) for g, d in pairs)
    expected = finite_differences.directional(total, arrays, directions)
    np.testing.assert_allclose(got, expected, rtol=1e-6)


def structural(period=4):
    """Level, slope and dummy seasonal: transitions of zeros and ones, few noises."""
    n = period + 1
    transition = np.zeros([n, n])
    transition[:2, :2] = [[1.0, 1.0], [0.0, 1.0]]
    transition[2, 2:] = -1.0
    transition[np.arange(3, n), np.arange(2, n - 1)] = 1.0
    observation = np.zeros([1, n])
    observation[0, [0, 2]] = 1.0
    return {
        "transition_matrix": transition,
        "transition_scale": np.eye(n)[:, :3] * [0.5, 0.1, 0.3],
        "observation_matrix": observation,
        "observation_scale": np.array([[0.7]]),
        "transition_offset": np.zeros(n),
        "observation_offset": np.zeros(1),
        "initial_mean": np.zeros(n),
        "initial_scale": np.eye(n),
    }


@pytest.mark.parametrize("gap", [(), (0,), (1, 2), (2, 3, 4, 5, 6, 7), tuple(range(3, 15))])
@pytest.mark.parametrize("noise", [0.7, 0.0])
def test_structural_model_against_least_squares(gap, noise, native):
    """Also a gap in the diffuse phase, and observations without noise."""
    parameters = structural() | {"observation_scale": np.array([[noise]])}
    y = np.cumsum(np.random.default_rng(5).normal(size=(20, 1)), axis=0)
    y[list(gap)] = np.nan
    diffuse = np.ones(5, bool)
    ssm = model(parameters, diffuse)
    smoothed = ss.kalman_smoother(ssm, y)
    assert smoothed.diffuse_observations == 5
    # Least squares cannot take the first step without noise: its covariance is singular.
    if noise > 0:
        dense_model = dense(without_start(parameters, diffuse), (), (), len(y))
        expected, mean, covariance = oracle.diffuse_posterior(dense_model, y, diffuse)
        close(smoothed.log_likelihood, expected, 1e-8)
        close(smoothed.smoothed_mean, mean, 1e-7)
        steps = range(len(y))
        close(smoothed.smoothed_covariance, [covariance[t, :, t] for t in steps], 1e-7)
    else:
        fitted = tf.linalg.matvec(ssm.observation_matrix, smoothed.smoothed_mean)
        close(fitted[np.isfinite(y[:, 0])], y[np.isfinite(y[:, 0])], 1e-8)
        near = ss.log_likelihood(model(structural() | {"observation_scale": [[1e-6]]}, diffuse), y)
        close(smoothed.log_likelihood, near, 1e-8)


@pytest.mark.parametrize("factor", [1e-100, 1e-8, 1e8, 1e100])
def test_units_of_the_data(factor, native):
    """In other units the density of an observation has another unit, and nothing else changes."""
    y = np.cumsum(np.random.default_rng(6).normal(size=(15, 1)), axis=0)
    y[2:4] = np.nan
    parameters = structural()
    scaled = parameters | {
        "observation_scale": parameters["observation_scale"] * factor,
        "transition_scale": parameters["transition_scale"] * factor,
    }
    diffuse = np.ones(5, bool)
    value = ss.kalman_smoother(model(parameters, diffuse), y)
    other = ss.kalman_smoother(model(scaled, diffuse), factor * y)
    # The diffuse observations' density is that of the states they determine, unit by unit.
    proper = 13 - 5
    close(other.log_likelihood, value.log_likelihood - proper * math.log(factor), 1e-9)
    close(other.smoothed_mean / factor, value.smoothed_mean, 1e-9)
    close(other.smoothed_covariance / factor / factor, value.smoothed_covariance, 1e-9)


def test_a_state_that_is_forgotten_is_no_longer_diffuse(native):
    """The transition kills one of two diffuse directions before an observation meets it."""
    parameters = random_parameters(np.random.default_rng(7), 2, 1, lead=(T,))
    parameters["transition_matrix"] = np.outer([1.0, 0.3], [0.7, -0.9]) * np.ones((T, 1, 1))
    y = random_data(np.random.default_rng(8), (), T, 1, 0.0)
    ssm = model(parameters, [True, True])
    result = ss.kalman_smoother(ssm, y)
    # x_0 is met by y_0 and, over x_1 = u (w' x_0), by y_1: two directions. With y_0 missing only w'
    # x_0 ever is.
    assert result.diffuse_observations == 2
    y[0] = np.nan
    result = ss.kalman_filter(ssm, y)
    assert result.diffuse_observations == 1
    assert result.info == 0
    approximate = model(parameters | {"initial_scale": 1e4 * np.eye(2)}, None)
    expected = ss.kalman_filter(approximate, y, algorithm="reference")
    close(result.filtered_mean[1:], expected.filtered_mean[1:], 1e-6)
    close(result.filtered_covariance[1:], expected.filtered_covariance[1:], 1e-6)


@needs_native  # in plain TensorFlow each of these calls takes seconds
def test_nile():
    """Published log-likelihoods: Durbin & Koopman; KFAS excludes the diffuse constant."""
    y = np.array(ss.datasets.nile(), np.float64)[:, np.newaxis]
    ssm = ss.LinearGaussianSSM(
        [[1.0]], [[math.sqrt(1469.1)]], [[1.0]], [[math.sqrt(15099.0)]], [0.0], [[1.0]],
        diffuse=[True],
    )  # fmt: skip
    np.testing.assert_allclose(ss.log_likelihood(ssm, y), -633.4645636489, rtol=1e-12)
    for value in (
        ss.log_likelihood(ssm, y, diffuse_constant="exclude"),
        tf.reduce_sum(ss.log_likelihood(ssm, y, diffuse_constant="exclude", per_step=True)),
        ss.kalman_filter(ssm, y, diffuse_constant="exclude").log_likelihood,
        ss.kalman_smoother(ssm, y, diffuse_constant="exclude").log_likelihood,
    ):
        np.testing.assert_allclose(value, -632.5456251157, rtol=1e-12)
    y[20:40] = y[60:80] = np.nan
    np.testing.assert_allclose(ss.log_likelihood(ssm, y), -381.5060013085, rtol=1e-12)
    ahead = ss.forecast(ssm, y, 3)
    assert ahead.observation_mean.shape == (3, 1)


def test_nothing_observed(native):
    ssm = model(structural(), np.ones(5, bool))
    y = np.full((2, 4, 1), np.nan)
    np.testing.assert_array_equal(ss.log_likelihood(ssm, y), [0.0, 0.0])
    result = ss.kalman_smoother(ssm, y)
    np.testing.assert_array_equal(result.diffuse_observations, [0, 0])
    assert np.all(np.isfinite(result.smoothed_covariance))


def test_failure_stays_within_its_series(native):
    parameters = random_parameters(np.random.default_rng(9), 2, 1, lead=(6, T), batch=(6,))
    y = random_data(np.random.default_rng(10), (6,), T, 1, 0.0)
    good = ss.kalman_smoother(model(parameters, [True, False]), y)
    parameters["observation_matrix"][2, 3] = 0.0
    parameters["observation_scale"][2, 3] = 0.0
    bad = ss.kalman_smoother(model(parameters, [True, False]), y)
    np.testing.assert_array_equal(bad.info, [0, 0, 4, 0, 0, 0])
    for x, z in zip(tensors(bad), tensors(good), strict=True):
        assert not x.dtype.is_floating or np.all(np.isnan(x[2]))
        np.testing.assert_array_equal(np.delete(x, 2, axis=0), np.delete(z, 2, axis=0))


@pytest.mark.parametrize(
    ("native", "jit_compile"),
    [
        ("native", False),
        ("native", True),
        # Compiling the reference takes long, and XLA does more than a graph.
        pytest.param("reference", True, marks=pytest.mark.slow),
    ],
    indirect=["native"],
)
def test_graph_and_xla(jit_compile, native):
    rng = np.random.default_rng(13)
    parameters, y = random_parameters(rng, 2, 2, lead=(T,)), random_data(rng, (3,), T, 2)

    def run(y, scale):
        ssm = model(parameters | {"observation_scale": scale}, [True, False])
        with tf.GradientTape() as tape:
            tape.watch(scale)
            value = ss.log_likelihood(ssm, y)
        return value, tape.gradient(value, scale), *tensors(ss.kalman_smoother(ssm, y))

    scale = tf.constant(parameters["observation_scale"])
    compiled = tf.function(run, jit_compile=jit_compile)
    for x, z in zip(compiled(tf.constant(y), scale), run(tf.constant(y), scale), strict=True):
        close(x, z, 1e-10)


def test_vectorized_map():
    rng = np.random.default_rng(11)
    y = tf.constant(random_data(rng, (3, 2), T, 2))
    scales = tf.constant(np.stack([random_parameters(rng, 2, 2)["observation_scale"]] * 3))
    parameters = random_parameters(rng, 2, 2)

    def run(elements):
        y, scale = elements
        with tf.GradientTape() as tape:
            tape.watch(scale)
            ssm = model(parameters | {"observation_scale": scale}, [True, False])
            value = tf.reduce_sum(ss.log_likelihood(ssm, y))
        return value, tape.gradient(value, scale)

    got = tf.vectorized_map(run, (y, scales), fallback_to_while_loop=False)
    expected = [run((y[i], scales[i])) for i in range(3)]
    for i in range(3):
        close(got[0][i], expected[i][0], 1e-11)
        close(got[1][i], expected[i][1], 1e-11)


def test_float32(case, native):
    parameters, y, diffuse = case
    value = ss.log_likelihood(model(parameters, diffuse, tf.float32), y.astype(np.float32))
    np.testing.assert_allclose(
        value, ss.log_likelihood(model(parameters, diffuse), y), rtol=2e-4, atol=2e-3
    )


def test_refusals():
    parameters = random_parameters(np.random.default_rng(12), 2, 1)
    y = np.zeros((3, 1))
    with pytest.raises(ValueError, match=r"'covariance' knows no diffuse start.*auto, univariate"):
        ss.log_likelihood(model(parameters, [True, False]), y, algorithm="covariance")
    with pytest.raises(ValueError, match=r"diffuse has shape \(3,\).*n = 2"):
        model(parameters, [True, False, True])
    with pytest.raises(ValueError, match="diffuse is float32"):
        model(parameters, [1.0, 0.0])
    with pytest.raises(ValueError, match="diffuse_constant is 'both'"):
        ss.log_likelihood(build(parameters), y, diffuse_constant="both")
