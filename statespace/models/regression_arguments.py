"""What a Bayesian linear regression asks of data, features and seeds."""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from statespace.models.arguments import as_tensor, float_tensor, refuse_where

_OP = "BayesianLinearRegression"


class Observations(NamedTuple):
    """Data of one batch shape."""

    x: tf.Tensor  # [..., N, D]
    y: tf.Tensor  # [..., N]
    weights: tf.Tensor | None  # precisions, [..., N]
    repetitions: tf.Tensor | None  # how often each observation occurs, [..., N]

    def precision(self) -> tf.Tensor:
        """What each observation weighs in sums over all, ``[..., N]``."""
        precision = tf.ones_like(self.y) if self.weights is None else self.weights
        return precision if self.repetitions is None else precision * self.repetitions


def observations(caller, x, y, weights=None, repetitions=None, like=None) -> Observations:
    """Features ``[..., N, D]``, observations ``[..., N]`` and weights, of one batch shape.

    Args:
      caller: the method they were given to.
      x, y, weights, repetitions: as given; the latter two may be None, and stay so.
      like: a tensor ``[..., D]`` whose batch shape, number of features and dtype they must have.

    Raises:
      ValueError: shape, dtype or a value is wrong; names the argument and the first such place.
    """
    op = f"{_OP}.{caller}"
    x, y = float_tensor(op, "x", x), float_tensor(op, "y", y)
    if x.dtype != y.dtype:
        raise ValueError(
            f"{op}: x is {x.dtype.name} and y is {y.dtype.name}; they must be of one dtype."
        )
    if x.shape.rank < 2 or y.shape.rank < 1 or x.shape[-2] != y.shape[-1] or y.shape[-1] == 0:
        raise ValueError(
            f"{op}: x has shape {x.shape} and y {y.shape}; they must be [..., N, D] and [..., N] "
            "with the same N, one at least."
        )
    try:
        batch = tf.broadcast_static_shape(x.shape[:-2], y.shape[:-1])
    except ValueError as error:
        raise ValueError(
            f"{op}: x has shape {x.shape} and y {y.shape}; their batch axes do not broadcast."
        ) from error
    _check_finite(op, "x", x)
    _check_finite(op, "y", y)
    y = tf.broadcast_to(y, [*batch, y.shape[-1]])
    weights = _not_negative(op, "weights", weights, y)
    repetitions = _not_negative(op, "repetitions", repetitions, y)
    x = tf.broadcast_to(x, [*batch, *x.shape[-2:]])
    if like is not None and (x.dtype != like.dtype or [*batch, x.shape[-1]] != [*like.shape]):
        raise ValueError(
            f"{op}: x is {x.dtype.name} with shape {x.shape}; what was fitted is {like.dtype.name} "
            f"with batch shape and number of features {like.shape}."
        )
    return Observations(x, y, weights, repetitions)


def features(x, like):
    """Features to predict at, ``[..., M, D]``, as the weights ``like [..., D]`` ask for them.

    Raises:
      ValueError: shape, dtype or, eagerly, a value is wrong.
    """
    op = f"{_OP}.predict"
    x = float_tensor(op, "x", x)
    if x.dtype != like.dtype:
        raise ValueError(f"{op}: x is {x.dtype.name}; the fit is {like.dtype.name}. Cast x.")
    if x.shape.rank < 2 or x.shape[-1] != like.shape[-1]:
        raise ValueError(
            f"{op}: x has shape {x.shape}; it must be [..., M, D] with D = {like.shape[-1]} "
            "features, as fitted."
        )
    try:
        tf.broadcast_static_shape(x.shape[:-2], like.shape[:-1])
    except ValueError as error:
        raise ValueError(
            f"{op}: x has shape {x.shape}; its leading axes must broadcast with those of the fit, "
            f"{like.shape[:-1]}."
        ) from error
    refuse_where(op, "x", x, lambda value: ~np.isfinite(value), "leave that row out")
    return x


def future_weights(weights, variance):
    """Weights of observations to come, broadcast against a variance ``[..., M]`` of each."""
    op = f"{_OP}.predict"
    weights = broadcast_against(op, "weights", weights, variance)
    refuse_where(op, "weights", weights, lambda value: ~(value > 0), "it must be positive")
    return weights


def _not_negative(op, name, value, like):
    if value is None:
        return None
    value = broadcast_against(op, name, value, like)
    _check_finite(op, name, value)
    refuse_where(op, name, value, lambda value: value < 0, "it must not be negative")
    return value


def broadcast_against(op, name, value, like):
    """The value in the shape and dtype of ``like``; raises ValueError where it does not fit."""
    value = as_tensor(op, name, value, like.dtype)
    try:
        return tf.broadcast_to(value, like.shape)
    except tf.errors.InvalidArgumentError as error:
        raise ValueError(
            f"{op}: {name} has shape {value.shape}; it must broadcast against {like.shape}."
        ) from error


def _check_finite(op, name, value):
    advice = "leave the observation out, or give it weight 0 and a value"
    refuse_where(op, name, value, lambda value: ~np.isfinite(value), advice)
