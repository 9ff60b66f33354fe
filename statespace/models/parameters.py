"""Named parameters of a model, and the map between their values and free coordinates."""

import math
from dataclasses import dataclass

import tensorflow as tf


@dataclass(frozen=True)
class Variance:
    """A variance: not negative, in squared units of the data.

    Its free coordinate is the logarithm, u = log(variance), so an optimiser may roam the reals and
    every step is a relative one. The boundary, zero, lies at u = -infinity.

    Args:
      name: what tables and ``params`` call it, such as ``"level_variance"``.
    """

    name: str

    # Both for data whose short-term variation is about one, the units in which models are fitted.
    free_bounds = (math.log(1e-13), math.log(1e8))
    start_range = (math.log(1e-5), math.log(1.0))

    def constrain(self, free):
        """exp(u), the value at the free coordinate: tensor of any shape to tensor of that shape."""
        return tf.exp(free)

    def derivative(self, value):
        """d value / d u, as a function of the value: for standard errors by the delta method."""
        return value

    def in_data_units(self, value, scale):
        """The value for data of which those divided by ``scale`` have ``value``."""
        return value * scale**2


def constrain(parameters, free) -> dict:
    """Names the columns of an array of free coordinates and maps each into its domain.

    Args:
      parameters: p parameters.
      free: tensor ``[..., p]``.

    Returns:
      Dict from name to tensor ``[...]``.
    """
    columns = tf.unstack(free, num=len(parameters), axis=-1)
    return {p.name: p.constrain(u) for p, u in zip(parameters, columns, strict=True)}
