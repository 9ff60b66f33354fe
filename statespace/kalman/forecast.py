"""Moments of states and observations beyond the data."""

import tensorflow as tf

from statespace.kalman.filter import kalman_filter
from statespace.kalman.inference import masked_data
from statespace.kalman.results import ForecastMoments
from statespace.linalg_ops.arguments import positive_int
from statespace.ssm import time_axes


def forecast(ssm, y, horizon, *, mask=None) -> ForecastMoments:
    """Moments of the next ``horizon`` states and observations, given the data.

    A forecast is the filter run on over steps with nothing observed, with ``algorithm="auto"`` of
    the guide "Kalman filters and smoothers".

    Args:
      ssm: a :class:`statespace.LinearGaussianSSM`. A per-step parameter that varies in time must
        cover the future too: its time axis has T + horizon steps.
      y: data ``[..., T, m]``; NaN marks a missing component.
      horizon: number of steps ahead, a positive int.
      mask: bool ``[..., T]`` or ``[..., T, m]``, True = observed.

    Returns:
      A :class:`statespace.ForecastMoments`; the observation covariances include the observation
      noise.

    Raises:
      ValueError: ``horizon`` is not a positive int, a time-varying parameter stops before T +
        horizon, or as :func:`statespace.log_likelihood`.

    References:
      Durbin & Koopman, Time Series Analysis by State Space Methods, 2nd ed., section 4.11.

    Example:

      >>> import numpy as np, statespace as ss
      >>> ssm = ss.LinearGaussianSSM([[0.9]], [[0.5]], [[1.0]], [[1.0]], [0.0], [[1.0]])
      >>> ahead = ss.forecast(ssm, np.array([[1.0], [1.2], [0.7]]), 2)
      >>> print(np.round(ahead.observation_mean[:, 0], 2))
      [0.61 0.55]
    """
    horizon = positive_int("forecast", "horizon", horizon)
    y = _extend(ssm, masked_data("forecast", ssm, y, mask), horizon)
    result = kalman_filter(ssm, y)
    ahead = slice(-horizon, None)
    mean = result.predicted_mean[..., ahead, :]
    h, d = ssm.observation_matrix, ssm.observation_offset
    # An axis of one step is left as it is by this slice, an absent one does not need it.
    h = h if h.shape.rank == 2 else h[..., ahead, :, :]
    d = d if d.shape.rank == 1 else d[..., ahead, :]
    return ForecastMoments(
        state_mean=mean,
        state_covariance=result.predicted_covariance[..., ahead, :, :],
        observation_mean=tf.linalg.matvec(h, mean) + d,
        observation_covariance=result.innovation_covariance[..., ahead, :, :],
        info=result.info,
    )


def _extend(ssm, y, horizon):
    """y with ``horizon`` rows of NaN after its end, checked against the model."""
    past = None if y.shape.rank is None else y.shape[-2]
    for name, tensor, steps in time_axes(ssm):
        if None not in (steps, past) and steps != past + horizon:
            future = past + horizon
            raise ValueError(
                f"forecast: {name} has shape {tensor.shape}: it varies over {steps} steps; "
                f"to forecast {horizon} steps after y {y.shape} it must cover {future}."
            )
    rows = tf.fill(tf.concat([tf.shape(y)[:-2], [horizon], tf.shape(y)[-1:]], 0), float("nan"))
    return tf.concat([y, tf.cast(rows, y.dtype)], axis=-2)
