"""Moments of a function of a Gaussian state, in square-root form.

For x = m + S xi, xi ~ N(0, I), every method replaces the function by

    g(x) ~ mean + slope xi + residual e,      e ~ N(0, I) independent of xi,

which is all that filter and smoother need: Cov[g, x] = slope S', and Cov[g] = slope slope' +
residual residual', semidefinite by construction.
"""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from statespace.kalman.step import all_finite
from statespace.nonlinear.functions import columns_first, columns_last


class Matched(NamedTuple):
    """The replacement of one function, d its number of components."""

    mean: tf.Tensor  # [..., d]
    slope: tf.Tensor  # [..., d, n]
    residual: tf.Tensor  # [..., d, q]

    def usable(self) -> tf.Tensor:
        """bool ``[..., d]``: the components of which every number is finite."""
        finite = tf.math.is_finite(self.mean) & all_finite(self.slope, 1)
        return finite & all_finite(self.residual, 1)


def linearised(function, mean, scale, inputs) -> Matched:
    """The tangent at the mean: no residual, q = 0."""
    value, jacobian = function.linear(mean, inputs)
    slope = tf.matmul(jacobian, scale)
    return Matched(value, slope, slope[..., :0])


def linearised_along(function, mean, scale, inputs) -> Matched:
    """The tangent at the place on a path that the inputs name."""
    place = inputs["path"]
    value, jacobian = function.linear(place, inputs)
    slope = tf.matmul(jacobian, scale)
    return Matched(value + tf.linalg.matvec(jacobian, mean - place), slope, slope[..., :0])


class SigmaPoints(NamedTuple):
    """A symmetric rule: points m and m +- spread S_i, S_i the columns of S.

    With a_i+- the values less that at m, weights 1 / (2 spread^2), and delta the mean of a_i+-
    under them, the unscented transform of n states is

        mean = g(m) + delta,
        Cov[g] = sum_i (a_i+ a_i+' + a_i- a_i-') / (2 spread^2) + (beta - alpha^2) delta delta'

    whatever its centre weight, which is where textbooks put the last term. So:

    1. a_i+- = odd_i +- even_i. The sum over both signs is sum_i odd_i odd_i' + even_i even_i', each
       divided by spread^2: slope_i = odd_i / spread, e_i = even_i / spread.
    2. delta = sum_i even_i / spread^2 = E u with columns e_i of E and u_i = 1 / spread, whose
       square is u'u = n / spread^2.
    3. Hence the residual part is E (I - (alpha^2 - beta) u u') E', and with spread^2 =
       alpha^2 (n + kappa) its eigenvalue along u is (kappa + n beta / alpha^2) / (n + kappa).
    4. Where that is not negative, its root is I - shrink 1 1' / n with (1 - shrink)^2 equal to it:
       no weight is negative any more, and no factor has to be downdated. Where it is negative, the
       "covariance" of some function is indefinite.
    """

    spread: float
    shrink: float
    centre: bool  # whether the function is evaluated at m

    def __call__(self, function, mean, scale, inputs) -> Matched:
        """The replacement of ``function``; q = n."""
        n = mean.shape[-1]
        offsets = self.spread * columns_first(scale)
        points = [mean + offsets, mean - offsets]
        if self.centre:
            points.append(mean[tf.newaxis])
        values = function(tf.concat(points, axis=0), inputs)
        plus, minus = values[:n], values[n : 2 * n]
        slope = (plus - minus) / (2.0 * self.spread)
        origin = values[-1] if self.centre else tf.reduce_mean(values, axis=0)
        even = (plus - origin + minus - origin) / (2.0 * self.spread)
        matched = origin
        if self.centre:
            matched += tf.reduce_sum(even, axis=0) / self.spread
            even -= self.shrink * tf.reduce_mean(even, axis=0)
        return Matched(matched, columns_last(slope), columns_last(even))


def cubature(n: int) -> SigmaPoints:
    """The third-degree spherical-radial rule: 2n points of equal weight."""
    return SigmaPoints(spread=float(np.sqrt(n)), shrink=1.0, centre=False)


def unscented(n: int, alpha: float, beta: float, kappa: float | None) -> SigmaPoints:
    """The scaled unscented rule; kappa None is max(3 - n, 0).

    Raises:
      ValueError: there are no such points, or their covariance can be indefinite.
    """
    kappa = float(max(3 - n, 0)) if kappa is None else float(kappa)
    alpha, beta = float(alpha), float(beta)
    if not (np.isfinite([alpha, beta, kappa]).all() and alpha > 0 and n + kappa > 0):
        raise ValueError(
            f"alpha = {alpha:g}, beta = {beta:g}, kappa = {kappa:g}: all must be finite, with "
            f"alpha > 0 and n + kappa > 0, where n = {n} is the number of states."
        )
    along = (kappa + n * beta / alpha**2) / (n + kappa)
    if along < -1e-12:
        raise ValueError(
            f"alpha = {alpha:g}, beta = {beta:g}, kappa = {kappa:g}: with n = {n} states, kappa + "
            f"n beta / alpha^2 is negative, so that covariances of the unscented transform can be "
            f"indefinite. Raise beta to {-kappa * alpha**2 / n:g} or more."
        )
    spread = alpha * np.sqrt(n + kappa)
    centre = not (np.isclose(spread**2, n) and np.isclose(beta - alpha**2, -1.0))
    return SigmaPoints(float(spread), float(1.0 - np.sqrt(max(along, 0.0))), centre)
