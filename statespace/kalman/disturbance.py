"""The disturbance smoother: the model's noise given the data."""

import tensorflow as tf

from statespace.kalman.results import DisturbanceResult
from statespace.kalman.smoother import kalman_smoother
from statespace.linalg_ops.arguments import broadcast_batches
from statespace.ssm import LinearGaussianSSM


def disturbance_smoother(
    ssm, y, *, mask=None, lengths=None, algorithm="auto", on_failure="nan"
) -> DisturbanceResult:
    """Moments, given all data, of the noise in states and observations.

    The noise is that of the model's equations, q_t and r_t, a priori N(0, I): large values are
    auxiliary residuals that point at level breaks (q) and outliers (r). C E[r_t | y] is in the
    units of the observations, G E[q_t | y] in those of the states.

    It is the smoother of a model whose state is (x_t, q_t, r_t), with noise-free transitions and
    observations, so whatever a form of the recursion can do holds here too: singular noise, missing
    components, a diffuse start, derivatives. The guide "Kalman filters and smoothers" lists them.

    Args:
      ssm, y, mask, lengths, algorithm, on_failure: as for :func:`statespace.kalman_smoother`.

    Returns:
      A :class:`statespace.DisturbanceResult`. What nothing is known of, the noise of a component
      that is missing or of the transition beyond the data, has its prior moments.

    Raises:
      ValueError, tf.errors.InvalidArgumentError: as :func:`statespace.log_likelihood`.

    References:
      Durbin & Koopman, Time Series Analysis by State Space Methods, 2nd ed., sections 4.5 and 7.5.

    Example:

      >>> import numpy as np, statespace as ss
      >>> ssm = ss.LinearGaussianSSM([[1.0]], [[0.1]], [[1.0]], [[1.0]], [0.0], [[1.0]])
      >>> y = np.array([[0.1], [-0.2], [8.0], [0.0]])
      >>> result = ss.disturbance_smoother(ssm, y)
      >>> print(np.round(result.observation_mean[:, 0], 1))
      [-1.4 -1.8  6.4 -1.6]
    """
    if isinstance(ssm, LinearGaussianSSM):  # else the smoother says what is wrong
        n, k = _size(ssm.transition_scale, -2), _size(ssm.transition_scale, -1)
        augmented = _with_noise_in_the_state(ssm)
    else:
        n, k, augmented = 0, 0, ssm
    smoothed = kalman_smoother(
        augmented, y, mask=mask, lengths=lengths, algorithm=algorithm, on_failure=on_failure
    )
    states, observations = slice(n, n + k), slice(n + k, None)
    mean, covariance = smoothed.smoothed_mean, smoothed.smoothed_covariance
    return DisturbanceResult(
        state_mean=mean[..., states],
        state_covariance=covariance[..., states, states],
        observation_mean=mean[..., observations],
        observation_covariance=covariance[..., observations, observations],
        info=smoothed.info,
    )


def _with_noise_in_the_state(ssm):
    """The model of (x_t, q_t, r_t), of which q_t drives x_{t+1} and r_t is observed with x_t."""
    f, g = broadcast_batches([ssm.transition_matrix, ssm.transition_scale], [2, 2])
    h, c = broadcast_batches([ssm.observation_matrix, ssm.observation_scale], [2, 2])
    k, r = _size(g, -1), _size(c, -1)
    new_noise = tf.eye(k + r, dtype=ssm.dtype)
    start = _grow(ssm.initial_scale, 2, rows=k + r, columns=k + r)
    n, p = _size(ssm.initial_scale, -2), _size(ssm.initial_scale, -1)
    diffuse = ssm.diffuse
    return LinearGaussianSSM(
        transition_matrix=_grow(tf.concat([f, g], axis=-1), 2, rows=k + r, columns=r),
        transition_scale=tf.pad(new_noise, [[n, 0], [0, 0]]),
        observation_matrix=tf.concat([_grow(h, 2, columns=k), c], axis=-1),
        observation_scale=tf.zeros([_size(h, -2), 1], ssm.dtype),
        initial_mean=_grow(ssm.initial_mean, 1, columns=k + r),
        initial_scale=start + tf.pad(new_noise, [[n, 0], [p, 0]]),
        transition_offset=_grow(ssm.transition_offset, 1, columns=k + r),
        observation_offset=ssm.observation_offset,
        diffuse=None if diffuse is None else tf.pad(diffuse, [[0, k + r]]),
    )


def _grow(x, core_rank, *, rows=0, columns=0):
    """x with zeros after its last rows and columns."""
    core = [[0, columns]] if core_rank == 1 else [[0, rows], [0, columns]]
    return tf.pad(x, [[0, 0]] * (x.shape.rank - core_rank) + core)


def _size(x, axis):
    known = None if x.shape.rank is None else x.shape[axis]
    return tf.shape(x)[axis] if known is None else known
