"""Draws from posteriors, against integration on a grid; EM, against smoother and maximum."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

import statespace as ss
from statespace import datasets
from statespace.forecasting import posterior
from statespace.forecasting.errors import InputError
from statespace.models import Autoregressive, Cycle, LocalLevel, LocalLinearTrend, Seasonal

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


def test_one_step_of_em_is_what_the_smoother_says():
    from statespace.forecasting import em
    from statespace.forecasting.data import as_batch
    from statespace.forecasting.fit import pose

    y = np.array(NILE, np.float64)
    y[[3, 40, 41]] = np.nan
    values, layout = as_batch(y)
    problem, _ = pose(LocalLevel(), values, layout)
    free = np.zeros((1, 2))
    _, score = problem.objective(free, np.zeros(1, int))
    updated = problem.params(free + np.log1p(score / em._counts(problem)) / 2)

    smoothed = ss.disturbance_smoother(LocalLevel().build(problem.params(free)), values)
    squares = {
        "level.scale": smoothed.state_mean[..., 0] ** 2 + smoothed.state_covariance[..., 0, 0],
        "irregular.scale": smoothed.observation_mean[..., 0] ** 2
        + smoothed.observation_covariance[..., 0, 0],
    }
    expected = {
        "level.scale": np.sqrt(np.mean(squares["level.scale"][0, :-1])),
        "irregular.scale": np.sqrt(np.mean(squares["irregular.scale"][0][~np.isnan(y)])),
    }
    for name, ratio in expected.items():
        before = problem.params(free)[name][0]
        assert updated[name][0] == pytest.approx(before * ratio, rel=1e-9)


@pytest.mark.parametrize("model", [LocalLevel(), LocalLevel() + Seasonal(4)], ids=repr)
def test_em_finds_the_maximum(model):
    params = {p.name: 1.0 for p in model.parameters}  # all well away from the boundary
    ssm = model.build(params, initial_variance=1.0)
    y = ss.sample(ssm, 150, sample_shape=(3,), seed=2).observations[..., 0].numpy()
    maximum = model.fit(y, verbose=0).log_likelihood
    result = model.fit(y, method="em", verbose=0)
    assert (result.log_likelihood <= maximum + 1e-8).all()
    np.testing.assert_allclose(result.log_likelihood, maximum, atol=1e-3)


def test_em_counts_the_noise_of_a_stationary_start():
    y = np.random.default_rng(3).normal(size=300)
    for i in range(1, 300):
        y[i] += 0.8 * y[i - 1]
    fix = {"autoregressive.coefficients": [0.8], "irregular.scale": 0.0}
    em = Autoregressive(1).fit(y, method="em", fix=fix, verbose=0)
    mle = Autoregressive(1).fit(y, fix=fix, verbose=0)
    assert em.params["autoregressive.scale"] == pytest.approx(
        mle.params["autoregressive.scale"], rel=1e-6
    )


@pytest.mark.parametrize(
    ("model", "arguments", "message"),
    [
        (LocalLevel() + Cycle(), {"method": "em"}, "cycle.period is none. Fix it"),
        (LocalLevel(), {"method": "em", "share": ["level.scale"]}, "fits each series alone"),
        (LocalLevel(), {"method": "em", "priors": PRIORS}, "knows no priors"),
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


def test_a_trend_whose_slope_has_no_shocks_is_approached():
    result = LocalLinearTrend().fit(NILE, method="em", verbose=0)
    assert result.params["slope.scale"] < 0.05 * result.params["level.scale"]
