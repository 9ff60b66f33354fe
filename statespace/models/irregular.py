"""The irregular: what is left of an observation when the components are taken away."""

import numpy as np

from statespace.models.base import Component
from statespace.models.block import Block, scaled_columns
from statespace.models.parameters import Scale


class Irregular(Component):
    """Observation noise, N(0, irregular.scale^2), independent from step to step.

    Sums of components have it by themselves. Added in so many words it gives measurement noise to
    those that have none of their own: ``ARIMA((1, 0, 0)) + Irregular()``.

    Example:
      >>> [p.name for p in Irregular().own_parameters]
      ['irregular.scale']
    """

    name = "irregular"
    own_parameters = (Scale("irregular.scale"),)

    def own_block(self, params, steps, num_observed=1):
        """No states; noise of one scale on each observed variable."""
        return Block(
            transition_matrix=np.zeros((0, 0)),
            transition_scale=np.zeros((0, 0)),
            observation_matrix=np.zeros((num_observed, 0)),
            observation_scale=scaled_columns(np.eye(num_observed), params["irregular.scale"]),
        )

    def __repr__(self):
        return "Irregular()"
