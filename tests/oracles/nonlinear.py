"""Textbook nonlinear filters and smoothers for one series: covariances, loops, explicit inverses.

Särkkä & Svensson, Bayesian Filtering and Smoothing, 2nd ed.: extended (algorithms 7.4, 13.3),
iterated (7.9, 13.6), unscented (8.13, 14.7) and cubature (8.9, 14.5). Jacobians are complex steps.
"""

from typing import NamedTuple

import numpy as np


class Model(NamedTuple):
    """f(x, t) and h(x, t) of single states; q, r, p0 are covariances."""

    f: object
    h: object
    q: np.ndarray
    r: np.ndarray
    m0: np.ndarray
    p0: np.ndarray


class Moments(NamedTuple):
    mean: np.ndarray
    covariance: np.ndarray  # without noise
    cross: np.ndarray  # Cov[x, g(x)]


def jacobian(function, x):
    columns = [function(x + 1e-30j * unit).imag / 1e-30 for unit in np.eye(len(x))]
    return np.stack(columns, axis=1)


def tangent(function, mean, covariance):
    j = jacobian(function, mean.astype(complex))
    return Moments(function(mean), j @ covariance @ j.T, covariance @ j.T)


def sigma_points(alpha, beta, kappa):
    def moments(function, mean, covariance):
        n = len(mean)
        spread = alpha**2 * (n + kappa)
        root = np.sqrt(spread) * np.linalg.cholesky(covariance)
        points = [mean, *(mean + c for c in root.T), *(mean - c for c in root.T)]
        weights = np.full(2 * n + 1, 0.5 / spread)
        for_covariance = weights.copy()
        weights[0] = 1 - n / spread
        for_covariance[0] = weights[0] + 1 - alpha**2 + beta
        values = np.array([function(x) for x in points])
        average = weights @ values
        left, right = np.array(points) - mean, values - average
        return Moments(
            average,
            np.einsum("p,pi,pj->ij", for_covariance, right, right),
            np.einsum("p,pi,pj->ij", for_covariance, left, right),
        )

    return moments


def cubature(function, mean, covariance):
    n = len(mean)
    root = np.sqrt(n) * np.linalg.cholesky(covariance)
    points = np.array([*(mean + c for c in root.T), *(mean - c for c in root.T)])
    values = np.array([function(x) for x in points])
    left, right = points - mean, values - np.mean(values, axis=0)
    return Moments(np.mean(values, axis=0), right.T @ right / (2 * n), left.T @ right / (2 * n))


def run(model, y, moments, iterations=1):
    """Filter and smoother of y [T, m].

    Args:
      moments: ``tangent``, ``cubature`` or what ``sigma_points`` returns.
      iterations: linearisations of the observation, and then of the whole path, for ``tangent``:
        whole Gauss-Newton steps.

    Returns:
      Results by the names of ``FilterResult`` and ``SmootherResult``.
    """
    total, mean, covariance = 0.0, model.m0, model.p0
    found, transitions = [], []
    for t, y_t in enumerate(y):
        predicted = mean, covariance
        seen = ~np.isnan(y_t)
        for _ in range(iterations):
            g = moments(lambda x, t=t: model.h(x, t), mean, covariance)
            slope = np.linalg.solve(covariance, g.cross).T
            innovation = np.where(seen, y_t - g.mean - slope @ (predicted[0] - mean), 0.0)
            s = g.covariance + model.r
            part = s[np.ix_(seen, seen)]
            gain = np.linalg.solve(part, g.cross[:, seen].T).T
            mean = predicted[0] + gain @ innovation[seen]
        v = innovation[seen]
        total -= 0.5 * (v @ np.linalg.solve(part, v) + np.linalg.slogdet(2 * np.pi * part)[1])
        covariance = covariance - gain @ part @ gain.T
        found.append((mean, covariance, *predicted, innovation, s))
        g = moments(lambda x, t=t: model.f(x, t), mean, covariance)
        mean, covariance = g.mean, g.covariance + model.q
        transitions.append((mean, covariance, np.linalg.solve(covariance, g.cross.T).T))

    smoothed, lag_one = [found[-1][:2]], []
    for (mean, covariance, *_), (ahead, spread, back) in zip(
        found[-2::-1], transitions[-2::-1], strict=True
    ):
        later_mean, later_covariance = smoothed[0]
        lag_one.insert(0, later_covariance @ back.T)
        covariance = covariance + back @ (later_covariance - spread) @ back.T
        smoothed.insert(0, (mean + back @ (later_mean - ahead), covariance))
    names = [f"{kind}_{x}" for kind in ("filtered", "predicted") for x in ("mean", "covariance")]
    names += ["innovation", "innovation_covariance"]
    results = {name: np.array(x) for name, x in zip(names, zip(*found, strict=True), strict=True)}
    results["smoothed_mean"], results["smoothed_covariance"] = map(
        np.array, zip(*smoothed, strict=True)
    )
    results |= {"log_likelihood": total, "lag_one_covariance": np.array(lag_one)}
    for _ in range(iterations - 1):
        again = run(along(model, results["smoothed_mean"]), y, moments)
        results |= {k: again[k] for k in again if "smoothed" in k or "lag_one" in k}
    return results


def along(model, path):
    """The model with the tangents of its functions at each step of a path for these."""

    def tangent_of(function):
        def linear(x, t):
            slope = jacobian(lambda place: function(place, t), path[t].astype(complex))
            return function(path[t], t) + slope @ (x - path[t])

        return linear

    return model._replace(f=tangent_of(model.f), h=tangent_of(model.h))
