"""Cholesky factorisation of positive semidefinite matrices."""

import numpy as np
import tensorflow as tf

from statespace import native
from statespace.linalg_ops.arguments import check_choice, check_square, to_matrices, with_shape
from statespace.linalg_ops.cholesky import copyltu, sandwich
from statespace.linalg_ops.differentiation import custom_rule, op_vjp
from statespace.linalg_ops.failure import ON_FAILURE, all_zero, raise_where_failed, spoil_used
from statespace.linalg_ops.triangular import solve_reference, triangle

NOT_SEMIDEFINITE = "is not positive semidefinite; leading minor"


def psd_cholesky(a, *, on_failure="nan", return_info=False):
    """Lower-triangular L with A = L L' for semidefinite A: a zero pivot gives a zero column.

    Args:
      a: ``[..., n, n]``, float32 or float64. Only the lower triangle is read.
      on_failure: what a matrix that is not positive semidefinite does. "nan": its factor becomes
        NaN throughout. "raise": ``InvalidArgumentError``; inside XLA, which cannot raise, as "nan".
      return_info: also return the status.

    Returns:
      L ``[..., n, n]``, zero above the diagonal, non-negative on it. With ``return_info``, the pair
      of L and an int32 ``[...]``: 0, or the (1-based) leading minor that is negative.

    There is no pivoting. What is left of a column counts as zero if its pivot is within 8 n eps
    a_jj of zero, or if pivot and column cannot belong to a semidefinite matrix and are no larger
    than what rounding of A can have brought there: for the pivot, 4 n eps (sqrt(a_jj) +
    sum_k abs(w_k) sqrt(a_kk))^2, where w expresses row j by the rows before it, but no more than
    eps^(1/3) a_jj. If they are larger, the matrix is refused. So where leading rows are nearly
    dependent, what is lost may be far above eps times the size of A. Prefer float64, or ``lq`` of a
    square root of A, for matrices whose rank is not plain to see.

    The gradient is that of ``cholesky`` where A is positive definite. L is not differentiable at a
    singular A; there the gradient is finite, and exact along directions in which the rank and the
    place of the zero pivots do not change.

    Raises:
      ValueError: shape or dtype of ``a``, or ``on_failure``, is wrong.
      tf.errors.InvalidArgumentError: a factorisation failed and ``on_failure="raise"``.

    References:
      Higham, Analysis of the Cholesky decomposition of a semi-definite matrix, in: Cox & Hammarling
      (eds.), Reliable Numerical Computation, Oxford University Press, 1990.

    Example:

      >>> import tensorflow as tf
      >>> from statespace import linalg_ops
      >>> linalg_ops.psd_cholesky(tf.constant([[4.0, 2.0], [2.0, 1.0]])).numpy()
      array([[2., 0.],
             [1., 0.]], dtype=float32)
    """
    (a,) = to_matrices("psd_cholesky", a=a)
    check_square("psd_cholesky", "a", a)
    check_choice("psd_cholesky", "on_failure", on_failure, ON_FAILURE)
    ops = native.ops()
    l, info = psd_cholesky_reference(a) if ops is None else ops.statespace_psd_cholesky(a)
    if on_failure == "raise":
        l, info = raise_where_failed("psd_cholesky", info, NOT_SEMIDEFINITE, (l, info))
    return (l, info) if return_info else l


def factor_by_columns(a):
    """L and status of ``[..., n, n]``, column by column, in plain TensorFlow."""
    n = tf.shape(a)[-1]
    rows = tf.range(n)
    diagonal = tf.linalg.diag_part(a)
    roots = tf.sqrt(tf.abs(diagonal))
    eps = np.finfo(a.dtype.as_numpy_dtype).eps

    def sensitivity(j, l):
        row = tf.gather(l, j, axis=-2)[..., tf.newaxis]
        pivots = tf.linalg.diag_part(l)
        full = tf.linalg.set_diag(l, tf.where(pivots > 0, pivots, tf.ones_like(pivots)))
        w = tf.abs(tf.linalg.triangular_solve(full, row, adjoint=True)[..., 0])
        return tf.gather(roots, j, axis=-1) + tf.reduce_sum(w * roots, axis=-1)

    def column(j, left, l, info):
        below = rows > j
        column = tf.where(rows >= j, tf.gather(left, j, axis=-1), tf.zeros_like(diagonal))
        pivot, original = tf.gather(column, j, axis=-1), tf.gather(diagonal, j, axis=-1)
        size = tf.abs(pivot)
        positive = tf.logical_and(pivot > 0, tf.math.is_finite(pivot))
        bound = tf.sqrt(size)[..., tf.newaxis] * tf.sqrt(tf.linalg.diag_part(left))
        consistent = tf.reduce_all((tf.abs(column) <= bound) | ~below, axis=-1)
        negligible = 8.0 * tf.cast(n, a.dtype) * eps * original
        tolerance = 4.0 * tf.cast(n, a.dtype) * eps * tf.square(sensitivity(j, l))
        tolerance = tf.maximum(tolerance, negligible)
        noise = (size <= negligible) | ~(positive & consistent)
        zero = noise & (size <= tf.minimum(tolerance, np.cbrt(eps) * original))
        zero = zero & tf.math.is_finite(pivot)
        bound = tf.sqrt(tolerance)[..., tf.newaxis] * roots
        small = tf.reduce_all((tf.abs(column) <= bound) | ~below, axis=-1)
        ok = tf.where(zero, small, positive)
        info = tf.where(tf.logical_not(ok) & (info == 0), j + 1, info)
        inverse = tf.math.rsqrt(tf.where(positive & ~zero, pivot, tf.ones_like(pivot)))
        inverse = tf.where(zero, tf.zeros_like(inverse), inverse)
        column = column * inverse[..., tf.newaxis]
        unit = tf.one_hot(j, n, dtype=a.dtype)
        left = left - column[..., :, tf.newaxis] * column[..., tf.newaxis, :]
        l = with_shape(l + column[..., :, tf.newaxis] * unit, a.shape)
        return j + 1, with_shape(left, a.shape), l, with_shape(info, a.shape[:-2])

    info = with_shape(tf.zeros(tf.shape(a)[:-2], tf.int32), a.shape[:-2])
    start = (0, a, tf.zeros_like(a), info)
    _, _, l, info = tf.while_loop(lambda j, *_: j < n, column, start, maximum_iterations=n)
    return l, info


@custom_rule
def psd_cholesky_reference(a):
    """L and status of ``[..., n, n]``, with the gradient of ``adjoint_reference``."""
    l, info = factor_by_columns(a)
    failed = info > 0
    l = tf.where(failed[..., tf.newaxis, tf.newaxis], tf.constant(float("nan"), a.dtype), l)

    def gradient(l_bar, _):
        return adjoint_reference(psd_cholesky_reference(a)[0], l_bar)

    return (l, info), gradient


def adjoint_reference(l, l_bar):
    """Cotangent of A from that of L, for changes of A that keep the zero pivots:

    1. Let E be the rows with a zero pivot and K the others. L_K, rows and columns K, is the factor
       of A_KK, and L_E = A_EK L_K^-T; the columns E of L are zero and stay so.
    2. A_EK_bar = L_E_bar L_K^-1, half of which goes to either triangle.
    3. dL_E = (dA_EK - L_E dL_K') L_K^-T, so L_K gets -L_K^-T L_E_bar' L_E on top of L_K_bar, and
       A_KK_bar = L_K^-T copyltu(L_K' L_K_bar - L_E_bar' L_E) L_K^-1 / 2.
    4. L_K^-1, zero elsewhere, is the inverse of L with ones for the zero pivots, applied to
       matrices that are zero in the rows and columns E.
    """
    failed = tf.reduce_any(tf.math.is_nan(l), axis=[-2, -1])
    identity = tf.eye(tf.shape(l)[-1], dtype=l.dtype)
    unit = tf.equal(identity, 1)
    usable = tf.where(failed[..., tf.newaxis, tf.newaxis], identity, l)
    zero = tf.reduce_any(unit & tf.equal(usable, 0), axis=-1, keepdims=True)
    zero_column = tf.linalg.matrix_transpose(zero)
    full = tf.where(unit & zero, identity, usable)
    lower = triangle(l_bar, lower=True)
    below = tf.where(unit, tf.zeros_like(lower), lower)
    left, right = tf.where(zero, -below, usable), tf.where(zero, usable, lower)
    inner = copyltu(tf.matmul(left, right, transpose_a=True))
    nothing = tf.zeros_like(inner)
    dependent = tf.where(zero & tf.logical_not(zero_column), below, nothing)
    dependent = tf.linalg.matrix_transpose(dependent)
    dependent = 0.5 * solve_reference(full, dependent, lower=True, adjoint=True)
    a_bar = 0.5 * sandwich(full, tf.where(zero | zero_column, nothing, inner))
    a_bar += dependent + tf.linalg.matrix_transpose(dependent)
    return spoil_used(a_bar, failed, all_zero(l_bar))


@tf.RegisterGradient("StatespacePsdCholesky")
def _gradient(op, l_bar, _):
    return native.library().statespace_psd_cholesky_grad(op.outputs[0], l_bar)


@tf.RegisterGradient("StatespacePsdCholeskyGrad")
def _gradient_of_gradient(op, a_bar_bar):
    return op_vjp(op, adjoint_reference, [a_bar_bar])
