"""Vector autoregressions: several series, each explained by the past of all."""

import functools
import numbers
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from statespace.linalg_ops.cholesky import cholesky
from statespace.linalg_ops.least_squares import least_squares
from statespace.linalg_ops.triangular import triangular_solve
from statespace.models.base import Model
from statespace.models.block import Block, per_step
from statespace.models.parameters import Location, LowerTriangle, Parameter, Scale
from statespace.models.stationary import stationary_scale

_NEGLIGIBLE = 1e-8  # variance, of standardised series
_LARGEST_ROOT = 0.98  # of a starting value
_ERROR_SHARE = 0.1  # of the residual variance, that a start takes for measurement error


class VectorAutoregressive(Model):
    """A vector autoregression of order p for m series, with measurement error if asked for.

        y_t = mean + x_t + N(0, diag(measurement.scale)^2)
        x_t = Phi_1 x_{t-1} + ... + Phi_p x_{t-p} + e_t,    e_t ~ N(0, L L')

    ``autoregression.coefficients`` are Phi_1, ..., Phi_p, [p, m, m]; ``autoregression.scale`` is
    the lower triangle of the Cholesky factor L row by row, or its diagonal if the innovations of
    different series are uncorrelated; ``mean`` and ``measurement.scale`` have a number for each
    series.

    A stationary x starts from its stationary distribution, and is stationary whatever the optimiser
    tries. Otherwise nothing is assumed about the first p observations, an exact diffuse start; the
    likelihood is conditional on them then, so that without missing values and measurement error
    the coefficients are those of least squares.

    The states are x_t, and for j = 1, ..., p - 1 what the past has for x_{t+j}, apart from what
    goes through x_t, ..., x_{t+j-1}. ``fit`` takes a DataFrame with one series a column, or an
    array [..., T, m].

    Args:
      order: p, at least one.
      num_series: m, at least one.
      mean: whether a mean is estimated, or zero.
      correlated: whether the innovations of one step are correlated.
      measurement_error: whether the series are observed with noise.
      stationary: whether x is to be stationary.

    Raises:
      ValueError: ``order`` or ``num_series`` is not a positive whole number.

    References:
      Luetkepohl, H. (2005). New Introduction to Multiple Time Series Analysis, chapters 2, 3
      and 18.

    Example:
      >>> import numpy as np
      >>> model = VectorAutoregressive(1, 2)
      >>> [(p.name, p.shape) for p in model.parameters]
      [('autoregression.coefficients', (1, 2, 2)), ('autoregression.scale', (3,)), ('mean', (2,))]
      >>> y = np.random.default_rng(0).normal(size=(50, 2)).cumsum(axis=0)
      >>> result = VectorAutoregressive(1, 2, stationary=False).fit(y, verbose=0)
      >>> result.forecast(3).mean.shape
      (3, 2)
    """

    name = "autoregression"

    def __init__(
        self,
        order,
        num_series,
        *,
        mean=True,
        correlated=True,
        measurement_error=False,
        stationary=True,
    ):
        self.order = checked_count("VectorAutoregressive", "order", order, 1)
        self.num_observed = checked_count("VectorAutoregressive", "num_series", num_series, 1)
        self.mean, self.correlated = bool(mean), bool(correlated)
        self.measurement_error, self.stationary = bool(measurement_error), bool(stationary)
        self.diffuse_constant = "include" if self.stationary else "exclude"
        m = self.num_observed
        self.state_names = ahead_names([f"{self.name}_{i + 1}" for i in range(m)], self.order)
        matrices = StationaryMatrices if self.stationary else Parameter
        self._scale = (
            LowerTriangle(f"{self.name}.scale", power=1, dims=(m, m))
            if self.correlated
            else Scale(f"{self.name}.scale", shape=(m,))
        )
        self.parameters = (
            matrices(f"{self.name}.coefficients", shape=(self.order, m, m)),
            self._scale,
            *((Location("mean", shape=(m,)),) if self.mean else ()),
            *((Scale("measurement.scale", shape=(m,)),) if self.measurement_error else ()),
        )

    def block(self, params, steps):
        """The block companion form."""
        m, n = self.num_observed, len(self.state_names)
        transition = block_companion(params["autoregression.coefficients"])
        innovations = params["autoregression.scale"]
        scale = self._scale.matrix(innovations) if self.correlated else _diagonal(innovations)
        scale = np.eye(n, m) @ scale
        noise = _diagonal(params["measurement.scale"]) if self.measurement_error else None
        return Block(
            transition_matrix=per_step(transition, 2),
            transition_scale=per_step(scale, 2),
            observation_matrix=np.eye(m, n),
            observation_scale=None if noise is None else per_step(noise, 2),
            observation_offset=per_step(params["mean"], 1) if self.mean else None,
            initial_scale=stationary_scale(transition, scale) if self.stationary else None,
        )

    def units(self, scale, feature_scale):
        """Each coefficient in units of one series for one of another, the rest in their own."""
        own = {parameter.name: scale for parameter in self.parameters}
        ratio = scale[:, :, np.newaxis] / scale[:, np.newaxis, :]
        own["autoregression.coefficients"] = np.repeat(ratio[:, np.newaxis], self.order, axis=1)
        if self.correlated:
            own["autoregression.scale"] = scale[:, self._scale.places[0]]
        return own

    def start(self, values, units):
        """Starting values from the data: least squares on the series' past."""
        mean, spread, standardised = standardise(values, self.mean)
        coefficients, covariance, shift = regress_on_past(standardised, self.order, self.mean)
        if self.stationary:
            coefficients = made_stationary(coefficients)
        else:
            mean += spread * shift
        factor = spread[:, :, np.newaxis] * np.linalg.cholesky(covariance)
        deviations = spread * np.sqrt(np.diagonal(covariance, axis1=1, axis2=2))
        ratio = spread[:, :, np.newaxis] / spread[:, np.newaxis, :]
        return {
            "autoregression.coefficients": coefficients * ratio[:, np.newaxis],
            "autoregression.scale": (
                factor[:, *self._scale.places] if self.correlated else deviations
            ),
            "mean": mean,
            "measurement.scale": np.sqrt(_ERROR_SHARE) * deviations,
        }

    def __repr__(self):
        options = ("mean", True), ("correlated", True)
        options = (*options, ("measurement_error", False), ("stationary", True))
        changed = [f", {k}={getattr(self, k)}" for k, usual in options if getattr(self, k) != usual]
        return f"VectorAutoregressive({self.order}, {self.num_observed}{''.join(changed)})"


@dataclass(frozen=True)
class StationaryMatrices(Parameter):
    """Coefficient matrices (Phi_1, ..., Phi_p) of a stationary vector autoregression, [p, m, m].

    Every real array gives a stationary process, and every stationary process has one: with A_k the
    hyperbolic sines of the free coordinates, P_k = chol(I + A_k A_k')^-1 A_k are, up to rotations,
    the partial autocorrelation matrices of the process whose innovations have the covariance I.
    For a single series the coordinates are those of ``StationaryCoefficients``.

    References:
      Ansley, C. F. and Kohn, R. (1986). A note on reparameterizing a vector autoregressive moving
      average model to enforce stationarity. Journal of Statistical Computation and Simulation
      24(2), 99-106.
    """

    start: tuple[float, float] = (-0.5, 0.5)
    limits: tuple[float, float] = (-9.0, 9.0)

    @property
    def bijector(self):
        """From free coordinates to coefficient matrices."""
        return _stationary_matrices_bijector()


@functools.cache
def _stationary_matrices_bijector():
    import tensorflow_probability as tfp

    class Stationary(tfp.bijectors.Bijector):
        """R^{p m m} to the coefficients of stationary vector autoregressions."""

        def __init__(self):
            super().__init__(forward_min_event_ndims=3, is_constant_jacobian=False)

        def _forward(self, x):
            # The process in units in which its covariance is the identity.
            forward = backward = _first(x)
            for a in tf.unstack(tf.sinh(x), axis=-3):
                forward, backward = _one_lag_more(forward, backward, a)
            leading, others = forward[..., :1, :, :], forward[..., 1:, :, :]
            # Back to units in which that of the innovations is.
            return -triangular_solve(leading, others, right_side=True)

        def _inverse(self, y):
            order = y.shape[-3]
            covariances = _autocovariances(y)
            leading = cholesky(covariances[0])
            correlations = [
                triangular_solve(
                    leading, triangular_solve(leading, c), adjoint=True, right_side=True
                )
                for c in covariances
            ]
            forward = backward = _first(y)
            identity, free = tf.eye(y.shape[-1], dtype=y.dtype), []
            for s in range(order):
                ahead = tf.stack(correlations[s + 1 : 0 : -1], axis=-3)
                partial = tf.reduce_sum(forward @ ahead, axis=-3)
                partial = tf.matmul(partial, backward[..., -1, :, :], transpose_b=True)
                rest = cholesky(identity - tf.matmul(partial, partial, transpose_b=True))
                a = triangular_solve(rest, partial)
                forward, backward = _one_lag_more(forward, backward, a)
                free.append(tf.asinh(a))
            return tf.stack(free, axis=-3)

        def _forward_log_det_jacobian(self, x):
            # No closed form; only draws under a prior on the coefficients themselves ask for it.
            size = x.shape[-3] * x.shape[-2] * x.shape[-1]
            flat = tf.reshape(x, [-1, size])
            with tf.GradientTape(persistent=True) as tape:
                tape.watch(flat)
                rows = self._forward(tf.reshape(flat, [-1, *x.shape[-3:]]))
                rows = tf.reshape(rows, [-1, size])
            jacobian = tape.batch_jacobian(rows, flat, experimental_use_pfor=False)
            return tf.reshape(tf.linalg.slogdet(jacobian)[1], tf.shape(x)[:-3])

    return Stationary()


def _first(matrices):
    """The identity, as the polynomials of order zero, ``[..., 1, m, m]`` for ``[..., p, m, m]``."""
    return tf.eye(matrices.shape[-1], dtype=matrices.dtype) + tf.zeros_like(matrices[..., :1, :, :])


def _one_lag_more(forward, backward, a):
    """One step of the Whittle-Levinson-Durbin recursion, in normalised form.

    f_t = sum_i forward_i x_{t-i} are the errors of predicting x_t from the s steps before it, and
    b_t = sum_i backward_i x_{t-i} those of predicting x_{t-s} from the s steps after it, both with
    covariance I; P = E f_t b_{t-1}' = B^-1 A. With B B' = I + A A' and D D' = I + A' A,

        (I - P P')^-1 = B' B,    (I - P' P)^-1 = D D',    D' P' = D^-1 A' B,

    so B (f_t - P b_{t-1}) and D' (b_{t-1} - P' f_t) are those for s + 1 steps.

    Args:
      forward, backward: ``[..., s + 1, m, m]``.
      a: A, ``[..., m, m]``.
    """
    identity = tf.eye(a.shape[-1], dtype=a.dtype)
    b = cholesky(identity + tf.matmul(a, a, transpose_b=True))
    d = cholesky(identity + tf.matmul(a, a, transpose_a=True))
    reflected = triangular_solve(d, tf.matmul(a, b, transpose_a=True))
    a, b, d, reflected = (x[..., tf.newaxis, :, :] for x in (a, b, d, reflected))
    nothing = tf.zeros_like(forward[..., :1, :, :])
    forward = tf.concat([forward, nothing], axis=-3)
    backward = tf.concat([nothing, backward], axis=-3)
    return (
        b @ forward - a @ backward,
        tf.matmul(d, backward, transpose_a=True) - reflected @ forward,
    )


def _autocovariances(coefficients):
    """E x_t x_{t-k}' for k = 0, ..., p, where the innovations have covariance I."""
    order, m = coefficients.shape[-3], coefficients.shape[-1]
    transition = block_companion(coefficients)
    start = stationary_scale(transition, np.eye(order * m, m) + tf.zeros_like(transition[..., :m]))
    moved = tf.matmul(start, start, transpose_b=True)[..., :m]
    covariances = [moved[..., :m, :]]
    for _ in range(order):
        moved = transition @ moved
        covariances.append(moved[..., :m, :])
    return covariances


def block_companion(coefficients) -> tf.Tensor:
    """The transition of x_t and what the past has for x_{t+1}, ..., x_{t+p-1}, ``[..., pm, pm]``.

    Args:
      coefficients: ``[..., p, m, m]``, one below the other in the first m columns.
    """
    order, m = coefficients.shape[-3], coefficients.shape[-1]
    rows = tf.concat([tf.shape(coefficients)[:-3], [order * m, m]], axis=0)
    return tf.reshape(coefficients, rows) @ np.eye(m, order * m) + np.eye(order * m, k=m)


def ahead_names(names, order) -> tuple[str, ...]:
    """Names of the states of ``block_companion``."""
    ahead = [f"{name}_ahead_{j}" for j in range(1, order) for name in names]
    return (*names, *ahead)


def standardise(values, centred):
    """Mean [N, m], spread [N, m] and standardised values of series [N, T, m] with gaps.

    Args:
      values: the series, NaN where missing.
      centred: whether they are taken to vary about their means, or about zero.
    """
    mean = np.nanmean(values, axis=1) * float(centred)
    distance = values - mean[:, np.newaxis]
    spread = np.sqrt(np.nanmean(distance**2, axis=1))
    return mean, spread, distance / spread[:, np.newaxis]


def regress_on_past(series, order, centred=False):
    """Vector autoregressions by least squares.

    Args:
      series: standardised, [N, T, m]; steps are left out where they or their pasts have gaps.
      order: p, at least one.
      centred: whether there is a mean, or it is zero.

    Returns:
      Coefficients [N, p, m, m], innovation covariances [N, m, m], positive definite, and means
      [N, m].
    """
    count, num_steps, m = series.shape
    lags = [series[:, order - lag : num_steps - lag] for lag in range(1, order + 1)]
    past, now = np.concatenate(lags, axis=2), series[:, order:]
    used = ~(np.isnan(past).any(axis=2) | np.isnan(now).any(axis=2))[..., np.newaxis]
    size = np.maximum(used.sum(axis=1, keepdims=True), 1)
    averages = [
        np.where(used, x, 0.0).sum(axis=1, keepdims=True) / size * float(centred)
        for x in (past, now)
    ]
    past, now = (
        np.where(used, x - average, 0.0) for x, average in zip((past, now), averages, strict=True)
    )
    # The ridge matters only where the past does not tell its parts from each other.
    solution = least_squares(past, now, ridge=_NEGLIGIBLE * num_steps).numpy()
    rest = now - past @ solution
    covariance = np.swapaxes(rest, 1, 2) @ rest / size + _NEGLIGIBLE * np.eye(m)
    coefficients = np.swapaxes(solution.reshape(count, order, m, m), 2, 3)
    remains = np.eye(m) - coefficients.sum(axis=1)
    intercept = np.swapaxes(averages[1] - averages[0] @ solution, 1, 2)
    return coefficients, covariance, np.linalg.solve(remains, intercept)[..., 0]


def made_stationary(coefficients):
    """Coefficients [N, p, m, m] with all roots drawn in by one factor, where one is too near one.

    Phi_k r^k has the roots of Phi_k times r.
    """
    transition = block_companion(tf.constant(coefficients)).numpy()
    largest = np.abs(np.linalg.eigvals(transition)).max(axis=1)
    factor = np.minimum(1.0, _LARGEST_ROOT / np.maximum(largest, _NEGLIGIBLE))
    powers = factor[:, np.newaxis] ** np.arange(1, coefficients.shape[1] + 1)
    return coefficients * powers[..., np.newaxis, np.newaxis]


def checked_count(owner, argument, value, least):
    """A whole number, at least ``least``; else a ValueError that names the argument."""
    if not isinstance(value, numbers.Integral) or value < least:
        kind = "a positive whole number" if least else "a whole number from zero"
        raise ValueError(f"{owner}: {argument} is {kind}; given was {value!r}.")
    return int(value)


def _diagonal(scales):
    return np.eye(scales.shape[-1]) * scales[..., tf.newaxis, :]
