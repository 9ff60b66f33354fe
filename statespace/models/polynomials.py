"""Polynomials of the lag operator B, which goes back one step."""

import numpy as np
import tensorflow as tf


def multiplied(coefficients, seasonal, period) -> tf.Tensor:
    """The coefficients of (1 + a_1 B + ... + a_p B^p) (1 + b_1 B^s + ... + b_P B^(P s)).

    Args:
      coefficients: a_1, ..., a_p, float64 ``[..., p]``.
      seasonal: b_1, ..., b_P, float64 ``[..., P]``.
      period: s.

    Returns:
      The coefficients of 1, B, B^2, ..., ``[..., 1 + p + P s]``.

    Example:
      >>> multiplied(np.array([0.5]), np.array([0.25]), period=3).numpy().tolist()
      [1.0, 0.5, 0.0, 0.25, 0.125]
    """
    a, b = (padded(x, 1, 0, value=1.0) for x in (coefficients, seasonal))
    powers = np.arange(a.shape[-1]) + period * np.arange(b.shape[-1])[:, np.newaxis]
    place = np.eye(powers.max() + 1)[powers]  # [1 + P, 1 + p, 1 + p + P s]
    return tf.einsum("...i,...j,ijk->...k", b, a, place)


def padded(x, before, after, value=0.0) -> tf.Tensor:
    """``[..., k]`` with that many elements more on the last axis."""
    return tf.pad(x, [[0, 0]] * (len(x.shape) - 1) + [[before, after]], constant_values=value)
