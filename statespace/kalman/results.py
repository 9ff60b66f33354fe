"""What inference returns."""

from typing import NamedTuple

import tensorflow as tf


class FilterResult(NamedTuple):
    """Output of :func:`statespace.kalman_filter`; ``[...]`` is the batch shape of the data.

    At a missing component the innovation is zero; the innovation covariance is that of the
    prediction, ``H P H' + R``, missing or not.

    The scales are lower triangular L with L L' the covariance of that name and a non-negative
    diagonal. Only the square-root form computes them; with the others they are None.

    While a state with a diffuse start has not been met by an observation, the covariances are their
    finite parts P in P + kappa B B', kappa -> infinity.
    """

    log_likelihood: tf.Tensor  # [...]
    filtered_mean: tf.Tensor  # E[x_t | y_0 .. y_t], [..., T, n]
    filtered_covariance: tf.Tensor  # [..., T, n, n]
    predicted_mean: tf.Tensor  # E[x_t | y_0 .. y_{t-1}], [..., T, n]; t = 0 is the prior
    predicted_covariance: tf.Tensor  # [..., T, n, n]
    innovation: tf.Tensor  # y_t - E[y_t | y_0 .. y_{t-1}], [..., T, m]
    innovation_covariance: tf.Tensor  # [..., T, m, m]
    info: tf.Tensor  # int32 [...]: 0, or 1 + the step at which the series failed
    filtered_scale: tf.Tensor | None = None  # [..., T, n, n]
    predicted_scale: tf.Tensor | None = None  # [..., T, n, n]
    innovation_scale: tf.Tensor | None = None  # [..., T, m, m]
    # int32 [...]: observations that met a diffuse state; None for a proper start
    diffuse_observations: tf.Tensor | None = None


class SmootherResult(NamedTuple):
    """Output of :func:`statespace.kalman_smoother`; ``[...]`` is the batch shape of the data."""

    log_likelihood: tf.Tensor  # [...]
    smoothed_mean: tf.Tensor  # E[x_t | y], [..., T, n]
    smoothed_covariance: tf.Tensor  # [..., T, n, n]
    lag_one_covariance: tf.Tensor | None  # Cov[x_{t+1}, x_t | y], [..., T-1, n, n]; None unasked
    info: tf.Tensor  # int32 [...]: 0, or 1 + the step at which the series failed
    # int32 [...]: observations that met a diffuse state; None for a proper start
    diffuse_observations: tf.Tensor | None = None


class DisturbanceResult(NamedTuple):
    """Output of :func:`statespace.disturbance_smoother`; k, r: columns of the noise scales."""

    state_mean: tf.Tensor  # E[q_t | y], [..., T, k]
    state_covariance: tf.Tensor  # [..., T, k, k]
    observation_mean: tf.Tensor  # E[r_t | y], [..., T, r]
    observation_covariance: tf.Tensor  # [..., T, r, r]
    info: tf.Tensor  # int32 [...]: 0, or 1 + the step at which the series failed


class ForecastMoments(NamedTuple):
    """Output of :func:`statespace.forecast`, steps T ... T + horizon - 1."""

    state_mean: tf.Tensor  # [..., horizon, n]
    state_covariance: tf.Tensor  # [..., horizon, n, n]
    observation_mean: tf.Tensor  # [..., horizon, m]
    observation_covariance: tf.Tensor  # [..., horizon, m, m]
    info: tf.Tensor  # int32 [...]: 0, or 1 + the step at which the series failed


class SampleResult(NamedTuple):
    """Output of :func:`statespace.sample`; ``[...]`` is ``sample_shape``, then the batch shape."""

    states: tf.Tensor  # [..., T, n]
    observations: tf.Tensor  # [..., T, m]


class OnlineState(NamedTuple):
    """State of a :class:`statespace.OnlineFilter` before step t: all that its past has left.

    With diffuse states the covariance of x_t is P + kappa B B', kappa -> infinity, and
    ``covariance`` its finite part P. B has no columns if every start is proper.
    """

    mean: tf.Tensor  # E[x_t | y_0 .. y_{t-1}], [..., n]
    covariance: tf.Tensor  # [..., n, n]
    step: tf.Tensor  # t, int32 []
    log_likelihood: tf.Tensor  # log p(y_0 .. y_{t-1}), [...]
    info: tf.Tensor  # int32 [...]: 0, or 1 + the step at which the series failed
    diffuse_scale: tf.Tensor  # B, [..., n, n] or [..., n, 0]; zero once the diffuse phase is over
    diffuse_observations: tf.Tensor  # int32 [...]: those so far that met a diffuse state


class OnlineResult(NamedTuple):
    """What one step of a :class:`statespace.OnlineFilter` finds, as in ``FilterResult``.

    In the diffuse phase too: there the covariances are finite parts.
    """

    filtered_mean: tf.Tensor  # E[x_t | y_0 .. y_t], [..., n]
    filtered_covariance: tf.Tensor  # [..., n, n]
    innovation: tf.Tensor  # y_t - E[y_t | y_0 .. y_{t-1}], [..., m]
    innovation_covariance: tf.Tensor  # [..., m, m]
    log_likelihood: tf.Tensor  # log p(y_t | y_0 .. y_{t-1}), [...]
