"""Singular vectors through our own factorisations, and the Moore-Penrose inverse."""

import math

import numpy as np
import tensorflow as tf

from statespace.linalg_ops.differentiation import custom_rule
from statespace.linalg_ops.eigh import eigh
from statespace.linalg_ops.lq import lq
from statespace.linalg_ops.products import gemm


def singular_vectors(a):
    """U, sigma and V of A = U diag(sigma) V', by the symmetric [0 A'; A 0].

    Its eigenvalues are +-sigma, with eigenvectors [v; +-u] / sqrt(2), so singular values are found
    to eps times the largest, where the eigenvalues of A A' lose those below sqrt(eps) times that.
    Inside XLA this is as accurate as outside, which TensorFlow's own decomposition is not.

    Args:
      a: ``[..., m, n]``, finite.

    Returns:
      With k = min(m, n), descending: U ``[..., m, k]``, sigma ``[..., k]`` and V ``[..., n, k]``,
      differentiable as ``eigh`` is. Columns of U and V are orthonormal to eps times the largest
      singular value over their own; those of singular values that are zero are arbitrary vectors.

    References:
      Golub & Van Loan, Matrix Computations, 4th ed., section 8.6.1.
    """
    transposed = tf.linalg.matrix_transpose(a)
    left = tf.concat([tf.zeros_like(gemm(transposed, a)), a], axis=-2)
    right = tf.concat([transposed, tf.zeros_like(gemm(a, transposed))], axis=-2)
    eigenvalues, vectors = eigh(tf.concat([left, right], axis=-1))
    rows, columns = a.shape[-2:] if a.shape.rank is not None else (None, None)
    if rows is None or columns is None:
        rows, columns = tf.unstack(tf.shape(a)[-2:], num=2)
        count = tf.minimum(rows, columns)
    else:
        count = min(rows, columns)
    vectors = math.sqrt(2.0) * tf.reverse(vectors, axis=[-1])[..., :count]
    sigma = tf.reverse(eigenvalues, axis=[-1])[..., :count]
    return vectors[..., columns:, :], sigma, vectors[..., :columns, :]


@custom_rule
def pseudo_inverse(a):
    """The Moore-Penrose inverse ``[..., n, m]`` of A ``[..., m, n]``, finite and of any rank.

    Singular values up to max(m, n) eps times the largest count as zero. The derivative is that for
    changes of A which keep its rank; there is none for others. With P = A^+ (Golub and Pereyra):

    1. dP = -P dA P + P P' dA' (I - A P) + (I - P A) dA' P' P.
    2. A_bar = -P' P_bar P' + (I - A P) P_bar' P P' + P' P P_bar' (I - P A).
    3. It is made of A and P, so that further derivatives follow from the same rule.

    References:
      Golub, G. H. and Pereyra, V. (1973). The differentiation of pseudo-inverses and nonlinear
      least squares problems whose variables separate. SIAM J. Numer. Anal. 10(2), 413-432.
    """

    def gradient(p_bar):
        p = pseudo_inverse(a)
        p_bar = tf.convert_to_tensor(p_bar)
        right = gemm(p_bar, gemm(p, p, transpose_b=True), transpose_a=True)
        right -= gemm(a, gemm(p, right))
        left = gemm(gemm(p, p, transpose_a=True), p_bar, transpose_b=True)
        left -= gemm(gemm(left, p), a)
        return right + left - gemm(gemm(p, p_bar, transpose_a=True), p, transpose_b=True)

    # A = Q_2' L_2' Q_1, whatever its shape, with a square L_2 = U diag(sigma) V'.
    l, q_1 = lq(a)
    l, q_2 = lq(tf.linalg.matrix_transpose(l))
    u, sigma, v = singular_vectors(l)
    size = tf.cast(tf.maximum(tf.shape(a)[-1], tf.shape(a)[-2]), a.dtype)
    bound = size * np.finfo(a.dtype.as_numpy_dtype).eps * sigma[..., :1]
    zero = sigma <= bound
    inverse = tf.where(zero, tf.zeros_like(sigma), 1 / tf.where(zero, tf.ones_like(sigma), sigma))
    middle = gemm(u * inverse[..., tf.newaxis, :], v, transpose_b=True)
    return gemm(gemm(q_1, middle, transpose_a=True), q_2), gradient
