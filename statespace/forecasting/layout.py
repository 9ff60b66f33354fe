"""How data came in, so that results go out the same way: arrays, a Series, a wide or long frame.

Inside, everything is an array with one leading axis over N series. The layouts below offer the same
methods, which turn such arrays into what the user handed in:

    per_series(a[N])          one number a series; also a[N, ...], an array a series
    per_step(a[N, L, m])      one number a series, step and observed variable
    per_name(a[N, L, K])      K named numbers a series and step
    future()                  the layout of the steps after the last
    joined(later)             the layout over these steps and later ones
    selected(i)               the layout of series i alone
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

_LONG_KEYS = ("unique_id", "ds")
_MOST_NAMED = 20  # series in a message


@dataclass(frozen=True)
class ArrayLayout:
    """Arrays [..., T]."""

    batch_shape: tuple[int, ...]
    start: int = 0  # number of the first step

    def per_series(self, values):
        """[N, ...] to [..., ...], or a number if there is one series without batch axes."""
        if self.batch_shape:
            return values.reshape(*self.batch_shape, *values.shape[1:])
        return _number_or_array(values[0])

    def per_step(self, values):
        """[N, L, m] to [..., L, m], or [..., L] where m is one."""
        variables = values.shape[2:] if values.shape[2] > 1 else ()
        return values.reshape(*self.batch_shape, values.shape[1], *variables)

    def per_name(self, values, names):
        """[N, L, K] to [..., L, K]."""
        return values.reshape(*self.batch_shape, values.shape[1], len(names))

    def future(self, num_steps, horizon):
        """The layout of ``horizon`` steps after the first ``num_steps``."""
        return replace(self, start=self.start + num_steps)

    def joined(self, later):
        """The layout over these steps and those of a layout that goes on from it."""
        return self

    def positions(self, num_steps):
        """Where the steps lie on a plot's axis."""
        return np.arange(self.start, self.start + num_steps)

    def selected(self, key):
        """Number and layout of one series, by its index in the batch axes."""
        number = np.arange(np.prod(self.batch_shape, dtype=int)).reshape(self.batch_shape)[key]
        if np.ndim(number) != 0:
            raise IndexError(f"{key!r} does not name one series of the batch {self.batch_shape}.")
        return int(number), ArrayLayout((), self.start)

    def labels(self):
        """A name for each series, for messages and tables."""
        if not self.batch_shape:
            return ["y"]
        return ["y[" + ", ".join(map(str, i)) + "]" for i in np.ndindex(*self.batch_shape)]


@dataclass(frozen=True)
class _IndexedLayout:
    """What the layouts of pandas objects have in common: a regular index."""

    index: Any

    def future(self, num_steps, horizon):
        """The layout of ``horizon`` steps after the last."""
        from statespace.forecasting.frequency import future_index

        return replace(self, index=future_index(self.index, horizon))

    def joined(self, later):
        """The layout over these steps and those of a layout that goes on from it."""
        from statespace.forecasting.frequency import regular_index

        index = regular_index(self.index.append(later.index), like=self.index)
        return replace(self, index=index)

    def positions(self, num_steps):
        """Where the steps lie on a plot's axis."""
        from statespace.forecasting.frequency import timestamps

        return timestamps(self.index)


@dataclass(frozen=True)
class SeriesLayout(_IndexedLayout):
    """A pandas Series on a regular index.

    One that was taken from a long frame may have padding before its start: steps that the index
    does not have. It ends with the last step, so that is told by the number of steps.
    """

    name: Any = None

    def per_series(self, values):
        """[1] to a number, [1, ...] to an array."""
        return _number_or_array(values[0])

    def per_step(self, values):
        """[1, L, 1] to a Series."""
        import pandas as pd

        return pd.Series(values[0, -len(self.index) :, 0], self.index, name=self.name)

    def per_name(self, values, names):
        """[1, L, K] to a DataFrame with a column for each name."""
        import pandas as pd

        return pd.DataFrame(values[0, -len(self.index) :], self.index, _columns(names))

    def positions(self, num_steps):
        """Where the steps lie on a plot's axis; nowhere, NaT or NaN, for padding."""
        import pandas as pd

        own = super().positions(num_steps)
        padding = num_steps - len(own)
        return pd.Index(pd.Series(own).reindex(range(-padding, len(own)))) if padding else own

    def selected(self, key):
        """There is nothing to select from."""
        raise IndexError("The result is that of one series already.")

    def labels(self):
        """The name of the series."""
        return ["y" if self.name is None else str(self.name)]


@dataclass(frozen=True)
class FrameLayout(_IndexedLayout):
    """A pandas DataFrame on a regular index, one series a column."""

    columns: Any

    def per_series(self, values):
        """[N] to a Series over the columns, [N, p] to a DataFrame with a row for each."""
        return _over_columns(values, self.columns)

    def per_step(self, values):
        """[N, L, 1] to a DataFrame with the columns of the data."""
        import pandas as pd

        return pd.DataFrame(values[..., 0].T, self.index, self.columns)

    def per_name(self, values, names):
        """[N, L, K] to a DataFrame with two levels of columns: series, name."""
        import pandas as pd

        frames = [pd.DataFrame(block, self.index, _columns(names)) for block in values]
        return pd.concat(frames, axis=1, keys=self.columns)

    def selected(self, key):
        """Number and layout of one series, by its column."""
        number = _number_of(key, self.columns, "column", self.labels())
        return number, SeriesLayout(self.index, key)

    def labels(self):
        """The names of the columns."""
        return [str(column) for column in self.columns]


@dataclass(frozen=True, eq=False)
class LongLayout:
    """A long pandas DataFrame, ``unique_id, ds, y``: a row for each series and step.

    Each series has steps of its own, all of them at the same distance. Inside they are aligned at
    their ends: a shorter series has NaN for padding before its start, which is left out of what
    goes out again. Forecasts go on from each series' own end.

    Attributes:
      columns: the ids, in the order of their first rows: what tells the series apart, as the
        columns of a :class:`FrameLayout` do.
      grid: regular index from the first date of all to the last.
      stride: how many places of the grid lie between two steps of a series.
      last: place in the grid of each series' last step, which may lie beyond its end, [N].
      lengths: number of steps of each series, [N].
      frame: the data frame, for features among its columns.
    """

    columns: Any
    grid: Any
    stride: int
    last: np.ndarray
    lengths: np.ndarray
    frame: Any

    def per_series(self, values):
        """[N] to a Series over the ids, [N, p] to a DataFrame with a row for each."""
        return _over_columns(values, self.columns)

    def per_step(self, values):
        """[N, L, 1] to a long frame with the column ``y``."""
        return self.per_name(values, ["y"])

    def per_name(self, values, names):
        """[N, L, K] to a long frame with a column for each name."""
        import pandas as pd

        table = pd.DataFrame(values[self.own_steps(values.shape[1])], columns=_columns(names))
        return pd.concat([self.index.to_frame(index=False), table], axis=1)

    def future(self, num_steps, horizon):
        """The layout of ``horizon`` steps after each series' last."""
        return replace(
            self,
            last=self.last + self.stride * horizon,
            lengths=np.full_like(self.lengths, horizon),
        )

    def joined(self, later):
        """The layout over these steps and those of a layout that goes on from it."""
        return replace(later, lengths=self.lengths + later.lengths)

    def selected(self, key):
        """Number and layout of one series, by its id."""
        number = _number_of(key, self.columns, "series", self.labels())
        stop = self.last[number] + 1
        first = stop - 1 - self.stride * (self.lengths[number] - 1)
        return number, SeriesLayout(self.grid_until(stop)[first : stop : self.stride], key)

    def labels(self):
        """The ids."""
        return [str(column) for column in self.columns]

    @property
    def index(self):
        """The id and date of each row, a MultiIndex."""
        import pandas as pd

        number = np.repeat(np.arange(len(self.lengths)), self.lengths)
        to_go = np.repeat(np.cumsum(self.lengths), self.lengths) - np.arange(len(number)) - 1
        places = self.last[number] - self.stride * to_go
        dates = self.grid_until(places.max() + 1).take(places)
        return pd.MultiIndex.from_arrays([self.columns.take(number), dates], names=_LONG_KEYS)

    def own_steps(self, num_steps):
        """Which of the last ``num_steps`` steps belong to each series, bool [N, L]."""
        return np.arange(num_steps) >= num_steps - self.lengths[:, np.newaxis]

    def grid_until(self, stop):
        """The grid with at least ``stop`` places."""
        from statespace.forecasting.frequency import future_index

        missing = stop - len(self.grid)
        return self.grid.union(future_index(self.grid, missing)) if missing > 0 else self.grid


@dataclass(frozen=True)
class VariablesLayout(SeriesLayout):
    """A pandas DataFrame on a regular index, one series with a variable in each column."""

    variables: Any = None

    def per_step(self, values):
        """[1, L, m] to a DataFrame with the columns of the data."""
        import pandas as pd

        return pd.DataFrame(values[0], self.index, self.variables)


def _over_columns(values, columns):
    import pandas as pd

    if values.ndim == 1:
        return pd.Series(values, columns)
    return pd.DataFrame(values.reshape(len(values), -1), columns)


def _number_of(key, columns, kind, labels):
    if key not in columns:
        more = f" and {len(labels) - _MOST_NAMED} more" if len(labels) > _MOST_NAMED else ""
        raise KeyError(f"No {kind} {key!r}; there are {', '.join(labels[:_MOST_NAMED])}{more}.")
    return columns.get_loc(key)


def _number_or_array(value):
    return value.item() if isinstance(value, np.generic) else value


def _columns(names):
    """Column names as pandas takes them; tuples make several levels."""
    import pandas as pd

    names = names if isinstance(names, pd.Index) else list(names)
    return pd.MultiIndex.from_tuples(names) if isinstance(names[0], tuple) else names
