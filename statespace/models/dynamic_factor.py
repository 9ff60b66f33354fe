"""Dynamic factor models: many series that move with a few factors."""

import numpy as np
import tensorflow as tf

from statespace.linalg_ops.lq import lq
from statespace.models.autoregressive import companion
from statespace.models.base import Model
from statespace.models.block import Block, block_diagonal, joined, per_step
from statespace.models.guesses import made_stationary, regress_on_past, standardise
from statespace.models.levels import level, level_parameters, level_start, level_units
from statespace.models.parameters import LowerTriangle, Scale, StationaryCoefficients
from statespace.models.stationary import block_companion, stationary_scale
from statespace.models.stationary_matrices import StationaryMatrices
from statespace.models.vector_autoregressive import (
    ahead_names,
    changed_options,
    checked_count,
    diagonal,
)

_SMALLEST_LOADING = 1e-2  # on the diagonal of a start, where it is positive
_SMALLEST_ERROR = 1e-4  # variance of a start, of standardised series
_COVARIANCES = ("diagonal", "scalar", "unstructured")


class DynamicFactor(Model):
    """m series that move with k factors, and each with an error of its own.

        y_t = mean + B z_t + Lambda f_t + u_t
        f_t = Phi_1 f_{t-1} + ... + Phi_p f_{t-p} + e_t,    e_t ~ N(0, I)

    The errors u are N(0, irregular.scale_i^2), or stationary autoregressions of order q:

        u_{i,t} = rho_{i,1} u_{i,t-1} + ... + rho_{i,q} u_{i,t-q} + N(0, error.scale_i^2)

    The noise may have one scale for all series, or be correlated with a covariance L L'; and the
    errors may be one vector autoregression of all together.

    No data tell the factors from their rotations. So their innovations are uncorrelated with
    variance one, and the first k rows of Lambda are lower triangular with a positive diagonal: the
    first series has the first factor alone, the second the first two, and so on, and each of these
    goes up with its own. Choose series for the first places that a factor certainly moves.

    ``factor.loadings`` are the lower triangle of Lambda row by row, ``factor.coefficients`` the
    matrices Phi, [p, k, k], ``mean`` and ``irregular.scale`` (or ``error.scale``) have a number for
    each series (or a single one, or the lower triangle of L row by row), ``error.coefficients`` are
    rho, [m, q] (or matrices, [q, m, m]), and ``regression.coefficients`` are B, [m, K], the effects
    of K features z_t. Factors and errors are stationary and
    start from their stationary distributions.

    The first k states are the factors. ``fit`` takes a DataFrame with one series a column, or an
    array [..., T, m]; ``result.smooth()`` has the factors, and ``result.components()`` what each of
    them contributes to each series.

    Args:
      num_factors: k, at least one and less than ``num_series``.
      factor_order: p, from zero; with zero the factors are white noise.
      num_series: m.
      error_order: q, from zero; with zero the errors are white noise.
      error_covariance: of the noise in the errors, "diagonal", "scalar" or "unstructured".
      joint_errors: whether the errors are a vector autoregression, or each one of its own.
      num_features: K, from zero.
      mean: whether a mean is estimated, or zero.

    Raises:
      ValueError: one of the numbers is not a whole number of this kind, there is no such
        covariance, or errors of order zero are to be joint.

    References:
      Durbin, J. and Koopman, S. J. (2012). Time Series Analysis by State Space Methods,
      2nd edition, section 3.7.
      Geweke, J. and Zhou, G. (1996). Measuring the pricing error of the arbitrage pricing theory.
      Review of Financial Studies 9(2), 557-587: the restrictions on the loadings.

    Example:
      >>> model = DynamicFactor(1, 2, 3)
      >>> [(p.name, p.shape) for p in model.parameters]  # doctest: +NORMALIZE_WHITESPACE
      [('factor.loadings', (3,)), ('factor.coefficients', (2, 1, 1)), ('mean', (3,)),
       ('irregular.scale', (3,))]
      >>> model.state_names
      ('factor_1', 'factor_1_ahead_1')
    """

    def __init__(
        self,
        num_factors,
        factor_order,
        num_series,
        *,
        error_order=0,
        error_covariance="diagonal",
        joint_errors=False,
        num_features=0,
        mean=True,
    ):
        owner = "DynamicFactor"
        self.num_factors = checked_count(owner, "num_factors", num_factors, 1)
        self.factor_order = checked_count(owner, "factor_order", factor_order, 0)
        self.num_observed = checked_count(owner, "num_series", num_series, 1)
        self.error_order = checked_count(owner, "error_order", error_order, 0)
        self.error_covariance, self.joint_errors = error_covariance, bool(joint_errors)
        self.num_features = checked_count(owner, "num_features", num_features, 0)
        self.mean = bool(mean)
        k, m, q = self.num_factors, self.num_observed, self.error_order
        if k >= m:
            raise ValueError(
                f"{owner}: num_factors must be less than the number of series, {m}; given was {k}."
            )
        if error_covariance not in _COVARIANCES:
            raise ValueError(
                f"{owner}: error_covariance is one of {_COVARIANCES}; given was "
                f"{error_covariance!r}."
            )
        if self.joint_errors and q == 0:
            raise ValueError(
                f"{owner}: joint_errors is about the autoregression of the errors; give an "
                f"error_order of at least one, or leave it out."
            )
        self._factor_names = tuple(f"factor_{j + 1}" for j in range(k))
        # Errors that nothing ties to each other are autoregressions each for itself.
        self._apart = not self.joint_errors and error_covariance != "unstructured"
        self.state_names = (
            *ahead_names(self._factor_names, max(self.factor_order, 1)),
            *self._error_names(),
        )
        self._loadings = LowerTriangle("factor.loadings", power=1, dims=(m, k))
        self._scale_name = "error.scale" if q else "irregular.scale"
        self._scale = {
            "diagonal": Scale(self._scale_name, shape=(m,)),
            "scalar": Scale(self._scale_name),
            "unstructured": LowerTriangle(self._scale_name, power=1, dims=(m, m)),
        }[error_covariance]
        parameters = (
            self._loadings,
            StationaryMatrices("factor.coefficients", dims=(self.factor_order, k, k)),
            *level_parameters(m, self.mean, self.num_features),
            self._scale,
            StationaryMatrices("error.coefficients", dims=(q, m, m))
            if self.joint_errors
            else StationaryCoefficients("error.coefficients", shape=(m, q)),
        )
        self.parameters = tuple(parameter for parameter in parameters if parameter.size)

    def block(self, params, steps):
        """The factors first, then the errors where they are states."""
        k = self.num_factors
        loadings = per_step(self._loadings.matrix(params["factor.loadings"]), 2)
        factors, entry, start = self._factors(params)
        observation = loadings @ np.eye(k, entry.shape[-2])
        noise = self._noise(params[self._scale_name])
        if self.error_order == 0:
            return Block(
                transition_matrix=factors,
                transition_scale=entry,
                observation_matrix=observation,
                observation_scale=per_step(noise, 2),
                observation_offset=level(params, steps),
                initial_scale=start,
            )
        errors, error_scale, error_start, seen = self._errors(params["error.coefficients"], noise)
        return Block(
            transition_matrix=block_diagonal([factors, per_step(errors, 2)]),
            transition_scale=block_diagonal([entry, per_step(error_scale, 2)]),
            observation_matrix=joined([observation, seen], axis=-1),
            observation_offset=level(params, steps),
            initial_scale=block_diagonal([start, error_start]),
        )

    def _noise(self, scales):
        """The square root of the covariance of the noise in the errors, ``[..., m, m]``."""
        if self.error_covariance == "unstructured":
            return self._scale.matrix(scales)
        if self.error_covariance == "scalar":
            return np.eye(self.num_observed) * scales[..., tf.newaxis, tf.newaxis]
        return diagonal(scales)

    def _errors(self, coefficients, noise):
        """Transition, scale and scale of the start of the errors, and what the series see."""
        m, q = self.num_observed, self.error_order
        if self._apart:
            each, first = companion(coefficients), np.eye(q, 1)
            scale = first * tf.linalg.diag_part(noise)[..., tf.newaxis, tf.newaxis]
            start = _spread(stationary_scale(each, scale))
            return _spread(each), _spread(scale), start, np.kron(np.eye(m), first.T)
        if not self.joint_errors:
            coefficients = tf.linalg.diag(tf.linalg.matrix_transpose(coefficients))
        transition, scale = block_companion(coefficients), np.eye(q * m, m) @ noise
        return transition, scale, stationary_scale(transition, scale), np.eye(m, q * m)

    def _error_names(self):
        m, q = self.num_observed, self.error_order
        names = [f"error_{i + 1}" for i in range(m)]
        if q == 0:
            return ()
        if not self._apart:
            return ahead_names(names, q)
        lags = ("", *(f"_lag_{lag}" for lag in range(1, q)))
        return tuple(f"{name}{lag}" for name in names for lag in lags)

    def _factors(self, params):
        """Transition, scale and scale of the start of the factors."""
        k = self.num_factors
        if self.factor_order == 0:
            return np.zeros((k, k)), np.eye(k), np.eye(k)
        transition = block_companion(params["factor.coefficients"])
        entry = np.eye(transition.shape[-1], k)
        start = stationary_scale(transition, entry + tf.zeros_like(transition[..., :k]))
        return per_step(transition, 2), entry, start

    def component_states(self):
        """Each factor by its name, and the errors where they are states."""
        states = {name: slice(j, j + 1) for j, name in enumerate(self._factor_names)}
        if self.error_order:
            first = len(self.state_names) - self.num_observed * self.error_order
            states["error"] = slice(first, len(self.state_names))
        return states

    def units(self, scale, feature_scale):
        """What is measured is so in units of its series; coefficients are ratios of them."""
        ratio = (scale[:, :, np.newaxis] / scale[:, np.newaxis, :])[:, np.newaxis]
        own = {
            "factor.loadings": scale[:, self._loadings.places[0]],
            "factor.coefficients": np.ones((1, 1, 1, 1)),
            "error.coefficients": ratio if self.joint_errors else np.ones((1, 1, 1)),
            **level_units(scale, feature_scale),
        }
        own[self._scale_name] = {
            "diagonal": scale,
            "scalar": scale.mean(axis=1),
            "unstructured": scale[:, np.tril_indices(self.num_observed)[0]],
        }[self.error_covariance]
        return {
            p.name: np.broadcast_to(own[p.name], (len(scale), *p.shape)) for p in self.parameters
        }

    def start(self, values, units, features=None):
        """Starting values from the data: principal components, and least squares on their past."""
        mean, spread, standardised = standardise(values, self.mean)
        factors, loadings = _principal_components(standardised, self.num_factors)
        rest = standardised - factors @ np.swapaxes(loadings, 1, 2)
        own = level_start(mean, self.num_features) | self._start_of_errors(rest, spread)
        if self.factor_order:
            lags = range(1, self.factor_order + 1)
            coefficients, covariance, _ = regress_on_past(factors, lags)
            coefficients = made_stationary(coefficients, lags)
            unit = np.linalg.cholesky(covariance)  # of the factors' innovations
            loadings = loadings @ unit
            coefficients = np.linalg.inv(unit)[:, np.newaxis] @ coefficients @ unit[:, np.newaxis]
        loadings, rotation = _identified(loadings)
        if self.factor_order:
            rotation = rotation[:, np.newaxis]
            own["factor.coefficients"] = rotation @ coefficients @ np.swapaxes(rotation, 2, 3)
        loadings *= spread[..., np.newaxis]
        return own | {"factor.loadings": loadings[:, *self._loadings.places]}

    def _start_of_errors(self, rest, spread):
        """From what principal components leave of standardised series, [N, T, m]."""
        count, num_steps, m = rest.shape
        lags = range(1, self.error_order + 1)
        if self.joint_errors:
            coefficients, covariance, _ = regress_on_past(rest, lags)
            coefficients = made_stationary(coefficients, lags)
            ratio = spread[:, :, np.newaxis] / spread[:, np.newaxis, :]
            coefficients *= ratio[:, np.newaxis]
        else:
            each = np.swapaxes(rest, 1, 2).reshape(count * m, num_steps, 1)
            coefficients, variance, _ = regress_on_past(each, lags)
            coefficients = made_stationary(coefficients, lags).reshape(count, m, -1)
            covariance = np.eye(m) * variance.reshape(count, m, 1)
        covariance = covariance + _SMALLEST_ERROR * np.eye(m)
        deviations = spread * np.sqrt(np.diagonal(covariance, axis1=1, axis2=2))
        factor = spread[:, :, np.newaxis] * np.linalg.cholesky(covariance)
        scale = {
            "diagonal": deviations,
            "scalar": np.sqrt((deviations**2).mean(axis=1)),
            "unstructured": factor[:, *np.tril_indices(m)],
        }[self.error_covariance]
        return {self._scale_name: scale, "error.coefficients": coefficients}

    def __repr__(self):
        numbers = f"{self.num_factors}, {self.factor_order}, {self.num_observed}"
        return f"DynamicFactor({numbers}{changed_options(self)})"


def _principal_components(series, count):
    """Components of variance one, [N, T, k], and loadings [N, m, k], of standardised series."""
    left, size, right = np.linalg.svd(np.nan_to_num(series), full_matrices=False)
    root = np.sqrt(series.shape[1])
    loadings = np.swapaxes(right[:, :count], 1, 2) * size[:, np.newaxis, :count]
    return root * left[..., :count], loadings / root


def _identified(loadings):
    """Loadings [N, m, k] turned so that the first k rows are a lower triangle, and the rotation."""
    k = loadings.shape[-1]
    _, rotation = lq(loadings[:, :k])
    rotation = rotation.numpy()
    turned = loadings @ np.swapaxes(rotation, 1, 2)
    diagonal = np.arange(k)
    turned[:, diagonal, diagonal] = np.maximum(turned[:, diagonal, diagonal], _SMALLEST_LOADING)
    return turned, rotation


def _spread(blocks):
    """The block-diagonal matrix ``[..., m a, m b]`` of m blocks ``[..., m, a, b]``."""
    m, a, b = blocks.shape[-3:]
    apart = blocks[..., tf.newaxis, :] * np.eye(m)[:, np.newaxis, :, np.newaxis]
    return tf.reshape(apart, tf.concat([tf.shape(blocks)[:-3], [m * a, m * b]], axis=0))
