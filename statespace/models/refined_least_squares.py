"""Least squares to the last digits: iterative refinement with residuals in twice the precision."""

import numpy as np
import tensorflow as tf

from statespace.linalg_ops import lq, triangular_solve
from statespace.models.regression_arguments import Observations

_MOST_STEPS = 20


def refine(a, b, weights):
    """The X that minimises the sum of weight_i (a_i X - b_i)^2, and that least sum.

    Residual and solution are corrected together, by solving

        [ I    A ] [r]   [b]
        [ A' W 0 ] [x] = [0]

    for what is left of both sides, computed in double-double arithmetic from A, b and W as they
    are: rows that were scaled by roots of weights would be rounded ones. Each step gains about as
    many digits as the first solution had, whatever the size of the residual; the steps end where
    corrections no longer become smaller.

    Args:
      a: ``[..., m, n]``, float32 or float64 array of full column rank.
      b: ``[..., m]``.
      weights: not negative, ``[..., m]``.

    Returns:
      X ``[..., n]``, and the least sum ``[...]``.

    References:
      Björck, Iterative refinement of linear least squares solutions I, BIT 7 (1967).
      Ogita, Rump & Oishi, Accurate sum and dot product, SIAM J. Sci. Comput. 26 (2005).

    Example:

      >>> import numpy as np
      >>> a = np.array([[1.0, 0.0], [1.0, 1.0], [1.0, 2.0]])
      >>> x, square = refine(a, [1.0, 3.0, 5.0], np.ones(3))
      >>> print(x, square)
      [1. 2.] 0.0
    """
    a, b, weights = np.asarray(a), np.asarray(b), np.asarray(weights)
    transposed, root = np.swapaxes(a, -1, -2), np.sqrt(weights)
    scaled = transposed * root[..., np.newaxis, :]
    l, q = lq(scaled)
    q, columns = q.numpy(), np.linalg.norm(scaled, axis=-1)
    safe = np.where(root > 0, root, np.ones_like(root))
    x, r, last = np.zeros_like(columns), np.zeros_like(b), np.inf
    for _ in range(_MOST_STEPS):
        f = _residual(np.stack([b, -r], axis=-1), a, x)
        high, low = _two_product(weights, r)
        g = _residual(-transposed * low[..., np.newaxis, :], transposed, high)
        dx, dr = _solve(l, q, root * f, g)
        dr = dr / safe
        size = np.linalg.norm(dx * columns, axis=-1, keepdims=True)
        smaller = size < 0.5 * last
        if not smaller.any():
            break
        x, r = np.where(smaller, x + dx, x), np.where(smaller, r + dr, r)
        last = np.where(smaller, size, 0.0)
    return x, (weights * r**2).sum(axis=-1)


def refined_weights(data: Observations, intercept: bool, prior_mean, prior_scale):
    """Posterior mean of weights and intercept, refined, and the distance of y.

    A prior adds a row ``w_j = mean_j`` of weight ``1 / scale_j^2`` to the design. A weight that is
    known loses its column.

    Args:
      data: as given.
      intercept: whether there is one.
      prior_mean: ``[..., D]``.
      prior_scale: in units of the noise, ``[..., D]``; infinite for a flat prior.

    Returns:
      Weights ``[..., D]``, the intercept ``[...]`` or None, and the square ``[...]`` that a
      posterior has as ``squared_distance``.
    """
    mean, scale = np.broadcast_arrays(prior_mean, prior_scale)
    known = scale == 0
    strength = np.where(known, 1.0, 1 / np.where(known, 1.0, scale)).astype(scale.dtype)
    # Its power of two goes to the row, where it rounds nothing, so that no square is too large.
    fraction, exponent = np.frexp(strength)
    power = np.ldexp(np.ones_like(strength), exponent)
    x, y = np.asarray(data.x), np.asarray(data.y)
    y = y - (x * np.where(known, mean, 0)[..., np.newaxis, :]).sum(axis=-1)
    x = np.where(known[..., np.newaxis, :], np.zeros_like(x), x)
    weights = np.broadcast_to(data.precision(), y.shape)
    below = power[..., np.newaxis] * np.eye(x.shape[-1], dtype=x.dtype)
    if intercept:
        x = np.concatenate([np.ones_like(x[..., :1]), x], axis=-1)
        below = np.concatenate([np.zeros_like(below[..., :1]), below], axis=-1)
    solution, square = refine(
        np.concatenate([x, below], axis=-2),
        np.concatenate([y, power * mean], axis=-1),
        np.concatenate([weights, fraction**2], axis=-1),
    )
    constant = tf.constant(solution[..., 0]) if intercept else None
    return tf.constant(solution[..., int(intercept) :]), constant, tf.constant(square)


def _solve(l, q, f, g):
    """x and r with r + A x = f and A' r = g, where A' = L Q."""
    h = triangular_solve(l, g[..., np.newaxis]).numpy()
    projected = q @ f[..., np.newaxis]
    x = triangular_solve(l, projected - h, adjoint=True).numpy()
    r = f[..., np.newaxis] - np.swapaxes(q, -1, -2) @ (projected - h)
    return x[..., 0], r[..., 0]


def _residual(terms, a, x):
    """The sum of terms ``[..., m, k]`` over k, less A x, rounded once."""
    high, low = _two_product(a, -x[..., np.newaxis, :])
    return _sum(np.concatenate([terms, high, low], axis=-1))


def _sum(terms):
    """The sum over the last axis, as if in twice the precision (Ogita, Rump & Oishi's Sum2).

    By halves, so that the loop is over the logarithm of their number.
    """
    error = np.zeros_like(terms[..., 0])
    while terms.shape[-1] > 1:
        if terms.shape[-1] % 2:
            terms = np.concatenate([terms, np.zeros_like(terms[..., :1])], axis=-1)
        half = terms.shape[-1] // 2
        terms, errors = _two_sum(terms[..., :half], terms[..., half:])
        error = error + errors.sum(axis=-1)
    return terms[..., 0] + error


def _two_sum(a, b):
    """a + b as rounded, and what rounding took (Knuth)."""
    total = a + b
    part = total - a
    return total, (a - (total - part)) + (b - part)


def _two_product(a, b):
    """a b as rounded, and what rounding took (Dekker)."""
    product = a * b
    (a_high, a_low), (b_high, b_low) = _split(a), _split(b)
    error = a_low * b_low - (((product - a_high * b_high) - a_low * b_high) - a_high * b_low)
    return product, error


def _split(a):
    """Two halves of the digits (Veltkamp)."""
    digits = np.finfo(a.dtype).nmant + 1
    large = np.asarray(2.0 ** ((digits + 1) // 2) + 1, a.dtype) * a
    high = large - (large - a)
    return high, a - high
