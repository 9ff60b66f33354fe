"""Gaussian process regression as pure functions of tensors: likelihood, predictions, leave-one-out.

    y = f(x) + e,    f ~ GP(m, k),    e_i ~ N(0, s_i^2)

Given the covariance matrix K of the observations, all of it follows from its Cholesky factor L and
the whitened residuals ``L^-1 (y - m)``. Beside a few matrices ``[n, n]`` there is nothing to store:
the adjoint of the factorisation works in the place of its result.
"""

import math
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from statespace.linalg_ops import (
    cholesky,
    cholesky_inverse,
    gemm,
    psd_cholesky,
    sum_log_diag,
    syrk,
    triangular_multiply,
    triangular_solve,
)
from statespace.linalg_ops.cholesky import NOT_POSITIVE_DEFINITE
from statespace.linalg_ops.failure import raise_where_failed, spoil

_OP = "GaussianProcess: the covariance matrix of the observations"


class Conditioned(NamedTuple):
    """What the observations leave behind."""

    factor: tf.Tensor  # L, the lower Cholesky factor of their covariance, [..., n, n]
    whitened: tf.Tensor  # z = L^-1 (y - m), [..., n]
    log_marginal_likelihood: tf.Tensor  # [...]


class LeaveOneOut(NamedTuple):
    """What all other observations say of each one."""

    mean: tf.Tensor  # [..., n]
    variance: tf.Tensor  # of the observation, its noise included, [..., n]
    log_density: tf.Tensor  # of what was observed, [..., n]


def covariance(kernel, x1, x2):
    """The covariances of f at two sets of inputs, ``[..., n1, n2]``.

    Distances on a line are differences of inputs. In more dimensions they come from a product of
    matrices, which needs no memory for n1 n2 differences of d features, but loses digits where
    inputs lie far from the origin beside their distances.

    Args:
      kernel: a kernel of ``tfp.math.psd_kernels`` with one axis of features.
      x1: ``[..., n1, d]``.
      x2: ``[..., n2, d]``, same dtype; the kernel's batch shape and those of the inputs broadcast.
    """
    if x1.shape[-1] == 1:
        return kernel.apply(x1[..., :, tf.newaxis, :], x2[..., tf.newaxis, :, :], example_ndims=2)
    return kernel.matrix(x1, x2)


def observed_covariance(kernel, x, noise_variance):
    """The covariance matrix of observations at x, ``[..., n, n]``.

    Args:
      kernel: as for ``covariance``.
      x: ``[..., n, d]``.
      noise_variance: s^2, broadcasts against ``[..., n]``.
    """
    # The diagonal is the kernel's own, without what rounding makes of a distance of zero.
    diagonal = kernel.apply(x, x, example_ndims=1) + noise_variance
    matrix = covariance(kernel, x, x)
    diagonal = tf.broadcast_to(diagonal, tf.shape(matrix)[:-1])
    return tf.linalg.set_diag(matrix, diagonal)


def condition(matrix, residual, *, on_failure="raise") -> Conditioned:
    """Factorises the covariance of the observations.

        log p(y) = -1/2 z' z - sum_i log L_ii - n/2 log 2 pi

    Differentiable twice in both arguments.

    Args:
      matrix: K, ``[..., n, n]``; only the lower triangle is read.
      residual: y - m, ``[..., n]``; batch axes broadcast.
      on_failure: "raise", or "nan": an item whose matrix is not positive definite becomes NaN.

    Raises:
      ValueError: a matrix is not positive definite; names the batch item, the observation and a
        noise variance that suffices. In a graph, ``tf.errors.InvalidArgumentError``.

    References:
      Rasmussen & Williams, Gaussian Processes for Machine Learning, 2006, algorithm 2.1.
      Seeger et al., Auto-Differentiating Linear Algebra, arXiv:1710.08717, section 1.

    Example:

      >>> import tensorflow as tf
      >>> from statespace.models import gaussian_process_inference as inference
      >>> matrix = tf.constant([[2.0, 1.0], [1.0, 2.0]], tf.float64)
      >>> given = inference.condition(matrix, tf.constant([1.0, -1.0], tf.float64))
      >>> print(f"{given.log_marginal_likelihood:.6f}")  # N(y; 0, K)
      -3.387183
    """
    factor, info = _factorise(matrix)
    if on_failure == "raise":
        if tf.executing_eagerly():
            _refuse_indefinite(matrix, info.numpy())
        factor = raise_where_failed(_OP, info, NOT_POSITIVE_DEFINITE, factor)
    factor = spoil(factor, info > 0)
    whitened = triangular_solve(factor, residual[..., tf.newaxis])[..., 0]
    count = tf.cast(tf.shape(residual)[-1], residual.dtype)
    squared = tf.reduce_sum(whitened**2, axis=-1)
    log_likelihood = -0.5 * (squared + math.log(2 * math.pi) * count) - sum_log_diag(factor)
    return Conditioned(factor, whitened, log_likelihood)


def predict(given: Conditioned, cross, variance):
    """Mean (less the prior mean) and variance of f at new inputs.

    Args:
      given: what ``condition`` returned.
      cross: covariances of the observations with f at the new inputs, ``[..., n, M]``.
      variance: of f there beforehand, ``[..., M]``.

    Returns:
      Mean and variance, ``[..., M]`` each. A variance is a difference; one that rounding has
      brought to zero or below is the smallest number, whose root has a gradient.
    """
    solved = triangular_solve(given.factor, cross)
    explained = tf.reduce_sum(solved**2, axis=-2)
    tiny = np.finfo(explained.dtype.as_numpy_dtype).tiny
    return _mean(given, solved), tf.maximum(variance - explained, tiny)


def predict_jointly(given: Conditioned, cross, matrix):
    """Mean (less the prior mean) of f at new inputs, and a square root of its covariance.

    Args:
      given, cross: as for ``predict``.
      matrix: covariances of f there beforehand, ``[..., M, M]``.

    Returns:
      Mean ``[..., M]`` and a lower triangle R ``[..., M, M]`` with the covariance R R', in which
      a zero column stands for a value that those before it determine.

    Raises:
      ValueError, tf.errors.InvalidArgumentError: the covariance is not positive semidefinite.
    """
    solved = triangular_solve(given.factor, cross)
    left = matrix - syrk(solved, transpose=True)
    # What is left of it may be rounding: as much of the prior variance as rounding takes.
    rounding = 4 * np.finfo(left.dtype.as_numpy_dtype).eps * tf.linalg.diag_part(matrix)
    diagonal = tf.linalg.diag_part(left) + tf.cast(tf.shape(cross)[-2] + 1, left.dtype) * rounding
    return _mean(given, solved), psd_cholesky(
        tf.linalg.set_diag(left, diagonal), on_failure="raise"
    )


def leave_one_out(given: Conditioned) -> LeaveOneOut:
    """The prediction of each observation from all others, in closed form; means less the prior's.

    With a = K^-1 (y - m) and p_i = (K^-1)_ii the mean is y_i - a_i / p_i and the variance 1 / p_i.

    References:
      Rasmussen & Williams, Gaussian Processes for Machine Learning, 2006, section 5.4.2.
    """
    solved = triangular_solve(given.factor, given.whitened[..., tf.newaxis], adjoint=True)[..., 0]
    precision = tf.linalg.diag_part(cholesky_inverse(given.factor))
    residual = triangular_multiply(given.factor, given.whitened[..., tf.newaxis])[..., 0]
    error, variance = solved / precision, 1 / precision
    return LeaveOneOut(residual - error, variance, normal_log_density(error, variance))


def normal_log_density(error, variance):
    """The logarithm of the normal density at such a distance from the mean."""
    return -0.5 * (error**2 / variance + tf.math.log(2 * math.pi * variance))


def _factorise(matrix):
    """L, and 0 or the leading minor that is not positive by more than rounding.

    A pivot of n eps K_ii is what the rounding of n terms leaves of zero; all that follows from it
    would be noise.
    """
    factor, info = cholesky(matrix, return_info=True)
    pivots = tf.linalg.diag_part(factor) ** 2
    n = tf.shape(matrix)[-1]
    rounding = np.finfo(matrix.dtype.as_numpy_dtype).eps * tf.cast(n, matrix.dtype)
    lost = tf.cast(pivots <= rounding * tf.linalg.diag_part(matrix), tf.int32)
    first = 1 + tf.reduce_sum(tf.math.cumprod(1 - lost, axis=-1), axis=-1)
    return factor, tf.where((info == 0) & (first <= n), first, info)


def _mean(given, solved):
    return gemm(solved, given.whitened[..., tf.newaxis], transpose_a=True)[..., 0]


def _refuse_indefinite(matrix, info):
    """Says which matrix has no Cholesky factor, where it failed, and what would help."""
    if not info.any():
        return
    index = np.argwhere(info > 0)[0].tolist()
    item = matrix[tuple(index)]
    place = f"batch item {index}" if index else "at these parameters"
    if not np.isfinite(item).all():
        raise ValueError(
            f"{_OP}, {place}, is not finite: a parameter of the kernel is out of its range, or an "
            "input overflows."
        )
    advice = _sufficient_noise(item)
    raise ValueError(
        f"{_OP}, {place}, is not positive definite: observation {info[tuple(index)] - 1} follows "
        "from those before it, as rounding allows to tell. Inputs that are repeated, or very close "
        "beside the length scale, do that. "
        + (
            f"A noise_variance larger by {advice:.0e} is enough here."
            if advice
            else "More noise does not help; the kernel is not positive semidefinite."
        )
    )


def _sufficient_noise(matrix):
    """The least power of ten that makes the matrix positive definite, or None."""
    size = float(np.max(np.abs(np.diagonal(matrix))))
    least = math.floor(math.log10(np.finfo(matrix.dtype.as_numpy_dtype).eps * size or 1e-300))
    for exponent in range(least, math.ceil(math.log10(size or 1.0)) + 1):
        noisy = tf.linalg.set_diag(matrix, tf.linalg.diag_part(matrix) + 10.0**exponent)
        if _factorise(noisy)[1] == 0:
            return 10.0**exponent
    return None
