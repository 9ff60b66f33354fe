"""The Kalman filter and smoother in plain TensorFlow: what the compiled ops must reproduce.

One step at a time with ``tf.scan``, straight from the formulas. It is the oracle of the tests, the
fallback without the compiled library, and what second derivatives differentiate.

Operands come in the order of the compiled ops: y, then ``statespace.ssm.PARAMETERS``. The notation
is that of ``step.py``.
"""

import tensorflow as tf

from statespace.kalman.forms import Form
from statespace.kalman.results import FilterResult, SmootherResult
from statespace.kalman.step import (
    all_finite,
    batch_shape,
    by_name,
    condition,
    finite,
    first_failure,
    is_observed,
    likelihood_terms,
    predict,
    quadratic,
    symmetric,
    zeros_of_step,
)
from statespace.linalg_ops.arguments import broadcast_batches, broadcast_matmul, with_shape
from statespace.linalg_ops.failure import append_axes, spoil
from statespace.linalg_ops.lq import lq
from statespace.ssm import PARAMETERS


def filter_reference(y, *parameters):
    """Runs the filter.

    Returns:
      (log-likelihood per step ``[..., T]``, filtered mean, filtered covariance, predicted mean,
      predicted covariance, innovation, innovation covariance, info), as in ``FilterResult``.
    """
    y, constant, varying, mean, covariance = prepare(y, parameters)
    batch = tf.shape(mean)[:-1]
    density = tf.zeros(batch, y.dtype)
    innovation = density[..., tf.newaxis] * tf.zeros(tf.shape(y)[-1:], y.dtype)
    square = innovation[..., tf.newaxis] * innovation[..., tf.newaxis, :]
    outputs = (density, mean, covariance, mean, covariance, innovation, square)
    start = (mean, covariance, tf.zeros(batch, tf.bool), *outputs, tf.zeros(batch, tf.bool))

    def step(carry, elements):
        mean, covariance, bad = carry[:3]
        step_parameters = constant | elements[1]
        update = condition(elements[0], step_parameters, mean, covariance, bad)
        next_mean, next_covariance, next_bad = predict(step_parameters, update)
        state = (next_mean, next_covariance, next_bad)
        moments = (update.filtered_mean, update.filtered_covariance, mean, covariance)
        innovations = (update.innovation, update.innovation_covariance)
        result = (*state, update.log_density, *moments, *innovations, update.failed)
        return tuple(with_shape(x, old.shape) for x, old in zip(result, carry, strict=True))

    scanned = tf.scan(step, (y, varying), start)[3:]
    info = first_failure(time_after_batch(scanned[-1], 0))
    cores = (0, 1, 2, 1, 2, 1, 2)
    moments = (time_after_batch(x, core) for x, core in zip(scanned[:-1], cores, strict=True))
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
    y, constant, varying, _, _ = prepare(y, parameters)
    # A failed series, all NaN by now, goes back as a harmless one and is spoilt again at the end.
    failed = info > 0
    mean, covariance = (
        tf.where(append_axes(failed, x), tf.zeros_like(x), x) for x in (mean, covariance)
    )
    mean, covariance = time_first(mean, 1), time_first(covariance, 2)

    def step(carry, elements):
        r, n = carry[:2]
        y_t, step_parameters, mean_t, covariance_t, next_covariance = elements
        step_parameters = constant | step_parameters
        f = finite(step_parameters["transition_matrix"])
        update = condition(y_t, step_parameters, mean_t, covariance_t, failed)
        through = tf.linalg.matvec(f, r, transpose_a=True)
        n_through = quadratic(f, n)
        smoothed = update.filtered_mean + tf.linalg.matvec(update.filtered_covariance, through)
        shrink = quadratic(update.filtered_covariance, n_through)
        lag_one = broadcast_matmul(f, update.filtered_covariance)
        lag_one -= next_covariance @ n @ lag_one

        keep, score, information = likelihood_terms(y_t, step_parameters, update)
        r = score + tf.linalg.matvec(keep, through, transpose_a=True)
        n = information + quadratic(keep, n_through)
        result = (r, n, smoothed, symmetric(update.filtered_covariance - shrink), lag_one)
        return tuple(with_shape(x, old.shape) for x, old in zip(result, carry, strict=True))

    r, n = zeros_of_step(mean), zeros_of_step(covariance)
    next_covariance = tf.concat([covariance[1:], covariance[:1]], axis=0)
    elements = (y, varying, mean, covariance, next_covariance)
    smoothed = tf.scan(step, elements, (r, n, r, n, n), reverse=True)[2:]
    x, v, lag_one = (
        spoil(time_after_batch(x, core), failed)
        for x, core in zip(smoothed, (1, 2, 2), strict=True)
    )
    return tf.reduce_sum(per_step, axis=-1), x, v, lag_one[..., :-1, :, :], info


def scales_reference(y, *parameters):
    """Lower triangular scales of the filter's covariances, by the array algorithm.

    They come from LQ factorisations, not from the covariances: the gradient of ``lq`` exists at
    singular ones too. Numbers that are not finite count as zeros.

    Returns:
      (filtered scale, predicted scale, innovation scale), as in ``FilterResult``.
    """
    initial_scale = parameters[-1]
    y, constant, varying, _, covariance = prepare(y, parameters)
    m = tf.shape(y)[-1]
    no_scale = tf.linalg.diag(zeros_of_step(y))

    def side_by_side(*blocks):
        return tf.concat(broadcast_batches(blocks, [2] * len(blocks)), axis=-1)

    def triangle(*blocks):
        return lq(side_by_side(*blocks), mode="l")

    def step(carry, elements):
        scale, y_t, named = carry[0], elements[0], constant | elements[1]
        known = all_finite(named["observation_matrix"], 1)
        known &= all_finite(named["observation_scale"], 1)
        f, g, h, c = (finite(named[spec.name]) for spec in PARAMETERS[:4])
        observed = tf.cast(is_observed(y_t), y.dtype)
        rows = side_by_side(c, broadcast_matmul(h, scale))
        innovation_scale = triangle(no_scale, rows)
        # An unknown row is unknown throughout, those below it from its column on.
        after = tf.cumsum(tf.cast(~known, tf.int32), axis=-1) > 0
        unknown = ~known[..., tf.newaxis] | (after[..., tf.newaxis] & after[..., tf.newaxis, :])
        unknown = tf.linalg.band_part(tf.cast(unknown, y.dtype), -1, 0) > 0
        innovation_scale = tf.where(unknown, tf.constant(float("nan"), y.dtype), innovation_scale)
        # A coordinate of its own for each missing component: its row is one of the identity.
        top = side_by_side(tf.linalg.diag(1.0 - observed), observed[..., tf.newaxis] * rows)
        noise = tf.zeros(tf.concat([tf.shape(scale)[:-1], [m + tf.shape(c)[-1]]], 0), y.dtype)
        bottom = tf.concat([noise, scale], axis=-1)
        filtered_scale = lq(tf.concat([top, bottom], axis=-2), mode="l")[..., m:, m:]
        next_scale = triangle(broadcast_matmul(f, filtered_scale), g)
        result = (next_scale, filtered_scale, scale, innovation_scale)
        return tuple(with_shape(x, old.shape) for x, old in zip(result, carry, strict=True))

    start = triangle(initial_scale, tf.zeros_like(covariance))
    scanned = tf.scan(step, (y, varying), (start, start, start, no_scale))[1:]
    return tuple(time_after_batch(x, 2) for x in scanned)


def prepare(y, parameters):
    """Broadcasts the batch axes and sorts parameters into constant and time-varying ones.

    Nothing is left to broadcast within a loop: XLA could not compile second derivatives of it.

    Returns:
      y with time first, constant parameters by name, time-varying ones by name with time first,
      and the initial mean and covariance with the full batch shape.
    """
    static, dynamic = batch_shape(y, parameters)
    num_steps, m = tf.shape(y)[-2], tf.shape(y)[-1]
    y_steps = y.shape[-2:-1]
    y = tf.broadcast_to(y, tf.concat([dynamic, [num_steps, m]], 0))
    named = by_name(parameters)
    initial_mean, initial_scale = named.pop("initial_mean"), named.pop("initial_scale")
    n = tf.shape(initial_mean)[-1]
    mean = tf.broadcast_to(initial_mean, tf.concat([dynamic, [n]], 0))
    covariance = tf.matmul(initial_scale, initial_scale, transpose_b=True)
    covariance = tf.broadcast_to(covariance, tf.concat([dynamic, [n, n]], 0))
    y = with_shape(y, static.concatenate(y.shape[-2:]))

    per_step = [(spec, named[spec.name]) for spec in PARAMETERS if spec.name in named]
    constant, varying = sort_by_time(per_step, static, dynamic, y_steps, num_steps)
    return time_first(y, 1), constant, varying, mean, covariance


def sort_by_time(parameters, static, dynamic, known_steps, num_steps):
    """Sorts per-step parameters into constant and time-varying ones, of the full batch shape.

    Args:
      parameters: pairs of a ``ParameterSpec`` and the tensor.
      static, dynamic: the batch shape, as far as known, and as a tensor.
      known_steps, num_steps: the number of steps, as a shape of one axis, and as a tensor.

    Returns:
      Constant parameters by name, and time-varying ones by name with time first.
    """
    constant, varying = {}, {}
    for spec, parameter in parameters:
        axis = -len(spec.core) - 1
        core = parameter.shape[axis + 1 :]
        sizes = tf.shape(parameter)[axis + 1 :]
        if parameter.shape.rank > len(spec.core) and parameter.shape[axis] != 1:
            parameter = tf.broadcast_to(parameter, tf.concat([dynamic, [num_steps], sizes], 0))
            parameter = with_shape(parameter, static.concatenate(known_steps).concatenate(core))
            varying[spec.name] = time_first(parameter, len(spec.core))
        else:
            if parameter.shape.rank > len(spec.core):
                parameter = tf.squeeze(parameter, axis)
            parameter = tf.broadcast_to(parameter, tf.concat([dynamic, sizes], 0))
            constant[spec.name] = with_shape(parameter, static.concatenate(core))
    return constant, varying


def time_first(x, core_rank):
    """Moves the time axis, which stands before the core axes, to the front."""
    rank, time = x.shape.rank, x.shape.rank - core_rank - 1
    return tf.transpose(x, [time, *range(time), *range(time + 1, rank)])


def time_after_batch(x, core_rank):
    """Undoes ``time_first``."""
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
