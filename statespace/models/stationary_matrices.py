"""Coefficient matrices of stationary vector processes, in coordinates without bounds."""

import functools
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from statespace.linalg_ops.cholesky import cholesky
from statespace.linalg_ops.triangular import triangular_solve
from statespace.models.parameters import Parameter, negated
from statespace.models.restricted import placed, restricted_bijector
from statespace.models.stationary import block_companion, stationary_scale


@dataclass(frozen=True)
class CoefficientMatrices(Parameter):
    """Coefficient matrices (Phi_1, ..., Phi_p) of a vector process, or some of their elements.

    Args:
      dims: (p, m, m).
      places: lag (from zero), row and column of each element that need not be zero, k in all; the
        values are a vector [k] then. None for all, [p, m, m].
    """

    dims: tuple[int, int, int] = (1, 1, 1)
    places: tuple[tuple[int, int, int], ...] | None = None
    start: tuple[float, float] = (-0.5, 0.5)

    def __post_init__(self):
        shape = self.dims if self.places is None else (len(self.places),)
        object.__setattr__(self, "shape", shape)

    @property
    def labels(self):
        """The name with lag, row and column of each element, counting from one."""
        if self.places is None:
            return super().labels
        return tuple(f"{self.name}[{k + 1},{i + 1},{j + 1}]" for k, i, j in self.places)

    def matrices(self, values) -> tf.Tensor:
        """All elements, ``[..., p, m, m]``, with the values ``[..., *shape]``."""
        return values if self.places is None else placed(values, self.places, self.dims)

    def values(self, matrices):
        """The inverse of ``matrices``, for an array of NumPy."""
        if self.places is None:
            return matrices
        lag, row, column = np.transpose(self.places)
        return matrices[..., lag, row, column]

    def kept(self, matrices):
        """An array of NumPy with zeros for the elements that must be zero."""
        return np.asarray(self.matrices(self.values(matrices)))


@dataclass(frozen=True)
class StationaryMatrices(CoefficientMatrices):
    """Coefficient matrices (Phi_1, ..., Phi_p) of a stationary vector autoregression.

    Every real array gives a stationary process, and every stationary process has one: with A_k the
    hyperbolic sines of the free coordinates, P_k = chol(I + A_k A_k')^-1 A_k are, up to rotations,
    the partial autocorrelation matrices of the process whose innovations have the covariance I.
    For a single series the coordinates are those of ``StationaryCoefficients``; where elements are
    zero, those of :func:`statespace.models.restricted.restricted_bijector`.

    References:
      Ansley, C. F. and Kohn, R. (1986). A note on reparameterizing a vector autoregressive moving
      average model to enforce stationarity. Journal of Statistical Computation and Simulation
      24(2), 99-106.
    """

    limits: tuple[float, float] = (-9.0, 9.0)

    @property
    def bijector(self):
        """From free coordinates to values."""
        if self.places is None:
            return _stationary_matrices_bijector()
        return restricted_bijector(self.places, self.dims)

    def why_not(self, value):
        """Without a stationary distribution there is none to start from."""
        transition = block_companion(self.matrices(tf.convert_to_tensor(value, tf.float64)))
        stationary = np.abs(np.linalg.eigvals(transition.numpy())) < 1
        return "" if stationary.all() else "must be the coefficients of a stationary process"


@dataclass(frozen=True)
class InvertibleMatrices(StationaryMatrices):
    """Coefficient matrices (Theta_1, ..., Theta_q) of an invertible vector moving average.

    I + Theta_1 B + ... + Theta_q B^q is the polynomial of a stationary autoregression with the
    coefficients -Theta_1, ..., -Theta_q.
    """

    @property
    def bijector(self):
        """From free coordinates to values."""
        return negated(super().bijector)

    def why_not(self, value):
        """A process with any moving average has a distribution to start from."""
        return ""


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
