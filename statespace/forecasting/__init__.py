"""From data to fits, forecasts, tables and plots; pandas in and out; the command line.

``model.fit(y)`` is the way in. Names load on first use, so that the command line can print its
help without importing TensorFlow.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from statespace.forecasting.csv_file import read_series
    from statespace.forecasting.diagnostics import Diagnostics
    from statespace.forecasting.errors import InputError, SkippedSeriesWarning
    from statespace.forecasting.evaluation import Evaluation, evaluate
    from statespace.forecasting.forecast import Forecast
    from statespace.forecasting.intervention_features import interventions
    from statespace.forecasting.metrics import (
        coverage,
        crps_normal,
        crps_samples,
        mase,
        smape,
        weighted_quantile_loss,
    )
    from statespace.forecasting.moments import Interval, Moments
    from statespace.forecasting.results import FitResult
    from statespace.forecasting.sktime_forecaster import Forecaster
    from statespace.forecasting.smoothing import SmoothedStates

_HOME = {
    "Diagnostics": "diagnostics",
    "Evaluation": "evaluation",
    "FitResult": "results",
    "Forecast": "forecast",
    "Forecaster": "sktime_forecaster",
    "InputError": "errors",
    "Interval": "moments",
    "Moments": "moments",
    "SkippedSeriesWarning": "errors",
    "SmoothedStates": "smoothing",
    "coverage": "metrics",
    "crps_normal": "metrics",
    "crps_samples": "metrics",
    "evaluate": "evaluation",
    "interventions": "intervention_features",
    "mase": "metrics",
    "read_series": "csv_file",
    "smape": "metrics",
    "weighted_quantile_loss": "metrics",
}

__all__ = [
    "Diagnostics",
    "Evaluation",
    "FitResult",
    "Forecast",
    "Forecaster",
    "InputError",
    "Interval",
    "Moments",
    "SkippedSeriesWarning",
    "SmoothedStates",
    "coverage",
    "crps_normal",
    "crps_samples",
    "evaluate",
    "interventions",
    "mase",
    "read_series",
    "smape",
    "weighted_quantile_loss",
]


def __getattr__(name):
    if name not in _HOME:
        raise AttributeError(f"module 'statespace.forecasting' has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__():
    return sorted({*globals(), *__all__})
