"""The evidence lower bound of a linear Gaussian prior with a network for a likelihood."""

from typing import NamedTuple

import tensorflow as tf

from statespace.kalman.normal import standard_normal
from statespace.linalg_ops import psd_cholesky
from statespace.scores import log_score_normal


class Potentials(NamedTuple):
    """What an encoder says of the signal s_t at each step: N(mean; s_t, diag(scale)^2), float64."""

    mean: tf.Tensor  # [B, T, m], the pseudo-observations; NaN where there is no frame
    scale: tf.Tensor  # [B, T, m]

    @property
    def seen(self) -> tf.Tensor:
        """bool ``[B, T]``: where there is a frame."""
        return tf.logical_not(tf.math.is_nan(self.mean[..., 0]))


def divergence(potentials: Potentials, signal_mean, signal_covariance, log_likelihood) -> tf.Tensor:
    """Kullback-Leibler divergence ``[B]`` of the posterior under such potentials from the prior.

        q(x) = p(x) prod_t psi_t(s_t) / Z,    psi_t(s) = N(w_t; s, R_t)
        KL(q || p) = sum_t E_q log psi_t(s_t) - log Z

    The potentials are those of a linear Gaussian model with observations w_t, so that q is what its
    smoother gives and log Z its log-likelihood:

        E_q log psi_t(s_t) = log N(w_t; E_q s_t, R_t) - tr(R_t^-1 Var_q s_t) / 2

    Args:
      potentials: w_t and the roots of R_t.
      signal_mean, signal_covariance: moments of s_t under q, ``[B, T, m]`` and ``[B, T, m, m]``.
      log_likelihood: log Z, ``[B]``.

    References:
      Johnson, M. J., Duvenaud, D. K., Wiltschko, A., Adams, R. P. and Datta, S. R. (2016).
      Composing graphical models with neural networks for structured representations and fast
      inference. Advances in Neural Information Processing Systems 29.
    """
    w, scale = potentials.mean, potentials.scale
    at_mean = log_score_normal(tf.where(tf.math.is_nan(w), signal_mean, w), signal_mean, scale)
    expected = -at_mean - 0.5 * tf.linalg.diag_part(signal_covariance) / scale**2
    expected = tf.where(tf.math.is_nan(w), tf.zeros_like(expected), expected)
    return tf.reduce_sum(expected, axis=[1, 2]) - log_likelihood


def draw(mean, covariance, seed) -> tf.Tensor:
    """Signals ``[B, T, m]``, each from its own marginal distribution.

    Args:
      mean, covariance: ``[B, T, m]`` and ``[B, T, m, m]``.
      seed: integer tensor ``[2]``.
    """
    variates = standard_normal(tf.shape(mean), seed, mean.dtype)
    return mean + tf.linalg.matvec(psd_cholesky(covariance), variates)
