"""Features of events, over every kind of index."""

import datetime

import numpy as np
import pandas as pd
import pytest

from statespace import datasets
from statespace.forecasting import interventions
from statespace.forecasting.errors import InputError
from statespace.models import LocalLevel, Regression

MONTHS = pd.period_range("1983-01", periods=6, freq="M")
STEP = [0.0, 1.0, 1.0, 1.0, 1.0, 1.0]


def test_the_three_kinds():
    table = interventions(
        MONTHS, level_shifts=["1983-02"], pulses=["1983-01", "1983-04"], slope_changes=["1983-03"]
    )
    expected = {
        "level_shift_1983-02": STEP,
        "pulse_1983-01": [1.0, 0.0, 0.0, 0.0, 0.0, 0.0],
        "pulse_1983-04": [0.0, 0.0, 0.0, 1.0, 0.0, 0.0],
        "slope_change_1983-03": [0.0, 0.0, 0.0, 1.0, 2.0, 3.0],
    }
    pd.testing.assert_frame_equal(table, pd.DataFrame(expected, MONTHS))


@pytest.mark.parametrize(
    ("index", "time", "name"),
    [
        (MONTHS, pd.Period("1983-02", freq="M"), "1983-02"),
        (MONTHS, pd.Timestamp("1983-02-14"), "1983-02"),
        (MONTHS, datetime.date(1983, 2, 28), "1983-02"),
        (MONTHS, 1, "1983-02"),
        (MONTHS.to_timestamp(), "1983-02", "1983-02"),
        (MONTHS.to_timestamp(), pd.Timestamp("1983-02-01"), "1983-02"),
        (MONTHS.to_timestamp(), pd.Period("1983-02", freq="M"), "1983-02"),
        (MONTHS.to_timestamp(), np.int64(1), "1983-02"),
        (pd.date_range("1983-01-31", periods=6, freq="ME"), "1983-02", "1983-02"),
        (pd.date_range("1983-01-31", periods=6, freq="D", tz="UTC"), "1983-02-01", "1983-02-01"),
        (pd.date_range("1983-01-31", periods=6, freq="h"), "1983-01-31 01:00", "1983-01-31 01:00"),
        (pd.period_range("1983Q1", periods=6, freq="Q"), "1983Q2", "1983Q2"),
        (pd.RangeIndex(1898, 1904), 1899, "1899"),
        (6, 1, "1"),
    ],
)
def test_every_way_to_say_when(index, time, name):
    table = interventions(index, level_shifts=time)
    assert table.columns.tolist() == [f"level_shift_{name}"]
    assert table.iloc[:, 0].tolist() == STEP


def test_gaps_are_filled_and_the_horizon_follows():
    gappy = MONTHS.delete([2, 3]).to_timestamp()
    table = interventions(gappy, level_shifts="1983-04", pulses="1983-08", horizon=3)
    assert table.index.equals(pd.date_range("1983-01-01", periods=9, freq="MS"))
    assert table["level_shift_1983-04"].tolist() == [0.0] * 3 + [1.0] * 6
    assert table["pulse_1983-08"].tolist() == [0.0] * 7 + [1.0, 0.0]
    assert interventions(4, pulses=5, horizon=2).index.tolist() == [0, 1, 2, 3, 4, 5]


def test_fit_and_forecast_take_them():
    """The level after the shift is estimated from what comes after it alone."""
    flow = datasets.nile()
    features = interventions(flow.index, level_shifts="1899", horizon=5)
    result = (LocalLevel() + Regression(1)).fit(
        flow, features=features, fix={"level.scale": 0.0}, verbose=0
    )
    before, after = flow.loc[:"1898"].mean(), flow.loc["1899":].mean()
    shift = result.smooth().mean["regression_1"].iloc[-1]
    np.testing.assert_allclose(shift, after - before, rtol=1e-9)
    forecast = result.forecast(5, features=features)
    np.testing.assert_allclose(forecast.mean, after, rtol=1e-9)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "no events"),
        (
            {"level_shifts": "1984-02"},
            r"level_shifts: 1984-02 is no step.*1983-01, 1983-02, \.\.\.",
        ),
        ({"pulses": ["not a date"]}, "pulses: not a date is no step"),
        ({"pulses": 6}, "no position 6; there are 6 steps"),
        ({"pulses": -1}, "no position -1"),
        ({"level_shifts": "1983-01"}, "level_shifts: 1983-01 is the first step"),
        ({"pulses": ["1983-02", 1]}, "pulses: 1983-02 is given twice"),
        ({"pulses": "1983"}, "pulses: 1983 names 6 steps"),
        ({"pulses": 1.5}, "pulses: 1.5 is no step"),
    ],
)
def test_errors_say_what_is_wrong(arguments, message):
    with pytest.raises(InputError, match=message):
        interventions(MONTHS, **arguments)


def test_other_errors():
    with pytest.raises(InputError, match=r"take its \.index"):
        interventions(datasets.nile(), pulses="1899")
    with pytest.raises(InputError, match="is empty"):
        interventions(MONTHS[:0], pulses=0)
    with pytest.raises(ValueError, match="horizon"):
        interventions(MONTHS, pulses=0, horizon=-1)
    with pytest.raises(InputError, match=r"1983-02-10 .* is no step"):
        interventions(MONTHS.to_timestamp(), pulses=pd.Timestamp("1983-02-10"))
