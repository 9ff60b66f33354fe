"""The dense joint Gaussian of all states and observations: a filter without a recursion.

Every step's moments are written out as one big mean and covariance, then conditioned with NumPy:
slow and obvious, for small T.
"""

from typing import NamedTuple

import numpy as np


class Model(NamedTuple):
    """One series' parameters with a time axis: f[T, n, n], g[T, n, k], h, c, b, d, m0[n], s0."""

    f: np.ndarray
    g: np.ndarray
    h: np.ndarray
    c: np.ndarray
    b: np.ndarray
    d: np.ndarray
    m0: np.ndarray
    s0: np.ndarray


def joint_moments(model):
    """Mean and covariance of the stacked states, x_0 ... x_{T-1}."""
    num_steps, n = model.b.shape
    # x = mean + A z for independent standard normals z = (z_0, q_0, q_1, ...).
    noise = model.s0.shape[1] + (num_steps - 1) * model.g.shape[2]
    loading, mean = np.zeros((num_steps, n, noise)), np.zeros((num_steps, n))
    loading[0, :, : model.s0.shape[1]] = model.s0
    mean[0] = model.m0
    for t in range(num_steps - 1):
        start = model.s0.shape[1] + t * model.g.shape[2]
        loading[t + 1] = model.f[t] @ loading[t]
        loading[t + 1, :, start : start + model.g.shape[2]] += model.g[t]
        mean[t + 1] = model.f[t] @ mean[t] + model.b[t]
    flat = loading.reshape(num_steps * n, noise)
    return mean.ravel(), flat @ flat.T


def _observation(model):
    num_steps, m, n = model.h.shape
    h = np.zeros((num_steps * m, num_steps * n))
    r = np.zeros((num_steps * m, num_steps * m))
    for t in range(num_steps):
        rows, columns = slice(t * m, (t + 1) * m), slice(t * n, (t + 1) * n)
        h[rows, columns] = model.h[t]
        r[rows, rows] = model.c[t] @ model.c[t].T
    return h, r


def observation_moments(model):
    """Mean and covariance of the stacked observations, y_0 ... y_{T-1}."""
    mean, covariance = joint_moments(model)
    h, r = _observation(model)
    return h @ mean + model.d.ravel(), h @ covariance @ h.T + r


def log_likelihood(model, y):
    """log p(y) over what is not NaN."""
    mean, covariance = joint_moments(model)
    h, r = _observation(model)
    seen = ~np.isnan(y.ravel())
    residual = (y.ravel() - h @ mean - model.d.ravel())[seen]
    s = (h @ covariance @ h.T + r)[np.ix_(seen, seen)]
    _, log_det = np.linalg.slogdet(s)
    quadratic = residual @ np.linalg.solve(s, residual) if residual.size else 0.0
    return -0.5 * (residual.size * np.log(2 * np.pi) + log_det + quadratic)


def posterior(model, y):
    """Mean [T, n] and covariance [T, n, T, n] of the states given what is not NaN."""
    num_steps, n = model.b.shape
    mean, covariance = joint_moments(model)
    h, r = _observation(model)
    seen = ~np.isnan(y.ravel())
    h, residual = h[seen], (y.ravel() - h @ mean - model.d.ravel())[seen]
    gain = np.linalg.solve(h @ covariance @ h.T + r[np.ix_(seen, seen)], h @ covariance).T
    mean = mean + gain @ residual
    covariance = covariance - gain @ h @ covariance
    return mean.reshape(num_steps, n), covariance.reshape(num_steps, n, num_steps, n)


def diffuse_posterior(model, y, diffuse):
    """What ``log_likelihood`` and ``posterior`` are in the limit of a diffuse start.

    The diffuse states, of which ``m0`` and ``s0`` are zero, start at unknown constants delta:
    x = x_0 + W delta. Generalised least squares over all data at once (de Jong 1991); the number
    of diffuse states must be identified.

    Returns:
      lim log p(y) + d / 2 log kappa, and mean [T, n] and covariance [T, n, T, n].
    """
    num_steps, n = model.b.shape
    mean, covariance = joint_moments(model)
    w = np.zeros((num_steps, n, np.sum(diffuse)))
    w[0] = np.eye(n)[:, diffuse]
    for t in range(num_steps - 1):
        w[t + 1] = model.f[t] @ w[t]
    w = w.reshape(num_steps * n, -1)
    h, r = _observation(model)
    seen = ~np.isnan(y.ravel())
    h, residual = h[seen], (y.ravel() - h @ mean - model.d.ravel())[seen]
    s, x = h @ covariance @ h.T + r[np.ix_(seen, seen)], h @ w
    precision = x.T @ np.linalg.solve(s, x)
    delta = np.linalg.solve(precision, x.T @ np.linalg.solve(s, residual))
    gain = np.linalg.solve(s, h @ covariance).T
    left = residual - x @ delta
    value = -0.5 * (
        residual.size * np.log(2 * np.pi)
        + np.linalg.slogdet(s)[1]
        + np.linalg.slogdet(precision)[1]
        + left @ np.linalg.solve(s, left)
    )
    spread = w - gain @ x
    mean = mean + w @ delta + gain @ left
    covariance = covariance - gain @ h @ covariance + spread @ np.linalg.solve(precision, spread.T)
    return value, mean.reshape(num_steps, n), covariance.reshape(num_steps, n, num_steps, n)
