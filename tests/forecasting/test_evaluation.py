"""Backtests against a slow loop of separate fits and forecasts."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from statespace import datasets
from statespace.forecasting import metrics
from statespace.forecasting.errors import InputError
from statespace.forecasting.evaluation import BASELINE, QUANTILES, evaluate
from statespace.models import (
    ConstantVelocity,
    DampedTrend,
    LocalLevel,
    LocalLinearTrend,
    MaternProcess,
    Regression,
    Seasonal,
)

rng = np.random.default_rng(11)
WALKS = np.cumsum(rng.normal(size=(3, 50)), axis=1) + rng.normal(size=(3, 50))
WALKS[1, [3, 20, 47]] = np.nan


def forecasts_one_by_one(model, series, horizon, num_origins, step, **options):
    """Means and variances [J, h] of separate fits before each origin of one series [T]."""
    origins = len(series) - horizon - step * np.arange(num_origins)[::-1]
    ahead = [
        model.fit(series[:origin], verbose=0, **options).forecast(horizon) for origin in origins
    ]
    return np.array([f.mean for f in ahead]), np.array([f.variance for f in ahead])


@pytest.fixture(scope="module")
def walks():
    return evaluate(LocalLevel(), WALKS, 4, num_origins=3, step=2, levels=(0.5, 0.9), verbose=0)


def test_every_origin_is_a_fit_of_its_own(walks):
    predictions = walks.predictions["LocalLevel()"]
    assert walks.origins.tolist() == [[42] * 3, [44] * 3, [46] * 3]
    for i, series in enumerate(WALKS):
        mean, variance = forecasts_one_by_one(LocalLevel(), series, 4, 3, 2)
        np.testing.assert_allclose(predictions.mean[:, i, :, 0], mean, rtol=1e-5)
        np.testing.assert_allclose(predictions.variance[:, i, :, 0], variance, rtol=1e-5)
        for j, origin in enumerate((42, 44, 46)):
            np.testing.assert_array_equal(walks.actual[j, i, :, 0], series[origin : origin + 4])


def test_scores_by_hand(walks):
    mean, variance = (x[..., 0] for x in walks.predictions["LocalLevel()"])
    actual, deviation = walks.actual[..., 0], np.sqrt(variance)
    scores = walks.scores()["LocalLevel()"]
    scale = np.array([[np.nanmean(np.abs(np.diff(y[:o]))) for y in WALKS] for o in (42, 44, 46)])
    mase = np.nanmean(np.abs(actual - mean), axis=2) / scale
    assert scores["MASE"] == pytest.approx(mase.mean(), rel=1e-12)
    by_series = walks.scores("series")["LocalLevel()"]
    by_origin = walks.scores("origin")["LocalLevel()"]
    np.testing.assert_allclose(by_series["MASE"], mase.mean(axis=0))
    np.testing.assert_allclose(by_origin["MASE"], mase.mean(axis=1))
    half = 0.6744897501960817 * deviation
    inside = np.where(np.isnan(actual), np.nan, np.abs(actual - mean) <= half)
    np.testing.assert_allclose(
        scores["coverage_50"], np.nanmean(np.nanmean(inside, axis=2)), rtol=1e-12
    )
    loss = 0.0
    for q in QUANTILES:
        error = actual - (mean + deviation * np.sqrt(2) * _inverse_erf(2 * q - 1))
        loss += 2 * np.nansum(error * (q - (error < 0))) / np.nansum(np.abs(actual)) / 9
    assert scores["WQL"] == pytest.approx(loss, rel=1e-12)
    crps = metrics.crps_normal(actual, mean, deviation)
    assert scores["CRPS"] == pytest.approx(crps.mean(), rel=1e-12)
    assert scores["sMAPE"] == pytest.approx(metrics.smape(actual, mean).mean(), rel=1e-12)


def _inverse_erf(x):
    from scipy.special import erfinv

    return erfinv(x)


def test_tables(walks):
    table = walks.to_frame()
    assert table.index.tolist() == ["LocalLevel()", BASELINE]
    assert table.columns.tolist() == ["MASE", "sMAPE", "CRPS", "coverage_50", "coverage_90", "WQL"]
    by_series = walks.to_frame("series")
    assert by_series.index.tolist()[:2] == [("y[0]", "LocalLevel()"), ("y[0]", BASELINE)]
    assert len(by_series) == 6
    expected = walks.scores("series")[BASELINE]["CRPS"]
    np.testing.assert_array_equal(by_series.xs(BASELINE, level="forecaster")["CRPS"], expected)
    by_origin = walks.to_frame("origin")
    assert by_origin.index.names == ["origin", "forecaster"]
    assert by_origin["MASE"].notna().all()


def test_without_refit_the_first_estimates_are_kept():
    result = evaluate(LocalLevel(), WALKS, 4, num_origins=3, step=2, refit=False, verbose=0)
    for i, series in enumerate(WALKS):
        first = LocalLevel().fit(series[:42], verbose=0)
        for j, origin in enumerate((42, 44, 46)):
            expected = first.apply(series[:origin]).forecast(4)
            mean, variance = (x[j, i, :, 0] for x in result.predictions["LocalLevel()"])
            np.testing.assert_allclose(mean, expected.mean, rtol=1e-5)
            np.testing.assert_allclose(variance, expected.variance, rtol=1e-5)


def test_fits_with_draws_of_the_parameters():
    options = {"method": "vi", "verbose": 0, "seed": 4}
    result = evaluate(LocalLevel(), WALKS, 4, num_origins=2, refit=False, **options)
    expected = LocalLevel().fit(WALKS[np.newaxis, :, :42], **options).forecast(4)
    mean, variance = (x[0, ..., 0] for x in result.predictions["LocalLevel()"])
    np.testing.assert_allclose(mean, expected.mean[0], rtol=1e-12)
    np.testing.assert_allclose(variance, expected.variance[0], rtol=1e-12)
    assert np.isfinite(result.predictions["LocalLevel()"].mean[1]).all()


def test_shared_parameters_are_not_shared_with_later_origins():
    options = {"share": ["irregular.scale"], "verbose": 0}
    result = evaluate(LocalLevel(), WALKS[:2], 3, num_origins=2, **options)
    for j, origin in enumerate((44, 47)):
        expected = LocalLevel().fit(WALKS[:2, :origin], **options).forecast(3)
        mean = result.predictions["LocalLevel()"].mean[j, ..., 0]
        np.testing.assert_allclose(mean, expected.mean, rtol=1e-5)


def test_series_of_a_long_frame_are_evaluated_as_if_alone():
    # A damped slope, because its diffuse likelihood would change with missing steps before it.
    model, lengths = DampedTrend(), {"long": 50, "short": 35}
    frame = pd.concat(
        pd.DataFrame({"unique_id": key, "ds": np.arange(length), "y": WALKS[2, -length:]})
        for key, length in lengths.items()
    )
    result = evaluate(model, frame, 3, num_origins=2, fix={"irregular.scale": 0.5}, verbose=0)
    assert result.origins.tolist() == [[44, 29], [47, 32]]
    for i, length in enumerate(lengths.values()):
        mean, variance = forecasts_one_by_one(
            model, WALKS[2, -length:], 3, 2, 3, fix={"irregular.scale": 0.5}
        )
        predictions = result.predictions["DampedTrend()"]
        np.testing.assert_allclose(predictions.mean[:, i, :, 0], mean, rtol=1e-4)
        np.testing.assert_allclose(predictions.variance[:, i, :, 0], variance, rtol=1e-4)
    assert result.to_frame("series").index.tolist()[0] == ("long", "DampedTrend()")


@pytest.mark.parametrize("own", [False, True])
def test_features_of_the_steps_to_come_are_known(own):
    x = rng.normal(size=(2, 50, 1)) if own else rng.normal(size=(50, 1))
    y = WALKS[::2] + 3 * x[..., 0]
    model = LocalLevel() + Regression(1)
    result = evaluate(model, y, 5, num_origins=2, features=x, verbose=0)
    for i in range(2):
        mine = x[i] if own else x
        for j, origin in enumerate((40, 45)):
            fitted = model.fit(y[i, :origin], features=mine[:origin], verbose=0)
            expected = fitted.forecast(5, features=mine[origin : origin + 5])
            mean = result.predictions[repr(model)].mean[j, i, :, 0]
            np.testing.assert_allclose(mean, expected.mean, rtol=1e-5)


def test_features_of_a_long_frame():
    x = rng.normal(size=50)
    frame = pd.concat(
        pd.DataFrame({"unique_id": k, "ds": np.arange(n), "y": y[-n:] + 2 * x[-n:], "x": x[-n:]})
        for k, n, y in (("a", 50, WALKS[0]), ("b", 40, WALKS[2]))
    )
    model = LocalLevel() + Regression(1)
    result = evaluate(model, frame, 5, num_origins=1, features=["x"], verbose=0)
    y = WALKS[2, -40:] + 2 * x[-40:]
    fitted = model.fit(y[:35], features=x[-40:-5], verbose=0)
    mean = result.predictions[repr(model)].mean[0, 1, :, 0]
    np.testing.assert_allclose(mean, fitted.forecast(5, features=x[-5:]).mean, rtol=1e-5)


@pytest.mark.parametrize("own", [False, True])
def test_times(own):
    generator = np.random.default_rng(2)
    times = np.sort(generator.uniform(0, 60, (2, 50) if own else 50), axis=-1)
    y = np.sin(np.broadcast_to(times, (2, 50)) / 3) + 0.1 * generator.normal(size=(2, 50))
    model, fix = MaternProcess(1.5), {"matern.length_scale": 3.0}
    result = evaluate(model, y, 4, num_origins=2, times=times, fix=fix, verbose=0)
    for i in range(2):
        mine = times[i] if own else times
        for j, origin in enumerate((42, 46)):
            fitted = model.fit(y[i, :origin], times=mine[:origin], fix=fix, verbose=0)
            expected = fitted.forecast(4, times=mine[origin : origin + 4])
            mean, variance = (x[j, i, :, 0] for x in result.predictions[repr(model)])
            np.testing.assert_allclose(mean, expected.mean, rtol=1e-4)
            np.testing.assert_allclose(variance, expected.variance, rtol=1e-4)


def test_times_of_a_long_frame():
    generator = np.random.default_rng(3)
    times = np.sort(generator.uniform(0, 60, (2, 50)), axis=-1)
    y = np.sin(times / 3) + 0.1 * generator.normal(size=(2, 50))
    frame = pd.concat(
        pd.DataFrame({"unique_id": i, "ds": np.arange(n), "y": y[i, -n:]})
        for i, n in enumerate((50, 40))
    )
    model, fix = MaternProcess(1.5), {"matern.length_scale": 3.0}
    result = evaluate(model, frame, 4, num_origins=1, times=times, fix=fix, verbose=0)
    fitted = model.fit(y[1, 10:46], times=times[1, 10:46], fix=fix, verbose=0)
    expected = fitted.forecast(4, times=times[1, 46:])
    mean = result.predictions[repr(model)].mean[0, 1, :, 0]
    np.testing.assert_allclose(mean, expected.mean, rtol=1e-4)


def test_times_of_a_model_that_moves_by_steps():
    with pytest.raises(InputError, match="leave times out"):
        evaluate(LocalLevel(), WALKS, 4, times=np.arange(50.0), verbose=0)


def test_seasonal_naive_by_hand():
    y = np.array([10.0, 20, 30, 11, np.nan, 33, 14, np.nan, 35, 0, 0, 0, 0])
    result = evaluate(LocalLevel(), y, 4, num_origins=1, season=3, verbose=0)
    mean, variance = (x[0, 0, :, 0] for x in result.predictions[BASELINE])
    np.testing.assert_array_equal(mean, [14, 20, 35, 14])
    square = np.mean([1.0, 9, 9, 4])  # 11-10, 33-30, 14-11, 35-33
    np.testing.assert_allclose(variance, square * np.array([1, 1, 1, 2]))


def test_the_season_is_that_of_the_model():
    passengers = np.log(datasets.air_passengers())
    model = LocalLinearTrend() + Seasonal(12)
    result = evaluate(model, passengers, 12, num_origins=2, verbose=0)
    assert result.season == 12
    scores = result.scores()
    assert scores[repr(model)]["MASE"] < 0.6 * scores[BASELINE]["MASE"]
    naive = result.predictions[BASELINE].mean[-1, 0, :, 0]
    np.testing.assert_array_equal(naive, passengers.iloc[-24:-12])


@pytest.mark.skipif(find_spec("aeon") is None, reason="aeon, which has the M1 data, is missing")
def test_published_scores_of_m1_yearly():
    folder = Path(find_spec("aeon").submodule_search_locations[0]) / "datasets" / "data"
    text = (folder / "m1_yearly_dataset" / "m1_yearly_dataset.tsf").read_text(encoding="latin-1")
    rows = [line.split(":") for line in text.split("@data")[1].split("\n") if line.strip()]
    series = {row[0]: np.array(row[-1].split(","), float) for row in rows}
    frame = pd.concat(
        pd.DataFrame({"unique_id": key, "ds": np.arange(len(y)), "y": y})
        for key, y in series.items()
    )
    assert frame["unique_id"].nunique() == 181
    scores = evaluate(LocalLinearTrend(), frame, 6, num_origins=1, verbose=0).scores()
    assert round(scores[BASELINE]["MASE"], 3) == 4.894
    assert round(scores[BASELINE]["WQL"], 3) == 0.184
    # ssfortran 3.201 and 0.1296, statsmodels 3.269 and 0.129
    assert scores["LocalLinearTrend()"]["MASE"] == pytest.approx(3.2, abs=0.05)
    assert scores["LocalLinearTrend()"]["WQL"] == pytest.approx(0.1296, abs=5e-4)


def test_several_variables():
    y = np.stack([WALKS[0], WALKS[2]], axis=-1)
    model = ConstantVelocity(2)
    result = evaluate(model, y, 3, num_origins=2, verbose=0)
    expected = model.fit(y[:44], verbose=0).forecast(3)
    assert result.actual.shape == (2, 1, 3, 2)
    np.testing.assert_allclose(result.predictions[repr(model)].mean[0, 0], expected.mean, rtol=1e-5)
    assert result.to_frame().notna().all(axis=None)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"horizon": 0}, "horizon is a positive"),
        ({"horizon": 4, "num_origins": 1.5}, "num_origins is a positive"),
        ({"horizon": 4, "step": 0}, "step is a positive"),
        ({"horizon": 10}, r"y\[0\]: of its 50 steps 50 lie after"),
        ({"horizon": 4, "num_origins": 1, "season": 46}, "46 steps before"),
        ({"horizon": 9, "season": 1}, r"5 observed values.*y\[j, i\] is series i before origin j"),
        ({"horizon": 4, "method": "magic"}, "no method 'magic'"),
    ],
)
def test_errors(arguments, message):
    model = LocalLinearTrend() + Seasonal(4)
    with pytest.raises(InputError, match=message):
        evaluate(model, WALKS, verbose=0, **arguments)


def test_scores_by_something_else(walks):
    with pytest.raises(InputError, match="'month'"):
        walks.scores("month")


def test_calibrated_intervals_hold_what_models_without_trend_miss():
    generator = np.random.default_rng(0)
    drift = generator.normal(size=(400, 1))
    y = np.cumsum(drift + generator.normal(size=(400, 48)), axis=1)  # random walks with drifts
    past, actual = y[:, :44], y[:, 44:]
    model = LocalLevel()  # knows no drift: its intervals are too narrow
    factors = evaluate(model, past, 4, num_origins=3).calibration(0.9)
    forecast = model.fit(past, verbose=0).forecast(4)
    plain, widened = (
        np.mean((actual >= lower) & (actual <= upper), axis=0)
        for lower, upper in (forecast.interval(0.9), forecast.interval(0.9, widen=factors))
    )
    assert plain[-1] < 0.85
    np.testing.assert_allclose(widened, 0.9, atol=0.04)
    lower, upper = forecast.interval(0.9, widen=2.0)
    np.testing.assert_allclose(upper - lower, 2 * np.subtract(*forecast.interval(0.9)[::-1]))
    with pytest.raises(InputError, match="too few for intervals"):
        evaluate(model, past[:2], 4).calibration(0.999)
