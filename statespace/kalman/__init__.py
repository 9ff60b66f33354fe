"""Inference on one linear-Gaussian state-space model: filter, smoother, draws, forecast."""

from statespace.kalman.disturbance import disturbance_smoother
from statespace.kalman.filter import kalman_filter, log_likelihood
from statespace.kalman.forecast import forecast
from statespace.kalman.inference import ALGORITHMS
from statespace.kalman.online import OnlineFilter, online_filter
from statespace.kalman.results import (
    DisturbanceResult,
    FilterResult,
    ForecastMoments,
    OnlineResult,
    OnlineState,
    SampleResult,
    SmootherResult,
)
from statespace.kalman.sampling import sample, sample_posterior
from statespace.kalman.smoother import kalman_smoother

__all__ = [
    "ALGORITHMS",
    "DisturbanceResult",
    "FilterResult",
    "ForecastMoments",
    "OnlineFilter",
    "OnlineResult",
    "OnlineState",
    "SampleResult",
    "SmootherResult",
    "disturbance_smoother",
    "forecast",
    "kalman_filter",
    "kalman_smoother",
    "log_likelihood",
    "online_filter",
    "sample",
    "sample_posterior",
]
