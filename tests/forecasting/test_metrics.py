"""Metrics against their definitions, numerical integration and scoringrules."""

import numpy as np
import pytest
from scipy import integrate, stats

from statespace.forecasting import metrics
from statespace.forecasting.errors import InputError

rng = np.random.default_rng(5)
ACTUAL = rng.normal(size=(3, 4, 6)) * 3
MEAN = rng.normal(size=ACTUAL.shape)
DEVIATION = np.exp(rng.normal(size=ACTUAL.shape))
SAMPLES = rng.normal(size=(17, *ACTUAL.shape))
TRAINING = np.cumsum(rng.normal(size=(3, 4, 20)), axis=-1)


def each(metric, *arrays):
    """A metric at every step alone."""
    return metric(*(x[..., np.newaxis] for x in arrays))


@pytest.mark.parametrize(("y", "mu", "sigma"), [(0.3, 0.0, 1.0), (-4.0, 1.5, 0.7), (8.0, 2.0, 5.0)])
def test_crps_of_a_normal_is_the_integral(y, mu, sigma):
    def below(x):
        return stats.norm.cdf(x, mu, sigma) ** 2

    def above(x):
        return stats.norm.sf(x, mu, sigma) ** 2

    expected = integrate.quad(below, -np.inf, y)[0] + integrate.quad(above, y, np.inf)[0]
    np.testing.assert_allclose(metrics.crps_normal([y], [mu], [sigma]), expected, rtol=1e-7)


def test_crps_of_samples_is_the_integral():
    draws, y = SAMPLES[:, 0, 0, 0], 0.4
    x = np.sort(np.append(draws, y))
    share = np.searchsorted(np.sort(draws), x[:-1], side="right") / len(draws)
    expected = np.sum(np.diff(x) * (share - (x[:-1] >= y)) ** 2)
    np.testing.assert_allclose(metrics.crps_samples([y], draws[:, np.newaxis]), expected)


def test_crps_of_samples_has_the_two_expectations():
    y = ACTUAL[..., np.newaxis]
    distance = np.abs(SAMPLES[:, np.newaxis] - SAMPLES[np.newaxis]).mean(axis=(0, 1))
    expected = np.abs(SAMPLES - ACTUAL).mean(axis=0) - distance / 2
    np.testing.assert_allclose(metrics.crps_samples(y, SAMPLES[..., np.newaxis]), expected)


def test_crps_of_many_samples_nears_that_of_their_distribution():
    draws = stats.norm.ppf((np.arange(20_000) + 0.5) / 20_000)[:, np.newaxis]
    expected = metrics.crps_normal([0.7], [0.0], [1.0])
    np.testing.assert_allclose(metrics.crps_samples([0.7], draws), expected, rtol=1e-4)


def test_crps_without_spread_is_the_absolute_error():
    np.testing.assert_allclose(metrics.crps_normal([3.0, 1.0], [1.0, 1.0], [0.0, 0.0]), 1.0)


def test_against_scoringrules():
    rules = pytest.importorskip("scoringrules")
    ours = each(metrics.crps_normal, ACTUAL, MEAN, DEVIATION)
    np.testing.assert_allclose(ours, rules.crps_normal(ACTUAL, MEAN, DEVIATION), rtol=1e-12)
    ours = metrics.crps_samples(ACTUAL[..., np.newaxis], SAMPLES[..., np.newaxis])
    theirs = rules.crps_ensemble(ACTUAL, SAMPLES, m_axis=0, estimator="nrg")
    np.testing.assert_allclose(ours, theirs, rtol=1e-12)
    pinball = rules.quantile_score(ACTUAL, MEAN, 0.3).sum()
    np.testing.assert_allclose(
        metrics.weighted_quantile_loss(ACTUAL, MEAN[np.newaxis], [0.3]),
        2 * pinball / np.abs(ACTUAL).sum(),
        rtol=1e-12,
    )


def test_quantile_loss_over_all_levels_nears_the_crps():
    # CRPS is the integral of twice the pinball loss over the levels.
    levels = (np.arange(2000) + 0.5) / 2000
    quantiles = MEAN + DEVIATION * stats.norm.ppf(levels).reshape(-1, 1, 1, 1)
    loss = metrics.weighted_quantile_loss(ACTUAL, quantiles, levels)
    crps = metrics.crps_normal(ACTUAL, MEAN, DEVIATION).mean() / np.abs(ACTUAL).mean()
    assert loss == pytest.approx(crps, rel=1e-4)


def test_quantile_loss_sums_over_axes():
    quantiles = np.stack([MEAN - 1, MEAN, MEAN + 1])
    levels = [0.1, 0.5, 0.9]
    ours = metrics.weighted_quantile_loss(ACTUAL, quantiles, levels, axis=(0, 2))
    assert ours.shape == (4,)
    one = metrics.weighted_quantile_loss(ACTUAL[:, 2], quantiles[:, :, 2], levels)
    assert ours[2] == pytest.approx(one, rel=1e-14)
    with pytest.raises(InputError, match=r"\[2, 3, 4, 6\]"):
        metrics.weighted_quantile_loss(ACTUAL, quantiles, [0.1, 0.9])


def test_mase_is_one_for_the_mean_naive_error():
    training = np.cumsum(rng.normal(size=(5, 40)), axis=-1)
    scale = np.abs(training[:, 4:] - training[:, :-4]).mean(axis=-1)
    forecast = np.zeros((5, 3))
    actual = forecast + scale[:, np.newaxis] * [1, -1, 1]
    np.testing.assert_allclose(metrics.mase(actual, forecast, training, season=4), 1.0)
    with pytest.raises(InputError, match="season"):
        metrics.mase(actual, forecast, training, season=0)


def test_mase_without_a_scale_is_nan():
    assert np.isnan(metrics.mase([1.0], [0.0], [2.0, 2.0, 2.0]))
    assert np.isnan(metrics.mase([1.0], [0.0], [2.0, 3.0], season=4))


def test_smape_by_hand():
    # 200 * 1/3 for (1, 2), 200 for opposite signs, 0 for zero as zero.
    expected = (200 / 3 + 200 + 0) / 3
    np.testing.assert_allclose(metrics.smape([1.0, -1.0, 0.0], [2.0, 1.0, 0.0]), expected)


def test_coverage_counts_the_ends():
    np.testing.assert_allclose(metrics.coverage([0.0, 1.0, 1.1], np.zeros(3), np.ones(3)), 2 / 3)


@pytest.mark.parametrize("metric", ["coverage", "crps_normal", "mase", "smape", "crps_samples"])
def test_missing_outcomes_are_left_out(metric):
    arguments = {
        "coverage": (MEAN - DEVIATION, MEAN + DEVIATION),
        "crps_normal": (MEAN, DEVIATION),
        "mase": (MEAN, TRAINING),
        "smape": (MEAN,),
        "crps_samples": (SAMPLES,),
    }[metric]
    function, actual = getattr(metrics, metric), ACTUAL.copy()
    actual[..., 4:] = np.nan
    shorter = [x if x is TRAINING else x[..., :4] for x in arguments]
    np.testing.assert_allclose(
        function(actual, *arguments), function(ACTUAL[..., :4], *shorter), rtol=1e-13
    )
    assert np.isnan(function(np.full_like(ACTUAL, np.nan), *arguments)).all()


def test_quantile_loss_leaves_out_missing_outcomes():
    actual = ACTUAL.copy()
    actual[..., 4:] = np.nan
    loss = metrics.weighted_quantile_loss(actual, MEAN[np.newaxis], [0.5])
    assert loss == metrics.weighted_quantile_loss(actual[..., :4], MEAN[np.newaxis, ..., :4], [0.5])
    assert np.isnan(metrics.weighted_quantile_loss([0.0], [[1.0]], [0.5]))


def test_samples_of_another_shape_are_refused():
    with pytest.raises(InputError, match=r"\['n', 3, 4, 6\]"):
        metrics.crps_samples(ACTUAL, SAMPLES[..., :5])
