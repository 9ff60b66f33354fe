"""Reads one series from a user's CSV file: finds dates and values, and says what is wrong.

Line numbers in messages count from 1 and include the header, as editors show them.
"""

import csv
import warnings
from pathlib import Path

import numpy as np
import pandas as pd

from statespace.forecasting.errors import InputError
from statespace.forecasting.frequency import regular_index

_DATE_NAMES = {"date", "dates", "datetime", "day", "ds", "month", "period", "quarter", "time"} | {
    "timestamp",
    "week",
    "year",
}
# Columns whose entries all look the same way need no guessing: (pattern, format).
_UNMISTAKABLE = (
    (r"\d{8}", "%Y%m%d"),
    (r"\d{6}", "%Y%m"),
    (r"[A-Za-z]{3}-\d\d", "%b-%y"),
)
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
    table, decimal = read_table(path)
    date, value = find_columns(table, decimal, path, date=date, value=value)
    return on_dates(table, date, [value], decimal, path)[value]


def find_columns(table, decimal, path, *, date=None, value=None, others=()):
    """The names of the columns with the dates, None if there are none, and with the values.

    Args:
      table: of strings, or of numbers and dates, as ``read_table`` returns it.
      decimal: the decimal mark where a number may be read in two ways.
      path: what messages call the file.
      date, value: the names, where the user gave them.
      others: names of columns with other roles.
    """
    for name in (*others, date, value):
        if name is not None and name not in table.columns:
            raise InputError(f"{path}: no column {name!r}; there are {_listing(table.columns)}.")
    table = table.drop(columns=list(others))
    date = date if date is not None else _find_dates(table.drop(columns=value or []), path)
    if value is None:
        value = _find_values(table.drop(columns=date or []), decimal, path)
    return date, value


def on_dates(table, date, columns, decimal, path) -> pd.DataFrame:
    """Columns of numbers on the regular index of the dates; absent rows are NaN."""
    numbers = {name: to_numbers(table[name], decimal, path) for name in columns}
    if date is None:
        return pd.DataFrame(numbers, pd.RangeIndex(1, len(table) + 1, name="row"))
    index = pd.Index(to_dates(table[date], path), name=date)
    repeated = index.duplicated(keep=False)
    if repeated.any():
        first = index[repeated][0]
        lines = ", ".join(map(str, table.index[index == first][:5]))
        raise InputError(
            f"{path}: the date {_shown(first)} occurs more than once (lines {lines}). Each "
            f"date may occur once; add up or average equal dates, or, if the file has several "
            f"series, name the column that tells them apart with --id."
        )
    return pd.DataFrame(numbers, index).reindex(regular_index(index))


def read_table(path):
    """The file as a table of strings, NaN where missing, indexed by the numbers of its lines.

    Returns:
      The table, and the decimal mark where a field may be read both ways, as 1,234: with semicolons
      between columns goes the comma.
    """
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
    names = table.columns.to_series()
    numbers = _parse_numbers(names, ".").notna()
    if numbers.any() and (numbers | _readings(names)[0].notna()).all():
        raise InputError(
            f"{path}: the first line, {header!r}, is data; it must name the columns, as in "
            f"date{delimiter}value."
        )
    table.index += 2
    filled = table.notna().any(axis=1)
    if not filled.any():
        raise InputError(f"{path}: there are no rows below the header.")
    if len(table.columns) == 1:  # a blank line is a missing value, but not at the end of the file
        return table.loc[: table.index[filled][-1]], "."
    return table[filled], "," if delimiter == ";" else "."


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
    if _holds_dates(column):
        return True
    entries = column.dropna()
    if len(entries) == 0 or _parse_numbers(entries, ".").notna().any():
        return False
    return _readings(entries)[0].notna().all()


def _find_values(table, decimal, path):
    candidates = [name for name in table.columns if _share_of_numbers(table[name], decimal) > 0.5]
    if not candidates:
        first = {name: column.dropna().head(1).tolist() for name, column in table.items()}
        columns = [f"{name!r} ({', '.join(map(repr, entry))})" for name, entry in first.items()]
        raise InputError(
            f"{path}: no column of numbers besides the dates; the columns, with their first "
            f"entries, are {', '.join(columns) or 'none'}."
        )
    if len(candidates) > 1:
        raise InputError(
            f"{path}: {_listing(candidates)} all hold numbers; choose one with --value."
        )
    return candidates[0]


def _share_of_numbers(column, decimal):
    entries = column.dropna()
    return _parse_numbers(entries, decimal).notna().mean() if len(entries) else 0.0


def to_numbers(column, decimal, path):
    """A column as float64 array, NaN where missing."""
    numbers = _parse_numbers(column, decimal)
    wrong = column.notna() & numbers.isna()
    if wrong.any():
        line = wrong.idxmax()
        raise InputError(
            f"{path}, line {line}: {column[line]!r} in column {column.name!r} is not a "
            f"number. Leave the field empty if the value is missing."
        )
    return numbers.to_numpy(dtype="float64")


def _parse_numbers(column, decimal):
    """Numbers, NaN where an entry is none: plain, as 1,234.5 or as 1.234,5.

    All of a column is read in one way: that which understands most entries and, among equals, plain
    first, then the one with the decimal mark ``decimal``.
    """
    if _holds_dates(column):
        return pd.Series(np.nan, column.index)
    if pd.api.types.is_numeric_dtype(column):
        return pd.Series(column.to_numpy("float64", na_value=np.nan), column.index)
    readings = [pd.to_numeric(column, errors="coerce")]
    for mark in (".", ",") if decimal == "." else (",", "."):
        group = "," if mark == "." else "."
        separator = f"[{group} '\u2019\u00a0\u202f]"
        pattern = rf"[+-]?(\d+|\d{{1,3}}({separator}\d{{3}})+)([{mark}]\d*)?"
        bare = column.where(column.str.fullmatch(pattern, na=False))
        bare = bare.str.replace(separator, "", regex=True).str.replace(mark, ".", regex=False)
        readings.append(pd.to_numeric(bare, errors="coerce"))
    return max(readings, key=lambda numbers: numbers.count())  # the first of equals


def to_dates(column, path):
    """A column as timestamps, periods or whole numbers."""
    if _holds_dates(column) and column.notna().all():
        return column
    years = pd.to_numeric(column, errors="coerce")
    if years.notna().all() and (years % 1 == 0).all() and years.between(0, 9999).all():
        return years.astype("int64")  # years, or plain numbers of steps
    readings = [column] if _holds_dates(column) else _readings(column.astype("str"))
    wrong = readings[0].isna()
    if wrong.any():
        line = wrong.idxmax()
        entry = column[line]
        problem = "the date is missing" if pd.isna(entry) else f"{entry!r} is not a date"
        raise InputError(
            f"{path}, line {line}: {problem} (column {column.name!r}). Dates such as "
            f"2024-03-31 are always understood."
        )
    if len(readings) == 1:
        return readings[0]
    regular = [dates for dates in readings if _is_regular(dates)]
    if len(regular) > 1 and regular[0].dt.tz is None:
        first, second = (_shown(dates.max()) for dates in regular[:2])
        raise InputError(
            f"{path}: day and month cannot be told apart in column {column.name!r}: its last date "
            f"may be {first} or {second}. Write dates as 2024-03-31."
        )
    return (regular or readings)[0]


def _holds_dates(column):
    """Whether a column holds timestamps or periods already, as one of a Parquet file may."""
    dtype = column.dtype
    return isinstance(dtype, pd.PeriodDtype) or pd.api.types.is_datetime64_any_dtype(dtype)


def _readings(column):
    """The column as timestamps, NaT where an entry is no date, in every way it may be meant.

    Entries may put the day or the month first, and the clock may be that of UTC or, where its
    distance from UTC changes with the season, the one on the wall. All of the column is read in one
    way if possible.

    Returns:
      List of those readings, all different, that understand the most entries.
    """
    quarters = column.str.fullmatch(r"\s*\d{4}[- ]?[Qq][1-4]\s*", na=False)
    if quarters.all():
        periods = pd.PeriodIndex(column.str.replace(r"[- ]", "", regex=True).str.upper(), freq="Q")
        return [pd.Series(periods.to_timestamp(), column.index)]
    for pattern, form in _UNMISTAKABLE:
        if column.str.fullmatch(pattern, na=False).all():
            return [_timestamps(column, format=form)]
    offset = r"(:\d\d(?:\.\d+)?)[+-]\d\d:?\d\d$"
    attempts = [_timestamps(column), _timestamps(column.str.replace(offset, r"\1", regex=True))]
    if not column.str.match(r"\d{4}", na=True).all():  # after the year comes the month
        attempts.append(_timestamps(column, dayfirst=True))
    most = max(dates.count() for dates in attempts)
    if most < column.count():  # perhaps each entry has a format of its own
        mixed = _timestamps(column, format="mixed")
        if mixed.count() > most:
            return [mixed]
    readings = []
    for dates in attempts:
        if dates.count() == most and not any(dates.equals(other) for other in readings):
            readings.append(dates)
    return readings


def _timestamps(column, **how):
    """The column in one reading."""
    with warnings.catch_warnings():  # about formats that pandas cannot infer: others are tried
        warnings.simplefilter("ignore")
        for utc in (False, True):  # the latter for distances from UTC that differ
            try:
                return pd.to_datetime(column, errors="coerce", utc=utc, **how)
            except ValueError:
                continue
    return pd.Series(pd.NaT, column.index)


def _is_regular(dates):
    try:
        regular_index(pd.Index(dates.unique()))
    except InputError:
        return False
    return True


def _shown(date):
    return f"{date:%Y-%m-%d}" if isinstance(date, pd.Timestamp) else str(date)


def _listing(names):
    return ", ".join(map(repr, names))
