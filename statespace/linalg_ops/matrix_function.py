"""Functions of symmetric matrices, with gradients that repeated eigenvalues do not disturb."""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from statespace import native
from statespace.linalg_ops.arguments import check_choice, check_square, to_matrices
from statespace.linalg_ops.differentiation import custom_rule, op_vjp, sum_to_shape
from statespace.linalg_ops.eigh import cluster_width, eigh_reference
from statespace.linalg_ops.failure import (
    ON_FAILURE,
    all_zero,
    append_axes,
    not_finite,
    raise_where_failed,
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
    second derivative. There is no third one: it is NaN. Where f'(lambda) is infinite, as of "sqrt"
    at a singular matrix, a non-zero cotangent gives NaN for that matrix.

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
    f = _FUNCTIONS[name] if power is None else _power(float(power))
    ops = native.ops()
    if ops is None:
        result, info = _evaluate(f, a)
    else:
        exponent = tf.constant(f.exponent, a.dtype)
        result, info, _, _ = ops.statespace_matrix_function(a, exponent, **_attributes(f))
    if on_failure == "raise":
        result, info = raise_where_failed("matrix_function", info, NO_VALUE, (result, info))
    return (result, info) if return_info else result


class _Function(NamedTuple):
    """A function of one number and its divided differences."""

    name: str  # "log", "exp" or "power"
    exponent: float  # of a power
    value: Callable  # x -> f(x)
    first: Callable  # low, high -> f[low, high]
    second: Callable  # low, mid, high -> f[low, mid, high]
    from_zero: bool  # lives on x >= 0, zero included


def _attributes(f):
    return {"logarithm": f.name == "log", "exponential": f.name == "exp"}


def _evaluate(f, a):
    """f(A) and the status, in plain TensorFlow, with the gradient of ``_derivative``."""

    @custom_rule
    def evaluate(a):
        eigenvalues, v, info = _factor(f, a)
        result = _sandwich(v, tf.linalg.diag(f.value(eigenvalues)))
        result = _spoil(result, info > 0)

        def gradient(result_bar, _):
            # The factors are no function of A here: `_derivative` knows its own second derivative.
            return _derivative(f, a, eigenvalues, v, result_bar)

        return (result, info), gradient

    return evaluate(a)


def _factor(f, a):
    """Eigenvalues, eigenvectors and status; failed items NaN."""
    eigenvalues, v, _ = eigh_reference(a)
    if f.from_zero:
        rounding = tf.logical_and(eigenvalues < 0, eigenvalues >= -cluster_width(eigenvalues))
        eigenvalues = tf.where(rounding, tf.zeros_like(eigenvalues), eigenvalues)
    no_value = tf.logical_not(tf.math.is_finite(f.value(eigenvalues)))
    info = tf.reduce_sum(tf.cast(no_value, tf.int32), axis=-1)
    return _spoil(eigenvalues, info > 0), _spoil(v, info > 0), info


def _usable(eigenvalues, v):
    """In place of failed items something harmless; and which failed."""
    failed = tf.reduce_any(tf.math.is_nan(v), axis=[-2, -1])
    eigenvalues = tf.where(failed[..., tf.newaxis], tf.ones_like(eigenvalues), eigenvalues)
    return eigenvalues, tf.where(append_axes(failed, v), tf.zeros_like(v), v), failed


def _derivative(f, a, eigenvalues, v, direction):
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

    @custom_rule
    def derivative(a, eigenvalues, v, direction):
        def gradient(result_bar):
            second = _second_derivative(f, a, eigenvalues, v, direction, result_bar)
            return second, None, None, _derivative(f, a, eigenvalues, v, result_bar)

        safe, basis, failed = _usable(eigenvalues, v)
        symmetric = _symmetric(direction)
        f1 = f.first(*_sorted_pair(safe))
        failed |= not_finite(f1)
        f1 = tf.where(append_axes(failed, f1), tf.zeros_like(f1), f1)
        result = _spoil(_sandwich(basis, f1 * _in_basis(basis, symmetric)), failed)
        return tf.where(all_zero(symmetric), tf.zeros_like(result), result), gradient

    return derivative(a, eigenvalues, v, tf.convert_to_tensor(direction))


def _second_derivative(f, a, eigenvalues, v, g, h):
    """D2 f(A)[G, H], symmetric in G and H; see `_derivative`. Its own derivative by A is NaN."""

    @custom_rule
    def second_derivative(a, eigenvalues, v, g, h):
        def gradient(result_bar):
            k = _symmetric(result_bar)
            unknown = tf.where(all_zero(k), k, tf.constant(float("nan"), k.dtype))
            by_g = _second_derivative(f, a, eigenvalues, v, h, k)
            return unknown, None, None, by_g, _second_derivative(f, a, eigenvalues, v, g, k)

        safe, basis, failed = _usable(eigenvalues, v)
        g, h = _symmetric(g), _symmetric(h)
        f2 = f.second(*_sorted_triple(safe))
        failed |= tf.logical_not(tf.reduce_all(tf.math.is_finite(f2), axis=[-3, -2, -1]))
        f2 = tf.where(append_axes(failed, f2), tf.zeros_like(f2), f2)
        g_basis, h_basis = _in_basis(basis, g), _in_basis(basis, h)
        half = tf.reduce_sum(
            f2 * g_basis[..., :, :, tf.newaxis] * h_basis[..., tf.newaxis, :, :], axis=-2
        )
        result = _spoil(_sandwich(basis, half + tf.linalg.matrix_transpose(half)), failed)
        return tf.where(all_zero(g) | all_zero(h), tf.zeros_like(result), result), gradient

    return second_derivative(a, eigenvalues, v, tf.convert_to_tensor(g), tf.convert_to_tensor(h))


@tf.RegisterGradient("StatespaceMatrixFunction")
def _gradient(op, result_bar, *_):
    a, exponent = op.inputs
    attributes = {name: op.get_attr(name) for name in ("logarithm", "exponential")}
    gradient = native.library().statespace_matrix_function_grad
    a_bar = gradient(a, exponent, *op.outputs[2:], result_bar, **attributes)
    return sum_to_shape(a_bar, a), None


@tf.RegisterGradient("StatespaceMatrixFunctionGrad")
def _gradient_of_gradient(op, result_bar):
    logarithm, exponential = (op.get_attr(name) for name in ("logarithm", "exponential"))

    def derivative(a, exponent, eigenvalues, v, direction):
        name = "log" if logarithm else "exp"
        f = _FUNCTIONS[name] if logarithm or exponential else _power(exponent)
        return _derivative(f, a, eigenvalues, v, direction)

    return op_vjp(op, derivative, [result_bar])


def _symmetric(x):
    return 0.5 * (x + tf.linalg.matrix_transpose(x))


def _in_basis(v, x):
    return tf.matmul(v, tf.matmul(x, v), transpose_a=True)


def _sandwich(v, x):
    return _symmetric(tf.matmul(v, tf.matmul(x, v, transpose_b=True)))


def _spoil(x, failed):
    return tf.where(append_axes(failed, x), tf.constant(float("nan"), x.dtype), x)


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
    """x^p; p is a number, or a tensor with the batch axes of what the functions are given."""

    def exponent(like):
        return append_axes(tf.convert_to_tensor(p, like.dtype), like)

    def value(x):
        return tf.pow(x, exponent(x))

    def first(low, high):
        # With e^t = low / high of numbers of one sign: high^(p-1) (e^(pt) - 1) / (e^t - 1).
        q = exponent(low + high)
        same = tf.logical_and(low * tf.sign(high) >= 0, tf.not_equal(high, 0))
        big = tf.where(tf.abs(high) >= tf.abs(low), high, low)
        small = tf.where(tf.abs(high) >= tf.abs(low), low, high)
        big = tf.where(same, big, tf.ones_like(big))
        shortfall = tf.where(same, (small - big) / big, tf.zeros_like(big))
        t = tf.math.log1p(shortfall)
        one_sign = _ratio(tf.math.expm1(q * t), shortfall, q * tf.ones_like(t)) * value(big) / big
        difference = value(high) - value(low)
        at_zero = _coefficient_at_zero(q, 1)
        return tf.where(same, one_sign, _ratio(difference, high - low, at_zero))

    def second(low, mid, high):
        near, base, u, v = _near(low, mid, high)
        q = exponent(base)
        binomials = [tf.ones_like(q)]
        for k in range(1, _TERMS):
            binomials.append(binomials[-1] * (k - 1 - q) / k)  # (-1)^k q over k
        series = _series(binomials.__getitem__, u, v) * value(base) / base**2
        far = _second_difference(first, low, mid, high)
        zero = tf.equal(high - low, 0) & tf.equal(high, 0)
        far = tf.where(zero, _coefficient_at_zero(q, 2), far)
        return tf.where(near, series, far)

    whole = not tf.is_tensor(p) and p.is_integer()
    return _Function(
        "power", p, value, first, second, from_zero=not tf.is_tensor(p) and p > 0 and not whole
    )


def _coefficient_at_zero(p, k):
    """The k-th Taylor coefficient of x^p at zero: 1 for p = k, 0 if p is larger or a lower one."""
    zero, infinite = tf.zeros_like(p), tf.constant(math.inf, p.dtype)
    lower = tf.reduce_any([tf.equal(p, i) for i in range(k)], axis=0)
    return tf.where(tf.equal(p, k), tf.ones_like(p), tf.where((p > k) | lower, zero, infinite))


_FUNCTIONS = {
    "sqrt": _Function("power", 0.5, tf.sqrt, _sqrt_first, _sqrt_second, from_zero=True),
    "inv_sqrt": _Function(
        "power", -0.5, lambda x: 1 / tf.sqrt(x), _inv_sqrt_first, _inv_sqrt_second, False
    ),
    "log": _Function("log", 0.0, tf.math.log, _log_first, _log_second, False),
    "exp": _Function("exp", 0.0, tf.exp, _exp_first, _exp_second, False),
}
