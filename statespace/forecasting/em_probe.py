"""What each parameter does to a model's matrices, from their values at a few points."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from statespace.forecasting.errors import InputError
from statespace.forecasting.parts import some_of
from statespace.ssm import PARAMETERS

_ROUNDING = 1e-9  # relative difference of slopes that are equal
_STEP = 1 / 64  # of a value, in its unit; any gives the slope of a linear function
MEANS = (
    "transition_matrix",
    "transition_offset",
    "observation_matrix",
    "observation_offset",
    "initial_mean",
)
NOISES = ("transition_scale", "observation_scale", "initial_scale")


@dataclass(frozen=True, eq=False)
class Probe:
    """A model's matrices at a point where nothing special happens, and how they change there.

    Axes N are one long if the matrices of all series are the same functions of the parameters, axes
    T if they are constant.

    Attributes:
      part: the :class:`statespace.forecasting.likelihood.Problem` of the series looked at.
      values: the point, [N, p].
      others: another, [N, p].
      matrices: dict from name to [N, T, rows(, columns)].
      slopes: dict from name to derivatives for each coordinate's value, [p, N, T, rows(, columns)].
      curved: whether a coordinate's slopes of what is in ``MEANS`` are not the same at the other
        point, bool [p].
    """

    part: Any
    values: np.ndarray
    others: np.ndarray
    matrices: dict
    slopes: dict
    curved: np.ndarray

    def moves(self, names) -> np.ndarray:
        """Which coordinates move any of some matrices, bool [p]."""
        return np.any([_any(self.slopes[name]) for name in names], axis=0)


def probe(problem) -> Probe:
    """Looks at the matrices of a problem's model."""
    own = any(x is not None and len(x) > 1 for x in (problem.features, problem.times))
    own |= any((x != x[:1]).any() for x in problem.fixed.values())
    part = problem if own else problem.selected(slice(0, 1))
    here, there = _two_points(part)
    matrices, slopes = _slopes(part, here)
    _, others = _slopes(part, there)
    curved = np.zeros(problem.size, bool)
    for name in MEANS:
        curved |= _any(np.abs(others[name] - slopes[name]) > _ROUNDING * _largest(slopes[name]))
    return Probe(part, here, there, matrices, slopes, curved)


def matrices_at(problem, points) -> dict:
    """The model's matrices at points [R, N, p]: dict from name to [R, N, T, rows(, columns)]."""
    count, series = points.shape[:2]

    every = np.tile(np.arange(series), count)
    params = as_params(problem.parameterisation, points.reshape(count * series, -1))
    params |= {name: x[every] for name, x in problem.fixed.items()}
    ssm = problem.model.build(
        params, features=some_of(problem.features, every), times=some_of(problem.times, every)
    )
    matrices = {}
    for spec in PARAMETERS:
        x = getattr(ssm, spec.name).numpy()
        x = with_axes(x if spec.per_step else np.expand_dims(x, -1 - len(spec.core)), spec.core)
        whole = np.broadcast_to(x, (count * series, *x.shape[1:]))
        matrices[spec.name] = whole.reshape(count, series, *x.shape[1:])
    return matrices


def with_axes(x, core):
    """A matrix or vector with axes over series and over steps before its own."""
    return x.reshape(*(1,) * (len(core) + 2 - x.ndim), *x.shape)


def as_params(parameterisation, flat) -> dict:
    """Values ``[A, p]``, in the order of the coordinates, as a dict of ``[A, *shape]``."""
    reshape = tf.reshape if tf.is_tensor(flat) else np.reshape
    return {
        parameter.name: reshape(flat[:, places], (-1, *parameter.shape))
        for parameter, places in parameterisation.places()
    }


def refuse(problem, coordinates, reason):
    """Raises an InputError that names the parameters of some coordinates, if there are any.

    Args:
      coordinates: bool [p], or indices.
      reason: why there is no closed form, with ``{it}`` for the parameters.
    """
    names = dict.fromkeys(problem.parameterisation.each("name")[coordinates])
    if names:
        it, one = ("it", "it") if len(names) == 1 else ("them", "one of them")
        raise InputError(
            f"method 'em' has no closed form for {' and '.join(names)}: {reason.format(it=it)}. "
            f"Fix {one}, or use method='mle'."
        )


def _two_points(problem):
    """Values of the parameters, [2, N, p]."""
    free = np.random.default_rng(0).uniform(-0.5, 0.5, (2, 1, problem.size))
    values = problem.parameterisation.values(free, problem.units)
    shape = 2, len(problem.values)
    whole = {
        p.name: np.broadcast_to(values[p.name], (*shape, *p.shape))
        for p, _ in problem.parameterisation.places()
    }
    return problem.parameterisation.flat(whole).numpy()


def _slopes(problem, values):
    """The matrices at values [N, p], and their difference quotients for each coordinate."""
    count, size = values.shape
    units = [
        np.broadcast_to(problem.units[p.name], (count, *p.shape)).reshape(count, -1)
        for p, _ in problem.parameterisation.places()
    ]
    steps = _STEP * np.concatenate(units, axis=1)
    moved = values + np.eye(size)[:, np.newaxis] * steps
    matrices = matrices_at(problem, np.concatenate([values[np.newaxis], moved]))
    slopes = {}
    for name, x in matrices.items():
        slope = (x[1:] - x[0]) / steps.T.reshape(size, count, *(1,) * (x.ndim - 2))
        slopes[name] = np.where(np.abs(slope) > _ROUNDING * _largest(slope), slope, 0.0)
    return {name: x[0] for name, x in matrices.items()}, slopes


def _largest(x):
    """The largest absolute value for each element of the first axis."""
    return np.abs(x).max(axis=tuple(range(1, x.ndim)), keepdims=True, initial=0.0)


def _any(x):
    """Whether anything is not zero, for each element of the first axis."""
    return x.reshape(len(x), -1).any(axis=1)
