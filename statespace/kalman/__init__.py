"""Inference on one linear-Gaussian state-space model: filter, smoother, forecast."""

from statespace.kalman.filter import kalman_filter, log_likelihood
from statespace.kalman.forecast import forecast
from statespace.kalman.inference import ALGORITHMS
from statespace.kalman.results import FilterResult, ForecastMoments, SmootherResult
from statespace.kalman.smoother import kalman_smoother

__all__ = [
    "ALGORITHMS",
    "FilterResult",
    "ForecastMoments",
    "SmootherResult",
    "forecast",
    "kalman_filter",
    "kalman_smoother",
    "log_likelihood",
]
