"""Exact diffuse starts against statsmodels, KFAS and published numbers.

The log-likelihood is that of Durbin & Koopman, Stata and statsmodels, in which a diffuse
observation counts -ln(2 pi) / 2, as any other; KFAS leaves that out.
"""

import numpy as np
import pytest
import tensorflow as tf
from external.published import columns, quarterly, table
from kalman.models import build, dense
from oracles import finite_differences, statsmodels_
from oracles.statsmodels_ import time_first
from slow import slow_reference

import statespace as ss

LOG_2PI = np.log(2 * np.pi)


def model(f, g, h, c, diffuse, **others):
    """Parameters by name, from covariance roots; what is not given is zero."""
    n, m = np.shape(f)[-1], np.shape(h)[-2]
    zero = {
        "transition_offset": np.zeros(n),
        "observation_offset": np.zeros(m),
        "initial_mean": np.zeros(n),
        "initial_scale": np.zeros((n, n)),
    }
    given = {
        "transition_matrix": f,
        "transition_scale": g,
        "observation_matrix": h,
        "observation_scale": c,
    }
    parameters = {name: np.asarray(x, float) for name, x in (zero | given | others).items()}
    return parameters, np.asarray(diffuse)


def with_diffuse(parameters, diffuse):
    return ss.LinearGaussianSSM(**parameters, diffuse=diffuse)


def level():
    return model([[1.0]], [[0.6]], [[1.0]], [[1.2]], [True])


def trend():
    return model([[1.0, 1.0], [0.0, 1.0]], np.diag([0.5, 0.1]), [[1.0, 0.0]], [[1.1]], [True] * 2)


def level_and_seasonal(period):
    n = period
    f = np.zeros((n, n))
    f[0, 0], f[1, 1:] = 1.0, -1.0
    f[2:, 1:-1] = np.eye(n - 2)
    g = np.zeros((n, 2))
    g[0, 0], g[1, 1] = 0.4, 0.2
    h = np.zeros((1, n))
    h[0, :2] = 1.0
    return model(f, g, h, [[0.9]], [True] * n)


def trend_and_autoregression():
    """Two diffuse states and two with a proper start, which is correlated."""
    f = np.zeros((4, 4))
    f[:2, :2] = [[1.0, 1.0], [0.0, 1.0]]
    f[2:, 2:] = [[0.6, 0.2], [1.0, 0.0]]
    g = np.zeros((4, 3))
    g[0, 0], g[1, 1], g[2, 2] = 0.3, 0.05, 0.8
    start = np.zeros((4, 2))
    start[2:] = [[1.1, 0.0], [0.7, 0.8]]
    offset = {"transition_offset": [0.1, 0.0, 0.3, 0.0], "initial_mean": [0.0, 0.0, 0.5, -0.5]}
    h = [[1.0, 0.0, 1.0, 0.0]]
    return model(f, g, h, [[0.5]], [True, True, False, False], initial_scale=start, **offset)


def regression(num_steps, first_seen=0):
    """Three coefficients and a level; the last regressor is zero before ``first_seen``."""
    x = np.random.default_rng(1).normal(size=(num_steps, 3))
    x[:first_seen, 2] = 0.0
    h = np.concatenate([x, np.ones((num_steps, 1))], axis=1)[:, np.newaxis]
    g = np.eye(4)[:, 3:] * 0.3
    return model(np.eye(4), g, h, [[0.7]], [True] * 4)


def common_level():
    """Two series on one level, of noise that is correlated, and the second one's own constant."""
    noise = np.linalg.cholesky([[1.0, 0.6], [0.6, 1.5]])
    return model(np.eye(2), [[0.5], [0.0]], [[1.0, 0.0], [0.8, 1.0]], noise, [True, True])


def data(num_steps, m, gaps=()):
    y = np.random.default_rng(2).normal(size=(num_steps, m)).cumsum(axis=0) + 3.0
    for gap in gaps:
        y[gap] = np.nan
    return y


CASES = {  # name: (model, data)
    "level": (level(), data(20, 1)),
    "level, first steps missing": (level(), data(20, 1, [slice(0, 3)])),
    "trend": (trend(), data(20, 1)),
    "trend, second step missing": (trend(), data(20, 1, [1, 7])),
    "level and seasonal": (level_and_seasonal(4), data(24, 1)),
    "seasonal, gaps in the diffuse phase": (level_and_seasonal(4), data(24, 1, [0, 2, 5])),
    "diffuse for twenty steps": (level_and_seasonal(12), data(48, 1, [slice(3, 11)])),
    "trend and autoregression": (trend_and_autoregression(), data(24, 1, [0, 11])),
    "regression": (regression(20), data(20, 1, [1])),
    "regressor seen late": (regression(20, 8), data(20, 1)),
    "common level": (common_level(), data(16, 2)),
    "common level, partly missing": (common_level(), data(16, 2, [(0, 0), (1, 0), (5, 1)])),
    "common level, wholly missing": (common_level(), data(16, 2, [0, (1, 1), (2, 1)])),
}


@pytest.fixture(params=CASES.values(), ids=CASES.keys())
def case(request):
    (parameters, diffuse), y = request.param
    expected = statsmodels_.smoother(dense(parameters, (), (), len(y)), y, diffuse)
    assert 0 < expected.nobs_diffuse < len(y)
    return with_diffuse(parameters, diffuse), y, expected


def close(x, expected):
    np.testing.assert_allclose(x, expected, rtol=1e-8, atol=1e-8)


def test_log_likelihood(case, native):
    ssm, y, expected = case
    close(ss.log_likelihood(ssm, y), expected.llf)
    close(ss.log_likelihood(ssm, y, per_step=True), expected.llf_obs)


def test_filter(case, native):
    """The finite parts of the covariances while states are diffuse."""
    ssm, y, expected = case
    result = ss.kalman_filter(ssm, y)
    close(result.log_likelihood, expected.llf)
    close(result.predicted_mean, time_first(expected.predicted_state)[:-1])
    close(result.predicted_covariance, time_first(expected.predicted_state_cov)[:-1])
    close(result.filtered_mean, time_first(expected.filtered_state))
    close(result.filtered_covariance, time_first(expected.filtered_state_cov))


def test_smoother(case, native):
    ssm, y, expected = case
    result = ss.kalman_smoother(ssm, y)
    close(result.log_likelihood, expected.llf)
    close(result.smoothed_mean, time_first(expected.smoothed_state))
    close(result.smoothed_covariance, time_first(expected.smoothed_state_cov))


# Here a gap lets an observation meet what an earlier one has determined. With any other transition
# it meets a diffuse state: the likelihood has no derivative.
JUMPS = {"diffuse for twenty steps", "common level, partly missing"}


@pytest.mark.parametrize("name", CASES)
def test_gradient(name):
    """Against differences of statsmodels' log-likelihood; the zeros of matrices stay."""
    (parameters, diffuse), y = CASES[name]
    rng = np.random.default_rng(3)
    for key, x in parameters.items():
        if key.startswith("initial") or (key == "transition_matrix" and name in JUMPS):
            continue
        direction = rng.normal(size=x.shape) * ((x != 0.0) | key.endswith("offset"))
        variable = tf.constant(x)
        with tf.GradientTape() as tape:
            tape.watch(variable)
            value = ss.log_likelihood(with_diffuse(parameters | {key: variable}, diffuse), y)
        terms = tape.gradient(value, variable) * direction

        def theirs(moved, key=key):
            changed = dense(parameters | {key: moved}, (), (), len(y))
            return statsmodels_.smoother(changed, y, diffuse).llf

        expected = finite_differences.directional(theirs, [x], [direction])
        tolerance = 1e-7 * max(np.sum(np.abs(terms)), 1.0)
        np.testing.assert_allclose(np.sum(terms), expected, rtol=0, atol=tolerance, err_msg=key)


def with_previous_state(parameters, diffuse):
    """The model of (x_t, x_{t-1}), with zero before the first."""
    n = len(diffuse)
    longer = dict(parameters)
    for name, axis in (
        ("transition_scale", -2),
        ("transition_offset", -1),
        ("initial_mean", -1),
        ("initial_scale", -2),
    ):
        longer[name] = np.concatenate([parameters[name], 0 * parameters[name]], axis=axis)
    f, h = parameters["transition_matrix"], parameters["observation_matrix"]
    longer["transition_matrix"] = np.block([[f, np.zeros((n, n))], [np.eye(n), np.zeros((n, n))]])
    longer["observation_matrix"] = np.concatenate([h, 0 * h], axis=-1)
    return longer, np.r_[diffuse, np.zeros(n, bool)]


@pytest.mark.parametrize("name", CASES)
def test_lag_one_covariance(name, native):
    """As a covariance within one state, for statsmodels' own is wrong in the diffuse phase."""
    (parameters, diffuse), y = CASES[name]
    n = len(diffuse)
    longer, flags = with_previous_state(parameters, diffuse)
    expected = statsmodels_.smoother(dense(longer, (), (), len(y)), y, flags)
    result = ss.kalman_smoother(with_diffuse(parameters, diffuse), y)
    close(result.lag_one_covariance, time_first(expected.smoothed_state_cov)[1:, :n, n:])


def test_limit_of_a_vague_start():
    """kappa = 1e7 beside kappa -> infinity; the likelihoods differ by ln(kappa) / 2 per state."""
    (parameters, diffuse), y = CASES["trend and autoregression"]
    kappa = 1e7
    vague = dict(parameters)
    start = np.diag(np.where(diffuse, np.sqrt(kappa), 0.0))
    vague["initial_scale"] = np.concatenate([parameters["initial_scale"], start], axis=1)
    exact, proper = with_diffuse(parameters, diffuse), build(vague)
    expected = ss.log_likelihood(proper, y) + 0.5 * np.sum(diffuse) * np.log(kappa)
    np.testing.assert_allclose(ss.log_likelihood(exact, y), expected, atol=1e-5)
    mean = ss.kalman_smoother(proper, y).smoothed_mean
    np.testing.assert_allclose(ss.kalman_smoother(exact, y).smoothed_mean, mean, atol=1e-5)


# --- Published numbers


def nile(gaps=False):
    y = ss.datasets.nile().to_numpy(np.float64, copy=True)[:, np.newaxis]
    if gaps:
        y[20:40] = y[60:80] = np.nan
    parameters, diffuse = model([[1.0]], [[1469.1**0.5]], [[1.0]], [[15099.0**0.5]], [True])
    return with_diffuse(parameters, diffuse), y


def test_nile(native):
    ssm, y = nile()
    assert abs(float(ss.log_likelihood(ssm, y)) - -633.4645636489) < 1e-8
    per_step = ss.log_likelihood(ssm, y, per_step=True).numpy()
    assert abs(np.sum(per_step[1:]) - -632.5456251157) < 1e-8
    assert abs(per_step[0] - -0.5 * LOG_2PI) < 1e-12
    smoothed = ss.kalman_smoother(ssm, y)
    mean, variance = smoothed.smoothed_mean[:3, 0], smoothed.smoothed_covariance[:3, 0, 0]
    np.testing.assert_allclose(mean, [1111.66831913, 1110.85766462, 1105.26556731], atol=1e-8)
    np.testing.assert_allclose(variance, [4032.15794181, 3242.93007322, 2818.94217005], atol=1e-8)


def test_nile_with_gaps(native):
    assert abs(float(ss.log_likelihood(*nile(gaps=True))) - -381.5060013085) < 1e-8


ONES = np.ones(10)


def kfas_trend(second=4.2039):
    """The examples of KFAS' tables: a few numbers, then ones."""
    parameters, diffuse = model(
        [[1.0, 1.0], [0.0, 1.0]],
        np.diag(np.sqrt([8.253, 2.334])),
        [[1.0, 0.0]],
        [[1.993**0.5]],
        [True] * 2,
    )
    return parameters, diffuse, np.r_[10.2394, second, 6.123123, np.ones(7)][:, np.newaxis]


def kfas_level():
    parameters, diffuse = model([[1.0]], [[8.253**0.5]], [[1.0]], [[1.993**0.5]], [True])
    return parameters, diffuse, np.r_[10.2394, ONES[1:]][:, np.newaxis]


def kfas_level_of_two_series():
    parameters, diffuse = model([[1.0]], [[3.2324**0.5]], [[1.0], [0.1111]], np.eye(2), [True])
    return parameters, diffuse, kfas_common_level()[2]


def kfas_common_level():
    parameters, diffuse = model(
        np.eye(2), [[3.2324**0.5], [0.0]], [[1.0, 0.0], [0.1111, 1.0]], np.eye(2), [True] * 2
    )
    return parameters, diffuse, np.stack([np.r_[10.2394, ONES[1:]], np.r_[8.2304, ONES[1:]]], 1)


def growth(missing=False):
    y = 400 * np.diff(np.log(quarterly(("realgdp", "realcons"))), axis=0)[:20]
    if missing:
        y[:5, 0] = y[8:12] = np.nan
    return y


def kfas_autoregression(noise=(0.0, 0.0), missing=False, mixed=False):
    start = {"initial_scale": np.diag([0.0, 3.5714285714285716**0.5])} if mixed else {}
    parameters, diffuse = model(
        [[0.5, 0.3], [0.2, 0.4]],
        np.diag(np.sqrt([2.0, 3.0])),
        np.eye(2),
        np.diag(np.sqrt(noise)),
        [True, not mixed],
        **start,
    )
    return parameters, diffuse, growth(missing)


def kfas_factor():
    parameters, diffuse = model(
        [[0.9, 0.1], [1.0, 0.0]],
        [[1.0], [0.0]],
        [[0.5, 0.0], [1.0, 0.0]],
        np.diag(np.sqrt([1.5, 2.0])),
        [True] * 2,
    )
    return parameters, diffuse, growth()


KFAS = {  # table: (model and data, observations that meet a diffuse state, first step compared)
    "local_level": (kfas_level(), 1, 0),
    "local_linear_trend": (kfas_trend(), 2, 0),
    "local_linear_trend_missing": (kfas_trend(np.nan), 2, 0),
    "common_level": (kfas_common_level(), 2, 0),
    # KFAS' first predicted mean is not that of the start here.
    "common_level_restricted": (kfas_level_of_two_series(), 1, 1),
    "var1": (kfas_autoregression(), 2, 0),
    "var1_measurement_error": (kfas_autoregression((4.0, 5.0)), 2, 0),
    "var1_missing": (kfas_autoregression(missing=True), 2, 0),
    # Here KFAS' means in the diffuse phase are not the limits of a vague start.
    "var1_mixed": (kfas_autoregression(mixed=True), 1, 1),
    "dfm": (kfas_factor(), 2, 2),
}


def assert_kfas_covariance(covariance, expected, name, first=0):
    """Entry by entry, or their sum, as the table has it."""
    covariance, size = np.asarray(covariance)[first:], covariance.shape[-1] ** 2
    if f"sum{name}" in expected:
        close(np.sum(covariance, axis=(1, 2)), expected[f"sum{name}"][first:])
    else:
        close(np.reshape(covariance, (-1, size)), columns(expected, name, size)[first:])


def kfas(name):
    (parameters, diffuse, y), met, first = KFAS[name]
    expected = table(f"results_exact_initial_{name}_R.csv")[: len(y)]
    return with_diffuse(parameters, diffuse), y, met, first, expected


@slow_reference
@pytest.mark.parametrize("name", KFAS)
def test_kfas(name, native):
    ssm, y, met, first, expected = kfas(name)
    value = expected["llf"][0] - 0.5 * met * LOG_2PI
    np.testing.assert_allclose(ss.log_likelihood(ssm, y), value, rtol=1e-10)
    filtered, smoothed = ss.kalman_filter(ssm, y), ss.kalman_smoother(ssm, y)
    for mean, name in (
        (filtered.predicted_mean, "a"),
        (filtered.filtered_mean, "att"),
        (smoothed.smoothed_mean, "alphahat"),
    ):
        close(mean[first:], columns(expected, name, mean.shape[-1])[first:])
    assert_kfas_covariance(filtered.predicted_covariance, expected, "P")
    assert_kfas_covariance(smoothed.smoothed_covariance, expected, "V")


@pytest.mark.parametrize("name", KFAS)
def test_kfas_disturbances(name):
    """The noise of states and observations, in their units."""
    ssm, y, _, first, expected = kfas(name)
    result = ss.disturbance_smoother(ssm, y)
    scale = np.asarray(ssm.transition_scale)
    scale = scale[np.any(scale != 0.0, axis=1)]  # the states that have noise
    means = result.state_mean @ scale.T
    close(means[first:], columns(expected, "etahat", len(scale))[first:])
    covariance = scale @ np.asarray(result.state_covariance) @ scale.T
    assert_kfas_covariance(covariance, expected, "Veta", first)
    scale, m = np.asarray(ssm.observation_scale), y.shape[1]
    close((result.observation_mean @ scale.T)[first:], columns(expected, "epshat", m)[first:])
    covariance = scale @ np.asarray(result.observation_covariance) @ scale.T
    variances = np.diagonal(covariance, axis1=1, axis2=2)
    close(variances[first:], columns(expected, "Veps", m)[first:])
