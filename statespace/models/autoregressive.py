"""Stationary autoregressions as a component."""

import numbers

import numpy as np
import tensorflow as tf

from statespace.models.base import Component
from statespace.models.block import Block, per_step, scaled_columns
from statespace.models.parameters import Scale, StationaryCoefficients
from statespace.models.stationary import stationary_scale


class Autoregressive(Component):
    """A stationary autoregression of order p about zero.

        a_{t+1} = phi_1 a_t + ... + phi_p a_{t-p+1} + N(0, autoregressive.scale^2)

    ``autoregressive.coefficients`` are phi_1, ..., phi_p; whatever the optimiser tries, they belong
    to a stationary process, which starts from its stationary distribution.

    Args:
      order: p, at least one.
      name: what states, parameters and plots call it.

    Raises:
      ValueError: ``order`` is not a positive whole number.

    References:
      Durbin, J. and Koopman, S. J. (2012). Time Series Analysis by State Space Methods,
      2nd edition, sections 3.4 and 5.6.2.

    Example:
      >>> [p.name for p in Autoregressive(2).parameters]
      ['irregular.scale', 'autoregressive.scale', 'autoregressive.coefficients']
    """

    def __init__(self, order=1, *, name="autoregressive"):
        if not isinstance(order, numbers.Integral) or order < 1:
            raise ValueError(
                f"The order of an autoregression is a positive whole number; given was {order!r}."
            )
        self.order, self.name = int(order), name
        self.state_names = (name, *(f"{name}_lag_{lag}" for lag in range(1, self.order)))
        self.own_parameters = (
            Scale(f"{name}.scale"),
            StationaryCoefficients(f"{name}.coefficients", shape=(self.order,)),
        )

    def own_block(self, params, steps):
        """The companion form."""
        transition = companion(params[f"{self.name}.coefficients"])
        first = np.eye(self.order, 1)
        scale = first * params[f"{self.name}.scale"][..., tf.newaxis, tf.newaxis]
        return Block(
            transition_matrix=per_step(transition, 2),
            transition_scale=scaled_columns(first, params[f"{self.name}.scale"]),
            observation_matrix=first.T,
            initial_scale=stationary_scale(transition, scale),
        )

    def __repr__(self):
        name = "" if self.name == "autoregressive" else f", name={self.name!r}"
        return f"Autoregressive({self.order}{name})"


def companion(coefficients):
    """The transition of (a_t, ..., a_{t-p+1}): coefficients ``[..., p]`` in its first row."""
    order = coefficients.shape[-1]
    first = np.eye(order, 1) * coefficients[..., tf.newaxis, :]
    return first + np.eye(order, k=-1)
