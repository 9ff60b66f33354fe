"""Things that move: position, velocity and acceleration, at regular or irregular times."""

import math
import numbers

import numpy as np
import tensorflow as tf

from statespace.models.base import Component
from statespace.models.block import Block
from statespace.models.matern import step_lengths
from statespace.models.parameters import Scale


class _Motion(Component):
    """A chain of integrators for each dimension, driven by white noise at its end.

    Over an interval h the noise of a chain of length q has the covariance (counting from zero)
    h^(2q-1-i-j) / ((2q-1-i-j) (q-1-i)! (q-1-j)!).
    """

    uses_times = True
    chain: tuple[str, ...]

    def __init__(self, dims=1):
        if not isinstance(dims, numbers.Integral) or dims < 1:
            raise ValueError(
                f"{type(self).__name__} needs the number of its dimensions, a positive whole "
                f"number; given was {dims!r}."
            )
        self.dims = self.num_observed = int(dims)
        self.name = "motion"
        numbered = [""] if dims == 1 else [f"_{i + 1}" for i in range(self.dims)]
        self.state_names = tuple(f"{kind}{i}" for i in numbered for kind in self.chain)
        self.own_parameters = (Scale("motion.scale"),)

    def own_block(self, params, steps):
        """Exact discretisation of the integrators."""
        length = len(self.chain)
        h = step_lengths(type(self).__name__, steps.times)
        if steps.times is None:
            h = h[0]
        h = h[..., tf.newaxis, tf.newaxis]
        powers = np.arange(length) - np.arange(length)[:, np.newaxis]
        factorials = np.array([math.factorial(k) for k in range(length)])
        transition = tf.where(
            powers >= 0, h ** np.maximum(powers, 0) / factorials[np.maximum(powers, 0)], 0.0
        )
        left = length - 1 - np.arange(length)  # integrations from the noise to each state
        q = 1 / ((left + left[:, np.newaxis] + 1) * np.outer(factorials[left], factorials[left]))
        noise = h ** (left[:, np.newaxis] + 0.5) * np.linalg.cholesky(q)
        scale = params["motion.scale"][..., tf.newaxis, tf.newaxis]
        if scale.shape.rank > 2:
            scale = scale[..., tf.newaxis, :, :]
        return Block(
            transition_matrix=_for_each(self.dims, transition),
            transition_scale=scale * _for_each(self.dims, noise),
            observation_matrix=np.kron(np.eye(self.dims), np.eye(1, length)),
        )

    def __repr__(self):
        return f"{type(self).__name__}({self.dims})"


class ConstantVelocity(_Motion):
    """Position and velocity in some dimensions; white noise accelerates.

    The positions are observed, one variable for each dimension, with ``irregular.scale``. The
    velocity changes by N(0, motion.scale^2 h) over an interval h. Times may be irregular; the start
    is diffuse.

    Args:
      dims: number of dimensions.

    Raises:
      ValueError: ``dims`` is not a positive whole number.

    References:
      Bar-Shalom, Y., Li, X. R. and Kirubarajan, T. (2001). Estimation with Applications to
      Tracking and Navigation, section 6.2.2.

    Example:
      >>> ConstantVelocity(2).state_names
      ('position_1', 'velocity_1', 'position_2', 'velocity_2')
    """

    chain = ("position", "velocity")


class ConstantAcceleration(_Motion):
    """Position, velocity and acceleration in some dimensions; white noise jerks.

    As :class:`ConstantVelocity`, with one derivative more: the acceleration changes by
    N(0, motion.scale^2 h) over an interval h.

    Args:
      dims: number of dimensions.

    Raises:
      ValueError: ``dims`` is not a positive whole number.

    References:
      Bar-Shalom, Y., Li, X. R. and Kirubarajan, T. (2001). Estimation with Applications to
      Tracking and Navigation, section 6.2.3.

    Example:
      >>> ConstantAcceleration().state_names
      ('position', 'velocity', 'acceleration')
    """

    chain = ("position", "velocity", "acceleration")


def _for_each(count, block):
    """The same block ``[..., a, b]`` ``count`` times along a diagonal."""
    rows, columns = block.shape[-2:]
    eye = np.eye(count)[:, np.newaxis, :, np.newaxis]
    whole = eye * block[..., tf.newaxis, :, tf.newaxis, :]
    shape = tf.concat([tf.shape(block)[:-2], [count * rows, count * columns]], axis=0)
    return tf.reshape(whole, shape)
