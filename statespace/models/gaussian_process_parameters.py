"""Parameters of kernels and mean functions: their names are a function's arguments."""

import inspect
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from statespace.models.block import per_step
from statespace.models.parameters import Location, Parameter, Scale

NOISE = "noise_variance"


@dataclass(frozen=True)
class Positive(Scale):
    """A positive parameter of a kernel; its free coordinate is the logarithm.

    Args:
      name, shape, start, limits: as for :class:`statespace.models.parameters.Parameter`.
      power: how the value grows with the unit of y.
      x_power: how it grows with the unit of the inputs. With the shape (d,), each entry goes with
        the unit of its own column.

    Example:

      >>> Positive("length_scale", (3,), x_power=1).labels
      ('length_scale[1]', 'length_scale[2]', 'length_scale[3]')
    """

    power: int = 0
    start: tuple[float, float] = (-2.0, 1.0)
    limits: tuple[float, float] = (-12.0, 12.0)
    x_power: int = 0


@dataclass(frozen=True)
class InducingPoints(Parameter):
    """Points among the inputs, of the shape (m, d)."""

    x_power: int = 1


# What a name says of the unit, where no parameter is given for it.
_UNITS = {
    "amplitude": {"power": 1, "start": (-1.0, 1.0)},
    "length_scale": {"x_power": 1},
    "period": {"x_power": 1},
}


def parameters_of(kernel, mean, given) -> tuple[Parameter, ...]:
    """The parameters of kernel, mean function and noise, in this order.

    Args:
      kernel: a function whose arguments are the parameters, or a kernel, which has none.
      mean: a function of the inputs and of parameters, or None.
      given: parameters that replace the defaults of their names.

    Raises:
      ValueError: a name is given twice, or belongs to no argument.
    """
    given = {parameter.name: parameter for parameter in given}
    found = {}
    for function, default in ((kernel, _positive), (mean, Location)):
        for name in _names(function)[1 if function is mean else 0 :]:
            if name in found or name == NOISE:
                raise ValueError(
                    f"GaussianProcess: {name} is the name of two parameters; rename an argument of "
                    "the kernel's or the mean's function."
                )
            found[name] = given.pop(name, None) or default(name)
    noise = Positive(NOISE, power=2, start=(-7.0, 0.0), limits=(-25.0, 5.0))
    found[NOISE] = given.pop(NOISE, noise)
    if given:
        raise ValueError(
            f"GaussianProcess: parameters has {', '.join(given)}; neither the kernel's function "
            f"nor the mean's takes that. They take {', '.join(found)}."
        )
    return tuple(found.values())


def kernel_at(kernel, params, dtype):
    """The kernel at given values of its parameters."""
    arguments = {name: params[name] for name in _names(kernel)}
    built = kernel(**arguments) if callable(kernel) else kernel
    if built.dtype not in (None, dtype):
        raise ValueError(
            f"GaussianProcess: the kernel is {tf.as_dtype(built.dtype).name} and x is "
            f"{dtype.name}; they must be of one dtype."
        )
    return built


def mean_at(mean, params, parameters, x):
    """The mean function at inputs ``[..., n, d]``: ``[..., n]``."""
    if mean is None:
        return tf.zeros(tf.shape(x)[:-1], x.dtype)
    ranks = {parameter.name: len(parameter.shape) for parameter in parameters}
    # With an axis for the inputs after those of the batch.
    arguments = {name: per_step(params[name], ranks[name]) for name in _names(mean)[1:]}
    value = tf.convert_to_tensor(mean(x, **arguments), x.dtype)
    return value + tf.zeros(tf.shape(x)[:-1], x.dtype)


def checked_values(parameters, params, dtype) -> dict[str, tf.Tensor]:
    """The values ``[..., *shape]`` of all parameters as tensors.

    Raises:
      ValueError: a name is missing or unknown, or a value has the wrong shape or dtype.
    """
    names = [parameter.name for parameter in parameters]
    if set(params) != set(names):
        raise ValueError(
            f"GaussianProcess: the parameters are {', '.join(names)}; given were "
            f"{', '.join(params) or 'none'}."
        )
    values = {}
    for parameter in parameters:
        value = params[parameter.name]
        if tf.is_tensor(value) and value.dtype != dtype:
            raise ValueError(
                f"GaussianProcess: {parameter.name} is {value.dtype.name} and x is {dtype.name}; "
                "they must be of one dtype."
            )
        value = tf.convert_to_tensor(value, dtype)
        rank, wanted = value.shape.rank, parameter.shape
        event = value.shape if rank is None else value.shape[max(rank - len(wanted), 0) :]
        if not event.is_compatible_with(wanted):
            raise ValueError(
                f"GaussianProcess: {parameter.name} has shape {value.shape}; it must be "
                f"[..., {', '.join(map(str, parameter.shape))}]."
            )
        values[parameter.name] = value
    return values


def units(parameters, x, y) -> dict[str, np.ndarray]:
    """The unit of each parameter for R data sets ``[R, n, d]`` and ``[R, n]``: ``[R, *shape]``."""
    y_unit, x_units = _spread(y)[:, np.newaxis], _spread(x)
    x_unit = np.sqrt(np.mean(x_units**2, axis=1, keepdims=True))
    result = {}
    for parameter in parameters:
        rank = len(parameter.shape)
        by_column = parameter.shape[-1:] == x.shape[2:]
        unit = y_unit**parameter.power
        unit = unit * (x_units if by_column else x_unit) ** getattr(parameter, "x_power", 0)
        unit = unit.reshape(len(y), *(1,) * (rank - 1), *unit.shape[1 : 1 + rank])
        result[parameter.name] = np.broadcast_to(unit, (len(y), *parameter.shape))
    return result


def _spread(values):
    """Standard deviations along the second axis; 1 where there is none."""
    spread = (
        np.std(np.asarray(values, np.float64), axis=1) if values.shape[1] else 0 * values.sum(1)
    )
    return np.where(spread > 0, spread, 1.0)


def _positive(name):
    for part, unit in _UNITS.items():
        if part in name:
            return Positive(name, **unit)
    return Positive(name, start=(-1.0, 1.0))


def _names(function):
    """Names of the arguments of a function; a kernel has none."""
    if function is None or not callable(function):
        return []
    return list(inspect.signature(function).parameters)
