"""Named parameters of a model: their domains, bijectors, units and starting values."""

import functools
import math
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from statespace.models.polynomials import at_lags, partial_autocorrelations
from statespace.models.restricted import restricted_bijector


@dataclass(frozen=True)
class Parameter:
    """A quantity to estimate, known to users by its name.

    An optimiser sees *free coordinates*, real numbers u without bounds, of the same shape; the
    value is ``unit * bijector(u)``, where ``unit`` holds what the data are measured in.

    Args:
      name: what tables, ``params`` and ``fix`` call it, such as ``"level.scale"``.
      shape: () for a number, (p,) for a vector, ...
      power: how the value grows with the unit of the data: 1 for what is measured as the data are,
        0 for a pure number.
      start: lowest and highest free coordinate from which an optimiser should set out, for data
        whose short-term variation is about one.
      limits: free coordinates beyond which it should not look.
    """

    name: str
    shape: tuple[int, ...] = ()
    power: int = 0
    start: tuple[float, float] = (-1.0, 1.0)
    limits: tuple[float, float] = (-math.inf, math.inf)

    # The free coordinate of the value zero, if the domain ends there.
    boundary = None

    @property
    def size(self) -> int:
        """Number of free coordinates."""
        return math.prod(self.shape)

    @property
    def middle(self) -> float:
        """The free coordinate from which a network's learning sets out."""
        return sum(self.start) / 2

    @property
    def bijector(self):
        """The TFP bijector from free coordinates to values."""
        import tensorflow_probability as tfp

        return tfp.bijectors.Identity()

    @property
    def default_prior(self):
        """A weakly informative prior over each free coordinate, a TFP distribution.

        It is centred on the starting values and about three times as wide as their range.
        """
        import tensorflow_probability as tfp

        low, high = self.start
        width = tf.constant(1.5 * (high - low), tf.float64)
        return tfp.distributions.Normal(tf.constant((low + high) / 2, tf.float64), width)

    def why_not(self, value) -> str:
        """What a finite array ``[..., *shape]`` violates of the domain, its ends included.

        Returns:
          Words that go on from the parameter's name; empty if it may have this value.
        """
        return ""

    @property
    def labels(self) -> tuple[str, ...]:
        """A name for each element, counting from one."""
        places = [",".join(str(i + 1) for i in index) for index in np.ndindex(*self.shape)]
        return tuple(f"{self.name}[{place}]" if place else self.name for place in places)


@dataclass(frozen=True)
class Scale(Parameter):
    """A standard deviation: not negative, in units of the data.

    Its free coordinate is the logarithm, so every step of an optimiser is a relative one. The
    boundary, zero, lies at u = -infinity.
    """

    power: int = 1
    start: tuple[float, float] = (math.log(1e-5) / 2, 0.0)
    limits: tuple[float, float] = (math.log(1e-13) / 2, math.log(1e8) / 2)

    boundary = -math.inf

    @property
    def middle(self):
        """Of a scale of the data, 0.3 for data of variance one.

        The likelihood falls with the square of forecasts' errors over scales that are too small,
        and only with the logarithm of those that are too large.
        """
        return math.log(0.3) if self.power else super().middle

    @property
    def bijector(self):
        """The exponential."""
        import tensorflow_probability as tfp

        return tfp.bijectors.Exp()

    def why_not(self, value):
        """Scales are not negative."""
        return "must not be negative" if (value < 0).any() else ""


@dataclass(frozen=True)
class Bounded(Parameter):
    """A number between two bounds, such as a damping factor.

    Args:
      low, high: the bounds; the free coordinate is the logit of the place between them.
    """

    low: float = 0.0
    high: float = 1.0
    start: tuple[float, float] = (-2.0, 2.0)
    limits: tuple[float, float] = (-16.0, 16.0)

    @property
    def bijector(self):
        """The sigmoid between the bounds."""
        import tensorflow_probability as tfp

        low, high = (tf.constant(x, tf.float64) for x in (self.low, self.high))
        return tfp.bijectors.Sigmoid(low, high)

    def why_not(self, value):
        """The bounds themselves are allowed."""
        outside = (value < self.low) | (value > self.high)
        return f"must lie between {self.low:g} and {self.high:g}" if outside.any() else ""


@dataclass(frozen=True)
class StationaryCoefficients(Parameter):
    """Coefficients (phi_1, ..., phi_p) of a stationary autoregression, or some of them.

    Each free coordinate u_k is the inverse hyperbolic tangent of a partial autocorrelation, which
    the Levinson-Durbin recursion takes to the coefficients: every real vector gives a stationary
    process, and every stationary process has one. So it is where only some lags have coefficients,
    in the coordinates of :func:`statespace.models.restricted.restricted_bijector`.

    Args:
      lags: of the coefficients, increasing; None for 1, ..., p.

    References:
      Monahan, J. F. (1984). A note on enforcing stationarity in autoregressive-moving average
      models. Biometrika 71(2), 403-404.
    """

    limits: tuple[float, float] = (-9.0, 9.0)
    lags: tuple[int, ...] | None = None

    @property
    def bijector(self):
        """From free coordinates to coefficients."""
        if self.lags is None:
            return _stationary_bijector()
        return restricted_bijector(tuple((lag - 1,) for lag in self.lags), (self.lags[-1],))

    def why_not(self, value):
        """Without a stationary distribution there is none to start from."""
        every = value if self.lags is None else at_lags(value, self.lags)
        stationary = np.abs(partial_autocorrelations(every).numpy()) < 1
        return "" if stationary.all() else "must be the coefficients of a stationary process"

    @property
    def labels(self):
        """The name with the lag of each element."""
        if self.lags is None:
            return super().labels
        return tuple(f"{self.name}[{lag}]" for lag in self.lags)


@dataclass(frozen=True)
class InvertibleCoefficients(StationaryCoefficients):
    """Coefficients (theta_1, ..., theta_q) of an invertible moving average.

    1 + theta_1 B + ... + theta_q B^q has its roots where 1 - phi_1 B - ... - phi_q B^q has them for
    phi = -theta, so the coefficients are those of a stationary autoregression with the other sign.
    """

    @property
    def bijector(self):
        """From free coordinates to coefficients."""
        return negated(super().bijector)

    def why_not(self, value):
        """A process with any moving average has a distribution to start from."""
        return ""


def negated(bijector):
    """The bijector to the same values with the other sign."""
    import tensorflow_probability as tfp

    return tfp.bijectors.Chain([tfp.bijectors.Scale(tf.constant(-1.0, tf.float64)), bijector])


@functools.cache
def _stationary_bijector():
    import tensorflow_probability as tfp

    class Stationary(tfp.bijectors.Bijector):
        """R^p to the coefficients of stationary autoregressions."""

        def __init__(self):
            super().__init__(forward_min_event_ndims=1, is_constant_jacobian=False)

        def _forward(self, x):
            coefficients = []
            for k, partial in enumerate(tf.unstack(tf.tanh(x), axis=-1)):
                backward = coefficients[::-1]
                coefficients = [
                    phi - partial * other
                    for phi, other in zip(coefficients[:k], backward, strict=True)
                ]
                coefficients.append(partial)
            return tf.stack(coefficients, axis=-1)

        def _inverse(self, y):
            return tf.atanh(partial_autocorrelations(y))

        def _forward_log_det_jacobian(self, x):
            # d r / d u = 1 - r^2; and each step takes phi to (I - r J) phi, where the reversal J
            # of k elements has the eigenvalue -1 floor(k / 2) times, and else 1.
            partials = tf.tanh(x)
            log_det = tf.reduce_sum(tf.math.log1p(-(partials**2)), axis=-1)
            for k, partial in enumerate(tf.unstack(partials, axis=-1)):
                log_det += (k // 2) * tf.math.log1p(-(partial**2))
                if k % 2:
                    log_det += tf.math.log1p(-partial)
            return log_det

    return Stationary()


@dataclass(frozen=True)
class Location(Parameter):
    """A place on the scale of the data, such as a mean; it may be far from zero."""

    power: int = 1

    @property
    def default_prior(self):
        """As good as flat: how far from zero a place is says nothing."""
        import tensorflow_probability as tfp

        return tfp.distributions.Normal(*(tf.constant(x, tf.float64) for x in (0.0, 1e6)))


@dataclass(frozen=True)
class LowerTriangle(Parameter):
    """The lower triangle of a matrix with a positive diagonal, row by row: a_11, a_21, a_22, ...

    So it holds what is free of a Cholesky factor, or of loadings with zeros above the diagonal. The
    free coordinates of the diagonal are its logarithms.

    Args:
      dims: numbers of rows and columns of the matrix, no more columns than rows.
    """

    dims: tuple[int, int] = (1, 1)
    limits: tuple[float, float] = (-20.0, 20.0)

    def __post_init__(self):
        object.__setattr__(self, "shape", (len(self.places[0]),))

    @property
    def places(self) -> tuple[np.ndarray, np.ndarray]:
        """Row and column of each element, from zero."""
        rows, columns = self.dims
        return np.tril_indices(rows, m=columns)

    @property
    def labels(self):
        """The name with row and column of each element, counting from one."""
        return tuple(f"{self.name}[{i + 1},{j + 1}]" for i, j in zip(*self.places, strict=True))

    @property
    def bijector(self):
        """From free coordinates to elements."""
        return _triangle_bijector(self.dims)

    def matrix(self, elements) -> tf.Tensor:
        """The matrix ``[..., *dims]`` with given elements ``[..., p]``, zeros above them."""
        lower = np.zeros((*self.shape, *self.dims))
        lower[(np.arange(self.size), *self.places)] = 1.0
        return tf.tensordot(tf.convert_to_tensor(elements, tf.float64), lower, axes=1)


@functools.cache
def _triangle_bijector(dims):
    import tensorflow_probability as tfp

    rows, columns = np.tril_indices(dims[0], m=dims[1])
    diagonal = rows == columns

    class Triangle(tfp.bijectors.Bijector):
        """The exponential of the diagonal elements, and the others as they are."""

        def __init__(self):
            super().__init__(forward_min_event_ndims=1, is_constant_jacobian=False)

        def _forward(self, x):
            return tf.where(diagonal, tf.exp(tf.where(diagonal, x, 0.0)), x)

        def _inverse(self, y):
            return tf.where(diagonal, tf.math.log(tf.where(diagonal, y, 1.0)), y)

        def _forward_log_det_jacobian(self, x):
            return tf.reduce_sum(tf.where(diagonal, x, 0.0), axis=-1)

    return Triangle()


class Parameterisation:
    """The free coordinates of those parameters of a model that are not fixed, in one vector.

    Args:
      parameters: all parameters of the model.
      fixed: names of those that are not to be estimated.
    """

    def __init__(self, parameters, fixed=()):
        self.free = tuple(p for p in parameters if p.name not in fixed)
        self.size = sum(p.size for p in self.free)

    @property
    def labels(self) -> tuple[str, ...]:
        """A name for each coordinate."""
        return tuple(label for p in self.free for label in p.labels)

    def each(self, attribute) -> np.ndarray:
        """An attribute of the parameter that each coordinate belongs to, [p]."""
        return np.array([getattr(p, attribute) for p in self.free for _ in range(p.size)])

    def values(self, free, units) -> dict:
        """The values at free coordinates.

        Args:
          free: tensor ``[..., p]``.
          units: dict from name to the unit of each value, an array that broadcasts with it.

        Returns:
          Dict from name to tensor ``[..., *shape]``.
        """
        return {
            parameter.name: units[parameter.name] * parameter.bijector.forward(coordinates)
            for parameter, coordinates in self._coordinates(free)
        }

    def vector(self, values, units) -> tf.Tensor:
        """The inverse of ``values``: free coordinates ``[..., p]``."""
        free = {}
        for parameter in self.free:
            value = tf.convert_to_tensor(values[parameter.name], tf.float64)
            free[parameter.name] = parameter.bijector.inverse(value / units[parameter.name])
        return self.flat(free)

    def flat(self, values) -> tf.Tensor:
        """The values themselves in the order of the coordinates, ``[..., p]``."""
        columns = []
        for parameter in self.free:
            value = tf.convert_to_tensor(values[parameter.name], tf.float64)
            batch = tf.shape(value)[: value.shape.rank - len(parameter.shape)]
            columns.append(tf.reshape(value, tf.concat([batch, [parameter.size]], axis=0)))
        return tf.concat(columns, axis=-1)

    def log_prior(self, free, values, priors, *, jacobian) -> tf.Tensor:
        """Log-density of the priors, ``[...]``.

        Args:
          free: free coordinates ``[..., p]``.
          values: the values there, in the data's units.
          priors: dict from name to a TFP distribution over the value (or each of its elements);
            parameters that it leaves out have their default priors over free coordinates.
          jacobian: whether the density is to be one over free coordinates throughout, as a sampler
            needs it, or one over the values for which a prior is given, whose mode is sought.
        """
        total = tf.zeros(tf.shape(free)[:-1], free.dtype)
        for parameter, coordinates in self._coordinates(free):
            if parameter.name not in priors:
                prior, place = parameter.default_prior, coordinates
            else:
                prior, place = priors[parameter.name], values[parameter.name]
            density = prior.log_prob(tf.cast(place, prior.dtype))
            axes = list(range(free.shape.rank - 1, density.shape.rank))
            total += tf.cast(tf.reduce_sum(density, axis=axes), free.dtype)
            if jacobian and parameter.name in priors:
                total += parameter.bijector.forward_log_det_jacobian(
                    coordinates, event_ndims=len(parameter.shape)
                )
        return total

    def places(self):
        """Pairs of each free parameter and where its coordinates are among all, a slice."""
        first = 0
        for parameter in self.free:
            yield parameter, slice(first, first + parameter.size)
            first += parameter.size

    def _coordinates(self, free):
        """Pairs of each parameter and its part of ``[..., p]``, in its shape ``[..., *shape]``."""
        for parameter, places in self.places():
            event = tf.constant(parameter.shape, tf.int32)
            shape = tf.concat([tf.shape(free)[:-1], event], axis=0)
            yield parameter, tf.reshape(free[..., places], shape)
