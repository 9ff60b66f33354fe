"""Measures of how good forecasts were: NumPy functions of what came and what had been said.

Arrays are [..., h], h steps of each of any number of series. Means are over the last axis, [...], a
number for one series. They leave out steps whose outcome is missing, NaN; where nothing is left,
they are NaN.
"""

import numbers

import numpy as np

from statespace import scores
from statespace.forecasting.errors import InputError


def coverage(actual, lower, upper):
    """Share of the outcomes that lie in their intervals, [...].

    Args:
      actual: outcomes y, [..., h].
      lower, upper: ends of the intervals, which belong to them, [..., h].

    Example:
      >>> coverage([1.0, 2.0, 9.0, np.nan], [0.0] * 4, [2.0] * 4)  # two of three
      0.6666666666666666
    """
    actual, lower, upper = _arrays(actual, lower, upper)
    inside = scores.inside(actual, lower, upper).numpy().astype(np.float64)
    return nan_mean(np.where(np.isnan(actual), np.nan, inside))


def crps_normal(actual, mean, standard_deviation):
    """Mean continuous ranked probability score of normal distributions, [...]; less is better.

    The formula is that of ``statespace.scores.crps_normal``. It is in units of the data and equals
    ``|y - mu|`` where sigma is zero.

    Args:
      actual: outcomes y, [..., h].
      mean, standard_deviation: of the forecasts, mu and sigma, [..., h].

    References:
      Gneiting, T. and Raftery, A. E. (2007). Strictly proper scoring rules, prediction, and
      estimation. Journal of the American Statistical Association 102(477), 359-378, section 4.2.

    Example:
      >>> round(crps_normal([0.0, 1.0], [0.0, 0.0], [1.0, 1.0]), 4)
      0.4181
    """
    return nan_mean(scores.crps_normal(*_arrays(actual, mean, standard_deviation)).numpy())


def crps_samples(actual, samples):
    """Mean continuous ranked probability score of the empirical distributions of draws, [...].

        ``CRPS(F, y) = E|X - y| - E|X - X'| / 2``,    X, X' independent, each one of the n draws

    Finitely many draws are taken for the whole distribution, so the score of a distribution that
    was drawn from is too large by ``E|X - X'| / (2 n)`` on average.

    Args:
      actual: outcomes y, [..., h].
      samples: n draws, [n, ..., h], as :meth:`Forecast.sample` returns them.

    Raises:
      InputError: the draws do not have the shape of the outcomes after their first axis.

    References:
      Gneiting, T. and Raftery, A. E. (2007). Strictly proper scoring rules, prediction, and
      estimation. Journal of the American Statistical Association 102(477), 359-378, equation 21.

    Example:
      >>> crps_samples([1.0], [[0.0], [2.0]])
      0.5
    """
    actual, samples = np.asarray(actual, np.float64), np.sort(np.asarray(samples, np.float64), 0)
    if samples.shape[1:] != actual.shape:
        raise InputError(
            f"samples has shape {list(samples.shape)}; for outcomes {list(actual.shape)} it must "
            f"be {['n', *actual.shape]}."
        )
    n = len(samples)
    # In order of size, draw i is the larger one of i pairs and the smaller one of n - 1 - i.
    weights = (2 * np.arange(n) - n + 1) / n**2
    half_spread = np.tensordot(weights, samples, axes=1)  # E|X - X'| / 2
    return nan_mean(np.abs(samples - actual).mean(axis=0) - half_spread)


def mase(actual, forecast, training, season=1):
    """Mean absolute scaled error, [...]: in units of the errors that the past would have had.

        ``mean_h |y_h - f_h| / mean_t |y_t - y_{t - season}|``

    The denominator is the mean error of seasonal naive forecasts of the data before. Where it is
    zero or has no value there is no scale, and the result is NaN.

    Args:
      actual, forecast: outcomes and point forecasts, [..., h].
      training: the data before, [..., T].
      season: number of steps of a season, 1 for none.

    Raises:
      InputError: ``season`` is not a positive whole number.

    References:
      Hyndman, R. J. and Koehler, A. B. (2006). Another look at measures of forecast accuracy.
      International Journal of Forecasting 22(4), 679-688.

    Example:
      >>> mase([7.0, 8.0], [6.0, 6.0], [1.0, 3.0, 5.0])
      0.75
    """
    if not isinstance(season, numbers.Integral) or season < 1:
        raise InputError(f"season is a positive whole number of steps; given was {season!r}.")
    actual, forecast = _arrays(actual, forecast)
    training = np.asarray(training, np.float64)
    scale = nan_mean(np.abs(training[..., season:] - training[..., :-season]))
    scale = np.where(scale > 0, scale, np.nan)[..., np.newaxis]
    return nan_mean(np.abs(actual - forecast) / scale)


def nan_mean(values, axis=-1):
    """Mean over some axes of what is not NaN; NaN where nothing is left.

    Example:
      >>> nan_mean(np.array([[1.0, np.nan], [np.nan, np.nan]]))
      array([ 1., nan])
    """
    known = ~np.isnan(values)
    count = np.count_nonzero(known, axis=axis)
    mean = np.where(known, values, 0.0).sum(axis=axis) / np.where(count > 0, count, np.nan)
    return mean if np.ndim(mean) else float(mean)


def smape(actual, forecast):
    """Symmetric mean absolute percentage error, in percent from 0 to 200, [...].

        ``mean_h 200 |y_h - f_h| / (|y_h| + |f_h|)``

    A zero forecast as zero counts as no error.

    Args:
      actual, forecast: outcomes and point forecasts, [..., h].

    References:
      Makridakis, S., Spiliotis, E. and Assimakopoulos, V. (2020). The M4 competition: 100,000 time
      series and 61 forecasting methods. International Journal of Forecasting 36(1), 54-74.

    Example:
      >>> smape([100.0, 50.0], [100.0, 150.0])
      50.0
    """
    actual, forecast = _arrays(actual, forecast)
    error, size = np.abs(actual - forecast), np.abs(actual) + np.abs(forecast)
    return nan_mean(200 * error / np.where(size > 0, size, 1.0))


def weighted_quantile_loss(actual, quantiles, levels, axis=None):
    """Weighted quantile loss WQL, the mean over the levels q of

        ``2 sum_t (q - 1{y_t < f_t}) (y_t - f_t) / sum_t |y_t|``

    with the quantile forecasts f of that level. The sums are over all series and steps, so large
    series count for more, as in GluonTS and in the published results of Chronos.

    Args:
      actual: outcomes y, [..., h].
      quantiles: forecast of each quantile, [Q, ..., h].
      levels: the Q levels, between 0 and 1.
      axis: over which axes of ``actual`` the sums are; all by default.

    Returns:
      A number, or an array over the other axes; NaN where all outcomes are zero or missing.

    Raises:
      InputError: there are not as many quantiles as levels.

    References:
      Ansari, A. F. et al. (2024). Chronos: learning the language of time series. Transactions on
      Machine Learning Research, section 5.3.

    Example:
      >>> weighted_quantile_loss([1.0, 3.0], [[2.0, 2.0]], [0.5])
      0.5
    """
    actual, quantiles = np.asarray(actual, np.float64), np.asarray(quantiles, np.float64)
    if quantiles.shape != (len(levels), *actual.shape):
        raise InputError(
            f"quantiles has shape {list(quantiles.shape)}; for {len(levels)} levels and outcomes "
            f"{list(actual.shape)} it must be {[len(levels), *actual.shape]}."
        )
    levels = np.reshape(levels, (-1,) + (1,) * actual.ndim)
    error = actual - quantiles
    loss = np.maximum(levels * error, (levels - 1) * error).mean(axis=0)
    total = np.nansum(np.abs(actual), axis=axis)
    loss = 2 * np.nansum(loss, axis=axis) / np.where(total > 0, total, np.nan)
    return loss if np.ndim(loss) else float(loss)


def _arrays(*values):
    return np.broadcast_arrays(*(np.asarray(x, np.float64) for x in values))
