"""Data files for the command line: which columns are what, and what is wrong with them."""

import numpy as np
import pandas as pd
import pytest

from statespace.forecasting.data_file import read_data
from statespace.forecasting.errors import InputError

LONG = """shop,day,sales,price
b,2024-01-02,20,1
b,2024-01-01,10,2
a,2024-01-03,,3
a,2024-01-01,1,4
b,2024-01-03,,5
a,2024-01-02,2,6
"""


@pytest.fixture
def write(tmp_path):
    def write(text, name="data.csv"):
        path = tmp_path / name
        path.write_text(text)
        return path

    return write


def test_one_series(write):
    data = read_data(write("day,x\n2024-01-03,3\n2024-01-01,1\n2024-01-04,\n"))
    assert not data.is_long
    assert data.features is None
    assert data.names == (None, "day")
    expected = pd.Series(
        [1, np.nan, 3, np.nan], pd.date_range("2024-01-01", periods=4, name="day"), name="x"
    )
    pd.testing.assert_series_equal(data.y, expected)
    pd.testing.assert_series_equal(data.values, expected)


def test_one_series_with_features(write):
    text = "day,x,price,other\n" + "".join(
        f"2024-01-{day:02d},{day if day < 4 else ''},{10 * day},0\n" for day in range(1, 7)
    )
    data = read_data(write(text), value="x", features=["price"])
    assert data.y.tolist() == [1, 2, 3]
    assert data.y.index.freqstr == "D"
    assert data.features.columns.tolist() == ["price"]
    assert data.features["price"].tolist() == [10, 20, 30, 40, 50, 60]


def test_value_is_what_is_left(write):
    data = read_data(write("x,price\n1,2\n2,3\n"), features=["price"])
    assert data.y.name == "x"
    assert data.y.index.tolist() == [1, 2]


def test_many_series(write):
    data = read_data(write(LONG), series="shop", value="sales")
    assert data.is_long
    assert data.names == ("shop", "day")
    assert data.y.columns.tolist() == ["unique_id", "ds", "y"]
    assert data.y["unique_id"].tolist() == ["b", "b", "b", "a", "a", "a"]
    assert data.y["ds"].dt.day.tolist() == [1, 2, 3, 1, 2, 3]
    np.testing.assert_array_equal(data.values, [10, 20, np.nan, 1, 2, np.nan])


def test_many_series_with_features(write):
    data = read_data(write(LONG), series="shop", value="sales", features=["price"])
    assert data.y["y"].tolist() == [10, 20, 1, 2]
    assert data.features["unique_id"].tolist() == ["b", "b", "b", "a", "a", "a"]
    assert data.features[0].tolist() == [2, 1, 5, 4, 6, 3]


def test_a_series_without_values_stays(write):
    text = LONG + "c,2024-01-01,,1\nc,2024-01-02,,1\n"
    data = read_data(write(text), series="shop", value="sales", features=["price"])
    assert data.y["unique_id"].tolist() == ["b", "b", "a", "a", "c", "c"]


def test_usual_names_are_found(write):
    data = read_data(write("ds,unique_id,y,price\n2020,a,1,5\n2020,b,2,5\n2021,a,3,5\n"))
    assert data.names == ("unique_id", "ds")
    assert data.y["y"].tolist() == [1, 3, 2]
    assert data.y["ds"].tolist() == [2020, 2021, 2020]


def test_day_and_month_are_told_apart_in_files_of_many_series(write):
    # Mondays, with a gap; with the month first they would have no frequency.
    rows = [f"{shop},{day}/2024,1" for shop in "ab" for day in ("05/02", "12/02", "04/03", "11/03")]
    data = read_data(write("unique_id,ds,y\n" + "\n".join(rows) + "\n"))
    mondays = pd.DatetimeIndex(["2024-02-05", "2024-02-12", "2024-03-04", "2024-03-11"])
    assert data.y["ds"].tolist() == [*mondays] * 2


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        (LONG, {"value": "sales"}, "--id"),
        (LONG, {"series": "town"}, r"no column 'town'; there are 'shop', 'day'"),
        (LONG, {"series": "shop", "features": ["cost"]}, "no column 'cost'"),
        (LONG, {"series": "shop"}, "'sales', 'price' all hold numbers; choose one with --value"),
        (LONG, {"series": "shop", "value": "shop"}, "'shop' is meant by --id and by --value"),
        (
            LONG,
            {"series": "shop", "features": ["price", "price"]},
            "by --features and by --features",
        ),
        (
            LONG + ",2024-01-04,1,1\n",
            {"series": "shop", "value": "sales"},
            "line 8: the column 'sh",
        ),
        (
            LONG + "a,2024-01-04,x,1\n",
            {"series": "shop", "value": "sales"},
            "line 8: 'x' in column",
        ),
        ("unique_id,y\na,1\nb,2\n", {}, "no column of dates, .* name one with --date"),
    ],
)
def test_errors(text, options, message, write):
    with pytest.raises(InputError, match=message):
        read_data(write(text), **options)


def as_if_installed(monkeypatch, table):
    monkeypatch.setattr(pd, "read_parquet", lambda path: table)


def test_parquet_is_read_as_csv_is(write, monkeypatch):
    days = pd.date_range("2024-01-01", periods=4, tz="Europe/Berlin")
    table = pd.DataFrame(
        {
            "unique_id": pd.Categorical(["a", "a", "b", "b"]),
            "ds": days[[1, 0, 0, 1]],
            "y": pd.array([1, None, 3, 4], dtype="Int64"),
            "open": [True, False, True, False],
        }
    )
    as_if_installed(monkeypatch, table)
    data = read_data(write("", "data.parquet"))
    assert data.y["unique_id"].tolist() == ["a", "a", "b", "b"]
    assert data.y["ds"].tolist() == [*days[:2]] * 2
    np.testing.assert_array_equal(data.values, [np.nan, 1, 3, 4])


def test_parquet_with_the_dates_as_index(write, monkeypatch):
    y = pd.Series([0.1, 0.2, 1 / 3], pd.date_range("2024-01-01", periods=3, name="day"), name="x")
    as_if_installed(monkeypatch, y.to_frame())
    data = read_data(write("", "data.pq"))
    pd.testing.assert_series_equal(data.y, y, check_exact=True)


def test_parquet_with_numbers_and_words_for_dates(write, monkeypatch):
    for dates in ([20240101, 20240102, 20240103], ["2024-01-01", "2024-01-02", "2024-01-03"]):
        as_if_installed(monkeypatch, pd.DataFrame({"day": dates, "x": [1, 2, 3]}))
        data = read_data(write("", "data.parquet"), date="day")
        assert data.y.index.tolist() == [*pd.date_range("2024-01-01", periods=3)]


def test_parquet_that_cannot_be_read(write, monkeypatch, tmp_path):
    def missing(path):
        raise ImportError("Unable to find a usable engine")

    def broken(path):
        raise ValueError("Parquet magic bytes not found")

    path = write("x\n1\n", "data.parquet")
    monkeypatch.setattr(pd, "read_parquet", missing)
    with pytest.raises(InputError, match=r"need the package pyarrow; pip install pyarrow"):
        read_data(path)
    monkeypatch.setattr(pd, "read_parquet", broken)
    with pytest.raises(InputError, match="cannot be read as a Parquet file: Parquet magic"):
        read_data(path)
    as_if_installed(monkeypatch, pd.DataFrame({"day": [], "x": []}))
    with pytest.raises(InputError, match="no rows"):
        read_data(path)
    with pytest.raises(FileNotFoundError):
        read_data(tmp_path / "absent.parquet")


def test_real_parquet(tmp_path):
    pytest.importorskip("pyarrow")
    y = pd.Series([0.1, 0.2, 1 / 3], pd.date_range("2024-01-01", periods=3, name="day"), name="x")
    y.to_frame().to_parquet(tmp_path / "data.parquet")
    pd.testing.assert_series_equal(read_data(tmp_path / "data.parquet").y, y, check_exact=True)
