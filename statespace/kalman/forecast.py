"""Moments of states and observations beyond the data."""

import operator

import tensorflow as tf

from statespace.kalman.filter import kalman_filter
from statespace.kalman.inference import masked_data
from statespace.kalman.results import ForecastMoments
from statespace.ssm import PARAMETERS


def forecast(ssm, y, horizon, *, mask=None) -> ForecastMoments:
    """Moments of the next ``horizon`` states and observations, given the data.

    A forecast is the filter run on over steps with nothing observed.

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
    """
    if isinstance(horizon, bool) or not hasattr(horizon, "__index__") or horizon < 1:
        raise ValueError(f"forecast: horizon is {horizon!r}; it must be a positive int.")
    horizon = operator.index(horizon)
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
    for spec, tensor in zip(PARAMETERS, ssm.parameters(), strict=True):
        rank = tensor.shape.rank
        if not spec.per_step or rank is None or rank == len(spec.core):
            continue
        steps = tensor.shape[-len(spec.core) - 1]
        past = None if y.shape.rank is None else y.shape[-2]
        if None not in (steps, past) and steps not in (1, past + horizon):
            future = past + horizon
            raise ValueError(
                f"forecast: {spec.name} has shape {tensor.shape}: it varies over {steps} steps; "
                f"to forecast {horizon} steps after y {y.shape} it must cover {future}."
            )
    rows = tf.fill(tf.concat([tf.shape(y)[:-2], [horizon], tf.shape(y)[-1:]], 0), float("nan"))
    return tf.concat([y, tf.cast(rows, y.dtype)], axis=-2)
