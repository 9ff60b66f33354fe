"""What a Gaussian process asks of inputs, observations and errors."""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from statespace.models.arguments import (
    as_tensor,
    check_broadcast,
    check_dtype,
    float_tensor,
    refuse_where,
)

_OP = "GaussianProcess"


class Observations(NamedTuple):
    """Data, of one dtype."""

    x: tf.Tensor  # inputs, [..., n, d]
    y: tf.Tensor  # [..., n]
    error_variance: tf.Tensor | None  # known variance of each observation's own error, [..., n]

    @property
    def batch_shape(self) -> tf.TensorShape:
        """The leading axes of all of them together, as far as they are known."""
        rows = [value for value in (self.y, self.error_variance) if value is not None]
        shape = self.x.shape[:-2]
        for value in rows:
            shape = tf.broadcast_static_shape(shape, value.shape[:-1])
        return shape


def observations(x, y, error_variance) -> Observations:
    """The data as tensors; their batch axes broadcast.

    Raises:
      ValueError: a shape or dtype is wrong, a value is not finite or an ``error_variance``
        negative; names the argument and the first such place. Values are looked at where they are
        known, that is eagerly.
    """
    x, y = inputs("x", x), _tensor("y", y)
    check_dtype(_OP, "y", y, x.dtype)
    if y.shape.rank < 1 or not x.shape[-2:-1].is_compatible_with(y.shape[-1:]):
        raise ValueError(
            f"{_OP}: x has shape {x.shape} and y {y.shape}; they must be [..., n, d] and [..., n] "
            "with the same n."
        )
    _check_broadcast("y", y, x)
    refuse_where(_OP, "y", y, lambda value: ~np.isfinite(value), "leave the observation out")
    if error_variance is not None:
        error_variance = as_tensor(_OP, "error_variance", error_variance, x.dtype)
        _check_broadcast("error_variance", error_variance, x)
        refuse_where(
            _OP,
            "error_variance",
            error_variance,
            lambda value: ~(np.isfinite(value) & (value >= 0)),
            "it must be finite and not negative",
        )
    return Observations(x, y, error_variance)


def inputs(name, x, like: tf.Tensor | None = None, batch_shape=()) -> tf.Tensor:
    """Inputs ``[..., n, d]``, with the features and dtype of others if these are given.

    Their batch axes must broadcast with ``batch_shape``.
    """
    x = _tensor(name, x)
    if x.shape.rank < 2 or x.shape[-1] is None:
        raise ValueError(
            f"{_OP}: {name} has shape {x.shape}; it must be [..., n, d], with d known. Inputs on a "
            "line have d = 1: x[..., np.newaxis]."
        )
    if like is not None:
        check_dtype(_OP, name, x, like.dtype)
        if x.shape[-1] != like.shape[-1]:
            raise ValueError(
                f"{_OP}: {name} has shape {x.shape}; it must be [..., n, d] with d = "
                f"{like.shape[-1]}, as the data."
            )
    check_batch(name, x, x.shape[:-2], batch_shape)
    refuse_where(_OP, name, x, lambda value: ~np.isfinite(value), "leave the input out")
    return x


def check_batch(name, tensor, axes, batch_shape):
    """Raises ValueError where the leading axes of a tensor do not broadcast with a batch shape."""
    try:
        tf.broadcast_static_shape(axes, tf.TensorShape(batch_shape))
    except ValueError as error:
        raise ValueError(
            f"{_OP}: {name} has shape {tensor.shape}; its leading axes {axes} must broadcast with "
            f"the batch {tf.TensorShape(batch_shape)} of the data and parameters."
        ) from error


def _tensor(name, value):
    tensor = float_tensor(_OP, name, value)
    if tensor.shape.rank is None:
        raise ValueError(f"{_OP}: {name} is a tensor of unknown rank; set its shape.")
    return tensor


def _check_broadcast(name, tensor, x):
    against = f"[..., n], and x has shape {x.shape}"
    check_broadcast(_OP, name, tensor, x.shape[:-1], against)
