"""Eigenvalues and eigenvectors of symmetric matrices."""

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
    spoil_used,
)

NOT_FOUND = "has no eigenvalues (a NaN or an infinity, or no convergence); not found:"


def eigh(a, *, on_failure="nan", return_info=False):
    """Eigenvalues and eigenvectors of a symmetric matrix: A = V diag(lambda) V'.

    Args:
      a: ``[..., n, n]``, float32 or float64. Only the lower triangle is read.
      on_failure: what a matrix with a NaN or an infinity does. "nan": its eigenvalues and
        eigenvectors become NaN throughout, its neighbours are untouched, and zero cotangents into
        them give a zero gradient. "raise": ``InvalidArgumentError``; inside XLA, which cannot
        raise, as "nan".
      return_info: also return the status.

    Returns:
      Eigenvalues ``[..., n]``, ascending, and eigenvectors ``[..., n, n]``, in columns. With
      ``return_info`` also an int32 ``[...]``: 0, or how many eigenvalues were not found (all n of
      a matrix with a NaN or an infinity; convergence itself fails practically never).

    Signs: of every eigenvector the first entry whose magnitude is within 0.1 % (2^-10) of the
    largest is positive.

    The gradient is symmetric-valued. The factor 1 / (lambda_j - lambda_i) that it applies to the
    eigenvectors is replaced by 0 between eigenvalues that agree to rounding (a difference of at
    most 4 n epsilon times the largest magnitude). So it is always finite; for a repeated
    eigenvalue it is exact for functions of the eigenvalues alone and of the projectors on the
    eigenspaces. The derivative of V f(lambda) V' within a repeated eigenvalue does not reach the
    eigenvectors' cotangent at all: take ``matrix_function``, which is exact there.

    Raises:
      ValueError: shape or dtype of ``a``, or ``on_failure``, is wrong.
      tf.errors.InvalidArgumentError: a matrix failed and ``on_failure="raise"``.

    References:
      Seeger et al., Auto-Differentiating Linear Algebra, arXiv:1710.08717, section 3.4 (syevd).
      Golub & Van Loan, Matrix Computations, 4th ed., sections 8.3 and 8.1.4.

    Example:

      >>> import tensorflow as tf
      >>> from statespace import linalg_ops
      >>> eigenvalues, eigenvectors = linalg_ops.eigh(tf.constant([[0.0, 2.0], [2.0, 3.0]]))
      >>> eigenvalues.numpy().round(6)
      array([-1.,  4.], dtype=float32)
      >>> eigenvectors.numpy().round(4)
      array([[ 0.8944,  0.4472],
             [-0.4472,  0.8944]], dtype=float32)
    """
    (a,) = to_matrices("eigh", a=a)
    check_square("eigh", "a", a)
    check_choice("eigh", "on_failure", on_failure, ON_FAILURE)
    ops = native.ops()
    results = eigh_reference(a) if ops is None else tuple(ops.statespace_eigh(a))
    if on_failure == "raise":
        results = raise_where_failed("eigh", results[2], NOT_FOUND, results)
    return results if return_info else results[:2]


def fix_signs(v):
    """The sign rule, for eigenvectors in columns."""
    magnitude = tf.abs(v)
    bound = tf.reduce_max(magnitude, axis=-2, keepdims=True) * (1 - 2.0**-10)
    large = tf.cast(magnitude >= bound, v.dtype)
    first = large * tf.cast(tf.cumsum(large, axis=-2) < 1.5, v.dtype)
    pivot = tf.reduce_sum(v * first, axis=-2, keepdims=True)
    return tf.where(pivot < 0, -v, v)


def _factor_reference(a):
    """TensorFlow's eigenvalues and eigenvectors, with our signs, range and failures.

    One matrix with a NaN or an infinity makes TensorFlow's fail the whole batch, and entries near
    under- and overflow are not scaled.
    """
    lower = tf.linalg.band_part(a, -1, 0)
    failed = not_finite(lower)
    finite = tf.where(append_axes(failed, a), tf.zeros_like(a), lower)
    largest = tf.reduce_max(tf.abs(finite), axis=[-2, -1], keepdims=True)
    scale = tf.where(largest > 0, largest, tf.ones_like(largest))
    eigenvalues, v = tf.linalg.eigh(finite / scale)
    if native.traced_for_xla():
        eigenvalues, v = _polish(finite / scale, v)
    info = tf.where(failed, tf.shape(a)[-1], 0)
    return spoil(eigenvalues * scale[..., 0], failed), spoil(fix_signs(v), failed), info


def _polish(lower, v, sweeps=3):
    """Jacobi sweeps from eigenvectors that are nearly right: XLA's are to 1e-7 in float64 too.

    Golub & Van Loan, section 8.5: in each of m - 1 rounds every index meets another one, and the
    m / 2 pairs are rotated at once. An odd n gets an index more, whose rotations are trivial.
    """
    n = tf.shape(v)[-1]
    m = n + n % 2
    strict = tf.linalg.set_diag(lower, tf.zeros_like(lower[..., 0]))
    a = lower + tf.linalg.matrix_transpose(strict)

    def one_round(round_, v):
        t = tf.matmul(v, tf.matmul(a, v), transpose_a=True)
        k = tf.range(m // 2)
        p = tf.where(k == 0, 0, 1 + (round_ + k) % (m - 1))
        p, q = (tf.one_hot(x, m, dtype=v.dtype) for x in (p, 1 + (round_ - k) % (m - 1)))
        p, q = p[:, :n], q[:, :n]
        diagonal = tf.linalg.diag_part(t)
        gap = tf.linalg.matvec(q, diagonal) - tf.linalg.matvec(p, diagonal)
        corner = tf.reduce_sum(tf.matmul(p, t) * q, axis=-1)
        # tan of the smaller angle: t^2 + 2 t gap / (2 corner) - 1 = 0.
        root = tf.sqrt(gap**2 + 4 * corner**2)
        divisor = tf.abs(gap) + root
        tan = tf.where(gap < 0, -2 * corner, 2 * corner)
        tan = tan / tf.where(divisor == 0, tf.ones_like(root), divisor)
        c = 1 / tf.sqrt(1 + tan**2)
        s = (c * tan)[..., tf.newaxis]
        c = c[..., tf.newaxis] - 1
        turn = tf.matmul(p, c * p + s * q, transpose_a=True)
        turn += tf.matmul(q, c * q - s * p, transpose_a=True)
        return round_ + 1, with_shape(v + tf.matmul(v, turn), v.shape)

    rounds = sweeps * (m - 1)
    _, v = tf.while_loop(lambda r, _: r < rounds, one_round, (0, v))
    eigenvalues = tf.reduce_sum(v * tf.matmul(a, v), axis=-2)
    order = tf.one_hot(tf.argsort(eigenvalues, axis=-1), n, dtype=v.dtype)
    return tf.sort(eigenvalues, axis=-1), with_shape(tf.matmul(v, order, transpose_b=True), v.shape)


@custom_rule
def eigh_reference(a):
    """Eigenvalues, eigenvectors and status, with the gradient of ``adjoint_reference``."""

    def gradient(eigenvalues_bar, v_bar, _):
        # Factorised anew, so that second derivatives meet this rule again and not TensorFlow's.
        eigenvalues, v, _ = eigh_reference(a)
        # A cotangent may come as tf.IndexedSlices, from tf.gather.
        eigenvalues_bar, v_bar = tf.convert_to_tensor(eigenvalues_bar), tf.convert_to_tensor(v_bar)
        return adjoint_reference(eigenvalues, v, eigenvalues_bar, v_bar)

    return _factor_reference(a), gradient


def cluster_width(eigenvalues):
    """[..., 1]: what rounding alone may put between two eigenvalues."""
    epsilon = np.finfo(eigenvalues.dtype.as_numpy_dtype).eps
    size = tf.cast(tf.shape(eigenvalues)[-1], eigenvalues.dtype)
    largest = tf.reduce_max(tf.abs(eigenvalues), axis=-1, keepdims=True)
    return tf.stop_gradient(4 * size * epsilon * largest)


def _gaps(eigenvalues):
    """lambda_j - lambda_i at [i, j], and where i and j belong to one cluster."""
    gap = eigenvalues[..., tf.newaxis, :] - eigenvalues[..., :, tf.newaxis]
    tiny = np.finfo(eigenvalues.dtype.as_numpy_dtype).tiny
    return gap, tf.abs(gap) <= tf.maximum(cluster_width(eigenvalues), tiny)[..., tf.newaxis]


@tf.custom_gradient
def _without_derivative(eigenvalues, v, items):
    """Both, with derivatives that are NaN for the given items where that of V is used."""

    def gradient(eigenvalues_bar, v_bar):
        unknown = append_axes(items, v) & tf.logical_not(all_zero(v_bar))
        nan = tf.constant(float("nan"), v.dtype)
        bars = tf.where(unknown[..., 0], nan, eigenvalues_bar), tf.where(unknown, nan, v_bar)
        return *bars, None

    return (tf.identity(eigenvalues), tf.identity(v)), gradient


def _off_diagonal(x):
    return tf.linalg.set_diag(x, tf.zeros_like(tf.linalg.diag_part(x)))


def adjoint_reference(eigenvalues, v, eigenvalues_bar, v_bar):
    """Cotangent of A from those of its eigenvalues and eigenvectors (arXiv:1710.08717, 3.4):

    1. With P = V' dA V and V' dV = W skew: dA V + A dV = dV diag(lambda) + V diag(d lambda) gives
       P = W diag(lambda) - diag(lambda) W + diag(d lambda).
    2. So d lambda_i = P_ii and W_ij = E_ij P_ij, E_ij = 1 / (lambda_j - lambda_i), E_ii = 0.
    3. <V_bar, dV> = <V' V_bar, E o P>; P is symmetric and E skew, which leaves
       <E o (V' V_bar - V_bar' V) / 2, P>.
    4. A_bar = V (diag(lambda_bar) + E o (V' V_bar - V_bar' V) / 2) V'.
    5. Within a cluster E is set to 0. For a function of its eigenvalues alone V_bar is 0 there,
       for one of its projector V' V_bar is symmetric: 0 is exact for both.
    6. The derivative of 4 by V is not known there: what becomes of lambda_bar_j - lambda_bar_i over
       lambda_j - lambda_i is the function's own affair.
    """
    unused = all_zero(v_bar) & all_zero(eigenvalues_bar[..., tf.newaxis])
    failed = tf.reduce_any(tf.math.is_nan(v), axis=[-2, -1])
    v = tf.where(append_axes(failed, v), tf.zeros_like(v), v)
    eigenvalues = tf.where(failed[..., tf.newaxis], tf.zeros_like(eigenvalues), eigenvalues)
    _, cluster = _gaps(eigenvalues)
    repeated = tf.reduce_any(_off_diagonal(cluster), axis=[-2, -1])
    eigenvalues, v = _without_derivative(eigenvalues, v, repeated & tf.logical_not(failed))
    gap, cluster = _gaps(eigenvalues)
    turn = tf.matmul(v, v_bar, transpose_a=True)
    turn = 0.5 * (turn - tf.linalg.matrix_transpose(turn))
    turn = tf.where(cluster, tf.zeros_like(gap), turn / tf.where(cluster, tf.ones_like(gap), gap))
    inner = turn + tf.linalg.diag(eigenvalues_bar)
    a_bar = tf.matmul(v, tf.matmul(inner, v, transpose_b=True))
    return spoil_used(a_bar, failed, unused)


@tf.RegisterGradient("StatespaceEigh")
def _gradient(op, eigenvalues_bar, v_bar, _):
    return native.library().statespace_eigh_grad(*op.outputs[:2], eigenvalues_bar, v_bar)


@tf.RegisterGradient("StatespaceEighGrad")
def _gradient_of_gradient(op, a_bar_bar):
    return op_vjp(op, adjoint_reference, [a_bar_bar])
