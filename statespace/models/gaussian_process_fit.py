"""Maximum marginal likelihood by L-BFGS, for many data sets and starting points at once."""

import math
from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from statespace.models.gaussian_process_arguments import Observations
from statespace.models.gaussian_process_parameters import (
    checked_values,
    mean_at,
    units,
)
from statespace.models.parameters import Location, Parameterisation
from statespace.optimise import minimise

_OP = "GaussianProcess.fit"
# Numbers in the covariance matrices of which one evaluation takes care at a time.
_AT_ONCE = 2**22


class Objectives:
    """Minus the log marginal likelihood and its gradient as graphs, traced once for each kind.

    A kind is what is learnt, the number of features, the dtype, and whether there is a batch of
    data sets. Their sizes are free, so that fits to growing data find their graph again.

    Args:
      parameters: of the model.
      log_likelihood: function of a dict of values ``[A, *shape]`` and of :class:`Observations` with
        the batch shape ``[A]`` or none; NaN where it does not exist.
    """

    def __init__(self, parameters, log_likelihood):
        self.parameters, self._log_likelihood = parameters, log_likelihood
        self._graphs = {}

    def __call__(self, points, units, fixed, data):
        """Values ``[A]`` and gradients ``[A, P]`` at free coordinates ``[A, P]``.

        Args:
          points: float64.
          units: of what is learnt, by name, ``[A, *shape]``.
          fixed: values of what is not, by name, ``[A, *shape]``.
          data: observations with errors, zero if need be.
        """
        key = (*units, data.x.shape.rank, data.x.shape[-1], data.x.dtype)
        if key not in self._graphs:
            self._graphs[key] = self._graph(units, fixed, data)
        return self._graphs[key](points, units, fixed, data)

    def _graph(self, units, fixed, data):
        def free_size(value, axes):
            return tf.TensorSpec([*[None] * axes, *value.shape[axes:]], value.dtype)

        lead = data.x.shape.rank - 1
        size = sum(math.prod(unit.shape[1:]) for unit in units.values())
        signature = (
            tf.TensorSpec([None, size], tf.float64),
            {name: free_size(unit, 1) for name, unit in units.items()},
            {name: free_size(value, 1) for name, value in fixed.items()},
            Observations(*(free_size(value, lead) for value in data)),
        )
        # AutoGraph has nothing to convert here but what users wrote.
        return tf.function(self._value_and_gradient, input_signature=signature, autograph=False)

    def _value_and_gradient(self, points, units, fixed, data):
        with tf.GradientTape() as tape:
            tape.watch(points)
            values = values_at(self.parameters, points, units, fixed, data.x.dtype)
            value = -tf.cast(self._log_likelihood(values, data), points.dtype)
        return value, tape.gradient(value, points)


def values_at(parameters, points, units, fixed, dtype):
    """All parameters ``[A, *shape]`` at free coordinates ``[A, P]``; see :class:`Objectives`."""
    free = Parameterisation(parameters, fixed).values(points, units)
    values = {name: tf.cast(value, dtype) for name, value in free.items()} | fixed
    return {parameter.name: values[parameter.name] for parameter in parameters}


class Problem:
    """R data sets, and the free coordinates ``[P]`` of what is learnt of each.

    Args:
      objectives: the :class:`Objectives` of the model.
      model: its ``parameters``, ``mean`` and ``features`` are looked at.
      data: observations.
      fix: dict from names to the values of what is not learnt.

    Raises:
      ValueError: there are no observations; ``fix`` is no dict or has a name that is not a
        parameter's; or this is part of a graph.
    """

    def __init__(self, objectives, model, data: Observations, fix):
        if not tf.executing_eagerly():
            raise ValueError(f"{_OP}: it cannot be part of a graph; call it outside tf.function.")
        if not isinstance(fix, Mapping):
            raise ValueError(
                f"{_OP}: fix is a {type(fix).__name__}; it must be a dict from names to values."
            )
        self.objectives, self.mean, self.dtype = objectives, model.mean, data.x.dtype
        self.all = model.parameters
        known = {parameter.name for parameter in self.all}
        if not set(fix) <= known:
            raise ValueError(
                f"{_OP}: fix has {', '.join(sorted(set(fix) - known))}; the parameters are "
                f"{', '.join(parameter.name for parameter in self.all)}."
            )
        fixed = [parameter for parameter in self.all if parameter.name in fix]
        fix = checked_values(fixed, fix, self.dtype, data.batch_shape)
        self.parameterisation = Parameterisation(self.all, fix)
        errors = data.error_variance
        errors = tf.zeros(data.y.shape[-1:], self.dtype) if errors is None else errors
        batch = np.broadcast_shapes(
            data.x.shape[:-2],
            data.y.shape[:-1],
            errors.shape[:-1],
            *(fix[p.name].shape[: fix[p.name].shape.rank - len(p.shape)] for p in fixed),
        )
        self.batch, self.count = batch, math.prod(batch)
        n = data.y.shape[-1] or 0
        if n == 0 or self.count == 0:
            raise ValueError(
                f"{_OP}: x has shape {data.x.shape}; there is nothing to learn from. "
                "condition(x, y, params) gives the prior."
            )
        self.data = Observations(
            self._rows(data.x, data.x.shape[-2:]), self._rows(data.y, [n]), self._rows(errors, [n])
        )
        self.fixed = {p.name: self._rows(fix[p.name], p.shape) for p in fixed}
        features = model.features(self.data.x).numpy()
        self.units = units(self.parameterisation.free, features, self.data.y.numpy())
        if self.mean is not None:
            own = units(self.parameterisation.free, features, self._residuals())
            for p in self.parameterisation.free:
                if not isinstance(p, Location):
                    self.units[p.name] = own[p.name]
        self.at_once = max(1, _AT_ONCE // n**2)

    def _rows(self, value, event):
        """``[..., *event]`` as ``[R, *event]``."""
        return tf.reshape(tf.broadcast_to(value, [*self.batch, *event]), [-1, *event])

    def values(self, points):
        """All parameters ``[R, *shape]`` at free coordinates ``[R, P]``."""
        return values_at(self.all, tf.convert_to_tensor(points), self.units, self.fixed, self.dtype)

    def objective(self, points, members):
        """Minus the log marginal likelihood, and its gradient; for ``minimise``."""
        members = members % self.count
        results = []
        for i in range(0, len(points), self.at_once):
            rows = members[i : i + self.at_once]
            results.append(
                self.objectives(
                    tf.constant(points[i : i + self.at_once]),
                    {name: tf.constant(unit[rows]) for name, unit in self.units.items()},
                    {name: tf.gather(value, rows) for name, value in self.fixed.items()},
                    # One data set needs no copies for its starting points.
                    tf.nest.map_structure(
                        lambda value, rows=rows: (
                            value[0] if self.count == 1 else tf.gather(value, rows)
                        ),
                        self.data,
                    ),
                )
            )
        return tuple(np.concatenate(parts) for parts in zip(*results, strict=True))

    def maximise(
        self,
        starts,
        *,
        value_tolerance=1e-12,
        by_observation=False,
        max_iterations=500,
        memory=10,
    ):
        """The parameters at the highest likelihood found from starting points ``[S, R, P]``.

        Args:
          starts: free coordinates.
          value_tolerance: what the last steps gain, relative to the likelihood; in float32 it is
            1e-6 of that at least.
          by_observation: whether it is relative to the number of observations instead.
          max_iterations: number of evaluations for each of them.
          memory: as for :func:`statespace.optimise.minimise`.

        Returns:
          Dict from each name to a value ``[..., *shape]``, and whether each data set has converged,
          bool ``[...]``.
        """
        if starts.shape[-1] == 0:
            return self._shaped(starts[0]), np.ones(self.batch, bool)
        exact = self.dtype == tf.float64
        found = minimise(
            self.objective,
            starts.reshape(-1, starts.shape[-1]),
            self.parameterisation.each("limits").T,
            gradient_tolerance=1e-6 if exact else 1e-2,
            value_tolerance=value_tolerance if exact else max(value_tolerance, 1e-6),
            value_size=self.data.y.shape[-1] if by_observation and exact else None,
            max_iterations=max_iterations,
            memory=memory,
        )
        value = np.where(np.isfinite(found.value), found.value, np.inf)
        members = np.arange(self.count)
        best = np.argmin(value.reshape(len(starts), -1), axis=0) * self.count + members
        return self._shaped(found.x[best]), found.converged[best].reshape(self.batch)

    def _shaped(self, points):
        return {
            name: tf.reshape(value, [*self.batch, *value.shape[1:]])
            for name, value in self.values(points).items()
        }

    def starting_points(self, num_starts, guesses=None):
        """Points ``[S, R, P]`` spread over the starting ranges; the first is in their middle.

        Those of the mean's parameters are all where least squares puts them, without a guess.

        Args:
          num_starts: S.
          guesses: dict from names to values ``[R, *shape]`` from which all are to start.
        """
        from scipy.stats import qmc

        low, high = self.parameterisation.each("start").reshape(-1, 2).T
        spread = np.full([1, len(low)], 0.5)
        if num_starts > 1 and len(low):
            halton = qmc.Halton(len(low), scramble=False)
            halton.fast_forward(1)  # past the origin
            spread = np.concatenate([spread, halton.random(num_starts - 1)])
        starts = (low + spread * (high - low))[:, np.newaxis]
        starts = np.repeat(starts, self.count, axis=1)
        columns = np.zeros(len(low), bool)
        guesses = guesses or {}
        for p, places in self.parameterisation.places():
            guessed = p.name in guesses
            columns[places] = isinstance(p, Location) and not guessed
            if guessed:
                free = p.bijector.inverse(guesses[p.name] / self.units[p.name])
                starts[..., places] = np.reshape(free, [self.count, p.size])
        if columns.any():
            starts[..., columns] = self._least_squares(np.where(columns, 0.0, starts[0]), columns)
        return starts

    def _residuals(self):
        """What the mean leaves of the observations, ``[R, n]``: of that size is what is learnt."""
        y = self.data.y.numpy()
        values = self.values(self.starting_points(1)[0])
        residuals = y - mean_at(self.mean, values, self.all, self.data.x).numpy()
        largest = [np.max(np.abs(v), axis=1, keepdims=True) for v in (residuals, y)]
        # Where that is rounding, or the mean is far from its best, y says more.
        return np.where((largest[0] > 1e-10 * largest[1]) & np.isfinite(residuals), residuals, y)

    def _least_squares(self, points, columns):
        """Coordinates of the mean's parameters ``[R, K]``, as far as the mean is linear in them."""
        points = tf.constant(points)
        with tf.GradientTape() as tape:
            tape.watch(points)
            mean = mean_at(self.mean, self.values(points), self.all, self.data.x)
        design = np.asarray(tape.batch_jacobian(mean, points), np.float64)[..., columns]
        missed = (self.data.y - mean).numpy()
        found = [np.linalg.lstsq(a, b, rcond=None)[0] for a, b in zip(design, missed, strict=True)]
        return np.asarray(found, np.float64)
