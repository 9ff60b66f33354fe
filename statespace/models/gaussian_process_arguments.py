"""What a Gaussian process asks of inputs, observations and errors."""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from statespace.models.arguments import check_broadcast, check_dtype, float_tensor, refuse_where

_OP = "GaussianProcess"


class Observations(NamedTuple):
    """Data, of one dtype."""

    x: tf.Tensor  # inputs, [..., n, d]
    y: tf.Tensor  # [..., n]
    error_variance: tf.Tensor | None  # known variance of each observation's own error, [..., n]


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
        error_variance = tf.convert_to_tensor(error_variance, x.dtype, name="error_variance")
        _check_broadcast("error_variance", error_variance, x)
        refuse_where(
            _OP,
            "error_variance",
            error_variance,
            lambda value: ~(np.isfinite(value) & (value >= 0)),
            "it must be finite and not negative",
        )
    return Observations(x, y, error_variance)


def inputs(name, x, like: tf.Tensor | None = None) -> tf.Tensor:
    """Inputs ``[..., n, d]``, with the features and dtype of others if these are given."""
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
    refuse_where(_OP, name, x, lambda value: ~np.isfinite(value), "leave the input out")
    return x


def _tensor(name, value):
    tensor = float_tensor(_OP, name, value)
    if tensor.shape.rank is None:
        raise ValueError(f"{_OP}: {name} is a tensor of unknown rank; set its shape.")
    return tensor


def _check_broadcast(name, tensor, x):
    against = f"[..., n], and x has shape {x.shape}"
    check_broadcast(_OP, name, tensor, x.shape[:-1], against)
