"""What filter, smoother and forecast share: checking arguments, choosing the implementation."""

import tensorflow as tf

from statespace.linalg_ops.arguments import check_choice
from statespace.linalg_ops.failure import ON_FAILURE, raise_where_failed
from statespace.ssm import LinearGaussianSSM, check_broadcasting

ALGORITHMS = ("auto", "covariance", "reference")


def operands(op: str, ssm, y, mask, algorithm: str, on_failure: str) -> tuple[tf.Tensor, ...]:
    """Checks the arguments of an inference function and returns the operands of its op.

    Returns:
      y with NaN at every missing component, then the model's parameters.

    Raises:
      ValueError: an argument has the wrong type, shape or dtype.
    """
    check_choice(op, "algorithm", algorithm, ALGORITHMS)
    check_choice(op, "on_failure", on_failure, ON_FAILURE)
    if not isinstance(ssm, LinearGaussianSSM):
        raise ValueError(f"{op}: ssm is a {type(ssm).__name__}; it must be a LinearGaussianSSM.")
    y = masked_data(op, ssm, y, mask)
    check_broadcasting(ssm, y)
    return (y, *ssm.parameters())


def masked_data(op: str, ssm, y, mask) -> tf.Tensor:
    """y as a tensor of the model's dtype, NaN at every missing component."""
    y = _data(op, ssm, y)
    if mask is None:
        return y
    return tf.where(_component_mask(op, mask, y), y, tf.constant(float("nan"), y.dtype))


def apply_on_failure(op: str, on_failure: str, info: tf.Tensor, outputs):
    """Raises where a series failed and ``on_failure`` is "raise", else returns ``outputs``."""
    if on_failure == "nan":
        return outputs
    reason = (
        "failed (innovation covariance not positive definite, or a number not finite); step + 1 ="
    )
    return raise_where_failed(op, info, reason, outputs)


def _data(op, ssm, y):
    if not tf.is_tensor(y):
        try:
            y = tf.convert_to_tensor(y, None if hasattr(y, "dtype") else ssm.dtype, name="y")
        except (TypeError, ValueError) as error:
            raise ValueError(f"{op}: y is not an array of numbers: {error}") from None
    if y.dtype == ssm.dtype:
        return y
    if y.dtype.is_integer:
        y = tf.cast(y, ssm.dtype)
    else:
        raise ValueError(
            f"{op}: mixed dtypes: y is {y.dtype.name}, the model is {ssm.dtype.name}. "
            f"Cast one of them."
        )
    return y


def _component_mask(op, mask, y):
    """mask ``[..., T]`` or ``[..., T, m]`` as bool that broadcasts against y."""
    mask = tf.convert_to_tensor(mask, name="mask")
    if mask.dtype != tf.bool:
        raise ValueError(f"{op}: mask is {mask.dtype.name}; it must be bool, True = observed.")
    if y.shape.rank is None or mask.shape.rank is None:
        raise ValueError(f"{op}: with a mask, y and mask must have a known number of axes.")
    by_step, by_component = mask[..., tf.newaxis], mask
    fits = [
        candidate
        for candidate in (by_step, by_component)
        if mask.shape.rank > 0 and _broadcasts_to(candidate.shape, y.shape)
    ]
    if len(fits) == 2 and mask.shape.rank < y.shape.rank:
        if not (mask.shape.is_fully_defined() and y.shape.is_fully_defined()):
            return by_step
        raise ValueError(
            f"{op}: mask has shape {mask.shape}, which fits y {y.shape} both as [..., T] and as "
            f"[..., T, m]. Give it as many axes as y has."
        )
    if not fits:
        raise ValueError(
            f"{op}: mask has shape {mask.shape}; it must be [..., T] or [..., T, m] to fit y, "
            f"which has shape {y.shape}."
        )
    return fits[-1]


def _broadcasts_to(shape, target):
    try:
        broadcast = tf.broadcast_static_shape(shape, target)
    except ValueError:
        return False
    return broadcast.rank == target.rank and broadcast.is_compatible_with(target)
