"""Reads data files for the command line: CSV or Parquet, one series or many, with features."""

from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from statespace.forecasting.csv_file import (
    find_columns,
    on_dates,
    read_table,
    to_dates,
    to_numbers,
)
from statespace.forecasting.errors import InputError

_PARQUET = (".parquet", ".pq")
_ID = "unique_id"


class DataFile(NamedTuple):
    """What a file holds."""

    y: Any  # a Series, or a long frame with the columns unique_id, ds and y
    features: Any  # None; or a DataFrame over y's index and beyond, or a long frame with more rows
    names: tuple  # of the columns with ids, None if there is one series, and dates

    @property
    def is_long(self) -> bool:
        """Whether the file has a column that tells series apart."""
        return self.names[0] is not None

    @property
    def values(self):
        """The values of all series, a Series of pandas."""
        return self.y["y"] if self.is_long else self.y


def read_data(path, *, series=None, date=None, value=None, features=()) -> DataFile:
    """Reads one series, or many below each other.

    With features the series end with their last values, and the rows after that give the features
    of the steps to come.

    Args:
      path: a CSV file, as :func:`statespace.forecasting.csv_file.read_series` reads it, or a
        Parquet file, told by its suffix.
      series: name of the column that tells series apart. By default ``unique_id``, if there is such
        a column; else the file holds one series.
      date, value: names of the columns with dates and values. By default they are found; in a file
        with many series ``y`` has the values, if there is such a column.
      features: names of columns.

    Returns:
      A :class:`DataFile`.

    Raises:
      InputError: the file cannot be read as such, or a column is absent, ambiguous, has two roles
        or holds what it should not.
      OSError: the file cannot be opened.
    """
    is_parquet = Path(path).suffix.lower() in _PARQUET
    table, decimal = (_read_parquet if is_parquet else read_table)(path)
    if series is None and _ID in table.columns:
        series = _ID
    if series is not None and value is None and "y" in table.columns:
        value = "y"
    features = list(features)
    _check_roles({"--id": series, "--date": date, "--value": value}, features, path)
    others = features if series is None else [series, *features]
    date, value = find_columns(table, decimal, path, date=date, value=value, others=others)
    if series is None:
        return _one(on_dates(table, date, [value, *features], decimal, path), value, features, date)
    if date is None:
        raise InputError(
            f"{path}: no column of dates, by which the values of each {series!r} are put in order; "
            f"name one with --date."
        )
    nameless = table.index[table[series].isna()]
    if len(nameless):
        raise InputError(
            f"{path}, line {nameless[0]}: the column {series!r} is empty; it must tell to which "
            f"series the row belongs."
        )
    columns = {"unique_id": table[series], "ds": to_dates(table[date], path)}
    columns |= {
        name: to_numbers(table[column], decimal, path)
        for name, column in (("y", value), *enumerate(features))
    }
    return _many(pd.DataFrame(columns), len(features), (series, date))


def _one(frame, value, features, date):
    y = frame[value]
    if not features:
        return DataFile(y, None, (None, date))
    last = y.last_valid_index()
    return DataFile(y if last is None else y.loc[:last], frame[features], (None, date))


def _many(frame, num_features, names):
    """A long frame in the order of the ids' first rows and of the dates."""
    order = pd.DataFrame({"id": pd.factorize(frame["unique_id"])[0], "ds": frame["ds"]})
    frame = frame.loc[order.sort_values(["id", "ds"], kind="stable").index]
    y = frame[["unique_id", "ds", "y"]]
    if not num_features:
        return DataFile(y, None, names)
    known = y["y"].notna()
    has_more = known[::-1].groupby(y["unique_id"][::-1]).cummax()[::-1]
    without_any = ~known.groupby(y["unique_id"]).transform("any")  # a message will say so
    return DataFile(y[has_more | without_any], frame.drop(columns="y"), names)


def _check_roles(named, features, path):
    """Each column has one role."""
    given = [(role, name) for role, name in named.items() if name is not None]
    given += [("--features", name) for name in features]
    roles = {}
    for role, name in given:
        if name in roles:
            raise InputError(
                f"{path}: the column {name!r} is meant by {roles[name]} and by {role}; it can have "
                f"one role."
            )
        roles[name] = role


def _read_parquet(path):
    """A Parquet file as ``read_table`` returns one, numbers and dates as they are."""
    if not Path(path).is_file():
        raise FileNotFoundError(2, "No such file or directory", str(path))
    try:
        table = pd.read_parquet(path)
    except ImportError:
        raise InputError(
            f"{path}: Parquet files need the package pyarrow; pip install pyarrow installs it."
        ) from None
    except (OSError, ValueError) as error:  # of pyarrow: not such a file
        raise InputError(f"{path}: cannot be read as a Parquet file: {error}") from None
    if not isinstance(table.index, pd.RangeIndex):
        table = table.reset_index()
    table.columns = table.columns.astype("str")
    if len(table) == 0:
        raise InputError(f"{path}: there are no rows.")
    for name, column in table.items():
        if column.dtype.kind not in "iufM" and not isinstance(column.dtype, pd.PeriodDtype):
            table[name] = column.astype("str").where(column.notna())
    table.index += 1
    return table, "."
