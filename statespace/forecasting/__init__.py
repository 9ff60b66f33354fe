"""From data to fits, forecasts, tables and plots; pandas in and out; the command line.

``model.fit(y)`` is the way in. Names load on first use, so that the command line can print its
help without importing TensorFlow.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from statespace.forecasting.csv_file import read_series
    from statespace.forecasting.diagnostics import Diagnostics
    from statespace.forecasting.errors import InputError
    from statespace.forecasting.forecast import Forecast
    from statespace.forecasting.intervention_features import interventions
    from statespace.forecasting.moments import Interval, Moments, SmoothedStates
    from statespace.forecasting.results import FitResult

_HOME = {
    "Diagnostics": "diagnostics",
    "FitResult": "results",
    "Forecast": "forecast",
    "InputError": "errors",
    "Interval": "moments",
    "Moments": "moments",
    "SmoothedStates": "moments",
    "interventions": "intervention_features",
    "read_series": "csv_file",
}

__all__ = [
    "Diagnostics",
    "FitResult",
    "Forecast",
    "InputError",
    "Interval",
    "Moments",
    "SmoothedStates",
    "interventions",
    "read_series",
]


def __getattr__(name):
    if name not in _HOME:
        raise AttributeError(f"module 'statespace.forecasting' has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__():
    return sorted({*globals(), *__all__})
