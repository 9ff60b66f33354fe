"""Exponential smoothing: against its recursions written out, statsmodels, and results of R."""

import itertools

import numpy as np
import pytest
import tensorflow as tf
from external.published import table
from oracles import finite_differences
from oracles.parameter_values import random_values, unit_values
from scipy.optimize import minimize
from scipy.special import expit
from statsmodels.tsa.statespace.exponential_smoothing import ExponentialSmoothing as Statsmodels

import statespace as ss
from statespace.models import ExponentialSmoothing, LocalLevel, Regression
from statespace.models.parameters import Parameterisation

SPECS = [
    ExponentialSmoothing(),
    ExponentialSmoothing(trend="add"),
    ExponentialSmoothing(trend="add", damped=True),
    ExponentialSmoothing(seasonal="add", period=2),
    ExponentialSmoothing(seasonal="add", period=3),
    ExponentialSmoothing(trend="add", seasonal="add", period=4),
    ExponentialSmoothing(trend="add", damped=True, seasonal="add", period=5),
]
T = 30
every_spec = pytest.mark.parametrize("model", SPECS, ids=repr)


def series(num_missing=0, seed=3):
    """A random walk with a drift, [T, 1], NaN where missing."""
    generator = np.random.default_rng(seed)
    y = generator.normal(0.3, 1.0, (T, 1)).cumsum(axis=0)
    y[generator.choice(np.arange(10, T), num_missing, replace=False)] = np.nan
    return y


def textbook(params):
    """alpha, beta, gamma and phi of the equations."""
    own = {name.removeprefix("smoothing."): value for name, value in params.items()}
    alpha = own["level"]
    gamma = (1 - alpha) * own.get("seasonal", 0.0)
    return alpha, alpha * own.get("trend", 0.0), gamma, own.get("damping", 1.0)


def ours(alpha, sigma, beta=None, gamma=None, phi=None):
    """The parameters' values from those of the equations, without those that are None."""
    values = {
        "smoothing.scale": sigma,
        "smoothing.level": alpha,
        "smoothing.trend": None if beta is None else beta / alpha,
        "smoothing.seasonal": None if gamma is None else gamma / (1 - alpha),
        "smoothing.damping": phi,
    }
    return {name: value for name, value in values.items() if value is not None}


def start_states(model, level, slope, effects):
    """Our states at the start: effects are those of the m steps before, the latest first."""
    latest = effects[: model.period - 2] if model.seasonal else []
    first = effects[-1:] if model.seasonal else []
    return np.array([level, *([slope] if model.trend else []), *first, *latest, 0.0])


def all_effects(states):
    """Those of the m steps before, the latest first, from our m - 1 states."""
    return [*states[1:], -sum(states), *states[:1]]


def errors(model, params, y, level, slope, effects):
    """e_t by the recursions, without normalisation; effects as for ``start_states``."""
    alpha, beta, gamma, phi = textbook(params)
    effects, result = list(effects) if model.seasonal else [0.0], []
    for value in y[:, 0]:
        trend, effect = phi * slope, effects[-1]
        e = value - level - trend - effect
        level, slope = level + trend + alpha * e, trend + beta * e
        effects = [effect + gamma * e, *effects[:-1]]
        result.append(e)
    return np.array(result)


def diffuse_log_likelihood(model, params, y):
    """The likelihood with the start integrated out: e = y~ - X b is linear in the start b."""

    def of(start, y):
        """From level, slope, effect of the first season, and effects of the m - 2 steps before."""
        level, *rest = start
        slope = rest.pop(0) if model.trend else 0.0
        return errors(model, params, y, level, slope, all_effects(rest))

    k = len(model.state_names) - 1
    centre = of(np.zeros(k), y)
    design = -np.stack([of(unit, np.zeros_like(y)) for unit in np.eye(k)], axis=1)
    start, *_ = np.linalg.lstsq(design, centre)
    rest, variance = centre - design @ start, params["smoothing.scale"] ** 2
    _, log_det = np.linalg.slogdet(design.T @ design)
    count = len(y) * np.log(2 * np.pi) + (len(y) - k) * np.log(variance)
    return -0.5 * (count + log_det + rest @ rest / variance)


@every_spec
def test_diffuse_log_likelihood_is_that_of_the_recursions(model):
    params, y = random_values(model, bound=1.5), series()
    value = ss.log_likelihood(model.build(params), y)
    np.testing.assert_allclose(value, diffuse_log_likelihood(model, params, y), rtol=1e-10)


@every_spec
def test_log_likelihood_from_a_known_start_is_that_of_statsmodels(model):
    params, y = random_values(model, seed=1, bound=1.5), series(num_missing=4)
    alpha, beta, gamma, phi = textbook(params)
    effects = np.random.default_rng(0).normal(size=model.period)
    effects -= effects.mean()
    options, values = {"initial_level": 0.4}, [alpha]
    if model.trend:
        options["initial_trend"] = 0.2
        values.append(beta)
    if model.seasonal:
        options["initial_seasonal"] = effects
        values.append(gamma)
    theirs = Statsmodels(
        y,
        trend=bool(model.trend),
        damped_trend=model.damped,
        seasonal=model.period if model.seasonal else None,
        initialization_method="known",
        concentrate_scale=False,
        **options,
    )
    theirs.ssm.tolerance = 0.0  # or its filter takes covariances for settled too soon
    values += [phi] * model.damped + [params["smoothing.scale"] ** 2]
    mean = start_states(model, 0.4, 0.2, effects)
    ssm = model.build(params, initial_mean=mean, initial_variance=0.0)
    np.testing.assert_allclose(ss.log_likelihood(ssm, y), theirs.loglike(values), rtol=1e-12)


# Of R's package fpp2: oil from 1996 to 2007, ausair from 1990 to 2004, austourists from 2005.
# fmt: off
R_SERIES = {
    "oil": [
        446.6565229, 454.4733065, 455.6629740, 423.6322388, 456.2713279, 440.5880501, 425.3325201,
        485.1494479, 506.0481621, 526.7919833, 514.2688890, 494.2110193,
    ],
    "air": [
        17.5534, 21.8601, 23.8866, 26.9293, 26.8885, 28.8314, 30.0751, 30.9535, 30.1857, 31.5797,
        32.577569, 33.477398, 39.021581, 41.386432, 41.596552,
    ],
    "aust": [
        41.727458, 24.041850, 32.328103, 37.328708, 46.213153, 29.346326, 36.482910, 42.977719,
        48.901525, 31.180221, 37.717881, 40.420211, 51.206863, 31.887228, 40.978263, 43.772491,
        55.558567, 33.850915, 42.076383, 45.642292, 59.766780, 35.191877, 44.319737, 47.913736,
    ],
}
# fmt: on
R_MODELS = {
    "oil_fpp1": SPECS[0],
    "oil_fpp2": SPECS[0],
    "oil_ets": SPECS[0],
    "air_fpp1": SPECS[1],
    "air_fpp2": SPECS[2],
    "air_ets": SPECS[2],
    "aust_ets1": SPECS[5],
    "aust_ets2": ExponentialSmoothing(trend="add", damped=True, seasonal="add", period=4),
    "aust_ets3": ExponentialSmoothing(seasonal="add", period=4),
}
# Horizons at which R's variances are not those of its model: holt(initial = "simple") takes
# beta_star for beta, and that version's ETS(A,N,A) has the season return after m - 1 steps.
WRONG_INTERVALS = {"air_fpp1": range(2, 15), "aust_ets3": [4]}


@pytest.mark.parametrize(("name", "model"), R_MODELS.items(), ids=R_MODELS.keys())
def test_predictions_and_forecasts_are_those_of_r(name, model):
    """At R's estimates: one step ahead over the data, then means and 95 % intervals beyond."""
    r = table("exponential_smoothing_params.csv", index_col=0)[name]
    published = table("exponential_smoothing_predict.csv", index_col=0)
    mean, lower, upper = (published[f"{name}_{what}"] for what in ("mean", "lower", "upper"))
    mean = mean.dropna().to_numpy()
    given = {key: None if np.isnan(r[key]) else r[key] for key in ("beta", "gamma", "phi")}
    if not np.isnan(r["beta_star"]):
        given["beta"] = r["alpha"] * r["beta_star"]
    params = ours(r["alpha"], r["sigma2"] ** 0.5, **given)
    y = np.array(R_SERIES[name.split("_")[0]])[:, np.newaxis]
    effects = r[["s0_0", "s0_1", "s0_2"]].to_numpy()
    start = start_states(model, r["l0"], r["b0"], [*effects, -effects.sum()])
    ssm = model.build(params, initial_mean=start, initial_variance=0.0)
    innovation = ss.kalman_filter(ssm, y).innovation
    np.testing.assert_allclose((y - innovation)[:, 0], mean[: len(y)], rtol=1e-9)
    moments = ss.forecast(ssm, y, len(mean) - len(y))
    np.testing.assert_allclose(moments.observation_mean[:, 0], mean[len(y) :], rtol=1e-9)
    half = 1.959963984540054 * np.sqrt(moments.observation_covariance[:, 0, 0])
    comparable = ~np.isin(np.arange(len(half)) + 1, WRONG_INTERVALS.get(name, ()))
    expected = (upper - lower).dropna()[comparable]
    np.testing.assert_allclose(2 * half[comparable], expected, rtol=1e-9)


def test_fit_finds_the_optimum_of_the_recursions_likelihood():
    model, y = R_MODELS["aust_ets3"], np.array(R_SERIES["aust"])[:, np.newaxis]

    def loss(free):
        values = dict(zip(("smoothing.level", "smoothing.seasonal"), expit(free[1:]), strict=True))
        return -diffuse_log_likelihood(model, {"smoothing.scale": np.exp(free[0])} | values, y)

    starts = itertools.product([0.5], [-1.0, 1.0], [-1.0, 1.0])
    best = min(minimize(loss, start).fun for start in starts)
    np.testing.assert_allclose(model.fit(y[:, 0], verbose=0).log_likelihood, -best, atol=1e-6)


@every_spec
def test_normalisation_changes_no_error(model):
    """From the smoothed start, the recursions without it give the same errors."""
    params, y = random_values(model, bound=1.5), series()
    smoothed = ss.kalman_smoother(model.build(params), y).smoothed_mean.numpy()
    level, *rest, _ = smoothed[0]
    slope = rest.pop(0) if model.trend else 0.0
    expected = errors(model, params, y, level, slope, all_effects(rest))
    np.testing.assert_allclose(smoothed[:, -1], expected, rtol=1e-8, atol=1e-9)


@every_spec
def test_gradient_against_central_differences(model):
    y, parameterisation = series(num_missing=3), Parameterisation(model.parameters)
    free = np.random.default_rng(2).uniform(-0.8, 0.8, parameterisation.size)

    @tf.function(autograph=False)
    def height(free):
        return ss.log_likelihood(model.build(parameterisation.values(free, unit_values(model))), y)

    where = tf.constant(free)
    with tf.GradientTape() as tape:
        tape.watch(where)
        value = height(where)
    [expected] = finite_differences.gradient(lambda x: height(tf.constant(x)), [free], step=1e-4)
    np.testing.assert_allclose(tape.gradient(value, where), expected, rtol=1e-7, atol=1e-8)


@every_spec
def test_batched_values_give_one_model_each(model):
    params, y = random_values(model, (2, 3), bound=1.5), series(num_missing=3)
    together = ss.log_likelihood(model.build(params), y)
    assert together.shape == (2, 3)
    for i in np.ndindex(2, 3):
        one = {name: value[i] for name, value in params.items()}
        alone = ss.log_likelihood(model.build(one), y)
        np.testing.assert_allclose(together[i], alone, rtol=1e-10)


def test_fitting_many_series_is_fitting_each():
    model = ExponentialSmoothing(trend="add")
    y = np.stack([series(seed=seed)[:, 0] for seed in range(3)])
    together = model.fit(y, verbose=0)
    for i, one in enumerate(y):
        alone = model.fit(one, verbose=0).log_likelihood
        np.testing.assert_allclose(together.log_likelihood[i], alone, rtol=1e-9)


def test_names():
    model = ExponentialSmoothing("add", damped=True, seasonal="add", period=4)
    assert [p.name for p in model.parameters] == [
        "smoothing.scale",
        "smoothing.level",
        "smoothing.trend",
        "smoothing.seasonal",
        "smoothing.damping",
    ]
    assert model.state_names == (
        *("level", "slope", "seasonal", "seasonal_lag_1", "seasonal_lag_2", "error"),
    )
    for spec in SPECS:
        assert eval(repr(spec)) == spec
    assert (model + Regression(1)).state_names[-1] == "regression_1"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ExponentialSmoothing("mul"), "trend is 'add' or None; given was 'mul'"),
        (lambda: ExponentialSmoothing(seasonal="mul", period=4), "seasonal is 'add' or None"),
        (lambda: ExponentialSmoothing(damped=True), "without a trend to damp"),
        (lambda: ExponentialSmoothing(seasonal="add"), "seasonal='add' and period go together"),
        (lambda: ExponentialSmoothing(period=4), "seasonal=None and period=4"),
        (lambda: ExponentialSmoothing(seasonal="add", period=1), "from 2 to 2000"),
        (lambda: ExponentialSmoothing() + LocalLevel(), "no data could tell them apart"),
    ],
)
def test_models_that_make_no_sense(make, message):
    with pytest.raises(ValueError, match=message):
        make()
