"""Draws from posteriors, against integration on a grid."""

from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

import statespace as ss
from statespace import datasets
from statespace.forecasting import posterior
from statespace.forecasting.data import as_batch
from statespace.forecasting.errors import InputError
from statespace.forecasting.fit import pose
from statespace.models import Autoregressive, LocalLevel

NILE = datasets.nile()
NAMES = ("irregular.scale", "level.scale")
PRIORS = {
    name: tfp.distributions.HalfNormal(tf.constant(scale, tf.float64))
    for name, scale in zip(NAMES, (200.0, 60.0), strict=True)
}


@pytest.fixture(scope="module")
def exact():
    """Means, deviations and 10 % quantiles of the posterior, by integration over both scales."""
    irregular, level = np.meshgrid(
        np.linspace(60, 190, 261), np.linspace(0.25, 160, 320), indexing="ij"
    )
    params = {"irregular.scale": irregular.ravel(), "level.scale": level.ravel()}
    height = ss.log_likelihood(LocalLevel().build(params), NILE.to_numpy()[:, None]).numpy()
    for name, values in params.items():
        height = height + PRIORS[name].log_prob(values).numpy()
    weight = np.exp(height - np.max(height))
    weight /= weight.sum()
    moments = {}
    for name, values in params.items():
        mean = weight @ values
        order = np.argsort(values)
        low = values[order][np.searchsorted(np.cumsum(weight[order]), 0.1)]
        moments[name] = mean, np.sqrt(weight @ (values - mean) ** 2), low
    return moments


@pytest.fixture(scope="module")
def hmc():
    return LocalLevel().fit(NILE, method="hmc", priors=PRIORS, verbose=0, seed=1)


def test_hamiltonian_monte_carlo_against_integration(hmc, exact):
    assert hmc.converged
    for name, (mean, deviation, low) in exact.items():
        draws = hmc.draws[name][:, 0]
        assert draws.shape == (2000,)
        error = deviation / np.sqrt(400)  # draws that depend on each other count for fewer
        assert hmc.params[name] == pytest.approx(mean, abs=4 * error)
        assert hmc.standard_errors[name] == pytest.approx(deviation, rel=0.15)
        assert np.quantile(draws, 0.1) == pytest.approx(low, abs=0.3 * deviation)
        assert hmc.potential_scale_reduction()[name] < 1.05


def test_variational_gaussian_against_integration(exact):
    result = LocalLevel().fit(NILE, method="vi", priors=PRIORS, verbose=0, seed=1)
    assert result.converged
    for name, (mean, deviation, _) in exact.items():
        assert result.params[name] == pytest.approx(mean, abs=0.3 * deviation)
        assert result.standard_errors[name] == pytest.approx(deviation, rel=0.25)


@pytest.mark.parametrize("share", [pytest.param(0.4, marks=pytest.mark.slow), 0.6])
def test_interrupted_chains_keep_their_draws(share):
    """Of 20 parts, 8 are of the warm-up alone; of 12, two have 50 draws of each of four chains."""

    class Bar:
        def to(self, done):
            if done == share:
                raise KeyboardInterrupt

    problem, _ = pose(LocalLevel(), *as_batch(NILE.iloc[:30]))
    problem = replace(problem, priors={})
    if share < 0.5:
        with pytest.raises(KeyboardInterrupt):
            posterior.sample_posterior(problem, "hmc", 1, 0, Bar())
        return
    estimates, draws, chains = posterior.sample_posterior(problem, "hmc", 1, 0, Bar())
    assert draws["level.scale"].shape == (chains * 100, 1)
    assert not estimates.converged
    assert estimates.message == "the draws were interrupted or have not settled"


@pytest.mark.parametrize("method", ["hmc", "vi"])
def test_the_mode_is_sought_from_as_many_starts_as_asked_for(method, monkeypatch):
    asked, maximise = [], posterior.maximise
    monkeypatch.setattr(posterior, "NUM_DRAWS", 20)
    monkeypatch.setattr(
        posterior, "maximise", lambda *given: asked.append(given[1]) or maximise(*given)
    )
    LocalLevel().fit(NILE[:30], method, num_starts=5, verbose=0)
    assert asked == [5]


def test_draws_can_be_drawn_again(hmc):
    again = LocalLevel().fit(NILE, method="hmc", priors=PRIORS, verbose=0, seed=1)
    np.testing.assert_array_equal(again.draws["level.scale"], hmc.draws["level.scale"])
    other = LocalLevel().fit(NILE, method="hmc", priors=PRIORS, verbose=0, seed=2)
    assert not np.array_equal(other.draws["level.scale"], hmc.draws["level.scale"])


def test_forecast_is_the_mixture_over_the_draws(hmc):
    forecast = hmc.forecast(3, num_draws=50)
    means = np.stack([part.means for part in forecast.parts])
    variances = np.stack([part.variances for part in forecast.parts])
    assert len(means) == 50
    np.testing.assert_allclose(forecast.mean, means.mean(axis=0)[0, :, 0])
    total = variances.mean(axis=0) + means.var(axis=0)
    np.testing.assert_allclose(forecast.variance, total[0, :, 0])
    low, high = forecast.interval(0.8)
    from scipy.stats import norm

    for end, q in ((low, 0.1), (high, 0.9)):
        below = norm.cdf(
            end.to_numpy()[:, None], means[:, 0, :, 0].T, np.sqrt(variances[:, 0, :, 0].T)
        ).mean(axis=1)
        np.testing.assert_allclose(below, q, atol=1e-9)
    paths = forecast.sample(20_000, seed=0)
    np.testing.assert_allclose(paths.std(axis=1), np.sqrt(forecast.variance), rtol=0.03)
    ordinary = LocalLevel().fit(NILE, verbose=0).forecast(3)
    assert (forecast.variance > ordinary.variance).all()


def test_many_series_and_vectors_of_parameters_at_once():
    y = np.random.default_rng(0).normal(size=(3, 60)).cumsum(axis=1)
    result = Autoregressive(2).fit(y, method="vi", fix={"irregular.scale": 0.1}, verbose=0)
    assert result.params["autoregressive.coefficients"].shape == (3, 2)
    assert result.draws["irregular.scale"].shape == (2000, 3)
    assert result.forecast(4, num_draws=20).mean.shape == (3, 4)
    assert result[1].forecast(4, num_draws=20).mean.shape == (4,)
    assert "posterior mean" in result.summary()


@pytest.mark.parametrize(
    ("model", "arguments", "message"),
    [
        (
            LocalLevel(),
            {"method": "hmc", "fix": {"irregular.scale": 1.0, "level.scale": 1.0}},
            "nothing to draw",
        ),
    ],
)
def test_requests_that_make_no_sense(model, arguments, message):
    with pytest.raises(InputError, match=message):
        model.fit(NILE, verbose=0, **arguments)
