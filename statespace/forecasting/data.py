"""What users hand to ``fit``, as one array and the layout in which to hand results back."""

import sys

import numpy as np

from statespace.forecasting.errors import InputError
from statespace.forecasting.layout import (
    ArrayLayout,
    FrameLayout,
    LongLayout,
    SeriesLayout,
    VariablesLayout,
)


def as_batch(y, num_observed=1, after=None):
    """Reads data of any accepted kind.

    Args:
      y: array [T], [..., T] or [..., T, m]; pandas Series; DataFrame with one series a column, or
        where m > 1 with one variable a column; or, where m = 1, long DataFrame with the columns
        ``unique_id``, ``ds`` and ``y``. NaN is missing, and so is what a masked array masks. A
        pandas index must hold dates, periods or whole numbers; where its regular grid has gaps, the
        values there count as missing.
      num_observed: number m of variables of a series.
      after: None, or the layout of data that these go on from: an index of dates then has the
        frequency of theirs.

    Returns:
      float64 array [N, T, m] and its layout.

    Raises:
      InputError: the values are not numbers, are infinite, have an index that is not regular, or
        not m variables.
    """
    pandas = sys.modules.get("pandas")  # if y is a pandas object, pandas has been imported
    like = getattr(after, "index", None)
    if pandas is not None and isinstance(y, pandas.DataFrame):
        from statespace.forecasting.long_frame import is_long, read_long_frame

        if is_long(y):
            _check_variables(1, num_observed, "A long frame")
            values, layout = read_long_frame(y, after if isinstance(after, LongLayout) else None)
        else:
            values, layout = _from_frame(y, num_observed, like)
    elif pandas is not None and isinstance(y, pandas.Series):
        _check_variables(1, num_observed, "A Series")
        y, values = _on_regular_index(y, as_numbers(y, _label(y)), like)
        values, layout = values[np.newaxis, :, np.newaxis], SeriesLayout(y.index, y.name)
    else:
        values, layout = _from_array(as_numbers(y, "y"), num_observed)
    if values.size == 0:
        raise InputError("There are no data: y is empty.")
    for label, series in zip(layout.labels(), values, strict=True):
        infinite = np.isinf(series).any(axis=-1)
        if infinite.any():
            raise InputError(
                f"{label} is infinite at step {int(np.argmax(infinite))}. Mark what is not "
                f"known as missing, with NaN; zeros have no logarithm."
            )
    return values, layout


def as_features(features, model, layout, shape, names=None):
    """Reads the features of regressions.

    Args:
      features: array [T, K] or [..., T, K]; or DataFrame of K columns whose index has every entry
        of that of the data (or, for plain numbers, T rows); for data in a long frame, names of its
        columns or another long frame. None if the model needs none.
      model: the model.
      layout: how the data came in.
      shape: [N, T, m] of the data.
      names: None, or those of the columns that the model was fitted with, as of
        ``feature_names``: a frame must have these, in any order and among others.

    Returns:
      float64 array [1 or N, T, K], or None.

    Raises:
      InputError: features are missing, superfluous, of another shape, or not finite.
    """
    needed = model.num_features
    if features is None and needed:
        raise InputError(
            f"{model!r} needs features, {needed} known column{'s' if needed > 1 else ''} of "
            f"{shape[1]} steps; none are given."
        )
    if features is None:
        return None
    if not needed:
        raise InputError(
            f"{model!r} has no use for features; add a Regression(num_features) component."
        )
    pandas = sys.modules.get("pandas")
    if pandas is not None and isinstance(features, pandas.Series):
        features = features.to_frame()
    if isinstance(layout, LongLayout):
        from statespace.forecasting.long_frame import long_features

        values = long_features(features, layout, shape[1], names)
    elif pandas is not None and isinstance(features, pandas.DataFrame):
        if names is not None:
            check_columns(features.columns, names)
            features = features[list(names)]
        if hasattr(layout, "index"):
            features = _aligned(features, layout.index)
        columns = [as_numbers(features[column], str(column)) for column in features.columns]
        values = np.stack(columns, axis=1)
    else:
        values = as_numbers(features, "features")
        if values.ndim == 1:
            values = values[:, np.newaxis]
    if values.ndim < 2 or values.shape[-2:] != (shape[1], needed):
        raise InputError(
            f"features has shape {list(values.shape)}; {model!r} needs [..., {shape[1]}, {needed}]:"
            f" a row for each step, a column for each coefficient."
        )
    batch = values.shape[:-2]
    if batch and int(np.prod(batch)) not in (1, shape[0]):
        raise InputError(
            f"features has shape {list(values.shape)}: it is for {int(np.prod(batch))} series, the "
            f"data are {shape[0]}."
        )
    values = values.reshape(-1, *values.shape[-2:])
    bad = ~np.isfinite(values)
    if bad.any():
        _, step, column = np.argwhere(bad)[0]
        raise InputError(
            f"features: column {column} is {values[bad][0]} at step {step}. Features must be known "
            f"at every step, also where the data are missing."
        )
    return values


def feature_names(features, layout) -> tuple | None:
    """What the columns of the features are called, for frames to come; None if they have no names.

    Args:
      features: as for ``as_features``, which has accepted them.
      layout: how the data came in.
    """
    if isinstance(layout, LongLayout) and features is not None:
        from statespace.forecasting.long_frame import names_of_features

        return names_of_features(features)
    pandas = sys.modules.get("pandas")
    if pandas is not None and isinstance(features, pandas.DataFrame):
        return tuple(features.columns)
    return None


def check_columns(columns, names):
    """Raises an InputError that says which features a frame lacks."""
    absent = [repr(name) for name in names if name not in columns]
    if absent:
        raise InputError(
            f"features: there {'is' if len(absent) == 1 else 'are'} no column"
            f"{'s' * (len(absent) > 1)} {', '.join(absent)}; the columns are "
            f"{', '.join(map(repr, columns))}."
        )


def as_times(times, model, shape):
    """Reads the times of the steps: float64 array [1 or N, T], or None.

    Raises:
      InputError: they are of another shape, not finite, decreasing, or the model has no use for
        them.
    """
    if times is None:
        return None
    if not model.uses_times:
        raise InputError(f"{model!r} moves by steps, not in time; leave times out.")
    values = as_numbers(times, "times")
    if values.ndim == 0 or values.shape[-1] != shape[1]:
        raise InputError(f"times has shape {list(values.shape)}; the data have {shape[1]} steps.")
    values = values.reshape(-1, shape[1])
    if len(values) not in (1, shape[0]):
        raise InputError(f"times is for {len(values)} series; the data are {shape[0]}.")
    if not np.isfinite(values).all() or (np.diff(values) < 0).any():
        raise InputError("times must be finite and must not decrease.")
    return values


def _from_frame(frame, num_observed, like):
    _check_columns(frame)
    columns = [as_numbers(frame[column], str(column)) for column in frame.columns]
    frame, values = _on_regular_index(frame, np.stack(columns, axis=1), like)
    if num_observed == 1:
        return values.T[..., np.newaxis], FrameLayout(frame.index, frame.columns)
    _check_variables(values.shape[1], num_observed, "A DataFrame")
    return values[np.newaxis], VariablesLayout(frame.index, variables=frame.columns)


def _from_array(values, num_observed):
    if values.ndim == 0:
        raise InputError("y is a single number; it must be a series, an array [..., T].")
    if num_observed == 1:
        if values.ndim > 1 and values.shape[-1] == 1:  # [..., T, 1]
            values = values[..., 0]
        values = values[..., np.newaxis]
    else:
        _check_variables(values.shape[-1] if values.ndim > 1 else 1, num_observed, "An array")
    batch = values.shape[:-2]
    return values.reshape(np.prod(batch, dtype=int), *values.shape[-2:]), ArrayLayout(batch)


def _check_variables(given, needed, kind):
    if given != needed:
        raise InputError(
            f"The model observes {needed} variables at each step. {kind} of {given} is given; y "
            f"must be an array [..., T, {needed}], or a DataFrame with {needed} columns."
        )


def _aligned(features, index):
    """The rows of a DataFrame that belong to the steps of the data."""
    import pandas as pd

    own = features.index
    if isinstance(index, pd.PeriodIndex) and isinstance(own, pd.DatetimeIndex):
        features = features.set_axis(own.to_period(index.freq))
    elif isinstance(index, pd.DatetimeIndex) and isinstance(own, pd.PeriodIndex):
        features = features.set_axis(own.to_timestamp())
    if not features.index.is_unique:
        twice = features.index[features.index.duplicated()][0]
        raise InputError(f"features have several rows for {twice}; each step has one.")
    absent = index[~index.isin(features.index)]
    if len(absent):
        raise InputError(
            f"features have no row for {absent[0]}, which the data have; {len(absent)} of "
            f"{len(index)} steps are without."
        )
    return features.loc[index]


def _on_regular_index(y, values, like):
    """The pandas object with its index made regular, and the values reindexed with it."""
    import pandas as pd

    from statespace.forecasting.frequency import regular_index

    if len(y) == 0:
        raise InputError("There are no data: y is empty.")
    table = pd.DataFrame(values, index=y.index)
    index = regular_index(y.index, like)
    values = table.reindex(index).to_numpy()
    return y.reindex(index), values[:, 0] if values.shape[1] == 1 and y.ndim == 1 else values


def as_numbers(values, label) -> np.ndarray:
    """Numbers of any kind as float64, NaN where missing; InputError if they are none."""
    try:
        if not hasattr(values, "dtype"):
            values = np.asarray(values)
        if isinstance(values, np.ma.MaskedArray):
            values = values.astype(np.float64).filled(np.nan)
        if getattr(values.dtype, "kind", "f") in "mMbc":
            raise InputError(f"{label} holds {values.dtype} values; it must hold real numbers.")
        if hasattr(values, "to_numpy"):  # pandas' own missing values become NaN
            return values.to_numpy(dtype="float64", na_value=np.nan)
        return np.asarray(values, dtype=np.float64)
    except InputError:
        raise
    except (TypeError, ValueError) as error:
        raise InputError(f"{label} does not hold numbers: {error}") from None


def _check_columns(frame):
    if frame.shape[1] == 0:
        raise InputError("The DataFrame has no columns.")
    if not frame.columns.is_unique:
        twice = frame.columns[frame.columns.duplicated()][0]
        raise InputError(
            f"The DataFrame has two columns {twice!r}; each series needs its own name."
        )


def _label(series):
    return "y" if series.name is None else str(series.name)
