"""Matérn processes: Gaussian processes on a line, at any times, as state-space models."""

import math

import numpy as np
import tensorflow as tf

from statespace.models.base import Component
from statespace.models.block import Block
from statespace.models.parameters import Scale
from statespace.sde import discretise, intervals


class MaternProcess(Component):
    """A stationary Gaussian process with a Matérn covariance of half-integer order.

    With ``r = sqrt(2 nu) |t - s| / length_scale`` the covariance of two times is scale^2 exp(-r)
    times 1, 1 + r or 1 + r + r^2 / 3, for nu = 1/2 (Ornstein-Uhlenbeck), 3/2 and 5/2. The states
    are the process and its first nu - 1/2 derivatives, which follow a linear stochastic
    differential equation; its discretisation is exact, so the times may be as irregular as they
    like.

    Args:
      nu: 0.5, 1.5 or 2.5; the process has nu - 1/2 derivatives.
      name: what states, parameters and plots call it.

    Raises:
      ValueError: ``nu`` is none of these.

    References:
      Hartikainen, J. and Särkkä, S. (2010). Kalman filtering and smoothing solutions to temporal
      Gaussian process regression models. IEEE MLSP 2010.

    Example:
      >>> [p.name for p in MaternProcess(1.5).parameters]
      ['irregular.scale', 'matern.scale', 'matern.length_scale']
    """

    uses_times = True

    def __init__(self, nu=1.5, *, name="matern"):
        if nu not in (0.5, 1.5, 2.5):
            raise ValueError(f"nu of a Matérn process is 0.5, 1.5 or 2.5; given was {nu!r}.")
        self.nu, self.name = float(nu), name
        order = int(nu + 0.5)
        self.state_names = (name, f"{name}_slope", f"{name}_curvature")[:order]
        self.own_parameters = (
            Scale(f"{name}.scale"),
            # In units of time.
            Scale(f"{name}.length_scale", power=0, start=(0.0, 3.0), limits=(-14.0, 14.0)),
        )

    def own_block(self, params, steps):
        """The companion form of (d/dt + lambda)^(nu + 1/2), discretised."""
        order = len(self.state_names)
        rate = math.sqrt(2 * self.nu) / params[f"{self.name}.length_scale"]
        scale = params[f"{self.name}.scale"]
        binomials = np.array([math.comb(order, j) for j in range(order)])
        powers = rate[..., tf.newaxis] ** np.arange(order, 0, -1, dtype=np.float64)
        last = -np.eye(order)[:, -1:] * (binomials * powers)[..., tf.newaxis, :]
        # Spectral density of the driving noise: 2, 4 and 16/3 times scale^2 rate^(2 nu).
        density = {1: 2.0, 2: 4.0, 3: 16 / 3}[order]
        noise = math.sqrt(density) * scale * rate**self.nu
        transition, transition_scale, _ = discretise(
            "MaternProcess",
            last + np.eye(order, k=1),
            np.eye(order)[:, -1:] * noise[..., tf.newaxis, tf.newaxis],
            None,
            step_lengths("MaternProcess", steps.times),
        )
        if scale.shape.rank == 0 and steps.times is None:
            transition, transition_scale = transition[0], transition_scale[0]
        return Block(
            transition_matrix=transition,
            transition_scale=transition_scale,
            observation_matrix=np.eye(1, order),
            initial_scale=self._stationary(order, rate, scale),
        )

    def _stationary(self, order, rate, scale):
        """The Cholesky factor of the stationary covariance, in closed form."""
        factor = {
            1: np.eye(1),
            2: np.eye(2),
            3: np.array([[1.0, 0, 0], [0, math.sqrt(1 / 3), 0], [-1 / 3, 0, math.sqrt(8 / 9)]]),
        }[order]
        powers = rate[..., tf.newaxis] ** np.arange(order, dtype=np.float64)
        return factor * (scale[..., tf.newaxis] * powers)[..., tf.newaxis]

    def __repr__(self):
        name = "" if self.name == "matern" else f", name={self.name!r}"
        return f"MaternProcess({self.nu:g}{name})"


def step_lengths(op, times) -> tf.Tensor:
    """What lies between the steps, ``[..., T]``; ``[1]``, one, where no times are given."""
    if times is None:
        return tf.ones([1], tf.float64)
    return intervals(op, times, tf.float64)
