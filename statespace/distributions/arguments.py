"""TensorFlow Probability's description of a model, turned into one ``LinearGaussianSSM``.

A matrix is a Tensor or a LinearOperator, a noise a multivariate normal distribution, and either may
be a function of time that returns such a thing.
"""

import functools
from typing import Any, NamedTuple

import tensorflow as tf
import tensorflow_probability as tfp

from statespace.linalg_ops.psd_cholesky import psd_cholesky
from statespace.ssm import LinearGaussianSSM

tfd = tfp.distributions

OWNER = "LinearGaussianStateSpaceModel"
_MATRICES = ("transition_matrix", "observation_matrix")


class ModelArguments(NamedTuple):
    """The five arguments that describe a model, as the user gave them."""

    transition_matrix: Any
    transition_noise: Any
    observation_matrix: Any
    observation_noise: Any
    initial_state_prior: Any

    def at(self, time) -> "ModelArguments":
        """The arguments of one step: functions of time are called."""
        return ModelArguments(*(x(time) if callable(x) else x for x in self))

    def batch_shape(self) -> tf.TensorShape:
        """What the batch shapes, as far as static, broadcast to; no argument is a function.

        Raises:
          ValueError: they do not.
        """
        shapes = [_tensor(x).shape[:-2] if _is_array(x) else x.batch_shape for x in self]
        try:
            return functools.reduce(tf.broadcast_static_shape, shapes)
        except ValueError:
            listing = ", ".join(
                f"{name} {shape}" for name, shape in zip(self._fields, shapes, strict=True)
            )
            raise ValueError(f"{OWNER}: batch shapes do not broadcast: {listing}.") from None

    def batch_shape_tensor(self) -> tf.Tensor:
        """What the batch shapes broadcast to; no argument is a function."""
        shapes = [
            tf.shape(_tensor(x))[:-2] if _is_array(x) else x.batch_shape_tensor() for x in self
        ]
        return functools.reduce(tf.broadcast_dynamic_shape, shapes)

    def check_shapes(self) -> None:
        """Checks that core sizes agree, as far as they are static; no argument is a function.

        Raises:
          ValueError: names the argument, its shape and the shape it must have.
        """
        shapes = {name: _core_shape(name, x) for name, x in self._asdict().items()}
        n, m = shapes["initial_state_prior"][0], shapes["observation_noise"][0]
        wanted = {
            "transition_matrix": [n, n],
            "transition_noise": [n],
            "observation_matrix": [m, n],
        }
        for name, sizes in wanted.items():
            if not shapes[name].is_compatible_with(sizes):
                raise ValueError(
                    f"{OWNER}: {name} has shape {shapes[name]} after its batch axes; it must be "
                    f"{tf.TensorShape(sizes)}, as the event shapes of initial_state_prior, [{n}], "
                    f"and observation_noise, [{m}], say."
                )


def to_ssm(arguments: ModelArguments, times: tf.Tensor, dtype: tf.DType) -> LinearGaussianSSM:
    """The model over the given times.

    Means of the noise distributions become offsets, and factors of their covariances scales.
    Functions of time are called for each step, in one loop, and their results stacked on a time
    axis; what is no function stays one value for all steps.

    Args:
      arguments: the model; its prior is not a function.
      times: int ``[T]``, what functions of time are called with.
      dtype: that of the prior. What has no dtype, such as nested lists, gets it.

    Raises:
      ValueError: an argument cannot be converted, or shapes or dtypes do not fit.
    """
    given = arguments._asdict()
    initial_mean, initial_scale = _moments("initial_state_prior", given.pop("initial_state_prior"))
    varying = [name for name, x in given.items() if callable(x)]
    steps = {
        name: _with_time_axis(name, _tensors(name, x, dtype))
        for name, x in given.items()
        if name not in varying
    }
    if varying:
        steps |= _over_time(arguments, varying, times, dtype)
    transition_offset, transition_scale = steps["transition_noise"]
    observation_offset, observation_scale = steps["observation_noise"]
    return LinearGaussianSSM(
        transition_matrix=steps["transition_matrix"][0],
        transition_scale=transition_scale,
        observation_matrix=steps["observation_matrix"][0],
        observation_scale=observation_scale,
        initial_mean=initial_mean,
        initial_scale=initial_scale,
        transition_offset=transition_offset,
        observation_offset=observation_offset,
    )


def _over_time(arguments, names, times, dtype):
    """What the named functions of time return, as tensors ``[..., T, *core]``."""

    def step(time):
        now = arguments.at(time)
        now.check_shapes()
        return {name: _tensors(name, getattr(now, name), dtype) for name in names}

    kinds = {name: (dtype,) * len(_core_ranks(name)) for name in names}
    stacked = tf.map_fn(step, times, fn_output_signature=kinds)
    return {name: _with_time_last(name, x) for name, x in stacked.items()}


def _core_ranks(name):
    """Core axes of the tensors an argument becomes: a matrix, or a mean and a scale."""
    return (2,) if name in _MATRICES else (1, 2)


def _tensors(name, value, dtype):
    """(matrix,) or (mean, scale), ``[..., *core]``."""
    tensors = (_matrix(value, dtype),) if name in _MATRICES else _moments(name, value)
    if tensors[0].dtype != dtype:
        raise ValueError(
            f"{OWNER}: mixed dtypes: {name} is {tensors[0].dtype.name}, initial_state_prior is "
            f"{dtype.name}. Cast one of them."
        )
    return tensors


def _matrix(value, dtype):
    is_operator = isinstance(value, tf.linalg.LinearOperator)
    return value.to_dense() if is_operator else _tensor(value, dtype)


def _moments(name, noise):
    """Mean, and a factor of the covariance, of a noise distribution."""
    if isinstance(noise, tfd.MultivariateNormalLinearOperator):
        return noise.mean(), noise.scale.to_dense()
    try:
        mean, covariance = noise.mean(), noise.covariance()
    except NotImplementedError:
        raise ValueError(
            f"{OWNER}: {name} is {noise!r}, whose mean and covariance are not known; use a "
            f"multivariate normal distribution such as MultivariateNormalDiag or "
            f"MultivariateNormalTriL."
        ) from None
    return mean, psd_cholesky(covariance, on_failure="raise")


def _with_time_axis(name, tensors):
    """An axis of length 1 for time, where batch axes need one to follow them."""
    return tuple(
        x if x.shape.rank == core else tf.expand_dims(x, -core - 1)
        for x, core in zip(tensors, _core_ranks(name), strict=True)
    )


def _with_time_last(name, tensors):
    """Moves the time axis from the front to after the batch axes."""
    return tuple(
        tf.experimental.numpy.moveaxis(x, 0, -core - 1)
        for x, core in zip(tensors, _core_ranks(name), strict=True)
    )


def _is_array(value):
    """Whether it is an array, a Variable or nested lists: what cannot be asked for its batch."""
    return not hasattr(value, "batch_shape")


def _tensor(value, dtype=None):
    return tf.convert_to_tensor(value, dtype_hint=dtype)


def _core_shape(name, value):
    """Static shape without batch axes."""
    if name not in _MATRICES:
        if not isinstance(value, tfd.Distribution):
            raise ValueError(
                f"{OWNER}: {name} is a {type(value).__name__}; it must be a multivariate normal "
                f"distribution of TensorFlow Probability, or a function of time that returns one."
            )
        if value.event_shape.rank not in (None, 1):
            raise ValueError(
                f"{OWNER}: {name} has event shape {value.event_shape}; it must be a distribution "
                f"of vectors, such as MultivariateNormalDiag."
            )
        return value.event_shape.with_rank(1)
    shape = _tensor(value).shape if _is_array(value) else value.shape
    if shape.rank is not None and shape.rank < 2:
        raise ValueError(
            f"{OWNER}: {name} has shape {shape}; it must be a matrix, [..., rows, columns]."
        )
    return shape.with_rank_at_least(2)[-2:]
