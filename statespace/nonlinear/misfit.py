"""Distances in units of noise, and lengths of steps that are to lower them."""

import numpy as np
import tensorflow as tf

from statespace.linalg_ops.failure import append_axes
from statespace.linalg_ops.lq import dependent_rows, lq
from statespace.linalg_ops.triangular import triangular_solve


def halvings(x, *more):
    """Lengths 1, 1/2, 1/4, ... of a step from x ``[..., n]``, and ``more``; ``[L, 1, ...]``."""
    lengths = tf.constant([*(2.0**-k for k in range(10)), *more], x.dtype)
    return tf.reshape(lengths, [-1] + [1] * (x.shape.rank - 1))


def up_to_rounding(distance):
    """A little more: at the minimum, what is left of a step is rounding."""
    return distance * (1.0 + 1e3 * np.finfo(distance.dtype.as_numpy_dtype).eps)


class Misfit:
    """x ``[..., m]`` -> |C^-1 x|^2 over some of its components.

    Where C C' is ``singular``, bool ``[...]``, there is no such number, and C counts as I.

    Args:
      noise: C, ``[..., m, r]``.
      counts: bool ``[..., m]``, which components do.
    """

    def __init__(self, noise, counts):
        self._counts = counts
        own = tf.linalg.diag(tf.cast(~counts, noise.dtype))
        rows = tf.where(counts[..., tf.newaxis], noise, 0)
        factor = lq(tf.concat([own, rows], axis=-1), mode="l")
        m = factor.shape[-1]
        self.singular = tf.reduce_any(dependent_rows(factor, m + noise.shape[-1]), axis=-1)
        singular = append_axes(self.singular, factor)
        self._factor = tf.where(singular, tf.eye(m, dtype=noise.dtype), factor)

    def __call__(self, x):
        """``[...]``, of residuals ``[..., m]`` or of more with further axes in front."""
        x = tf.where(self._counts, x, 0)[..., tf.newaxis]
        return tf.reduce_sum(tf.square(triangular_solve(self._factor, x)), axis=[-2, -1])
