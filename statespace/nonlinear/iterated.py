"""The iterated update: Gauss-Newton steps to the mode of the state given an observation."""

import functools

import numpy as np
import tensorflow as tf

from statespace.kalman.step import is_observed
from statespace.nonlinear.matching import Matched
from statespace.nonlinear.misfit import Misfit, halvings, up_to_rounding
from statespace.nonlinear.step import Update, condition


def updater(iterations: int):
    """The update with this many linearisations: with one it is that of the extended filter.

    References:
      Bell & Cathey, The iterated Kalman filter update as a Gauss-Newton method, IEEE Transactions
      on Automatic Control 38(2), 1993.
    """
    return functools.partial(_update, iterations)


def _update(iterations, function, y, noise, mean, scale, inputs, bad, matched) -> Update:
    """Minimises J(xi) = |xi|^2 + |C^-1 (y - h(m + S xi))|^2, minimal at the mode of x = m + S xi.

    1. Linearised at xi_i, h is h_i + slope_i (xi - xi_i), and the shift of the update given that is
       the minimum of the linearised problem, which the Gauss-Newton step d leads to.
    2. Density and factor are those of the last linearisation: at the mode, Laplace's approximation
       with the Gauss-Newton Hessian.
    """
    misfit = Misfit(noise, is_observed(y) & ~bad[..., tf.newaxis])
    xi, update, slope = tf.zeros_like(mean), condition(y, noise, matched, bad), matched.slope
    if iterations == 1:
        return update

    def objective(xi):
        residual = y - function(mean + tf.linalg.matvec(scale, xi), inputs)
        total = tf.reduce_sum(tf.square(xi), axis=-1) + misfit(residual)
        return tf.where(tf.math.is_finite(total), total, np.inf)

    for number in range(iterations):
        if number > 0:
            value, jacobian = function.linear(mean + tf.linalg.matvec(scale, xi), inputs)
            slope = tf.matmul(jacobian, scale)
            origin = value - tf.linalg.matvec(slope, xi)
            update = condition(y, noise, Matched(origin, slope, slope[..., :0]), bad)
        direction = update.shift - xi
        expected = tf.reduce_sum(tf.square(direction), axis=-1)
        expected += misfit(tf.linalg.matvec(slope, direction))
        length = _length(objective, xi, direction, expected)
        xi += tf.where(misfit.singular, tf.ones_like(length), length)[..., tf.newaxis] * direction
    return update._replace(shift=xi)


def _length(objective, xi, direction, expected):
    """How far to go along d, ``[...]``: the first s of 1, 1/2, 1/4, ... that lowers J enough.

    The linearised problem has J(xi + s d) = J(xi) - (2 s - s^2) expected, with expected = d'(I +
    slope' C^-T C^-1 slope) d. Armijo's rule asks for a quarter of the slope at 0, that is for
    s expected / 2. A series for which no s does stays where it is.
    """
    lengths = halvings(xi)
    values = objective(xi + lengths[..., tf.newaxis] * direction)
    before = up_to_rounding(objective(xi))
    enough = tf.cast(values <= before - 0.5 * lengths * expected, xi.dtype)
    return tf.stop_gradient(tf.reduce_max(enough * lengths, axis=0))
