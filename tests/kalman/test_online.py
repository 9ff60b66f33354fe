"""The filter one observation at a time, against the filter of the whole series."""

import functools

import numpy as np
import pytest
import tensorflow as tf
from kalman.models import NAMES, build, dense, random_data, random_parameters
from oracles import dense as oracle

import statespace as ss

T = 6
CASES = {  # name: (batch of the data, lead of per-step parameters, batch of initial ones, n, m, k)
    "one series": ((), (), (), 2, 1, 2),
    "time-varying": ((), (T,), (), 3, 2, 2),
    "one axis of one step": ((), (1,), (), 2, 2, 1),
    "batch, shared": ((3,), (), (), 2, 2, 1),
    "batch, both": ((3,), (3, T), (3,), 3, 2, 3),
    "two batch axes": ((2, 3), (3, 1), (2, 1), 2, 2, 2),
}
DIFFUSE_CASES = {  # name: (batch, lead of per-step parameters, n, m, diffuse states, missing)
    "one series": ((), (), 2, 1, [True, True], 0.25),
    "some proper": ((3,), (3, T), 3, 2, [True, False, True], 0.25),
    "out of the phase at different steps": ((2, 3), (T,), 4, 2, [True] * 4, 0.5),
    "more components than states": ((), (1,), 2, 4, [True, True], 0.0),
    "no state": ((3,), (), 2, 2, [False, False], 0.25),
}


def build_diffuse(parameters, diffuse, dtype=tf.float64):
    ssm = build(parameters, dtype)
    return ss.LinearGaussianSSM(**{name: getattr(ssm, name) for name in NAMES}, diffuse=diffuse)


def run(ssm, y, mask=None, **options):
    """States after each step, and results stacked along time."""
    online = ss.online_filter(ssm, **options)
    state = online.init(y.shape[:-2])
    states, results = [state], []
    for t in range(y.shape[-2]):
        state, result = online.update(
            state, y[..., t, :], None if mask is None else mask[..., t, :]
        )
        states.append(state)
        results.append(result)
    axis = len(state.info.shape)
    return states, ss.OnlineResult(*(tf.stack(x, axis) for x in zip(*results, strict=True)))


def close(x, expected, tolerance=1e-12):
    np.testing.assert_allclose(x, expected, rtol=tolerance, atol=tolerance)


def assert_equals_the_batch_filter(ssm, y, tolerance=1e-12, **options):
    """At every step; returns the states."""
    states, results = run(ssm, y, **options)
    expected = ss.kalman_filter(ssm, y, **options)
    same = functools.partial(close, tolerance=tolerance)
    for name in ("filtered_mean", "filtered_covariance", "innovation", "innovation_covariance"):
        same(getattr(results, name), getattr(expected, name))
    same(results.log_likelihood, ss.log_likelihood(ssm, y, per_step=True, **options))
    for t in range(y.shape[-2]):
        same(states[t].mean, expected.predicted_mean[..., t, :])
        same(states[t].covariance, expected.predicted_covariance[..., t, :, :])
        assert states[t].step == t
    same(states[-1].log_likelihood, expected.log_likelihood)
    np.testing.assert_array_equal(states[-1].info, expected.info)
    if expected.diffuse_observations is None:
        assert not np.any(states[-1].diffuse_observations)
    else:
        np.testing.assert_array_equal(
            states[-1].diffuse_observations, expected.diffuse_observations
        )
    return states


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_equals_the_batch_filter(case):
    batch, lead, initial, n, m, k = case
    rng = np.random.default_rng(0)
    ssm = build(random_parameters(rng, n, m, k=k, lead=lead, batch=initial))
    states = assert_equals_the_batch_filter(ssm, random_data(rng, batch, T, m))
    assert states[0].diffuse_scale.shape == (*batch, n, 0)


def diffuse_directions(states):
    """How many of them are left after each step, ``[T + 1, ...]``."""
    return np.stack([np.linalg.matrix_rank(state.diffuse_scale) for state in states])


@pytest.mark.parametrize("case", DIFFUSE_CASES.values(), ids=DIFFUSE_CASES.keys())
def test_diffuse_start_equals_the_batch_filter(case):
    batch, lead, n, m, diffuse, missing = case
    rng = np.random.default_rng(0)
    parameters = random_parameters(rng, n, m, lead=lead, batch=batch)
    y = random_data(rng, batch, T, m, missing)
    states = assert_equals_the_batch_filter(build_diffuse(parameters, diffuse), y)
    left = diffuse_directions(states)
    np.testing.assert_array_equal(left[0], np.full(batch, sum(diffuse)))
    counts = np.stack([state.diffuse_observations for state in states])
    np.testing.assert_array_equal(left, sum(diffuse) - counts)
    if missing == 0.5:  # the series leave the phase at different steps, and one of them never
        assert len(np.unique(np.argmin(left, axis=0))) > 1
    # What follows the last step, against least squares.
    start = np.where(diffuse, 0.0, parameters["initial_mean"])
    scale = np.where(np.array(diffuse)[:, np.newaxis], 0.0, parameters["initial_scale"])
    proper = parameters | {"initial_mean": start, "initial_scale": scale}
    ahead = np.concatenate([y, np.full((*batch, 1, m), np.nan)], axis=-2)
    for item in filter(lambda item: left[(-1, *item)] == 0, np.ndindex(*batch)):
        reference = dense(proper | longer(parameters, lead), item, batch, T + 1)
        value, mean, covariance = oracle.diffuse_posterior(reference, ahead[item], diffuse)
        close(states[-1].log_likelihood.numpy()[item], value, 1e-9)
        close(states[-1].mean.numpy()[item], mean[-1], 1e-9)
        close(states[-1].covariance.numpy()[item], covariance[-1, :, -1], 1e-9)


def test_diffuse_constant():
    rng = np.random.default_rng(12)
    ssm = build_diffuse(random_parameters(rng, 3, 2), [True, False, True])
    y = random_data(rng, (3,), T, 2)
    assert_equals_the_batch_filter(ssm, y, diffuse_constant="exclude")


def longer(parameters, lead):
    """The per-step parameters with one step more, which nothing depends on."""
    if T not in lead:
        return {}
    steps = len(lead) - 1
    return {
        name: np.concatenate([x, x.take([-1], axis=steps)], axis=steps)
        for name, x in parameters.items()
        if not name.startswith("initial")
    }


@pytest.mark.parametrize("noise", [0.7, 0.0])
def test_diffuse_states_that_no_observation_meets(noise):
    """One never, and one only after a gap in the diffuse phase."""
    parameters = random_parameters(np.random.default_rng(10), 3, 2)
    parameters["transition_matrix"] = np.array([[1.0, 1.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 0.5]])
    parameters["observation_matrix"] = np.array([[1.0, 0.0, 0.0], [2.0, 0.0, 0.0]])
    # Of rank 1: the second component's noise is all in the first one.
    parameters["observation_scale"] = np.array([[1.0], [noise]])
    y = random_data(np.random.default_rng(11), (2,), T, 2, missing=0.0)
    y[:, 1:4] = y[0, :, 1] = np.nan
    y[1, 1:, 0] = np.nan
    ssm = build_diffuse(parameters, [True] * 3)
    states = assert_equals_the_batch_filter(ssm, y)
    np.testing.assert_array_equal(diffuse_directions(states).T, [[3, 2, 2, 2, 2, 1, 1]] * 2)


def test_gradients_of_moments_in_the_diffuse_phase():
    """Also where a diffuse state is never met, and through correlated noise of rank 1."""
    rng = np.random.default_rng(2)
    parameters = random_parameters(rng, 3, 2)
    parameters["transition_matrix"] = np.array([[1.0, 1.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 0.5]])
    parameters["observation_matrix"][:, 2] = 0.0
    parameters["observation_scale"] = np.array([[1.0], [0.7]])
    y = random_data(rng, (2,), T, 2)
    tensors = {name: tf.constant(x) for name, x in parameters.items()}

    def value_and_gradients(infer):
        with tf.GradientTape() as tape:
            tape.watch(tensors)
            result = infer(build_diffuse(tensors, [True] * 3), y)
            names = ("filtered_mean", "filtered_covariance", "innovation", "innovation_covariance")
            total = tf.add_n([tf.reduce_sum(tf.sin(getattr(result, name))) for name in names])
        return total, *tape.gradient(total, tensors).values()

    online = value_and_gradients(lambda *inputs: run(*inputs)[1])
    for x, z in zip(online, value_and_gradients(ss.kalman_filter), strict=True):
        close(x, z, 1e-11)


def test_published_likelihood_of_a_structural_model():
    """Of the Nile: Durbin & Koopman; KFAS excludes the diffuse constant."""
    y = tf.constant(ss.datasets.nile().to_numpy(dtype=float)[np.newaxis, :, np.newaxis])
    parameters = {"irregular.scale": np.sqrt(15099.0), "level.scale": np.sqrt(1469.1)}
    ssm = ss.models.LocalLevel().build(parameters)
    stream = tf.function(streamed)
    for constant, value in (("include", -633.4645636489), ("exclude", -632.5456251157)):
        state = stream(ss.online_filter(ssm, diffuse_constant=constant), y)
        np.testing.assert_allclose(state.log_likelihood, [value], rtol=1e-12)


def test_mask_equals_nan():
    rng = np.random.default_rng(1)
    ssm = build(random_parameters(rng, 2, 2))
    y = random_data(rng, (2,), T, 2)  # as many series as components: only the axes tell them apart
    expected = run(ssm, y)[1]
    for x, z in zip(run(ssm, np.nan_to_num(y, nan=7.0), ~np.isnan(y))[1], expected, strict=True):
        np.testing.assert_array_equal(x, z)
    online = ss.online_filter(ssm)
    _, by_series = online.update(online.init([2]), np.ones((2, 2)), mask=[True, False])
    _, by_component = online.update(
        online.init([2]), np.ones((2, 2)), mask=[[True] * 2, [False] * 2]
    )
    for x, z in zip(by_series, by_component, strict=True):
        np.testing.assert_array_equal(x, z)
    assert by_series.log_likelihood[1] == 0.0


def streamed(online, y):
    """The state after all of y [B, T, m], as the variable of a loop."""

    def body(t, state):
        return t + 1, online.update(state, y[:, t])[0]

    num_steps = y.shape[1]
    start = 0, online.init(y.shape[:1])
    loop = tf.while_loop(lambda t, _: t < num_steps, body, start, maximum_iterations=num_steps)
    return loop[1]


@pytest.mark.parametrize("diffuse", [None, [True, False]])
@pytest.mark.parametrize("jit", [False, True])
def test_gradients_through_a_loop(jit, diffuse):
    rng = np.random.default_rng(2)
    m = 1 if jit else 2  # for how long XLA compiles
    parameters = random_parameters(rng, 2, m, lead=(3,))
    parameters["observation_matrix"] = rng.normal(size=(m, 2))  # constant beside the varying ones
    y = tf.constant(random_data(rng, (2,), 3, m))
    tensors = {name: tf.constant(x) for name, x in parameters.items()}

    def value_and_gradients(function, tensors, y):
        with tf.GradientTape() as tape:
            tape.watch([tensors, y])
            value = function(ss.LinearGaussianSSM(**tensors, diffuse=diffuse), y)
        return value, *tape.gradient(value, [*tensors.values(), y])

    def stream(ssm, y):
        return streamed(ss.online_filter(ssm), y).log_likelihood

    compiled = tf.function(lambda *x: value_and_gradients(stream, *x), jit_compile=jit)
    expected = value_and_gradients(ss.log_likelihood, tensors, y)
    for x, z in zip(compiled(tensors, y), expected, strict=True):
        close(x, z, 1e-11)


@pytest.mark.parametrize("diffuse", [None, [True, True]])
def test_passes_through_tensorflow(diffuse):
    rng = np.random.default_rng(9)
    ssm = build_diffuse(random_parameters(rng, 2, 1), diffuse)
    y = tf.constant(random_data(rng, (2,), 3, 1, missing=0.0))
    gradients = []
    for function in (ss.log_likelihood, lambda ssm, y: run(ssm, y)[0][-1].log_likelihood):
        with tf.GradientTape() as tape:
            tape.watch(y)
            value = function(ssm, y)
        gradients.append(tape.gradient(value, y))
    close(*gradients)
    state = tf.function(streamed)(ss.online_filter(ssm), y)
    assert isinstance(state, ss.OnlineState)
    close(state.log_likelihood, ss.log_likelihood(ssm, y))


@pytest.mark.parametrize("diffuse", [None, [True, True]])
def test_unknown_batch_shape(diffuse):
    parameters = random_parameters(np.random.default_rng(3), 2, 1)
    y = random_data(np.random.default_rng(4), (3,), 1, 1, missing=0.0)[:, 0]

    @tf.function(input_signature=[tf.TensorSpec([None, 1], tf.float64)])
    def first(y):
        online = ss.online_filter(build_diffuse(parameters, diffuse))
        return online.update(online.init(tf.shape(y)[:-1]), y)

    online = ss.online_filter(build_diffuse(parameters, diffuse))
    expected = online.update(online.init(3), y)
    for x, z in zip(tf.nest.flatten(first(y)), tf.nest.flatten(expected), strict=True):
        np.testing.assert_allclose(x, z)


@pytest.mark.parametrize("diffuse", [None, [True, True]])
def test_failure_stays_within_its_series(diffuse):
    rng = np.random.default_rng(5)
    parameters = random_parameters(rng, 2, 1, lead=(4, T), batch=(4,))
    y = random_data(rng, (4,), T, 1, missing=0.0)
    parameters["observation_scale"][2, 3] = parameters["observation_matrix"][2, 3] = 0.0
    parameters["transition_matrix"][1, 1] = np.nan  # spoils the prediction of step 2
    y[:, :3] = np.nan if diffuse else y[:, :3]  # the phase lasts longer than the series
    ssm = build_diffuse(parameters, diffuse)
    states, results = run(ssm, y)
    expected = ss.kalman_filter(ssm, y)
    np.testing.assert_array_equal(states[-1].info, [0, 3, 4, 0])
    np.testing.assert_array_equal(states[-1].info, expected.info)
    close(states[-1].log_likelihood, expected.log_likelihood)
    for x in results:
        for series, step in ((1, 2), (2, 3)):
            assert np.all(np.isfinite(x[series, :step]))
            assert np.all(np.isnan(x[series, step:]))
        assert np.all(np.isfinite(x.numpy()[[0, 3]]))


def test_stream_longer_than_the_model():
    ssm = build(random_parameters(np.random.default_rng(6), 2, 1, lead=(2,)))
    online = ss.online_filter(ssm)
    state = online.init()
    for _ in range(2):
        state, _ = online.update(state, [0.5])
    message = r"update: the stream is longer .*transition_matrix varies over 2 steps"
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        online.update(state, [0.5])
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        tf.function(online.update)(state, tf.constant([0.5], tf.float64))
    xla = tf.function(online.update, jit_compile=True)
    after, result = xla(state, tf.constant([0.5], tf.float64))
    assert after.info == 3
    assert np.all(np.isnan(result.filtered_mean))


@pytest.mark.parametrize("diffuse", [None, [True, True]])
def test_float32(diffuse):
    rng = np.random.default_rng(7)
    parameters, y = random_parameters(rng, 2, 2), random_data(rng, (2,), T, 2)
    single = build_diffuse(parameters, diffuse, tf.float32)
    _, results = run(single, y.astype(np.float32))
    for x, z in zip(results, run(build_diffuse(parameters, diffuse), y)[1], strict=True):
        assert x.dtype == tf.float32
        close(x, z, 1e-4)


def test_refuses_by_name():
    parameters = random_parameters(np.random.default_rng(8), 2, 2)
    ssm = build(parameters)
    online = ss.online_filter(ssm)
    with pytest.raises(ValueError, match="online_filter: ssm is a dict"):
        ss.online_filter(parameters)
    with pytest.raises(ValueError, match=r"online_filter: diffuse_constant is 'both'"):
        ss.online_filter(ssm, diffuse_constant="both")
    for y_t, message in (
        (0.5, r"y_t has shape \(\)"),
        (np.zeros(3), r"y_t has shape \(3,\).*\(4, 2\)"),
        (np.zeros((3, 2)), r"y_t has shape \(3, 2\).*\(4, 2\)"),
        (np.zeros((1, 4, 2)), r"y_t has shape \(1, 4, 2\).*\(4, 2\)"),
        (np.zeros(2, np.float32), "float32"),
        ("abc", "no array of numbers"),
    ):
        with pytest.raises(ValueError, match=message):
            online.update(online.init([4]), y_t)
    for mask in (np.ones(4), np.ones(3, bool), np.ones((4, 3), bool)):
        with pytest.raises(ValueError, match="mask"):
            online.update(online.init([4]), np.zeros((4, 2)), mask)
    uneven = {name: np.stack([x] * 3) for name, x in parameters.items() if name in NAMES[6:]}
    with pytest.raises(ValueError, match=r"initial_mean .*do not broadcast"):
        ss.online_filter(build(parameters | uneven)).init([2])
