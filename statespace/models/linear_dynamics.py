"""Linear dynamics without structure, learned or given: what networks are put on top of or below."""

import numpy as np
import tensorflow as tf

from statespace.linalg_ops.arguments import positive_int
from statespace.models.base import Model
from statespace.models.block import Block, per_step
from statespace.models.parameters import Location, Parameter, Scale
from statespace.ssm import PARAMETERS, LinearGaussianSSM


class LinearDynamics(Model):
    """n states that move by any matrix, and are observed by any other.

        y_t     = H x_t + d + diag(c) r_t
        x_{t+1} = F x_t + diag(g) q_t,       x_0 ~ N(m_0, diag(s_0)^2)

    Noise is independent between the states, which is no loss of generality while F and H are free:
    another basis of the states makes it so. They are not identified beyond that, as the weights of
    a network are not; ``start_values`` is a place to learn from. So this is a model to train by
    gradients, not one for ``fit``.

    Args:
      state_dim: number n of states.
      num_observed: number m of observed variables.

    Raises:
      ValueError: one of them is not a positive whole number.

    Example:
      >>> [p.name for p in LinearDynamics(4, 2).parameters][:3]
      ['transition_matrix', 'transition_scale', 'observation_matrix']
    """

    starts_anywhere = False
    drawn_at_random = ("observation_matrix",)
    disturbance_scales = ("transition_scale",)

    def __init__(self, state_dim, num_observed):
        n = positive_int("LinearDynamics", "state_dim", state_dim)
        m = positive_int("LinearDynamics", "num_observed", num_observed)
        self.state_names, self.num_observed = tuple(f"state_{i + 1}" for i in range(n)), m
        self.parameters = (
            Parameter("transition_matrix", (n, n)),
            Scale("transition_scale", (n,)),
            Parameter("observation_matrix", (m, n)),
            Scale("observation_scale", (m,)),
            Location("observation_offset", (m,)),
            Parameter("initial_mean", (n,)),
            Scale("initial_scale", (n,)),
        )

    def start_values(self) -> dict[str, np.ndarray]:
        """Values for observations of mean zero and variance about one.

        Each state decays at its own pace, with a memory of between 2 and 100 steps, so that they
        are stable and no two alike, and is stationary with variance one. Rows of the observation
        matrix should have length one.
        """
        n, m = len(self.state_names), self.num_observed
        decay = 1 - 1 / np.geomspace(2.0, 100.0, n + 2)[1:-1]
        return {
            "transition_matrix": np.diag(decay),
            "transition_scale": np.sqrt(1 - decay**2),
            "observation_scale": np.full(m, 0.5),
            "observation_offset": np.zeros(m),
            "initial_mean": np.zeros(n),
            "initial_scale": np.ones(n),
        }

    def block(self, params, steps):
        """The matrices, as they are."""
        scales = {
            name: tf.linalg.diag(params[name])
            for name in ("transition_scale", "observation_scale", "initial_scale")
        }
        return Block(
            transition_matrix=per_step(params["transition_matrix"], 2),
            transition_scale=per_step(scales["transition_scale"], 2),
            observation_matrix=per_step(params["observation_matrix"], 2),
            observation_scale=per_step(scales["observation_scale"], 2),
            observation_offset=per_step(params["observation_offset"], 1),
            initial_mean=params["initial_mean"],
            initial_scale=scales["initial_scale"],
        )

    def __repr__(self):
        return f"LinearDynamics({len(self.state_names)}, {self.num_observed})"


class FixedDynamics(Model):
    """A model of which nothing is to be estimated.

    Args:
      ssm: a :class:`statespace.LinearGaussianSSM` without batch axes or parameters that vary in
        time.

    Raises:
      ValueError: it has such axes; the message names the parameter.
    """

    starts_anywhere = False

    def __init__(self, ssm: LinearGaussianSSM):
        self.arrays = {}
        for spec, value in zip(PARAMETERS, ssm.parameters(), strict=True):
            if value.shape.rank != len(spec.core):
                raise ValueError(
                    f"dynamics: {spec.name} has shape {value.shape}; here it must have the axes "
                    f"[{', '.join(spec.core)}] alone, the same for all series and steps."
                )
            self.arrays[spec.name] = value.numpy().astype(np.float64)
        m, n = self.arrays["observation_matrix"].shape
        diffuse = np.zeros(n, bool) if ssm.diffuse is None else ssm.diffuse.numpy()
        self.arrays["diffuse"] = diffuse
        for name in ("initial_mean", "initial_scale"):
            self.arrays[name][diffuse] = 0.0  # without influence
        self.state_names, self.num_observed = tuple(f"state_{i + 1}" for i in range(n)), m

    def block(self, params, steps):
        """The matrices, as they are."""
        return Block(**self.arrays)

    def __repr__(self):
        return f"FixedDynamics(state_dim={len(self.state_names)}, num_observed={self.num_observed})"
