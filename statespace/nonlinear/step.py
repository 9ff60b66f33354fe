"""One step of filter and smoother in square-root form, whatever method matched the moments.

States are written in normalised coordinates, x = m + S xi: of the predicted state at the update,
of the filtered one at the transition. In them the smoother needs no inverse of a covariance.
"""

import math
from typing import NamedTuple

import tensorflow as tf

from statespace.kalman.step import all_finite, finite, is_observed
from statespace.linalg_ops.failure import append_axes
from statespace.linalg_ops.lq import dependent_rows, lq
from statespace.linalg_ops.triangular import triangular_solve
from statespace.nonlinear.matching import Matched


class Update(NamedTuple):
    """A measurement update: given y_t, xi = shift + factor xi', with xi' ~ N(0, I)."""

    log_density: tf.Tensor  # [...]
    innovation: tf.Tensor  # [..., m]; zero at missing components
    spread: tf.Tensor  # root of the innovation covariance, nothing missing, [..., m, r + q + n]
    shift: tf.Tensor  # [..., n]
    factor: tf.Tensor  # lower triangular, [..., n, n]
    failed: tf.Tensor  # bool [...]


class Transition(NamedTuple):
    """The step to t+1; of the predicted coordinates xi', xi = back xi' + rest e, e ~ N(0, I)."""

    mean: tf.Tensor  # [..., n]
    scale: tf.Tensor  # lower triangular, [..., n, n]
    back: tf.Tensor  # [..., n, n]
    rest: tf.Tensor  # [..., n, k + q]


def condition(y, noise, matched: Matched, bad) -> Update:
    """Conditions on the observed components of y: one LQ factorisation.

    1. y = mean + [C, residual, slope] z and xi = [0, 0, I] z with standard normal z. Of the stacked
       rows, L Q z = [[S_y, 0], [K, W]] (z_1, z_2) with again standard normal (z_1, z_2).
    2. z_1 = S_y^-1 (y - mean) is known, so xi = K z_1 + W z_2.
    3. The row of a missing component is replaced by a coordinate of its own, whose value is zero.

    Args:
      y: ``[..., m]``, NaN at missing components.
      noise: C, ``[..., m, r]``.
      matched: the observation function around the predicted state.
      bad: bool ``[...]``, series for which nothing is to be computed.
    """
    m, n = matched.slope.shape[-2:]
    observed = is_observed(y) & ~bad[..., tf.newaxis]
    innovation = y - matched.mean
    failed = bad | tf.reduce_any(observed & ~tf.math.is_finite(innovation), axis=-1)
    innovation = tf.where(observed & tf.math.is_finite(innovation), innovation, 0)
    spread = tf.concat([noise, matched.residual, matched.slope], axis=-1)
    rows = tf.where(observed[..., tf.newaxis], finite(spread), 0)
    own = tf.linalg.diag(tf.cast(~observed, y.dtype))
    columns = m + spread.shape[-1]
    identity = tf.eye(n, dtype=y.dtype)
    below = tf.pad(identity, [[0, 0], [columns - n, 0]])
    below = tf.broadcast_to(below, tf.concat([tf.shape(y)[:-1], [n, columns]], 0))
    l = lq(tf.concat([tf.concat([own, rows], axis=-1), below], axis=-2), mode="l")
    s = l[..., :m, :m]
    failed |= tf.reduce_any(dependent_rows(s, columns), axis=-1)
    s = tf.where(append_axes(failed, s), tf.eye(m, dtype=y.dtype), s)
    whitened = triangular_solve(s, innovation[..., tf.newaxis])
    failed |= ~tf.math.is_finite(tf.reduce_sum(tf.square(whitened), axis=[-2, -1]))
    whitened = tf.where(append_axes(failed, whitened), tf.zeros_like(whitened), whitened)
    log_density = -0.5 * (
        math.log(2.0 * math.pi) * tf.reduce_sum(tf.cast(observed, y.dtype), axis=-1)
        + 2.0 * tf.reduce_sum(tf.math.log(tf.linalg.diag_part(s)), axis=-1)
        + tf.reduce_sum(tf.square(whitened), axis=[-2, -1])
    )
    gain, factor = l[..., m:, :m], l[..., m:, m:]
    failed_factor = append_axes(failed, factor)
    gain = tf.where(failed_factor, tf.zeros_like(gain), gain)
    factor = tf.where(failed_factor, identity, factor)
    shift = tf.matmul(gain, whitened)[..., 0]
    return Update(log_density, innovation, spread, shift, factor, failed)


def predict(noise, matched: Matched, smoothing: bool) -> Transition:
    """Moments of the next state and, for the smoother, the way back: one LQ factorisation.

    1. x' = mean + [slope, residual, G] z and xi = [I, 0, 0] z. Of the stacked rows,
       L Q z = [[S', 0], [V, B]] (z_1, z_2), all standard normal.
    2. So x' = mean + S' z_1, z_1 being its normalised coordinates, and xi = V z_1 + B z_2.
    """
    n = matched.slope.shape[-2]
    rows = tf.concat([matched.slope, matched.residual, noise], axis=-1)
    if not smoothing:
        scale = lq(rows, mode="l")
        return Transition(matched.mean, scale, scale[..., :0], scale[..., :0])
    below = tf.pad(tf.eye(n, dtype=rows.dtype), [[0, 0], [0, rows.shape[-1] - n]])
    below = tf.broadcast_to(below, tf.shape(rows))
    l = lq(tf.concat([rows, below], axis=-2), mode="l")
    return Transition(matched.mean, l[..., :n, :n], l[..., n:, :n], l[..., n:, n:])


def usable(transition: Transition) -> tf.Tensor:
    """bool ``[...]``: whether the predicted moments are finite."""
    return all_finite(transition.mean, 1) & all_finite(transition.scale, 2)
