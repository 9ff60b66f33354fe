"""Data come in as arrays, Series and DataFrames, regular or with gaps, or are refused."""

import numpy as np
import pandas as pd
import pytest

from statespace.forecasting.data import as_batch
from statespace.forecasting.errors import InputError
from statespace.forecasting.frequency import future_index, regular_index


def dates(*entries):
    return pd.DatetimeIndex(entries)


@pytest.mark.parametrize(
    ("shape", "batch", "flat"),
    [
        ((5,), (), (1, 5, 1)),
        ((3, 5), (3,), (3, 5, 1)),
        ((2, 3, 5, 1), (2, 3), (6, 5, 1)),
        ((5, 1), (), (1, 5, 1)),
    ],
)
def test_shapes_of_arrays(shape, batch, flat):
    values, layout = as_batch(np.arange(np.prod(shape)).reshape(shape))
    assert values.shape == flat
    assert values.dtype == np.float64
    assert layout.per_step(values).shape == (*batch, 5)
    assert np.shape(layout.per_series(values[:, 0, 0])) == batch


@pytest.mark.parametrize(("shape", "batch"), [((5, 2), ()), ((4, 3, 5, 2), (4, 3))])
def test_arrays_of_several_variables(shape, batch):
    values, layout = as_batch(np.arange(np.prod(shape)).reshape(shape), num_observed=2)
    assert values.shape == (np.prod(batch, dtype=int), 5, 2)
    np.testing.assert_array_equal(layout.per_step(values).ravel(), np.arange(np.prod(shape)))


def test_a_frame_of_several_variables_is_one_series():
    index = pd.period_range("2020-01", periods=4, freq="M")
    frame = pd.DataFrame({"a": [1.0, 2, 3, 4], "b": [5, None, 7, 8]}, index)
    values, layout = as_batch(frame, num_observed=2)
    assert values.shape == (1, 4, 2)
    pd.testing.assert_frame_equal(layout.per_step(values), frame, check_names=False)
    with pytest.raises(InputError, match="3 variables at each step"):
        as_batch(frame, num_observed=3)


def test_list_of_numbers():
    values, _ = as_batch([1, 2.5, np.nan])
    np.testing.assert_array_equal(values[..., 0], [[1, 2.5, np.nan]])


def test_series_round_trip_with_gaps():
    series = pd.Series([1.0, 2.0, 4.0], dates("2024-01-31", "2024-02-29", "2024-04-30"), name="x")
    values, layout = as_batch(series)
    np.testing.assert_array_equal(values[..., 0], [[1, 2, np.nan, 4]])
    back = layout.per_step(values)
    assert back.index.freqstr == "ME"
    assert back.name == "x"
    pd.testing.assert_series_equal(back.dropna(), series, check_freq=False)


def test_unsorted_series_is_put_in_order():
    values, _ = as_batch(pd.Series([3.0, 1.0, 2.0], [1903, 1901, 1902]))
    np.testing.assert_array_equal(values[..., 0], [[1, 2, 3]])


def test_frame_round_trip():
    index = pd.period_range("2020-01", periods=4, freq="M")
    frame = pd.DataFrame({"a": [1.0, 2, 3, 4], "b": [5, None, 7, 8]}, index)
    values, layout = as_batch(frame)
    assert values.shape == (2, 4, 1)
    pd.testing.assert_frame_equal(layout.per_step(values), frame, check_names=False)
    assert layout.per_name(values, ["mean"]).columns.tolist() == [
        ("a", "mean"),
        ("b", "mean"),
    ]


def test_masked_array():
    values, _ = as_batch(np.ma.masked_array([1, 2, 3], mask=[False, True, False]))
    np.testing.assert_array_equal(values[..., 0], [[1, np.nan, 3]])


def test_nullable_integers_of_pandas():
    values, _ = as_batch(pd.Series([1, None, 3], dtype="Int64"))
    np.testing.assert_array_equal(values[..., 0], [[1, np.nan, 3]])


@pytest.mark.parametrize(
    ("entries", "frequency", "length"),
    [
        (("2020-01-01", "2020-02-01", "2020-05-01"), "MS", 5),
        (("2020-01-01", "2020-04-01", "2020-10-01"), "QS-JAN", 4),
        (("2020-12-31", "2021-12-31", "2023-12-31"), "YE-DEC", 4),
        (("2020-01-06", "2020-01-13", "2020-01-27"), "W-MON", 4),
        (("2020-01-06", "2020-01-07", "2020-01-11"), "D", 6),
        (("2020-01-06 00:00", "2020-01-06 01:00", "2020-01-06 04:00"), "h", 5),
        (("2020-01-06 00:00", "2020-01-06 00:15", "2020-01-06 00:45"), "15min", 4),
        (("2020-01-15", "2020-02-15", "2020-05-15"), None, 5),
        (("2020-01-31", "2020-04-30", "2020-05-29"), "BME", 5),
        (("1501-01-01", "1502-01-01", "1504-01-01"), "YS-JAN", 4),
    ],
)
def test_frequency_of_dates_with_gaps(entries, frequency, length):
    grid = regular_index(dates(*entries))
    assert len(grid) == length
    assert frequency is None or grid.freqstr == frequency


def test_business_days():
    days = pd.bdate_range("2024-01-01", periods=30).delete([3, 11])
    grid = regular_index(days)
    assert grid.freqstr == "B"
    assert len(grid) == 30


def test_daily_dates_across_summer_time():
    days = pd.date_range("2024-03-25", periods=14, freq="D", tz="Europe/Berlin").delete(3)
    assert len(regular_index(days)) == 14


@pytest.mark.parametrize(
    ("index", "expected"),
    [
        (pd.RangeIndex(1900, 1910, 2), [1910, 1912]),
        (pd.period_range("1999-12", periods=1, freq="M"), ["2000-01", "2000-02"]),
        (pd.date_range("2024-01-31", periods=2, freq="ME"), ["2024-03-31", "2024-04-30"]),
    ],
)
def test_index_of_the_future(index, expected):
    future = future_index(index, 2)
    assert [str(entry)[:10] for entry in future] == [str(entry) for entry in expected]


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (3.0, "single number"),
        ([], "empty"),
        (pd.Series(dtype=float), "empty"),
        (pd.DataFrame(), "empty|no columns"),
        (["a", "b"], "does not hold numbers"),
        ([True, False], "real numbers"),
        ([1 + 2j], "real numbers"),
        ([1.0, np.inf], "infinite at step 1"),
        (pd.Series(["x", "y"], name="label"), "label does not hold numbers"),
        (pd.DataFrame({"a": [1.0], "b": ["x"]}), "b does not hold numbers"),
        (pd.DataFrame(np.ones((3, 2)), columns=["a", "a"]), "two columns 'a'"),
        (pd.Series([1.0, 2.0], ["x", "y"]), "dates, periods or whole numbers"),
        (pd.Series([1.0, 2.0], [7, 7]), "7 occurs 2 times"),
        (pd.Series([1.0, 2.0], pd.DatetimeIndex(["2020-01-01", None])), "1 of 2 dates"),
        (pd.Series([1.0], dates("2020-01-01")), "at least two"),
        (
            pd.Series(np.ones(4), dates("1900-01-01", "1950-03-04", "1999-12-31", "2020-01-01")),
            "No regular frequency",
        ),
        (
            pd.Series(np.ones(3), dates("1900-01-01", "1950-03-04 01:02:03", "2020-01-01")),
            "No regular frequency",
        ),
    ],
)
def test_errors(y, message):
    with pytest.raises(InputError, match=message):
        as_batch(y)
