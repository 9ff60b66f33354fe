"""LQ factorisation: the lower-triangular sibling of QR."""

import tensorflow as tf

from statespace import native
from statespace.linalg_ops.arguments import check_choice, to_matrices
from statespace.linalg_ops.cholesky import copyltu
from statespace.linalg_ops.differentiation import reference_vjp
from statespace.linalg_ops.failure import all_zero, append_axes, spoil
from statespace.linalg_ops.triangular import solve_reference


def lq(a, *, mode="reduced"):
    """A = L Q with L lower triangular, diagonal non-negative, and Q with orthonormal rows.

    Args:
      a: ``[..., m, n]``, float32 or float64.
      mode: "reduced" gives (L, Q); "l" gives L alone, whose gradient is cheaper.

    Returns:
      With k = min(m, n): L ``[..., m, k]``, zero above the diagonal, and Q ``[..., k, n]``. A
      matrix with a NaN or an infinity becomes NaN in both, its neighbours are untouched.

    L equals the Cholesky factor of A A' where A has full row rank. The factors are differentiable
    there; at a matrix of lower rank (for m > n: leading n rows of lower rank) Q is not a function
    of A, and a non-zero cotangent gives NaN for that matrix.

    Raises:
      ValueError: shape, dtype or ``mode`` is wrong.

    References:
      Seeger et al., Auto-Differentiating Linear Algebra, arXiv:1710.08717, section 3.3 (gelqf).

    Example:

      >>> import tensorflow as tf
      >>> from statespace import linalg_ops
      >>> l, q = linalg_ops.lq(tf.constant([[3.0, 4.0]], tf.float64))
      >>> l.numpy(), q.numpy()
      (array([[5.]]), array([[0.6, 0.8]]))
    """
    (a,) = to_matrices("lq", a=a)
    check_choice("lq", "mode", mode, ("reduced", "l"))
    rows, columns = a.shape[-2:] if a.shape.rank is not None else (None, None)
    if None in (rows, columns):
        return _tall(a, tf.minimum(tf.shape(a)[-2], tf.shape(a)[-1]), mode)
    return _tall(a, columns, mode) if rows > columns else _wide(a, mode)


def _wide(a, mode):
    ops = native.ops()
    if mode == "l":
        return _reference_l(a) if ops is None else ops.statespace_lq_l(a)
    return _reference(a) if ops is None else tuple(ops.statespace_lq(a))


def _tall(a, rows, mode):
    """The leading ``rows`` rows give Q; those below them are coordinates in Q."""
    failed = _not_finite(a)
    a = tf.where(append_axes(failed, a), tf.zeros_like(a), a)
    top, q = _wide(a[..., :rows, :], "reduced")
    below = tf.matmul(a[..., rows:, :], q, transpose_b=True)
    l = spoil(tf.concat([top, below], axis=-2), failed)
    return l if mode == "l" else (l, spoil(q, failed))


def _not_finite(a):
    return tf.logical_not(tf.reduce_all(tf.math.is_finite(a), axis=[-2, -1]))


def factor_reference(a):
    """L and Q of wide or square ``a`` from TensorFlow's QR of the transpose, signs fixed.

    Scaling by the largest entry keeps the Householder norms from the under- and overflow that
    TensorFlow's QR suffers.
    """
    failed = _not_finite(a)
    finite = tf.where(append_axes(failed, a), tf.zeros_like(a), a)
    largest = tf.reduce_max(tf.abs(finite), axis=[-2, -1], keepdims=True)
    scale = tf.where(largest > 0, largest, tf.ones_like(largest))
    q, r = tf.linalg.qr(tf.linalg.matrix_transpose(finite / scale))
    sign = tf.where(tf.linalg.diag_part(r) < 0, -tf.ones([], a.dtype), tf.ones([], a.dtype))
    l = tf.linalg.matrix_transpose(r * sign[..., tf.newaxis]) * scale
    q = tf.linalg.matrix_transpose(q * sign[..., tf.newaxis, :])
    return spoil(tf.linalg.band_part(l, -1, 0), failed), spoil(q, failed)


@tf.custom_gradient
def _reference(a):
    def gradient(l_bar, q_bar):
        # Factorised anew, so that second derivatives meet this rule and not that of TensorFlow.
        return adjoint_reference(*_reference(a), l_bar, q_bar)

    return factor_reference(a), gradient


@tf.custom_gradient
def _reference_l(a):
    def gradient(l_bar):
        return adjoint_l_reference(a, l_bar)

    return factor_reference(a)[0], gradient


def adjoint_reference(l, q, l_bar, q_bar):
    """Cotangent of A from those of L and Q (arXiv:1710.08717, section 3.3), for m <= n:

    1. dA = dL Q + L dQ with dQ Q' skew, hence L^-1 dA Q' = L^-1 dL + dQ Q'.
    2. The triangle of its symmetric part fixes dL, its skew part dQ Q'; what is orthogonal to Q
       is L dQ alone.
    3. Collecting cotangents: L' A_bar = Q_bar + copyltu(L' L_bar - Q_bar Q') Q.
    """
    unused = all_zero(l_bar) & all_zero(q_bar)
    inner = tf.matmul(l, l_bar, transpose_a=True) - tf.matmul(q_bar, q, transpose_b=True)
    a_bar = solve_reference(l, q_bar + tf.matmul(copyltu(inner), q), lower=True, adjoint=True)
    return tf.where(unused, tf.zeros_like(a_bar), a_bar)


def adjoint_l_reference(a, l_bar):
    """Cotangent of A from that of L alone: the factors again, and no cotangent of Q."""
    l, q = _reference(a)
    return adjoint_reference(l, q, l_bar, tf.zeros_like(q))


@tf.RegisterGradient("StatespaceLq")
def _gradient(op, l_bar, q_bar):
    return native.library().statespace_lq_grad(*op.outputs, l_bar, q_bar)


@tf.RegisterGradient("StatespaceLqGrad")
def _gradient_of_gradient(op, a_bar_bar):
    return reference_vjp(adjoint_reference, op.inputs, [a_bar_bar])


@tf.RegisterGradient("StatespaceLqL")
def _gradient_l(op, l_bar):
    return native.library().statespace_lq_l_grad(op.inputs[0], l_bar)


@tf.RegisterGradient("StatespaceLqLGrad")
def _gradient_of_gradient_l(op, a_bar_bar):
    return reference_vjp(adjoint_l_reference, op.inputs, [a_bar_bar])
