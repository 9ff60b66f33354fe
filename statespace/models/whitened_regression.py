"""A linear regression in units in which noise and prior are standard normal."""

import math
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from statespace.linalg_ops import gemm
from statespace.linalg_ops.arguments import broadcast_batches, to_matrices, to_tensor, with_rank
from statespace.models.arguments import check_broadcast, check_dtype, refuse_where

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
    _check_core("noise_scale", noise_scale, x.shape[-2:-1], "N")
    _check_core("prior_scale", prior_scale, x.shape[-1:], "D")
    _check_core("prior_mean", prior_mean, x.shape[-1:], "D")
    wide = _fewer_rows(x) and not _known_infinite(prior_scale)
    row, column = tf.zeros_like(y), tf.zeros(tf.shape(x)[-1:], x.dtype)
    prior_scale, prior_mean = prior_scale + column, prior_mean + column
    flat = tf.math.is_inf(prior_scale)
    flat_count = tf.reduce_sum(tf.cast(flat, x.dtype), axis=-1)
    scale = tf.where(flat, tf.ones_like(prior_scale), prior_scale)

    root, log_root, count = 1 / noise_scale + row, row - tf.math.log(noise_scale), row + 1
    if weights is not None:
        weights = _like("weights", weights, x.dtype)
        _check_core("weights", weights, x.shape[-2:-1], "N")
        advice = "it must not be negative"
        refuse_where(OP, "weights", weights, lambda value: ~(value >= 0), advice)
        # In a graph, which cannot raise, what is no weight makes its data set NaN.
        weights = tf.where(weights >= 0, weights, tf.constant(math.nan, x.dtype))
        used = tf.broadcast_to(~tf.equal(weights, 0), tf.shape(weights + root))
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
    value = to_tensor(OP, name, value)
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
    try:
        tf.broadcast_static_shape(x.shape[:-2], y.shape[:-1])
    except ValueError as error:
        raise ValueError(
            f"{OP}: x has shape {x.shape} and y {y.shape}; their batch axes do not broadcast."
        ) from error


def _check_core(name, value, axis, size):
    """The last axis of the value, where it has one, must be that of x or 1."""
    if axis.rank is not None and value.shape.rank:
        check_broadcast(OP, name, value[..., :], axis, f"[..., {size}] with {size} = {axis[0]}")


def _fewer_rows(x):
    if x.shape.rank is None or None in x.shape[-2:].as_list():
        return False
    return x.shape[-2] < x.shape[-1]


def _known_infinite(prior_scale):
    value = tf.get_static_value(prior_scale)
    return value is not None and bool(np.isinf(value).any())
