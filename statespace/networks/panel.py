"""Panels of series: what a network is called with, and how users' data become that."""

from typing import Any, NamedTuple

import numpy as np

from statespace.forecasting.data import as_batch, as_numbers
from statespace.forecasting.errors import InputError
from statespace.forecasting.layout import LongLayout
from statespace.forecasting.steps import moved_behind
from statespace.layers.kalman_inputs import is_shape


class Panel(NamedTuple):
    """Arrays, tensors or shapes of B series and T steps; None is what there is not."""

    y: Any  # [B, T, m], or [B, T] where m is one; NaN is missing
    covariates: Any = None  # [B, T, c]
    static: Any = None  # [B, s]
    category: Any = None  # [B], int
    features: Any = None  # [B, T, K]
    lengths: Any = None  # [B], int

    def given(self) -> dict:
        """What there is, by name, as Keras takes it."""
        return {name: x for name, x in self._asdict().items() if x is not None}


def named(op, inputs) -> Panel:
    """The parts of what a network is called with.

    Args:
      op: name of the network, for messages.
      inputs: y alone, a tuple in the order of :class:`Panel`, or a dict by its names.

    Raises:
      InputError: y is missing, or there is a part of another name.
    """
    if isinstance(inputs, Panel):
        return inputs
    if isinstance(inputs, dict):
        unknown = [name for name in inputs if name not in Panel._fields]
        if unknown or inputs.get("y") is None:
            raise InputError(
                f"{op}: the inputs are a dict of {', '.join(map(repr, inputs)) or 'nothing'}; it "
                f"must have 'y', and may have {', '.join(map(repr, Panel._fields[1:]))}."
            )
        return Panel(**inputs)
    if isinstance(inputs, tuple) and not is_shape(inputs):
        if len(inputs) == 1:  # as Keras wraps what is a tuple itself
            return named(op, inputs[0])
        if len(inputs) > len(Panel._fields):
            raise InputError(
                f"{op}: the inputs are a tuple of {len(inputs)}; it must be "
                f"({', '.join(Panel._fields)}), of which all but y may be left out."
            )
        return Panel(*inputs)
    return Panel(inputs)


def read_panel(op, given: Panel, num_observed, *, horizon=0, future=None):
    """Users' data as arrays in which all series begin at the first step.

    Args:
      op: name of the network, for messages.
      given: y as :func:`statespace.forecasting.data.as_batch` takes it. Of a long frame the other
        parts are names of its columns, those of ``static`` and ``category`` the same in all rows of
        a series; else they are arrays, and covariates and features may lack the axis of series
        where they are the same for all.
      num_observed: number m of variables.
      horizon: number of steps after each series' end for which covariates and features are given
        as well.
      future: of a long frame, another that has them.

    Returns:
      A Panel of arrays over T + horizon steps, with lengths that count the horizon as well; the
      layout of the data; and the values [N, T, m] as that takes them, with all series ending at the
      last step and padding before the start of shorter ones.

    Raises:
      InputError: as ``as_batch``; or a part has another shape, is not finite at a step of a series,
        or there is no row for it.
    """
    y, layout = as_batch(_with_variables(given.y, num_observed), num_observed)
    count, steps = y.shape[:2]
    if isinstance(layout, LongLayout):
        if given.lengths is not None:
            raise InputError(f"{op}: lengths are given; a long frame tells them by itself.")
        parts = _from_long_frame(op, given, layout, steps, horizon, future)
        lengths = layout.lengths
        y = moved_behind(y, steps - lengths)
    else:
        if future is not None:
            raise InputError(
                f"{op}: future is for long frames; give covariates (and features) of the data and "
                f"the {horizon} steps to come in one array."
            )
        parts = {name: getattr(given, name) for name in ("covariates", "features", "static")}
        parts = {name: _array(op, name, x, count) for name, x in parts.items()}
        parts["category"] = given.category
        lengths = _lengths(op, given.lengths, count, steps)
    for name in ("covariates", "features"):
        parts[name] = _known_steps(op, name, parts[name], lengths, steps, horizon)
    if parts["static"] is not None:
        _check_static(op, parts["static"], count)
    if parts["category"] is not None:
        parts["category"] = _whole(op, "category", parts["category"], count)
    own = np.arange(steps) < lengths[:, np.newaxis]
    y = np.where(own[..., np.newaxis], y, np.nan)
    values = moved_behind(y, lengths)
    y = np.pad(y, [(0, 0), (0, horizon), (0, 0)], constant_values=np.nan)
    lengths = (lengths + horizon).astype(np.int32)
    return Panel(y, lengths=lengths, **parts), layout, values


def _with_variables(y, num_observed):
    """Arrays ``[B, T]`` as ``[B, T, 1]``: where T is one, the last axis would be taken for m."""
    if hasattr(y, "iloc"):  # of pandas
        return y
    y = as_numbers(y, "y")
    return y[..., np.newaxis] if y.ndim == 2 and num_observed == 1 else y


def _from_long_frame(op, given, layout, steps, horizon, future):
    """The parts of a long frame, all but y, aligned at the series' starts."""
    import pandas as pd

    from statespace.forecasting.long_frame import long_features

    frames = [layout.frame] if future is None else [layout.frame, future]
    whole = layout.joined(layout.future(steps, horizon)) if horizon else layout
    parts = {}
    for name in ("covariates", "features"):
        columns = _columns(op, name, getattr(given, name))
        parts[name] = None
        if columns is not None:
            for frame in frames:
                _check_there(op, name, columns, frame)
            own = [frame[["unique_id", "ds", *columns]] for frame in frames]
            table = pd.concat(own, ignore_index=True)
            known = long_features(table, whole, steps + horizon, columns)
            parts[name] = moved_behind(known, steps - layout.lengths)
    for name in ("static", "category"):
        columns = _columns(op, name, getattr(given, name))
        parts[name] = None
        if columns is not None:
            _check_there(op, name, columns, layout.frame)
            parts[name] = _constant_columns(op, name, columns, layout)
    if parts["category"] is not None:
        parts["category"] = parts["category"][:, 0]
    return parts


def _columns(op, name, value):
    """Names of columns as a list; one may be given as it is."""
    if value is None:
        return None
    columns = [value] if isinstance(value, str) else value
    if not isinstance(columns, list | tuple) or not all(isinstance(x, str) for x in columns):
        raise InputError(
            f"{op}: {name} of a long frame are names of its columns; given was a "
            f"{type(value).__name__}."
        )
    if name == "category" and len(columns) != 1:
        raise InputError(f"{op}: category is one column; given were {', '.join(columns)}.")
    return list(columns)


def _check_there(op, name, columns, frame):
    absent = [column for column in columns if column not in frame.columns]
    if absent:
        raise InputError(
            f"{op}: {name}: there is no column {', '.join(map(repr, absent))}; the columns are "
            f"{', '.join(map(repr, map(str, frame.columns)))}."
        )


def _constant_columns(op, name, columns, layout):
    """Columns that do not vary within a series, ``[B, columns]``."""
    grouped = layout.frame.groupby("unique_id", sort=False)[columns]
    varies = grouped.nunique(dropna=False) > 1
    if varies.to_numpy().any():
        series, column = np.argwhere(varies.to_numpy())[0]
        raise InputError(
            f"{op}: {name}: {columns[column]!r} is not the same in all rows of "
            f"{varies.index[series]}; what varies in time belongs to covariates."
        )
    first = grouped.first().loc[layout.columns]
    return np.stack([as_numbers(first[column], column) for column in columns], axis=-1)


def _array(op, name, value, count):
    """A part as float64 array with an axis of series."""
    if value is None:
        return None
    value = as_numbers(value, f"{op}: {name}")
    if name != "static" and value.ndim == 2:
        value = np.broadcast_to(value, (count, *value.shape))
    return value


def _known_steps(op, name, value, lengths, steps, horizon):
    """Covariates or features, which must be known at each step; zero after a series' end."""
    if value is None:
        return None
    count, wanted = len(lengths), steps + horizon
    if value.ndim != 3 or value.shape[:2] != (count, wanted):
        ahead = f" + {horizon} to come" if horizon else ""
        raise InputError(
            f"{op}: {name} has shape {list(value.shape)}; it must be [{count}, {wanted}, columns], "
            f"for {count} series of {steps}{ahead} steps."
        )
    own = np.arange(wanted) < lengths[:, np.newaxis] + horizon
    bad = own[..., np.newaxis] & ~np.isfinite(value)
    if bad.any():
        index = np.argwhere(bad)[0].tolist()
        raise InputError(
            f"{op}: {name}{index} is {value[tuple(index)]}; {name} must be known at every step of "
            f"a series, also where y is missing. What follows the end of a shorter series need not "
            f"be, if lengths say where that is."
        )
    return np.where(own[..., np.newaxis], value, 0.0)


def _check_static(op, value, count):
    if value.ndim != 2 or len(value) != count:
        raise InputError(
            f"{op}: static has shape {list(value.shape)}; it must be [{count}, columns], a row for "
            f"each series."
        )
    bad = ~np.isfinite(value)
    if bad.any():
        index = np.argwhere(bad)[0].tolist()
        raise InputError(f"{op}: static{index} is {value[tuple(index)]}; it must be finite.")


def _whole(op, name, value, count):
    """Whole numbers, one for each series."""
    value = as_numbers(value, f"{op}: {name}")
    if value.shape != (count,) or not (value == np.round(value)).all():
        raise InputError(
            f"{op}: {name} has shape {list(value.shape)}; it must be {count} whole numbers, one "
            f"for each series."
        )
    return value.astype(np.int32)


def _lengths(op, value, count, steps):
    """Number of steps of each series."""
    if value is None:
        return np.full(count, steps)
    lengths = _whole(op, "lengths", value, count)
    wrong = (lengths < 1) | (lengths > steps)
    if wrong.any():
        series = int(np.argmax(wrong))
        raise InputError(
            f"{op}: lengths[{series}] is {lengths[series]}; it must be from 1 to {steps}, the "
            f"number of steps of y."
        )
    return lengths
