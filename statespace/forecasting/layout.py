"""How data came in, so that results go out the same way: arrays, a Series or a DataFrame.

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

        return replace(self, index=regular_index(self.index.append(later.index)))

    def positions(self, num_steps):
        """Where the steps lie on a plot's axis."""
        from statespace.forecasting.frequency import timestamps

        return timestamps(self.index)


@dataclass(frozen=True)
class SeriesLayout(_IndexedLayout):
    """A pandas Series on a regular index."""

    name: Any = None

    def per_series(self, values):
        """[1] to a number, [1, ...] to an array."""
        return _number_or_array(values[0])

    def per_step(self, values):
        """[1, L, 1] to a Series."""
        import pandas as pd

        return pd.Series(values[0, :, 0], self.index, name=self.name)

    def per_name(self, values, names):
        """[1, L, K] to a DataFrame with a column for each name."""
        import pandas as pd

        return pd.DataFrame(values[0], self.index, _columns(names))

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
        import pandas as pd

        if values.ndim == 1:
            return pd.Series(values, self.columns)
        return pd.DataFrame(values.reshape(len(values), -1), self.columns)

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
        if key not in self.columns:
            raise KeyError(f"No column {key!r}; there are {', '.join(self.labels())}.")
        return self.columns.get_loc(key), SeriesLayout(self.index, key)

    def labels(self):
        """The names of the columns."""
        return [str(column) for column in self.columns]


@dataclass(frozen=True)
class VariablesLayout(SeriesLayout):
    """A pandas DataFrame on a regular index, one series with a variable in each column."""

    variables: Any = None

    def per_step(self, values):
        """[1, L, m] to a DataFrame with the columns of the data."""
        import pandas as pd

        return pd.DataFrame(values[0], self.index, self.variables)


def _number_or_array(value):
    return value.item() if np.ndim(value) == 0 else value


def _columns(names):
    """Column names as pandas takes them; tuples make several levels."""
    import pandas as pd

    names = names if isinstance(names, pd.Index) else list(names)
    return pd.MultiIndex.from_tuples(names) if isinstance(names[0], tuple) else names
