"""The linear-Gaussian state-space model: value object, broadcasting rule, validation."""

import functools
from typing import NamedTuple, Union

import numpy as np
import tensorflow as tf

from statespace.linalg_ops.arguments import check_square
from statespace.linalg_ops.cholesky import NOT_POSITIVE_DEFINITE, cholesky
from statespace.linalg_ops.failure import raise_where_failed
from statespace.sde import discretise, intervals


class ParameterSpec(NamedTuple):
    """Core axes of a parameter, by the letters of the model equations."""

    name: str
    core: tuple[str, ...]
    per_step: bool  # may carry a time axis before its core axes


# The order in which every Kalman op takes its parameters.
PARAMETERS = (
    ParameterSpec("transition_matrix", ("n", "n"), True),
    ParameterSpec("transition_scale", ("n", "k"), True),
    ParameterSpec("observation_matrix", ("m", "n"), True),
    ParameterSpec("observation_scale", ("m", "r"), True),
    ParameterSpec("transition_offset", ("n",), True),
    ParameterSpec("observation_offset", ("m",), True),
    ParameterSpec("initial_mean", ("n",), False),
    ParameterSpec("initial_scale", ("n", "p"), False),
)


class LinearGaussianSSM(tf.experimental.ExtensionType):
    """A linear-Gaussian state-space model, for t = 0 ... T-1:

        x_0     ~ N(m_0, S_0 S_0')
        y_t     = H_t x_t + d_t + C_t r_t,     r_t ~ N(0, I)
        x_{t+1} = F_t x_t + b_t + G_t q_t,     q_t ~ N(0, I)

    Noise enters by *scale factors* (G, C, S_0), so covariances are positive semidefinite by
    construction and noise of lower rank is natural (G may be [n, k] with k < n).

    Shapes: data is ``y[..., T, m]``, and every per-step parameter broadcasts, by NumPy's rules,
    against its leading axes ``[..., T]``. ``F[n, n]`` is shared by all series and steps,
    ``F[T, n, n]`` varies in time, ``F[B, 1, n, n]`` per series, ``F[B, T, n, n]`` in both. The
    initial moments have no time axis and broadcast against ``[...]``. One step, F_{T-1}, G_{T-1}
    and b_{T-1}, leads beyond the data; only forecasts use it.

    An ``ExtensionType``: it passes through ``tf.function``, ``tf.while_loop`` and SavedModel
    signatures.

    Args:
      transition_matrix: F, ``[..., n, n]``.
      transition_scale: G, ``[..., n, k]``.
      observation_matrix: H, ``[..., m, n]``.
      observation_scale: C, ``[..., m, r]``.
      initial_mean: m_0, ``[..., n]``.
      initial_scale: S_0, ``[..., n, p]``.
      transition_offset: b, ``[..., n]``; None is zero.
      observation_offset: d, ``[..., m]``; None is zero.
      diffuse: bool ``[n]``, the states of whose start nothing is known: the limit kappa -> infinity
        of a variance kappa. Their entries of m_0 and rows of S_0 have no influence. None: every
        start is proper.

    All float32 or all float64; Python numbers and integer arrays take the dtype of the others, or
    float64 where there are none.

    Raises:
      ValueError: a shape does not fit the others, or dtypes are mixed. The message names the
        parameters and their shapes.

    Example:

      >>> import statespace as ss
      >>> ssm = ss.LinearGaussianSSM(
      ...     transition_matrix=[[1.0, 1.0], [0.0, 1.0]],
      ...     transition_scale=[[0.1, 0.0], [0.0, 0.01]],
      ...     observation_matrix=[[1.0, 0.0]], observation_scale=[[1.0]],
      ...     initial_mean=[0.0, 0.0], initial_scale=[[10.0, 0.0], [0.0, 1.0]])
      >>> ssm.state_dim, ssm.observation_dim, ssm.dtype.name
      (2, 1, 'float64')
    """

    __name__ = "statespace.LinearGaussianSSM"  # under which SavedModels store it

    transition_matrix: tf.Tensor
    transition_scale: tf.Tensor
    observation_matrix: tf.Tensor
    observation_scale: tf.Tensor
    transition_offset: tf.Tensor
    observation_offset: tf.Tensor
    initial_mean: tf.Tensor
    initial_scale: tf.Tensor
    diffuse: Union[None, tf.Tensor]  # noqa: RUF036, UP007 - tried in this order

    def __init__(
        self,
        transition_matrix,
        transition_scale,
        observation_matrix,
        observation_scale,
        initial_mean,
        initial_scale,
        transition_offset=None,
        observation_offset=None,
        diffuse=None,
    ):
        given = {
            "transition_matrix": transition_matrix,
            "transition_scale": transition_scale,
            "observation_matrix": observation_matrix,
            "observation_scale": observation_scale,
            "transition_offset": transition_offset,
            "observation_offset": observation_offset,
            "initial_mean": initial_mean,
            "initial_scale": initial_scale,
        }
        tensors = to_tensors(given)
        check_core_shapes(PARAMETERS, tensors)
        if transition_offset is None:
            tensors["transition_offset"] = _zero_offset(tensors["transition_matrix"], axis=-1)
        if observation_offset is None:
            tensors["observation_offset"] = _zero_offset(tensors["observation_matrix"], axis=-2)
        n = _last_axis(tensors["transition_matrix"])
        tensors["diffuse"] = None if diffuse is None else _diffuse_states(diffuse, n)
        self.__dict__.update(tensors)  # setattr looks every name up among all fields first

    @classmethod
    def from_covariances(
        cls,
        transition_matrix,
        transition_covariance,
        observation_matrix,
        observation_covariance,
        initial_mean,
        initial_covariance,
        transition_offset=None,
        observation_offset=None,
        diffuse=None,
    ) -> "LinearGaussianSSM":
        """Builds the model from covariances instead of scale factors.

        Args:
          transition_covariance: Q, ``[..., n, n]``; observation_covariance: R, ``[..., m, m]``;
          initial_covariance: P_0, ``[..., n, n]``; each symmetric positive *definite* (the lower
          triangle is read). The other arguments are those of the constructor.

        Returns:
          The model with G, C and S_0 the Cholesky factors of Q, R and P_0.

        Raises:
          tf.errors.InvalidArgumentError: a covariance is not positive definite; the message names
            it, the batch index and the leading minor. Singular noise is what the constructor's
            scale factors are for.
          ValueError: as the constructor.
        """
        covariances = {
            "transition_covariance": transition_covariance,
            "observation_covariance": observation_covariance,
            "initial_covariance": initial_covariance,
        }
        others = {
            "transition_matrix": transition_matrix,
            "observation_matrix": observation_matrix,
            "initial_mean": initial_mean,
            "transition_offset": transition_offset,
            "observation_offset": observation_offset,
        }
        tensors = to_tensors(covariances | others)
        for name in covariances:
            check_square("from_covariances", name, tensors[name])
        scale = {name: _factor(name, tensors[name]) for name in covariances}
        return cls(
            tensors["transition_matrix"],
            scale["transition_covariance"],
            tensors["observation_matrix"],
            scale["observation_covariance"],
            tensors["initial_mean"],
            scale["initial_covariance"],
            tensors.get("transition_offset"),
            tensors.get("observation_offset"),
            diffuse,
        )

    @classmethod
    def from_sde(
        cls,
        drift,
        diffusion,
        observation_matrix,
        observation_scale,
        times,
        initial_mean,
        initial_scale,
        *,
        drift_offset=None,
        observation_offset=None,
        diffuse=None,
    ) -> "LinearGaussianSSM":
        """The model of dx = (A x + c) dt + B dW, observed at irregular times.

        Its discretisation is exact: from each time to the next, x moves with F = exp(A h),
        b = int_0^h exp(A s) c ds and noise of covariance int_0^h exp(A s) B B' exp(A' s) ds, where
        h is what lies between. Derivatives for A, B, c and the times are those of the result.

        Args:
          drift: A, ``[..., n, n]``.
          diffusion: B, ``[..., n, w]``; w is often less than n.
          times: ``[..., T]``, increasing along the last axis, in the unit of A and B. They may have
            a dtype of their own: large float64 times suit a float32 model. A repeated time is one
            instant with several observations. The last step, which leads beyond the times, is an
            interval of length zero; to forecast, give the future times as well.
          initial_mean, initial_scale: moments of the state at the first time.
          drift_offset: c, ``[..., n]``; None is zero.
          The other arguments are those of the constructor. The batch axes of all broadcast.

        Returns:
          The model with F ``[..., T, n, n]``, lower-triangular G ``[..., T, n, n]`` and b
          ``[..., T, n]``.

        Raises:
          ValueError: a shape does not fit the others, or dtypes are mixed.
          tf.errors.InvalidArgumentError: times decrease or are not finite (not inside XLA, which
            cannot raise: there the model, and what is computed from it, is NaN).

        References:
          Särkkä & Solin, Applied Stochastic Differential Equations, sections 6.1 and 6.2.

        Example, Brownian motion seen at three times:

          >>> import statespace as ss
          >>> ssm = ss.LinearGaussianSSM.from_sde(
          ...     drift=[[0.0]], diffusion=[[1.0]], observation_matrix=[[1.0]],
          ...     observation_scale=[[1.0]], times=[0.0, 4.0, 13.0],
          ...     initial_mean=[0.0], initial_scale=[[1.0]])
          >>> ssm.transition_scale[:, 0, 0].numpy()
          array([2., 3., 0.])
        """
        given = {
            "drift": drift,
            "diffusion": diffusion,
            "observation_matrix": observation_matrix,
            "observation_scale": observation_scale,
            "initial_mean": initial_mean,
            "initial_scale": initial_scale,
            "drift_offset": drift_offset,
            "observation_offset": observation_offset,
        }
        tensors = to_tensors(given)
        transition_matrix, transition_scale, transition_offset = discretise(
            "from_sde",
            tensors["drift"],
            tensors["diffusion"],
            tensors.get("drift_offset"),
            intervals("from_sde", times, tensors["drift"].dtype),
        )
        return cls(
            transition_matrix,
            transition_scale,
            tensors["observation_matrix"],
            tensors["observation_scale"],
            tensors["initial_mean"],
            tensors["initial_scale"],
            transition_offset,
            tensors.get("observation_offset"),
            diffuse,
        )

    @property
    def state_dim(self) -> int | None:
        """n, or None where it is not known statically."""
        return _last_axis(self.transition_matrix)

    @property
    def observation_dim(self) -> int | None:
        """m, or None where it is not known statically."""
        shape = self.observation_matrix.shape
        return None if shape.rank is None else shape[-2]

    @property
    def dtype(self) -> tf.DType:
        """tf.float32 or tf.float64."""
        return self.transition_matrix.dtype

    def parameters(self) -> tuple[tf.Tensor, ...]:
        """The eight parameters in the order of ``PARAMETERS``."""
        return tuple(getattr(self, spec.name) for spec in PARAMETERS)


def replaced(ssm: LinearGaussianSSM, **fields) -> LinearGaussianSSM:
    """The model with some of its parameters, or what is ``diffuse`` of it, replaced."""
    own = {spec.name: getattr(ssm, spec.name) for spec in PARAMETERS}
    return LinearGaussianSSM(**own | {"diffuse": ssm.diffuse} | fields)


def _last_axis(tensor):
    return None if tensor.shape.rank is None else tensor.shape[-1]


def _diffuse_states(diffuse, n):
    try:
        diffuse = tf.convert_to_tensor(diffuse, name="diffuse")
    except (TypeError, ValueError) as error:
        raise ValueError(f"diffuse is not an array of bool: {error}") from None
    if diffuse.dtype != tf.bool or diffuse.shape.rank not in (None, 1):
        raise ValueError(
            f"diffuse is {diffuse.dtype.name} with shape {diffuse.shape}; it must be bool [n], "
            f"True for the states with a diffuse start."
        )
    if diffuse.shape.rank == 1 and None not in (n, diffuse.shape[0]) and n != diffuse.shape[0]:
        raise ValueError(
            f"diffuse has shape {diffuse.shape}; it must be [n] with n = {n}, as "
            f"transition_matrix says."
        )
    return diffuse


def time_axes(ssm: LinearGaussianSSM) -> list[tuple[str, tf.Tensor, int | None]]:
    """The parameters that vary in time: name, tensor, and the number of steps if it is known."""
    axes = []
    for spec, tensor in zip(PARAMETERS, ssm.parameters(), strict=True):
        rank = tensor.shape.rank
        if spec.per_step and rank is not None and rank > len(spec.core):
            steps = tensor.shape[-len(spec.core) - 1]
            if steps != 1:
                axes.append((spec.name, tensor, steps))
    return axes


def check_broadcasting(ssm: LinearGaussianSSM, y: tf.Tensor) -> None:
    """Checks the broadcasting rule between a model and data, as far as shapes are static.

    The batch axes of data and parameters broadcast mutually: parameters may have more of them than
    the data (many candidate models on one series).

    Args:
      ssm: the model.
      y: data ``[..., T, m]``.

    Raises:
      ValueError: names the argument whose shape does not fit, and both shapes.
    """
    check_shapes(PARAMETERS, ssm.parameters(), ssm.observation_dim, y)


def check_shapes(specs, parameters, m: int | None, y: tf.Tensor) -> None:
    """``check_broadcasting`` for any list of parameters, ``specs`` says which, and m components."""
    _check_shapes(specs, tuple(map(_shape, parameters)), m, _shape(y))


def _shape(tensor) -> tuple[int | None, ...] | None:
    return None if tensor.shape.rank is None else tuple(tensor.shape.as_list())


# Checks of shapes that have passed are not repeated: eagerly they would take longer than the ops of
# short series.
_remember = functools.lru_cache(maxsize=256)


@_remember
def _check_shapes(specs, parameters, m, data):
    _check_data(m, data)
    num_steps = None if data is None else data[-2]
    batch = tf.TensorShape(None if data is None else data[:-2])
    for spec, shape in zip(specs, parameters, strict=True):
        if shape is None:
            batch = tf.TensorShape(None)
            continue
        if len(shape) == len(spec.core):
            continue
        lead = shape[: len(shape) - len(spec.core)]
        if spec.per_step:
            steps = lead[-1]
            if None not in (steps, num_steps) and steps not in (1, num_steps):
                raise ValueError(
                    f"{spec.name} has shape {shape}: its time axis has {steps} steps but y "
                    f"has {num_steps} (y has shape {data}). Per-step parameters broadcast "
                    f"against y's leading axes [..., T]; give one per series as [B, 1, ...]."
                )
            lead = lead[:-1]
        try:
            batch = tf.broadcast_static_shape(batch, tf.TensorShape(lead))
        except ValueError:
            raise ValueError(
                f"{spec.name} has shape {shape}: its batch axes {lead} do not broadcast "
                f"against the batch axes {batch} of y (shape {data}) and the parameters "
                f"before it."
            ) from None


def _check_data(m, shape):
    if shape is None:
        return
    if len(shape) < 2:
        hint = " Add the axis of the observation: y[..., tf.newaxis]." if len(shape) == 1 else ""
        raise ValueError(f"y has shape {shape}; it must be [..., T, m] with m = {m}.{hint}")
    if None not in (m, shape[-1]) and shape[-1] != m:
        hint = " Add the axis of the observation: y[..., tf.newaxis]." if m == 1 else ""
        raise ValueError(
            f"y has shape {shape}; its last axis must have the model's m = {m} components.{hint}"
        )


def _factor(name, covariance):
    l, info = cholesky(covariance, return_info=True)
    return raise_where_failed(f"from_covariances: {name}", info, NOT_POSITIVE_DEFINITE, l)


def to_tensors(given: dict) -> dict[str, tf.Tensor]:
    """Converts the parameters that are not None to tensors of one dtype, or says what is mixed."""
    for name, value in given.items():
        if value is None and not name.endswith("_offset"):
            raise ValueError(f"{name} is None; only the offsets may be left out.")
    given = {name: value for name, value in given.items() if value is not None}
    dtype = getattr(next(iter(given.values())), "dtype", None)
    if (dtype is tf.float64 or dtype is tf.float32) and all(
        isinstance(value, tf.Tensor) and value.dtype is dtype for value in given.values()
    ):
        return given
    floats = {name: _float_dtype(value) for name, value in given.items()}
    floats = {name: dtype for name, dtype in floats.items() if dtype is not None}
    if len(set(floats.values())) > 1:
        listing = ", ".join(f"{name} is {dtype.name}" for name, dtype in floats.items())
        raise ValueError(f"Parameters have mixed dtypes: {listing}. Cast them to one of them.")
    dtype = next(iter(floats.values()), tf.float64)
    if dtype not in (tf.float32, tf.float64):
        raise ValueError(f"Parameters are {dtype.name}; they must be float32 or float64.")
    return {name: _convert(name, value, dtype) for name, value in given.items()}


def _float_dtype(value) -> tf.DType | None:
    """The dtype an argument insists on: None for Python numbers and integer arrays."""
    dtype = getattr(value, "dtype", None)
    if dtype is None:
        leaves = [leaf for leaf in tf.nest.flatten(value) if hasattr(leaf, "dtype")]
        return _float_dtype(leaves[0]) if leaves else None
    dtype = tf.as_dtype(dtype)
    return None if dtype.is_integer or dtype.is_bool else dtype


def _convert(name, value, dtype):
    if tf.is_tensor(value):
        return value if value.dtype == dtype else tf.cast(value, dtype, name=name)
    try:
        return tf.convert_to_tensor(value, dtype, name=name)
    except (TypeError, ValueError):
        pass  # integer arrays, nested lists that mix kinds, and what is no array at all
    try:
        return tf.constant(np.asarray(value, dtype.as_numpy_dtype), name=name)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} is not an array of numbers: {error}") from None


def check_core_shapes(specs: tuple[ParameterSpec, ...], tensors: dict[str, tf.Tensor]) -> None:
    """Core axes that share a letter must agree; ValueError says which two arguments do not."""
    _check_core(*((spec, _shape(tensors[spec.name])) for spec in specs if spec.name in tensors))


@_remember
def _check_core(*arguments):
    seen = {}
    for spec, shape in arguments:
        if shape is None:
            continue
        wanted = ", ".join(spec.core)
        if len(shape) < len(spec.core):
            raise ValueError(f"{spec.name} has shape {shape}; it must be [..., {wanted}].")
        for letter, size in zip(spec.core, shape[-len(spec.core) :], strict=True):
            if size is None:
                continue
            owner, expected, owner_shape = seen.setdefault(letter, (spec.name, size, shape))
            if size != expected:
                raise ValueError(
                    f"{spec.name} has shape {shape}; it must be [..., {wanted}] with "
                    f"{letter} = {expected}, as {owner} {owner_shape} says."
                )


def _zero_offset(matrix, axis):
    size = matrix.shape[axis] if matrix.shape.rank is not None else None
    if size is None:
        return tf.zeros([tf.shape(matrix)[axis]], matrix.dtype)
    return (_eager_zeros if tf.executing_eagerly() else tf.zeros)(size, matrix.dtype)


@functools.lru_cache(maxsize=64)
def _eager_zeros(size, dtype):
    """Making these two vectors anew would be a third of what a model costs."""
    return tf.zeros(size, dtype)
