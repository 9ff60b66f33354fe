"""Calling the functions of a model: what they are given, what they must return, Jacobians."""

import inspect
from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from statespace.linalg_ops.arguments import matrix_transpose, with_shape

OPTIONAL = ("step", "controls")


class ModelFunction:
    """f or h of a :class:`statespace.NonlinearGaussianSSM`, checked at every call.

    Args:
      kind: "transition" or "observation".
      function: states ``[..., n]`` -> ``[..., size]``.
      jacobian: states ``[..., n]`` -> ``[..., size, n]``, or None.
      size: n or m.
    """

    def __init__(self, kind: str, function: Callable, jacobian: Callable | None, size: int):
        self.size = size
        self._function = _Named(f"{kind}_fn", function, _optional(f"{kind}_fn", function))
        self._jacobian = None
        if jacobian is not None:
            name = f"{kind}_jacobian"
            self._jacobian = _Named(name, jacobian, _optional(name, jacobian))

    @property
    def takes(self) -> set[str]:
        """Which of ``OPTIONAL`` the function, or its Jacobian, takes."""
        return {*self._function.takes, *(self._jacobian.takes if self._jacobian else ())}

    def __call__(self, x: tf.Tensor, inputs: dict) -> tf.Tensor:
        """Values ``[..., size]`` at ``x [..., n]``; ``inputs`` holds what ``OPTIONAL`` names."""
        value = self._function.value(x, inputs, [self.size])
        return _broadcast(value, tf.shape(x)[:-1], x.shape[:-1], 1)

    def batch_shape(self, x: tf.Tensor, inputs: dict):
        """Leading axes of the value at ``x``, known and as a tensor: those of closures join."""
        value = self._function.value(x, inputs, [self.size])
        return value.shape[:-1], tf.shape(value)[:-1]

    def linear(self, x: tf.Tensor, inputs: dict) -> tuple[tf.Tensor, tf.Tensor]:
        """Value ``[..., size]`` and Jacobian ``[..., size, n]`` at ``x [..., n]``.

        Without a Jacobian of the user's, one reverse pass gives all of it: row i is the gradient of
        component i, so the function is evaluated at as many copies of x as it has components.
        """
        n = x.shape[-1]
        if self._jacobian is not None:
            jacobian = self._jacobian.value(x, inputs, [self.size, n])
            return self(x, inputs), _broadcast(jacobian, tf.shape(x)[:-1], x.shape[:-1], 2)
        copies = tf.broadcast_to(x, tf.concat([[self.size], tf.shape(x)], 0))
        copies = with_shape(copies, tf.TensorShape([self.size]).concatenate(x.shape))
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(copies)
            values = self(copies, inputs)
        ones = [1] * (x.shape.rank - 1)
        rows = tf.reshape(tf.eye(self.size, dtype=x.dtype), [self.size, *ones, self.size])
        rows = tf.broadcast_to(rows, tf.shape(values))
        jacobian = tape.gradient(
            values, copies, rows, unconnected_gradients=tf.UnconnectedGradients.ZERO
        )
        return values[0], columns_last(jacobian, transposed=True)


def columns_first(x: tf.Tensor) -> tf.Tensor:
    """The columns of ``[..., n, k]`` as vectors, ``[k, ..., n]``."""
    rank = x.shape.rank
    return tf.transpose(x, [rank - 1, *range(rank - 1)])


def columns_last(x: tf.Tensor, transposed: bool = False) -> tf.Tensor:
    """Undoes ``columns_first``; ``transposed`` makes rows of the vectors."""
    rank = x.shape.rank
    columns = tf.transpose(x, [*range(1, rank), 0])
    return matrix_transpose(columns) if transposed else columns


class _Named(NamedTuple):
    name: str
    function: Callable
    takes: tuple[str, ...]

    def value(self, x, inputs, core):
        """What the function returns, if it is a tensor ``[..., *core]`` of the states' dtype."""
        result = self.function(x, **{name: inputs[name] for name in self.takes})
        size = ", ".join(["...", *map(str, core)])
        wanted = f"for states {x.shape} it must return [{size}]"
        try:
            value = tf.convert_to_tensor(result)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{self.name} did not return a tensor; {wanted}: {error}") from None
        if value.dtype != x.dtype:
            raise ValueError(
                f"{self.name} returned {value.dtype.name} for {x.dtype.name} states; {wanted} of "
                f"their dtype."
            )
        rank, shape = value.shape.rank, value.shape
        if rank is None or rank < len(core) or not shape[-len(core) :].is_compatible_with(core):
            raise ValueError(f"{self.name} returned shape {shape}; {wanted}.")
        try:
            tf.broadcast_static_shape(shape[: rank - len(core)], x.shape[:-1])
        except ValueError:
            raise ValueError(
                f"{self.name} returned shape {shape}; {wanted}, with leading axes that broadcast "
                f"against those of the states."
            ) from None
        return value


def _broadcast(value, batch, static, core_rank):
    """A function's value with the leading axes of the states it was given."""
    core = value.shape[value.shape.rank - core_rank :]
    wanted = static.concatenate(core)
    if value.shape.is_fully_defined() and value.shape == wanted:
        return value
    sizes = tf.shape(value)[value.shape.rank - core_rank :]
    return with_shape(tf.broadcast_to(value, tf.concat([batch, sizes], 0)), wanted)


def _optional(name, function):
    """Which of ``OPTIONAL`` a function has parameters for."""
    if not callable(function):
        raise ValueError(f"{name} is a {type(function).__name__}; it must be a function of states.")
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):  # built in, without a signature
        return ()
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    if parameters and parameters[0].kind in positional and parameters[0].name not in OPTIONAL:
        parameters = parameters[1:]
    named = [x for x in parameters if x.kind not in (x.VAR_POSITIONAL, x.VAR_KEYWORD)]
    for parameter in named:
        if parameter.default is parameter.empty and parameter.name not in OPTIONAL:
            raise ValueError(
                f"{name} has a parameter {parameter.name!r}; it is called with the states, and by "
                f"name with {' and '.join(OPTIONAL)} where it has parameters of these names."
            )
    return tuple(x.name for x in named if x.name in OPTIONAL)
