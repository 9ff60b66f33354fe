"""Kalman filtering, smoothing and state-space modelling on TensorFlow.

The public names load on first use: ``import statespace`` itself imports neither TensorFlow nor
pandas, so command lines that only print their help stay fast.
"""

import importlib
from typing import TYPE_CHECKING

from statespace import native as _native

if TYPE_CHECKING:
    from statespace import (
        active,
        config,
        datasets,
        distributions,
        kalman,
        layers,
        linalg_ops,
        models,
    )
    from statespace.forecasting.saving import load
    from statespace.kalman.disturbance import DisturbanceResult, disturbance_smoother
    from statespace.kalman.filter import FilterResult, kalman_filter, log_likelihood
    from statespace.kalman.forecast import ForecastMoments, forecast
    from statespace.kalman.online import OnlineFilter, OnlineResult, OnlineState, online_filter
    from statespace.kalman.sampling import SampleResult, sample, sample_posterior
    from statespace.kalman.smoother import SmootherResult, kalman_smoother
    from statespace.nonlinear import NonlinearGaussianSSM, nonlinear_filter, nonlinear_smoother
    from statespace.ssm import LinearGaussianSSM

_MODULES = (
    "active",
    "config",
    "datasets",
    "distributions",
    "forecasting",
    "kalman",
    "layers",
    "linalg_ops",
    "models",
)
_HOME = {
    "DisturbanceResult": "kalman.disturbance",
    "FilterResult": "kalman.filter",
    "ForecastMoments": "kalman.forecast",
    "LinearGaussianSSM": "ssm",
    "NonlinearGaussianSSM": "nonlinear.model",
    "OnlineFilter": "kalman.online",
    "OnlineResult": "kalman.online",
    "OnlineState": "kalman.online",
    "SampleResult": "kalman.sampling",
    "SmootherResult": "kalman.smoother",
    "disturbance_smoother": "kalman.disturbance",
    "forecast": "kalman.forecast",
    "kalman_filter": "kalman.filter",
    "kalman_smoother": "kalman.smoother",
    "load": "forecasting.saving",
    "log_likelihood": "kalman.filter",
    "nonlinear_filter": "nonlinear.filter",
    "nonlinear_smoother": "nonlinear.smoother",
    "online_filter": "kalman.online",
    "sample": "kalman.sampling",
    "sample_posterior": "kalman.sampling",
}

__all__ = [
    "DisturbanceResult",
    "FilterResult",
    "ForecastMoments",
    "LinearGaussianSSM",
    "NonlinearGaussianSSM",
    "OnlineFilter",
    "OnlineResult",
    "OnlineState",
    "SampleResult",
    "SmootherResult",
    "active",
    "config",
    "datasets",
    "distributions",
    "disturbance_smoother",
    "forecast",
    "kalman",
    "kalman_filter",
    "kalman_smoother",
    "layers",
    "linalg_ops",
    "load",
    "log_likelihood",
    "models",
    "nonlinear_filter",
    "nonlinear_smoother",
    "online_filter",
    "sample",
    "sample_posterior",
]

_native.warn_if_missing()


def __getattr__(name):
    if name in _MODULES:
        return importlib.import_module(f"statespace.{name}")
    if name in _HOME:
        value = getattr(importlib.import_module(f"statespace.{_HOME[name]}"), name)
        globals()[name] = value
        return value
    if name == "__version__":
        return importlib.import_module("importlib.metadata").version("statespace-tf")
    raise AttributeError(f"module 'statespace' has no attribute {name!r}")


def __dir__():
    return sorted({*globals(), *__all__, "forecasting", "__version__"})
