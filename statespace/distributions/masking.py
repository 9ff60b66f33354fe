"""TensorFlow Probability's masks, where True means *missing*, and what they mean beyond it."""

import tensorflow as tf

from statespace.distributions.arguments import OWNER
from statespace.linalg_ops.arguments import require


def to_mask(mask) -> tf.Tensor | None:
    """The mask as a tensor.

    Raises:
      ValueError: it is not bool.
    """
    if mask is None:
        return None
    mask = tf.convert_to_tensor(mask, name="mask")
    if mask.dtype != tf.bool:
        raise ValueError(f"{OWNER}: mask is {mask.dtype.name}; it must be bool, True = missing.")
    return mask


def missing_components(
    mask: tf.Tensor | None, x: tf.Tensor, batch_shape: tf.TensorShape
) -> tf.Tensor | None:
    """The mask ``[..., T]`` or ``[..., T, m]`` of x ``[..., T, m]``, with an axis for components.

    Returns:
      bool ``[..., T, 1]`` or ``[..., T, m]``, or None.

    Raises:
      ValueError: the mask fits neither way, or both ways and has as many axes as x; or its other
        axes do not broadcast against those of x and the batch shape of the model.
    """
    if mask is None:
        return None
    missing = _by_component(mask, x)
    batch = tf.broadcast_static_shape(x.shape[:-2], batch_shape)
    try:
        tf.broadcast_static_shape(missing.shape[:-2], batch)
    except ValueError:
        raise ValueError(
            f"{OWNER}: mask has shape {mask.shape}, whose axes before that of time do not "
            f"broadcast against those of x and the model, {batch}."
        ) from None
    return missing


def hide(x: tf.Tensor, missing: tf.Tensor | None) -> tf.Tensor:
    """x ``[..., T, m]`` with NaN at what is missing, with the batch axes of both."""
    return x if missing is None else tf.where(missing, tf.constant(float("nan"), x.dtype), x)


def agreeing(pattern: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    """``pattern``, which must lack what y, with its axes and more in front, lacks.

    Raises:
      tf.errors.InvalidArgumentError: y lacks something else too. Inside XLA, which cannot raise,
        the pattern is infinite then, so that whatever is computed from it fails.
    """
    same = tf.reduce_all(tf.math.is_nan(y) == tf.math.is_nan(pattern))
    return require(
        same,
        f"{OWNER}: x has NaN that the mask does not hide, and axes in front of the batch shape. "
        f"Covariances are computed once for all of them, so say what is missing by the mask: "
        f"mask=tf.math.is_nan(x).",
        tf.where(same, pattern, tf.constant(float("inf"), pattern.dtype)),
    )


def _by_component(mask, x):
    if None in (mask.shape.rank, x.shape.rank):
        raise ValueError(f"{OWNER}: with a mask, x and mask must have a known number of axes.")
    num_steps, m = x.shape[-2:]
    by_step = mask.shape.rank >= 1 and _same(mask.shape[-1], num_steps)
    by_component = mask.shape.rank >= 2 and (
        _same(mask.shape[-2], num_steps) and _same(mask.shape[-1], m)
    )
    if not by_step and not by_component:
        raise ValueError(
            f"{OWNER}: mask has shape {mask.shape}; to fit x, which has shape {x.shape}, it must "
            f"end in [{num_steps}], or in [{num_steps}, {m}] to mask single components."
        )
    if by_step and by_component and mask.shape.rank >= x.shape.rank:
        if not (mask.shape.is_fully_defined() and x.shape.is_fully_defined()):
            return mask
        raise ValueError(
            f"{OWNER}: mask has shape {mask.shape}, which fits x {x.shape} both as [..., T] and "
            f"as [..., T, m]. Write NaN into x where single components are missing, or give x "
            f"the batch axes of a mask of whole steps."
        )
    return mask[..., tf.newaxis] if by_step else mask


def _same(size, other):
    return None in (size, other) or size == other
