"""Parameters of kernels and mean functions: their names are a function's arguments."""

import functools
import inspect
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from statespace.models.arguments import as_tensor, refuse_where
from statespace.models.block import per_step
from statespace.models.gaussian_process_arguments import check_batch
from statespace.models.parameters import Location, Parameter, Scale

NOISE = "noise_variance"
_OP = "GaussianProcess"


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
      ValueError: a name is given twice, or belongs to no argument; or ``kernel`` or ``mean`` is not
        what it must be.
    """
    _check_functions(kernel, mean)
    names = [parameter.name for parameter in given]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"{_OP}: parameters has {name} twice; give one for each name.")
    given = dict(zip(names, given, strict=True))
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
    if not _is_kernel(built):
        raise ValueError(
            f"{_OP}: kernel returns a {type(built).__name__}; it must return a kernel of "
            "tfp.math.psd_kernels."
        )
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
    value = as_tensor(_OP, "the value of mean", mean(x, **arguments), x.dtype)
    wanted = x.shape[:-1]
    for name, rank in ranks.items():
        shape = params[name].shape
        wanted = tf.broadcast_static_shape(wanted, shape[: shape.rank - rank].concatenate([1]))
    try:
        fits = tf.broadcast_static_shape(value.shape, wanted).rank == wanted.rank
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(
            f"{_OP}: mean returns the shape {value.shape} for x {x.shape}; it must be [..., n], "
            f"here {wanted}. Take a column of the inputs by x[..., 0]."
        )
    return value + tf.zeros(tf.shape(x)[:-1], x.dtype)


def checked_values(parameters, params, dtype, batch_shape, *, check_range=True):
    """The values ``[..., *shape]`` of all parameters as tensors, a dict.

    Args:
      batch_shape: of the data; leading axes must broadcast with it.
      check_range: whether values that are known, that is eagerly, must be finite, and those of
        scales not negative.

    Raises:
      ValueError: a name is missing or unknown, or a value has the wrong shape or dtype or is out of
        its range.
    """
    names = [parameter.name for parameter in parameters]
    if not isinstance(params, Mapping):
        raise ValueError(
            f"{_OP}: params is a {type(params).__name__}; it must be a dict from names to values."
        )
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
        value = as_tensor(_OP, parameter.name, value, dtype)
        rank, wanted = value.shape.rank, parameter.shape
        event = value.shape if rank is None else value.shape[max(rank - len(wanted), 0) :]
        if not event.is_compatible_with(wanted):
            raise ValueError(
                f"GaussianProcess: {parameter.name} has shape {value.shape}; it must be "
                f"[..., {', '.join(map(str, parameter.shape))}]."
            )
        if rank is not None:
            axes = value.shape[: rank - len(wanted)]
            check_batch(parameter.name, value, axes, batch_shape)
            batch_shape = tf.broadcast_static_shape(axes, tf.TensorShape(batch_shape))
        if check_range:
            _check_range(parameter, value)
        values[parameter.name] = value
    return values


def _check_range(parameter, value):
    if isinstance(parameter, Scale):
        advice = "it must be finite and not negative"
        refuse_where(_OP, parameter.name, value, lambda v: ~(np.isfinite(v) & (v >= 0)), advice)
    else:
        refuse_where(_OP, parameter.name, value, lambda v: ~np.isfinite(v), "it must be finite")


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
    """Standard deviations along the second axis; the size of values that do not differ, or 1."""
    values = np.asarray(values, np.float64)
    size = np.max(np.abs(values), axis=1, initial=0.0)
    # Beside their size: what rounding makes of a mean is no spread.
    unit = np.where(size > 0, size, 1.0)
    relative = np.std(values / unit[:, np.newaxis], axis=1) if values.shape[1] else 0 * size
    return unit * np.where(relative > 1e-14, relative, 1.0)


def _positive(name):
    for part, unit in _UNITS.items():
        if part in name:
            return Positive(name, **unit)
    return Positive(name, start=(-1.0, 1.0))


def _names(function):
    """Names of the arguments of a function that have no default; a kernel has none."""
    if function is None or not callable(function):
        return []
    arguments = inspect.signature(function).parameters.values()
    return [argument.name for argument in arguments if argument.default is argument.empty]


def _check_functions(kernel, mean):
    """Raises ValueError where a function has no names for its parameters, or is none."""
    made_by = kernel.func if isinstance(kernel, functools.partial) else kernel
    if inspect.isclass(made_by) or not (callable(kernel) or _is_kernel(kernel)):
        raise ValueError(
            f"{_OP}: kernel is {kernel!r}; it must be a function that returns a kernel of "
            "tfp.math.psd_kernels and whose arguments are the parameters to learn, or a kernel "
            "itself."
        )
    if mean is not None and not callable(mean):
        raise ValueError(
            f"{_OP}: mean is {mean!r}; it must be a function of inputs [..., n, d] and of "
            "parameters, or None."
        )
    functions = {"kernel": kernel, "mean": mean}
    for name, function in functions.items():
        arguments = inspect.signature(function).parameters if callable(function) else {}
        for argument in arguments.values():
            if argument.kind in (argument.VAR_POSITIONAL, argument.VAR_KEYWORD):
                raise ValueError(
                    f"{_OP}: {name} has the argument {argument}; each parameter needs an argument "
                    "of its own name."
                )


def _is_kernel(value):
    from tensorflow_probability import math as tfp_math

    return isinstance(value, tfp_math.psd_kernels.PositiveSemidefiniteKernel)
