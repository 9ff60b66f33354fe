"""The paper's two models on ``statespace.linalg_ops``; line by line those of ``mxnet_.py``."""

import math

import tensorflow as tf

from statespace.linalg_ops import (
    cholesky,
    extract_diag,
    lq,
    make_diag,
    sum_log_diag,
    syrk,
    triangular_solve,
)

HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)


def log_evidence(x, y, log_noise_scale, log_prior_scale):
    """log p(y) of Bayesian linear regression: ``y = x w + noise`` with w integrated out.

    With S the noise's scale and P the diagonal of the prior's, ``[x'/S P^-1; y'/S 0] = L Q`` has
    the root of the precision ``x'x/S^2 + P^-2`` of w in its leading rows, and in its last corner
    the distance of y from its mean, ``y' (S^2 I + x P^2 x')^-1 y``, as a square.

    Args:
      x: features, ``[..., n, d]``.
      y: observations, ``[..., n]``.
      log_noise_scale: ``[...]``.
      log_prior_scale: of each weight in w, ``[..., d]``.

    Returns:
      ``[...]``.
    """
    count = tf.cast(tf.shape(y)[-1], y.dtype)
    rows = tf.linalg.matrix_transpose(tf.concat([x, y[..., tf.newaxis]], axis=-1))
    data = rows * tf.exp(-log_noise_scale)[..., tf.newaxis, tf.newaxis]
    roots = tf.concat([tf.exp(-log_prior_scale), tf.zeros_like(y[..., :1])], axis=-1)
    l = lq(tf.concat([data, make_diag(roots)], axis=-1), mode="l")
    log_determinant = sum_log_diag(l[..., :-1, :-1]) + tf.reduce_sum(log_prior_scale, axis=-1)
    constant = count * (log_noise_scale + HALF_LOG_2PI)
    return -constant - log_determinant - 0.5 * l[..., -1, -1] ** 2


def log_marginal_likelihood(x, y, log_length_scale, log_amplitude, log_noise_scale):
    """log p(y) of a Gaussian process with a squared-exponential kernel, observed with noise.

    Args:
      x: inputs, ``[..., n, d]``.
      y: observations, ``[..., n]``.
      log_length_scale, log_amplitude, log_noise_scale: ``[...]``.

    Returns:
      ``[...]``.
    """
    count = tf.cast(tf.shape(y)[-1], y.dtype)
    products = syrk(x * tf.exp(-log_length_scale)[..., tf.newaxis, tf.newaxis])
    half = log_amplitude[..., tf.newaxis] - 0.5 * extract_diag(products)
    exponent = products + half[..., :, tf.newaxis] + half[..., tf.newaxis, :]
    noise = tf.zeros_like(y) + tf.exp(2 * log_noise_scale)[..., tf.newaxis]
    l = cholesky(tf.exp(exponent) + make_diag(noise))
    z = triangular_solve(l, y[..., tf.newaxis])
    distance = tf.reduce_sum(z**2, axis=[-2, -1])
    return -count * HALF_LOG_2PI - sum_log_diag(l) - 0.5 * distance
