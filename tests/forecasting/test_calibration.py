"""Fits and forecasts of a thousand simulated series are right as often as they say.

What is counted over N independent series has a standard error of its own, of which four are
allowed: sqrt(p (1 - p) / N) for a share p. Series are long, because what is tested holds for long
ones: maximum likelihood is biased, and intervals that take estimates for the truth are too narrow,
by terms of the order 1 / T.
"""

from typing import Any, NamedTuple

import numpy as np
import pytest
from scipy.stats import chi2, norm

import statespace as ss
from statespace.models import ARIMA, LocalLevel, Model, Seasonal, SmoothTrend

NUM_SERIES, NUM_STEPS, HORIZON = 1000, 300, 12
LEVELS = (0.5, 0.9)
TRUTH = {
    "level": (LocalLevel(), {"irregular.scale": 1.0, "level.scale": 0.5}),
    "trend and season, a tenth missing": (
        SmoothTrend() + Seasonal(4),
        {"irregular.scale": 1.0, "slope.scale": 0.3, "seasonal.scale": 0.4},
    ),
    "ARMA": (
        ARIMA((1, 0, 1)),
        {"arima.ar": [0.7], "arima.ma": [0.4], "arima.scale": 2.0},
    ),
}


class Simulated(NamedTuple):
    """Series of a known model, their fits, and what came after."""

    model: Model
    truth: dict
    fits: Any
    to_come: np.ndarray  # [N, h]


@pytest.fixture(scope="module", params=TRUTH)
def simulated(request):
    model, truth = TRUTH[request.param]
    ssm = model.build(truth, initial_variance=1.0)
    paths = ss.sample(ssm, NUM_STEPS + HORIZON, sample_shape=(NUM_SERIES,), seed=1).observations
    seen, to_come = np.split(paths.numpy()[..., 0], [NUM_STEPS], axis=1)
    if "missing" in request.param:
        seen = np.where(np.random.default_rng(2).random(seen.shape) < 0.1, np.nan, seen)
    return Simulated(model, truth, model.fit(seen, verbose=0), to_come)


def check_share(hits, level):
    """Hits of N series, [N] or [N, h]: the share of each column is the level."""
    share = np.mean(hits, axis=0)
    np.testing.assert_allclose(share, level, atol=4 * np.sqrt(level * (1 - level) / len(hits)))


def test_every_fit_converges(simulated):
    assert np.all(simulated.fits.converged)


def test_parameters_are_recovered(simulated):
    """But for the bias of maximum likelihood, at most p / T of their values."""
    bias = len(simulated.truth) / NUM_STEPS
    for name, value in simulated.truth.items():
        estimates = np.reshape(simulated.fits.params[name], NUM_SERIES)
        error_of_median = np.sqrt(np.pi / 2 / NUM_SERIES) * np.std(estimates)
        median = np.median(estimates)
        np.testing.assert_allclose(median, value, rtol=bias, atol=4 * error_of_median)


@pytest.mark.parametrize("level", LEVELS)
def test_standard_errors(simulated, level):
    """The interval of each estimate, of the given level, has the truth in it."""
    half = norm.ppf((1 + level) / 2)
    estimates, errors = simulated.fits.params, simulated.fits.standard_errors
    for name, value in simulated.truth.items():
        near = np.abs(estimates[name] - value) < half * errors[name]
        check_share(near.reshape(NUM_SERIES), level)


@pytest.mark.parametrize("level", LEVELS)
def test_likelihood_ratios(simulated, level):
    """2 log (L(estimate) / L(truth)) is chi-squared with a degree for each parameter."""
    fits = simulated.fits
    ssm = simulated.model.build(simulated.truth)
    constant = simulated.model.diffuse_constant
    at_truth = ss.log_likelihood(ssm, fits.values, diffuse_constant=constant).numpy()
    ratios = 2 * (fits.log_likelihood - at_truth)
    assert np.all(ratios > 0)
    check_share(ratios < chi2(len(simulated.truth)).ppf(level), level)


@pytest.mark.parametrize("level", LEVELS)
def test_intervals_of_forecasts(simulated, level):
    """At each step ahead, and over all steps together."""
    lower, upper = simulated.fits.forecast(HORIZON).interval(level)
    inside = (lower <= simulated.to_come) & (simulated.to_come <= upper)
    check_share(inside, level)
    of_series = inside.mean(axis=1)
    error = np.std(of_series) / np.sqrt(NUM_SERIES)
    np.testing.assert_allclose(of_series.mean(), level, atol=4 * error)
