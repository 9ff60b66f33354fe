"""Noise and prior scales of a Bayesian linear regression at the maximum of the evidence."""

import functools
import math
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from statespace import native
from statespace.linalg_ops import lq
from statespace.models.evidence_newton import polish
from statespace.models.linear_gaussian_regression import log_evidence
from statespace.models.regression_array import CentredData
from statespace.optimise import minimise

# In units of the data: noise in the spread of y, a weight in that over the spread of its feature.
_NOISE_LIMITS = np.log(1e-8), np.log(10.0)
_LARGEST_WEIGHT = 1e7
_FLOOR = 1e-6  # in place of a weight's scale of zero, where the gradient by its square is wanted
# (noise, scale of all weights together) where a search starts: mostly noise, and mostly signal.
_STARTS = ((0.8, 0.5), (0.1, 1.0))
_STARTS_OF_WEIGHTS = (1.0, 1e-3)  # where the noise is known: all weights there, and hardly any


class Scales(NamedTuple):
    """Where the evidence is highest."""

    noise_scale: np.ndarray  # [...]
    weight_scale: np.ndarray  # [..., D]
    converged: np.ndarray  # False also where the noise tends to zero, bool [...]


def maximise(data: CentredData, count, *, per_feature: bool, noise_scale=None) -> Scales:
    """Maximises the evidence by L-BFGS, with its gradient through the LQ factorisation.

    All batch items and starts run in step, in units of the data, so that these do not matter. The
    coordinates are log(noise) and t >= 0 with scale^2 = (exp(t) - 1) / count: the logarithm of
    large scales and the square of small ones, by which the evidence has a slope at zero too. So a
    scale whose best value is zero ends there, exactly, and one that was there can leave again.
    Newton's method then takes those at a maximum to the last digits.

    Args:
      data: pseudo-observations.
      count: how many observations they stand for, the intercept's deducted, ``[...]``.
      per_feature: a scale for each weight (automatic relevance determination), or one for all.
      noise_scale: where it is known, ``[...]``; then the unit of y, and not estimated.

    Raises:
      ValueError: there is no observation, or y is constant, so that there is nothing to estimate.
    """
    problem = _in_units_of_the_data(data, count, per_feature, noise_scale)
    noise_known = noise_scale is not None
    columns = data.x.shape[-1]
    optimum, converged = _search(problem, columns if per_feature else 1, noise_known)
    batch, dtype = data.y.shape[:-1].as_list(), data.x.dtype.as_numpy_dtype
    if not noise_known:
        converged &= optimum[:, 0] > _NOISE_LIMITS[0]
    at = np.broadcast_to(optimum[:, 1:], (len(optimum), problem.x.shape[-1]))
    scales = (
        np.exp(optimum[:, 0]),
        np.where(at > 0, _scales(at, problem.count[:, np.newaxis]), 0.0),
    )
    options = {"per_feature": per_feature, "noise_known": noise_known}
    polished = polish(problem.x, problem.y, problem.count, *scales, **options)
    noise, weight_scale = (
        np.where(converged.reshape([-1] + [1] * (new.ndim - 1)), new, old)
        for new, old in zip(polished, scales, strict=True)
    )
    if not per_feature:  # one for all, also where x has fewer columns than there are features
        weight_scale = weight_scale[:, :1] if problem.x.shape[-1] else np.zeros((len(at), 1))
    weight_scale = weight_scale * (problem.y_unit[:, np.newaxis] / problem.x_unit)
    weight_scale = np.broadcast_to(weight_scale, (len(optimum), columns))
    return Scales(
        (noise * problem.y_unit).reshape(batch).astype(dtype),
        weight_scale.reshape([*batch, columns]).astype(dtype),
        converged.reshape(batch),
    )


class _Problem(NamedTuple):
    """A data sets in a row, in units of their own."""

    x: np.ndarray  # [A, R, D]
    y: np.ndarray  # [A, R]
    count: np.ndarray  # [A]
    x_unit: np.ndarray  # [A, D] or [A, 1]
    y_unit: np.ndarray  # [A]
    spread: np.ndarray  # of y in that unit, [A]


def _in_units_of_the_data(data, count, per_feature, noise_scale) -> _Problem:
    batch, columns = data.y.shape[:-1].as_list(), data.x.shape[-1]
    size = math.prod(batch)  # reshape(-1) knows none where an axis is empty
    count = np.broadcast_to(np.asarray(count, np.float64), batch).reshape(size)
    x = np.asarray(data.x, np.float64).reshape(size, *data.x.shape[-2:])
    y = np.asarray(data.y, np.float64).reshape(size, data.y.shape[-1])
    y_unit = spread = _norm(y, -1) / np.sqrt(np.maximum(count, 1))
    if noise_scale is None:
        _check(y_unit, np.reshape(data.y_mean, size), count, batch, data.x.dtype)
    else:
        y_unit = np.broadcast_to(np.asarray(noise_scale, np.float64), batch).reshape(size)
    x_unit = _norm(x, -2) / np.sqrt(np.maximum(count, 1)[:, np.newaxis])
    if not per_feature:
        x_unit = _norm(x_unit, -1)[:, np.newaxis] / np.sqrt(max(columns, 1))
    x_unit = np.where(x_unit > 0, x_unit, 1.0)
    x, y = x / x_unit[:, np.newaxis, :], y / y_unit[:, np.newaxis]
    if not per_feature and x.shape[-2] < columns:  # X X' is all that counts
        x = lq(x, mode="l").numpy()
    return _Problem(x, y, np.maximum(count, 1), x_unit, y_unit, spread / y_unit)


def _norm(x, axis):
    """Euclidean, of numbers whose squares may be too large or too small."""
    largest = np.abs(x).max(axis=axis, initial=0.0, keepdims=True)
    largest = np.where(largest > 0, largest, 1.0)
    return np.linalg.norm(x / largest, axis=axis) * np.squeeze(largest, axis)


def _search(problem: _Problem, num_scales, noise_known):
    """The best of the searches from all starts: coordinates ``[A, 1 + num_scales]``, converged."""
    x, y, count, *_ = problem
    missing = count - y.shape[-1]
    # One graph serves all sizes; where the shape must be known for the cheaper form, there is none.
    tall = x.shape[-2] >= x.shape[-1]
    slope = _compiled(native.ops() is not None) if tall else _value_and_gradient

    def objective(points, members):
        """Minus the log evidence, up to a constant, and its gradient."""
        items = members % len(x)
        found = slope(points, x[items], y[items], count[items], missing[items])
        return tuple(v.numpy() for v in found)

    spread = problem.spread.max(initial=1.0)
    largest = np.log1p((_LARGEST_WEIGHT * spread) ** 2 * count.max(initial=1.0))
    starts, limits = _STARTS, _NOISE_LIMITS
    if noise_known:
        starts, limits = [(1.0, scale) for scale in _STARTS_OF_WEIGHTS], (0.0, 0.0)
    found = minimise(
        objective,
        np.concatenate([_start(*start, problem, num_scales) for start in starts]),
        np.repeat(np.transpose([limits, (0.0, largest)]), [1, num_scales], axis=1),
        gradient_tolerance=1e-8,
        value_tolerance=0.0,
    )
    best = np.argmin(found.value.reshape(len(starts), -1), axis=0) * len(x) + np.arange(len(x))
    return found.x[best], found.converged[best]


def _start(noise_scale, weight_scale, problem, num_scales):
    """Coordinates ``[A, 1 + num_scales]``; the weights have ``weight_scale`` of y's together."""
    noise = np.full((len(problem.count), 1), np.log(noise_scale))
    square = (weight_scale * problem.spread) ** 2 / max(num_scales, 1)
    weights = np.log1p(square * problem.count)[:, np.newaxis]
    return np.concatenate([noise, np.repeat(weights, num_scales, axis=1)], axis=1)


def _value_and_gradient(points, x, y, count, missing):
    """Minus the log evidence of A data sets and its gradient by the coordinates ``[A, p]``.

    ``missing`` are the observations that count although they have no row: x and y are zero there.
    """
    points = tf.convert_to_tensor(points)
    with tf.GradientTape() as tape:
        tape.watch(points)
        log_noise = points[:, :1]
        weight_scale = _scales(points[:, 1:], count[:, tf.newaxis])
        value = -log_evidence(x, y, tf.exp(log_noise), weight_scale) + missing * log_noise[:, 0]
    return value, tape.gradient(value, points)


@functools.cache
def _compiled(_):
    """A graph of its own with and without the compiled operations, which it would remember."""
    ranks = (2, 3, 2, 1, 1)
    signature = [tf.TensorSpec([None] * rank, tf.float64) for rank in ranks]
    return tf.function(_value_and_gradient, input_signature=signature)


def _scales(coordinates, count):
    """Scales of the weights at coordinates t."""
    return tf.sqrt(tf.math.expm1(coordinates) / count + _FLOOR**2)


def _check(y_unit, y_mean, count, batch, dtype):
    rounding = 16 * np.finfo(dtype.as_numpy_dtype).eps
    constant = (count < 1) | (y_unit <= rounding * np.abs(y_mean))
    if constant.any():
        index = [int(i) for i in np.unravel_index(np.argmax(constant), batch)] if batch else []
        where = f" (batch index {index})" if index else ""
        raise ValueError(
            f"BayesianLinearRegression: y is constant{where}, so its noise cannot be estimated. "
            "Give the scales: prior=FixedPrior(noise_scale, weight_scale)."
        )
