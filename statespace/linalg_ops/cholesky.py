"""Cholesky factorisation of symmetric positive definite matrices."""

import tensorflow as tf

from statespace import native
from statespace.linalg_ops.arguments import check_choice, check_square, to_matrices, with_shape
from statespace.linalg_ops.differentiation import custom_rule, op_vjp
from statespace.linalg_ops.failure import ON_FAILURE, all_zero, raise_where_failed, spoil_used
from statespace.linalg_ops.triangular import solve_reference

NOT_POSITIVE_DEFINITE = "is not positive definite; leading minor"


def cholesky(a, *, on_failure="nan", return_info=False):
    """Lower-triangular L with A = L L', positive diagonal.

    Args:
      a: ``[..., n, n]``, float32 or float64. Only the lower triangle is read.
      on_failure: what a matrix that is not positive definite does. "nan": its factor becomes NaN
        throughout, its neighbours are untouched, and a zero cotangent into it gives a zero
        gradient. "raise": ``InvalidArgumentError``; inside XLA, which cannot raise, as "nan".
      return_info: also return the status.

    Returns:
      L ``[..., n, n]``, zero above the diagonal. With ``return_info``, the pair of L and an int32
      ``[...]``: 0, or the (1-based) leading minor that is not positive.

    The gradient is symmetric-valued: the cotangent of A is
    ``L^-T copyltu(L' L_bar) L^-1 / 2``, so that ``<A_bar, dA>`` is the differential for every
    symmetric dA.

    Raises:
      ValueError: shape or dtype of ``a``, or ``on_failure``, is wrong.
      tf.errors.InvalidArgumentError: a factorisation failed and ``on_failure="raise"``.

    References:
      Seeger et al., Auto-Differentiating Linear Algebra, arXiv:1710.08717, section 3.1 (potrf).

    Example:

      >>> import tensorflow as tf
      >>> from statespace import linalg_ops
      >>> linalg_ops.cholesky(tf.constant([[4.0, 2.0], [2.0, 5.0]])).numpy()
      array([[2., 0.],
             [1., 2.]], dtype=float32)
    """
    (a,) = to_matrices("cholesky", a=a)
    check_square("cholesky", "a", a)
    check_choice("cholesky", "on_failure", on_failure, ON_FAILURE)
    ops = native.ops()
    l, info = cholesky_reference(a) if ops is None else ops.statespace_cholesky(a)
    if on_failure == "raise":
        l, info = raise_where_failed("cholesky", info, NOT_POSITIVE_DEFINITE, (l, info))
    return (l, info) if return_info else l


def factor_by_columns(a):
    """L and status of ``[..., n, n]``: the column algorithm, in plain TensorFlow.

    Golub & Van Loan, Matrix Computations, 4th ed., algorithm 4.2.1 (outer-product form): column j
    of L is column j of what is left of A, over the root of its pivot.
    """
    n = tf.shape(a)[-1]
    rows = tf.range(n)

    def column(j, left, l, info):
        pivot = tf.gather(tf.gather(left, j, axis=-1), j, axis=-1)
        failed = tf.logical_not(tf.logical_and(pivot > 0, tf.math.is_finite(pivot)))
        info = tf.where(tf.logical_and(failed, info == 0), j + 1, info)
        root = tf.sqrt(tf.where(failed, tf.ones_like(pivot), pivot))
        column = tf.gather(left, j, axis=-1) / root[..., tf.newaxis]
        column = tf.where(rows >= j, column, tf.zeros_like(column))
        unit = tf.one_hot(j, n, dtype=a.dtype)
        left = left - column[..., :, tf.newaxis] * column[..., tf.newaxis, :]
        l = with_shape(l + column[..., :, tf.newaxis] * unit, a.shape)
        return j + 1, with_shape(left, a.shape), l, with_shape(info, a.shape[:-2])

    info = with_shape(tf.zeros(tf.shape(a)[:-2], tf.int32), a.shape[:-2])
    start = (0, a, tf.zeros_like(a), info)
    _, _, l, info = tf.while_loop(lambda j, *_: j < n, column, start, maximum_iterations=n)
    return l, info


@custom_rule
def cholesky_reference(a):
    """L and status of ``[..., n, n]``, with the gradient of ``adjoint_reference``."""
    l, info = factor_by_columns(a)
    failed = info > 0
    l = tf.where(failed[..., tf.newaxis, tf.newaxis], tf.constant(float("nan"), a.dtype), l)

    def gradient(l_bar, _):
        # Factorised anew, so that second derivatives meet this rule again and not the loop.
        return adjoint_reference(cholesky_reference(a)[0], l_bar)

    return (l, info), gradient


def adjoint_reference(l, l_bar):
    """Cotangent of A from that of L (arXiv:1710.08717, equation 3.2):

    1. dA = dL L' + L dL', hence L^-1 dA L^-T = X + X' with X = L^-1 dL lower triangular.
    2. So X = Phi(L^-1 dA L^-T), Phi keeping the lower triangle and half the diagonal.
    3. <L_bar, L X> = <Phi(L' L_bar), L^-1 dA L^-T>; symmetrised, Phi becomes copyltu / 2.
    """
    failed = tf.reduce_any(tf.math.is_nan(l), axis=[-2, -1])
    identity = tf.eye(tf.shape(l)[-1], dtype=l.dtype)
    safe = tf.where(failed[..., tf.newaxis, tf.newaxis], identity, l)
    a_bar = 0.5 * sandwich(safe, copyltu(tf.matmul(safe, l_bar, transpose_a=True)))
    return spoil_used(a_bar, failed, all_zero(l_bar))


def sandwich(l, x):
    """L^-T X L^-1 for symmetric X."""
    left = solve_reference(l, x, lower=True, adjoint=True)
    return solve_reference(l, tf.linalg.matrix_transpose(left), lower=True, adjoint=True)


def copyltu(x):
    """The lower triangle copied to the upper."""
    lower = tf.linalg.band_part(x, -1, 0)
    return lower + tf.linalg.matrix_transpose(lower - tf.linalg.band_part(x, 0, 0))


@tf.RegisterGradient("StatespaceCholesky")
def _gradient(op, l_bar, _):
    return native.library().statespace_cholesky_grad(op.outputs[0], l_bar)


@tf.RegisterGradient("StatespaceCholeskyGrad")
def _gradient_of_gradient(op, a_bar_bar):
    return op_vjp(op, adjoint_reference, [a_bar_bar])
