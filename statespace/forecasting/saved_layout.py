"""Layouts as JSON: what saved results hold of the form of the data, pandas indexes included."""

import numpy as np

from statespace.forecasting.errors import InputError
from statespace.forecasting.layout import (
    ArrayLayout,
    FrameLayout,
    LongLayout,
    SeriesLayout,
    VariablesLayout,
)

_PLAIN = (str, bool, int, float, type(None))


def written_layout(layout) -> dict:
    """A layout in terms of JSON.

    The columns of a long frame that a model took its features from are left out; the features
    themselves are part of the problem.

    Raises:
      InputError: an index has a frequency or labels that cannot be written down.
    """
    if isinstance(layout, ArrayLayout):
        return {"kind": "array", "batch_shape": list(layout.batch_shape), "start": layout.start}
    if isinstance(layout, LongLayout):
        return {
            "kind": "long",
            "columns": _written_labels(layout.columns),
            "grid": _written_index(layout.grid),
            "stride": int(layout.stride),
            "last": layout.last.tolist(),
            "lengths": layout.lengths.tolist(),
        }
    index = {"index": _written_index(layout.index)}
    if isinstance(layout, FrameLayout):
        return {"kind": "frame", "columns": _written_labels(layout.columns), **index}
    if isinstance(layout, VariablesLayout):
        return {"kind": "variables", "variables": _written_labels(layout.variables), **index}
    return {"kind": "series", "name": _written_label(layout.name), **index}


def read_layout(written):
    """The layout that ``written_layout`` wrote."""
    kind = written["kind"]
    if kind == "array":
        return ArrayLayout(tuple(written["batch_shape"]), written["start"])
    if kind == "long":
        import pandas as pd

        return LongLayout(
            columns=_read_labels(written["columns"]),
            grid=_read_index(written["grid"]),
            stride=written["stride"],
            last=np.array(written["last"], int),
            lengths=np.array(written["lengths"], int),
            frame=pd.DataFrame(columns=["unique_id", "ds", "y"]),
        )
    index = _read_index(written["index"])
    if kind == "frame":
        return FrameLayout(index, _read_labels(written["columns"]))
    if kind == "variables":
        return VariablesLayout(index, variables=_read_labels(written["variables"]))
    return SeriesLayout(index, _read_label(written["name"]))


def written_names(names):
    """Names of columns in terms of JSON; None for none."""
    return None if names is None else [_written_label(name) for name in names]


def read_names(written):
    """The names that ``written_names`` wrote."""
    return None if written is None else tuple(_read_label(name) for name in written)


def _written_index(index):
    """A regular index: where it begins, how it goes on, and its length."""
    import pandas as pd

    name = _written_label(index.name)
    if isinstance(index, pd.RangeIndex):
        return {"first": index.start, "step": index.step, "length": len(index), "name": name}
    if isinstance(index, pd.PeriodIndex):
        first, kind = int(index.asi8[0]), {"periods": index.freqstr}
    else:
        first = int(index.asi8[0])
        time_zone = None if index.tz is None else str(index.tz)
        frequency = _written_frequency(index.freq)
        kind = {"unit": index.unit, "time_zone": time_zone, "frequency": frequency}
    written = {"first": first, "length": len(index), "name": name, **kind}
    try:
        same = index.equals(_read_index(written))
    except (TypeError, ValueError, KeyError):  # of frequencies and time zones without a name
        same = False
    if not same:
        raise InputError(
            f"The index of the data, of type {index.dtype} and frequency {index.freq}, cannot be "
            f"written down. Use one with a frequency and a time zone that pandas knows by name."
        )
    return written


def _read_index(written):
    import pandas as pd

    first, length, name = written["first"], written["length"], _read_label(written["name"])
    if "step" in written:
        step = written["step"]
        return pd.RangeIndex(first, first + step * length, step, name=name)
    if "periods" in written:
        start = pd.Period(ordinal=first, freq=written["periods"])
        return pd.period_range(start, periods=length, name=name)
    start = pd.Timestamp(first, unit=written["unit"], tz="UTC").tz_convert(written["time_zone"])
    frequency = _read_frequency(written["frequency"])
    return pd.date_range(start, periods=length, freq=frequency, name=name, unit=written["unit"])


def _written_frequency(frequency):
    """Its name; a DateOffset has none, but its arguments say it."""
    import pandas as pd

    if type(frequency) is pd.DateOffset:
        return {"number": frequency.n, **frequency.kwds}
    return None if frequency is None else frequency.freqstr


def _read_frequency(written):
    import pandas as pd

    if not isinstance(written, dict):
        return written
    arguments = dict(written)
    return pd.DateOffset(arguments.pop("number"), **arguments)


def _written_labels(labels):
    """An Index of names, of any kind."""
    return {
        "labels": [_written_label(label) for label in labels],
        "type": None if labels.nlevels > 1 else str(labels.dtype),
        "names": [_written_label(name) for name in labels.names],
    }


def _read_labels(written):
    import pandas as pd

    labels = [_read_label(label) for label in written["labels"]]
    names = [_read_label(name) for name in written["names"]]
    if written["type"] is None:
        return pd.MultiIndex.from_tuples(labels, names=names)
    return pd.Index(labels, dtype=written["type"], name=names[0])


def _written_label(label):
    """A name: a string, number, date or period, or a tuple of these."""
    import pandas as pd

    if isinstance(label, np.generic):
        label = label.item()
    if isinstance(label, _PLAIN):
        return label
    if isinstance(label, tuple):
        return {"tuple": [_written_label(part) for part in label]}
    if isinstance(label, pd.Timestamp):
        return {"date": label.isoformat()}
    if isinstance(label, pd.Period):
        return {"period": str(label), "frequency": label.freqstr}
    raise InputError(
        f"The name {label!r}, of type {type(label).__name__}, cannot be written down. Rename it to "
        f"a string."
    )


def _read_label(written):
    import pandas as pd

    if not isinstance(written, dict):
        return written
    if "tuple" in written:
        return tuple(_read_label(part) for part in written["tuple"])
    if "date" in written:
        return pd.Timestamp(written["date"])
    return pd.Period(written["period"], freq=written["frequency"])
