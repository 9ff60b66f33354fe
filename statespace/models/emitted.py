"""Models of which a part is given for each series and step, as networks emit it."""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from statespace.linalg_ops.arguments import broadcast_matmul
from statespace.models.parameters import Scale
from statespace.ssm import PARAMETERS, LinearGaussianSSM, replaced


def with_emitted(
    ssm: LinearGaussianSSM,
    *,
    observation_noise_scale=None,
    transition_noise_scale=None,
    transition_offset=None,
) -> LinearGaussianSSM:
    """The model with noise scales and an offset of each step.

        y_t     = H x_t + d + C_t r_t
        x_{t+1} = F x_t + b + b_t + G D_t q_t

    Args:
      ssm: the model; all its matrices may have batch axes and one of time.
      observation_noise_scale: C_t, ``[..., T, m, m]``, in place of the model's own.
      transition_noise_scale: D_t, ``[..., T, k, k]``: the scale of the k disturbances, which enter
        the states by the model's G.
      transition_offset: b_t, ``[..., T, n]``, besides the model's own.

    All are of the model's dtype, and None leaves the model as it is there. Axes ``[..., T]``
    broadcast. ``scale_matrices`` makes matrices of diagonals.

    Returns:
      A LinearGaussianSSM.
    """
    fields = {}
    if observation_noise_scale is not None:
        fields["observation_scale"] = observation_noise_scale
    if transition_noise_scale is not None:
        scale = broadcast_matmul(ssm.transition_scale, transition_noise_scale)
        fields["transition_scale"] = scale
    if transition_offset is not None:
        fields["transition_offset"] = ssm.transition_offset + transition_offset
    return replaced(ssm, **fields)


def scale_matrices(scale, rank: int) -> tf.Tensor:
    """Scales as matrices, ``[..., T, m, m]``.

    Args:
      scale: such matrices, or their diagonals ``[..., T, m]``.
      rank: the rank of data ``[..., T, m]``, by which the two are told apart.
    """
    return tf.linalg.diag(scale) if scale.shape.rank == rank else scale


def has_influence(model, *, features=None, times=None, without=()) -> dict[str, bool]:
    """Which parameters reach the model's matrices, other than some of these.

    So it is seen what is left to estimate where a network emits the others.

    Args:
      model: a :class:`statespace.models.Model`.
      features, times: as of ``model.build``.
      without: names of fields of LinearGaussianSSM that are given otherwise.

    Returns:
      Dict from each parameter's name to a bool.
    """
    reaches = {}

    # A graph is enough, and one may be made wherever Keras creates weights.
    @tf.function(autograph=False)
    def trace(values):
        ssm = model.build(values, features=features, times=times)
        fields = [getattr(ssm, spec.name) for spec in PARAMETERS if spec.name not in without]
        for name, value in values.items():
            reaches[name] = tf.gradients(fields, value) != [None]
        return fields

    trace.get_concrete_function(
        {p.name: tf.TensorSpec(p.shape, tf.float64) for p in model.parameters}
    )
    return reaches


class NoiseColumns(NamedTuple):
    """Which columns of a model's noise matrices each element of some scales multiplies.

    With all those scales at one, ``G diag(transition_factors(scales))`` and
    ``C diag(observation_factors(scales))`` are the matrices G and C at any others.
    """

    names: tuple[str, ...]  # of the parameters
    labels: tuple[str, ...]  # of their p elements
    transition: np.ndarray  # [p, k], 1.0 where the element multiplies the column
    observation: np.ndarray  # [p, r]

    def transition_factors(self, scales) -> tf.Tensor:
        """Scales ``[..., p]`` as a factor for each of the k disturbances, ``[..., k]``."""
        return _factors(self.transition, scales)

    def observation_factors(self, scales) -> tf.Tensor:
        """Scales ``[..., p]`` as a factor for each of the r columns of C, ``[..., r]``."""
        return _factors(self.observation, scales)


def noise_columns(model, values, *, names, features=None) -> NoiseColumns:
    """Which of a model's parameters are nothing but scales of its noise, and of which.

    Such a parameter is a :class:`statespace.models.parameters.Scale` of which each column of G and
    C is a multiple, or independent, and on which nothing else depends but the start.

    Args:
      model: a :class:`statespace.models.Model`.
      values: dict from each parameter's name to a positive or otherwise typical value.
      names: the parameters among which to look.
      features: as of ``model.build``.

    Returns:
      A NoiseColumns, which may have no parameters.
    """

    def built(values):
        ssm = model.build(values, features=features)
        return {s.name: getattr(ssm, s.name).numpy() for s in PARAMETERS if s.per_step}

    before, found = built(values), []
    for parameter in model.parameters:
        if parameter.name not in names or type(parameter) is not Scale:
            continue
        rows = [
            _columns_of(before, built(values | {parameter.name: doubled}))
            for doubled in _with_one_doubled(np.asarray(values[parameter.name], np.float64))
        ]
        if all(row is not None and any(map(np.any, row)) for row in rows):
            found.append((parameter, rows))
    rows = [row for _, rows in found for row in rows]
    shapes = (before[name].shape[-1] for name in ("transition_scale", "observation_scale"))
    transition, observation = (
        np.array([row[i] for row in rows], np.float64).reshape(len(rows), size)
        for i, size in enumerate(shapes)
    )
    return NoiseColumns(
        tuple(parameter.name for parameter, _ in found),
        tuple(label for parameter, _ in found for label in parameter.labels),
        transition,
        observation,
    )


def with_noise_factors(ssm: LinearGaussianSSM, transition, observation) -> LinearGaussianSSM:
    """The model with G diag(transition) and C diag(observation) for its G and C.

    Args:
      ssm: the model.
      transition: ``[..., T, k]``.
      observation: ``[..., T, r]``.
    """
    return replaced(
        ssm,
        transition_scale=ssm.transition_scale * transition[..., tf.newaxis, :],
        observation_scale=ssm.observation_scale * observation[..., tf.newaxis, :],
    )


def multiplied(ssm: LinearGaussianSSM, scale) -> LinearGaussianSSM:
    """The model of the observations multiplied by numbers; its states are the same.

    Args:
      ssm: the model.
      scale: ``[..., T, m]``, or with one step for all.
    """
    rows = scale[..., tf.newaxis]
    return replaced(
        ssm,
        observation_matrix=rows * ssm.observation_matrix,
        observation_scale=rows * ssm.observation_scale,
        observation_offset=scale * ssm.observation_offset,
    )


def _factors(columns, scales):
    """The scale of each column, one where it has none."""
    return tf.tensordot(scales, columns, [[-1], [0]]) + (1.0 - columns.sum(axis=0))


def _with_one_doubled(value):
    """The value with one element twice as large, for each of its elements."""
    for index in np.ndindex(value.shape):
        doubled = value.copy()
        doubled[index] *= 2
        yield doubled


def _columns_of(before, after):
    """Which columns of G and of C have doubled; None if anything has changed otherwise."""
    doubled = []
    for name, old in before.items():
        new = after[name]
        if name not in ("transition_scale", "observation_scale"):
            if not np.array_equal(old, new):
                return None
            continue
        axes = tuple(range(old.ndim - 1))
        twice = np.isclose(new, 2 * old, rtol=1e-9, atol=0).all(axis=axes) & old.any(axis=axes)
        if not (twice | (new == old).all(axis=axes)).all():
            return None
        doubled.append(twice)
    return tuple(doubled)
