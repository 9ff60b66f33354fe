"""What follows from a Cholesky factor: the inverse of the matrix, and systems with it."""

import tensorflow as tf

from statespace import native
from statespace.linalg_ops.arguments import (
    broadcast_matmul,
    check_sides,
    check_square,
    to_matrices,
)
from statespace.linalg_ops.differentiation import custom_rule, op_vjp, sum_to_shape
from statespace.linalg_ops.failure import all_zero, not_finite, spoil, spoil_used
from statespace.linalg_ops.triangular import solve_reference, triangle


def cholesky_inverse(l):
    """The inverse of A = L L', from its factor L.

    Args:
      l: lower triangular ``[..., n, n]``, float32 or float64; the other triangle is never read.

    Returns:
      ``(L L')^-1 [..., n, n]``, exactly symmetric. An L with a zero on its diagonal, or a NaN or
      an infinity, gives NaN for its own item, and for no other.

    The gradient with respect to L is lower triangular. To multiply with the inverse, solve instead:
    ``cholesky_solve`` is cheaper and more accurate.

    Raises:
      ValueError: shape or dtype of ``l`` is wrong.

    References:
      Seeger et al., Auto-Differentiating Linear Algebra, arXiv:1710.08717, section 3 (potri).

    Example:

      >>> import tensorflow as tf
      >>> from statespace import linalg_ops
      >>> linalg_ops.cholesky_inverse(tf.constant([[2.0, 0.0], [1.0, 1.0]])).numpy()
      array([[ 0.5, -0.5],
             [-0.5,  1. ]], dtype=float32)
    """
    (l,) = to_matrices("cholesky_inverse", l=l)
    check_square("cholesky_inverse", "l", l)
    ops = native.ops()
    return inverse_reference(l) if ops is None else ops.statespace_cholesky_inverse(l)


def cholesky_solve(l, b):
    """Solves A X = B for A = L L', given the factor L.

    Batch axes broadcast by NumPy's rules.

    Args:
      l: lower triangular ``[..., n, n]``, float32 or float64; the other triangle is never read.
      b: ``[..., n, k]``, same dtype.

    Returns:
      ``X = (L L')^-1 B``, ``[..., n, k]`` with the broadcast batch axes. An L with a zero on
      its diagonal, or a NaN or an infinity, gives NaN for its own item, and for no other.

    The gradient with respect to L is lower triangular.

    Raises:
      ValueError: a shape or dtype is wrong, statically known.
      tf.errors.InvalidArgumentError: a shape is wrong, seen when the op runs.

    References:
      Golub & Van Loan, Matrix Computations, 4th ed., section 4.2 (LAPACK's potrs).

    Example:

      >>> import tensorflow as tf
      >>> from statespace import linalg_ops
      >>> l = tf.constant([[2.0, 0.0], [1.0, 1.0]])
      >>> linalg_ops.cholesky_solve(l, tf.constant([[4.0], [4.0]])).numpy()
      array([[0.],
             [2.]], dtype=float32)
    """
    l, b = to_matrices("cholesky_solve", l=l, b=b)
    check_square("cholesky_solve", "l", l)
    check_sides("cholesky_solve", l, b)
    ops = native.ops()
    return solve_both_reference(l, b) if ops is None else ops.statespace_cholesky_solve(l, b)


def _solve_both(l, b):
    """(L L')^-1 B by two substitutions."""
    half = solve_reference(l, b, lower=True, adjoint=False)
    return solve_reference(l, half, lower=True, adjoint=True)


def _usable(l):
    """L with the identity in place of what fails, and bool ``[...]``, which items fail."""
    singular = tf.reduce_any(tf.equal(tf.linalg.diag_part(l), 0), axis=-1)
    failed = singular | not_finite(triangle(l, lower=True))
    identity = tf.eye(tf.shape(l)[-1], dtype=l.dtype)
    return tf.where(failed[..., tf.newaxis, tf.newaxis], identity, l), failed


@custom_rule
def inverse_reference(l):
    """(L L')^-1 by two substitutions from the identity, symmetrised."""
    usable, failed = _usable(l)
    identity = tf.eye(tf.shape(l)[-1], batch_shape=tf.shape(l)[:-2], dtype=l.dtype)
    x = _solve_both(usable, identity)
    x = spoil(0.5 * (x + tf.linalg.matrix_transpose(x)), failed)

    def gradient(x_bar):
        return inverse_adjoint_reference(l, inverse_reference(l), x_bar)

    return x, gradient


@custom_rule
def solve_both_reference(l, b):
    """(L L')^-1 B, with the gradient of ``solve_adjoint_reference``."""
    usable, failed = _usable(l)
    x = _solve_both(usable, b)
    x = spoil(x, tf.broadcast_to(failed, tf.shape(x)[:-2]))

    def gradient(x_bar):
        l_bar, b_bar = solve_adjoint_reference(l, solve_both_reference(l, b), x_bar)
        return sum_to_shape(l_bar, l), sum_to_shape(b_bar, b)

    return x, gradient


def inverse_adjoint_reference(l, x, x_bar):
    """Cotangent of L from that of X = (L L')^-1, which need not be symmetric:

    1. dX = -X (dL L' + L dL') X, since d(A^-1) = -A^-1 dA A^-1.
    2. <X_bar, dX> = -<X (X_bar + X_bar') X L, dL>, X being symmetric.
    3. X L = L^-T, and dL is lower triangular.
    """
    l, failed = _usable(l)
    x = tf.where(failed[..., tf.newaxis, tf.newaxis], tf.zeros_like(x), x)
    product = tf.matmul(x, x_bar + tf.linalg.matrix_transpose(x_bar))
    transposed = solve_reference(l, tf.linalg.matrix_transpose(product), lower=True, adjoint=False)
    l_bar = -triangle(tf.linalg.matrix_transpose(transposed), lower=True)
    return spoil_used(l_bar, failed, all_zero(x_bar))


def solve_adjoint_reference(l, x, x_bar):
    """Cotangents of L and B from that of X = (L L')^-1 B:

    1. dX = A^-1 (dB - dA X), so B_bar = A^-1 X_bar and A_bar = -B_bar X'.
    2. dA = dL L' + L dL', so L_bar = (A_bar + A_bar') L, restricted to the lower triangle.
    """
    l, failed = _usable(l)
    failed |= not_finite(x)
    x = tf.where(failed[..., tf.newaxis, tf.newaxis], tf.zeros_like(x), x)
    b_bar = _solve_both(l, x_bar)
    a_bar = -tf.matmul(b_bar, x, transpose_b=True)
    l_bar = broadcast_matmul(a_bar + tf.linalg.matrix_transpose(a_bar), triangle(l, lower=True))
    l_bar = triangle(l_bar, lower=True)
    unused = all_zero(x_bar)
    return spoil_used(l_bar, failed, unused), spoil_used(b_bar, failed, unused)


@tf.RegisterGradient("StatespaceCholeskyInverse")
def _gradient_of_inverse(op, x_bar):
    return native.library().statespace_cholesky_inverse_grad(op.inputs[0], op.outputs[0], x_bar)


@tf.RegisterGradient("StatespaceCholeskyInverseGrad")
def _gradient_of_inverse_gradient(op, l_bar_bar):
    return op_vjp(op, inverse_adjoint_reference, [l_bar_bar])


@tf.RegisterGradient("StatespaceCholeskySolve")
def _gradient_of_solve(op, x_bar):
    l, b = op.inputs
    l_bar, b_bar = native.library().statespace_cholesky_solve_grad(l, op.outputs[0], x_bar)
    return sum_to_shape(l_bar, l), sum_to_shape(b_bar, b)


@tf.RegisterGradient("StatespaceCholeskySolveGrad")
def _gradient_of_solve_gradient(op, l_bar_bar, b_bar_bar):
    return op_vjp(op, solve_adjoint_reference, [l_bar_bar, b_bar_bar])
