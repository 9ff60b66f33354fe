"""The failure rule: a failing batch item becomes NaN in all its outputs, and nothing else does."""

import numpy as np
import tensorflow as tf

from statespace import native

ON_FAILURE = ("nan", "raise")


def append_axes(x: tf.Tensor, like: tf.Tensor) -> tf.Tensor:
    """Gives ``x`` ([...]) trailing axes of length 1 until it has the rank of ``like``."""
    # int64, because an empty batch may have axes beyond 2^31.
    shape = tf.shape(x, tf.int64)
    if x.shape.rank is not None and like.shape.rank is not None:
        ones = [1] * (like.shape.rank - x.shape.rank)
        return tf.reshape(x, tf.concat([shape, tf.constant(ones, tf.int64)], 0))
    ones = tf.ones([tf.rank(like) - tf.rank(x)], tf.int64)
    return tf.reshape(x, tf.concat([shape, ones], 0))


def all_zero(x: tf.Tensor) -> tf.Tensor:
    """bool ``[..., 1, 1]``: the matrices that are zero throughout, such as unused cotangents."""
    return tf.reduce_all(tf.equal(x, 0), axis=[-2, -1], keepdims=True)


def not_finite(x: tf.Tensor) -> tf.Tensor:
    """bool ``[...]``: the matrices with a NaN or an infinity."""
    return tf.logical_not(tf.reduce_all(tf.math.is_finite(x), axis=[-2, -1]))


def spoil(x: tf.Tensor, failed: tf.Tensor) -> tf.Tensor:
    """NaN in every entry of the failed items of ``x``.

    Args:
      x: ``[..., *core]``.
      failed: bool ``[...]``, one per batch item.

    Returns:
      ``x`` with failed items NaN. The gradient of a failed item is zero where its cotangent is
      zero and NaN elsewhere, so an unused failure poisons nothing.
    """
    failed = append_axes(failed, x)
    nan = tf.constant(float("nan"), x.dtype)

    @tf.custom_gradient
    def spoiled(x):
        def gradient(cotangent):
            poisoned = tf.logical_and(failed, tf.not_equal(cotangent, 0))
            return tf.where(poisoned, nan, cotangent)

        return tf.where(failed, nan, x), gradient

    return spoiled(x)


@tf.custom_gradient
def stand_in(x: tf.Tensor, failed: tf.Tensor, value: tf.Tensor):
    """``value`` in place of the failed items of ``x``, ``[..., rows, columns]``.

    What follows is to be given to ``spoil``. The gradient passes through, as if nothing had been
    replaced: NaN where the failed item is used, and zero where it is not.
    """
    return tf.where(failed[..., tf.newaxis, tf.newaxis], value, x), lambda x_bar: (
        x_bar,
        None,
        None,
    )


def spoil_used(x: tf.Tensor, failed: tf.Tensor, unused: tf.Tensor) -> tf.Tensor:
    """``spoil`` for a cotangent: failed items whose own cotangents are all zero stay as they are.

    Args:
      x: ``[..., rows, columns]``, computed from something harmless where an item failed, and so
        zero where that item is unused. It is not set to zero, which would be a wrong second
        derivative for the items that did not fail.
      failed: bool ``[...]``.
      unused: bool ``[..., 1, 1]``, from ``all_zero``.
    """
    return spoil(x, tf.logical_and(failed, tf.logical_not(unused[..., 0, 0])))


def raise_where_failed(op: str, info: tf.Tensor, reason: str, outputs):
    """Returns ``outputs`` if no item failed; in a graph, they raise when they are computed.

    Args:
      op: name of the operator, or of the argument it was applied to.
      info: int32 ``[...]``, 0 where the item is fine.
      reason: what a positive ``info`` counts, e.g. "is not positive definite; leading minor".
      outputs: structure of tensors and None.

    Raises:
      tf.errors.InvalidArgumentError: names op, batch index, reason and ``info`` of the first item
        that failed. Inside XLA, which cannot raise, nothing happens.
    """
    if tf.executing_eagerly():
        _raise_eagerly(op, info.numpy(), reason)
        return outputs
    if native.traced_for_xla():
        return outputs
    flat = tf.reshape(info, [-1])
    # An item that did not fail, for where there are none, comes last and is found last.
    first = tf.argmax(tf.cast(tf.concat([flat, [0]], 0) > 0, tf.int32), output_type=tf.int32)
    assertion = tf.debugging.Assert(
        tf.reduce_all(info <= 0),
        [f"{op}: batch index", _unravel(first, tf.shape(info)), reason, flat[first : first + 1]],
    )
    with tf.control_dependencies([assertion]):
        return tf.nest.map_structure(lambda x: None if x is None else tf.identity(x), outputs)


def _unravel(position, shape):
    """The index of a flat position, as tf.unravel_index, but for scalars and empty shapes too."""
    strides = tf.math.cumprod(shape, exclusive=True, reverse=True)
    return position // tf.maximum(strides, 1) % tf.maximum(shape, 1)


def _raise_eagerly(op, info, reason):
    for index in np.argwhere(info > 0)[:1]:
        message = f"{op}: batch index {index.tolist()} {reason} {info[tuple(index)]}."
        raise tf.errors.InvalidArgumentError(None, None, message)
