"""The iterated update: Gauss-Newton steps to the mode of the state given an observation."""

import functools

import tensorflow as tf

from statespace.kalman.step import is_observed
from statespace.linalg_ops.failure import append_axes
from statespace.linalg_ops.lq import dependent_rows, lq
from statespace.linalg_ops.triangular import triangular_solve
from statespace.nonlinear.matching import Matched
from statespace.nonlinear.step import Update, condition

_HALVINGS = 10


def updater(iterations: int):
    """The update with this many linearisations: with one it is that of the extended filter.

    References:
      Bell & Cathey, The iterated Kalman filter update as a Gauss-Newton method, IEEE Transactions
      on Automatic Control 38(2), 1993.
    """
    return functools.partial(_update, iterations)


def _update(iterations, function, y, noise, mean, scale, inputs, bad, matched) -> Update:
    """Minimises |xi|^2 + |C^-1 (y - h(m + S xi))|^2, whose minimum is the mode of x = m + S xi.

    1. Linearised at xi_i, h is h_i + slope_i (xi - xi_i), and the update given that is the
       minimum of the linearised problem, which Gauss-Newton would go to.
    2. It goes half as far, a quarter, ... where the whole step would not lower the sum; nowhere if
       none does. Where C C' is singular there is no sum to compare, and steps are whole.
    3. Density and factor are those of the last linearisation: at the mode, Laplace's approximation
       with the Gauss-Newton Hessian.
    """
    half_squares = _objective(function, y, noise, mean, scale, inputs, bad)
    xi = tf.zeros_like(mean)
    update = condition(y, noise, matched, bad)
    for number in range(iterations):
        if number > 0:
            at = function.linear(_state(mean, scale, xi), inputs)
            slope = tf.matmul(at[1], scale)
            origin = at[0] - tf.linalg.matvec(slope, xi)
            update = condition(y, noise, Matched(origin, slope, slope[..., :0]), bad)
        if iterations > 1:
            step = _length(half_squares, xi, update.shift - xi)
            xi += step[..., tf.newaxis] * (update.shift - xi)
        else:
            xi = update.shift
    return update._replace(shift=xi)


def _state(mean, scale, xi):
    return mean + tf.linalg.matvec(scale, xi)


def _objective(function, y, noise, mean, scale, inputs, bad):
    """The function of xi ``[..., n]`` to be minimised, ``[...]``; zero where there is none."""
    observed = is_observed(y) & ~bad[..., tf.newaxis]
    own = tf.linalg.diag(tf.cast(~observed, y.dtype))
    rows = tf.where(observed[..., tf.newaxis], noise, 0)
    c = lq(tf.concat([own, rows], axis=-1), mode="l")
    singular = tf.reduce_any(dependent_rows(c, c.shape[-1] + noise.shape[-1]), axis=-1)
    c = tf.where(append_axes(singular, c), tf.eye(c.shape[-1], dtype=y.dtype), c)

    def objective(xi):
        residual = y - function(_state(mean, scale, xi), inputs)
        residual = tf.where(observed, residual, 0)[..., tf.newaxis]
        total = tf.reduce_sum(tf.square(xi), axis=-1)
        total += tf.reduce_sum(tf.square(triangular_solve(c, residual)), axis=[-2, -1])
        infinite = tf.constant(float("inf"), y.dtype)
        total = tf.where(tf.math.is_finite(total), total, infinite)
        return tf.where(singular, tf.zeros_like(total), total)

    return objective


def _length(objective, xi, direction):
    """How far to go, ``[...]``: the first of 1, 1/2, ... that does not raise the objective."""
    lengths = tf.constant([2.0**-k for k in range(_HALVINGS)], xi.dtype)
    lengths = tf.reshape(lengths, [_HALVINGS] + [1] * (xi.shape.rank - 1))
    values = objective(xi + lengths[..., tf.newaxis] * direction)
    before = objective(xi)
    # At the minimum, what is left of a step is rounding.
    rounding = 1e-12 if xi.dtype == tf.float64 else 1e-5
    lower = tf.cast(values <= before * (1.0 + rounding), xi.dtype)
    return tf.stop_gradient(tf.reduce_max(lower * lengths, axis=0))
