"""Tests of whether residuals are what a right model leaves: white noise, normal, of one variance.

Functions of residuals [..., T], NaN where there is none, for any number of series at once. Missing
residuals are left out of every sum, so no series has to be complete.
"""

from typing import Any, NamedTuple

import numpy as np


class SignificanceTest(NamedTuple):
    """A test of each series, in the form of the data."""

    statistic: Any
    degrees_of_freedom: Any
    p_value: Any  # probability of a statistic this extreme if the model is right


def autocorrelations(residuals, lags):
    """Sample autocorrelations at the lags 1 to ``lags``, and how many pairs each rests on.

        r_k = sum_t z_t z_{t+k} / sum_t z_t^2,    z_t = e_t - mean(e), zero where e_t is missing

    Args:
      residuals: e, [..., T].
      lags: a whole number K < T.

    Returns:
      r and the numbers of pairs, both [..., K].

    References:
      Parzen, E. (1963). On spectral analysis with missing observations and amplitude modulation.
      Sankhya A 25(4), 383-392.

    Example:
      >>> correlation, pairs = autocorrelations(np.array([1.0, -1.0, 1.0, np.nan, 1.0, -1.0]), 2)
      >>> pairs.tolist()
      [3, 2]
    """
    observed, centred, _ = _centred(residuals)
    steps = residuals.shape[-1]
    products, pairs = (
        np.stack([(x[..., : steps - k] * x[..., k:]).sum(-1) for k in range(1, lags + 1)], -1)
        for x in (centred, observed.astype(int))
    )
    with np.errstate(invalid="ignore"):
        return products / (centred**2).sum(-1, keepdims=True), pairs


def ljung_box(residuals, lags, num_parameters) -> SignificanceTest:
    """Whether the first autocorrelations are as small as those of white noise, [...].

        Q = n (n + 2) sum_k r_k^2 / n_k

    has a chi-squared distribution; n is the number of residuals, n_k that of the pairs at lag k,
    n - k where none are missing. A model with w parameters fits w - 1 of the correlations besides
    the scale, so the degrees of freedom are the number of lags less w - 1.

    Args:
      residuals: [..., T].
      lags: how many autocorrelations, a whole number < T.
      num_parameters: w.

    References:
      Ljung, G. M. and Box, G. E. P. (1978). On a measure of lack of fit in time series models.
      Biometrika 65(2), 297-303.
      Stoffer, D. S. and Toloi, C. M. C. (1992). A note on the Ljung-Box-Pierce portmanteau
      statistic with missing data. Statistics & Probability Letters 13(5), 391-396.
      Harvey, A. C. (1989). Forecasting, Structural Time Series Models and the Kalman Filter,
      section 5.4.2.

    Example:
      >>> test = ljung_box(np.tile([1.0, -1.0], 20), lags=5, num_parameters=2)
      >>> float(test.statistic.round(2)), int(test.degrees_of_freedom)
      (194.25, 4)
    """
    from scipy.stats import chi2

    correlation, pairs = autocorrelations(residuals, lags)
    n = np.count_nonzero(~np.isnan(residuals), axis=-1)
    statistic = n * (n + 2) * np.sum(correlation**2 / np.maximum(pairs, 1), axis=-1)
    # A lag at which no two residuals meet says nothing.
    freedom = np.count_nonzero(pairs, axis=-1) - max(num_parameters - 1, 0)
    p_value = chi2.sf(statistic, np.where(freedom > 0, freedom, np.nan))
    return SignificanceTest(statistic, freedom, p_value)


def jarque_bera(residuals) -> SignificanceTest:
    """Whether skewness S and kurtosis K are those of a normal distribution, [...].

        JB = n (S^2 / 6 + (K - 3)^2 / 24)

    has, for many residuals, a chi-squared distribution with two degrees of freedom.

    Args:
      residuals: [..., T].

    References:
      Jarque, C. M. and Bera, A. K. (1987). A test for normality of observations and regression
      residuals. International Statistical Review 55(2), 163-172.
      Durbin, J. and Koopman, S. J. (2012). Time Series Analysis by State Space Methods,
      2nd edition, section 2.12.1.

    Example:
      >>> float(jarque_bera(np.array([-1.0, 0.0, 1.0, np.nan])).statistic)
      0.28125
    """
    from scipy.stats import chi2

    _, centred, n = _centred(residuals)
    with np.errstate(invalid="ignore", divide="ignore"):
        second, third, fourth = ((centred**p).sum(-1) / n for p in (2, 3, 4))
        statistic = n * (third**2 / second**3 / 6 + (fourth / second**2 - 3) ** 2 / 24)
    return SignificanceTest(statistic, np.full(statistic.shape, 2), chi2.sf(statistic, 2))


def heteroscedasticity(residuals) -> SignificanceTest:
    """Whether the variance is the same early and late, [...].

        H(h) = (sum of the last h squares) / (sum of the first h squares)

    of the n residuals that are not missing, h the whole number nearest to n / 3, has an F(h, h)
    distribution if they are normal; the p-value has two sides. It is above one where the variance
    grows. The degrees of freedom that are returned are h.

    Args:
      residuals: [..., T].

    References:
      Durbin, J. and Koopman, S. J. (2012). Time Series Analysis by State Space Methods,
      2nd edition, section 2.12.1.

    Example:
      >>> test = heteroscedasticity(np.array([1.0, -1.0, 5.0, np.nan, 5.0, 2.0, -2.0]))
      >>> float(test.statistic), int(test.degrees_of_freedom), float(test.p_value.round(3))
      (4.0, 2, 0.4)
    """
    from scipy.stats import f

    observed = ~np.isnan(residuals)
    place = np.cumsum(observed, axis=-1)
    n = place[..., -1:]
    h = np.rint(n / 3).astype(int)
    squares = np.where(observed, residuals, 0.0) ** 2
    late, early = (np.where(which, squares, 0.0).sum(-1) for which in (place > n - h, place <= h))
    h = h[..., 0]
    with np.errstate(invalid="ignore", divide="ignore"):
        statistic = late / early
    tails = f.cdf(statistic, h, h), f.sf(statistic, h, h)
    return SignificanceTest(statistic, h, 2 * np.minimum(*tails))


def _centred(residuals):
    """Where there are residuals, these less their mean (zero elsewhere), and their number."""
    observed = ~np.isnan(residuals)
    n = np.count_nonzero(observed, axis=-1)
    total = np.where(observed, residuals, 0.0).sum(-1)
    mean = total / np.maximum(n, 1)
    return observed, np.where(observed, residuals - mean[..., np.newaxis], 0.0), n
