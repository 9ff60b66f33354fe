"""The parallel-in-time form: filter and smoother by associative scans over time.

A sequential filter takes T steps, each of which waits for the one before. Here the steps are
combined in a tree, 2 log2 T rounds deep, and all combinations of a round run side by side:

1. The element of step t is p(x_t | y_t, x_{t-1}) and p(y_t | x_{t-1}). Two neighbouring stretches
   of time combine to one (Särkkä & García-Fernández, lemma 8), at the cost of one n x n inverse,
   of I + C J, which exists whatever is singular in C and J. The prefixes are the filtered moments.
2. With these, each step's update is made again, of all steps at once, from its predicted moments.
   It gives likelihood, innovations and status by the formulas of the sequential forms.
3. The smoother combines the same elements from the end. The suffixes are the likelihoods of x_t
   given all that follows, exp(eta' x - x' J x / 2), which the filtered moments m, P have yet to
   meet: mean X (m + P eta), covariance X P, with X = (I + P J)^-1. The paper's own smoother has
   the gains P F' (F P F' + Q)^-1, and could do with no singular predicted covariance.

What it costs: O(n^3 log T) time where there are processors enough, but about ten times the
arithmetic of the covariance form, and memory for all steps at once. It is for long series on GPUs
and other wide devices; on a CPU the sequential forms are faster by far, and "auto" keeps to them.
Where T is not known when a function is traced, log2 T / 2 times as much again: give it if you can.
Gradients, of any order, are TensorFlow's own; inside XLA they need all shapes to be known.

What it asks for: that the step alone determines its observed components' noise, H Q H' + R positive
definite, where the sequential forms ask that of H P H' + R. Noise in every component is enough. A
series without it fails, with the step as its status.

After a vague start it loses digits without a sign of it, as the covariance form's filter does, and
what solving for huge predicted covariances costs; the sequential smoothers know better.

References:
  Särkkä & García-Fernández, Temporal parallelization of Bayesian smoothers, IEEE Transactions on
  Automatic Control 66(1), 2021.
"""

from typing import NamedTuple

import tensorflow as tf

from statespace.kalman.associative_scan import associative_scan
from statespace.kalman.forms import Form
from statespace.kalman.results import FilterResult, SmootherResult
from statespace.kalman.step import (
    Update,
    all_finite,
    batch_shape,
    by_name,
    condition,
    finite,
    first_failure,
    likelihood_terms,
    quadratic,
    symmetric,
)
from statespace.linalg_ops.arguments import with_shape
from statespace.linalg_ops.determinant import inverse
from statespace.linalg_ops.failure import spoil


class _Transitions(NamedTuple):
    """x_t given x_{t-1}, for every t: N(F x_{t-1} + mean, covariance)."""

    matrix: tf.Tensor  # F_{t-1}, [..., T, n, n]; zero at t = 0, where the prior takes its place
    mean: tf.Tensor  # b_{t-1}, [..., T, n]
    covariance: tf.Tensor  # Q_{t-1}, [..., T, n, n]
    bad: tf.Tensor  # where a number is not finite, bool [..., T]


class _Stretch(NamedTuple):
    """Steps s to t: x_t ~ N(A x_{s-1} + b, C), and the likelihood of x_{s-1} from eta and J."""

    a: tf.Tensor  # [..., T, n, n]
    b: tf.Tensor  # [..., T, n, 1]
    c: tf.Tensor  # [..., T, n, n]
    eta: tf.Tensor  # [..., T, n, 1]
    j: tf.Tensor  # [..., T, n, n]


class _Pass(NamedTuple):
    """The filter over all steps."""

    y: tf.Tensor  # [..., T, m]
    parameters: dict[str, tf.Tensor]
    matrix: tf.Tensor  # F_{t-1}, [..., T, n, n]
    stretches: _Stretch  # of one step each
    predicted_mean: tf.Tensor  # [..., T, n]
    predicted_covariance: tf.Tensor  # [..., T, n, n]
    update: Update  # with the time axis for its last batch axis
    info: tf.Tensor  # [...]


def _append(first: _Stretch, second: _Stretch) -> _Stretch:
    """Two neighbouring stretches as one (lemma 8 of the paper)."""
    x = _inverse_of_sum(first.c, second.j)
    forward, backward = tf.matmul(second.a, x), tf.matmul(x, first.a)
    c = tf.matmul(tf.matmul(forward, first.c), second.a, transpose_b=True)
    j = tf.matmul(backward, tf.matmul(second.j, first.a), transpose_a=True)
    return _Stretch(
        a=tf.matmul(forward, first.a),
        b=second.b + tf.matmul(forward, first.b + tf.matmul(first.c, second.eta)),
        c=second.c + symmetric(c),
        eta=first.eta
        + tf.matmul(backward, second.eta - tf.matmul(second.j, first.b), transpose_a=True),
        j=first.j + symmetric(j),
    )


def _inverse_of_sum(c, j):
    """(I + C J)^-1, which exists for all semidefinite C and J."""
    return inverse(tf.eye(tf.shape(c)[-1], dtype=c.dtype) + tf.matmul(c, j))


def _forward(y, *parameters) -> _Pass:
    static, batch = batch_shape(y, parameters)
    y = tf.broadcast_to(y, tf.concat([batch, tf.shape(y)[-2:]], 0))
    y = with_shape(y, static.concatenate(y.shape[-2:]))
    named = by_name(parameters)
    transitions = _transitions(y, named)
    f = transitions.matrix
    alone = condition(y, named, transitions.mean, transitions.covariance, transitions.bad)
    keep, score, information = likelihood_terms(y, named, alone)
    stretches = _Stretch(
        a=tf.matmul(keep, f),
        b=alone.filtered_mean[..., tf.newaxis],
        c=alone.filtered_covariance,
        eta=tf.matmul(f, score[..., tf.newaxis], transpose_a=True),
        j=quadratic(f, information),
    )
    filtered = associative_scan(_append, stretches)
    mean = tf.matmul(f, _delay(filtered.b))[..., 0] + transitions.mean
    covariance = tf.matmul(tf.matmul(f, _delay(filtered.c)), f, transpose_b=True)
    covariance = symmetric(covariance) + transitions.covariance
    update = condition(y, named, mean, covariance, transitions.bad)
    info = first_failure(alone.failed | update.failed)
    return _Pass(y, named, f, stretches, mean, covariance, update, info)


def _transitions(y, parameters):
    names = ("transition_matrix", "transition_scale", "transition_offset")
    f, g, b = (parameters[name] for name in names)
    mean, scale = parameters["initial_mean"], parameters["initial_scale"]
    known = all_finite(f, 2) & all_finite(g, 2) & all_finite(b, 1)
    known_start = all_finite(mean, 1) & all_finite(scale, 2)
    f, g, b, mean, scale = (finite(x) for x in (f, g, b, mean, scale))
    q, start = (tf.matmul(x, x, transpose_b=True) for x in (g, scale))

    def after_start(start, later, core):
        """One value for each step: ``start``, then ``later`` but for its last, [..., T, *core]."""
        lead, size = tf.shape(y)[:-1], tf.shape(later)[tf.rank(later) - core :]
        start = tf.expand_dims(start, -core - 1)
        start = tf.broadcast_to(start, tf.concat([lead[:-1], [1], size], 0))
        values = tf.concat([start, tf.broadcast_to(later, tf.concat([lead, size], 0))], -core - 1)
        values = values[(..., slice(lead[-1]), *[slice(None)] * core)]
        return with_shape(values, y.shape[:-1].concatenate(later.shape[later.shape.rank - core :]))

    return _Transitions(
        matrix=after_start(tf.zeros_like(start), f, 2),
        mean=after_start(mean, b, 1),
        covariance=after_start(start, q, 2),
        bad=tf.logical_not(after_start(known_start, known, 0)),
    )


def _delay(x):
    """x_{t-1} at each step t, zero at the first; time is the third axis from the end."""
    return tf.concat([tf.zeros_like(x[..., :1, :, :]), x[..., :-1, :, :]], axis=-3)


def _per_step(*inputs):
    result = _forward(*inputs)
    return spoil(result.update.log_density, result.info > 0), result.info


def _log_likelihood(*inputs):
    values, info = _per_step(*inputs)
    return tf.reduce_sum(values, axis=-1), info


def _filter(*inputs):
    result = _forward(*inputs)
    update, failed = result.update, result.info > 0
    moments = (
        tf.reduce_sum(update.log_density, axis=-1),
        update.filtered_mean,
        update.filtered_covariance,
        result.predicted_mean,
        result.predicted_covariance,
        update.innovation,
        update.innovation_covariance,
    )
    return FilterResult(*(spoil(x, failed) for x in moments), result.info)


def _smoother(*inputs):
    result = _forward(*inputs)
    update, failed = result.update, result.info > 0
    eta, j = _future(result.stretches)
    filtered = update.filtered_covariance
    weight = _inverse_of_sum(filtered, j)
    mean = update.filtered_mean[..., tf.newaxis] + tf.matmul(filtered, eta)
    keep, _, _ = likelihood_terms(result.y, result.parameters, update)
    # Cov[x_{t+1}, x_t | y] = X (I - K H) F P, of which P alone is of step t, the others of t + 1.
    onwards = tf.matmul(tf.matmul(weight, keep), result.matrix)
    moments = (
        tf.reduce_sum(update.log_density, axis=-1),
        tf.matmul(weight, mean)[..., 0],
        symmetric(tf.matmul(weight, filtered)),
        tf.matmul(onwards[..., 1:, :, :], filtered[..., :-1, :, :]),
    )
    return SmootherResult(*(spoil(x, failed) for x in moments), result.info)


def _future(stretches):
    """eta and J of all that follows each step, zero after the last."""
    backwards = _Stretch(*(tf.reverse(x, [-3]) for x in stretches))
    suffixes = associative_scan(lambda later, earlier: _append(earlier, later), backwards)
    return (
        tf.concat([tf.reverse(x, [-3])[..., 1:, :, :], tf.zeros_like(x[..., :1, :, :])], axis=-3)
        for x in (suffixes.eta, suffixes.j)
    )


FORM = Form(_log_likelihood, _per_step, _filter, _smoother)
