"""The univariate form with an exact diffuse start, in plain TensorFlow: oracle and fallback.

One component of an observation at a time (Koopman & Durbin 2000), after correlated observation
noise has been decorrelated. The diffuse part of a state's covariance is kept as a factor: P_kappa =
P + kappa B B' with kappa -> infinity, so that B loses one direction with each diffuse observation
by a projection, and no rank is ever read off a difference of matrices. With x = B' h for a
component's row h, F_inf = x'x and K_inf = B x / x'x are those of Koopman & Durbin (2003).

The operands are those of ``reference.py`` with the diffuse states, numbers 0 and 1 ``[n]``, after
them.

References:
  Koopman & Durbin, Fast filtering and smoothing for multivariate state space models, Journal of
  Time Series Analysis 21(3), 2000.
  Koopman & Durbin, Filtering and smoothing of state vector for diffuse state-space models, Journal
  of Time Series Analysis 24(1), 2003.
"""

import math
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from statespace.kalman.forms import Form
from statespace.kalman.reference import prepare, time_after_batch, time_first
from statespace.kalman.results import FilterResult, SmootherResult
from statespace.kalman.step import (
    all_finite,
    finite,
    first_failure,
    is_observed,
    quadratic,
    symmetric,
    zeros_of_step,
)
from statespace.linalg_ops.arguments import broadcast_matmul, matrix_transpose, with_shape
from statespace.linalg_ops.failure import append_axes, spoil
from statespace.linalg_ops.triangular import solve_reference


class State(NamedTuple):
    """Moments of a state: mean, covariance P and factor B of the diffuse part."""

    mean: tf.Tensor  # [..., n]
    covariance: tf.Tensor  # [..., n, n]
    diffuse: tf.Tensor  # [..., n, n]
    left: tf.Tensor  # directions of B that no observation has met yet, [...]


class Step(NamedTuple):
    """What one observation makes of a state."""

    predicted: State  # what it was before, with zeros where the series has failed
    filtered: State
    following: State  # predicted for the next observation
    log_density: tf.Tensor  # [...]
    diffuse_observations: tf.Tensor  # their number, of the dtype of the moments, [...]
    innovation: tf.Tensor  # [..., m]
    innovation_covariance: tf.Tensor  # [..., m, m]
    failed: tf.Tensor  # bool [...]
    following_bad: tf.Tensor  # bool [...]: it failed, or what follows could not be predicted


class _Component(NamedTuple):
    """One component's observation, decorrelated; all but ``row`` to ``gain`` are ``[...]``."""

    row: tf.Tensor  # h, [..., n]
    cross: tf.Tensor  # P h, [..., n]
    diffuse_row: tf.Tensor  # x = B' h, [..., n]
    gain: tf.Tensor  # [..., n]
    innovation: tf.Tensor
    variance: tf.Tensor  # f = h' P h + r
    information: tf.Tensor  # 1 / f, 0 where it is diffuse
    diffuse_variance: tf.Tensor  # x'x, 1 where it is not diffuse
    is_diffuse: tf.Tensor  # bool


def _filter_steps(y, *operands):
    """Runs the filter.

    Returns:
      (log-likelihood per step ``[..., T]``, filtered mean, filtered covariance, predicted mean,
      predicted covariance, innovation, innovation covariance, info) as in ``FilterResult``, then
      the factors B of the predicted and of the filtered diffuse part, the directions left in the
      predicted one, and the number of diffuse observations ``[..., T]``.
    """
    *parameters, diffuse = operands
    y, constant, varying, mean, covariance = prepare(y, parameters)
    state = start_state(mean, covariance, diffuse)
    number = tf.zeros_like(state.left)
    innovation = number[..., tf.newaxis] * tf.zeros(tf.shape(y)[-1:], y.dtype)
    square = innovation[..., tf.newaxis] * innovation[..., tf.newaxis, :]
    bad = tf.zeros(tf.shape(mean)[:-1], tf.bool)
    moments = (mean, covariance, mean, covariance, innovation, square)
    factors = (state.diffuse, state.diffuse, number, number)
    first = (*state, bad, number, *moments, bad, *factors)

    def step(carry, elements):
        done = filter_step(elements[0], constant | elements[1], State(*carry[:4]), carry[4])
        state, filtered = done.predicted, done.filtered
        moments = (filtered.mean, filtered.covariance, state.mean, state.covariance)
        innovations = (done.innovation, done.innovation_covariance)
        factors = (state.diffuse, filtered.diffuse, state.left, done.diffuse_observations)
        outputs = (done.log_density, *moments, *innovations, done.failed, *factors)
        result = (*done.following, done.following_bad, *outputs)
        return tuple(with_shape(x, old.shape) for x, old in zip(result, carry, strict=True))

    scanned = tf.scan(step, (y, varying), first)[5:]
    info = first_failure(time_after_batch(scanned[7], 0))
    scanned, count = scanned[:-1], scanned[-1]
    cores = (0, 1, 2, 1, 2, 1, 2, None, 2, 2, 0)
    outputs = [
        info if core is None else spoil(time_after_batch(x, core), info > 0)
        for x, core in zip(scanned, cores, strict=True)
    ]
    return (*outputs, time_after_batch(count, 0))


def start_state(mean, covariance, diffuse):
    """The state before the first observation.

    Args:
      mean, covariance: with the full batch shape, and zeros in what belongs to diffuse states.
      diffuse: numbers 0 and 1, ``[n]``.
    """
    factor = tf.zeros_like(covariance) + tf.linalg.diag(diffuse)
    left = tf.zeros_like(mean[..., 0]) + tf.reduce_sum(diffuse, axis=-1)
    return State(mean, covariance, factor, left)


def filter_step(y, model, state, bad):
    """Conditions a state on the observed components of y ``[..., m]``, and predicts the next one.

    Args:
      model: the parameters of this step, by name.
      bad: bool ``[...]``, the series that have failed before.

    Returns:
      A ``Step``.
    """
    state, bad = _harmless(state, bad)
    filtered, density, count, failed = _update(y, model, state, bad)
    following, following_bad = _predict(model, filtered, failed)
    innovations = _innovations(y, model, state)
    return Step(state, filtered, following, density, count, *innovations, failed, following_bad)


def per_step(*operands):
    """Log-likelihood per step ``[..., T]``, info, number of diffuse observations ``[..., T]``."""
    values, *_, info, _, _, _, count = _filter_steps(*operands)
    return values, info, tf.cast(count, tf.int32)


def filter_moments(*operands):
    """What ``FilterResult`` has, and the number of diffuse observations ``[...]``."""
    values, *moments, _, _, _, count = _filter_steps(*operands)
    total = tf.reduce_sum(values, axis=-1)
    return (total, *moments, tf.cast(tf.reduce_sum(count, axis=-1), tf.int32))


def log_likelihood_gradient(weights, y, *operands):
    """Gradient of ``sum(weights * log-likelihood per step)`` for y and each parameter."""
    *parameters, diffuse = operands
    with tf.GradientTape() as tape:
        inputs = [tf.identity(x) for x in (y, *parameters)]
        tape.watch(inputs)
        total = tf.reduce_sum(weights * per_step(*inputs, diffuse)[0])
    return tape.gradient(total, inputs, unconnected_gradients=tf.UnconnectedGradients.ZERO)


def smoother_moments(y, *operands):
    """What ``SmootherResult`` has, and the number of diffuse observations ``[...]``.

    With r, N the coefficients of kappa^0 in the recursion of the disturbance smoother, only rho =
    B' r_1, gamma_1 = B' N_1, gamma_2 = B' N_2 B are needed of those of 1 / kappa, 1 / kappa^2; see
    core/kalman_univariate_smoother.h.
    """
    values, _, _, mean, covariance, _, _, info, factor, _, left, count = _filter_steps(y, *operands)
    y, constant, varying, _, _ = prepare(y, operands[:-1])
    failed = info > 0
    state = State(
        *(
            time_first(tf.where(append_axes(failed, x), tf.zeros_like(x), x), core)
            for x, core in zip((mean, covariance, factor, left), (1, 2, 2, 0), strict=True)
        )
    )
    following = tuple(tf.concat([x[1:], x[:1]], axis=0) for x in (state.covariance, state.diffuse))

    def step(carry, elements):
        y_t, step_parameters, state, (next_covariance, next_factor) = elements
        model = constant | step_parameters
        f = finite(model["transition_matrix"])
        filtered, components = _condition(y_t, model, state, failed)
        r, n, rho, gamma_1, gamma_2 = carry[:5]

        lag_one = broadcast_matmul(f, filtered.covariance)
        lag_one -= next_covariance @ n @ lag_one + next_factor @ gamma_1 @ lag_one
        back = tf.matmul(gamma_1, next_covariance) + tf.matmul(
            gamma_2, next_factor, transpose_b=True
        )
        lag_one -= tf.matmul(back, filtered.diffuse, transpose_a=True, transpose_b=True)

        r = tf.linalg.matvec(f, r, transpose_a=True)
        n = quadratic(f, n)
        gamma_1 = broadcast_matmul(gamma_1, f)
        p, b = filtered.covariance, filtered.diffuse
        smoothed = filtered.mean + tf.linalg.matvec(p, r) + tf.linalg.matvec(b, rho)
        mixed = b @ gamma_1 @ p
        variance = p - quadratic(p, n) - mixed - matrix_transpose(mixed)
        variance -= b @ tf.matmul(gamma_2, b, transpose_b=True)
        backwards = (r, n, rho, gamma_1, gamma_2)
        for component in reversed(components):
            backwards = _undo(component, *backwards)
        result = (*backwards, smoothed, symmetric(variance), lag_one)
        return tuple(with_shape(x, old.shape) for x, old in zip(result, carry, strict=True))

    zero, square = zeros_of_step(state.mean), zeros_of_step(state.covariance)
    start = (zero, square, zero, square, square, zero, square, square)
    smoothed = tf.scan(step, (y, varying, state, following), start, reverse=True)[5:]
    x, v, lag_one = (
        spoil(time_after_batch(x, core), failed)
        for x, core in zip(smoothed, (1, 2, 2), strict=True)
    )
    total = tf.reduce_sum(values, axis=-1)
    count = tf.cast(tf.reduce_sum(count, axis=-1), tf.int32)
    return total, x, v, lag_one[..., :-1, :, :], info, count


def _undo(component, r, n, rho, gamma_1, gamma_2):
    """Takes the cotangents back over one component's observation."""
    h, k, v, f, x = (
        component.row,
        component.gain,
        component.innovation,
        component.variance,
        component.diffuse_row,
    )
    is_diffuse, s = component.is_diffuse, component.diffuse_variance
    information = component.information
    n_k = tf.linalg.matvec(n, k)
    next_r = r + h * (information * v - _dot(k, r))[..., tf.newaxis]
    # One factor after the other: multiplied out, L' N L is a difference of large numbers.
    half = n - _outer(n_k, h)
    own = h * information[..., tf.newaxis] - tf.linalg.matvec(half, k, transpose_a=True)
    next_n = symmetric(half + _outer(h, own))

    k_1 = (component.cross - k * f[..., tf.newaxis]) / s[..., tf.newaxis]
    n_k_1 = tf.linalg.matvec(n, k_1)
    gamma_k_1 = tf.linalg.matvec(gamma_1, k_1)
    rate = _dot(k_1, n_k_1) - f / tf.square(s)
    row = h * (1.0 / s + _dot(k, n_k_1))[..., tf.newaxis] - n_k_1
    diffuse = is_diffuse[..., tf.newaxis]
    rho += tf.where(diffuse, x * (v / s - _dot(k_1, r))[..., tf.newaxis], 0)
    diffuse = diffuse[..., tf.newaxis]
    mixed = _outer(gamma_k_1, x)
    change = rate[..., tf.newaxis, tf.newaxis] * _outer(x, x) - mixed
    change -= matrix_transpose(mixed)
    gamma_2 += tf.where(diffuse, change, 0)
    gamma_1 -= _outer(tf.linalg.matvec(gamma_1, k), h)
    gamma_1 += tf.where(diffuse, _outer(x, row), 0)
    return next_r, next_n, rho, gamma_1, gamma_2


def _harmless(state, bad):
    """The state with zeros where the series has failed, and whether it has."""
    sound = all_finite(state.mean, 1) & all_finite(state.covariance, 2)
    bad = bad | tf.logical_not(sound & all_finite(state.diffuse, 2))
    clear = [tf.where(append_axes(bad, x), tf.zeros_like(x), x) for x in state]
    return State(*clear), bad


def _update(y, model, state, bad):
    """Conditions on the observed components of y.

    Returns:
      The filtered state, the log-density, the number of diffuse observations, and what failed.
    """
    filtered, components = _condition(y, model, state, bad)
    observed = tf.cast(is_observed(y), y.dtype)
    known = all_finite(model["observation_matrix"], 1) & all_finite(model["observation_scale"], 1)
    usable = known & tf.math.is_finite(model["observation_offset"])
    failed = bad | tf.reduce_any(is_observed(y) & tf.logical_not(usable), axis=-1)
    failed |= tf.reduce_any(tf.math.is_inf(y), axis=-1)
    density = -0.5 * math.log(2.0 * math.pi) * tf.reduce_sum(observed, axis=-1)
    count = tf.zeros_like(density)
    for component in components:
        variance = tf.where(component.is_diffuse, component.diffuse_variance, component.variance)
        square = tf.square(component.innovation) * component.information
        failed |= tf.logical_not((variance > 0) & tf.math.is_finite(variance + square))
        variance = tf.where(failed, tf.ones_like(variance), variance)
        density -= 0.5 * (tf.math.log(variance) + tf.where(failed, tf.zeros_like(square), square))
        count += tf.cast(component.is_diffuse, density.dtype)
    return filtered, density, count, failed


def _condition(y, model, state, bad):
    """The filtered state, and the components by which it was reached."""
    observed = is_observed(y)
    rows, residual, variances = _decorrelate(y, observed, model)
    components = []
    for i in range(_num_components(y)):
        h = rows[..., i, :]
        variance = tf.where(observed[..., i], variances[..., i], tf.ones_like(variances[..., i]))
        innovation = residual[..., i] - _dot(h, state.mean)
        innovation = tf.where(observed[..., i] & ~bad, innovation, tf.zeros_like(innovation))
        component = _component(h, innovation, variance, state)
        components.append(component)
        state = _condition_on(component, state)
    return state, components


def _component(h, innovation, noise, state):
    cross = tf.linalg.matvec(state.covariance, h)
    variance = _dot(h, cross) + noise
    x = tf.linalg.matvec(state.diffuse, h, transpose_a=True)
    square = _dot(x, x)
    bound = tf.reduce_sum(tf.abs(h) * tf.norm(tf.stop_gradient(state.diffuse), axis=-1), axis=-1)
    is_diffuse = square > tf.square(_tolerance(h.dtype) * bound)
    square = tf.where(is_diffuse, square, tf.ones_like(square))
    diffuse_gain = tf.linalg.matvec(state.diffuse, x) / square[..., tf.newaxis]
    information = _inverse(variance, ~is_diffuse & (variance > 0))
    proper_gain = cross * information[..., tf.newaxis]
    gain = tf.where(is_diffuse[..., tf.newaxis], diffuse_gain, proper_gain)
    return _Component(h, cross, x, gain, innovation, variance, information, square, is_diffuse)


def _condition_on(component, state):
    k, m, f = component.gain, component.cross, component.variance
    is_diffuse = component.is_diffuse
    mean = state.mean + k * component.innovation[..., tf.newaxis]
    once = _outer(k, m)
    # (I - K h') P (I - K h')' + K r K', which for K = P h / f is P - K (P h)'.
    whole = once + matrix_transpose(once) - f[..., tf.newaxis, tf.newaxis] * _outer(k, k)
    diffuse = is_diffuse[..., tf.newaxis, tf.newaxis]
    covariance = state.covariance - tf.where(diffuse, whole, _outer(m, k))
    left = state.left - tf.cast(is_diffuse, mean.dtype)
    before = tf.norm(tf.stop_gradient(state.diffuse), axis=-1)
    factor = state.diffuse - tf.where(diffuse, _outer(k, component.diffuse_row), 0)
    factor = _clean(factor, before)
    # As many diffuse observations as diffuse states: nothing is left, whatever the parameters.
    factor = tf.where((left > 0)[..., tf.newaxis, tf.newaxis], factor, 0)
    return State(mean, covariance, factor, left)


def _predict(model, state, failed):
    f, g, b = (
        model[name] for name in ("transition_matrix", "transition_scale", "transition_offset")
    )
    bad = failed | tf.logical_not(all_finite(f, 2) & all_finite(g, 2) & all_finite(b, 1))
    f, g, b = (finite(x) for x in (f, g, b))
    mean = tf.linalg.matvec(f, state.mean) + b
    half = broadcast_matmul(state.covariance, f, transpose_b=True)
    covariance = symmetric(broadcast_matmul(f, half)) + tf.matmul(g, g, transpose_b=True)
    norms = tf.norm(tf.stop_gradient(state.diffuse), axis=-1)
    factor = _clean(broadcast_matmul(f, state.diffuse), tf.linalg.matvec(tf.abs(f), norms))
    return State(mean, covariance, factor, state.left), bad


def _clean(factor, scale):
    """Zero for the rows of B that cancelled down to rounding errors of numbers of size ``scale``.

    Such a row is zero by the structure of the model, but need not be so in the neighbourhood of the
    parameters: derivatives pass.
    """
    value = tf.stop_gradient(factor)
    noise = tf.norm(value, axis=-1) <= _tolerance(factor.dtype) * tf.stop_gradient(scale)
    return factor - tf.where(noise[..., tf.newaxis], value, 0)


def _decorrelate(y, observed, model):
    """Rows H, residuals y - d and variances D of components with independent noise.

    With the noise covariance R = L D L', L unit lower triangular, over the observed components,
    those of L^-1 (y - d). A zero pivot, where R is singular, leaves a zero column of L.
    """
    h, c, d = (
        finite(model[name])
        for name in ("observation_matrix", "observation_scale", "observation_offset")
    )
    residual = tf.where(observed & tf.math.is_finite(y), y - d, 0)
    h = tf.where(observed[..., tf.newaxis], h, 0)
    both = observed[..., tf.newaxis] & observed[..., tf.newaxis, :]
    r = tf.where(both, tf.matmul(c, c, transpose_b=True), 0)
    columns, pivots, index = [], [], tf.range(_num_components(y))
    for j in range(_num_components(y)):
        column = r[..., :, j]
        for past, pivot in zip(columns, pivots, strict=True):
            column -= past * (past[..., j] * pivot)[..., tf.newaxis]
        pivot = column[..., j]
        positive = pivot > 8 * (j + 1) * np.finfo(y.dtype.as_numpy_dtype).eps * r[..., j, j]
        pivot = tf.where(positive, pivot, tf.zeros_like(pivot))
        below = column / tf.where(positive, pivot, tf.ones_like(pivot))[..., tf.newaxis]
        below = tf.where(positive[..., tf.newaxis] & (index > j), below, 0)
        columns.append(tf.where(index == j, tf.ones_like(below), below))
        pivots.append(pivot)
    l = tf.stack(columns, axis=-1)
    joint = solve_reference(
        l, tf.concat([h, residual[..., tf.newaxis]], axis=-1), lower=True, adjoint=False
    )
    return joint[..., :-1], joint[..., -1], tf.stack(pivots, axis=-1)


def _innovations(y, model, state):
    """Innovation and its covariance, all components together, as the covariance form has them."""
    h, c, d = (model[f"observation_{name}"] for name in ("matrix", "scale", "offset"))
    known = all_finite(h, 1) & all_finite(c, 1)
    h, c, d = finite(h), finite(c), finite(d)
    innovation = tf.where(is_observed(y), y, 0) - tf.linalg.matvec(h, state.mean) - d
    cross = broadcast_matmul(state.covariance, h, transpose_b=True)
    covariance = symmetric(broadcast_matmul(h, cross)) + tf.matmul(c, c, transpose_b=True)
    both = known[..., tf.newaxis] & known[..., tf.newaxis, :]
    innovation = tf.where(is_observed(y) & tf.math.is_finite(innovation), innovation, 0)
    return innovation, tf.where(both, covariance, tf.constant(float("nan"), y.dtype))


def _num_components(y):
    if y.shape[-1] is None:
        raise ValueError(
            f"y has shape {y.shape}: in plain TensorFlow the univariate form needs to know m, the "
            f"size of the last axis, statically. Set it with tf.ensure_shape."
        )
    return y.shape[-1]


def _inverse(x, usable):
    """1 / x, and 0 where it is not usable; then it spoils no gradient either."""
    safe = tf.where(usable, x, tf.ones_like(x))
    return tf.where(usable, 1.0 / safe, tf.zeros_like(x))


def _tolerance(dtype):
    """Up to what share of the sum of its terms' sizes a sum counts as zero."""
    return float(np.finfo(dtype.as_numpy_dtype).eps) ** (2 / 3)


def _dot(x, y):
    return tf.reduce_sum(x * y, axis=-1)


def _outer(x, y):
    return x[..., :, tf.newaxis] * y[..., tf.newaxis, :]


def _log_likelihood(*operands):
    values, info, count = per_step(*operands)
    return tf.reduce_sum(values, axis=-1), info, tf.reduce_sum(count, axis=-1)


def _filter_result(*operands):
    *moments, count = filter_moments(*operands)
    return FilterResult(*moments, diffuse_observations=count)


def _smoother_result(*operands):
    *moments, count = smoother_moments(*operands)
    return SmootherResult(*moments, diffuse_observations=count)


FORM = Form(_log_likelihood, per_step, _filter_result, _smoother_result)
