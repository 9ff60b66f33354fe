"""Cycles: waves whose period is estimated."""

import numbers

import numpy as np
import tensorflow as tf

from statespace.models.base import Component
from statespace.models.block import Block, per_step, scaled_columns
from statespace.models.parameters import Bounded, Scale


class Cycle(Component):
    """A stochastic cycle: a wave that changes in size and phase, and dies away if damped.

        [c; c*]_{t+1} = damping * rotation by 2 pi / period of [c; c*]_t + N(0, cycle.scale^2 I)

    A damped cycle is stationary and starts from its stationary distribution, variance
    scale^2 / (1 - damping^2); one without damping starts diffuse.

    Args:
      shortest, longest: between which the period lies, in steps.
      damped: whether ``cycle.damping`` is estimated, or one.
      name: what states, parameters and plots call it.

    Raises:
      ValueError: the periods are not in order, or the shortest is not longer than two steps.

    References:
      Harvey, A. C. (1989). Forecasting, Structural Time Series Models and the Kalman Filter,
      section 2.3.3. Statsmodels calls the same model ``cycle``, with the frequency 2 pi / period.

    Example:
      >>> [p.name for p in Cycle().parameters]
      ['irregular.scale', 'cycle.scale', 'cycle.period', 'cycle.damping']
    """

    def __init__(self, shortest=2.5, longest=60.0, *, damped=True, name="cycle"):
        numbers_given = isinstance(shortest, numbers.Real) and isinstance(longest, numbers.Real)
        if not numbers_given or not 2 < shortest < longest < float("inf"):
            raise ValueError(
                f"The period of a cycle lies between two numbers of steps, the shortest above 2; "
                f"given were {shortest!r} and {longest!r}."
            )
        self.shortest, self.longest = (int(x) if x == int(x) else x for x in (shortest, longest))
        self.damped, self.name = damped, name
        self.state_names = (name, f"{name}_star")
        self.own_parameters = (
            Scale(f"{name}.scale"),
            Bounded(f"{name}.period", low=float(shortest), high=float(longest), start=(-3.0, 2.0)),
            *((Bounded(f"{name}.damping", start=(0.5, 4.0)),) if damped else ()),
        )

    def own_block(self, params, steps):
        """A damped rotation."""
        scale, period = params[f"{self.name}.scale"], params[f"{self.name}.period"]
        angle = 2 * np.pi / period
        rotation = tf.stack(
            [
                tf.stack([tf.cos(angle), tf.sin(angle)], axis=-1),
                tf.stack([-tf.sin(angle), tf.cos(angle)], axis=-1),
            ],
            axis=-2,
        )
        start = {}
        if self.damped:
            damping = params[f"{self.name}.damping"][..., tf.newaxis, tf.newaxis]
            rotation *= damping
            deviation = scale[..., tf.newaxis, tf.newaxis] / tf.sqrt((1 - damping) * (1 + damping))
            start = {"initial_scale": np.eye(2) * deviation}
        return Block(
            transition_matrix=per_step(rotation, 2),
            transition_scale=scaled_columns(np.eye(2), scale),
            observation_matrix=np.array([[1.0, 0.0]]),
            **start,
        )

    def __repr__(self):
        damped = "" if self.damped else ", damped=False"
        name = "" if self.name == "cycle" else f", name={self.name!r}"
        return f"Cycle({self.shortest!r}, {self.longest!r}{damped}{name})"
