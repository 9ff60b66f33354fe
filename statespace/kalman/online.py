"""The Kalman filter one observation at a time, for streams."""

import tensorflow as tf

from statespace.kalman import univariate_reference as univariate
from statespace.kalman.inference import (
    DIFFUSE_CONSTANT,
    masked_data,
    proper_part,
    with_constant,
)
from statespace.kalman.results import OnlineResult, OnlineState
from statespace.kalman.step import batch_shape as batch_shape_of
from statespace.kalman.step import condition, predict
from statespace.linalg_ops.arguments import (
    broadcasts_to,
    check_choice,
    require,
    with_rank,
    with_shape,
)
from statespace.linalg_ops.failure import spoil
from statespace.ssm import PARAMETERS, LinearGaussianSSM, check_broadcasting, time_axes


def online_filter(ssm, *, diffuse_constant="include") -> "OnlineFilter":
    """The Kalman filter for a stream: one observation at a time, in constant memory.

    Its numbers are those of :func:`statespace.kalman_filter`, in the covariance form of the guide
    "Kalman filters and smoothers" or, of a model with diffuse states, in the univariate form. Each
    step can be differentiated, and may be part of a ``tf.function`` or ``tf.while_loop``.

    Args:
      ssm: a :class:`statespace.LinearGaussianSSM`. Parameters that vary in time are read at the
        step that the state counts.
      diffuse_constant: as for :func:`statespace.log_likelihood`.

    Returns:
      An :class:`statespace.OnlineFilter`.

    Raises:
      ValueError: ``ssm`` is not a model, or ``diffuse_constant`` is neither choice.

    References:
      Durbin & Koopman, Time Series Analysis by State Space Methods, 2nd ed., sections 4.3, 5.2 and
      6.4.

    Example:

      >>> import statespace as ss
      >>> ssm = ss.LinearGaussianSSM([[1.0]], [[0.5]], [[1.0]], [[1.0]], [0.0], [[10.0]])
      >>> online = ss.online_filter(ssm)
      >>> state = online.init()
      >>> for y_t in ([1.0], [1.2], [float("nan")], [0.7]):
      ...     state, result = online.update(state, y_t)
      >>> print(f"{result.filtered_mean[0]:.4f} {state.log_likelihood:.4f} {state.step}")
      0.8978 -5.8824 4
    """
    if not isinstance(ssm, LinearGaussianSSM):
        raise ValueError(
            f"online_filter: ssm is a {type(ssm).__name__}; it must be a LinearGaussianSSM."
        )
    check_choice("online_filter", "diffuse_constant", diffuse_constant, DIFFUSE_CONSTANT)
    return OnlineFilter(ssm, diffuse_constant)


class OnlineFilter(tf.experimental.ExtensionType):
    """What :func:`statespace.online_filter` returns; it holds its arguments and nothing else.

    An ``ExtensionType``: it passes through ``tf.function`` and ``tf.while_loop``.
    """

    __name__ = "statespace.OnlineFilter"

    ssm: LinearGaussianSSM
    diffuse_constant: str = "include"

    def init(self, batch_shape=()) -> OnlineState:
        """The state before the first observation.

        Args:
          batch_shape: batch shape of the observations to come, a list or a tensor; it is
            broadcast with that of the model's parameters.

        Raises:
          ValueError: the parameters' batch axes do not fit each other, or ``batch_shape``.
        """
        ssm = self.ssm
        n, m = (tf.shape(ssm.observation_matrix)[axis] for axis in (-1, -2))
        lead = tf.reshape(tf.cast(batch_shape, tf.int32), [-1])
        unseen = tf.zeros(tf.concat([lead, [1, m]], 0), ssm.dtype)
        steps = [known for *_, known in time_axes(ssm)]
        shape = [*unseen.shape[:-2], steps[0] if steps else 1, ssm.observation_dim]
        check_broadcasting(ssm, tf.TensorSpec(shape, ssm.dtype))
        static, batch = batch_shape_of(unseen, ssm.parameters())
        *_, mean, scale = proper_part(ssm)
        mean = tf.broadcast_to(mean, tf.concat([batch, [n]], 0))
        covariance = tf.matmul(scale, scale, transpose_b=True)
        covariance = tf.broadcast_to(covariance, tf.concat([batch, [n, n]], 0))
        if ssm.diffuse is None:
            factor, rank = tf.zeros(tf.concat([batch, [n, 0]], 0), ssm.dtype), 0
        else:
            diffuse = tf.cast(ssm.diffuse, ssm.dtype)
            factor, rank = univariate.start_state(mean, covariance, diffuse).diffuse, ssm.state_dim
        none = with_shape(tf.zeros(batch, tf.int32), static)
        return OnlineState(
            mean=with_shape(mean, static.concatenate([ssm.state_dim])),
            covariance=with_shape(covariance, static.concatenate([ssm.state_dim] * 2)),
            step=tf.constant(0),
            log_likelihood=with_shape(tf.zeros(batch, ssm.dtype), static),
            info=none,
            diffuse_scale=with_shape(factor, static.concatenate([ssm.state_dim, rank])),
            diffuse_observations=none,
        )

    def update(self, state: OnlineState, y_t, mask=None) -> tuple[OnlineState, OnlineResult]:
        """Takes one observation in.

        Args:
          state: from :meth:`init`, or from the update before.
          y_t: ``[..., m]``, broadcasts to the batch shape of the state. NaN marks a missing
            component.
          mask: bool ``[...]`` or ``[..., m]`` with the batch axes of ``y_t``, True = observed.

        Returns:
          The state before the next observation, and an :class:`statespace.OnlineResult`. A series
          that fails is NaN from then on, in both.

        Raises:
          ValueError: shapes or dtypes do not fit.
          tf.errors.InvalidArgumentError: the model's time-varying parameters have no more steps.
            Inside XLA, which cannot raise, all series fail at that step instead.
        """
        y = _observation(self.ssm, state, y_t, mask)
        return (_compiled_step if tf.executing_eagerly() else _step)(self, state, y)


def _step(online, state, y):
    ssm = online.ssm
    parameters, within = _at_step(ssm, state.step)
    if varying := time_axes(ssm):
        name, _, steps = varying[0]
        text = f"update: the stream is longer than the model: {name} varies over {steps} steps."
        y = require(within, text, y)
    bad = (state.info > 0) | tf.logical_not(within)
    advance = _advance if ssm.diffuse is None else _advance_diffuse
    moments, result, failed = advance(online, parameters, state, y, bad)
    info = tf.where(failed & (state.info == 0), state.step + 1, state.info)
    failed = info > 0
    following = state._replace(
        **moments,
        step=state.step + 1,
        log_likelihood=spoil(state.log_likelihood + result.log_likelihood, failed),
        info=info,
    )
    following = (with_shape(x, old.shape) for x, old in zip(following, state, strict=True))
    return OnlineState(*following), OnlineResult(*(spoil(x, failed) for x in result))


def _advance(_, parameters, state, y, bad):
    """One step of a proper start.

    Returns:
      The moments of the next state, by their names in ``OnlineState``; the ``OnlineResult``; and
      what failed. Moments that could not be predicted fail the next step, by being NaN.
    """
    update = condition(y, parameters, state.mean, state.covariance, bad)
    mean, covariance, next_bad = predict(parameters, update)
    moments = {"mean": spoil(mean, next_bad), "covariance": spoil(covariance, next_bad)}
    result = OnlineResult(
        filtered_mean=update.filtered_mean,
        filtered_covariance=update.filtered_covariance,
        innovation=update.innovation,
        innovation_covariance=update.innovation_covariance,
        log_likelihood=update.log_density,
    )
    return moments, result, update.failed


def _advance_diffuse(online, parameters, state, y, bad):
    """``_advance`` where states start diffuse."""
    before = state.diffuse_observations
    left = tf.reduce_sum(tf.cast(online.ssm.diffuse, tf.int32)) - before
    moments = (state.mean, state.covariance, state.diffuse_scale, tf.cast(left, y.dtype))
    step = univariate.filter_step(y, parameters, univariate.State(*moments), bad)
    count = tf.cast(step.diffuse_observations, tf.int32)
    following = {
        "mean": spoil(step.following.mean, step.following_bad),
        "covariance": spoil(step.following.covariance, step.following_bad),
        "diffuse_scale": spoil(step.following.diffuse, step.following_bad),
        "diffuse_observations": before + count,
    }
    result = OnlineResult(
        filtered_mean=step.filtered.mean,
        filtered_covariance=step.filtered.covariance,
        innovation=step.innovation,
        innovation_covariance=step.innovation_covariance,
        log_likelihood=with_constant(
            "online_filter", online.diffuse_constant, step.log_density, count
        ),
    )
    return following, result, step.failed


# Eagerly, the operations of a step would take twenty times as long.
_compiled_step = tf.function(_step)


def _observation(ssm, state, y_t, mask):
    """y_t with NaN at what is missing, and with the batch shape of the state."""
    y = with_rank("update", "y_t", masked_data("update", ssm, y_t, None), 1, "[..., m]")
    wanted = state.mean.shape[:-1].concatenate([ssm.observation_dim])
    if not broadcasts_to(y.shape, wanted):
        raise ValueError(
            f"update: y_t has shape {y.shape}; it must be [..., m] and broadcast to {wanted}, "
            f"where [...] is the batch shape of the state."
        )
    if mask is not None:
        mask = tf.convert_to_tensor(mask, name="mask")
        axes = (tf.newaxis, slice(None)) if mask.shape.rank == y.shape.rank else (tf.newaxis,) * 2
        y = masked_data("update", ssm, y[..., tf.newaxis, :], mask[(..., *axes)])[..., 0, :]
    y = tf.broadcast_to(y, tf.concat([tf.shape(state.mean)[:-1], tf.shape(y)[-1:]], 0))
    return with_shape(y, wanted)


def _at_step(ssm, step):
    """The per-step parameters of one step by name, and whether the model goes so far."""
    named, within = {}, tf.constant(True)
    for spec, x in zip(PARAMETERS, ssm.parameters(), strict=True):
        axis = x.shape.rank - len(spec.core) - 1
        if spec.per_step and axis >= 0:
            steps = tf.shape(x)[axis]
            within &= (steps == 1) | (step < steps)
            x = tf.gather(x, tf.minimum(step, steps - 1), axis=axis)
        named[spec.name] = x
    return named, within
