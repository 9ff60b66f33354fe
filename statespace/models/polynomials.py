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


def at_lags(coefficients, lags) -> tf.Tensor:
    """The coefficients of B, B^2, ... from those at k lags, ``[..., k]`` to ``[..., max lag]``.

    Example:
      >>> at_lags(np.array([0.5, 0.25]), (1, 4)).numpy().tolist()
      [0.5, 0.0, 0.0, 0.25]
    """
    place = np.eye(max(lags))[np.array(lags) - 1]
    return tf.tensordot(tf.convert_to_tensor(coefficients, tf.float64), place, axes=1)


def padded(x, before, after, value=0.0) -> tf.Tensor:
    """``[..., k]`` with that many elements more on the last axis."""
    return tf.pad(x, [[0, 0]] * (len(x.shape) - 1) + [[before, after]], constant_values=value)


def partial_autocorrelations(coefficients) -> tf.Tensor:
    """Those of the autoregression with coefficients phi_1, ..., phi_p, ``[..., p]``.

    The Levinson-Durbin recursion backwards; one of them is no less than one in size where the
    process is not stationary.

    Example:
      >>> partial_autocorrelations(tf.constant([0.375, 0.25], tf.float64)).numpy().tolist()
      [0.5, 0.25]
    """
    rest, partials = coefficients, []
    while rest.shape[-1]:
        rest, last = rest[..., :-1], rest[..., -1:]
        partials.append(last)
        rest = (rest + last * tf.reverse(rest, axis=[-1])) / (1 - tf.square(last))
    return tf.concat(partials[::-1], axis=-1)
