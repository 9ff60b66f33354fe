"""What users hand to ``fit``, as one array and the layout in which to hand results back."""

import sys

import numpy as np

from statespace.forecasting.errors import InputError
from statespace.forecasting.layout import ArrayLayout, FrameLayout, SeriesLayout


def as_batch(y):
    """Reads data of any accepted kind.

    Args:
      y: array [T], [..., T] or [..., T, 1]; pandas Series; or DataFrame with one series a column.
        NaN is missing, and so is what a masked array masks. A pandas index must hold dates, periods
        or whole numbers; where its regular grid has gaps, the values there count as missing.

    Returns:
      float64 array [N, T] and its layout.

    Raises:
      InputError: the values are not numbers, are infinite, or have an index that is not regular.
    """
    pandas = sys.modules.get("pandas")  # if y is a pandas object, pandas has been imported
    if pandas is not None and isinstance(y, pandas.Series):
        y, values = _on_regular_index(y, _numbers(y, _label(y)))
        layout, values = SeriesLayout(y.index, y.name), values[np.newaxis]
    elif pandas is not None and isinstance(y, pandas.DataFrame):
        _check_columns(y)
        columns = [_numbers(y[column], str(column)) for column in y.columns]
        y, values = _on_regular_index(y, np.stack(columns, axis=1))
        layout, values = FrameLayout(y.index, y.columns), values.T
    else:
        values = _numbers(y, "y")
        if values.ndim == 0:
            raise InputError("y is a single number; it must be a series, an array [..., T].")
        if values.ndim > 1 and values.shape[-1] == 1:  # [..., T, 1]
            values = values[..., 0]
        layout = ArrayLayout(values.shape[:-1])
        values = values.reshape(np.prod(values.shape[:-1], dtype=int), values.shape[-1])
    if values.size == 0:
        raise InputError("There are no data: y is empty.")
    for label, row in zip(layout.labels(), values, strict=True):
        if np.isinf(row).any():
            raise InputError(
                f"{label} is infinite at step {int(np.argmax(np.isinf(row)))}. Mark what is not "
                f"known as missing, with NaN; zeros have no logarithm."
            )
    return values, layout


def _on_regular_index(y, values):
    """The pandas object with its index made regular, and the values reindexed with it."""
    import pandas as pd

    from statespace.forecasting.frequency import regular_index

    if len(y) == 0:
        raise InputError("There are no data: y is empty.")
    table = pd.DataFrame(values, index=y.index)
    index = regular_index(y.index)
    values = table.reindex(index).to_numpy()
    return y.reindex(index), values[:, 0] if values.shape[1] == 1 and y.ndim == 1 else values


def _numbers(values, label):
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
