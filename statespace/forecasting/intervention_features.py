"""Features that stand for events: steps, pulses and changes of slope."""

import datetime
import numbers

import numpy as np

from statespace.forecasting.errors import InputError


def interventions(index, *, level_shifts=(), pulses=(), slope_changes=(), horizon=0):
    """Features of known events, for a ``Regression`` to estimate the effects of.

        level shift at s:     0 before s, 1 from s on
        pulse at s:           1 at s, else 0
        slope change at s:    0 up to s, then 1, 2, 3, ...

    A coefficient is what the level shifts by, what one observation is off by, or what the slope
    changes by. These are the regressors whose t-statistics are the auxiliary residuals of
    observation noise, level and slope: what ``diagnostics().shocks`` finds is put right here.

    Args:
      index: the index of the data: dates, periods or whole numbers, whose gaps are filled; or the
        number of steps of an array.
      level_shifts, pulses, slope_changes: when, in any number: a date, period or text such as
        ``"1983-02"`` that names one step; for an index of numbers an entry; for one of dates a
        whole number is a position, counted from 0.
      horizon: how many steps beyond the index to go, for forecasts.

    Returns:
      DataFrame [T + horizon, K] of floats over the regular index and the steps after it, with
      columns named like ``level_shift_1983-02``. ``fit`` takes the rows of its data, ``forecast``
      those of the steps to come.

    Raises:
      InputError: a time names no step, or several; the same event is given twice; a level shifts
        at the first step, where nothing is known of the level before; or there are no events.

    References:
      Harvey, A. C. (1989). Forecasting, Structural Time Series Models and the Kalman Filter,
      section 7.6.

    Example:
      >>> import statespace as ss
      >>> years = ss.datasets.nile().index[27:31]
      >>> print(interventions(years, level_shifts=["1899"], slope_changes=["1899"], horizon=1))
            level_shift_1899  slope_change_1899
      year
      1898               0.0                0.0
      1899               1.0                0.0
      1900               1.0                1.0
      1901               1.0                2.0
      1902               1.0                3.0
    """
    import pandas as pd

    grid = _grid(index, horizon)
    steps, names = np.arange(len(grid)), step_names(grid)
    columns = {}
    kinds = {
        "level_shift": (level_shifts, lambda s: steps >= s),
        "pulse": (pulses, lambda s: steps == s),
        "slope_change": (slope_changes, lambda s: np.maximum(steps - s, 0)),
    }
    for kind, (times, feature) in kinds.items():
        for time in _as_list(times):
            step = _step(grid, time, f"{kind}s")
            if step == 0 and kind != "pulse":
                raise InputError(
                    f"{kind}s: {time} is the first step. A change is one from what was before; "
                    f"nothing is known of that here."
                )
            name = f"{kind}_{names[step]}"
            if name in columns:
                raise InputError(f"{kind}s: {names[step]} is given twice.")
            columns[name] = feature(step).astype(np.float64)
    if not columns:
        raise InputError("There are no events: give level_shifts, pulses or slope_changes.")
    return pd.DataFrame(columns, grid)


def step_names(times) -> list[str]:
    """A short text for each step: an entry, a period, or as much of a date as tells them apart."""
    import pandas as pd

    index = pd.Index(times)
    if isinstance(index, pd.DatetimeIndex):
        for text in ("%Y", "%Y-%m", "%Y-%m-%d", "%Y-%m-%d %H:%M"):
            names = index.strftime(text)
            if names.is_unique:
                return names.tolist()
    return [str(entry) for entry in index]


def _grid(index, horizon):
    """The regular index and the steps beyond it."""
    import pandas as pd

    from statespace.forecasting.frequency import future_index, regular_index
    from statespace.linalg_ops.arguments import positive_int

    if isinstance(index, numbers.Integral):
        index = pd.RangeIndex(positive_int("interventions", "index", index))
    if not isinstance(index, pd.Index):
        raise InputError(
            f"index is a pandas index, or a number of steps; given was a {type(index).__name__}. "
            f"Of a Series or DataFrame take its .index."
        )
    if len(index) == 0:
        raise InputError("index is empty.")
    grid = regular_index(index)
    if horizon == 0:
        return grid
    horizon = positive_int("interventions", "horizon", horizon)
    return regular_index(grid.append(future_index(grid, horizon)))


def _as_list(times):
    """One time alone is as good as a list of it."""
    single = str | numbers.Number | datetime.date
    is_single = isinstance(times, single) or hasattr(times, "ordinal")  # a Period
    return [times] if is_single else list(times)


def _step(grid, time, argument):
    """The place in the grid that a time names."""
    import pandas as pd

    dated = not isinstance(grid, pd.RangeIndex)
    if dated and isinstance(time, numbers.Integral):
        if not 0 <= time < len(grid):
            raise InputError(
                f"{argument}: there is no position {time}; there are {len(grid)} steps, counted "
                f"from 0."
            )
        return int(time)
    found = _places(grid, time)
    if len(found) == 1:
        return int(found[0])
    what = f"names {len(found)} steps" if len(found) else "is no step of the index"
    raise InputError(
        f"{argument}: {time} {what}. The steps are {grid[0]}, {grid[min(1, len(grid) - 1)]}, ..., "
        f"{grid[-1]}."
    )


def _places(grid, time):
    """All places in the grid that a time names."""
    import pandas as pd

    if isinstance(time, pd.Period) and isinstance(grid, pd.DatetimeIndex):
        return np.flatnonzero((grid >= time.start_time) & (grid <= time.end_time))
    if isinstance(time, datetime.date):  # and so a Timestamp
        time = pd.Timestamp(time)
    if isinstance(time, pd.Timestamp) and isinstance(grid, pd.PeriodIndex):
        return np.flatnonzero((grid.start_time <= time) & (time <= grid.end_time))
    try:
        return np.atleast_1d(np.arange(len(grid))[grid.get_loc(time)])
    except (KeyError, TypeError, ValueError):
        return np.array([], int)
