"""What a linear regression needs to know of its data: a triangle, to which rows can be added.

The rows ``sqrt(weight_i) [1, x_i', y_i]`` of all observations enter posterior and evidence through
their Gram matrix alone, so any array with the same Gram matrix will do. The one kept here is upper
trapezoidal, from an LQ factorisation, with no more rows than columns or observations. Its first row
is the only one in which the intercept occurs: the others are the data less their means. Features
and target are taken from an origin near those means, so that digits are not spent on them.
"""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from statespace.linalg_ops import lq, psd_cholesky
from statespace.models.regression_arguments import Observations

_OP = "BayesianLinearRegression"


class RegressionArray(NamedTuple):
    """The data, up to an orthogonal transformation."""

    rows: tf.Tensor  # [intercept, features, target], upper trapezoidal, [..., R, D + 1 or D + 2]
    origin: tf.Tensor  # of features and target, [..., D + 1]; zero without intercept
    count: tf.Tensor  # observations of positive weight, with repetitions, [...]
    log_weights: tf.Tensor  # sum of the logarithms of their weights, [...]


class CentredData(NamedTuple):
    """Pseudo-observations without intercept, and the intercept's own row."""

    x: tf.Tensor  # [..., R, D]
    y: tf.Tensor  # [..., R]
    x_mean: tf.Tensor  # weighted means of the features, zero without intercept, [..., D]
    y_mean: tf.Tensor  # [...]
    total_weight: tf.Tensor | None  # None without intercept, [...]


def collect(data: Observations, intercept: bool, origin=None) -> RegressionArray:
    """The array of given observations.

    Those to be added to an array, or removed, have its origin.
    """
    rows = tf.concat([data.x, data.y[..., tf.newaxis]], axis=-1)
    precision = data.precision()
    if origin is None:
        share = tf.math.divide_no_nan(precision, tf.reduce_sum(precision, axis=-1, keepdims=True))
        origin = tf.reduce_sum(rows * share[..., tf.newaxis], axis=-2)
        origin = origin if intercept else tf.zeros_like(origin)
    rows -= origin[..., tf.newaxis, :]
    if intercept:
        rows = tf.concat([tf.ones_like(rows[..., :1]), rows], axis=-1)
    times = tf.cast(precision > 0, rows.dtype)
    times = times if data.repetitions is None else times * data.repetitions
    logs = tf.zeros_like(times)
    if data.weights is not None:
        logs = tf.math.log(tf.where(data.weights > 0, data.weights, tf.ones_like(times)))
    return RegressionArray(
        _triangle(rows * tf.sqrt(precision)[..., tf.newaxis]),
        origin,
        tf.reduce_sum(times, axis=-1),
        tf.reduce_sum(times * logs, axis=-1),
    )


def add(array: RegressionArray, other: RegressionArray) -> RegressionArray:
    """The array of both sets of observations together."""
    return RegressionArray(
        _triangle(tf.concat([array.rows, other.rows], axis=-2)),
        array.origin,
        array.count + other.count,
        array.log_weights + other.log_weights,
    )


def remove(array: RegressionArray, other: RegressionArray) -> RegressionArray:
    """The array without observations that are part of it.

    With R the rows of the array and V those to go, R' R - V' V = R' (I - P P') R where R' P = V',
    so that a triangle with the Gram matrix I - P P', times R, is what remains. P is the shortest
    such, since the rows of R may depend on each other.

    Raises:
      ValueError: the observations are not part of the array; names the batch item.

    References:
      Golub & Van Loan, Matrix Computations, 4th ed., section 6.5.4.
    """
    scale = tf.norm(array.rows, axis=-2, keepdims=True)
    scale = tf.where(scale > 0, scale, tf.ones_like(scale))
    rows, gone = array.rows / scale, other.rows / scale
    epsilon = np.finfo(rows.dtype.as_numpy_dtype).eps
    inverse = tf.linalg.pinv(tf.linalg.matrix_transpose(rows), rcond=16 * rows.shape[-1] * epsilon)
    p = tf.matmul(inverse, gone, transpose_b=True)
    missed = tf.reduce_max(tf.abs(tf.matmul(p, rows, transpose_a=True) - gone), axis=[-2, -1])
    identity = tf.eye(tf.shape(rows)[-2], dtype=rows.dtype)
    factor, info = psd_cholesky(identity - tf.matmul(p, p, transpose_b=True), return_info=True)
    if np.any(other.count >= array.count):
        raise ValueError(f"{_OP}: downdate: nothing would remain. Fit anew instead.")
    foreign = (info > 0) | (missed > epsilon**0.5)
    if np.any(foreign):
        index = [int(i) for i in np.argwhere(foreign)[0]]
        raise ValueError(
            f"{_OP}: downdate: observations to be removed are not part of the fit"
            + (f", batch index {index}." if index else ".")
            + " Pass the same x, y and weights as before."
        )
    kept = tf.matmul(factor, array.rows, transpose_a=True)
    return RegressionArray(
        _triangle(kept),
        array.origin,
        array.count - other.count,
        array.log_weights - other.log_weights,
    )


def centred(array: RegressionArray, intercept: bool) -> CentredData:
    """The data without intercept: all rows but the first, the only one in which it occurs."""
    rows = array.rows
    if not intercept:
        zero = tf.zeros_like(rows[..., 0, :])
        return CentredData(rows[..., :-1], rows[..., -1], zero[..., :-1], zero[..., -1], None)
    root = rows[..., 0, :1]
    means = array.origin + rows[..., 0, 1:] / root
    return CentredData(
        rows[..., 1:, 1:-1], rows[..., 1:, -1], means[..., :-1], means[..., -1], root[..., 0] ** 2
    )


def _triangle(rows):
    return tf.linalg.matrix_transpose(lq(tf.linalg.matrix_transpose(rows), mode="l"))
