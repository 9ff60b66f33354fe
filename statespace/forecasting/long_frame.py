"""Long data frames, ``unique_id, ds, y``: many series below each other, each with its own dates."""

import numpy as np
import pandas as pd

from statespace.forecasting.data import as_numbers, check_columns
from statespace.forecasting.errors import InputError
from statespace.forecasting.frequency import range_index, regular_index
from statespace.forecasting.layout import LongLayout

_KEYS = ["unique_id", "ds"]
# A series with fewer dates than this share of its steps has another frequency than the rest.
_LEAST_SHARE = 0.1


def is_long(frame) -> bool:
    """Whether a DataFrame has columns that tell series and dates."""
    return set(_KEYS) <= set(frame.columns)


def read_long_frame(frame, after=None):
    """Reads series of any lengths and starts.

    The dates of all series must fit one frequency, the coarsest one possible; series may lie
    differently within it, such as weeks from Monday and weeks from Thursday. Dates that a series
    lacks between its first and its last are missing values.

    Args:
      frame: DataFrame with the columns ``unique_id``, ``ds`` (dates, periods or whole numbers) and
        ``y``. The dates of a series must increase. Other columns may serve as features.
      after: None, or the LongLayout of data that these go on from, with the same steps.

    Returns:
      float64 array [N, T, 1] of series that end together, with NaN for padding before the start of
      those shorter than the longest, and a :class:`statespace.forecasting.layout.LongLayout`.

    Raises:
      InputError: rows without id or date, two rows for a date, dates that do not increase or have
        no common frequency, or values that are not finite numbers (NaN is missing); it names the
        series and the date.

    Example:
      >>> frame = pd.DataFrame({
      ...     "unique_id": ["a", "a", "a", "b", "b"],
      ...     "ds": [2001, 2002, 2004, 1998, 1999],
      ...     "y": [1.0, 2.0, 4.0, 8.0, 9.0]})
      >>> values, layout = read_long_frame(frame)
      >>> values[..., 0]
      array([[ 1.,  2., nan,  4.],
             [nan, nan,  8.,  9.]])
      >>> layout.future(4, 1).index.tolist()
      [('a', 2005), ('b', 2000)]
    """
    if len(frame) == 0:
        raise InputError("There are no data: the frame has no rows.")
    if "y" not in frame.columns:
        raise InputError(
            f"A long frame has the columns unique_id, ds and y; this one has no y but "
            f"{', '.join(map(str, frame.columns))}."
        )
    _check_keys(frame)
    values = _column(frame, "y")
    infinite = np.isinf(values)
    if infinite.any():
        raise InputError(
            f"{_where(frame, infinite)}: y is infinite. Mark what is not known as missing, with "
            f"NaN; zeros have no logarithm."
        )
    number, ids = pd.factorize(frame["unique_id"])
    grid = _grid(frame["ds"], None if after is None else after.grid)
    place = grid.get_indexer(frame["ds"])
    stride = _stride(frame, number, place, grid, after)
    count = len(ids)
    first, last = np.full(count, len(grid)), np.full(count, -1)
    np.minimum.at(first, number, place)
    np.maximum.at(last, number, place)
    lengths = (last - first) // stride + 1
    layout = LongLayout(pd.Index(ids, name="unique_id"), grid, stride, last, lengths, frame)
    rows = np.bincount(number)
    for i in np.flatnonzero(rows < _LEAST_SHARE * lengths):
        raise InputError(
            f"{ids[i]}: its {rows[i]} dates do not have the frequency of the others, by which it "
            f"has {lengths[i]} steps from {grid[first[i]]} to {grid[last[i]]}. Fit series of "
            f"different frequencies apart."
        )
    batch = np.full((count, lengths.max(), 1), np.nan)
    batch[number, lengths.max() - 1 - (last[number] - place) // stride, 0] = values
    return batch, layout


def long_features(features, layout, num_steps, names=None) -> np.ndarray:
    """Features for the steps of a long frame.

    Args:
      features: names of columns of the data frame; or another long frame, with ``unique_id``,
        ``ds`` and the features in all other columns but ``y``. Rows for other series and dates are
        left out.
      layout: the LongLayout of the steps.
      num_steps: number L of steps of the longest series, padding included.
      names: None, or those of the features that are looked for, in the order that is wanted; other
        columns are left out.

    Returns:
      float64 array [N, L, K]. Before its start each series has the features of its first step;
      they have no influence.

    Raises:
      InputError: features are neither, there is no such column, or there is no row for a step.
    """
    given = names_of_features(features)
    frame = features if isinstance(features, pd.DataFrame) else layout.frame
    if names is None:
        names = given
    else:
        check_columns(given, names)
    check_columns(frame.columns, names)
    _check_keys(frame)
    number = layout.columns.get_indexer(frame["unique_id"])
    place = layout.grid_until(layout.last.max() + 1).get_indexer(frame["ds"])
    back, between = np.divmod(layout.last[number] - place, layout.stride)
    known = (number >= 0) & (place >= 0) & (between == 0)
    known &= (back >= 0) & (back < layout.lengths[number])
    batch = np.full((len(layout.lengths), num_steps, len(names)), np.nan)
    columns = np.stack([_column(frame, name) for name in names], axis=-1)
    batch[number[known], num_steps - 1 - back[known]] = columns[known]
    own = layout.own_steps(num_steps)
    missing = np.isnan(batch[own]).any(axis=-1)
    if missing.any():
        place = np.argmax(missing)
        series, date = layout.index[place]
        name = names[np.argmax(np.isnan(batch[own][place]))]
        raise InputError(
            f"{series}, {date}: {name!r} has no value; {missing.sum()} of {len(missing)} steps "
            f"lack a feature. Features must be known at every step, also where y is missing."
        )
    start = np.take_along_axis(batch, (num_steps - layout.lengths)[:, np.newaxis, np.newaxis], 1)
    return np.where(own[..., np.newaxis], batch, start)


def names_of_features(features) -> tuple:
    """The names among the features of a long frame, which may be these names themselves.

    Raises:
      InputError: they are neither a list of names nor a long frame.
    """
    if isinstance(features, pd.DataFrame) and is_long(features):
        return tuple(name for name in features.columns if name not in (*_KEYS, "y"))
    if isinstance(features, list | tuple) and all(isinstance(x, str) for x in features):
        return tuple(features)
    raise InputError(
        "features of a long frame are a list of names of its columns, or a long frame with the "
        "columns unique_id, ds and one for each feature."
    )


def _check_keys(frame):
    for key, other in (_KEYS, _KEYS[::-1]):
        empty = frame[key].isna().to_numpy()
        if empty.any():
            raise InputError(
                f"Row {int(np.argmax(empty))} has no {key}; its {other} is "
                f"{frame[other].iloc[int(np.argmax(empty))]}. {empty.sum()} of {len(frame)} rows "
                f"have none."
            )
    twice = frame.duplicated(_KEYS).to_numpy()
    if twice.any():
        raise InputError(
            f"{_where(frame, twice)}: there are several rows; each date of a series may occur "
            f"once. Add up or average them first."
        )


def _column(frame, name):
    """A column as float64 numbers; the error says in which row there is none."""
    try:
        return as_numbers(frame[name], name)
    except InputError:
        column = frame[name]
        bad = (pd.to_numeric(column, errors="coerce").isna() & column.notna()).to_numpy()
        if not bad.any():
            raise
        value = column.iloc[int(np.argmax(bad))]
        raise InputError(f"{_where(frame, bad)}: {name} is {value!r}, not a number.") from None


def _grid(dates, like):
    dates = pd.Index(dates.unique(), name="ds").sort_values()
    if like is None and pd.api.types.is_integer_dtype(dates):
        # Also where the series are far from each other.
        return range_index(dates, int(np.gcd.reduce(np.diff(dates.to_numpy()))) or 1)
    try:
        return regular_index(dates, like)
    except InputError as error:
        raise InputError(f"Column ds, of all series together: {error}") from None


def _stride(frame, number, place, grid, after):
    """How many places lie between two steps: those of the data before, or as many as can be.

    That is the greatest common divisor of the distances between the dates of a series.
    """
    order = np.argsort(number, kind="stable")
    same = np.diff(number[order]) == 0
    distance = np.diff(place[order])[same]
    if (distance < 0).any():
        backward = np.zeros(len(order), bool)
        backward[order[1:][same][distance < 0]] = True
        raise InputError(
            f"{_where(frame, backward)}: the date comes after a later one. Sort the rows, as with "
            f'frame.sort_values(["unique_id", "ds"]).'
        )
    if after is not None and not (distance % after.stride).any():
        return after.stride
    if isinstance(grid, pd.PeriodIndex):  # says itself what its frequency is
        return 1
    return max(int(np.gcd.reduce(distance)), 1)


def _where(frame, rows):
    """Id and date of the first of some rows."""
    row = frame.iloc[int(np.argmax(rows))]
    return f"{row['unique_id']}, {row['ds']}"
