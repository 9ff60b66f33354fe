"""EM reaches the maximum that the optimiser reaches, without a step down; what it refuses."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from slow import some_slow

import statespace as ss
from statespace import datasets
from statespace.forecasting import em
from statespace.forecasting.data import as_batch
from statespace.forecasting.errors import InputError
from statespace.forecasting.fit import pose
from statespace.models import (
    ARIMA,
    Autoregressive,
    Custom,
    Cycle,
    DampedTrend,
    DynamicFactor,
    ExponentialSmoothing,
    LocalLevel,
    LocalLinearTrend,
    MaternProcess,
    Regression,
    Seasonal,
    VectorAutoregressive,
)
from statespace.models.parameters import Bounded, Location, Parameter, Scale

NILE = datasets.nile()
FEATURES = np.random.default_rng(5).normal(size=(150, 2))


def two_factors(loadings, decay, shift, noise):
    """Three series: the loadings of the first two are fixed, and so are the zeros of F."""
    rows = tf.concat([tf.eye(2, dtype=tf.float64), loadings[tf.newaxis]], axis=0)
    return ss.LinearGaussianSSM(
        tf.linalg.diag(decay),
        np.diag([1.0, 0.5]),
        rows,
        noise * np.eye(3),
        [0.0, 0.0],
        np.eye(2),
        observation_offset=np.array([0.0, 0.0, 1.0]) * shift,
    )


FACTORS = Custom(
    two_factors,
    (
        Parameter("loadings", shape=(2,)),
        Bounded("decay", shape=(2,)),
        Location("shift"),
        Scale("noise"),
    ),
)


def simulated(model, params, num_steps=150, count=None, missing=0.0, seed=1, **known):
    """Observations [T, m] of a model, or [N, T] of its one variable, with gaps."""
    proper = {} if isinstance(model, Custom) else {"initial_variance": 1.0}
    ssm = model.build(params, **known, **proper)
    shape = () if count is None else (count,)
    y = ss.sample(ssm, num_steps, sample_shape=shape, seed=seed).observations.numpy()
    y[np.random.default_rng(seed).random(y.shape) < missing] = np.nan
    return y[..., 0] if y.shape[-1] == 1 else y


# Model, values, and what else is given to the simulation and to the fits.
CASES = {
    "local level and seasonal": (
        LocalLevel() + Seasonal(4),
        {"irregular.scale": 1.0, "level.scale": 0.7, "seasonal.scale": 0.5},
        {"count": 3},
        {},
    ),
    "damped trend": (
        DampedTrend(),
        {"irregular.scale": 0.5, "level.scale": 0.4, "slope.scale": 0.8, "slope.damping": 0.8},
        {"num_steps": 250, "seed": 4},
        {},
    ),
    "cycle of known period": (
        Cycle(),
        {"irregular.scale": 0.7, "cycle.scale": 1.0, "cycle.period": 9.0, "cycle.damping": 0.8},
        {"missing": 0.1},
        {"fix": {"cycle.period": 9.0}},
    ),
    "regression": (
        LocalLevel() + Regression(2, as_states=False),
        {
            "irregular.scale": 1.0,
            "level.scale": 0.5,
            "regression.coefficients": np.array([2.0, -1.0]),
        },
        {"count": 2, "missing": 0.1, "features": FEATURES},
        {"features": FEATURES},
    ),
    "autoregression with noise": (
        Autoregressive(2),
        {
            "irregular.scale": 0.5,
            "autoregressive.scale": 1.0,
            "autoregressive.coefficients": np.array([1.2, -0.6]),
        },
        {"num_steps": 250},
        {},
    ),
    "custom": (
        FACTORS,
        {
            "loadings": np.array([0.5, -1.0]),
            "decay": np.array([0.8, 0.4]),
            "shift": 3.0,
            "noise": 0.5,
        },
        {"missing": 0.1},
        {},
    ),
    "custom with a fixed parameter": (
        FACTORS,
        {
            "loadings": np.array([0.5, -1.0]),
            "decay": np.array([0.8, 0.4]),
            "shift": 3.0,
            "noise": 0.5,
        },
        {},
        {"fix": {"decay": [0.7, 0.3]}},
    ),
    "dynamic factor": (
        DynamicFactor(1, 1, 4),
        {
            "factor.loadings": np.array([1.0, 0.8, -0.5, 0.6]),
            "factor.coefficients": np.array([[[0.7]]]),
            "mean": np.arange(4.0),
            "irregular.scale": np.array([0.5, 0.6, 0.7, 0.8]),
        },
        {},
        {},
    ),
    "vector autoregression with measurement error": (
        VectorAutoregressive(1, 2, measurement_error=True),
        {
            "autoregression.coefficients": np.array([[[0.7, 0.2], [-0.3, 0.8]]]),
            "autoregression.scale": np.array([1.0, 0.5, 0.8]),
            "mean": np.array([1.0, -2.0]),
            "measurement.scale": np.array([0.8, 0.6]),
        },
        {"num_steps": 200, "missing": 0.1, "seed": 2},
        {},
    ),
    "vector autoregression of order two": (
        VectorAutoregressive(2, 2, mean=False),
        {
            "autoregression.coefficients": np.array(
                [[[0.5, 0.2], [-0.1, 0.6]], [[0.2, 0.0], [0.1, -0.2]]]
            ),
            "autoregression.scale": np.array([1.0, 0.5, 0.8]),
        },
        {"missing": 0.1},
        {},
    ),
}


LONG = {
    "autoregression with noise",
    "dynamic factor",
    "vector autoregression with measurement error",
}


@pytest.mark.parametrize("name", some_slow(CASES, LONG))
def test_em_finds_the_maximum(name):
    model, params, sampling, fitting = CASES[name]
    y = simulated(model, params, **sampling)
    mle = model.fit(y, verbose=0, **fitting)
    result = model.fit(y, "em", verbose=0, **fitting)
    assert np.all(result.converged)
    highest = np.asarray(mle.log_likelihood)
    assert np.all(result.log_likelihood <= highest + 1e-7 * np.abs(highest))
    np.testing.assert_allclose(result.log_likelihood, highest, rtol=2e-6)
    for key, value in mle.params.items():
        size = np.abs(value).max() if np.ndim(value) else abs(value)
        np.testing.assert_allclose(result.params[key], value, rtol=0.05, atol=0.02 * size)


def test_published_maximum():
    result = LocalLevel().fit(NILE, "em", verbose=0)
    # Durbin and Koopman (2012), section 2.10.3: variances 15099 and 1469.1.
    assert result.params["irregular.scale"] ** 2 == pytest.approx(15099, rel=1e-3)
    assert result.params["level.scale"] ** 2 == pytest.approx(1469.1, rel=1e-3)


def test_each_series_steps_as_if_it_were_alone():
    model, params, sampling, _ = CASES["autoregression with noise"]
    y = simulated(model, params, **(sampling | {"count": 3, "num_steps": 80}))
    y[1, :20] = np.nan
    free = np.random.default_rng(0).normal(size=(3, 4))
    together = _ascent(model, y)
    found = together.step(together.at(free, np.arange(3)))
    for i in range(3):
        alone = _ascent(model, y[i])
        expected = alone.step(alone.at(free[i : i + 1], np.zeros(1, int)))
        np.testing.assert_allclose(found.free[i], expected.free[0], rtol=1e-9)
    some = together.step(together.at(free[[2, 0]], np.array([2, 0])))
    np.testing.assert_allclose(some.free, found.free[[2, 0]], rtol=1e-9)


def test_nothing_but_data_lies_between_the_first_value_and_the_last():
    model, params, sampling, _ = CASES["autoregression with noise"]
    y = simulated(model, params, **(sampling | {"num_steps": 80}))
    padded = np.concatenate([np.full(30, np.nan), y, np.full(50, np.nan)])
    free = np.full((1, 4), 0.3)
    one, other = (_ascent(model, x) for x in (y, padded))
    steps = [a.step(a.at(free, np.zeros(1, int))).free for a in (one, other)]
    np.testing.assert_allclose(steps[1], steps[0], rtol=1e-8)


def test_a_stationary_start_counts_as_noise_of_a_scale_that_it_grows_with():
    y = np.random.default_rng(3).normal(size=300)
    for i in range(1, 300):
        y[i] += 0.8 * y[i - 1]
    fix = {"autoregressive.coefficients": [0.8], "irregular.scale": 0.0}
    ascent = _ascent(Autoregressive(1), y, fix)
    [factors] = ascent.factors
    assert factors.counts == 300
    done = ascent.step(ascent.at(np.zeros((1, 1)), np.zeros(1, int)))
    np.testing.assert_allclose(done.score, 0.0, atol=1e-6)  # one step is all it takes


@settings(max_examples=12)
@given(
    name=st.sampled_from(
        [
            "damped trend",
            "autoregression with noise",
            "custom",
            "vector autoregression of order two",
        ]
    ),
    seed=st.integers(0, 2**32 - 1),
)
def test_no_step_lowers_the_likelihood(name, seed):
    model, params, _, _ = CASES[name]
    rng = np.random.default_rng(seed)
    y = simulated(model, params, num_steps=40, missing=0.2, seed=int(rng.integers(2**31)))
    ascent = _ascent(model, y)
    free = rng.normal(0, 2, (1, ascent.problem.size))  # far from where the data would have it
    points = ascent.at(free, np.zeros(1, int))
    for _ in range(6):
        before, points = points, ascent.step(points)
        assert points.height >= before.height - 1e-12 * np.abs(before.height)
        assert np.any(points.height > before.height)


def test_a_domain_is_not_left():
    """The slope grows, so that the damping wants to be more than one."""
    y = 1.05 ** np.arange(120.0) + np.random.default_rng(0).normal(size=120)
    ascent = _ascent(DampedTrend(), y)
    points = ascent.at(np.zeros((1, 4)), np.zeros(1, int))
    for _ in range(20):
        points = ascent.step(points)
    assert 0.99 < ascent.problem.params(points.free)["slope.damping"] < 1


def test_a_trend_whose_slope_has_no_shocks_is_approached():
    result = LocalLinearTrend().fit(NILE, method="em", verbose=0)
    assert result.params["slope.scale"] < 0.05 * result.params["level.scale"]


def test_interrupted():
    class Bar:
        def to(self, share):
            raise KeyboardInterrupt

    problem = _ascent(LocalLevel(), NILE).problem
    estimates = em.expectation_maximisation(problem, Bar())
    assert not estimates.converged
    assert estimates.message == "EM was interrupted or ran out of steps"
    assert estimates.log_likelihood > -700


def test_nothing_to_estimate():
    fix = {"irregular.scale": 100.0, "level.scale": 50.0}
    result = LocalLevel().fit(NILE, "em", fix=fix, verbose=0)
    assert result.log_likelihood == LocalLevel().fit(NILE, fix=fix, verbose=0).log_likelihood


def square(weight):
    return ss.LinearGaussianSSM(
        [[0.5]], [[1.0]], np.ones((1, 1)) * weight**2, [[1.0]], [0.0], [[1.0]]
    )


def both(weight):
    return ss.LinearGaussianSSM(
        [[0.5]], np.ones((1, 1)) * weight, np.ones((1, 1)) * weight, [[1.0]], [0.0], [[1.0]]
    )


def shared_noise(weight):
    """Two states with one and the same noise."""
    transition = np.diag([1.0, 0.0]) * weight + np.diag([0.0, 0.5])
    return ss.LinearGaussianSSM(
        transition, [[1.0], [1.0]], [[1.0, 1.0]], [[1.0]], [0.0, 0.0], np.eye(2)
    )


@pytest.mark.parametrize(
    ("model", "arguments", "message"),
    [
        (LocalLevel() + Cycle(), {}, "for cycle.period and cycle.damping: the model is not linear"),
        (MaternProcess(0.5), {}, "for matern.length_scale: .* Fix it, or use method='mle'"),
        (
            ExponentialSmoothing(trend="add"),
            {},
            "smoothing.level and smoothing.trend: the model is",
        ),
        (ARIMA((0, 1, 1)), {}, "arima.ma: .* does more than multiply noise"),
        (
            ARIMA((1, 0, 0), mean=True),
            {},
            "arima.mean: observed variable 1 depends on it and has no",
        ),
        (
            DampedTrend(),
            {"fix": {"slope.scale": 0.0}},
            "by way of states without noise the model is not linear in it",
        ),
        (Custom(square, (Parameter("weight"),)), {}, "weight: the model is not linear in it"),
        (Custom(both, (Parameter("weight"),)), {}, "weight: not only noise depends on it"),
        (Custom(shared_noise, (Parameter("weight"),)), {}, "what depends on it shares its noise"),
        (LocalLevel(), {"share": ["level.scale"]}, "fits each series alone"),
        (LocalLevel(), {"priors": {"level.scale": None}}, "knows no priors"),
    ],
)
def test_what_has_no_closed_form(model, arguments, message):
    with pytest.raises(InputError, match=message):
        model.fit(NILE, "em", verbose=0, **arguments)


def _ascent(model, y, fix=None):
    values, layout = as_batch(y, model.num_observed)
    problem, _ = pose(model, values, layout, fix=fix)
    return em.Ascent(problem)
