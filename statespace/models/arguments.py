"""Checks of what models are given, with messages that name the argument and the first place."""

import numpy as np
import tensorflow as tf

from statespace.linalg_ops.arguments import to_tensor


def float_tensor(op, name, value) -> tf.Tensor:
    """The value as a tensor, which must be float32 or float64; Python's own numbers are float64."""
    own = all(isinstance(number, int | float) for number in tf.nest.flatten(value))
    tensor = to_tensor(op, name, value, tf.float64 if own else None)
    if tensor.dtype not in (tf.float32, tf.float64):
        raise ValueError(f"{op}: {name} is {tensor.dtype.name}; it must be float32 or float64.")
    return tensor


def as_tensor(op, name, value, dtype):
    """The value in a dtype; by NumPy, since TensorFlow takes Python's numbers for float32 first.

    Raises:
      ValueError: it is no array of numbers.
    """
    try:
        return tf.cast(value if tf.is_tensor(value) else np.asarray(value), dtype)
    except (TypeError, ValueError, tf.errors.UnimplementedError) as error:
        raise ValueError(f"{op}: {name} is no array of numbers: {value!r}.") from error


def check_dtype(op, name, tensor, dtype):
    """Raises ValueError where a tensor is not of the dtype of x."""
    if tensor.dtype != dtype:
        raise ValueError(
            f"{op}: {name} is {tensor.dtype.name} and x is {dtype.name}; they must be of one dtype."
        )


def check_broadcast(op, name, tensor, shape, against):
    """Raises ValueError where a tensor does not broadcast against a shape.

    Args:
      against: what the message calls that shape.
    """
    try:
        tf.broadcast_static_shape(tensor.shape, shape)
    except ValueError as error:
        raise ValueError(
            f"{op}: {name} has shape {tensor.shape}; it must broadcast against {against}."
        ) from error


def refuse_where(op, name, tensor, is_wrong, advice):
    """Raises ValueError where a tensor whose values are known, that is eagerly, has a wrong one.

    Args:
      is_wrong: function from an array to bools of its shape.
      advice: what the message says to do.
    """
    if not isinstance(tensor, tf.__internal__.EagerTensor):
        return
    value = tensor.numpy()
    wrong = is_wrong(value)
    if wrong.any():
        index = tuple(int(i) for i in np.argwhere(wrong)[0])
        raise ValueError(f"{op}: {name}{list(index) or ''} is {value[index]}; {advice}.")
