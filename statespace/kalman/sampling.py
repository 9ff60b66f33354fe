"""Draws of states and observations: from the model, and of the states given data."""

import functools
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from statespace import native
from statespace.kalman.inference import apply_on_failure, prepare
from statespace.kalman.normal import seed_pair, standard_normal
from statespace.kalman.reference import time_after_batch, time_first
from statespace.kalman.results import SampleResult
from statespace.kalman.step import batch_shape, by_name, finite
from statespace.linalg_ops.arguments import positive_int, positive_size, require, with_shape
from statespace.linalg_ops.failure import not_finite, spoil
from statespace.linalg_ops.products import gemm
from statespace.ssm import PARAMETERS, LinearGaussianSSM, check_broadcasting, time_axes

_CORE_RANK = {spec.name: len(spec.core) for spec in PARAMETERS}
_MEANS = ("initial_mean", "transition_offset", "observation_offset")


class Variates(NamedTuple):
    """Independent standard normals, from which a draw is made."""

    initial: tf.Tensor  # z with x_0 = m_0 + S_0 z, [..., p]
    transition: tf.Tensor  # q, [..., T - 1, k]
    observation: tf.Tensor  # r, [..., T, r]


def sample(ssm, num_steps, *, sample_shape=(), seed) -> SampleResult:
    """Draws series from the model: paths of its states, and what is observed of them.

    Reparameterised: each draw is a smooth function of the model's parameters, and can be
    differentiated for them. See the guide "Kalman filters and smoothers".

    Args:
      ssm: a :class:`statespace.LinearGaussianSSM` whose every start is proper.
      num_steps: T, a positive int, or an integer tensor ``[]``. Parameters that vary in time must
        have so many steps. XLA compiles anew for each value of a tensor, which must not come from
        inside a loop.
      sample_shape: shape of independent draws, a tuple of ints or one int.
      seed: int, or integer tensor of shape ``[2]`` as for ``tf.random.stateless_normal``. The same
        seed gives the same draws, eagerly, in a graph and inside XLA.

    Returns:
      A :class:`statespace.SampleResult`, the pair of states ``[*sample_shape, ..., T, n]`` and
      observations ``[*sample_shape, ..., T, m]``, where ``[...]`` is the batch shape of the model's
      parameters.

    Raises:
      ValueError: an argument has the wrong type or shape, or the model has diffuse states.
      tf.errors.InvalidArgumentError: ``num_steps`` is a tensor of unknown value that is not
        positive or does not fit the parameters, seen when it is computed.

    Example:

      >>> import statespace as ss
      >>> ssm = ss.LinearGaussianSSM([[0.9]], [[1.0]], [[1.0]], [[0.5]], [0.0], [[2.0]])
      >>> states, observations = ss.sample(ssm, 100, sample_shape=8, seed=1)
      >>> print(states.shape, observations.shape)
      (8, 100, 1) (8, 100, 1)
    """
    num_steps = positive_size("sample", "num_steps", num_steps)
    _check_model(ssm)
    parameters = _parameters_of(ssm, num_steps)
    m = tf.shape(ssm.observation_matrix)[-2]
    unseen = tf.zeros([num_steps, ssm.observation_dim or m], ssm.dtype)  # has the shape to come
    check_broadcasting(ssm, unseen)
    lead = tf.concat([_shape(sample_shape), batch_shape(unseen, parameters)[1]], 0)
    variates = _draw("sample", seed, lead, num_steps, parameters)
    return SampleResult(*model_paths(by_name(parameters), variates))


def sample_posterior(
    ssm,
    y,
    num_samples,
    *,
    mask=None,
    lengths=None,
    seed,
    algorithm="auto",
    on_failure="nan",
) -> tf.Tensor:
    """Draws paths of the states given all data, before and after: the simulation smoother.

    By mean correction: with x, y+ drawn from the model without its means, ``x + E[x | y - y+]`` has
    mean and covariance, over all times, of the states given y. One run of the smoother does it.

    Reparameterised: each draw is a smooth function of data and parameters, and can be
    differentiated for them. See the guide "Kalman filters and smoothers".

    Args:
      ssm: a :class:`statespace.LinearGaussianSSM`. Diffuse states are drawn given the data too.
      y, mask, lengths, algorithm, on_failure: as for :func:`statespace.log_likelihood`. Where
        nothing is observed the draws are those of the model.
      num_samples: S, a positive int.
      seed: as for :func:`statespace.sample`.

    Returns:
      ``[S, ..., T, n]``, where ``[...]`` is the batch shape of data and parameters. A series that
      failed is NaN in all its draws, as is a draw that overflows.

    Raises:
      ValueError, tf.errors.InvalidArgumentError: as :func:`statespace.log_likelihood`; the index of
        a failed series has that of the draw before it.

    References:
      Durbin & Koopman, A simple and efficient simulation smoother for state space time series
      analysis, Biometrika 89(3), 2002, sections 2.2 and 2.3.

    Example:

      >>> import numpy as np, statespace as ss
      >>> ssm = ss.LinearGaussianSSM([[1.0]], [[1.0]], [[1.0]], [[1.0]], [0.0], [[10.0]])
      >>> y = np.array([[1.0], [np.nan], [3.0]])
      >>> paths = ss.sample_posterior(ssm, y, 1000, seed=1)
      >>> print(paths.shape, np.round(np.mean(paths, axis=0)[:, 0], 1))
      (1000, 3, 1) [1.4 2.  2.5]
    """
    op = "sample_posterior"
    num_samples = positive_int(op, "num_samples", num_samples)
    form, inputs = prepare(op, ssm, y, mask, lengths, algorithm, on_failure)
    y, parameters = inputs[0], inputs[1 : len(PARAMETERS) + 1]
    lead = tf.concat([[num_samples], batch_shape(y, parameters)[1]], 0)
    variates = _draw(op, seed, lead, tf.shape(y)[-2], parameters)
    paths, info = posterior_paths(form, inputs, variates)
    return apply_on_failure(op, on_failure, info, paths)


def posterior_paths(form, inputs, variates: Variates):
    """States given data, ``[..., T, n]``, from given variates, and the status of each series.

    For given variates it is deterministic, and affine in them: at zero the smoothed mean.

    Args:
      form, inputs: from ``prepare``.
      variates: with the full batch shape.
    """
    y, parameters = inputs[0], by_name(inputs[1 : len(PARAMETERS) + 1])
    # What is not finite is found by the smoother where it matters; here it counts as zero, so that
    # numbers nobody uses spoil no gradient.
    centred = {
        name: tf.zeros_like(x) if name in _MEANS else finite(x) for name, x in parameters.items()
    }
    states, observations = model_paths(centred, variates)
    smoothed = form.smooth(y - observations, *inputs[1:], lag_one=False)
    paths = states + smoothed.smoothed_mean
    failed = not_finite(paths) | not_finite(observations)  # those that overflowed as well
    return spoil(paths, failed), tf.maximum(smoothed.info, tf.cast(failed, tf.int32))


def model_paths(parameters, variates: Variates):
    """States ``[..., T, n]`` and observations ``[..., T, m]`` of the model, from given variates.

    Args:
      parameters: by name.
      variates: with the full batch shape.
    """
    moves = tf.shape(variates.observation)[-2] - 1

    def moving(name, core_rank):
        """A parameter of the transition, without the last step, which leads beyond the data."""
        x = parameters[name]
        if x.shape.rank == core_rank:
            return x
        # Leaves one step where the axis has no more than that.
        cut = slice(tf.maximum(moves, 1))
        return x[..., cut, :] if core_rank == 1 else x[..., cut, :, :]

    start = parameters["initial_mean"] + _apply(parameters["initial_scale"], variates.initial)
    noise = _apply(moving("transition_scale", 2), variates.transition)
    noise += moving("transition_offset", 1)
    states = _trajectory(start, moving("transition_matrix", 2), noise)[..., : moves + 1, :]
    observations = _apply(parameters["observation_matrix"], states)
    observations += _apply(parameters["observation_scale"], variates.observation)
    return states, observations + parameters["observation_offset"]


def _apply(matrix, vectors):
    return gemm(matrix, vectors[..., tf.newaxis])[..., 0]


def _trajectory(start, f, noise):
    """x_0 = start, x_{t+1} = F_t x_t + noise_t for the steps of ``noise [..., T - 1, n]``."""
    if noise.shape[-2] == 0:
        return start[..., tf.newaxis, :]
    if noise.shape[-2] is None:  # tf.scan takes no empty sequence of elements of unknown shape
        missing = tf.maximum(1 - tf.shape(noise)[-2], 0)
        noise = tf.pad(noise, [[0, 0]] * (noise.shape.rank - 2) + [[0, missing], [0, 0]])
    noise = time_first(noise[..., tf.newaxis], 2)
    varies = f.shape.rank > 2 and f.shape[-3] != 1
    if varies:
        f = time_first(f, 2)
        f = tf.broadcast_to(f, tf.concat([tf.shape(noise)[:1], tf.shape(f)[1:]], 0))
    elif f.shape.rank > 2:
        f = tf.squeeze(f, -3)
    # A loop of eager operations would take twenty times as long as that of a graph.
    run = _compiled(native.ops() is not None) if tf.executing_eagerly() else _recursion
    start = start[..., tf.newaxis]
    states = tf.concat([start[tf.newaxis], run(start, f, noise, varies)], axis=0)
    return time_after_batch(states, 2)[..., 0]


def _recursion(start, f, noise, varies):
    def step(x, elements):
        noise, f_t = elements if varies else (elements, f)
        return with_shape(gemm(f_t, x, noise), x.shape)

    return tf.scan(step, (noise, f) if varies else noise, start)


@functools.cache
def _compiled(_):
    """A graph of its own with and without the compiled operations, which it would remember."""
    return tf.function(_recursion, reduce_retracing=True)


def _draw(op, seed, lead, num_steps, parameters):
    named = by_name(parameters)
    sizes = (
        [tf.shape(named["initial_scale"])[-1]],
        [tf.maximum(num_steps - 1, 0), tf.shape(named["transition_scale"])[-1]],
        [num_steps, tf.shape(named["observation_scale"])[-1]],
    )
    # One named generator, for "auto" may choose another one inside XLA.
    seeds = tf.unstack(tf.random.split(seed_pair(op, seed), len(sizes), alg="philox"))
    dtype = named["initial_scale"].dtype
    return Variates(
        *(
            standard_normal(tf.concat([lead, size], 0), key, dtype)
            for size, key in zip(sizes, seeds, strict=True)
        )
    )


def _shape(sample_shape):
    try:
        shape = np.asarray(sample_shape)
        shape = shape.astype(np.int32, casting="same_kind" if shape.size else "unsafe").ravel()
    except (TypeError, ValueError):
        shape = None
    if shape is None or np.any(shape < 0):
        raise ValueError(
            f"sample: sample_shape is {sample_shape!r}; it must be an int or a tuple of ints, none "
            f"negative."
        )
    return shape


def _check_model(ssm):
    if not isinstance(ssm, LinearGaussianSSM):
        raise ValueError(f"sample: ssm is a {type(ssm).__name__}; it must be a LinearGaussianSSM.")
    if ssm.diffuse is not None:
        raise ValueError(
            "sample: the model has diffuse states, whose start has no distribution to draw from. "
            "Build it with a proper initial_mean and initial_scale, and without diffuse (models of "
            "statespace.models: with an initial_variance); or draw the states given data with "
            "sample_posterior."
        )


def _parameters_of(ssm, num_steps):
    """The parameters, of which those that vary in time must have so many steps."""
    named = by_name(ssm.parameters())
    for name, tensor, steps in time_axes(ssm):
        if steps is None or tf.is_tensor(num_steps):
            named[name] = _with_steps(name, tensor, num_steps)
        elif steps != num_steps:
            raise ValueError(
                f"sample: {name} has shape {tensor.shape}: it varies over {steps} steps, but "
                f"num_steps is {num_steps}."
            )
    return tuple(named.values())


def _with_steps(name, tensor, num_steps):
    """A parameter that must vary over so many steps, which is seen when it is computed."""
    shape, axis = tf.shape(tensor), tensor.shape.rank - _CORE_RANK[name] - 1
    wanted = tf.where(shape[axis] == 1, 1, num_steps)
    text = f"sample: {name} varies over another number of steps than num_steps."
    checked = require(shape[axis] == wanted, text, tensor)
    # XLA cannot raise, but it does not compile a wrong reshape.
    shape = tf.concat([shape[:axis], [wanted], shape[axis + 1 :]], 0)
    return with_shape(tf.reshape(checked, shape), tensor.shape)
