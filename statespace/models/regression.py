"""Regression on known features, with constant or moving coefficients."""

import numbers

import numpy as np
import tensorflow as tf

from statespace.models.base import Component, units_by_power
from statespace.models.block import Block, per_step
from statespace.models.guesses import regress_on_features
from statespace.models.parameters import Parameter, Scale


class _OnFeatures(Component):
    """What the regressions have in common: features, and units that go with them."""

    def __init__(self, num_features, name):
        if not isinstance(num_features, numbers.Integral) or num_features < 1:
            raise ValueError(
                f"{type(self).__name__} needs the number of its features, a positive whole "
                f"number; given was {num_features!r}."
            )
        self.num_features, self.name = int(num_features), name

    def own_units(self, scale, feature_scale):
        """A coefficient is in units of the data per unit of its feature."""
        units = units_by_power(self.own_parameters, scale)
        return {name: unit / feature_scale for name, unit in units.items()}

    def own_start(self, values, features):
        """Constant coefficients, with autoregressive errors."""
        coefficients = regress_on_features(values, features)
        return self._guess(coefficients), values - features @ coefficients[..., np.newaxis]

    def _guess(self, coefficients):
        """Values of its parameters, given constant coefficients [N, K]."""
        return {}

    def _arguments(self):
        name = "" if self.name == self._default_name else f", name={self.name!r}"
        return f"{self.num_features}{name}"

    def __repr__(self):
        return f"{type(self).__name__}({self._arguments()})"


class Regression(_OnFeatures):
    """A regression on known features with constant coefficients: beta' x_t.

    By default the coefficients are states of which nothing is known at the start, so the other
    parameters are estimated as if the features had been taken out exactly (restricted maximum
    likelihood), and forecasts allow for their uncertainty. With ``as_states=False`` they are
    parameters of the likelihood, ``regression.coefficients``, as in Stata's ``arima``.

    ``fit`` and ``forecast`` take the features, one column for each coefficient; several regressions
    of a sum take their columns one after the other.

    Args:
      num_features: number of columns.
      as_states: whether the coefficients are states or parameters.
      name: what states, parameters and plots call it.

    Raises:
      ValueError: ``num_features`` is not a positive whole number.

    References:
      Durbin, J. and Koopman, S. J. (2012). Time Series Analysis by State Space Methods,
      2nd edition, sections 3.6 and 6.2.

    Example:
      >>> Regression(2).state_names
      ('regression_1', 'regression_2')
    """

    _default_name = "regression"

    def __init__(self, num_features, *, as_states=True, name="regression"):
        super().__init__(num_features, name)
        self.as_states = bool(as_states)
        if self.as_states:
            self.state_names = tuple(f"{name}_{i + 1}" for i in range(self.num_features))
        else:
            shape = (self.num_features,)
            self.own_parameters = (Parameter(f"{name}.coefficients", shape=shape, power=1),)

    def own_block(self, params, steps):
        """Constant states that the features observe, or a known part of the observations."""
        if self.as_states:
            n = self.num_features
            return Block(
                transition_matrix=np.eye(n),
                transition_scale=np.zeros((n, 0)),
                observation_matrix=steps.features[..., np.newaxis, :],
            )
        coefficients = per_step(params[f"{self.name}.coefficients"], 1)
        return Block(
            transition_matrix=np.zeros((0, 0)),
            transition_scale=np.zeros((0, 0)),
            observation_matrix=np.zeros((1, 0)),
            observation_offset=tf.reduce_sum(steps.features * coefficients, -1, keepdims=True),
        )

    def _guess(self, coefficients):
        return {} if self.as_states else {f"{self.name}.coefficients": coefficients}

    def _arguments(self):
        return super()._arguments() + ("" if self.as_states else ", as_states=False")


class DynamicRegression(_OnFeatures):
    """A regression whose coefficients move as random walks.

        y_t = beta_t' x_t,    beta_{t+1,i} = beta_{t,i} + N(0, dynamic_regression.scale_i^2)

    Args:
      num_features: number of columns of the features.
      name: what states, parameters and plots call it.

    Raises:
      ValueError: ``num_features`` is not a positive whole number.

    References:
      Durbin, J. and Koopman, S. J. (2012). Time Series Analysis by State Space Methods,
      2nd edition, section 3.6.1.

    Example:
      >>> DynamicRegression(2).own_parameters[0].labels
      ('dynamic_regression.scale[1]', 'dynamic_regression.scale[2]')
    """

    _default_name = "dynamic_regression"

    def __init__(self, num_features, *, name="dynamic_regression"):
        super().__init__(num_features, name)
        self.state_names = tuple(f"{name}_{i + 1}" for i in range(self.num_features))
        self.own_parameters = (Scale(f"{name}.scale", shape=(self.num_features,)),)

    def own_block(self, params, steps):
        """Random walks that the features observe."""
        n = self.num_features
        scales = params[f"{self.name}.scale"]
        return Block(
            transition_matrix=np.eye(n),
            transition_scale=per_step(np.eye(n) * scales[..., tf.newaxis, :], 2),
            observation_matrix=steps.features[..., np.newaxis, :],
        )
