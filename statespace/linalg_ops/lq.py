"""LQ factorisation: the lower-triangular sibling of QR."""

import numpy as np
import tensorflow as tf

from statespace import native
from statespace.linalg_ops.arguments import check_choice, to_matrices
from statespace.linalg_ops.differentiation import custom_rule, op_vjp
from statespace.linalg_ops.failure import all_zero, append_axes, not_finite, spoil, spoil_used
from statespace.linalg_ops.triangular import solve_reference, triangle


def lq(a, *, mode="reduced"):
    """A = L Q with L lower triangular, diagonal non-negative, and Q with orthonormal rows.

    Args:
      a: ``[..., m, n]``, float32 or float64; wide, square or tall.
      mode: "reduced" gives (L, Q); "l" gives L alone, whose gradient is cheaper and exists at any
        rank.

    Returns:
      With k = min(m, n): L ``[..., m, k]``, zero above the diagonal, and Q ``[..., k, n]``. A
      matrix with a NaN or an infinity becomes NaN in both, its neighbours are untouched. At any
      rank, the factors are finite, Q has orthonormal rows and the diagonal of L is non-negative.

    Where the leading k rows of A are independent, L is the Cholesky factor of A A' (its first k
    columns, if A is tall) and both factors are differentiable. Where they are not, as in
    square-root filters with singular noise, the gradient follows these rules:

    1. A cotangent of L alone (``mode="l"``, or Q unused) gives a finite gradient. It is exact for
       functions of L L', provided that the columns of L which belong to dependent rows reach the
       function without being masked to the lower triangle: through products such as L L', not
       through a triangular solve. L itself is not a function of A there.
    2. A non-zero cotangent of Q gives NaN for that matrix, a zero cotangent zero.
    3. So do second derivatives.

    A row counts as dependent on those before it if its pivot is at most ``(n + 10) eps`` times the
    largest entry of its row of L: what rounding leaves of zero.

    Raises:
      ValueError: shape, dtype or ``mode`` is wrong.

    References:
      Seeger et al., Auto-Differentiating Linear Algebra, arXiv:1710.08717, section 3.3 (gelqf).
      Corenflos, Robust Automatic Differentiation of Square-Root Kalman Filters via Gramian
      Differentials, arXiv:2603.13559.

    Example:

      >>> import tensorflow as tf
      >>> from statespace import linalg_ops
      >>> l, q = linalg_ops.lq(tf.constant([[3.0, 4.0]], tf.float64))
      >>> l.numpy(), q.numpy()
      (array([[5.]]), array([[0.6, 0.8]]))
    """
    (a,) = to_matrices("lq", a=a)
    check_choice("lq", "mode", mode, ("reduced", "l"))
    ops = native.ops()
    if mode == "l":
        return _reference_l(a) if ops is None else ops.statespace_lq_l(a)
    return _reference(a) if ops is None else tuple(ops.statespace_lq(a))


def factor_reference(a):
    """L and Q from TensorFlow's QR of the transpose, signs fixed.

    Scaling each row by its largest entry keeps the Householder norms from the under- and overflow
    that TensorFlow's QR suffers.
    """
    failed = not_finite(a)
    finite = tf.where(append_axes(failed, a), tf.zeros_like(a), a)
    largest = tf.reduce_max(tf.abs(finite), axis=-1, keepdims=True)
    scale = tf.where(largest > 0, largest, tf.ones_like(largest))
    q, r = tf.linalg.qr(tf.linalg.matrix_transpose(finite / scale))
    sign = tf.where(tf.linalg.diag_part(r) < 0, -tf.ones([], a.dtype), tf.ones([], a.dtype))
    l = tf.linalg.matrix_transpose(r * sign[..., tf.newaxis]) * scale
    q = tf.linalg.matrix_transpose(q * sign[..., tf.newaxis, :])
    return spoil(tf.linalg.band_part(l, -1, 0), failed), spoil(q, failed)


@custom_rule
def _reference(a):
    def gradient(l_bar, q_bar):
        # Factorised anew, so that second derivatives meet this rule and not that of TensorFlow.
        cotangents = tf.convert_to_tensor(l_bar), tf.convert_to_tensor(q_bar)
        return adjoint_reference(*_reference(a), *cotangents)

    return factor_reference(a), gradient


@custom_rule
def _reference_l(a):
    def gradient(l_bar):
        return adjoint_l_reference(a, tf.convert_to_tensor(l_bar))

    return factor_reference(a)[0], gradient


def dependent_rows(l, columns):
    """bool ``[..., k]``: the leading rows of A = L Q that depend on those before them.

    Reflectors leave an error in each row that is relative to that row, so that the scales of the
    rows do not matter.
    """
    pivots = tf.linalg.diag_part(l)
    return pivots <= _rounding(columns, l.dtype) * _largest_in_rows(l)


def _rounding(count, dtype):
    return tf.cast(count + 10, dtype) * np.finfo(dtype.as_numpy_dtype).eps


def _largest_in_rows(l):
    return tf.reduce_max(tf.abs(l[..., : tf.shape(l)[-1], :]), axis=-1)


def adjoint_reference(l, q, l_bar, q_bar):
    """Cotangent of A from those of L and Q (arXiv:1710.08717, section 3.3).

    For m <= n:

    1. dA = dL Q + L dQ with dQ Q' skew, hence L^-1 dA Q' = L^-1 dL + dQ Q'.
    2. The triangle of its symmetric part fixes dL, its skew part dQ Q'; what is orthogonal to Q
       is L dQ alone.
    3. Collecting cotangents: L' A_bar = Q_bar + copyltu(L' L_bar - Q_bar Q') Q.

    For m > n, with A_1 = L_1 Q the leading rows and A_2 those below them:

    4. L_2 = A_2 Q', so that A_2_bar = L_2_bar Q and Q_bar gains L_2_bar' A_2 = N Q with
       N = L_2_bar' L_2.
    5. A_1_bar is that of 3 with Q_bar + N Q in the place of Q_bar.

    Cancelled on paper, where rounding errors would be divided by small pivots:

    6. With P = L_1' tril(L_1_bar), M = Q_bar Q' and Z = P - M - N, the bracket of 3 is
       (P + striu(Z' - Z)) Q + Q_bar - M Q, and L_1^-T P = tril(L_1_bar). For m >= n the rest,
       Q_bar - M Q, is zero.
    7. What comes of L_bar alone is that of ``adjoint_l_reference``, which exists at any rank; what
       comes of Q_bar, L_1^-T (striu(M - M') Q + Q_bar - M Q), does not.
    """
    failed = tf.reduce_any(tf.math.is_nan(l), axis=[-2, -1], keepdims=True)
    l = tf.where(failed, tf.zeros_like(l), l)
    q = tf.where(failed, tf.zeros_like(q), q)
    size = _columns(l)
    top, below_bar = l[..., :size, :], l_bar[..., size:, :]
    dependent = dependent_rows(l, tf.shape(q)[-1])
    singular = tf.reduce_any(dependent, axis=-1)[..., tf.newaxis, tf.newaxis]

    # The part of L_bar needs no inverse at dependent rows; of q_bar there is no such limit.
    coordinates = _coordinates(l, dependent, l_bar)[..., :size, :]
    regular = tf.where(singular, tf.eye(size, dtype=l.dtype), top)
    m = tf.matmul(q_bar, q, transpose_b=True)
    upper = triangle(m - tf.linalg.matrix_transpose(m), lower=False)
    turned = tf.matmul(solve_reference(regular, upper, lower=True, adjoint=True), q)
    if q.shape.rank is None or q.shape[-1] is None or q.shape[-2] != q.shape[-1]:
        wide = tf.cast(tf.shape(q)[-2] < tf.shape(q)[-1], q.dtype)
        outside = q_bar - tf.matmul(m, q)
        turned += wide * solve_reference(regular, outside, lower=True, adjoint=True)
    turned = tf.where(singular, _zero_without_derivative(q_bar), turned)
    a_bar = _stack(tf.matmul(coordinates, q) + turned, tf.matmul(below_bar, q))
    l_alone = all_zero(q_bar)
    failed |= singular & tf.logical_not(l_alone)
    unused = all_zero(l_bar) & l_alone
    return spoil_used(a_bar, tf.squeeze(failed, [-2, -1]), unused)


@tf.custom_gradient
def _zero_without_derivative(x):
    def gradient(cotangent):
        nan = tf.constant(float("nan"), x.dtype)
        return tf.where(tf.equal(cotangent, 0), tf.zeros_like(cotangent), nan)

    return tf.zeros_like(x), gradient


def adjoint_l_reference(a, l_bar):
    """Cotangent of A from that of L alone, in a form that needs no inverse where there is none:

    1. copyltu(Z) = Z + K(Z) with the strictly upper triangle K(Z)_ij = Z_ji - Z_ij, i < j.
    2. Hence for m <= n and M = L' L_bar, copyltu(M) = L' L_bar + K(M), and A_bar = X Q with
       X = L_bar + L^-T K(M), whatever the upper triangle of L_bar holds.
    3. For m > n, L_1' L_1_bar - N takes the place of M, and N + copyltu(L_1' L_1_bar - N) =
       L_1' L_1_bar + K(L_1' L_1_bar - N), where K(-N) = K(N') = K(L_2' L_2_bar). So again
       X = L_bar + [L_1^-T K(M); 0] with M = L' L_bar.
    4. For a function of G = L L' with symmetric derivative F by G, L_bar = 2 F L, M = 2 L' F L is
       symmetric and K = 0: X Q = 2 F L Q = 2 F A, which is exact at any rank.
    5. In general, the rows of K at dependent rows of A are left out of the substitution, and where
       a small pivot would magnify them, the entries of K that may be rounding errors of M.
    """
    l, q = _reference(a)
    failed = tf.reduce_any(tf.math.is_nan(l), axis=[-2, -1])
    l = tf.where(append_axes(failed, l), tf.zeros_like(l), l)
    q = tf.where(append_axes(failed, q), tf.zeros_like(q), q)
    x = _coordinates(l, dependent_rows(l, tf.shape(q)[-1]), l_bar)
    return spoil_used(tf.matmul(x, q), failed, all_zero(l_bar))


def _coordinates(l, dependent, l_bar):
    """X of ``adjoint_l_reference``."""
    product = tf.matmul(l, l_bar, transpose_a=True)
    skew = tf.linalg.band_part(tf.linalg.matrix_transpose(product) - product, 0, -1)
    bound = tf.matmul(tf.abs(l), tf.abs(l_bar), transpose_a=True)
    bound = _rounding(tf.shape(l)[-2], l.dtype) * (bound + tf.linalg.matrix_transpose(bound))
    # Rounding errors of row i of K are relative to column i of L, and the substitution carries
    # those of every row to the small pivots.
    largest = tf.maximum(_largest_in_rows(l), tf.reduce_max(tf.abs(l), axis=-2))
    small = tf.reduce_any(tf.linalg.diag_part(l) <= largest / 1024, axis=-1)
    noise = small[..., tf.newaxis, tf.newaxis] & (tf.abs(skew) <= bound)
    # The noise is constant, so that second derivatives are those of K.
    skew -= tf.stop_gradient(tf.where(noise, skew, tf.zeros_like(skew)))
    skew = tf.where(dependent[..., tf.newaxis], tf.zeros_like(skew), skew)
    # Without its column of L_1, a dependent row has no part in the substitution.
    top = l[..., : _columns(l), :]
    top = tf.where(dependent[..., tf.newaxis, :], tf.zeros_like(top), top)
    diagonal = tf.linalg.diag_part(top)
    top = tf.linalg.set_diag(top, tf.where(dependent, tf.ones_like(diagonal), diagonal))
    upper = tf.linalg.triangular_solve(top, skew, lower=True, adjoint=True)
    upper = tf.where(tf.math.is_finite(upper), upper, tf.zeros_like(upper))
    rest = tf.zeros_like(l_bar[..., _columns(l) :, :])
    return l_bar + _stack(upper, rest)


def _columns(x):
    """Number of columns: a Python number where it is known, so that shapes stay known."""
    known = None if x.shape.rank is None else x.shape[-1]
    return tf.shape(x)[-1] if known is None else known


def _stack(top, below):
    """One above the other. Rows known to be none are left out: pfor miscounts their columns."""
    return top if below.shape[-2:-1] == [0] else tf.concat([top, below], axis=-2)


@tf.RegisterGradient("StatespaceLq")
def _gradient(op, l_bar, q_bar):
    return native.library().statespace_lq_grad(*op.outputs, l_bar, q_bar)


@tf.RegisterGradient("StatespaceLqGrad")
def _gradient_of_gradient(op, a_bar_bar):
    return op_vjp(op, adjoint_reference, [a_bar_bar])


@tf.RegisterGradient("StatespaceLqL")
def _gradient_l(op, l_bar):
    return native.library().statespace_lq_l_grad(op.inputs[0], l_bar)


@tf.RegisterGradient("StatespaceLqLGrad")
def _gradient_of_gradient_l(op, a_bar_bar):
    return op_vjp(op, adjoint_l_reference, [a_bar_bar])
