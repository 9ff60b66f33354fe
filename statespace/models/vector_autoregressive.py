"""Vector autoregressions: several series, each explained by the past of all."""

import inspect
import numbers

import numpy as np
import tensorflow as tf

from statespace.models.base import Model
from statespace.models.block import Block, per_step
from statespace.models.guesses import made_stationary, regress_on_past, standardise
from statespace.models.levels import effects, level, level_parameters, level_start, level_units
from statespace.models.parameters import LowerTriangle, Scale
from statespace.models.stationary import block_companion, stationary_scale
from statespace.models.stationary_matrices import (
    CoefficientMatrices,
    InvertibleMatrices,
    StationaryMatrices,
)

_ERROR_SHARE = 0.1  # of the residual variance, that a start takes for measurement error
_EFFECTS = ("static", "dynamic")


class VectorAutoregressive(Model):
    """A vector autoregression of order p for m series, with what else is asked for.

        y_t = mean + B z_t + x_t + N(0, diag(measurement.scale)^2)
        x_t = Phi_1 x_{t-1} + ... + Phi_p x_{t-p} + e_t + Theta_1 e_{t-1} + ... + Theta_q e_{t-q}

    with e_t ~ N(0, L L'). ``autoregression.coefficients`` are Phi_1, ..., Phi_p, [p, m, m];
    ``moving_average.coefficients`` likewise Theta_1, ..., Theta_q; ``autoregression.scale`` is the
    lower triangle of the Cholesky factor L row by row, or its diagonal if the innovations of
    different series are uncorrelated; ``mean`` and ``measurement.scale`` have a number for each
    series, and ``regression.coefficients`` are B, [m, K], the effects of K features z_t.

    A static effect is felt in the same step only: a regression with autoregressive errors, and with
    p = 0 seemingly unrelated regressions. A dynamic one goes on in the autoregression, as that of
    an innovation does: without a mean, y_t = Phi_1 y_{t-1} + ... + Phi_p y_{t-p} + B z_t + e_t.
    Features are taken to have been zero before the first step.

    A stationary x starts from its stationary distribution, and is stationary whatever the optimiser
    tries; moving averages are invertible. Otherwise nothing is assumed about the first p
    observations, an exact diffuse start; the likelihood is conditional on them then, so that
    without missing values, static effects and measurement error the coefficients are those of least
    squares.

    In place of p or q there may be an array [p, m, m] that has zeros for coefficients that are
    zero, and else ones. The coefficients are then a vector of those that are left, lag by lag and
    row by row.

    The states are x_t, and for j = 1, 2, ... what the past has for x_{t+j}, apart from what goes
    through x_t, ..., x_{t+j-1}. ``fit`` takes a DataFrame with one series a column, or an array
    [..., T, m].

    Args:
      order: p, from zero, or which coefficients there are.
      num_series: m, at least one.
      moving_average: q, from zero, or which coefficients there are.
      num_features: K, from zero.
      effect: of the features, "static" or "dynamic".
      mean: whether a mean is estimated, or zero.
      correlated: whether the innovations of one step are correlated.
      measurement_error: whether the series are observed with noise.
      stationary: whether x is to be stationary.

    Raises:
      ValueError: a number is not a whole number of this kind, an array has another shape, there is
        no such effect, or there is a moving average where x need not be stationary.

    References:
      Luetkepohl, H. (2005). New Introduction to Multiple Time Series Analysis, chapters 2, 3, 10,
      11 and 18.

    Example:
      >>> import numpy as np
      >>> model = VectorAutoregressive(1, 2)
      >>> [(p.name, p.shape) for p in model.parameters]
      [('autoregression.coefficients', (1, 2, 2)), ('autoregression.scale', (3,)), ('mean', (2,))]
      >>> y = np.random.default_rng(0).normal(size=(50, 2)).cumsum(axis=0)
      >>> result = VectorAutoregressive(1, 2, stationary=False).fit(y, verbose=0)
      >>> result.forecast(3).mean.shape
      (3, 2)
      >>> VectorAutoregressive([[[1, 0], [1, 1]]], 2).parameters[0].labels[1]
      'autoregression.coefficients[1,2,1]'
    """

    name = "autoregression"

    def __init__(
        self,
        order,
        num_series,
        *,
        moving_average=0,
        num_features=0,
        effect="static",
        mean=True,
        correlated=True,
        measurement_error=False,
        stationary=True,
    ):
        owner = "VectorAutoregressive"
        self.num_observed = m = checked_count(owner, "num_series", num_series, 1)
        self.order = _checked_order("order", order, m)
        self.moving_average = _checked_order("moving_average", moving_average, m)
        self.num_features = checked_count(owner, "num_features", num_features, 0)
        self.effect = effect
        self.mean, self.correlated = bool(mean), bool(correlated)
        self.measurement_error, self.stationary = bool(measurement_error), bool(stationary)
        if effect not in _EFFECTS:
            raise ValueError(f"{owner}: effect is one of {_EFFECTS}; given was {effect!r}.")
        kind = StationaryMatrices if self.stationary else CoefficientMatrices
        self._phi = _matrices(kind, f"{self.name}.coefficients", self.order, m)
        self._theta = _matrices(
            InvertibleMatrices, "moving_average.coefficients", self.moving_average, m
        )
        p, q = self._phi.dims[0], self._theta.dims[0]
        if q and not self.stationary:
            raise ValueError(
                f"{owner}: a moving average starts from the stationary distribution; leave out "
                f"stationary=False, or fit differences."
            )
        self.diffuse_constant = "include" if self.stationary else "exclude"
        names = [f"{self.name}_{i + 1}" for i in range(m)]
        self.state_names = ahead_names(names, max(p, q + 1))
        self._scale = (
            LowerTriangle(f"{self.name}.scale", power=1, dims=(m, m))
            if self.correlated
            else Scale(f"{self.name}.scale", shape=(m,))
        )
        parameters = (
            self._phi,
            self._theta,
            self._scale,
            *level_parameters(m, self.mean, self.num_features),
            *((Scale("measurement.scale", shape=(m,)),) if self.measurement_error else ()),
        )
        self.parameters = tuple(parameter for parameter in parameters if parameter.size)

    def block(self, params, steps):
        """The block companion form."""
        m, n = self.num_observed, len(self.state_names)
        transition, scale = self._transition(params), self._innovations(params)
        noise = diagonal(params["measurement.scale"]) if self.measurement_error else None
        carried = start = None
        if self.num_features and self.effect == "dynamic":
            carried = tf.matmul(effects(params, steps), transition[..., :m], transpose_b=True)
        if self.stationary:
            start = stationary_scale(transition, scale)
        return Block(
            transition_matrix=per_step(transition, 2) if self._phi.size else transition,
            transition_scale=per_step(scale, 2),
            observation_matrix=np.eye(m, n),
            observation_scale=None if noise is None else per_step(noise, 2),
            transition_offset=carried,
            observation_offset=level(params, steps),
            initial_scale=start,
        )

    def _transition(self, params):
        """The block companion matrix ``[..., n, n]``; one of NumPy without an autoregression."""
        m, n = self.num_observed, len(self.state_names)
        if not self._phi.size:
            return np.eye(n, k=m)
        phi = self._phi.matrices(params[self._phi.name])
        longer = n // m - self._phi.dims[0]
        phi = tf.pad(phi, [[0, 0]] * (phi.shape.rank - 3) + [[0, longer], [0, 0], [0, 0]])
        return block_companion(phi)

    def _innovations(self, params):
        """What the states have of one step's innovations, ``[..., n, m]``."""
        m, n = self.num_observed, len(self.state_names)
        scale, response = params[self._scale.name], np.eye(n, m)
        if self._theta.size:
            theta = self._theta.matrices(params[self._theta.name])
            q = self._theta.dims[0]
            rows = tf.reshape(theta, tf.concat([tf.shape(theta)[:-3], [q * m, m]], axis=0))
            response += np.eye(n, q * m, k=-m) @ rows
        return response @ (self._scale.matrix(scale) if self.correlated else diagonal(scale))

    def units(self, scale, feature_scale):
        """Each coefficient in units of one series for one of another, the rest in their own."""
        own = {parameter.name: scale for parameter in self.parameters}
        ratio = (scale[:, :, np.newaxis] / scale[:, np.newaxis, :])[:, np.newaxis]
        for parameter in (self._phi, self._theta):
            p, _, _ = parameter.dims
            own[parameter.name] = parameter.values(np.repeat(ratio, p, axis=1))
        own |= level_units(scale, feature_scale)
        if self.correlated:
            own["autoregression.scale"] = scale[:, self._scale.places[0]]
        return own

    def start(self, values, units, features=None):
        """Starting values from the data: least squares on the series' past."""
        mean, spread, standardised = standardise(values, self.mean)
        lags = range(1, self._phi.dims[0] + 1)
        phi, covariance, shift = regress_on_past(standardised, lags, self.mean)
        if self.stationary:
            phi = made_stationary(self._phi.kept(phi), lags)
        else:
            mean = mean + spread * shift
        factor = spread[:, :, np.newaxis] * np.linalg.cholesky(covariance)
        deviations = spread * np.sqrt(np.diagonal(covariance, axis1=1, axis2=2))
        ratio = (spread[:, :, np.newaxis] / spread[:, np.newaxis, :])[:, np.newaxis]
        return {
            self._phi.name: self._phi.values(phi * ratio),
            self._theta.name: np.zeros((len(values), *self._theta.shape)),
            self._scale.name: (factor[:, *self._scale.places] if self.correlated else deviations),
            "measurement.scale": np.sqrt(_ERROR_SHARE) * deviations,
            **level_start(mean, self.num_features),
        }

    def __repr__(self):
        return f"VectorAutoregressive({self.order}, {self.num_observed}{changed_options(self)})"


def ahead_names(names, order) -> tuple[str, ...]:
    """Names of the states of ``block_companion``."""
    ahead = [f"{name}_ahead_{j}" for j in range(1, order) for name in names]
    return (*names, *ahead)


def changed_options(model) -> str:
    """The keyword arguments of a model that are not at their defaults, each after a comma."""
    options = inspect.signature(type(model)).parameters.values()
    options = [p for p in options if p.kind is p.KEYWORD_ONLY]
    changed = [p.name for p in options if getattr(model, p.name) != p.default]
    return "".join(f", {name}={getattr(model, name)!r}" for name in changed)


def checked_count(owner, argument, value, least):
    """A whole number, at least ``least``; else a ValueError that names the argument."""
    if not isinstance(value, numbers.Integral) or value < least:
        kind = "a positive whole number" if least else "a whole number from zero"
        raise ValueError(f"{owner}: {argument} is {kind}; given was {value!r}.")
    return int(value)


def _checked_order(argument, value, m):
    """A number, or tuples [p, m, m] of zeros and ones that has zeros; ones alone are a number."""
    if isinstance(value, numbers.Integral):
        return checked_count("VectorAutoregressive", argument, value, 0)
    given = np.asarray(value)
    if given.shape[1:] != (m, m) or not np.isin(given, (0, 1)).all() or not given.any():
        raise ValueError(
            f"VectorAutoregressive: {argument} is a whole number from zero, or an array "
            f"[{argument}, {m}, {m}] of zeros and ones, not all zero; given was {value!r}."
        )
    if given.all():
        return len(given)
    return tuple(tuple(tuple(map(int, row)) for row in matrix) for matrix in given)


def _matrices(kind, name, order, m):
    if isinstance(order, int):
        return kind(name, dims=(order, m, m))
    places = tuple(tuple(map(int, place)) for place in np.argwhere(order))
    return kind(name, dims=(len(order), m, m), places=places)


def diagonal(scales):
    """Matrices ``[..., m, m]`` with scales ``[..., m]``, and zeros."""
    return np.eye(scales.shape[-1]) * scales[..., tf.newaxis, :]
