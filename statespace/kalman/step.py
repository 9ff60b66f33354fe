"""One step of the filter in plain TensorFlow: what the forms written in TensorFlow share.

Notation: Durbin & Koopman, Time Series Analysis by State Space Methods, 2nd ed., sections 4.3 and
4.4, with the gain of the *filtered* moments, K = P H' S^-1. A step's parameters come by their names
in ``statespace.ssm.PARAMETERS``; their batch axes broadcast against those of the moments.
"""

import math
from typing import NamedTuple

import tensorflow as tf

from statespace.linalg_ops.arguments import broadcast_matmul, matrix_transpose
from statespace.linalg_ops.cholesky import factor_by_columns
from statespace.linalg_ops.failure import append_axes
from statespace.linalg_ops.triangular import solve_reference
from statespace.ssm import PARAMETERS


class Update(NamedTuple):
    """One measurement update; rows of missing components are zero."""

    log_density: tf.Tensor  # [...]
    innovation: tf.Tensor  # v, [..., m]
    innovation_covariance: tf.Tensor  # S with no component missing, [..., m, m]
    weight: tf.Tensor  # S^-1 v, [..., m]
    gain: tf.Tensor  # K, [..., n, m]
    whitened_observation: tf.Tensor  # L^-1 H with S = L L', [..., m, n]
    filtered_mean: tf.Tensor  # [..., n]
    filtered_covariance: tf.Tensor  # [..., n, n]
    failed: tf.Tensor  # bool [...]


def condition(y, parameters, mean, covariance, bad):
    """Conditions the predicted moments on the observed components of y."""
    h, c = parameters["observation_matrix"], parameters["observation_scale"]
    d = parameters["observation_offset"]
    observed = is_observed(y)
    rows = observed[..., tf.newaxis]
    both = tf.logical_and(rows, observed[..., tf.newaxis, :])
    bad = tf.logical_or(bad, tf.logical_not(all_finite(mean, 1) & all_finite(covariance, 2)))
    known = all_finite(h, 1) & all_finite(c, 1)
    usable = known & tf.math.is_finite(d)
    bad = tf.logical_or(bad, tf.reduce_any(observed & tf.logical_not(usable), axis=-1))
    h, c, d = (finite(x) for x in (h, c, d))
    mean, covariance = (
        tf.where(append_axes(bad, x), tf.zeros_like(x), x) for x in (mean, covariance)
    )

    cross = broadcast_matmul(covariance, h, transpose_b=True)
    innovation = tf.where(observed, y, 0) - tf.linalg.matvec(h, mean) - d
    innovation = tf.where(observed & tf.math.is_finite(innovation), innovation, 0)
    innovation_covariance = symmetric(broadcast_matmul(h, cross))
    innovation_covariance += tf.matmul(c, c, transpose_b=True)
    identity = tf.eye(tf.shape(y)[-1], dtype=y.dtype)
    s = tf.where(both, innovation_covariance, identity)
    _, info = factor_by_columns(tf.stop_gradient(s))
    failed = bad | (info > 0) | tf.reduce_any(tf.math.is_inf(y), axis=-1)
    l = tf.linalg.cholesky(tf.where(append_axes(failed, s), identity, s))

    def whiten(x):
        return solve_reference(l, x, lower=True, adjoint=False)

    def unwhiten(x):
        return solve_reference(l, x, lower=True, adjoint=True)

    z = whiten(innovation[..., tf.newaxis])
    failed |= tf.logical_not(tf.math.is_finite(tf.reduce_sum(tf.square(z), axis=[-2, -1])))
    z = tf.where(append_axes(failed, z), tf.zeros_like(z), z)
    w = whiten(tf.where(rows, matrix_transpose(cross), 0))
    log_density = -0.5 * (
        math.log(2.0 * math.pi) * tf.reduce_sum(tf.cast(observed, y.dtype), axis=-1)
        + 2.0 * tf.reduce_sum(tf.math.log(tf.linalg.diag_part(l)), axis=-1)
        + tf.reduce_sum(tf.square(z), axis=[-2, -1])
    )
    return Update(
        log_density=log_density,
        innovation=innovation,
        innovation_covariance=tf.where(
            known[..., tf.newaxis] & known[..., tf.newaxis, :],
            innovation_covariance,
            tf.constant(float("nan"), y.dtype),
        ),
        weight=unwhiten(z)[..., 0],
        gain=matrix_transpose(unwhiten(w)),
        whitened_observation=whiten(tf.where(rows, h, 0)),
        filtered_mean=mean + tf.matmul(w, z, transpose_a=True)[..., 0],
        filtered_covariance=covariance - tf.matmul(w, w, transpose_a=True),
        failed=failed,
    )


def predict(parameters, update):
    """Moments of the next state, and whether they could be computed."""
    f, g, b = (
        parameters[name] for name in ("transition_matrix", "transition_scale", "transition_offset")
    )
    bad = update.failed | tf.logical_not(all_finite(f, 2) & all_finite(g, 2) & all_finite(b, 1))
    f, g, b = (finite(x) for x in (f, g, b))
    mean = tf.linalg.matvec(f, update.filtered_mean) + b
    half = broadcast_matmul(update.filtered_covariance, f, transpose_b=True)
    covariance = broadcast_matmul(f, half)
    return mean, symmetric(covariance) + tf.matmul(g, g, transpose_b=True), bad


def likelihood_terms(y, parameters, update):
    """What the backward recursions take from an observation.

    Returns:
      I - K H, ``[..., n, n]``; the score H' S^-1 v, ``[..., n]``; the information H' S^-1 H,
      ``[..., n, n]``.
    """
    h = finite(parameters["observation_matrix"])
    h = tf.where(is_observed(y)[..., tf.newaxis], h, 0)
    keep = tf.eye(tf.shape(h)[-1], dtype=h.dtype) - broadcast_matmul(update.gain, h)
    score = tf.linalg.matvec(h, update.weight, transpose_a=True)
    whitened = update.whitened_observation
    return keep, score, tf.matmul(whitened, whitened, transpose_a=True)


def by_name(parameters):
    """A model's parameters, in the order of ``PARAMETERS``, by their names."""
    return {spec.name: x for spec, x in zip(PARAMETERS, parameters, strict=True)}


def batch_shape(y, parameters, specs=PARAMETERS):
    """The batch shape of data and parameters: as far as known, and as a tensor."""
    static, dynamic = y.shape[:-2], tf.shape(y)[:-2]
    for spec, parameter in zip(specs, parameters, strict=True):
        axes = max(parameter.shape.rank - len(spec.core) - spec.per_step, 0)
        static = tf.broadcast_static_shape(static, parameter.shape[:axes])
        dynamic = tf.broadcast_dynamic_shape(dynamic, tf.shape(parameter)[:axes])
    return static, dynamic


def first_failure(failed):
    """1 + the first step at which a series failed, bool ``[..., T]``; 0 where none did."""
    num_steps = tf.shape(failed)[-1]
    never = tf.ones(tf.concat([tf.shape(failed)[:-1], [1]], 0), tf.bool)
    first = tf.argmax(tf.cast(tf.concat([failed, never], -1), tf.int32), -1, output_type=tf.int32)
    return tf.where(first < num_steps, first + 1, 0)


def is_observed(y):
    """bool ``[..., m]``: the components that are not missing."""
    return tf.logical_not(tf.math.is_nan(y))


def finite(x):
    """x with zeros for what is not finite, so that no NaN enters a gradient."""
    return tf.where(tf.math.is_finite(x), x, tf.zeros_like(x))


def all_finite(x, axes):
    """Whether x is finite throughout its last ``axes`` axes."""
    return tf.reduce_all(tf.math.is_finite(x), axis=list(range(-axes, 0)))


def symmetric(x):
    """The symmetric part of X."""
    return 0.5 * (x + matrix_transpose(x))


def quadratic(a, x):
    """A' X A."""
    return broadcast_matmul(a, broadcast_matmul(x, a), transpose_a=True)


def zeros_of_step(x: tf.Tensor) -> tf.Tensor:
    """Zeros of the shape of one step of ``x [T, ...]``, also where there is none."""
    return tf.zeros_like(tf.reduce_sum(x, axis=0))
