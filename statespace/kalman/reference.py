"""The Kalman filter and smoother in plain TensorFlow: what the compiled ops must reproduce.

One step at a time with ``tf.scan``, straight from the formulas. It is the oracle of the tests, the
fallback without the compiled library, and what second derivatives differentiate.

Operands come in the order of the compiled ops: y, then ``statespace.ssm.PARAMETERS``. Notation:
Durbin & Koopman, Time Series Analysis by State Space Methods, 2nd ed., sections 4.3 and 4.4, with
the gain of the *filtered* moments, K = P H' S^-1.
"""

import math
from typing import NamedTuple

import tensorflow as tf

from statespace.kalman.forms import Form
from statespace.kalman.results import FilterResult, SmootherResult
from statespace.linalg_ops.arguments import broadcast_matmul, with_shape
from statespace.linalg_ops.cholesky import factor_by_columns
from statespace.linalg_ops.failure import append_axes, spoil
from statespace.linalg_ops.triangular import solve_reference
from statespace.ssm import PARAMETERS


class _Update(NamedTuple):
    """One measurement update; rows of missing components are zero."""

    log_density: tf.Tensor  # [...]
    innovation: tf.Tensor  # v, [..., m]
    innovation_covariance: tf.Tensor  # S with no component missing, [..., m, m]
    weight: tf.Tensor  # S^-1 v, [..., m]
    gain: tf.Tensor  # K, [..., n, m]
    whitened_observation: tf.Tensor  # L^-1 H with S = L L', [..., m, n]
    filtered_mean: tf.Tensor  # [..., n]
    filtered_covariance: tf.Tensor  # [..., n, n]
    failed: tf.Tensor  # bool [...]


def filter_reference(y, *parameters):
    """Runs the filter.

    Returns:
      (log-likelihood per step ``[..., T]``, filtered mean, filtered covariance, predicted mean,
      predicted covariance, innovation, innovation covariance, info), as in ``FilterResult``.
    """
    y, constant, varying, mean, covariance = _prepare(y, parameters)
    batch = tf.shape(mean)[:-1]
    density = tf.zeros(batch, y.dtype)
    innovation = density[..., tf.newaxis] * tf.zeros(tf.shape(y)[-1:], y.dtype)
    square = innovation[..., tf.newaxis] * innovation[..., tf.newaxis, :]
    outputs = (density, mean, covariance, mean, covariance, innovation, square)
    start = (mean, covariance, tf.zeros(batch, tf.bool), *outputs, tf.zeros(batch, tf.bool))

    def step(carry, elements):
        mean, covariance, bad = carry[:3]
        step_parameters = constant | elements[1]
        update = _update(elements[0], step_parameters, mean, covariance, bad)
        next_mean, next_covariance, next_bad = _predict(step_parameters, update)
        state = (next_mean, next_covariance, next_bad)
        moments = (update.filtered_mean, update.filtered_covariance, mean, covariance)
        innovations = (update.innovation, update.innovation_covariance)
        result = (*state, update.log_density, *moments, *innovations, update.failed)
        return tuple(with_shape(x, old.shape) for x, old in zip(result, carry, strict=True))

    scanned = tf.scan(step, (y, varying), start)[3:]
    info = _first_failure(scanned[-1])
    cores = (0, 1, 2, 1, 2, 1, 2)
    moments = (_time_after_batch(x, core) for x, core in zip(scanned[:-1], cores, strict=True))
    return (*(spoil(x, info > 0) for x in moments), info)


def filter_moments(*inputs):
    """``filter_reference`` with the sum of the log-likelihoods, as the compiled op returns it."""
    per_step, *moments = filter_reference(*inputs)
    return (tf.reduce_sum(per_step, axis=-1), *moments)


def log_likelihood_gradient_reference(weights, y, *parameters):
    """Gradient of ``sum(weights * log-likelihood per step)`` for y and each parameter."""
    with tf.GradientTape() as tape:
        operands = [tf.identity(x) for x in (y, *parameters)]
        tape.watch(operands)
        total = tf.reduce_sum(weights * filter_reference(*operands)[0])
    return tape.gradient(total, operands, unconnected_gradients=tf.UnconnectedGradients.ZERO)


def smoother_reference(y, *parameters):
    """Runs filter and smoother.

    Returns:
      (log-likelihood ``[...]``, smoothed mean, smoothed covariance, lag-one covariance, info), as
      in ``SmootherResult``.
    """
    per_step, _, _, mean, covariance, _, _, info = filter_reference(y, *parameters)
    y, constant, varying, _, _ = _prepare(y, parameters)
    # A failed series, all NaN by now, goes back as a harmless one and is spoilt again at the end.
    failed = info > 0
    mean, covariance = (
        tf.where(append_axes(failed, x), tf.zeros_like(x), x) for x in (mean, covariance)
    )
    mean, covariance = _time_first(mean, 1), _time_first(covariance, 2)

    def step(carry, elements):
        r, n = carry[:2]
        y_t, step_parameters, mean_t, covariance_t, next_covariance = elements
        step_parameters = constant | step_parameters
        f = _finite(step_parameters["transition_matrix"])
        update = _update(y_t, step_parameters, mean_t, covariance_t, failed)
        through = tf.linalg.matvec(f, r, transpose_a=True)
        n_through = _quadratic(f, n)
        smoothed = update.filtered_mean + tf.linalg.matvec(update.filtered_covariance, through)
        shrink = _quadratic(update.filtered_covariance, n_through)
        lag_one = broadcast_matmul(f, update.filtered_covariance)
        lag_one -= next_covariance @ n @ lag_one

        u = update.weight - tf.linalg.matvec(update.gain, through, transpose_a=True)
        observation = update.whitened_observation
        h = _finite(step_parameters["observation_matrix"])
        h = tf.where(_observed(y_t)[..., tf.newaxis], h, 0)
        keep = tf.eye(tf.shape(n)[-1], dtype=n.dtype) - broadcast_matmul(update.gain, h)
        r = through + tf.linalg.matvec(h, u, transpose_a=True)
        n = tf.matmul(observation, observation, transpose_a=True) + _quadratic(keep, n_through)
        result = (r, n, smoothed, _symmetric(update.filtered_covariance - shrink), lag_one)
        return tuple(with_shape(x, old.shape) for x, old in zip(result, carry, strict=True))

    r, n = tf.zeros_like(mean[0]), tf.zeros_like(covariance[0])
    next_covariance = tf.concat([covariance[1:], covariance[:1]], axis=0)
    elements = (y, varying, mean, covariance, next_covariance)
    smoothed = tf.scan(step, elements, (r, n, r, n, n), reverse=True)[2:]
    x, v, lag_one = (
        spoil(_time_after_batch(x, core), failed)
        for x, core in zip(smoothed, (1, 2, 2), strict=True)
    )
    return tf.reduce_sum(per_step, axis=-1), x, v, lag_one[..., :-1, :, :], info


def _prepare(y, parameters):
    """Broadcasts the batch axes and sorts parameters into constant and time-varying ones.

    Returns:
      y with time first, constant parameters by name, time-varying ones by name with time first,
      and the initial mean and covariance with the full batch shape.
    """
    static, dynamic = y.shape[:-2], tf.shape(y)[:-2]
    for spec, parameter in zip(PARAMETERS, parameters, strict=True):
        trailing = len(spec.core) + spec.per_step
        rank = parameter.shape.rank
        static = tf.broadcast_static_shape(static, parameter.shape[: max(rank - trailing, 0)])
        dynamic = tf.broadcast_dynamic_shape(
            dynamic, tf.shape(parameter)[: max(rank - trailing, 0)]
        )
    num_steps, m = tf.shape(y)[-2], tf.shape(y)[-1]
    y = tf.broadcast_to(y, tf.concat([dynamic, [num_steps, m]], 0))
    named = dict(zip([spec.name for spec in PARAMETERS], parameters, strict=True))
    initial_mean, initial_scale = named.pop("initial_mean"), named.pop("initial_scale")
    n = tf.shape(initial_mean)[-1]
    mean = tf.broadcast_to(initial_mean, tf.concat([dynamic, [n]], 0))
    covariance = tf.matmul(initial_scale, initial_scale, transpose_b=True)
    covariance = tf.broadcast_to(covariance, tf.concat([dynamic, [n, n]], 0))
    y = with_shape(y, static.concatenate(y.shape[-2:]))

    constant, varying = {}, {}
    for spec in PARAMETERS[: len(named)]:
        parameter, axis = named[spec.name], -len(spec.core) - 1
        if parameter.shape.rank == len(spec.core):
            constant[spec.name] = parameter
        elif parameter.shape[axis] == 1:
            constant[spec.name] = tf.squeeze(parameter, axis)
        else:
            parameter = _time_first(parameter, len(spec.core))
            shape = tf.concat([[num_steps], tf.shape(parameter)[1:]], 0)
            varying[spec.name] = tf.broadcast_to(parameter, shape)
    return _time_first(y, 1), constant, varying, mean, covariance


def _update(y, parameters, mean, covariance, bad):
    """Conditions the predicted moments on the observed components of y."""
    h, c = parameters["observation_matrix"], parameters["observation_scale"]
    d = parameters["observation_offset"]
    observed = _observed(y)
    rows = observed[..., tf.newaxis]
    both = tf.logical_and(rows, observed[..., tf.newaxis, :])
    bad = tf.logical_or(bad, tf.logical_not(_all_finite(mean, 1) & _all_finite(covariance, 2)))
    known = _all_finite(h, 1) & _all_finite(c, 1)
    usable = known & tf.math.is_finite(d)
    bad = tf.logical_or(bad, tf.reduce_any(observed & tf.logical_not(usable), axis=-1))
    h, c, d = (_finite(x) for x in (h, c, d))
    mean, covariance = (
        tf.where(append_axes(bad, x), tf.zeros_like(x), x) for x in (mean, covariance)
    )

    cross = broadcast_matmul(covariance, h, transpose_b=True)
    innovation = tf.where(observed, y, 0) - tf.linalg.matvec(h, mean) - d
    innovation = tf.where(observed & tf.math.is_finite(innovation), innovation, 0)
    innovation_covariance = _symmetric(broadcast_matmul(h, cross))
    innovation_covariance += tf.matmul(c, c, transpose_b=True)
    identity = tf.eye(tf.shape(y)[-1], dtype=y.dtype)
    s = tf.where(both, innovation_covariance, identity)
    _, info = factor_by_columns(tf.stop_gradient(s))
    failed = bad | (info > 0) | tf.reduce_any(tf.math.is_inf(y), axis=-1)
    l = tf.linalg.cholesky(tf.where(append_axes(failed, s), identity, s))

    def whiten(x):
        return solve_reference(l, x, lower=True, adjoint=False)

    def unwhiten(x):
        return solve_reference(l, x, lower=True, adjoint=True)

    z = whiten(innovation[..., tf.newaxis])
    failed |= tf.logical_not(tf.math.is_finite(tf.reduce_sum(tf.square(z), axis=[-2, -1])))
    z = tf.where(append_axes(failed, z), tf.zeros_like(z), z)
    w = whiten(tf.where(rows, tf.linalg.matrix_transpose(cross), 0))
    log_density = -0.5 * (
        math.log(2.0 * math.pi) * tf.reduce_sum(tf.cast(observed, y.dtype), axis=-1)
        + 2.0 * tf.reduce_sum(tf.math.log(tf.linalg.diag_part(l)), axis=-1)
        + tf.reduce_sum(tf.square(z), axis=[-2, -1])
    )
    return _Update(
        log_density=log_density,
        innovation=innovation,
        innovation_covariance=tf.where(
            known[..., tf.newaxis] & known[..., tf.newaxis, :],
            innovation_covariance,
            tf.constant(float("nan"), y.dtype),
        ),
        weight=unwhiten(z)[..., 0],
        gain=tf.linalg.matrix_transpose(unwhiten(w)),
        whitened_observation=whiten(tf.where(rows, h, 0)),
        filtered_mean=mean + tf.matmul(w, z, transpose_a=True)[..., 0],
        filtered_covariance=covariance - tf.matmul(w, w, transpose_a=True),
        failed=failed,
    )


def _predict(parameters, update):
    """Moments of the next state, and whether they could be computed."""
    f, g, b = (
        parameters[name] for name in ("transition_matrix", "transition_scale", "transition_offset")
    )
    bad = update.failed | tf.logical_not(_all_finite(f, 2) & _all_finite(g, 2) & _all_finite(b, 1))
    f, g, b = (_finite(x) for x in (f, g, b))
    mean = tf.linalg.matvec(f, update.filtered_mean) + b
    half = broadcast_matmul(update.filtered_covariance, f, transpose_b=True)
    covariance = broadcast_matmul(f, half)
    return mean, _symmetric(covariance) + tf.matmul(g, g, transpose_b=True), bad


def _observed(y):
    return tf.logical_not(tf.math.is_nan(y))


def _finite(x):
    """x with zeros for what is not finite, so that no NaN enters a gradient."""
    return tf.where(tf.math.is_finite(x), x, tf.zeros_like(x))


def _all_finite(x, axes):
    return tf.reduce_all(tf.math.is_finite(x), axis=list(range(-axes, 0)))


def _symmetric(x):
    return 0.5 * (x + tf.linalg.matrix_transpose(x))


def _quadratic(a, x):
    """A' X A."""
    return broadcast_matmul(a, broadcast_matmul(x, a), transpose_a=True)


def _first_failure(failed):
    """1 + the first step at which a series failed, 0 where none did; time is first."""
    num_steps = tf.shape(failed)[0]
    never = tf.ones(tf.concat([[1], tf.shape(failed)[1:]], 0), tf.bool)
    first = tf.argmax(tf.cast(tf.concat([failed, never], 0), tf.int32), 0, output_type=tf.int32)
    return tf.where(first < num_steps, first + 1, 0)


def _time_first(x, core_rank):
    """Moves the time axis, which stands before the core axes, to the front."""
    rank, time = x.shape.rank, x.shape.rank - core_rank - 1
    return tf.transpose(x, [time, *range(time), *range(time + 1, rank)])


def _time_after_batch(x, core_rank):
    """Undoes ``_time_first``."""
    rank, time = x.shape.rank, x.shape.rank - core_rank - 1
    return tf.transpose(x, [*range(1, time + 1), 0, *range(time + 1, rank)])


def _per_step(*inputs):
    values, *_, info = filter_reference(*inputs)
    return values, info


def _log_likelihood(*inputs):
    values, info = _per_step(*inputs)
    return tf.reduce_sum(values, axis=-1), info


FORM = Form(
    log_likelihood=_log_likelihood,
    per_step=_per_step,
    filter=lambda *inputs: FilterResult(*filter_moments(*inputs)),
    smoother=lambda *inputs: SmootherResult(*smoother_reference(*inputs)),
)
