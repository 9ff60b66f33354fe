"""Functions of symmetric matrices, with gradients that repeated eigenvalues do not disturb."""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from statespace import native
from statespace.linalg_ops.arguments import check_choice, check_square, to_matrices
from statespace.linalg_ops.eigh import cluster_width, eigh_reference
from statespace.linalg_ops.failure import (
    ON_FAILURE,
    all_zero,
    append_axes,
    raise_where_failed,
    spoil,
)

NAMES = ("sqrt", "inv_sqrt", "log", "exp", "power")
NO_VALUE = "has eigenvalues at which the function has no finite value; how many:"


def matrix_function(a, name, *, power=None, on_failure="nan", return_info=False):
    """f(A) = V diag(f(lambda)) V' for symmetric A = V diag(lambda) V'.

    Args:
      a: ``[..., n, n]``, float32 or float64. Only the lower triangle is read.
      name: f: "sqrt", "inv_sqrt", "log", "exp" or "power".
      power: the exponent of "power", a Python number; of no other f.
      on_failure: what a matrix does at one of whose eigenvalues f has no finite value, such as the
        logarithm of a singular matrix. "nan": it becomes NaN throughout, its neighbours are
        untouched, and a zero cotangent into it gives a zero gradient. "raise":
        ``InvalidArgumentError``; inside XLA, which cannot raise, as "nan".
      return_info: also return the status.

    Returns:
      f(A) ``[..., n, n]``, symmetric. With ``return_info``, the pair of f(A) and an int32
      ``[...]``: 0, or at how many eigenvalues f has no finite value (n for a NaN or an infinity in
      A).

    For "sqrt", and for "power" with a positive exponent that is no whole number, eigenvalues that
    are negative by rounding alone (down to -4 n epsilon times the largest) count as zero.

    The gradient is symmetric-valued, ``V (F o V' f_bar V) V'`` with F the divided differences
    ``(f(lambda_i) - f(lambda_j)) / (lambda_i - lambda_j)``, or f' where these are equal. They are
    computed without cancellation: exact for repeated eigenvalues and close ones, and so is the
    second derivative. Where f'(lambda) is infinite, as of "sqrt" at a singular matrix, a non-zero
    cotangent gives NaN for that matrix.

    Raises:
      ValueError: shape or dtype of ``a``, ``name``, ``power`` or ``on_failure`` is wrong.
      tf.errors.InvalidArgumentError: f(A) does not exist and ``on_failure="raise"``.

    References:
      Higham, Functions of Matrices, SIAM 2008, theorem 3.11 (Daleckii and Krein), section 3.2.

    Example:

      >>> import tensorflow as tf
      >>> from statespace import linalg_ops
      >>> a = tf.constant([[5.0, 4.0], [4.0, 5.0]], tf.float64)
      >>> linalg_ops.matrix_function(a, "sqrt").numpy().round(12)
      array([[2., 1.],
             [1., 2.]])
    """
    (a,) = to_matrices("matrix_function", a=a)
    check_square("matrix_function", "a", a)
    check_choice("matrix_function", "name", name, NAMES)
    check_choice("matrix_function", "on_failure", on_failure, ON_FAILURE)
    number = isinstance(power, int | float | np.number) and math.isfinite(power)
    if number != (name == "power") or (power is not None and not number):
        raise ValueError(
            f"matrix_function: power is {power!r} with name={name!r}; it must be a finite number "
            'with name="power" and left out otherwise.'
        )
    f = _power(float(power)) if name == "power" else _FUNCTIONS[name]
    result, info = _evaluate(f, a)
    if on_failure == "raise":
        result, info = raise_where_failed("matrix_function", info, NO_VALUE, (result, info))
    return (result, info) if return_info else result


class _Function(NamedTuple):
    """A function of one number and its divided differences."""

    value: Callable  # x -> f(x)
    first: Callable  # low, high -> f[low, high]
    second: Callable  # low, mid, high -> f[low, mid, high]
    from_zero: bool  # lives on x >= 0, zero included


def _evaluate(f, a):
    @tf.custom_gradient
    def evaluate(a):
        eigenvalues, v, info = _factor(f, a)
        result = _sandwich(v, tf.linalg.diag(f.value(eigenvalues)))

        def gradient(result_bar, _):
            # The factors are no function of A here: `_derivative` knows its own second derivative.
            return _derivative(f, a, eigenvalues, v, info, result_bar)

        return (_spoil(result, info), info), gradient

    return evaluate(a)


def _factor(f, a):
    """Eigenvalues, eigenvectors and status; in place of a failed item, something harmless."""
    ops = native.ops()
    eigenvalues, v, info = eigh_reference(a) if ops is None else ops.statespace_eigh(a)
    if f.from_zero:
        rounding = tf.logical_and(eigenvalues < 0, eigenvalues >= -cluster_width(eigenvalues))
        eigenvalues = tf.where(rounding, tf.zeros_like(eigenvalues), eigenvalues)
    no_value = tf.logical_not(tf.math.is_finite(f.value(eigenvalues)))
    info = tf.reduce_sum(tf.cast(no_value, tf.int32), axis=-1)
    failed = info > 0
    eigenvalues = tf.where(failed[..., tf.newaxis], tf.ones_like(eigenvalues), eigenvalues)
    return eigenvalues, tf.where(append_axes(failed, v), tf.zeros_like(v), v), info


def _derivative(f, a, eigenvalues, v, info, direction):
    """Df(A)[direction], which is also the cotangent of A from that of f(A):

    1. For polynomials f, D f(A)[H] = sum of A^k H A^l; in the basis V its entry i, j is
       f[lambda_i, lambda_j] (V' H V)_ij, f[., .] the divided difference (Higham, theorem 3.11).
    2. The entries of F are symmetric in i and j, so the map H -> Df(A)[H] is its own adjoint.
    3. Again for polynomials, D2 f(A)[G, H]_ij = sum over k of
       f[lambda_i, lambda_k, lambda_j] (G_ik H_kj + H_ik G_kj), and <K, D2 f(A)[G, H]> is symmetric
       in K, G, H: that is the cotangent of A in the gradient of this function.
    4. Both hold for every smooth f, whose values and derivatives at the eigenvalues a polynomial
       matches.
    """

    @tf.custom_gradient
    def derivative(a, direction):
        symmetric = _symmetric(direction)
        f1 = f.first(*_sorted_pair(eigenvalues))
        exists = tf.reduce_all(tf.math.is_finite(f1), axis=[-2, -1])
        f1 = tf.where(append_axes(exists, f1), f1, tf.zeros_like(f1))
        result = _sandwich(v, f1 * _in_basis(v, symmetric))
        result = _spoil(result, info + tf.cast(tf.logical_not(exists), tf.int32))
        result = tf.where(all_zero(symmetric), tf.zeros_like(result), result)

        def gradient(result_bar):
            back = _symmetric(result_bar)
            second = _second_derivative(f, eigenvalues, v, info, symmetric, back)
            return second, _derivative(f, a, eigenvalues, v, info, back)

        return result, gradient

    return derivative(a, tf.convert_to_tensor(direction))


def _second_derivative(f, eigenvalues, v, info, g, h):
    """D2 f(A)[G, H]; see `_derivative`."""
    f2 = f.second(*_sorted_triple(eigenvalues))
    exists = tf.reduce_all(tf.math.is_finite(f2), axis=[-3, -2, -1])
    f2 = tf.where(append_axes(exists, f2), f2, tf.zeros_like(f2))
    g_basis, h_basis = _in_basis(v, g), _in_basis(v, h)
    half = tf.reduce_sum(
        f2 * g_basis[..., :, :, tf.newaxis] * h_basis[..., tf.newaxis, :, :], axis=-2
    )
    result = _sandwich(v, half + tf.linalg.matrix_transpose(half))
    result = _spoil(result, info + tf.cast(tf.logical_not(exists), tf.int32))
    return tf.where(all_zero(g) | all_zero(h), tf.zeros_like(result), result)


def _symmetric(x):
    return 0.5 * (x + tf.linalg.matrix_transpose(x))


def _in_basis(v, x):
    return tf.matmul(v, tf.matmul(x, v), transpose_a=True)


def _sandwich(v, x):
    return _symmetric(tf.matmul(v, tf.matmul(x, v, transpose_b=True)))


def _spoil(x, info):
    return spoil(x, info > 0)


def _sorted_pair(x):
    a, b = x[..., :, tf.newaxis], x[..., tf.newaxis, :]
    return tf.minimum(a, b), tf.maximum(a, b)


def _sorted_triple(x):
    """The low, middle and high one of x_i, x_k, x_j at [i, k, j]."""
    low, high = _sorted_pair(x)
    low, high = low[..., tf.newaxis], high[..., tf.newaxis]
    c = x[..., tf.newaxis, tf.newaxis, :]
    middle = tf.maximum(low, tf.minimum(high, c))
    return tf.minimum(low, c), middle, tf.maximum(high, c)


def _ratio(numerator, denominator, limit):
    """numerator / denominator, and ``limit`` where the denominator is zero."""
    zero = tf.equal(denominator, 0)
    return tf.where(zero, limit, numerator / tf.where(zero, tf.ones_like(denominator), denominator))


_TERMS = 20


def _series(coefficient, u, v):
    """g[0, v, u] of g(z) = sum of c_k z^k: the sum over k >= 2 of c_k h_{k-2}(v, u).

    h_k, the sum of all v^i u^(k-i), obeys h_k = u h_{k-1} + v^k.
    """
    power, h = tf.ones_like(v + u), tf.ones_like(v + u)
    result = coefficient(2) * h
    for k in range(3, _TERMS):
        power = power * v
        h = u * h + power
        result += coefficient(k) * h
    return result


def _second_difference(first, low, mid, high):
    """f[low, mid, high] by its definition: good where high and low are far from each other."""
    zero = tf.zeros_like(low + mid + high)
    return _ratio(first(mid, high) - first(low, mid), high - low + zero, zero)


def _sqrt_first(low, high):
    return 1 / (tf.sqrt(low) + tf.sqrt(high))


def _sqrt_second(low, mid, high):
    a, b, c = tf.sqrt(low), tf.sqrt(mid), tf.sqrt(high)
    return -1 / ((a + b) * (b + c) * (a + c))


def _inv_sqrt_first(low, high):
    a, b = tf.sqrt(low), tf.sqrt(high)
    return -1 / (a * b * (a + b))


def _inv_sqrt_second(low, mid, high):
    a, b, c = tf.sqrt(low), tf.sqrt(mid), tf.sqrt(high)
    return (a + b + c) / (a * b * c * (a + b) * (b + c) * (a + c))


def _exp_first(low, high):
    gap = low - high
    return tf.exp(high) * _ratio(tf.math.expm1(gap), gap, tf.ones_like(gap))


def _exp_second(low, mid, high):
    near = high - low < 1
    u = tf.where(near, low - high, tf.zeros_like(low - high))
    v = tf.where(near, mid - high, tf.zeros_like(low - high))
    series = tf.exp(high) * _series(lambda k: 1 / math.factorial(k), u, v)
    return tf.where(near, series, _second_difference(_exp_first, low, mid, high))


def _log_first(low, high):
    x = (high - low) / low
    close = x < 1
    near = _ratio(tf.math.log1p(x), x, tf.ones_like(x)) / low
    far = (tf.math.log(high) - tf.math.log(low)) / tf.where(close, high, high - low)
    return tf.where(close, near, far)


def _near(low, mid, high):
    """Whether three numbers are close, relative to their size; their relative distances if so."""
    near = high - low < tf.abs(high) / 8
    base = tf.where(near, high + tf.zeros_like(low - mid), tf.ones_like(low - mid - high))
    u = tf.where(near, (high - low) / base, tf.zeros_like(base))
    v = tf.where(near, (high - mid) / base, tf.zeros_like(base))
    return near, base, u, v


def _log_second(low, mid, high):
    near, base, u, v = _near(low, mid, high)
    series = _series(lambda k: -1 / k, u, v) / base**2
    return tf.where(near, series, _second_difference(_log_first, low, mid, high))


def _power(p):
    if p == 0:
        return _Function(
            tf.ones_like, lambda x, y: 0 * (x + y), lambda x, y, z: 0 * (x + y + z), False
        )

    def value(x):
        return tf.pow(x, tf.constant(p, x.dtype))

    def first(low, high):
        # With e^t = low / high of numbers of one sign: high^(p-1) (e^(pt) - 1) / (e^t - 1).
        same = tf.logical_and(low * tf.sign(high) >= 0, tf.not_equal(high, 0))
        big = tf.where(tf.abs(high) >= tf.abs(low), high, low)
        small = tf.where(tf.abs(high) >= tf.abs(low), low, high)
        big = tf.where(same, big, tf.ones_like(big))
        shortfall = tf.where(same, (small - big) / big, tf.zeros_like(big))
        t = tf.math.log1p(shortfall)
        one_sign = _ratio(tf.math.expm1(p * t), shortfall, p * tf.ones_like(t)) * value(big) / big
        # At zero, both: the derivative.
        at_zero = tf.cast(1.0 if p == 1 else 0.0 if p > 1 else math.inf, low.dtype)
        difference = value(high) - value(low)
        return tf.where(same, one_sign, _ratio(difference, high - low, at_zero))

    def second(low, mid, high):
        near, base, u, v = _near(low, mid, high)
        binomials = [1.0]
        for k in range(1, _TERMS):
            binomials.append(binomials[-1] * (k - 1 - p) / k)  # (-1)^k p over k
        series = _series(binomials.__getitem__, u, v) * value(base) / base**2
        far = _second_difference(first, low, mid, high)
        if p != 1 and p <= 2:  # at zero, all three: half the second derivative
            at_zero = tf.cast(1.0 if p == 2 else math.inf, far.dtype)
            far = tf.where(tf.equal(high - low, 0) & tf.equal(high, 0), at_zero, far)
        return tf.where(near, series, far)

    return _Function(value, first, second, from_zero=p > 0 and not p.is_integer())


_FUNCTIONS = {
    "sqrt": _Function(tf.sqrt, _sqrt_first, _sqrt_second, from_zero=True),
    "inv_sqrt": _Function(lambda x: 1 / tf.sqrt(x), _inv_sqrt_first, _inv_sqrt_second, False),
    "log": _Function(tf.math.log, _log_first, _log_second, False),
    "exp": _Function(tf.exp, _exp_first, _exp_second, False),
}
