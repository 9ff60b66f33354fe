"""Reads one series from a user's CSV file: finds dates and values, and says what is wrong.

Line numbers in messages count from 1 and include the header, as editors show them.
"""

import csv
import warnings
from pathlib import Path

import pandas as pd

from statespace.forecasting.errors import InputError
from statespace.forecasting.frequency import regular_index

_DATE_NAMES = {"date", "dates", "datetime", "day", "ds", "month", "period", "quarter", "time"} | {
    "timestamp",
    "week",
    "year",
}
_MISSING = ["", "NA", "N/A", "n/a", "NaN", "nan", "null", "NULL", "None", "-", ".", "?", "missing"]


def read_series(path, *, date=None, value=None) -> pd.Series:
    """Reads a series from a CSV file.

    Args:
      path: the file; commas, semicolons, tabs or bars separate its columns, the first line names
        them.
      date: name of the column with the dates. By default the column that looks like dates; if none
        does, the rows are numbered.
      value: name of the column with the values. By default the only column of numbers.

    Returns:
      The series on a regular index; absent rows are NaN.

    Raises:
      InputError: the file cannot be read as such, a column is absent, ambiguous or holds what is
        neither date nor number, or dates repeat.
      OSError: the file cannot be opened.
    """
    table = _read_table(path)
    for name in (date, value):
        if name is not None and name not in table.columns:
            raise InputError(f"{path}: no column {name!r}; there are {_listing(table.columns)}.")
    date = date if date is not None else _find_dates(table.drop(columns=value or []), path)
    value = value if value is not None else _find_values(table.drop(columns=date or []), path)
    numbers = _to_numbers(table[value], path)
    if date is None:
        return pd.Series(numbers, pd.RangeIndex(1, len(table) + 1, name="row"), name=value)
    index = pd.Index(_to_dates(table[date], path), name=date)
    repeated = index.duplicated(keep=False)
    if repeated.any():
        first = index[repeated][0]
        lines = ", ".join(map(str, table.index[index == first][:5]))
        raise InputError(
            f"{path}: the date {_shown(first)} occurs more than once (lines {lines}). Each "
            f"date may occur once; add up or average equal dates, or split the file by series."
        )
    series = pd.Series(numbers, index, name=value)
    return series.reindex(regular_index(index))


def _read_table(path):
    """The file as a table of strings, NaN where missing, indexed by the numbers of its lines."""
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"{path}: not a text file in UTF-8.") from None
    if not text.strip():
        raise InputError(f"{path}: the file is empty.")
    header = text.lstrip().splitlines()[0]
    try:
        delimiter = csv.Sniffer().sniff(header, delimiters=",;\t|").delimiter
    except csv.Error:
        delimiter = ","  # a single column
    try:
        table = pd.read_csv(
            Path(path),
            sep=delimiter,
            dtype=str,
            encoding="utf-8-sig",
            na_values=_MISSING,
            keep_default_na=False,
            skipinitialspace=True,
            skip_blank_lines=False,
        )
    except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise InputError(f"{path}: not a table of columns: {str(error).strip()}") from None
    table.columns = table.columns.str.strip()
    if not isinstance(table.index, pd.RangeIndex):
        raise InputError(f"{path}: the rows have more fields than the header names columns.")
    table.index += 2
    filled = table.notna().any(axis=1)
    if not filled.any():
        raise InputError(f"{path}: there are no rows below the header.")
    if len(table.columns) == 1:  # a blank line is a missing value, but not at the end of the file
        return table.loc[: table.index[filled][-1]]
    return table[filled]


def _find_dates(table, path):
    """The column of dates: by its name, else the only one whose entries all are dates."""
    named = [name for name in table.columns if name.lower() in _DATE_NAMES]
    if len(named) > 1:
        raise InputError(
            f"{path}: {_listing(named)} may all hold the dates; choose one with --date."
        )
    if named:
        return named[0]
    dated = [name for name in table.columns if _looks_like_dates(table[name])]
    if len(dated) > 1:
        raise InputError(
            f"{path}: {_listing(dated)} may all hold the dates; choose one with --date."
        )
    return dated[0] if dated else None


def _looks_like_dates(column):
    """Whether all entries are dates and not, as 1949 might be, numbers."""
    entries = column.dropna()
    if len(entries) == 0 or pd.to_numeric(entries, errors="coerce").notna().any():
        return False
    return _parse_dates(entries).notna().all()


def _find_values(table, path):
    candidates = [name for name in table.columns if _share_of_numbers(table[name]) > 0.5]
    if not candidates:
        raise InputError(
            f"{path}: no column of numbers besides the dates; the columns are "
            f"{_listing(table.columns) or 'none'}."
        )
    if len(candidates) > 1:
        raise InputError(
            f"{path}: {_listing(candidates)} all hold numbers; choose one with --value."
        )
    return candidates[0]


def _share_of_numbers(column):
    entries = column.dropna()
    return _parse_numbers(entries).notna().mean() if len(entries) else 0.0


def _to_numbers(column, path):
    numbers = _parse_numbers(column)
    wrong = column.notna() & numbers.isna()
    if wrong.any():
        line = wrong.idxmax()
        raise InputError(
            f"{path}, line {line}: {column[line]!r} in column {column.name!r} is not a "
            f"number. Leave the field empty if the value is missing."
        )
    return numbers.to_numpy(dtype="float64")


def _parse_numbers(column):
    numbers = pd.to_numeric(column, errors="coerce")
    if column.str.contains(".", regex=False).any():
        return numbers
    with_decimal_commas = pd.to_numeric(column.str.replace(",", "."), errors="coerce")
    return with_decimal_commas if with_decimal_commas.count() > numbers.count() else numbers


def _to_dates(column, path):
    years = pd.to_numeric(column, errors="coerce")
    if years.notna().all() and (years % 1 == 0).all() and years.between(0, 9999).all():
        return years.astype("int64")  # years, or plain numbers of steps
    dates = _parse_dates(column)
    wrong = dates.isna()
    if wrong.any():
        line = wrong.idxmax()
        entry = column[line]
        problem = "the date is missing" if pd.isna(entry) else f"{entry!r} is not a date"
        raise InputError(
            f"{path}, line {line}: {problem} (column {column.name!r}). Dates such as "
            f"2024-03-31 are always understood."
        )
    return dates


def _parse_dates(column):
    """Timestamps, NaT where an entry is no date. The order day, month is taken from the column."""
    quarters = column.str.fullmatch(r"\s*\d{4}[- ]?[Qq][1-4]\s*")
    if quarters.fillna(False).all():
        periods = pd.PeriodIndex(column.str.replace(r"[- ]", "", regex=True).str.upper(), freq="Q")
        return pd.Series(periods.to_timestamp(), column.index)
    with warnings.catch_warnings():  # about formats that pandas cannot infer: each is tried here
        warnings.simplefilter("ignore")
        attempts = [
            _attempt(column, dayfirst=False),
            _attempt(column, dayfirst=True),
            _attempt(column, format="mixed"),
        ]
    return max(attempts, key=lambda dates: dates.count())  # the first of equals


def _attempt(column, **how):
    try:
        return pd.to_datetime(column, errors="coerce", **how)
    except ValueError:  # offsets from UTC that differ, as over the change to summer time
        return pd.to_datetime(column, errors="coerce", utc=True, **how)


def _shown(date):
    return f"{date:%Y-%m-%d}" if isinstance(date, pd.Timestamp) else str(date)


def _listing(names):
    return ", ".join(map(repr, names))
