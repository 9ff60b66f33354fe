"""Inverses and determinants of general square matrices."""

import numpy as np
import tensorflow as tf

from statespace import native
from statespace.linalg_ops.arguments import check_choice, check_square, to_matrices, with_shape
from statespace.linalg_ops.differentiation import custom_rule, op_vjp
from statespace.linalg_ops.failure import (
    ON_FAILURE,
    all_zero,
    append_axes,
    not_finite,
    raise_where_failed,
    spoil,
)

SINGULAR = "is singular or not finite; pivot"


def det(a):
    """Determinant of a square matrix.

    Args:
      a: ``[..., n, n]``, float32 or float64.

    Returns:
      ``[...]``: exact zero where a pivot vanishes; NaN where A is not finite. Products of pivots do
      not over- or underflow on the way.

    The gradient is the matrix of cofactors, det(A) A^-T where A has an inverse. It is right at
    singular matrices too, where it does not vanish if the rank is n - 1.

    Raises:
      ValueError: shape or dtype of ``a`` is wrong.

    References:
      Giles, Collected matrix derivative results for forward and reverse mode algorithmic
      differentiation, 2008, section 2.2.4. Stewart, On the adjugate matrix, Linear Algebra and its
      Applications 283, 1998.

    Example:

      >>> import tensorflow as tf
      >>> from statespace import linalg_ops
      >>> a = tf.Variable([[1.0, 2.0], [2.0, 4.0]])
      >>> with tf.GradientTape() as tape:
      ...     d = linalg_ops.det(a)
      >>> float(d), tape.gradient(d, a).numpy()
      (0.0, array([[ 4., -2.],
             [-2.,  1.]], dtype=float32))
    """
    (a,) = to_matrices("det", a=a)
    check_square("det", "a", a)
    ops = native.ops()
    return det_reference(a) if ops is None else ops.statespace_determinant(a)


def inverse(a, *, on_failure="nan", return_info=False):
    """Inverse of a square matrix, by LU factorisation with row exchanges.

    To solve a system, do not form the inverse.

    Args:
      a: ``[..., n, n]``, float32 or float64.
      on_failure: what a singular matrix does, that is, one of whose pivots is exactly zero (as in
        LAPACK's getri), or that is not finite. "nan": its inverse becomes NaN throughout, its
        neighbours are untouched, and a zero cotangent into it gives a zero gradient. "raise":
        ``InvalidArgumentError``; inside XLA, which cannot raise, as "nan".
      return_info: also return the status.

    Returns:
      ``[..., n, n]``. With ``return_info``, the pair of that and an int32 ``[...]``: 0, the
      (1-based) pivot that vanished, or n + 1 for a matrix with a NaN or an infinity.

    Raises:
      ValueError: shape or dtype of ``a``, or ``on_failure``, is wrong.
      tf.errors.InvalidArgumentError: a matrix is singular and ``on_failure="raise"``.

    References:
      Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., section 14.3.

    Example:

      >>> import tensorflow as tf
      >>> from statespace import linalg_ops
      >>> linalg_ops.inverse(tf.constant([[0.0, 2.0], [4.0, 0.0]])).numpy()
      array([[0.  , 0.25],
             [0.5 , 0.  ]], dtype=float32)
    """
    (a,) = to_matrices("inverse", a=a)
    check_square("inverse", "a", a)
    check_choice("inverse", "on_failure", on_failure, ON_FAILURE)
    ops = native.ops()
    x, info = inverse_reference(a) if ops is None else ops.statespace_inverse(a)
    if on_failure == "raise":
        x, info = raise_where_failed("inverse", info, SINGULAR, (x, info))
    return (x, info) if return_info else x


def slogdet(a):
    """Sign of the determinant of a square matrix, and the logarithm of its absolute value.

    Args:
      a: ``[..., n, n]``, float32 or float64.

    Returns:
      Pair of ``[...]``: sign, -1, 0 or 1, and logarithm; 0 and -infinity where a pivot vanishes,
      NaN where A is not finite.

    The gradient of the logarithm is A^-T; at a matrix that has no inverse a non-zero cotangent
    gives NaN for that matrix. The sign has gradient zero.

    Raises:
      ValueError: shape or dtype of ``a`` is wrong.

    References:
      Giles, Collected matrix derivative results for forward and reverse mode algorithmic
      differentiation, 2008, section 2.2.4.

    Example:

      >>> import tensorflow as tf
      >>> from statespace import linalg_ops
      >>> sign, log_size = linalg_ops.slogdet(-1e-200 * tf.eye(3, dtype=tf.float64))
      >>> float(sign), round(float(log_size), 6)
      (-1.0, -1381.551056)
    """
    (a,) = to_matrices("slogdet", a=a)
    check_square("slogdet", "a", a)
    ops = native.ops()
    return slogdet_reference(a) if ops is None else tuple(ops.statespace_log_determinant(a))


def _safe(a):
    """Which items are not finite, and ``a`` with the identity in their place."""
    failed = not_finite(a)
    return failed, tf.where(append_axes(failed, a), tf.eye(tf.shape(a)[-1], dtype=a.dtype), a)


def eliminate(a):
    """Inverse, status, sign and log |det| of finite ``[..., n, n]``, in plain TensorFlow.

    Gauss-Jordan elimination with row exchanges, all items side by side: step j divides row j of
    [A I] by its pivot and takes multiples of it from all other rows.
    """
    n = tf.shape(a)[-1]
    index = tf.range(n)
    batch = tf.reduce_sum(tf.zeros_like(a), axis=[-2, -1])

    def step(j, x, info, sign, log_size):
        column = tf.gather(x, j, axis=-1)
        size = tf.where(index >= j, tf.abs(column), -tf.ones_like(column))
        p = tf.argmax(size, axis=-1, output_type=tf.int32)[..., tf.newaxis]
        chosen = (index == p)[..., tf.newaxis]
        row_p = tf.reduce_sum(tf.where(chosen, x, tf.zeros_like(x)), axis=-2, keepdims=True)
        row_j = tf.gather(x, j, axis=-2)[..., tf.newaxis, :]
        x = tf.where((index == j)[:, tf.newaxis], row_p, tf.where(chosen, row_j, x))
        column = tf.gather(x, j, axis=-1)[..., tf.newaxis]
        pivot = tf.gather(column[..., 0], j, axis=-1)
        zero = tf.equal(pivot, 0)
        info = tf.where(zero & (info == 0), j + 1, info)
        sign = tf.where(p[..., 0] == j, sign, -sign) * tf.sign(pivot)
        log_size = log_size + tf.math.log(tf.abs(pivot))
        row = tf.gather(x, j, axis=-2) / tf.where(zero, tf.ones_like(pivot), pivot)[..., tf.newaxis]
        row = row[..., tf.newaxis, :]
        x = tf.where((index == j)[:, tf.newaxis], row, x - column * row)
        return j + 1, *map(with_shape, (x, info, sign, log_size), shapes)

    identity = tf.broadcast_to(tf.eye(n, dtype=a.dtype), tf.shape(a))
    start = (tf.concat([a, identity], -1), tf.cast(batch, tf.int32), batch + 1, batch)
    shapes = [x.shape for x in start]
    _, x, info, sign, log_size = tf.while_loop(
        lambda j, *_: j < n, step, (0, *start), maximum_iterations=n
    )
    singular = info > 0
    log_size = tf.where(singular, -tf.constant(float("inf"), a.dtype), log_size)
    return x[..., n:], info, tf.where(singular, tf.zeros_like(sign), sign), log_size


@custom_rule
def inverse_reference(a):
    """Inverse and status of ``[..., n, n]``, with the gradient of ``inverse_adjoint_reference``."""
    failed, safe = _safe(a)
    x, info, _, _ = eliminate(safe)
    info = tf.where(failed, tf.shape(a)[-1] + 1, info)

    def gradient(x_bar, _):
        return inverse_adjoint_reference(inverse_reference(a)[0], x_bar)

    return (spoil(x, info > 0), info), gradient


def inverse_adjoint_reference(x, x_bar):
    """Cotangent of A from that of its inverse X (Giles, section 2.2.3):

    1. d(A X) = 0, so dX = -X dA X.
    2. <X_bar, dX> = <-X' X_bar X', dA>.
    """
    failed = tf.reduce_any(tf.math.is_nan(x), axis=[-2, -1])
    safe = tf.where(append_axes(failed, x), tf.zeros_like(x), x)
    x_bar = tf.convert_to_tensor(x_bar)  # it may come as slices
    a_bar = -tf.matmul(tf.matmul(safe, x_bar, transpose_a=True), safe, transpose_b=True)
    return spoil(a_bar, failed & tf.logical_not(all_zero(x_bar)[..., 0, 0]))


@custom_rule
def det_reference(a):
    """Determinant of ``[..., n, n]``, with the gradient of ``det_adjoint_reference``."""
    failed, safe = _safe(a)
    _, _, sign, log_size = eliminate(safe)
    determinant = spoil(sign * tf.exp(log_size), failed)
    return determinant, lambda det_bar: det_adjoint_reference(a, det_bar)


def det_adjoint_reference(a, det_bar):
    """Cotangent of A from that of its determinant: det_bar times the cofactors of A (Jacobi)."""
    failed, safe = _safe(a)
    det_bar = tf.convert_to_tensor(det_bar)  # it may come as slices
    a_bar = det_bar[..., tf.newaxis, tf.newaxis] * cofactors(safe)
    return spoil(a_bar, failed & tf.not_equal(det_bar, 0))


@custom_rule
def cofactors(a):
    """Cofactors C(A), the transpose of the adjugate, by singular values, exact at singular A:

    1. C(A B) = C(A) C(B), and C(U) = det(U) U for orthogonal U.
    2. So for A = U S V', C(A) = det(U) det(V) U C(S) V', where C(S) is diagonal with the products
       of all singular values but one.
    3. Likewise dC(A)[E] = det(U) det(V) U dC(S)[F] V' with F = U' E V.
    4. With M_ik the product of all singular values but the i-th and k-th,
       dC(S)[F]_ii = sum over k != i of M_ik F_kk, and dC(S)[F]_ij = -M_ij F_ji.
    5. dC(A) is the second derivative of det A, so it is its own adjoint.

    Well-conditioned matrices take C(A) = det(A) A^-T and its derivative instead, because XLA's
    singular values are right to 1e-7 only.
    """
    x, info, sign_a, log_size = eliminate(a)
    inverse_t = tf.linalg.matrix_transpose(x)
    determinant = append_axes(sign_a * tf.exp(log_size), a)
    condition = tf.norm(a, axis=[-2, -1]) * tf.norm(x, axis=[-2, -1])
    regular = (info == 0) & (condition < np.finfo(a.dtype.as_numpy_dtype).eps ** -0.5)
    regular = append_axes(regular, a)

    def frame():
        s, u, v = tf.linalg.svd(a)
        sign = eliminate(u)[2] * eliminate(v)[2]  # of det(u) and det(v)
        return s, u, v, sign[..., tf.newaxis, tf.newaxis]

    def products(left_out, s):
        """Over the last axis, without the values that a mask leaves out."""
        return tf.reduce_prod(tf.where(left_out, tf.ones_like(s), s), axis=-1)

    def gradient(c_bar):
        s, u, v, sign = frame()
        unit = tf.eye(tf.shape(a)[-1], dtype=tf.bool)
        # Three axes: the two singular values left out, and those multiplied.
        left_out = unit[:, tf.newaxis, :] | unit[tf.newaxis, :, :]
        m = tf.reduce_prod(
            tf.where(left_out, tf.ones_like(s[..., None, None, :]), s[..., None, None, :]), -1
        )
        f = tf.matmul(tf.matmul(u, c_bar, transpose_a=True), v)
        m = tf.where(unit, tf.zeros_like(m), m)
        diagonal = tf.linalg.matvec(m, tf.linalg.diag_part(f))
        inner = tf.linalg.set_diag(-m * tf.linalg.matrix_transpose(f), diagonal)
        by_values = sign * tf.matmul(tf.matmul(u, inner), v, transpose_b=True)
        trace = tf.reduce_sum(inverse_t * c_bar, axis=[-2, -1], keepdims=True)
        turned = tf.matmul(tf.matmul(inverse_t, c_bar, transpose_b=True), inverse_t)
        by_inverse = determinant * (trace * inverse_t - turned)
        return tf.where(regular, by_inverse, by_values)

    s, u, v, sign = frame()
    unit = tf.eye(tf.shape(a)[-1], dtype=tf.bool)
    scaled = u * products(unit, s[..., tf.newaxis, :])[..., tf.newaxis, :]
    by_values = sign * tf.matmul(scaled, v, transpose_b=True)
    return tf.where(regular, determinant * inverse_t, by_values), gradient


@custom_rule
def slogdet_reference(a):
    """Sign and log |det| of ``[..., n, n]``; gradient of ``slogdet_adjoint_reference``."""
    failed, safe = _safe(a)
    _, _, sign, log_size = eliminate(safe)
    outputs = (spoil(sign, failed), spoil(log_size, failed))
    return outputs, lambda _, log_bar: slogdet_adjoint_reference(a, log_bar)


def slogdet_adjoint_reference(a, log_bar):
    """Cotangent of A from that of log |det A|: A^-T log_bar, from d log |det A| = tr(A^-1 dA)."""
    x, info = inverse_reference(a)
    failed = info > 0
    safe = tf.where(append_axes(failed, x), tf.zeros_like(x), x)
    log_bar = tf.convert_to_tensor(log_bar)  # it may come as slices
    a_bar = log_bar[..., tf.newaxis, tf.newaxis] * tf.linalg.matrix_transpose(safe)
    return spoil(a_bar, failed & tf.not_equal(log_bar, 0))


@tf.RegisterGradient("StatespaceInverse")
def _inverse_gradient(op, x_bar, _):
    return native.library().statespace_inverse_grad(op.outputs[0], x_bar)


@tf.RegisterGradient("StatespaceInverseGrad")
def _inverse_gradient_of_gradient(op, a_bar_bar):
    return op_vjp(op, inverse_adjoint_reference, [a_bar_bar])


@tf.RegisterGradient("StatespaceDeterminant")
def _det_gradient(op, det_bar):
    return native.library().statespace_determinant_grad(op.inputs[0], det_bar)


@tf.RegisterGradient("StatespaceDeterminantGrad")
def _det_gradient_of_gradient(op, a_bar_bar):
    return op_vjp(op, det_adjoint_reference, [a_bar_bar])


@tf.RegisterGradient("StatespaceLogDeterminant")
def _slogdet_gradient(op, _, log_bar):
    return native.library().statespace_log_determinant_grad(op.inputs[0], log_bar)


@tf.RegisterGradient("StatespaceLogDeterminantGrad")
def _slogdet_gradient_of_gradient(op, a_bar_bar):
    return op_vjp(op, slogdet_adjoint_reference, [a_bar_bar])
