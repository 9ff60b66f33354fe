"""Exact discretisation of linear stochastic differential equations, in square-root form."""

import math

import numpy as np
import tensorflow as tf

from statespace.linalg_ops.arguments import (
    broadcast_batches,
    check_square,
    require,
    with_rank,
    with_shape,
)
from statespace.linalg_ops.lq import lq
from statespace.linalg_ops.products import gemm

# Doublings of the shortest step: intervals up to 2^62 / |A|. XLA wants to know of an end.
_MOST_DOUBLINGS = 63


def intervals(op: str, times, dtype: tf.DType) -> tf.Tensor:
    """Lengths of the intervals that begin at each time, ``[..., T]``; that of the last is zero.

    Differences are taken in the dtype of ``times``: those of large float64 times stay exact in a
    float32 model.

    Raises:
      ValueError: ``times`` is no array of real numbers with an axis of time.
      tf.errors.InvalidArgumentError: times decrease, or are not finite.
    """
    if not tf.is_tensor(times):
        try:
            times = np.asarray(times)
            times = tf.convert_to_tensor(times if times.dtype == np.float32 else np.float64(times))
        except (TypeError, ValueError) as error:
            raise ValueError(f"{op}: times is not an array of numbers: {error}") from None
    if times.dtype.is_integer:
        times = tf.cast(times, tf.float64)
    if times.dtype not in (tf.float32, tf.float64):
        raise ValueError(f"{op}: times is {times.dtype.name}; it must be float32 or float64.")
    times = with_rank(op, "times", times, 1, "[..., T]")
    steps = times[..., 1:] - times[..., :-1]
    steps = tf.concat([steps, tf.zeros_like(times[..., :1])], axis=-1)
    fine = tf.reduce_all(steps >= 0) & tf.reduce_all(tf.math.is_finite(times))
    message = f"{op}: times must be finite and must not decrease along their last axis."
    return tf.cast(require(fine, message, steps), dtype)


def discretise(op: str, drift, diffusion, offset, intervals):
    """Moments of dx = (A x + c) dt + B dW over intervals of length h:

        F = exp(A h),   G G' = int_0^h exp(A s) B B' exp(A' s) ds,   b = int_0^h exp(A s) c ds

    The textbook's exponential of [[-A, BB'], [0, A']] (Van Loan, IEEE TAC 23(3), 1978) overflows in
    exp(-A h) for stable stiff A, and its Q need not be semidefinite. Instead:

    1. A step h 2^-j with |A| h 2^-j <= 1/2 is short enough for Taylor's series of exp(A s), and for
       Gauss's quadrature of Q. The weights w_i being positive, the matrix of all
       sqrt(w_i) exp(A s_i) B is a square root of Q: Q itself is never formed, and row i of G keeps
       its accuracy where Q has entries of the order h^(2i+1).
    2. j times: G <- lq([G, F G]), b <- b + F b, F <- F F.
    3. F is kept as E = F - I, for which F F - I = 2 E + E E: squaring F would double, each time,
       the error of modes that are slow beside |A|.

    Args:
      op: the function to name in messages.
      drift: A, ``[..., n, n]``.
      diffusion: B, ``[..., n, w]``.
      offset: c, ``[..., n]``, or None for zero.
      intervals: h, ``[..., T]``, none negative; the batch axes of all broadcast.

    Returns:
      F ``[..., T, n, n]``, lower-triangular G ``[..., T, n, n]`` (without columns if w is 0), and b
      ``[..., T, n]`` or None. G is zero where h is, and its derivative for h counts as zero there,
      which of sqrt(h) is infinite. All is NaN where |A| h > 2^62.

    Raises:
      ValueError: shapes do not fit.
    """
    n = _check(op, drift, diffusion, offset)
    # Rows of exp(A s) B may begin with any power up to n - 1, as in a chain of integrators: by so
    # much are the degrees larger than what one state needs for an error below 2^-53. (Of a chain
    # of more than twenty, the longest rows are zero beside all others.)
    num_terms, num_nodes = min(n, 20) + 15, min(n, 20) + 5
    norm = tf.stop_gradient(tf.reduce_max(tf.reduce_sum(tf.abs(drift), axis=-1), axis=-1))
    norm = tf.where(norm > 0, norm, tf.ones_like(norm))[..., tf.newaxis]  # NaN: nothing to scale
    drift = drift / norm[..., tf.newaxis]
    doublings = _doublings(tf.stop_gradient(norm * intervals))
    step = intervals * tf.pow(tf.constant(2.0, intervals.dtype), -doublings)
    step = tf.where(doublings < _MOST_DOUBLINGS, step, tf.constant(math.nan, step.dtype))
    powers = _powers(norm * step, num_terms)

    factorial = np.array([math.factorial(k) for k in range(num_terms + 1)], np.float64)
    by_term = tf.constant(1 / factorial[:, np.newaxis, np.newaxis], drift.dtype)
    e = _sum(powers[..., 1:], _krylov(drift, drift, num_terms - 1) * by_term[1:-1])
    nodes, weights = np.polynomial.legendre.leggauss(num_nodes)  # on (-1, 1)
    at_nodes = ((nodes + 1) / 2) ** np.arange(num_terms)[:, np.newaxis] / factorial[:-1, np.newaxis]
    series = _at_nodes(_krylov(drift, diffusion, num_terms), np.sqrt(weights / 2) * at_nodes)
    g = _sqrt(step)[..., tf.newaxis, tf.newaxis] * lq(_sum(powers, series), mode="l")
    b = tf.zeros_like(e[..., :0])
    if offset is not None:
        series = _krylov(drift, offset[..., tf.newaxis], num_terms) * by_term[1:]
        b = step[..., tf.newaxis, tf.newaxis] * _sum(powers, series)
    e, g, b = _double(doublings, e, g, b)
    return e + tf.eye(n, dtype=e.dtype), g, None if offset is None else b[..., 0]


def _double(doublings, e, g, b):
    """Steps 2 and 3 of ``discretise``, each interval as often as it needs."""
    rounds = tf.reduce_max(tf.concat([tf.reshape(doublings, [-1]), [0]], 0))

    def body(i, e, g, b):
        active = (i < doublings)[..., tf.newaxis, tf.newaxis]
        twice = lq(tf.concat([g, gemm(e, g, g)], axis=-1), mode="l")
        doubled = (gemm(e, e, e, beta=2.0), twice, gemm(e, b, b, beta=2.0))
        kept = [tf.where(active, x, old) for x, old in zip(doubled, (e, g, b), strict=True)]
        return i + 1, *(with_shape(x, old.shape) for x, old in zip(kept, (e, g, b), strict=True))

    start = (tf.zeros([], doublings.dtype), e, g, b)
    _, *doubled = tf.while_loop(
        lambda i, *_: i < rounds, body, start, maximum_iterations=_MOST_DOUBLINGS
    )
    return doubled


def _doublings(size):
    """j with size 2^-j <= 1/2, as floats; at most ``_MOST_DOUBLINGS``, and 0 for NaN."""
    j = tf.math.ceil(tf.math.log(size) / math.log(2.0)) + 1
    return tf.where(size > 0.5, tf.minimum(j, _MOST_DOUBLINGS), tf.zeros_like(size))


def _powers(x, count):
    """x^0 ... x^(count - 1), along a new last axis."""
    powers = [tf.ones_like(x)]
    for _ in range(count - 1):
        powers.append(powers[-1] * x)
    return tf.stack(powers, axis=-1)


def _krylov(a, x, count):
    """X, A X, ... A^(count - 1) X: ``[..., count, n, columns]``."""
    a, x = broadcast_batches([a, x], [2, 2])
    terms = [x]
    for _ in range(count - 1):
        terms.append(gemm(a, terms[-1]))
    return tf.stack(terms, axis=-3)


def _at_nodes(series, coefficients):
    """Series ``[..., terms, n, w]`` at each node: ``[..., terms, n, nodes * w or n]``.

    Zeros fill it up to n columns, so that its LQ factor is square before and after doubling.
    """
    n, w = series.shape[-2:]
    num_terms, num_nodes = coefficients.shape
    coefficients = tf.constant(coefficients.reshape(num_terms, 1, num_nodes, 1), series.dtype)
    series = _replace_axes(series[..., tf.newaxis, :] * coefficients, 3, [n, num_nodes * w])
    spare = max(n - num_nodes * w, 0) if w else 0
    return tf.pad(series, [[0, 0]] * (series.shape.rank - 1) + [[0, spare]])


def _sum(powers, series):
    """sum_k powers_k series_k for powers ``[..., T, terms]``: ``[..., T, n, columns]``."""
    n, columns = series.shape[-2:]
    flat = _replace_axes(series, 2, [n * columns])
    return _replace_axes(gemm(powers, flat), 1, [n, columns])


def _replace_axes(x, count, sizes):
    """Reshapes the last ``count`` axes."""
    known = x.shape[: x.shape.rank - count].concatenate(sizes)
    return with_shape(tf.reshape(x, tf.concat([tf.shape(x)[:-count], sizes], 0)), known)


def _sqrt(x):
    """The square root, with derivative 0 at 0."""
    zero = tf.equal(x, 0)
    return tf.where(zero, tf.zeros_like(x), tf.sqrt(tf.where(zero, tf.ones_like(x), x)))


def _check(op, drift, diffusion, offset):
    """Checks the shapes against each other; returns n."""
    drift_shape, shape = drift.shape, diffusion.shape
    if drift_shape.rank is None or drift_shape.rank < 2 or drift_shape[-1] is None:
        raise ValueError(
            f"{op}: drift has shape {drift_shape}; it must be [..., n, n] with n known statically."
        )
    check_square(op, "drift", drift)
    n = drift_shape[-1]
    if shape.rank is None or shape.rank < 2 or shape[-2] != n or shape[-1] is None:
        raise ValueError(
            f"{op}: diffusion has shape {shape}; it must be [..., n, w] with n = {n}, as drift "
            f"{drift_shape} says, and w known statically."
        )
    if offset is not None and offset.shape[-1:] != [n]:
        raise ValueError(
            f"{op}: drift_offset has shape {offset.shape}; it must be [..., n] with n = {n}, as "
            f"drift {drift_shape} says."
        )
    return n
