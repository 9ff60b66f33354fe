"""A linear regression in units in which noise and prior are standard normal."""

import math
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from statespace.linalg_ops import gemm
from statespace.linalg_ops.arguments import broadcast_batches, to_matrices, with_rank
from statespace.models.arguments import check_dtype

OP = "linear_gaussian_regression"


class Whitened(NamedTuple):
    """The problem with standard noise and a standard prior."""

    a: tf.Tensor  # [..., N, D]
    y: tf.Tensor  # [..., N]
    identity: tf.Tensor  # diagonal of ones; 0 where the prior is flat, [..., D]
    scale: tf.Tensor  # [..., D]
    prior_mean: tf.Tensor  # [..., D]
    constant: tf.Tensor  # of the log evidence, [...]
    wide: bool

    def array(self):
        """``[A' diag(identity)]``, or ``[A I]``, to be factorised."""
        if self.wide:
            ones = tf.linalg.diag(tf.ones_like(self.y))
            return tf.concat(broadcast_batches([self.a, ones], [2, 2]), axis=-1)
        a = tf.linalg.matrix_transpose(self.a)
        return tf.concat(broadcast_batches([a, tf.linalg.diag(self.identity)], [2, 2]), axis=-1)


def whitened(x, y, noise_scale, prior_scale, prior_mean, weights) -> Whitened:
    """The problem of given arguments, those of ``linear_gaussian_regression.posterior``."""
    (x,) = to_matrices(OP, x=x)
    y, noise_scale, prior_scale, prior_mean = (
        _like(name, value, x.dtype)
        for name, value in (
            ("y", y),
            ("noise_scale", noise_scale),
            ("prior_scale", prior_scale),
            ("prior_mean", prior_mean),
        )
    )
    y = with_rank(OP, "y", y, 1, "[..., N]")
    _check_observations(x, y)
    wide = _fewer_rows(x) and not _known_infinite(prior_scale)
    row, column = tf.zeros_like(y), tf.zeros(tf.shape(x)[-1:], x.dtype)
    prior_scale, prior_mean = prior_scale + column, prior_mean + column
    flat = tf.math.is_inf(prior_scale)
    flat_count = tf.reduce_sum(tf.cast(flat, x.dtype), axis=-1)
    scale = tf.where(flat, tf.ones_like(prior_scale), prior_scale)

    root, log_root, count = 1 / noise_scale + row, row - tf.math.log(noise_scale), row + 1
    if weights is not None:
        weights = _like("weights", weights, x.dtype)
        used = tf.broadcast_to(weights > 0, tf.shape(weights + root))
        safe = tf.where(used, weights, tf.ones_like(root))
        root = tf.where(used, root * tf.sqrt(safe), tf.zeros_like(root))
        log_root = tf.where(used, log_root + 0.5 * tf.math.log(safe), tf.zeros_like(root))
        count = tf.cast(used, x.dtype)
    missed = y - gemm(x, prior_mean[..., tf.newaxis])[..., 0]
    count = tf.reduce_sum(count, axis=-1) - flat_count
    a = x * (root[..., tf.newaxis] * scale[..., tf.newaxis, :])
    a, missed = broadcast_batches([a, (missed * root)[..., tf.newaxis, :]], [2, 2])
    return Whitened(
        a=a,
        y=missed[..., 0, :],
        identity=1 - tf.cast(flat, x.dtype),
        scale=scale,
        prior_mean=prior_mean,
        constant=tf.reduce_sum(log_root, axis=-1) - 0.5 * math.log(2 * math.pi) * count,
        wide=wide,
    )


def _like(name, value, dtype):
    if isinstance(value, (int, float)):
        return tf.constant(value, dtype)
    value = tf.convert_to_tensor(value, name=name)
    check_dtype(OP, name, value, dtype)
    return value


def _check_observations(x, y):
    if x.shape.rank is None or y.shape.rank is None:
        return
    rows = x.shape[-2], y.shape[-1]
    if None not in rows and rows[0] != rows[1]:
        raise ValueError(
            f"{OP}: y has shape {y.shape}; it must be [..., N] with N = {rows[0]}, as x {x.shape} "
            "says."
        )


def _fewer_rows(x):
    if x.shape.rank is None or None in x.shape[-2:].as_list():
        return False
    return x.shape[-2] < x.shape[-1]


def _known_infinite(prior_scale):
    value = tf.get_static_value(prior_scale)
    return value is not None and bool(np.isinf(value).any())
