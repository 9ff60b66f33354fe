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


@pytest.mark.parametrize(
    ("entries", "first", "frequency"),
    [
        (["01/02/2020", "01/03/2020", "01/04/2020", "01/06/2020"], None, None),
        (["01/11/2020", "01/12/2020", "01/01/2021", "01/02/2021"], "2020-11-01", "MS"),
        (["11/01/2020", "12/01/2020", "01/01/2021", "02/01/2021"], "2020-11-01", "MS"),
        (["09.01.2020", "10.01.2020", "13.01.2020", "14.01.2020"], "2020-01-09", "B"),
        (["202011", "202012", "202101", "202102"], "2020-11-01", "MS"),
        (["Nov-20", "Dec-20", "Jan-21", "Feb-21"], "2020-11-01", "MS"),
        (["2020-01-02", "2020-01-03", "2020-01-04", "2020-01-06"], "2020-01-02", "D"),
        (  # midnights in Berlin, over the change to summer time
            [f"2020-03-{day} 00:00:00+0{1 + (day > 29)}:00" for day in (28, 29, 30, 31)],
            "2020-03-28",
            "D",
        ),
        (  # hours in Berlin, the same night
            ["2020-03-29T00:00+01:00", "2020-03-29T01:00+01:00", "2020-03-29T03:00+02:00"],
            "2020-03-28 23:00+00:00",
            "h",
        ),
    ],
)
def test_day_month_and_clock_are_read_such_that_dates_are_regular(file, entries, first, frequency):
    path = file("date,x\n" + "".join(f"{entry},{i}\n" for i, entry in enumerate(entries)))
    if first is None:
        with pytest.raises(InputError, match="may be 2020-01-06 or 2020-06-01"):
            read_series(path)
        return
    series = read_series(path)
    assert series.index[0] == pd.Timestamp(first)
    assert series.index.freqstr == frequency


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ('x,y\n"1,234",a\n"12,345,678",b\n987,c\n', [1234, 12345678, 987]),
        ('x,y\n"1,234.50",a\n-987.5,b\n', [1234.5, -987.5]),
        ("x;y\n1,234;a\n0,5;b\n", [1.234, 0.5]),
        ("x;y\n1.234,5;a\n1.234;b\n12;c\n", [1234.5, 1234, 12]),
        ("x;y\n1.234;a\n1.500;b\n", [1.234, 1.5]),
        ("x;y\n1\u00a0234,5;a\n12 345;b\n", [1234.5, 12345]),
        ("x;y\n1,234,567;a\n12,345;b\n", [1234567, 12345]),
    ],
)
def test_thousands_and_decimals(file, text, values):
    assert read_series(file(text)).tolist() == values


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
        ("date,name\n2024-01-01,a\n2024-01-02,b\n", "no column of numbers.*'name' .'a'."),
        ("2024-01-01,1\n2024-01-02,2\n", "first line, '2024-01-01,1', is data"),
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
