"""Newton's method for the scales at a maximum of the evidence, once a search is near it."""

import numpy as np

from statespace.models.linear_gaussian_regression import posterior, weight_covariance

_MOST_STEPS = 6
_LONGEST_STEP = 0.5  # of a logarithm; from farther away, the search has not found a maximum
_IN = 1e-8  # part of its variance that the data take from a weight, for its scale to be moved


def polish(x, y, count, noise_scale, weight_scale, *, per_feature, noise_known=False):
    """The scales at the maximum nearby, to the last digits, for A data sets.

    A search ends where slopes are small, and where the evidence is flat that is still some way off.
    With C the covariance of y, K = S X' C^-1 X S and u = S X' C^-1 y, which are 1 - the posterior
    covariance and the posterior mean of the whitened weights, the derivatives of the log evidence E
    by theta_j = log scale_j^2 and eta = log noise_scale^2 are

    1. E_j = (u_j^2 - K_jj) / 2, zero where MacKay's fixed point is.
    2. E_ij = K_ij^2 / 2 - u_i u_j K_ij + delta_ij E_j.
    3. A common factor of all variances changes E by G = E_eta + sum_j E_j = (y' C^-1 y - N) / 2,
       from which come E_eta, and E_{eta j} and E_{eta eta}, since dG / d theta_j = -u_j^2 / 2.

    Where the curvature is not that of a maximum, or steps do not become smaller, scales stay as
    they are. So do scales of zero.

    Args:
      x, y: pseudo-observations, ``[A, R, D]`` and ``[A, R]``.
      count: observations that they stand for, ``[A]``.
      noise_scale, weight_scale: where the search ended, ``[A]`` and ``[A, D]``.
      per_feature: whether each weight has its own scale, or all the same.
      noise_known: whether the noise stays as it is.

    Returns:
      Both scales.
    """
    used = np.flatnonzero((weight_scale > 0).any(axis=0))
    x, scale = x[..., used], weight_scale[:, used]
    running, last = np.ones(len(y), bool), np.inf
    for _ in range(_MOST_STEPS):
        slope, curvature = evidence_derivatives(x, y, count, noise_scale, scale)
        step = _step(slope, curvature, per_feature, noise_known)
        size = np.abs(step).max(axis=1, initial=0.0)
        running &= (size < _LONGEST_STEP) & (size < 0.5 * last) & (size > 0)
        if not running.any():
            break
        step = np.where(running[:, np.newaxis], step, 0.0)
        noise_scale = noise_scale * np.exp(0.5 * step[:, 0])
        scale = scale * np.exp(0.5 * step[:, 1:])
        last = size
    weight_scale = weight_scale.copy()
    weight_scale[:, used] = scale
    return noise_scale, weight_scale


def evidence_derivatives(x, y, count, noise_scale, scale):
    """Of the log evidence by the logarithms of variances, that of the noise first.

    Args:
      as for ``polish``.

    Returns:
      Slope ``[A, 1 + D]`` and curvature ``[A, 1 + D, 1 + D]``.
    """
    post = posterior(x, y, noise_scale[:, np.newaxis], scale)
    safe = np.where(scale > 0, scale, 1.0)
    u = post.mean.numpy() / safe
    identity = np.where(scale > 0, 1.0, 0.0)[:, np.newaxis] * np.eye(scale.shape[-1])
    product = safe[:, :, np.newaxis] * safe[:, np.newaxis]
    k = identity - weight_covariance(post).numpy() / product
    e_j = 0.5 * (u**2 - np.diagonal(k, axis1=1, axis2=2))
    e_ij = 0.5 * k**2 - u[:, :, np.newaxis] * u[:, np.newaxis] * k
    e_ij = e_ij + e_j[:, np.newaxis] * np.eye(scale.shape[-1])
    distance = post.squared_distance.numpy()
    e_noise = 0.5 * (distance - count) - e_j.sum(axis=1)
    mixed = -0.5 * u**2 - e_ij.sum(axis=2)
    twice = 0.5 * ((u**2).sum(axis=1) - distance) - mixed.sum(axis=1)
    slope = np.concatenate([e_noise[:, np.newaxis], e_j], axis=1)
    top = np.concatenate([twice[:, np.newaxis], mixed], axis=1)[:, np.newaxis]
    below = np.concatenate([mixed[:, :, np.newaxis], e_ij], axis=2)
    # Weights of which the data say next to nothing have no say in where the others are.
    free = np.concatenate([np.ones((len(y), 1)), np.diagonal(k, axis1=1, axis2=2) > _IN], axis=1)
    curvature = np.concatenate([top, below], axis=1)
    return slope * free, curvature * free[:, :, np.newaxis] * free[:, np.newaxis]


def _step(slope, curvature, per_feature, noise_known):
    """To the maximum of the parabola, ``[A, 1 + D]``; infinite where it has none."""
    size = slope.shape[-1]
    columns = np.eye(size) if per_feature else np.stack([np.eye(size)[0], 1 - np.eye(size)[0]], 1)
    columns = columns[:, int(noise_known) :]
    slope, curvature = slope @ columns, columns.T @ -curvature @ columns
    diagonal = np.diagonal(curvature, axis1=1, axis2=2)
    curvature = curvature + np.eye(columns.shape[1]) * (diagonal == 0)[:, np.newaxis]
    eigenvalues = np.linalg.eigvalsh(curvature) if columns.shape[1] else np.ones((len(slope), 1))
    maximum = np.isfinite(eigenvalues).all(axis=1) & (eigenvalues > 0).all(axis=1)
    curvature[~maximum] = np.eye(columns.shape[1])
    step = np.linalg.solve(curvature, slope[..., np.newaxis])[..., 0] @ columns.T
    return np.where(maximum[:, np.newaxis], step, np.inf)
