"""Maximum likelihood, against published numbers and statsmodels; errors that teach."""

import numpy as np
import pandas as pd
import pytest

from statespace import datasets
from statespace.forecasting.errors import InputError
from statespace.models import LocalLevel, LocalLinearTrend, Seasonal


def test_nile_against_published_numbers(nile):
    # The published optimum is where an optimiser stopped; the exact one is 15098.5183, 1469.1764.
    assert nile.params["irregular.scale"] ** 2 == pytest.approx(15098.5363, rel=5e-6)
    assert nile.params["level.scale"] ** 2 == pytest.approx(1469.1732, rel=5e-6)
    assert nile.params["irregular.scale"] ** 2 == pytest.approx(15098.5183, rel=1e-6)
    assert nile.params["level.scale"] ** 2 == pytest.approx(1469.1764, rel=2e-6)
    assert nile.log_likelihood == pytest.approx(-633.4645636363, abs=1e-9)
    assert nile.converged
    assert not any(nile.at_boundary.values())


def variances(result):
    """The squares of all scales, as statsmodels has them."""
    return np.square(list(result.params.values()))


def exact_diffuse(data, **terms):
    """statsmodels' model of the same structure with an exact diffuse start."""
    structural = pytest.importorskip("statsmodels.tsa.statespace.structural")
    return structural.UnobservedComponents(np.asarray(data), use_exact_diffuse=True, **terms)


def test_nile_standard_errors_and_criteria_against_statsmodels(nile):
    theirs = exact_diffuse(datasets.nile(), level="llevel").smooth(variances(nile))
    assert nile.log_likelihood == pytest.approx(theirs.llf, abs=1e-10)
    assert nile.aic == pytest.approx(theirs.aic, abs=1e-10)
    assert nile.bic == pytest.approx(theirs.bic, abs=1e-10)
    # The variance of a square, by the delta method.
    errors = [2 * nile.params[name] * error for name, error in nile.standard_errors.items()]
    np.testing.assert_allclose(errors, np.sqrt(np.diag(theirs.cov_params_approx)), rtol=1e-4)


def test_airline_with_gaps_against_statsmodels(airline):
    values = airline.values[0, :, 0]
    theirs = exact_diffuse(values, level="lltrend", seasonal=12)
    names = ["irregular.scale", "level.scale", "slope.scale", "seasonal.scale"]
    ours = [airline.params[name] ** 2 for name in names]
    assert airline.log_likelihood == pytest.approx(theirs.loglike(ours), abs=1e-10)
    # No optimum that statsmodels finds from near ours is better.
    refit = theirs.fit(np.maximum(ours, 1e-9), disp=0)
    assert refit.llf <= airline.log_likelihood + 1e-4
    assert np.isfinite(airline.standard_errors["level.scale"])


def test_observations_missing_while_the_start_is_diffuse():
    y = np.log(datasets.air_passengers().to_numpy(np.float64))
    y[[0, 1, 2, 5, 9, 17]] = np.nan
    result = (LocalLinearTrend() + Seasonal(12)).fit(y, num_starts=1, verbose=0)
    theirs = exact_diffuse(y, level="lltrend", seasonal=12).smooth(variances(result))
    assert result.log_likelihood == pytest.approx(theirs.llf, abs=1e-10)
    smoothed = np.diagonal(theirs.smoothed_state_cov.T, axis1=1, axis2=2)
    np.testing.assert_allclose(result.smooth().variance, smoothed, rtol=1e-9)


def test_gap_before_the_first_observation_changes_nothing_after_it(nile):
    later = LocalLevel().fit(np.r_[np.full(30, np.nan), datasets.nile()], verbose=0)
    assert later.log_likelihood == pytest.approx(nile.log_likelihood, abs=1e-10)
    np.testing.assert_allclose(later.smooth().mean[30:], nile.smooth().mean, rtol=1e-10)
    # Before it nothing but the level's own shocks is added, one a step.
    np.testing.assert_allclose(
        -np.diff(later.smooth().variance[:31, 0]), later.params["level.scale"] ** 2, rtol=1e-10
    )


def test_missing_observations_of_the_nile():
    flow = datasets.nile()
    flow.iloc[20:40] = np.nan
    flow.iloc[60:80] = np.nan
    result = LocalLevel().fit(flow, verbose=0)
    theirs = exact_diffuse(flow, level="llevel")
    assert result.log_likelihood == pytest.approx(theirs.loglike(variances(result)), abs=1e-10)
    assert result.log_likelihood >= -381.5060013085 - 1e-10  # at the variances 15099 and 1469.1
    assert result.smooth().mean.notna().all(axis=None)


@pytest.mark.parametrize("factor", [1e-6, 1e6])
def test_units_do_not_matter(nile, factor):
    result = LocalLevel().fit(factor * datasets.nile().to_numpy() + 3.0 * factor, verbose=0)
    for name, value in nile.params.items():
        assert result.params[name] == pytest.approx(factor * value, rel=1e-5)
    shift = (100 - 1) * np.log(factor)
    assert result.log_likelihood == pytest.approx(nile.log_likelihood - shift, abs=1e-9)


@pytest.mark.parametrize("kind", ["far from zero", "steep", "large seasons", "spike"])
def test_variation_that_is_small_beside_the_values(kind):
    noise, step = np.random.default_rng(5).normal(size=60), np.arange(60)
    pattern = {
        "far from zero": 1e10,
        "steep": 1e5 * step,
        "large seasons": 1e4 * np.sin(step * np.pi / 2),
        "spike": 1e6 * (step == 30),
    }[kind]
    result = (LocalLinearTrend() + Seasonal(4)).fit(pattern + noise, verbose=0)
    assert result.converged
    if kind != "spike":
        assert 0.5 < result.params["irregular.scale"] < 1.8
    states = result.smooth()
    assert np.isfinite(states.mean).all()
    assert (states.variance > 0).all()
    assert (result.forecast(8).variance > 0).all()


def test_white_noise_has_a_level_without_shocks():
    y = np.random.default_rng(0).normal(size=200)
    result = LocalLevel().fit(y, verbose=0)
    assert np.isnan(result.standard_errors["level.scale"])
    assert result.at_boundary["level.scale"]
    assert result.params["irregular.scale"] == pytest.approx(np.std(y, ddof=1), rel=1e-7)
    assert "level.scale is estimated as zero" in result.summary()
    assert result.forecast(3).variance == pytest.approx(
        result.params["irregular.scale"] ** 2 * (1 + 1 / 200), rel=1e-12
    )


def test_parameters_of_a_long_simulated_series_are_recovered():
    generator = np.random.default_rng(0)
    level = np.cumsum(generator.normal(scale=0.5, size=2000))
    result = LocalLevel().fit(level + generator.normal(scale=2.0, size=2000), verbose=0)
    for name, truth in (("irregular.scale", 2.0), ("level.scale", 0.5)):
        assert abs(result.params[name] - truth) < 4 * result.standard_errors[name]


def test_array_gives_numbers_and_batch_gives_arrays(nile):
    flow = datasets.nile().to_numpy()
    result = LocalLevel().fit(np.stack([flow, flow[::-1]])[:, np.newaxis], verbose=0)
    assert result.params["level.scale"].shape == (2, 1)
    assert result.log_likelihood.shape == result.converged.shape == (2, 1)
    assert result.params["level.scale"][0, 0] == pytest.approx(nile.params["level.scale"], rel=1e-6)
    assert result[1, 0].params["level.scale"] == result.params["level.scale"][1, 0]
    with pytest.raises(IndexError):
        result[0]


def test_frame_gives_series_over_its_columns(batch):
    assert isinstance(batch.params["level.scale"], pd.Series)
    assert batch.params["level.scale"].index.tolist() == ["a", "b"]
    # A local level model looks the same backwards.
    assert batch.log_likelihood["a"] == pytest.approx(batch.log_likelihood["b"], abs=1e-9)
    assert batch["b"].log_likelihood == batch.log_likelihood["b"]
    with pytest.raises(KeyError, match="No column 'c'; there are a, b"):
        batch["c"]


def test_summary(nile, batch):
    text = nile.summary()
    for part in ("LocalLevel()", "volume: 100 observed values, 0 missing", "irregular.scale"):
        assert part in text
    assert "a: 40 observed values" in batch.summary()
    assert "b: 40 observed values" in batch.summary()


NILE = datasets.nile().to_numpy()


@pytest.mark.parametrize(
    ("model", "y", "message"),
    [
        (LocalLevel(), np.full(30, 7.0), "all 30 observed values are 7. A constant column"),
        (LocalLevel(), np.full(30, np.nan), "every one of its 30 values is missing"),
        (LocalLevel(), [1.0, 2.0], "2 observed values are too few .* at least 3"),
        (LocalLinearTrend() + Seasonal(12), NILE[:14], "14 observed values are too few"),
        (LocalLinearTrend(), np.arange(30.0), "without any error"),
        (LocalLevel() + Seasonal(4), np.tile([1.0, 5, 2, 2], 8), "without any error"),
        (LocalLevel(), np.array([1.0, 2.0, np.inf, 3.0]), "infinite at step 2"),
        (LocalLevel(), ["a", "b", "c"], "does not hold numbers"),
        (LocalLevel(), np.ones((100, 2)), "is for one observed variable"),
        (
            LocalLevel() + Seasonal(4),
            np.where(np.arange(40) % 4 == 1, np.nan, NILE[:40]),
            "do not determine all 4 diffuse states",
        ),
        (LocalLevel() + Seasonal(4) + Seasonal(6), NILE, "patterns in common"),
        (LocalLevel(), pd.Series(np.ones(30), name="sales"), "sales: all 30"),
        (LocalLevel(), 1e-200 * NILE, "too far from 1 to be squared"),
    ],
)
def test_data_that_cannot_be_used(model, y, message):
    with pytest.raises(InputError, match=message):
        model.fit(y, verbose=0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"method": "guess"}, "no method 'guess'"),
        ({"features": np.ones((100, 1))}, "no use for features"),
        ({"num_starts": 0}, "from 1 to 32"),
        ({"num_starts": 2.5}, "from 1 to 32"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        LocalLevel().fit(NILE, **arguments)


def test_silence(capfd):
    LocalLevel().fit(NILE[:40], num_starts=1, verbose=0)
    assert capfd.readouterr().out == ""
