"""The log-likelihood of a model as a compiled function of its free coordinates."""

import functools
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import tensorflow as tf

from statespace.forecasting.parts import some_of
from statespace.forecasting.steps import moved_behind, times_moved_behind
from statespace.kalman.filter import log_likelihood
from statespace.models.base import Model
from statespace.models.parameters import Parameterisation

_NUMBERS_AT_ONCE = 2**25  # in the tape of one call: 256 MB


@dataclass(frozen=True, eq=False)
class Problem:
    """N series, and what is known of their model: what a point's likelihood depends on.

    Attributes:
      model: the model.
      parameterisation: of the parameters that are not fixed.
      values: the series, [N, T, m], NaN where missing.
      units: of each parameter, dict of [N, *shape].
      fixed: values of those that are fixed, dict of [N, *shape].
      features: [1 or N, T, K], or None.
      times: [1 or N, T], or None.
      feature_names: of the K features, or None if they have no names.
      priors: None, or a dict from names to TFP distributions over values, for those that have one.
      jacobian: whether the priors are densities of free coordinates; see
        :meth:`statespace.models.parameters.Parameterisation.log_prior`.
    """

    model: Model
    parameterisation: Parameterisation
    values: np.ndarray
    units: dict
    fixed: dict
    features: Any = None
    times: Any = None
    feature_names: tuple | None = None
    priors: Any = None
    jacobian: bool = False

    @property
    def size(self) -> int:
        """Number of free coordinates of a series."""
        return self.parameterisation.size

    @property
    def num_observed(self):
        """Number of observed values of each series, [N]."""
        return np.count_nonzero(~np.isnan(self.values), axis=(1, 2))

    def selected(self, part):
        """The problem of some of the series, by a slice or an array of their numbers."""
        return replace(
            self,
            values=self.values[part],
            units={name: unit[part] for name, unit in self.units.items()},
            fixed={name: value[part] for name, value in self.fixed.items()},
            features=some_of(self.features, part),
            times=some_of(self.times, part),
        )

    def params(self, free) -> dict:
        """All parameters' values at one point for each series: free [N, p] to [N, *shape]."""
        values = self.parameterisation.values(tf.convert_to_tensor(free), self.units)
        return {name: value.numpy() for name, value in values.items()} | self.fixed

    def log_likelihood(self, free, series) -> np.ndarray:
        """Log-likelihoods of points.

        Args:
          free: R points, [R, p].
          series: the number of the series that each is for, [R].

        Returns:
          Array [R]; NaN where the filter failed.
        """
        return self._in_parts("value", free, series, priors=None)[0]

    def objective(self, free, series) -> tuple[np.ndarray, np.ndarray]:
        """What is to be made large, and its gradient: [R] and [R, p].

        It is the log-likelihood, plus the log-densities of the priors if there are any.
        """
        return self._in_parts("value_and_gradient", free, series, priors=self.priors)

    def per_step(self, free, series) -> np.ndarray:
        """Log-likelihoods step by step, [R, T]."""
        return self._in_parts("per_step", free, series, priors=None)[0]

    def traceable(self, series):
        """The objective as a differentiable function of TensorFlow, for R points at once.

        Args:
          series: the number of the series that each point is for, [R].

        Returns:
          A function from free coordinates [R, p] to values [R].
        """
        function, series = self._function("value", self.priors), tf.constant(series, tf.int64)
        return lambda free: function(free, series, *self._known)[0]

    def _function(self, what, priors):
        fixed, timed = frozenset(self.fixed), self.times is not None
        return _compiled(self.model, fixed, timed, _hashable(priors), self.jacobian, what)

    def _in_parts(self, what, free, series, priors):
        function = self._function(what, priors)
        n = len(self.model.state_names)
        at_once = max(1, _NUMBERS_AT_ONCE // (self.values[0].size * (n * n + 4 * n + 4)))
        parts = [
            function(
                tf.constant(free[first : first + at_once], tf.float64),
                tf.constant(series[first : first + at_once], tf.int64),
                *self._known,
            )
            for first in range(0, len(free), at_once)
        ]
        columns = zip(*parts, strict=True)
        return tuple(np.concatenate([x.numpy() for x in column]) for column in columns)

    @cached_property
    def _from_first_value(self):
        """Values, features and times, with steps before a series' first value moved behind its end.

        There they say nothing, whatever the model. Before it they would, if a state of unknown
        start decays: the steps shrink the diffuse part of its variance, and the density of what it
        predicts grows without reason.
        """
        known = (self.values, self.features, self.times)
        before = np.argmax(~np.isnan(self.values).all(axis=2), axis=1)
        if not self.model.starts_anywhere or not before.any():
            return known
        values, features, times = known
        return (
            moved_behind(values, before),
            None if features is None else moved_behind(features, before),
            None if times is None else times_moved_behind(times, before),
        )

    @cached_property
    def _known(self):
        """What a compiled function is told of all series, as tensors: made once for many calls."""
        count = len(self.values)
        units = {
            p.name: np.broadcast_to(self.units[p.name], (count, *p.shape))
            for p in self.model.parameters
        }
        data, features, times = self._from_first_value
        known = {"features": features, "times": times}
        known = {name: value for name, value in known.items() if value is not None}
        return tf.nest.map_structure(
            lambda x: tf.convert_to_tensor(x, tf.float64), (data, units, self.fixed, known)
        )


def _hashable(priors):
    return None if priors is None else tuple(sorted(priors.items(), key=lambda item: item[0]))


@functools.lru_cache(maxsize=128)
def _compiled(model, fixed, timed, priors, jacobian, what):
    """One traced function for all fits of the same model, whatever the sizes of their data.

    It takes free coordinates of R points, the numbers of the series that they are for, and what is
    known of all N series.
    """
    parameterisation = Parameterisation(model.parameters, fixed)

    def evaluate(free, series, y, units, fixed, known, per_step=False):
        units, fixed = tf.nest.map_structure(lambda x: tf.gather(x, series), (units, fixed))
        y, known = tf.nest.map_structure(lambda x: _of_series(x, series), (y, known))
        values = parameterisation.values(free, units)
        ssm = model.build(values | fixed, **known)
        height = log_likelihood(ssm, y, per_step=per_step, diffuse_constant=model.diffuse_constant)
        if priors is not None:
            height += parameterisation.log_prior(free, values, dict(priors), jacobian=jacobian)
        return height

    def value(*arguments):
        return (evaluate(*arguments),)

    def value_and_gradient(free, *others):
        with tf.GradientTape() as tape:
            tape.watch(free)
            result = evaluate(free, *others)
        return result, tape.gradient(result, free)

    def per_step(*arguments):
        return (evaluate(*arguments, per_step=True),)

    shapes = {p.name: p.shape for p in model.parameters}
    functions = {"value": value, "value_and_gradient": value_and_gradient, "per_step": per_step}
    function = tf.function(
        functions[what],
        input_signature=[
            signature(None, parameterisation.size),
            tf.TensorSpec([None], tf.int64),
            signature(None, None, model.num_observed),
            {p.name: signature(None, *p.shape) for p in model.parameters},
            {name: signature(None, *shapes[name]) for name in sorted(fixed)},
            signature_of_known(model, timed),
        ],
        autograph=False,
    )
    return function.get_concrete_function()  # half a millisecond less at every call


def _of_series(x, series):
    """Rows of x [1 or N, ...] for series [R]; one for all stays one."""
    count = tf.shape(x, tf.int64)[0]
    rows = tf.where(count > 1, tf.size(series), 1)
    return tf.gather(x, tf.minimum(series, count - 1)[:rows])


def signature(*shape):
    """What a traced function takes for an array of this shape, None for sizes that vary."""
    return tf.TensorSpec(shape, tf.float64)


def signature_of_known(model, timed):
    """What it takes for what ``model.build`` is to know of the steps: features and times."""
    known = {"features": signature(None, None, model.num_features)} if model.num_features else {}
    return known | ({"times": signature(None, None)} if timed else {})
