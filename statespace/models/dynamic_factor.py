"""Dynamic factor models: many series that move with a few factors."""

import numpy as np
import tensorflow as tf

from statespace.linalg_ops.lq import lq
from statespace.models.autoregressive import companion
from statespace.models.base import Model
from statespace.models.block import Block, block_diagonal, joined, per_step
from statespace.models.parameters import Location, LowerTriangle, Scale, StationaryCoefficients
from statespace.models.stationary import stationary_scale
from statespace.models.vector_autoregressive import (
    StationaryMatrices,
    ahead_names,
    block_companion,
    checked_count,
    made_stationary,
    regress_on_past,
    standardise,
)

_SMALLEST_LOADING = 1e-2  # on the diagonal of a start, where it is positive


class DynamicFactor(Model):
    """m series that move with k factors, and each with an error of its own.

        y_t = mean + Lambda f_t + u_t
        f_t = Phi_1 f_{t-1} + ... + Phi_p f_{t-p} + e_t,    e_t ~ N(0, I)

    The errors u are N(0, irregular.scale_i^2), or stationary autoregressions of order q:

        u_{i,t} = rho_{i,1} u_{i,t-1} + ... + rho_{i,q} u_{i,t-q} + N(0, error.scale_i^2)

    No data tell the factors from their rotations. So their innovations are uncorrelated with
    variance one, and the first k rows of Lambda are lower triangular with a positive diagonal: the
    first series has the first factor alone, the second the first two, and so on, and each of these
    goes up with its own. Choose series for the first places that a factor certainly moves.

    ``factor.loadings`` are the lower triangle of Lambda row by row, ``factor.coefficients`` the
    matrices Phi, [p, k, k], ``mean`` and ``irregular.scale`` (or ``error.scale``) have a number for
    each series, and ``error.coefficients`` are rho, [m, q]. Factors and errors are stationary and
    start from their stationary distributions.

    The first k states are the factors. ``fit`` takes a DataFrame with one series a column, or an
    array [..., T, m]; ``result.smooth()`` has the factors, and ``result.components()`` what each of
    them contributes to each series.

    Args:
      num_factors: k, at least one and less than ``num_series``.
      factor_order: p, from zero; with zero the factors are white noise.
      num_series: m.
      error_order: q, from zero; with zero the errors are white noise.
      mean: whether a mean is estimated, or zero.

    Raises:
      ValueError: one of the numbers is not a whole number of this kind.

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

    def __init__(self, num_factors, factor_order, num_series, *, error_order=0, mean=True):
        owner = "DynamicFactor"
        self.num_factors = checked_count(owner, "num_factors", num_factors, 1)
        self.factor_order = checked_count(owner, "factor_order", factor_order, 0)
        self.num_observed = checked_count(owner, "num_series", num_series, 1)
        self.error_order = checked_count(owner, "error_order", error_order, 0)
        self.mean = bool(mean)
        k, m, q = self.num_factors, self.num_observed, self.error_order
        if k >= m:
            raise ValueError(
                f"{owner}: num_factors must be less than the number of series, {m}; given was {k}."
            )
        self._factor_names = tuple(f"factor_{j + 1}" for j in range(k))
        lags = ("", *(f"_lag_{lag}" for lag in range(1, q)))
        self.state_names = (
            *ahead_names(self._factor_names, max(self.factor_order, 1)),
            *(f"error_{i + 1}{lag}" for i in range(m) for lag in lags if q),
        )
        self._loadings = LowerTriangle("factor.loadings", power=1, dims=(m, k))
        parameters = (
            self._loadings,
            StationaryMatrices("factor.coefficients", shape=(self.factor_order, k, k)),
            *((Location("mean", shape=(m,)),) if self.mean else ()),
            Scale(self._scale_name, shape=(m,)),
            StationaryCoefficients("error.coefficients", shape=(m, q)),
        )
        self.parameters = tuple(parameter for parameter in parameters if parameter.size)

    @property
    def _scale_name(self):
        return "error.scale" if self.error_order else "irregular.scale"

    def block(self, params, steps):
        """The factors first, then the errors where they are states."""
        m, k = self.num_observed, self.num_factors
        scales = params[self._scale_name]
        loadings = per_step(self._loadings.matrix(params["factor.loadings"]), 2)
        factors, entry, start = self._factors(params)
        observation = loadings @ np.eye(k, entry.shape[-2])
        parts = {"observation_offset": per_step(params["mean"], 1)} if self.mean else {}
        if self.error_order == 0:
            noise = np.eye(m) * scales[..., tf.newaxis, :]
            return Block(
                transition_matrix=factors,
                transition_scale=entry,
                observation_matrix=observation,
                observation_scale=per_step(noise, 2),
                initial_scale=start,
                **parts,
            )
        first = np.eye(self.error_order, 1)
        each = companion(params["error.coefficients"])
        error_scale = first * scales[..., tf.newaxis, tf.newaxis]
        return Block(
            transition_matrix=block_diagonal([factors, per_step(_spread(each), 2)]),
            transition_scale=block_diagonal([entry, per_step(_spread(error_scale), 2)]),
            observation_matrix=joined([observation, np.kron(np.eye(m), first.T)], axis=-1),
            initial_scale=block_diagonal([start, _spread(stationary_scale(each, error_scale))]),
            **parts,
        )

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
        """Loadings, means and scales in units of their series; coefficients are pure numbers."""
        own = {
            parameter.name: scale if parameter.power else np.ones((len(scale), *parameter.shape))
            for parameter in self.parameters
        }
        return own | {"factor.loadings": scale[:, self._loadings.places[0]]}

    def start(self, values, units):
        """Starting values from the data: principal components, and least squares on their past."""
        mean, spread, standardised = standardise(values, self.mean)
        factors, loadings = _principal_components(standardised, self.num_factors)
        rest = standardised - factors @ np.swapaxes(loadings, 1, 2)
        own = {"mean": mean} | self._start_of_errors(rest, spread)
        if self.factor_order:
            coefficients, covariance, _ = regress_on_past(factors, self.factor_order)
            coefficients = made_stationary(coefficients)
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
        if self.error_order == 0:
            return {"irregular.scale": spread * np.sqrt(np.nanmean(rest**2, axis=1) + 1e-4)}
        count, num_steps, m = rest.shape
        each = np.swapaxes(rest, 1, 2).reshape(count * m, num_steps, 1)
        coefficients, variance, _ = regress_on_past(each, self.error_order)
        coefficients = made_stationary(coefficients)
        return {
            "error.scale": spread * np.sqrt(variance.reshape(count, m)),
            "error.coefficients": coefficients.reshape(count, m, self.error_order),
        }

    def __repr__(self):
        errors = f", error_order={self.error_order}" if self.error_order else ""
        mean = "" if self.mean else ", mean=False"
        numbers = f"{self.num_factors}, {self.factor_order}, {self.num_observed}"
        return f"DynamicFactor({numbers}{errors}{mean})"


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
