"""Starting values from the data: least squares on what went before."""

import numpy as np
import tensorflow as tf

from statespace.linalg_ops.least_squares import least_squares
from statespace.models.stationary import block_companion

_NEGLIGIBLE = 1e-8  # variance, of standardised series
_LARGEST_ROOT = 0.98  # of a starting value
_LAGS = (1, 2)  # of the errors of a regression
_ITERATIONS = 4


def standardise(values, centred):
    """Mean [N, m], spread [N, m] and standardised values of series [N, T, m] with gaps.

    Args:
      values: the series, NaN where missing.
      centred: whether they are taken to vary about their means, or about zero.
    """
    known = ~np.isnan(values)
    count = np.maximum(known.sum(axis=1), 1)
    mean = values.sum(axis=1, where=known) / count * float(centred)
    distance = values - mean[:, np.newaxis]
    spread = np.sqrt((distance**2).sum(axis=1, where=known) / count)
    spread = np.where(spread > 0, spread, 1.0)
    return mean, spread, distance / spread[:, np.newaxis]


def regress_on_past(series, lags, centred=False):
    """Vector autoregressions by least squares.

    Args:
      series: standardised, [N, T, m]; steps are left out where they or their pasts have gaps.
      lags: of the coefficients, p in all.
      centred: whether there is a mean, or it is zero.

    Returns:
      Coefficients [N, p, m, m], innovation covariances [N, m, m], positive definite, and means
      [N, m].
    """
    count, num_steps, m = series.shape
    past = [_delayed(series, lag) for lag in lags]
    past = np.concatenate([*past, series[..., :0]], axis=2)
    used = ~(np.isnan(past).any(axis=2) | np.isnan(series).any(axis=2))[..., np.newaxis]
    size = np.maximum(used.sum(axis=1, keepdims=True), 1)
    averages = [
        np.where(used, x, 0.0).sum(axis=1, keepdims=True) / size * float(centred)
        for x in (past, series)
    ]
    past, now = (
        np.where(used, x - average, 0.0)
        for x, average in zip((past, series), averages, strict=True)
    )
    # The ridge matters only where the past does not tell its parts from each other.
    solution = least_squares(past, now, ridge=_NEGLIGIBLE * num_steps).numpy()
    rest = now - past @ solution
    covariance = np.swapaxes(rest, 1, 2) @ rest / size + _NEGLIGIBLE * np.eye(m)
    coefficients = np.swapaxes(solution.reshape(count, len(lags), m, m), 2, 3)
    remains = np.eye(m) - coefficients.sum(axis=1)
    intercept = np.swapaxes(averages[1] - averages[0] @ solution, 1, 2)
    return coefficients, covariance, np.linalg.solve(remains, intercept)[..., 0]


def made_stationary(coefficients, lags):
    """Coefficients [N, p, m, m] with all roots drawn in by one factor, where one is too near one.

    Phi_k r^k has the roots of Phi_k times r.
    """
    if len(lags) == 0:
        return coefficients
    m = coefficients.shape[-1]
    every = np.zeros((len(coefficients), max(lags), m, m))
    every[:, np.array(lags) - 1] = coefficients
    largest = np.abs(np.linalg.eigvals(block_companion(tf.constant(every)).numpy())).max(axis=1)
    factor = np.minimum(1.0, _LARGEST_ROOT / np.maximum(largest, _NEGLIGIBLE))
    powers = factor[:, np.newaxis] ** np.array(lags)
    return coefficients * powers[..., np.newaxis, np.newaxis]


def _delayed(series, lag):
    """What [N, T, m] was a number of steps before; not known of the first steps."""
    before = np.full_like(series[:, :lag], np.nan)
    return np.concatenate([before, series[:, :-lag]], axis=1)


def regress_on_features(values, features):
    """Coefficients [N, K] of regressions of single series with autoregressive errors.

    The errors' autoregression, and the regression of what it leaves of series and features, are
    estimated in turn. That starts from the coefficients of least squares, which trends mislead,
    and once more from zero; what leaves less is taken.

    Args:
      values: [N, T, 1], NaN where missing.
      features: [1 or N, T, K].

    References:
      Cochrane, D. and Orcutt, G. H. (1949). Application of least squares regression to
      relationships containing auto-correlated error terms. Journal of the American Statistical
      Association 44(245), 32-61.
    """
    size = np.abs(features).max(axis=1, keepdims=True)
    size = np.where(size > 0, size, 1.0)
    x = np.broadcast_to(features / size, (*values.shape[:2], features.shape[2]))
    best, least = np.zeros((len(values), x.shape[2], 1)), np.full(len(values), np.inf)
    for coefficients in (best, _least_squares(x, values)[0]):
        for _ in range(_ITERATIONS):
            _, _, errors = standardise(values - x @ coefficients, False)
            phi, _, _ = regress_on_past(errors, _LAGS)
            left = (
                y - sum(phi[:, i] * _delayed(y, lag) for i, lag in enumerate(_LAGS))
                for y in (x, values)
            )
            coefficients, squares = _least_squares(*left)
        better = squares < least
        best = np.where(better[:, np.newaxis, np.newaxis], coefficients, best)
        least = np.where(better, squares, least)
    return (best / np.swapaxes(size, 1, 2))[..., 0]


def _least_squares(x, y):
    """Coefficients [N, K, 1] of y [N, T, 1] on x [N, T, K], and the sum of squares that is left."""
    used = ~(np.isnan(x).any(axis=2) | np.isnan(y[..., 0]))[..., np.newaxis]
    x, y = np.where(used, x, 0.0), np.where(used, y, 0.0)
    coefficients = least_squares(x, y, ridge=_NEGLIGIBLE).numpy()
    return coefficients, ((y - x @ coefficients) ** 2).sum(axis=(1, 2))
