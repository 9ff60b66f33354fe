"""Observed information of fitted parameters, and the standard errors that follow from it."""

import numpy as np
import tensorflow as tf

_STEP = 1e-4  # in free coordinates, where every scale varies on the same scale
_VAGUE = 100.0  # a standard error there of what the data hardly tell; of a scale, in logarithms


def informations(problem, free) -> np.ndarray:
    """Observed information at one point for each series.

    The information is minus the Hessian of the log-likelihood (with priors, of the posterior
    density): central differences of the analytic gradient, with an error of about 1e-8 of its
    size. A coordinate at the boundary has a row and a column of the identity.

    Args:
      problem: N series.
      free: [N, p].

    Returns:
      Informations [N, p, p]; NaN where not positive definite.
    """
    size = free.shape[1]
    hessian = _differences(problem, free, lambda *points: problem.objective(*points)[1])
    information = -(hessian + np.swapaxes(hessian, 1, 2)) / 2
    information = np.where(_both_inside(problem, free), information, np.eye(size))
    finite = np.isfinite(information).all(axis=(1, 2))
    if size:
        smallest = np.linalg.eigvalsh(np.where(finite[:, None, None], information, np.eye(size)))
        finite &= smallest[:, 0] > 0
    information[~finite] = np.nan
    return information


def within_limits(problem, free) -> np.ndarray:
    """Which coordinates are inside the range in which they are sought, bool [N, p].

    The others lie at a boundary, where the likelihood need not be flat and says nothing of its
    curvature.
    """
    low, high = problem.parameterisation.each("limits").reshape(-1, 2).T
    return (free > low + _STEP) & (free < high - _STEP)


def _both_inside(problem, free):
    """Which pairs of coordinates are inside their ranges, bool [N, p, p]."""
    inside = within_limits(problem, free)
    return inside[:, :, np.newaxis] & inside[:, np.newaxis, :]


def _differences(problem, free, function):
    """Central differences of a function of points and their series, [N, p, ...]."""
    count, size = free.shape
    # At a scale of zero the gradient is not a number; next to it the likelihood is flat.
    lowest = problem.parameterisation.each("limits")[:, 0]
    centre = np.where(np.isneginf(free), lowest, free)
    steps = _STEP * np.concatenate([np.eye(size), -np.eye(size)])
    points = (centre[:, np.newaxis] + steps).reshape(-1, size)
    values = function(points, np.repeat(np.arange(count), 2 * size))
    forward, backward = np.split(values.reshape(count, 2 * size, -1), 2, axis=1)
    return (forward - backward) / (2 * _STEP)


def outer_products(problem, free) -> np.ndarray:
    """The information as the sum of outer products of each step's score, [N, p, p].

    The scores are central differences of the log-likelihoods of the steps.

    References:
      Berndt, E., Hall, B., Hall, R. and Hausman, J. (1974). Estimation and inference in nonlinear
      structural models. Annals of Economic and Social Measurement 3(4), 653-665.
    """
    scores = _differences(problem, free, problem.per_step)  # [N, p, T]
    information = scores @ np.swapaxes(scores, 1, 2)
    return np.where(_both_inside(problem, free), information, np.eye(free.shape[1]))


def covariances(problem, free, information, share=()) -> np.ndarray:
    """Covariances of the estimated values by the delta method, [N, p, p]; NaN at the boundary.

    Args:
      problem: N series.
      free: [N, p].
      information: of the free coordinates, [N, p, p]; NaN where unknown.
      share: names of parameters with one value for all series.
    """
    common = np.isin(problem.parameterisation.each("name"), list(share))
    covariance = _joint(information, common) if common.any() else _inverse(information)
    _, slopes = values_and_slopes(problem.parameterisation, tf.constant(free), problem.units)
    slopes = slopes.numpy()
    covariance = slopes @ covariance @ np.swapaxes(slopes, 1, 2)
    return np.where(_both_inside(problem, free), covariance, np.nan)


def hardly_told(problem, free, deviations) -> np.ndarray:
    """Which coordinates the likelihood is all but flat in, although it has a maximum, bool [N, p].

    Args:
      problem: N series.
      free: [N, p].
      deviations: standard errors of the values, [N, p], NaN where unknown.
    """
    _, slopes = values_and_slopes(problem.parameterisation, tf.constant(free), problem.units)
    slopes = np.abs(np.diagonal(slopes.numpy(), axis1=1, axis2=2))
    # A coefficient next to one, where the process stops being stationary, is told well enough.
    smallest = np.where(problem.parameterisation.each("power") == 0, 1.0, 0.0)
    return deviations > np.maximum(_VAGUE * slopes, smallest)


def _inverse(matrices):
    result = np.full_like(matrices, np.nan)
    fine = np.isfinite(matrices).all(axis=(1, 2))
    fine[fine] = np.linalg.matrix_rank(matrices[fine], hermitian=True) == matrices.shape[-1]
    result[fine] = np.linalg.inv(matrices[fine])
    return result


def _joint(information, common):
    """Blocks of the inverse of the information of all series, which share some coordinates.

    By the Schur complement: with s the shared and o a series' own coordinates,
    A = sum (I_ss - I_so I_oo^-1 I_os) is the information of the shared ones.
    """
    own = ~common
    i_ss, i_so, i_oo = (
        information[:, a][:, :, b] for a, b in ((common, common), (common, own), (own, own))
    )
    inverse = _inverse(i_oo)
    reduced = i_so @ inverse
    [shared] = _inverse((i_ss - reduced @ np.swapaxes(i_so, 1, 2)).sum(axis=0)[np.newaxis])
    result = np.empty_like(information)
    cross = -shared @ reduced
    at = np.ix_
    for covariance, x, y in zip(result, inverse, zip(reduced, cross, strict=True), strict=True):
        covariance[at(common, common)] = shared
        covariance[at(common, own)] = y[1]
        covariance[at(own, common)] = y[1].T
        covariance[at(own, own)] = x - y[0].T @ y[1]
    return result


def values_and_slopes(parameterisation, free, units):
    """Values at free coordinates [N, p], in their order, and d value / d coordinate [N, p, p]."""
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(free)
        values = parameterisation.flat(parameterisation.values(free, units))
    return values, tape.batch_jacobian(values, free, experimental_use_pfor=False)
