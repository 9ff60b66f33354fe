"""Smoothing, components and forecasts of a fit, and their plots."""

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt

from statespace import datasets
from statespace.forecasting.errors import InputError
from statespace.models import LocalLevel


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


def smoothed_by_statsmodels(result, **terms):
    structural = pytest.importorskip("statsmodels.tsa.statespace.structural")
    model = structural.UnobservedComponents(result.values[0, :, 0], use_exact_diffuse=True, **terms)
    return model.smooth(np.square(list(result.params.values())))


@pytest.mark.parametrize(
    ("fixture", "terms"),
    [("nile", {"level": "llevel"}), ("airline", {"level": "lltrend", "seasonal": 12})],
)
def test_smoothed_states_against_exact_diffuse_smoother(fixture, terms, request):
    result = request.getfixturevalue(fixture)
    theirs, ours = smoothed_by_statsmodels(result, **terms), result.smooth()
    variances = np.diagonal(theirs.smoothed_state_cov.T, axis1=1, axis2=2)
    np.testing.assert_allclose(ours.variance, variances, rtol=1e-9)
    deviations = (ours.mean - theirs.smoothed_state.T) / np.sqrt(variances)
    assert deviations.abs().max(axis=None) < 1e-9
    assert ours.covariance.shape == (*variances.shape, variances.shape[1])


def test_forecast_against_statsmodels(airline):
    theirs = smoothed_by_statsmodels(airline, level="lltrend", seasonal=12).get_forecast(24)
    forecast = airline.forecast(24)
    np.testing.assert_allclose(forecast.mean, theirs.predicted_mean, rtol=1e-11)
    np.testing.assert_allclose(forecast.variance, theirs.var_pred_mean, rtol=1e-11)


def test_nile_forecast(nile):
    forecast = nile.forecast(30)
    assert forecast.mean.nunique() == 1
    steps = forecast.variance.diff().iloc[1:]
    np.testing.assert_allclose(steps, nile.params["level.scale"] ** 2, rtol=1e-9)
    assert forecast.mean.index[0] == pd.Period("1971", freq="Y")
    assert forecast.mean.name == "volume"


def test_forecast_continues_the_index_over_gaps(airline):
    forecast = airline.forecast(3)
    assert forecast.mean.index.tolist() == list(pd.date_range("1961-01-01", periods=3, freq="MS"))
    assert len(airline.smooth().mean) == 144


def test_components_add_up(airline):
    components = airline.components()
    assert components.names == ("trend", "seasonal", "irregular")
    total = components.mean.sum(axis=1).to_numpy()
    observed = ~np.isnan(airline.values[0, :, 0])
    np.testing.assert_allclose(total[observed], airline.values[0, :, 0][observed], rtol=1e-12)
    assert (components.mean["irregular"][~observed] == 0).all()
    assert (components.variance > 0).all(axis=None)
    lower, upper = components.interval(0.5)
    assert (lower < components.mean).all(axis=None)
    assert (upper > components.mean).all(axis=None)


def test_intervals_and_quantiles(nile):
    forecast = nile.forecast(4)
    lower, upper = forecast.interval(0.9)
    pd.testing.assert_series_equal(lower, forecast.quantile(0.05))
    pd.testing.assert_series_equal(upper, forecast.quantile(0.95))
    pd.testing.assert_series_equal(forecast.quantile(0.5), forecast.mean)
    half = 1.6448536269514722 * np.sqrt(forecast.variance)
    np.testing.assert_allclose(upper - forecast.mean, half)


def test_level_of_single_precision(nile):
    lower, _ = nile.forecast(2).interval(np.float32(0.5))
    np.testing.assert_allclose(lower, nile.forecast(2).interval(0.5).lower)


@pytest.mark.parametrize("level", [0, 1, 1.5, -0.1, float("nan"), "90"])
def test_bad_levels(nile, level):
    with pytest.raises(InputError, match="between 0 and 1"):
        nile.forecast(2).interval(level)
    with pytest.raises(InputError, match="between 0 and 1"):
        nile.forecast(2).quantile(level)


@pytest.mark.parametrize("horizon", [0, -3, 2.5, "12"])
def test_bad_horizon(nile, horizon):
    with pytest.raises(ValueError, match="horizon"):
        nile.forecast(horizon)


def test_tables(nile, airline, batch):
    assert nile.forecast(3).to_frame(0.8).columns.tolist() == [
        "mean",
        "standard_deviation",
        "lower_80",
        "upper_80",
    ]
    table = airline.forecast(3).to_frame(transform=np.exp)
    assert table.columns.tolist() == ["median", "lower_90", "upper_90"]
    np.testing.assert_allclose(table["median"], np.exp(airline.forecast(3).mean))
    assert batch.forecast(3).to_frame().columns.nlevels == 2


def test_sampled_paths_have_the_moments_of_the_forecast(airline):
    forecast = airline.forecast(14)
    paths = forecast.sample(20_000, seed=1)
    assert paths.shape == (14, 20_000)
    assert paths.index.equals(forecast.mean.index)
    deviations = np.sqrt(forecast.variance)
    assert (np.abs(paths.mean(axis=1) - forecast.mean) < 5 * deviations / np.sqrt(20_000)).all()
    np.testing.assert_allclose(paths.std(axis=1), deviations, rtol=0.03)
    pd.testing.assert_frame_equal(paths, forecast.sample(20_000, seed=1))


def test_steps_of_a_path_depend_on_each_other(nile):
    # For a local level all of the covariance of two steps is that of the first step's level.
    forecast = nile.forecast(2)
    expected = forecast.variance.iloc[0] - nile.params["irregular.scale"] ** 2
    assert forecast.sample(50_000, seed=2).T.cov().iloc[0, 1] == pytest.approx(expected, rel=0.1)


def test_arrays_in_arrays_out():
    flow = datasets.nile().to_numpy()[:40]
    result = LocalLevel().fit(np.stack([flow, 2 * flow]), verbose=0)
    forecast = result.forecast(5)
    assert forecast.mean.shape == forecast.quantile(0.1).shape == (2, 5)
    assert forecast.sample(7, seed=0).shape == (7, 2, 5)
    np.testing.assert_allclose(forecast.mean[1], 2 * forecast.mean[0], rtol=1e-9)
    assert result.smooth().mean.shape == (2, 40, 1)
    assert result.smooth().covariance.shape == (2, 40, 1, 1)
    assert result.components().variance.shape == (2, 40, 2)
    assert result[0].forecast(5).to_frame().index.tolist() == [40, 41, 42, 43, 44]
    with pytest.raises(InputError, match=r"result\[index\]"):
        forecast.to_frame()
    with pytest.raises(InputError, match=r"result\[0\]"):
        result.plot()


def test_frames_in_frames_out(batch):
    assert batch.forecast(2).mean.columns.tolist() == ["a", "b"]
    assert batch.smooth().mean.columns.tolist() == [("a", "level"), ("b", "level")]
    assert batch.smooth().covariance.shape == (2, 40, 1, 1)
    assert batch.forecast(2).sample(3, seed=0).shape == (2, 6)
    with pytest.raises(InputError, match="'a'"):
        batch.forecast(2).plot()


def test_one_forecast_of_several(batch):
    forecast, alone = batch.forecast(3)["b"], batch["b"].forecast(3)
    pd.testing.assert_series_equal(forecast.mean, alone.mean)
    pd.testing.assert_frame_equal(forecast.to_frame(), alone.to_frame())
    pd.testing.assert_frame_equal(forecast.components().variance, alone.components().variance)
    pd.testing.assert_frame_equal(forecast.sample(2, seed=0), alone.sample(2, seed=0))
    assert forecast.result.layout.name == "b"
    with pytest.raises(KeyError, match="No column 'c'"):
        batch.forecast(3)["c"]


def test_plots_return_labelled_axes(nile, airline, tmp_path):
    ax = nile.plot()
    assert nile.forecast(5).plot(ax, history=False) is ax
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels == [
        "Data",
        "Smoothed level",
        "90 % band",
        "Forecast (median)",
        "90 % interval",
        "50 % interval",
    ]
    assert ax.get_ylabel() == "volume"
    ax.figure.savefig(tmp_path / "nile.png")
    axes = airline.plot_components()
    assert [ax.get_title(loc="left") for ax in axes] == ["Trend", "Seasonal", "Irregular"]
    forecast_axes = airline.forecast(5).plot(history=24, transform=np.exp, levels=[0.8])
    assert len(forecast_axes.lines[0].get_xdata()) == 24
