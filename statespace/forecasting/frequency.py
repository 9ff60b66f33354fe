"""Regular time indexes: which grid do the dates lie on, where are its gaps, how does it go on?"""

import warnings

import numpy as np
import pandas as pd

from statespace.forecasting.errors import InputError

# A grid with more than this many steps per observed date is no sensible reading of the dates.
_MAX_STEPS_PER_DATE = 10


def regular_index(index, like=None) -> pd.Index:
    """The coarsest regular index that contains every entry of ``index``.

    Args:
      index: DatetimeIndex, PeriodIndex or integer index in any order, without duplicates.
      like: None, or a regular index whose frequency is taken: one date alone has none.

    Returns:
      A DatetimeIndex with a frequency, a PeriodIndex or a RangeIndex, from the first entry to the
      last. What it has beyond ``index`` are the gaps.

    Raises:
      InputError: duplicates, missing dates, entries of another kind, or dates without a regular
        frequency.
    """
    _check_entries(index)
    index = index.sort_values()
    if isinstance(index, pd.PeriodIndex):
        return pd.period_range(index[0], index[-1], freq=index.freq, name=index.name)
    if isinstance(index, pd.DatetimeIndex):
        if isinstance(like, pd.DatetimeIndex):
            grid = pd.date_range(index[0], index[-1], freq=like.freq, name=index.name)
            return _checked(grid, index, like)
        if index.freq is not None:
            return index
        return _regular_dates(index)
    if isinstance(like, pd.RangeIndex):
        return _checked(range_index(index, like.step), index, like)
    grid = range_index(index, int(np.gcd.reduce(np.diff(index.to_numpy()))) or 1)
    _check_density(grid, index)
    return grid


def range_index(index, step) -> pd.RangeIndex:
    """From the first to the last entry of sorted whole numbers; where it stops it goes on."""
    return pd.RangeIndex(int(index[0]), int(index[-1]) + step, step, name=index.name)


def future_index(index, horizon) -> pd.Index:
    """The next ``horizon`` entries after the end of a regular index."""
    if isinstance(index, pd.RangeIndex):
        stop = index.stop + horizon * index.step
        return pd.RangeIndex(index.stop, stop, index.step, name=index.name)
    if isinstance(index, pd.PeriodIndex):
        return pd.period_range(index[-1] + index.freq, periods=horizon, name=index.name)
    dates = pd.date_range(index[-1], periods=horizon + 1, freq=index.freq, name=index.name)
    return dates[1:]


def timestamps(index):
    """Positions of a regular index on a plot's axis: dates or numbers."""
    return index.to_timestamp() if isinstance(index, pd.PeriodIndex) else index


def describe(index) -> str:
    """The frequency of a regular index in a word or two."""
    if isinstance(index, pd.RangeIndex):
        return f"step {index.step}"
    return f"frequency {index.freqstr}"


def _check_entries(index):
    dated = isinstance(index, pd.DatetimeIndex | pd.PeriodIndex)
    if not dated and not pd.api.types.is_integer_dtype(index):
        raise InputError(
            f"The index holds entries such as {index[0]!r}, of type {index.dtype}; it must hold "
            f"dates, periods or whole numbers. Convert dates with pandas.to_datetime, numbers with "
            f"astype(int)."
        )
    if index.hasnans:
        raise InputError(f"{int(index.isna().sum())} of {len(index)} dates in the index are empty.")
    if not index.is_unique:
        first = index[index.duplicated()][0]
        raise InputError(
            f"{first} occurs {int((index == first).sum())} times in the index; each date may occur "
            f"once. Add up or average the values of equal dates first."
        )


def _checked(grid, index, like):
    """A grid with the frequency of another one, if it has every entry of an index."""
    strange = index[~index.isin(grid)]
    if len(strange):
        raise InputError(
            f"{strange[0]} is not at the steps of the data before, {describe(like)} up to "
            f"{like[-1]}."
        )
    return grid


def _regular_dates(index):
    if len(index) == 1:
        raise InputError("One date alone has no frequency; at least two are needed.")
    # Calendar steps are judged by the clock on the wall, which daylight saving leaves regular.
    wall_clock = index.tz_localize(None)
    for frequency in (_gapless_frequency(wall_clock), *_candidates(wall_clock)):
        if frequency is None:
            continue
        grid = pd.date_range(index[0], index[-1], freq=frequency, name=index.name)
        if index.isin(grid).all():
            _check_density(grid, index)
            return grid
    raise InputError(_irregular(index))


def _gapless_frequency(dates):
    if len(dates) < 3 or not dates.is_unique:
        return None
    with warnings.catch_warnings():  # of a change in the type it returns; any type will do
        warnings.simplefilter("ignore")
        return pd.infer_freq(dates)


def _candidates(dates):
    """Frequencies on whose grid dates with gaps may lie, coarsest first."""
    if (dates == dates.normalize()).all():
        months = int(np.gcd.reduce(np.diff(dates.year * 12 + dates.month)))
        if months and dates.is_month_start.all():
            yield _anchored("S", months, dates[0]) or f"{months}MS"
        if months and dates.is_month_end.all():
            yield _anchored("E", months, dates[0]) or f"{months}ME"
        if months and len(set(dates.day)) == 1:
            yield pd.DateOffset(months=months)
        if months:
            yield f"{months}BMS"
            yield f"{months}BME"
    step = pd.Timedelta(int(np.gcd.reduce(np.diff(dates.asi8))), unit=dates.unit)
    if (dates[-1] - dates[0]) / step > _MAX_STEPS_PER_DATE * len(dates):
        return  # before a grid of billions of seconds is made
    if step == pd.Timedelta(days=7):
        yield f"W-{dates[0].day_name()[:3].upper()}"
    if step == pd.Timedelta(days=1) and len(dates) >= 10 and (dates.day_of_week < 5).all():
        yield "B"
    yield pd.offsets.Day(step.days) if step == step.floor("D") else step


def _anchored(side, months, first):
    """The usual name of a yearly or quarterly frequency: "YS-JAN", "QE-DEC"."""
    letter = {12: "Y", 3: "Q"}.get(months)
    return letter and f"{letter}{side}-{first.month_name()[:3].upper()}"


def _check_density(grid, index):
    if len(grid) > _MAX_STEPS_PER_DATE * len(index):
        raise InputError(_irregular(index))


def _irregular(index):
    return (
        f"No regular frequency fits the {len(index)} dates from {index[0]} to {index[-1]}. "
        f"Aggregate them to one first, as with Series.resample('D').mean(), or set a PeriodIndex."
    )
