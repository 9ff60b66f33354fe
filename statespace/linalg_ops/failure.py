"""The failure rule: a failing batch item becomes NaN in all its outputs, and nothing else does."""

import tensorflow as tf

ON_FAILURE = ("nan", "raise")


def append_axes(x: tf.Tensor, like: tf.Tensor) -> tf.Tensor:
    """Gives ``x`` ([...]) trailing axes of length 1 until it has the rank of ``like``."""
    if x.shape.rank is not None and like.shape.rank is not None:
        return tf.reshape(x, tf.concat([tf.shape(x), [1] * (like.shape.rank - x.shape.rank)], 0))
    missing = tf.rank(like) - tf.rank(x)
    return tf.reshape(x, tf.concat([tf.shape(x), tf.ones([missing], tf.int32)], 0))


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


def raise_on_failure(op: str, info: tf.Tensor, reason: str) -> tf.Operation | None:
    """Raises where any entry of ``info`` is positive; in a graph, when the returned op runs.

    Args:
      op: name of the operator, or of the argument it was applied to.
      info: int32 ``[...]``, 0 where the item is fine.
      reason: what a positive ``info`` counts, e.g. "not positive definite: leading minor".

    Raises:
      tf.errors.InvalidArgumentError: names op, batch index and the value of ``info``.
    """
    first = tf.where(info > 0)[:1]
    return tf.debugging.Assert(
        tf.reduce_all(info <= 0),
        [f"{op}: batch index", first, reason, tf.gather_nd(info, first)],
    )
