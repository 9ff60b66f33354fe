"""The Rauch-Tung-Striebel recursion, for those who hold the filter's moments."""

import tensorflow as tf

from statespace.linalg_ops.arguments import broadcast_batches, broadcast_matmul
from statespace.linalg_ops.psd_cholesky import psd_cholesky
from statespace.linalg_ops.triangular import triangular_solve

tnp = tf.experimental.numpy


def backward_pass(
    transition_matrix, filtered_means, filtered_covs, predicted_means, predicted_covs
) -> tuple[tf.Tensor, tf.Tensor]:
    """Smoothed moments from filtered ones, with J = P_f F' P^-1 of each step:

        x = m_f + J (x+ - m),    V = P_f + J (V+ - P) J'

    A singular P is fine: the columns of F P_f lie in its range, so any generalised inverse gives
    the same J.

    Args:
      transition_matrix: F, ``[..., n, n]`` or ``[..., T, n, n]``.
      filtered_means: m_f of z_t, ``[..., T, n]``.
      filtered_covs: P_f of z_t, ``[..., T, n, n]``.
      predicted_means: m of z_{t+1}, ``[..., T, n]``.
      predicted_covs: P of z_{t+1}, ``[..., T, n, n]``.

    Returns:
      x ``[..., T, n]`` and V ``[..., T, n, n]``.

    Raises:
      tf.errors.InvalidArgumentError: a P is not positive semidefinite.

    References:
      Särkkä, Bayesian Filtering and Smoothing, 1st ed., theorem 8.2.
    """
    forward = broadcast_matmul(transition_matrix, filtered_covs)
    gain = tf.linalg.matrix_transpose(_solve_semidefinite(predicted_covs, forward))
    covariances = broadcast_batches([gain, filtered_covs, predicted_covs], [3, 3, 3])
    gain = covariances[0]
    means = broadcast_batches([filtered_means, predicted_means, gain], [2, 2, 3])[:2]

    def step(carry, elements):
        (x, v), (j, p_f, p, m_f, m) = carry, elements
        x = m_f + broadcast_matmul(j, (x - m)[..., tf.newaxis])[..., 0]
        return x, p_f + j @ (v - p) @ tf.linalg.matrix_transpose(j)

    # Started from what was predicted, the last step returns what was filtered.
    elements = (
        *(tnp.moveaxis(x, -3, 0) for x in covariances),
        *(tnp.moveaxis(x, -2, 0) for x in means),
    )
    _, _, p, _, m = elements
    x, v = tf.scan(step, elements, (m[-1], p[-1]), reverse=True)
    return tnp.moveaxis(x, 0, -2), tnp.moveaxis(v, 0, -3)


def _solve_semidefinite(a, b):
    """One solution of A X = B where the columns of B lie in the range of A."""
    l = psd_cholesky(a, on_failure="raise")
    pivots = tf.linalg.diag_part(l)
    positive = pivots > 0
    # The column of a zero pivot is zero, and so is that row of what is solved for.
    l = tf.linalg.set_diag(l, tf.where(positive, pivots, tf.ones_like(pivots)))
    z = tf.where(positive[..., tf.newaxis], triangular_solve(l, b), tf.zeros([], b.dtype))
    return triangular_solve(l, z, adjoint=True)
