"""Stationary processes: their transitions, and their own distribution before any data."""

import numpy as np
import tensorflow as tf

from statespace.linalg_ops.lq import lq
from statespace.linalg_ops.products import gemm
from statespace.models.block import joined

_DOUBLINGS = 32  # for roots up to 1 - 1e-8, nearer to one than coefficients are let come


def stationary_scale(transition, scale, doublings=_DOUBLINGS) -> tf.Tensor:
    """A lower-triangular S with S S' = F S S' F' + G G'.

    S S' is the sum of F^j G G' F'^j over all j. Its square root over the first 2^k terms is that
    over the first 2^(k-1), beside F^(2^(k-1)) times the same; each doubling is brought back to n
    columns by an LQ factorisation. The covariance itself is never formed, so a singular one is as
    good as any.

    Args:
      transition: F, ``[..., n, n]``, all eigenvalues inside the unit circle.
      scale: G, ``[..., n, k]``.
      doublings: how often the number of terms is doubled; for F with F^n = 0 a logarithm of n does.

    Returns:
      S ``[..., n, n]``; not finite where F is not stable.
    """
    total = lq(scale, mode="l")
    power = transition
    for _ in range(doublings):
        total = lq(joined([total, gemm(power, total)], axis=-1), mode="l")
        power = gemm(power, power)
    return total


def block_companion(coefficients) -> tf.Tensor:
    """The transition of x_t and what the past has for x_{t+1}, ..., x_{t+p-1}, ``[..., pm, pm]``.

    Args:
      coefficients: ``[..., p, m, m]``, one below the other in the first m columns.
    """
    order, m = coefficients.shape[-3], coefficients.shape[-1]
    rows = tf.concat([tf.shape(coefficients)[:-3], [order * m, m]], axis=0)
    return tf.reshape(coefficients, rows) @ np.eye(m, order * m) + np.eye(order * m, k=m)
