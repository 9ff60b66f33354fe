"""Diagnostics against statsmodels, published numbers, regressions on interventions, simulation."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from statespace import LinearGaussianSSM, datasets
from statespace.forecasting import interventions, parts
from statespace.forecasting.data import as_batch
from statespace.forecasting.diagnostics import diagnose
from statespace.forecasting.errors import InputError
from statespace.forecasting.residual_tests import (
    autocorrelations,
    heteroscedasticity,
    jarque_bera,
    ljung_box,
)
from statespace.models import (
    Custom,
    LocalLevel,
    LocalLinearTrend,
    Regression,
    Seasonal,
    TrigonometricSeasonal,
    VectorAutoregressive,
)


@pytest.fixture(scope="module")
def complete():
    """Trend and seasonal on the logarithm of AirPassengers."""
    passengers = np.log(datasets.air_passengers())
    return (LocalLinearTrend() + Seasonal(12)).fit(passengers, fix={"slope.scale": 1e-3}, verbose=0)


@pytest.fixture(scope="module")
def gaps(complete):
    """The same with missing values, at the same parameters."""
    passengers = np.log(datasets.air_passengers())
    passengers.iloc[[20, 21, 22, 23, 24, 70, 90, 91]] = np.nan
    return complete.apply(passengers)


@pytest.fixture(scope="module")
def fixed_nile():
    """The Nile at the parameters of Durbin and Koopman."""
    fix = {"irregular.scale": np.sqrt(15099.0), "level.scale": np.sqrt(1469.1)}
    return LocalLevel().fit(datasets.nile(), fix=fix, verbose=0)


def smoothed_by_statsmodels(result):
    structural = pytest.importorskip("statsmodels.tsa.statespace.structural")
    trend = "lltrend" if "slope" in result.model.state_names else "llevel"
    seasonal = 12 if trend == "lltrend" else None
    model = structural.UnobservedComponents(
        result.values[0, :, 0], trend, seasonal=seasonal, use_exact_diffuse=True
    )
    return model.smooth(np.square(list(result.params.values())))


CASES = pytest.mark.parametrize("fixture", ["nile", "complete", "gaps"])


def innovations_by_statsmodels(result):
    """After the diffuse start; NaN where missing, where statsmodels has zeros."""
    theirs = smoothed_by_statsmodels(result)
    residuals = np.where(
        np.isnan(result.values[0, :, 0]), np.nan, theirs.standardized_forecasts_error[0]
    )
    return residuals[theirs.nobs_diffuse :]


@CASES
def test_innovations_against_statsmodels(fixture, request):
    result = request.getfixturevalue(fixture)
    expected = innovations_by_statsmodels(result)
    ours = result.diagnostics().innovations.to_numpy()
    start = len(ours) - len(expected)
    assert start == result.num_diffuse
    assert np.isnan(ours[:start]).all()
    np.testing.assert_allclose(ours[start:], expected, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("fixture", ["nile", "complete"])
def test_tests_against_statsmodels(fixture, request):
    result = request.getfixturevalue(fixture)
    theirs, ours = smoothed_by_statsmodels(result), result.diagnostics()
    if fixture == "nile":  # two parameters were estimated, as there
        statistic, p_value = theirs.test_serial_correlation(
            "ljungbox", df_adjust=True, lags=[ours.lags]
        )[0, :, 0]
        np.testing.assert_allclose(ours.ljung_box.p_value, p_value, rtol=1e-8)
    else:
        statistic = theirs.test_serial_correlation("ljungbox", lags=[ours.lags])[0, 0, 0]
    np.testing.assert_allclose(ours.ljung_box.statistic, statistic, rtol=1e-8)
    expected = theirs.test_normality("jarquebera")[0, :2]
    np.testing.assert_allclose(ours.jarque_bera[::2], expected, rtol=1e-8)
    expected = theirs.test_heteroskedasticity("breakvar")[0]
    np.testing.assert_allclose(ours.heteroscedasticity[::2], expected, rtol=1e-8)


def test_tests_with_gaps_against_statsmodels(gaps):
    """By its functions, as the methods of its results take zeros for what is missing."""
    stattools = pytest.importorskip("statsmodels.tsa.stattools")
    jarque_bera_of = pytest.importorskip("statsmodels.stats.stattools").jarque_bera
    ours, residuals = gaps.diagnostics(), innovations_by_statsmodels(gaps)
    there = residuals[~np.isnan(residuals)]
    np.testing.assert_allclose(ours.jarque_bera[::2], jarque_bera_of(there)[:2], rtol=1e-8)
    expected = stattools.acf(residuals, nlags=ours.lags, missing="conservative", fft=False)[1:]
    np.testing.assert_allclose(ours.autocorrelations, expected, rtol=1e-7, atol=1e-10)
    expected = stattools.breakvar_heteroskedasticity_test(there, round(len(there) / 3))
    np.testing.assert_allclose(ours.heteroscedasticity[::2], tuple(expected)[:2], rtol=1e-8)


@CASES
def test_auxiliary_residuals_against_statsmodels(fixture, request):
    result = request.getfixturevalue(fixture)
    smoother = smoothed_by_statsmodels(result).smoother_results
    ours = result.diagnostics().auxiliary
    prior = np.square(list(result.params.values()))
    disturbances = np.vstack(
        [smoother.smoothed_measurement_disturbance, smoother.smoothed_state_disturbance]
    )
    given = np.vstack(
        [
            smoother.smoothed_measurement_disturbance_cov[0],
            np.diagonal(smoother.smoothed_state_disturbance_cov).T,
        ]
    )
    # What the data say nothing of has its prior variance, and no residual.
    variance = prior[:, np.newaxis] - given
    known = variance > 1e-9 * prior[:, np.newaxis]
    expected = np.where(known, disturbances / np.sqrt(np.where(known, variance, 1.0)), np.nan)
    expected[1:, 1:] = expected[1:, :-1]  # ours bears the date of the state it enters
    expected[1:, 0] = np.nan
    np.testing.assert_allclose(ours.to_numpy().T, expected, rtol=1e-8, atol=1e-8)


def test_published_numbers_of_the_nile(fixed_nile):
    """Durbin and Koopman (2012), section 2.12.3."""
    diagnostics = fixed_nile.diagnostics(lags=9)
    residuals = diagnostics.innovations.dropna()
    assert round(diagnostics.ljung_box.statistic, 2) == 8.84
    assert round(diagnostics.jarque_bera.statistic, 2) == 0.05
    assert round(stats.skew(residuals), 2) == -0.03
    assert round(stats.kurtosis(residuals), 2) == 0.09
    assert round(diagnostics.heteroscedasticity.statistic, 2) == 0.61
    assert diagnostics.heteroscedasticity.degrees_of_freedom == 33


def test_the_dam_is_a_level_break(nile):
    diagnostics = nile.diagnostics()
    assert diagnostics.level_breaks()["time"].tolist() == [pd.Period("1899", freq="Y")]
    years = [time.year for time in diagnostics.outliers(2.5)["time"]]
    assert years == [1913, 1877]
    assert diagnostics.outliers(3.1).empty


@pytest.mark.parametrize(
    ("shock", "kind", "date"),
    [
        ("irregular", "pulses", "1955-03"),
        ("level", "level_shifts", "1955-03"),
        ("slope", "slope_changes", "1955-03"),
        ("level", "level_shifts", "1960-12"),
        ("irregular", "pulses", "1949-02"),
    ],
)
def test_auxiliary_residual_is_the_t_statistic_of_an_intervention(complete, shock, kind, date):
    """And the size is its coefficient, at the same parameters."""
    y = np.log(datasets.air_passengers())
    features = interventions(y.index, **{kind: date})
    model = LocalLinearTrend() + Seasonal(12) + Regression(1)
    states = model.fit(y, features=features, fix=complete.params, verbose=0).smooth()
    coefficient = states.mean["regression_1"].iloc[-1]
    deviation = np.sqrt(states.variance["regression_1"].iloc[-1])
    table = complete.diagnostics().shocks(shock, 1e-6).set_index("time").loc[pd.Period(date)]
    np.testing.assert_allclose(table["size"], coefficient, rtol=1e-7)
    np.testing.assert_allclose(table["statistic"], coefficient / deviation, rtol=1e-7)


def test_a_regressor_that_starts_late_takes_one_innovation_alone():
    """Up to then the innovations are those of the model without it."""
    flow = datasets.nile()
    fix = {"irregular.scale": 120.0, "level.scale": 40.0}
    plain = LocalLevel().fit(flow, fix=fix, verbose=0).diagnostics(lags=5)
    step = interventions(flow.index, level_shifts="1899")
    model = LocalLevel() + Regression(1)
    ours = model.fit(flow, features=step, fix=fix, verbose=0).diagnostics(lags=5).innovations
    assert ours.index[ours.isna()].year.tolist() == [1871, 1899]
    np.testing.assert_allclose(ours.loc["1872":"1898"], plain.innovations.loc["1872":"1898"])
    # The new level is a fresh start: nothing of the old one is left.
    anew = LocalLevel().fit(flow.loc["1899":], fix=fix, verbose=0).diagnostics(lags=5)
    np.testing.assert_allclose(ours.loc["1900":], anew.innovations.loc["1900":], rtol=1e-9)


def test_batches_are_their_series(gaps):
    y = gaps.values[0, :, 0]
    values = np.stack([y, np.roll(y, 3), y[::-1]]).reshape(3, 1, -1)
    result = (LocalLevel() + TrigonometricSeasonal(12)).fit(values, verbose=0)
    whole = result.diagnostics()
    assert whole.innovations.shape == values.shape
    assert whole.ljung_box.statistic.shape == (3, 1)
    assert whole.autocorrelations.shape == (3, 1, whole.lags)
    for i in range(3):
        alone = result[i, 0].diagnostics()
        np.testing.assert_allclose(whole.innovations[i, 0], alone.innovations, rtol=1e-9)
        own = whole.auxiliary[i, 0]  # also of noise that this series alone has none of
        own = own[:, ~np.isnan(own).all(axis=0)]
        np.testing.assert_allclose(own, alone.auxiliary, rtol=1e-7, atol=1e-9)
        for name in ("ljung_box", "jarque_bera", "heteroscedasticity", "nis"):
            for one, other in zip(getattr(whole, name), getattr(alone, name), strict=True):
                np.testing.assert_allclose(one[i, 0], other, rtol=1e-9)
    flagged = whole.outliers(2.0)
    assert flagged["series"].isin([f"y[{i}, 0]" for i in range(3)]).all()
    own = flagged[flagged["series"] == "y[1, 0]"]
    assert own["time"].tolist() == result[1, 0].diagnostics().outliers(2.0)["time"].tolist()


def test_large_batches_are_done_in_parts(batch, monkeypatch):
    """Each series in a part of its own, with what is its own of the model and what is shared."""
    expected = batch.diagnostics()
    monkeypatch.setattr(parts, "NUMBERS_AT_ONCE", 1)
    ours = batch.diagnostics()
    np.testing.assert_array_equal(ours.innovations, expected.innovations)
    np.testing.assert_array_equal(ours.auxiliary, expected.auxiliary)
    np.testing.assert_array_equal(ours.squares, expected.squares)


def test_forms_of_the_data(batch, nile):
    frame = batch.diagnostics()
    assert frame.innovations.columns.tolist() == ["a", "b"]
    assert frame.auxiliary.columns.tolist() == [
        (series, name) for series in "ab" for name in ("irregular", "level")
    ]
    assert frame.ljung_box.p_value.index.tolist() == ["a", "b"]
    table = frame.to_frame()
    assert table.index.tolist() == ["a", "b"]
    np.testing.assert_allclose(table["jarque_bera_p_value"], frame.jarque_bera.p_value)
    assert nile.diagnostics().to_frame().loc["volume", "innovations"] == 99
    assert isinstance(nile.diagnostics().ljung_box.p_value, float)


def test_long_frames_with_padding():
    flow = datasets.nile().to_numpy()
    dates = pd.period_range("1871", periods=100, freq="Y").to_timestamp()
    long = pd.concat(
        [
            pd.DataFrame({"unique_id": "a", "ds": dates, "y": flow}),
            pd.DataFrame({"unique_id": "b", "ds": dates[40:], "y": flow[40:]}),
        ]
    )
    result = LocalLevel().fit(long, verbose=0)
    diagnostics = result.diagnostics()
    assert len(diagnostics.innovations) == 160
    assert diagnostics.to_frame()["innovations"].tolist() == [99, 59]
    flagged = diagnostics.outliers(2.9)
    assert pd.Timestamp("1913") in flagged.loc[flagged["series"] == "b", "time"].tolist()
    assert "1913" in result["b"].diagnostics().summary()


@pytest.fixture(scope="module")
def bivariate():
    """Two correlated random walks observed with noise of their own, one gap in each."""

    def build(noise):
        scale = np.array([[1.0, 0.0], [0.8, 0.5]])
        return LinearGaussianSSM(
            np.eye(2), scale, np.eye(2), noise * np.eye(2), np.zeros(2), 2 * np.eye(2)
        )

    rng = np.random.default_rng(3)
    shocks = rng.normal(size=(2, 30, 2))
    walks = np.cumsum(shocks[0] @ [[1.0, 0.8], [0.0, 0.5]], axis=0)
    y = walks + 0.7 * shocks[1]
    y[4, 0] = y[9, 1] = np.nan
    y[12] = np.nan
    frame = pd.DataFrame(y, pd.RangeIndex(2000, 2030), ["left", "right"])
    return Custom(build).fit(frame, fix={"noise": 0.7}, verbose=0), y


def test_several_variables_against_the_joint_normal(bivariate):
    """Regressions of each observation on those before, from the covariance of all of them."""
    result, y = bivariate
    q = np.array([[1.0, 0.0], [0.8, 0.5]])
    steps = np.arange(len(y))
    walk = np.minimum.outer(steps, steps)
    covariance = np.kron(walk, q @ q.T) + np.kron(np.ones_like(walk), 4 * np.eye(2))
    covariance = covariance + 0.49 * np.eye(len(covariance))
    flat, seen = y.ravel(), ~np.isnan(y.ravel())
    diagnostics = result.diagnostics()
    innovations, total = diagnostics.innovations.to_numpy(), 0.0
    for t in steps:
        now = np.flatnonzero(seen & (np.arange(len(flat)) // 2 == t))
        past = np.flatnonzero(seen & (np.arange(len(flat)) // 2 < t))
        weights = np.linalg.solve(covariance[np.ix_(past, past)], covariance[np.ix_(past, now)])
        error = flat[now] - weights.T @ flat[past]
        spread = covariance[np.ix_(now, now)] - weights.T @ covariance[np.ix_(past, now)]
        expected = np.full(2, np.nan)
        expected[now % 2] = error / np.sqrt(np.diagonal(spread))
        np.testing.assert_allclose(innovations[t], expected, rtol=1e-9)
        square = error @ np.linalg.solve(spread, error)
        if len(now):
            np.testing.assert_allclose(diagnostics.squares[0, t], square, rtol=1e-9)
        total += square
    count = seen.sum()
    low, high = stats.chi2.interval(0.95, count) / count
    np.testing.assert_allclose(diagnostics.nis, [total / count, low, high, count])


def test_several_variables_have_tests_of_their_own(bivariate):
    result, _ = bivariate
    diagnostics = result.diagnostics(lags=4)
    assert diagnostics.ljung_box.statistic.shape == (2,)
    assert diagnostics.to_frame().index.tolist() == [("y", "left"), ("y", "right")]
    assert diagnostics.auxiliary.columns.tolist() == [
        "irregular[1]",
        "irregular[2]",
        "state_1",
        "state_2",
    ]
    assert set(diagnostics.outliers(1.0)["name"]) == {"irregular[1]", "irregular[2]"}
    assert "y, right" in diagnostics.summary()


def _autoregressions(count, num_steps, transition):
    """Vector autoregressions [count, num_steps, m], from a warmed-up start."""
    size = (count, num_steps + 30, len(transition))
    y = np.random.default_rng(5).normal(size=size)
    for t in range(1, size[1]):
        y[:, t] += y[:, t - 1] @ transition.T
    return y[:, 30:]


def test_parameters_of_several_variables_are_shared_among_their_tests():
    """Nine coefficients fit nine correlations a lag, three of them of a variable with itself."""
    model = VectorAutoregressive(1, 3, mean=False)
    transition = np.diag([0.5, 0.4, 0.3])
    params = {
        "autoregression.coefficients": transition[np.newaxis],
        "autoregression.scale": [1.0, 0.0, 1.0, 0.0, 0.0, 1.0],
    }
    values, layout = as_batch(_autoregressions(1, 60, transition)[0], 3)
    diagnostics = diagnose(
        model, model.build(params), layout, values, model.parameters, lambda info: None, lags=12
    )
    assert diagnostics.ljung_box.degrees_of_freedom.tolist() == [11, 11, 11]


@pytest.mark.slow
def test_ljung_box_of_several_variables_keeps_its_level():
    transition = np.array([[0.5, 0.2, 0.0], [-0.2, 0.4, 0.1], [0.1, 0.0, 0.3]])
    y = _autoregressions(100, 150, transition)
    result = VectorAutoregressive(1, 3, mean=False).fit(y, num_starts=1, verbose=0)
    rejected = result.diagnostics().ljung_box.p_value < 0.05
    assert abs(rejected.mean() - 0.05) < 4 * np.sqrt(0.05 * 0.95 / rejected.size)


def test_tests_keep_their_level_with_missing_values():
    """5 % of white noise fails at 5 %, a third of it missing."""
    rng = np.random.default_rng(8)
    noise = rng.normal(size=(4000, 600))
    noise[rng.uniform(size=noise.shape) < 1 / 3] = np.nan
    box = ljung_box(noise, 8, num_parameters=1)
    # Mean and standard deviation of chi-squared with 8 degrees of freedom are 8 and 4.
    assert abs(box.statistic.mean() - 8) < 3 * 4 / np.sqrt(4000)
    error = np.sqrt(0.05 * 0.95 / 4000)
    assert abs(np.mean(box.p_value < 0.05) - 0.05) < 3 * error
    assert abs(np.mean(heteroscedasticity(noise).p_value < 0.05) - 0.05) < 3 * error


def test_lags_at_which_no_residuals_meet_do_not_count():
    noise = np.random.default_rng(1).normal(size=60)
    noise[1::2] = np.nan
    half = ljung_box(noise, 6, num_parameters=1)
    assert half.degrees_of_freedom == 3
    _, pairs = autocorrelations(noise, 6)
    assert pairs.tolist() == [0, 29, 0, 28, 0, 27]


def test_nothing_to_test_is_no_number():
    nothing = np.full((2, 12), np.nan)
    for test in (ljung_box(nothing, 3, 1), jarque_bera(nothing), heteroscedasticity(nothing)):
        assert np.isnan(test.p_value).all()


def test_summary_speaks_of_what_is_wrong(nile):
    text = nile.diagnostics().summary()
    assert "nothing wrong" in text
    assert "1899 (-315.7, t = -3.2)" in text
    rng = np.random.default_rng(0)
    y = np.cumsum(rng.normal(size=200)) * np.linspace(1.0, 10.0, 200)
    y[120] += 300
    fix = {"irregular.scale": 1e-3, "level.scale": 1.0}
    text = LocalLevel().fit(y, fix=fix, verbose=0).diagnostics().summary()
    for words in ("correlated: ", "not normal", "variance grows", "too narrow", "120 (+30"):
        assert words in text
    assert "too wide" in nile.apply(datasets.nile() / 10).diagnostics().summary()


def test_arguments_are_checked(nile, complete):
    diagnostics = nile.diagnostics()
    with pytest.raises(InputError, match=r"between 2, for the 2 parameters.*99.*was 1"):
        nile.diagnostics(lags=1)
    with pytest.raises(InputError, match="was 100"):
        nile.diagnostics(lags=100)
    with pytest.raises(ValueError, match="positive int"):
        nile.diagnostics(lags=2.5)
    with pytest.raises(InputError, match="no 'slope'; what may have noise is irregular, level"):
        diagnostics.shocks("slope")
    with pytest.raises(InputError, match="positive; given was -1"):
        diagnostics.outliers(-1)
    assert complete.diagnostics().lags == 24
