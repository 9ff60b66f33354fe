"""The reader of users' files finds dates and values, or says what is wrong and where."""

import numpy as np
import pandas as pd
import pytest

from statespace.forecasting.csv_file import read_series
from statespace.forecasting.errors import InputError


@pytest.fixture
def file(tmp_path):
    def write(text, encoding="utf-8"):
        path = tmp_path / "data.csv"
        path.write_text(text, encoding=encoding)
        return path

    return write


@pytest.mark.parametrize(
    ("text", "frequency"),
    [
        ("date,x\n2024-01-01,1\n2024-02-01,2\n2024-04-01,4\n", "MS"),
        ("date;x\n31/01/2024;1,0\n29/02/2024;2\n30/04/2024;4\n", "ME"),
        ("x\tmonth\n1\t2024-01\n2\t2024-02\n4\t2024-04\n", "MS"),
        ("when,x\nJan 2024,1\nFeb 2024,2\nApr 2024,4\n", "MS"),
        ("quarter,x\n2024Q1,1\n2024 q2,2\n2024-Q4,4\n", "QS-JAN"),
        ("ds,x,name\n20240101,1,a\n20240102,2,b\n20240104,4,c\n", "D"),
        ("timestamp, x\n2024-01-01 00:00, 1\n2024-01-01 01:00, 2\n2024-01-01 03:00, 4\n", "h"),
        ("day,x\n2024-01-04,4\n2024-01-01,1\n2024-01-02,2\n\n", "D"),
        ("day,x\n2024-01-01,1\n2024-01-02,2\n2024-01-03,n/a\n2024-01-04,4\n", "D"),
    ],
)
def test_dates_are_found_and_gaps_are_missing(file, text, frequency):
    series = read_series(file(text))
    assert series.name == "x"
    assert series.index.freqstr == frequency
    np.testing.assert_array_equal(series, [1, 2, np.nan, 4])


def test_years_are_numbers(file):
    series = read_series(file("year,x\n1990,1\n1991,2\n1993,4\n"))
    assert series.index.tolist() == [1990, 1991, 1992, 1993]


def test_no_dates_at_all(file):
    series = read_series(file("x\n1\n2\n\n4\n\n\n"))
    assert series.index.tolist() == [1, 2, 3, 4]
    np.testing.assert_array_equal(series, [1, 2, np.nan, 4])


def test_columns_by_name(file):
    path = file("a,b,c,d\n2024-01-01,2030-05-01,1,5\n2024-01-02,2030-06-01,2,6\n")
    series = read_series(path, date="b", value="d")
    assert series.index[0] == pd.Timestamp("2030-05-01")
    assert series.tolist() == [5, 6]


def test_byte_order_mark(file):
    assert read_series(file("date,x\n2024-01-01,1\n2024-01-02,2\n", "utf-8-sig")).name == "x"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("date,x\n", "no rows below the header"),
        ("date,x\n2024-01-01,1\nsoon,2\n", "line 3: 'soon' is not a date"),
        ("date,x\n2024-01-01,1\n,2\n", "line 3: the date is missing"),
        ("date,x\n2024-01-01,1\n\n2024-01-02,two\n2024-01-03,3\n", "line 4: 'two' .* not a number"),
        ("date,x\n2024-01-01,1\n2024-01-01,2\n", "2024-01-01 occurs more than once .lines 2, 3"),
        ("date,x,y\n2024-01-01,1,2\n2024-01-02,1,2\n", "'x', 'y' all hold numbers.*--value"),
        ("date,time,x\n2024-01-01,1,2\n2024-01-02,1,2\n", "'date', 'time' may all.*--date"),
        ("a,b,x\n2024-01-01,2024-01-01,1\n2024-01-02,2024-01-02,1\n", "'a', 'b' may all.*--date"),
        ("date,name\n2024-01-01,a\n2024-01-02,b\n", "no column of numbers.*'name'"),
        ("date\n2024-01-01\n2024-01-02\n", "no column of numbers.*none"),
        ("date,x\n2024-01-01,1,1,1\n2024-01-02,2,1,1\n", "more fields than the header"),
        ("date,x\n2024-01-01,1\n2024-01-02,2,1,1\n", "not a table of columns"),
        ("date,x\n1900-01-01,1\n1950-03-04,2\n2020-01-01,3\n", "No regular frequency"),
    ],
)
def test_errors(file, text, message):
    with pytest.raises(InputError, match=message):
        read_series(file(text))


@pytest.mark.parametrize("names", [{"date": "when"}, {"value": "y"}])
def test_absent_column(file, names):
    with pytest.raises(InputError, match=r"no column .*; there are 'date', 'x'"):
        read_series(file("date,x\n2024-01-01,1\n"), **names)


def test_not_text(tmp_path):
    path = tmp_path / "data.csv"
    path.write_bytes(b"\xff\xfe\x00\x93binary")
    with pytest.raises(InputError, match="not a text file"):
        read_series(path)


def test_no_such_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_series(tmp_path / "absent.csv")
