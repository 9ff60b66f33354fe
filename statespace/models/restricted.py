"""Coefficients of stationary processes some of which are zero, in coordinates without bounds."""

import functools

import numpy as np
import tensorflow as tf

from statespace.models.polynomials import partial_autocorrelations
from statespace.models.stationary import block_companion

_LOWEST = -40.0  # logarithm of the smallest factor that is looked for
_POINTS, _ROUNDS = 16, 12  # of the search; what remains of the range is 16^-12 of it


@functools.cache
def restricted_bijector(places, shape):
    """The bijector from R^k to the k coefficients of a stationary process that need not be zero.

    Let coefficient i be phi_i, at lag l_i, and V the variance of the scalar autoregression with the
    roots of the process over that of its innovations. With phi_i times r^l_i for all i the roots
    are r times what they were: on that path from r = 0 to where the process stops being stationary,
    V increases from one to infinity. So

        u_i = phi_i V^(w_i / 2),    w_i = l_i / min l,    x_i = arsinh(w_i u_i) / w_i

    is a smooth bijection from the stationary processes with these zeros to all x in R^k. Its
    inverse is phi_i = u_i r^w_i with the one r of r^2 V = 1. (Where the zeros leave no root that is
    not zero, V is one throughout, and so is r.) With a single coefficient of a single series x is
    the inverse hyperbolic tangent of phi, as without zeros.

    Args:
      places: where the coefficients are, k tuples of indices into ``shape``.
      shape: (p,) of a single series, or (p, m, m); lags are the first index plus one.
    """
    import tensorflow_probability as tfp

    lags = np.array([place[0] + 1.0 for place in places])
    weights = lags / lags.min()

    class Restricted(tfp.bijectors.Bijector):
        """R^k to coefficients of stationary processes."""

        def __init__(self):
            super().__init__(forward_min_event_ndims=1, is_constant_jacobian=False)

        def _scalar(self, coefficients):
            every = placed(coefficients, places, shape)
            return every if len(shape) == 1 else _with_same_roots(every, shape[0] * shape[1])

        def _forward(self, x):
            u = tf.sinh(weights * x) / weights
            log_r = _log_factor(self._scalar(u), lags.min())
            return u * tf.exp(weights * log_r[..., tf.newaxis])

        def _inverse(self, y):
            u = y * tf.exp(weights / 2 * _log_variance(self._scalar(y))[..., tf.newaxis])
            return tf.asinh(weights * u) / weights

        def _forward_log_det_jacobian(self, x):
            # d u_i = V^(w_i / 2) (d phi_i + w_i phi_i / 2 d log V), a diagonal matrix times the
            # identity and a matrix of rank one.
            log_v, slope = _with_slope(self._scalar(self._forward(x)), lags.min())
            log_cosh = tf.abs(weights * x) + tf.math.softplus(-2 * tf.abs(weights * x))
            by_element = log_cosh - np.log(2.0) - weights / 2 * log_v[..., tf.newaxis]
            return tf.reduce_sum(by_element, axis=-1) - tf.math.log1p(slope / 2)

    return Restricted()


def placed(coefficients, places, shape) -> tf.Tensor:
    """Coefficients ``[..., k]`` in their places, and zeros everywhere else, ``[..., *shape]``."""
    where = np.zeros((len(places), *shape))
    where[(np.arange(len(places)), *np.transpose(places))] = 1.0
    return tf.tensordot(tf.convert_to_tensor(coefficients, tf.float64), where, axes=1)


def _log_factor(scalar, shortest):
    """The logarithm of the r with r^2 V = 1 for a_k r^(k / shortest), ``[..., n]`` to ``[...]``.

    The excess 2 log r + log V increases in log r. A search, all points of a round at once, brings
    it down to rounding; two steps of Newton's make it differentiable twice.
    """

    def narrowed(low, width):
        points = low[..., tf.newaxis] + width * np.linspace(0.0, 1.0, _POINTS + 1)
        # Not a number, where the process is not stationary, is not below zero.
        excess = 2 * points + _log_variance(_moved(scalar[..., tf.newaxis, :], points, shortest))
        below = tf.reduce_sum(tf.cast(excess < 0, tf.float64), axis=-1)
        return low + width * tf.maximum(below - 1, 0.0) / _POINTS, width / _POINTS

    lowest = tf.fill(tf.shape(scalar)[:-1], tf.constant(_LOWEST, tf.float64))
    log_r, _ = tf.while_loop(
        lambda *_: True,
        narrowed,
        (lowest, tf.constant(-_LOWEST, tf.float64)),
        maximum_iterations=_ROUNDS,
    )
    log_r = tf.stop_gradient(log_r)
    for _ in range(2):
        value, slope = _with_slope(_moved(scalar, log_r, shortest), shortest)
        log_r -= (2 * log_r + value) / (2 + slope)
    return log_r


def _moved(scalar, log_r, shortest):
    """The coefficients a_k r^(k / shortest), ``[..., n]``."""
    return scalar * tf.exp(_powers(scalar) / shortest * log_r[..., tf.newaxis])


def _with_slope(scalar, shortest):
    """log V, and its derivative by log r along a_k r^(k / shortest) at r = 1."""
    with tf.GradientTape() as tape:
        tape.watch(scalar)
        value = _log_variance(scalar)
    gradient = tape.gradient(value, scalar)
    return value, tf.reduce_sum(_powers(scalar) / shortest * scalar * gradient, axis=-1)


def _powers(scalar):
    return np.arange(1.0, scalar.shape[-1] + 1)


def _log_variance(scalar):
    """log V of a scalar autoregression, from ``[..., n]``; not a number where not stationary."""
    partials = partial_autocorrelations(scalar)
    return -tf.reduce_sum(tf.math.log1p(-tf.square(partials)), axis=-1)


def _with_same_roots(coefficients, n):
    """The scalar autoregression with the roots of that of m series, ``[..., p, m, m]``.

    Its n = p m coefficients are those of det(I - z F), F the companion matrix, with the other sign,
    by the recursion of Faddeev and LeVerrier.
    """
    transition = block_companion(coefficients)
    product, scalar = transition, []
    for k in range(1, n + 1):
        scalar.append(tf.linalg.trace(product) / k)
        product = transition @ (product - scalar[-1][..., tf.newaxis, tf.newaxis] * np.eye(n))
    return tf.stack(scalar, axis=-1)
