"""What the plots draw; what they look like is for eyes."""

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt

from statespace import datasets
from statespace.forecasting.errors import InputError
from statespace.models import LocalLevel, Regression


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


def curve(ax, colour):
    """The heights of the line of a colour."""
    [line] = [x for x in ax.get_lines() if x.get_color() == colour and x.get_linestyle() == "-"]
    return line.get_ydata()


def test_components_of_history_and_forecast(airline):
    forecast = airline.forecast(24)
    axes = airline.plot_components(forecast=forecast)
    assert [ax.get_title(loc="left") for ax in axes] == ["Trend", "Seasonal", "Irregular"]
    for ax, name in zip(axes[:2], ("trend", "seasonal"), strict=True):
        np.testing.assert_allclose(curve(ax, "#0072B2"), airline.components().mean[name])
        np.testing.assert_allclose(curve(ax, "#D55E00"), forecast.components().mean[name])
    bands = axes[0].collections
    assert len(bands) == 2
    lower = forecast.components().interval(0.9).lower["trend"]
    heights = bands[1].get_paths()[0].vertices[:, 1]
    assert np.isclose(heights, lower.iloc[-1]).any()


def test_an_offset_without_forecast_is_left_alone():
    """Coefficients as parameters, and features that are zero in the steps to come."""
    flow = datasets.nile()
    pulse = pd.DataFrame({"x": (flow.index.year == 1913).astype(float)}, flow.index)
    result = (LocalLevel() + Regression(1, as_states=False)).fit(flow, features=pulse, verbose=0)
    axes = result.plot_components(forecast=result.forecast(3, features=np.zeros((3, 1))))
    assert len(axes[1].collections) == 1


def test_states(airline):
    axes = airline.plot_states()
    assert len(axes) == 13
    np.testing.assert_allclose(curve(axes[1], "#0072B2"), airline.smooth().mean["slope"])
    with pytest.raises(InputError, match="13 Axes are needed, one for each panel; given: 2"):
        airline.plot_states(plt.subplots(2)[1])


def test_diagnostics_panel(nile):
    axes = nile.plot_diagnostics(lags=12)
    assert len(axes) == 6
    residuals = nile.diagnostics().innovations.dropna()
    [bars] = [c for c in axes[0].collections if len(c.get_segments()) > 1]
    drawn = [s[:, 1].max() + s[:, 1].min() for s in bars.get_segments() if len(s)]
    np.testing.assert_allclose(drawn, residuals)
    correlations = nile.diagnostics(12).autocorrelations
    np.testing.assert_allclose(axes[1].get_lines()[-1].get_ydata(), correlations)
    assert sum(patch.get_height() for patch in axes[2].patches) * 0.5 == pytest.approx(1.0)
    assert axes[3].get_lines()[1].get_ydata().tolist() == sorted(residuals)
    assert [text.get_text() for text in axes[4].texts + axes[5].texts] == ["1913", "1899"]
    assert axes[5].get_title(loc="left") == "Auxiliary residuals: level"


def test_diagnostics_panel_draws_into_given_axes(airline):
    given = plt.subplots(2, 3)[1]
    assert airline.plot_diagnostics(given).tolist() == given.ravel().tolist()
    with pytest.raises(InputError, match="six Axes are needed; given: 2"):
        airline.plot_diagnostics(plt.subplots(2)[1])


def test_a_model_with_one_kind_of_noise_has_five_plots(nile):
    noise_free = LocalLevel().fit(datasets.nile(), fix={"level.scale": 0.0}, verbose=0)
    assert [ax.get_visible() for ax in noise_free.plot_diagnostics()] == [True] * 5 + [False]


def test_one_series_at_a_time(batch):
    for plot in (batch.plot_diagnostics, batch.plot_states, batch.plot_components):
        with pytest.raises(InputError, match=r"one .*series"):
            plot()
    assert len(batch["a"].plot_diagnostics()) == 6
