"""The state-space model with nonlinear functions and additive Gaussian noise."""

import tensorflow as tf

from statespace.nonlinear.functions import ModelFunction
from statespace.ssm import ParameterSpec, check_core_shapes, to_tensors

PARAMETERS = (
    ParameterSpec("transition_scale", ("n", "k"), True),
    ParameterSpec("observation_scale", ("m", "r"), True),
    ParameterSpec("initial_mean", ("n",), False),
    ParameterSpec("initial_scale", ("n", "p"), False),
)


class NonlinearGaussianSSM:
    """A state-space model with nonlinear functions, for t = 0 ... T-1:

        x_0     ~ N(m_0, S_0 S_0')
        y_t     = h(x_t) + C_t r_t,     r_t ~ N(0, I)
        x_{t+1} = f(x_t) + G_t q_t,     q_t ~ N(0, I)

    Noise is additive and Gaussian; it enters by scale factors, as in
    :class:`statespace.LinearGaussianSSM`, whose broadcasting rule holds here too: ``C[m, r]`` is
    shared by all series and steps, ``C[T, m, r]`` varies in time, ``C[B, 1, m, r]`` per series. An
    offset or a time-varying coefficient belongs into the functions.

    The functions take states ``[..., n]`` with any number of leading axes and treat each state
    alone. What they close over (tensors, variables, Keras layers) gets gradients; with shape
    ``[B]``, or ``[B, ...]`` where the last axes fit the state's, it differs by series. A function
    with a parameter named ``step`` is also given the time index, an int32 scalar, and one with a
    parameter named ``controls`` that step's controls, ``[..., c]``, which are given to the filter.

    Args:
      transition_fn: f, states ``[..., n]`` -> ``[..., n]``.
      transition_scale: G, ``[..., n, k]``.
      observation_fn: h, states ``[..., n]`` -> ``[..., m]``.
      observation_scale: C, ``[..., m, r]``.
      initial_mean: m_0, ``[..., n]``.
      initial_scale: S_0, ``[..., n, p]``.
      transition_jacobian: df/dx, states ``[..., n]`` -> ``[..., n, n]``, with the same optional
        parameters; None: by automatic differentiation. Sigma-point methods need none.
      observation_jacobian: dh/dx, states ``[..., n]`` -> ``[..., m, n]``; None as above.

    All float32 or all float64. The tensors are made when the model is: build it under the tape, or
    inside the ``tf.function``, that is to differentiate by them.

    Raises:
      ValueError: a shape does not fit the others, dtypes are mixed, or a function is not callable
        or asks for other arguments. The message names what is wrong.

    Example, a random walk seen through its square:

      >>> import tensorflow as tf, statespace as ss
      >>> model = ss.NonlinearGaussianSSM(
      ...     transition_fn=lambda x: x, transition_scale=[[0.1]],
      ...     observation_fn=tf.square, observation_scale=[[0.5]],
      ...     initial_mean=[1.0], initial_scale=[[0.3]])
      >>> model.state_dim, model.observation_dim, model.dtype.name
      (1, 1, 'float64')
    """

    def __init__(
        self,
        transition_fn,
        transition_scale,
        observation_fn,
        observation_scale,
        initial_mean,
        initial_scale,
        transition_jacobian=None,
        observation_jacobian=None,
    ):
        tensors = to_tensors(
            {
                "transition_scale": transition_scale,
                "observation_scale": observation_scale,
                "initial_mean": initial_mean,
                "initial_scale": initial_scale,
            }
        )
        check_core_shapes(PARAMETERS, tensors)
        self.transition_scale = tensors["transition_scale"]
        self.observation_scale = tensors["observation_scale"]
        self.initial_mean = tensors["initial_mean"]
        self.initial_scale = tensors["initial_scale"]
        _check_known(tensors)
        n, m = self.initial_mean.shape[-1], self.observation_scale.shape[-2]
        self.transition = ModelFunction("transition", transition_fn, transition_jacobian, n)
        self.observation = ModelFunction("observation", observation_fn, observation_jacobian, m)

    @property
    def state_dim(self) -> int:
        """n."""
        return self.transition.size

    @property
    def observation_dim(self) -> int:
        """m."""
        return self.observation.size

    @property
    def dtype(self) -> tf.DType:
        """tf.float32 or tf.float64."""
        return self.transition_scale.dtype

    def parameters(self) -> tuple[tf.Tensor, ...]:
        """Its tensors in the order of ``PARAMETERS``."""
        return tuple(getattr(self, spec.name) for spec in PARAMETERS)

    def __repr__(self):
        return (
            f"NonlinearGaussianSSM(state_dim={self.state_dim}, "
            f"observation_dim={self.observation_dim}, dtype={self.dtype.name})"
        )


def _check_known(tensors):
    """Points, Jacobians and arrays are laid out by the core axes, so they must be known."""
    for spec in PARAMETERS:
        shape = tensors[spec.name].shape
        if shape.rank is None or None in shape[-len(spec.core) :]:
            wanted = ", ".join(spec.core)
            raise ValueError(
                f"{spec.name} has shape {shape}; of [..., {wanted}] the last axes must be known "
                f"when the model is built."
            )
