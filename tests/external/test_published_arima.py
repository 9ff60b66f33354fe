"""Stata's ARIMA results, as statsmodels carries them, from our default starting values.

Stata stops when the log-likelihood hardly changes. Where that is d below its maximum, an estimate
may be sqrt(2 d) of its standard errors away from the optimum: so near must ours be.
"""

import re
from typing import NamedTuple

import numpy as np
import pytest
from external.published import table
from statsmodels.tsa.statespace.tests.results import results_sarimax as stata

from statespace.models import ARIMA, Regression

WHOLESALE_PRICES = np.array(stata.wpi1_data)
# Stata's `generate lnair = ln(air)` makes single-precision numbers.
LOG_AIRLINE = np.log(np.array(stata.air2_data, np.float64))
STATAS_LOG_AIRLINE = LOG_AIRLINE.astype(np.float32).astype(np.float64)
CONSUMPTION, MONEY = (np.array(stata.friedman2_data[name]) for name in ("consump", "m2"))
CONSTANT_AND_MONEY = np.stack([np.ones_like(MONEY), MONEY], axis=1)
PRINTED = 1e-5  # what the log-likelihoods are compared to
PRINTED_SHORT = 6e-5  # and those of the coverage table, of four decimals


class Published(NamedTuple):
    """A model, its data, and Stata's estimates and standard errors (from the Hessian)."""

    model: object
    y: np.ndarray
    features: object
    log_likelihood: float
    estimates: dict
    standard_errors: dict


PUBLISHED = {
    "airline": Published(
        ARIMA((0, 1, 1), (0, 1, 1, 12)),
        STATAS_LOG_AIRLINE,
        None,
        stata.air2_stationary["loglike"],
        {"arima.ma": -0.4018324, "arima.seasonal_ma": -0.5569342, "arima.scale": 0.0367167},
        {"arima.ma": 0.0896442, "arima.seasonal_ma": 0.0731055, "arima.scale": 0.002277},
    ),
    "AR(3) of differences": Published(
        ARIMA((3, 1, 0)),
        WHOLESALE_PRICES,
        None,
        stata.wpi1_ar3["loglike"],
        {"arima.ar": stata.wpi1_ar3["params_ar"], "arima.scale": 0.53074593**0.5},
        {"arima.ar": stata.wpi1_ar3["se_ar"]},
    ),
    "ARIMA(1, 1, 1) with drift": Published(
        ARIMA((1, 1, 1), mean=True),
        WHOLESALE_PRICES,
        None,
        stata.wpi1_stationary["loglike"],
        {
            "arima.ar": 0.8742288,
            "arima.ma": -0.4120458,
            "arima.mean": 0.7498197,
            "arima.scale": 0.7250436,
        },
        {
            "arima.ar": 0.0637705,
            "arima.ma": 0.1220756,
            "arima.mean": 0.2920992,
            "arima.scale": 0.0462345,
        },
    ),
    "regression with ARMA(1, 1) errors": Published(
        ARIMA((1, 0, 1)) + Regression(2, as_states=False),
        CONSUMPTION,
        CONSTANT_AND_MONEY,
        stata.friedman2_mle["loglike"],
        {
            "regression.coefficients": stata.friedman2_mle["params_exog"],
            "arima.ar": 0.9348486,
            "arima.ma": 0.3090592,
            "arima.scale": 9.655308,
        },
        {
            "regression.coefficients": stata.friedman2_mle["se_exog_oim"],
            "arima.ar": 0.039903,
            "arima.ma": 0.1125186,
            "arima.scale": 0.7122745,
        },
    ),
}


def check_near(result, name, expected, tolerance):
    distance = np.abs(np.ravel(result.params[name]) - expected)
    assert np.all(distance < np.sqrt(2 * tolerance) * np.ravel(result.standard_errors[name])), name


@pytest.mark.parametrize("case", PUBLISHED.values(), ids=PUBLISHED.keys())
def test_maximum_likelihood_is_that_of_stata(case):
    result = case.model.fit(case.y, features=case.features, verbose=0)
    assert result.converged
    np.testing.assert_allclose(result.log_likelihood, case.log_likelihood, rtol=0, atol=PRINTED)
    for name, expected in case.estimates.items():
        check_near(result, name, expected, PRINTED)
    for name, expected in case.standard_errors.items():
        np.testing.assert_allclose(np.ravel(result.standard_errors[name]), expected, rtol=1e-3)


def test_airline_model_is_at_least_as_good_as_statsmodels_finds_it():
    """statsmodels' optimiser stops at -0.40169548, -0.55688719 and 0.00134795, a little lower."""
    result = ARIMA((0, 1, 1), (0, 1, 1, 12)).fit(LOG_AIRLINE, verbose=0)
    assert 244.69648514 <= result.log_likelihood < 244.69648514 + 1e-5
    np.testing.assert_allclose(result.params["arima.ma"], -0.40169548, atol=2e-4)
    np.testing.assert_allclose(result.params["arima.seasonal_ma"], -0.55688719, atol=2e-4)
    np.testing.assert_allclose(result.params["arima.scale"] ** 2, 0.00134795, atol=2e-7)


def test_forecasts_of_the_regression_are_those_of_stata():
    """Fitted up to 1978; forecasts of 15 quarters at known money, printed to a thousandth."""
    published, seen = stata.friedman2_predict, 77
    model = PUBLISHED["regression with ARMA(1, 1) errors"].model
    fix = {
        "regression.coefficients": published["params_exog"],
        "arima.ar": published["params_ar"],
        "arima.ma": published["params_ma"],
        "arima.scale": 5.630046,
    }
    result = model.fit(CONSUMPTION[:seen], features=CONSTANT_AND_MONEY[:seen], fix=fix, verbose=0)
    np.testing.assert_allclose(result.log_likelihood, published["loglike"], rtol=0, atol=1e-5)
    forecast = result.forecast(len(CONSUMPTION) - seen, features=CONSTANT_AND_MONEY[seen:])
    np.testing.assert_allclose(forecast.mean, published["forecast"][seen:], rtol=0, atol=6e-3)


# Commands of statsmodels' coverage table, and whether the estimates are compared as well: not where
# Stata stopped short of the optimum, nor where this has a moving average with roots on the unit
# circle, which leaves no standard errors to compare by.
COVERAGE = {
    "arima wpi, arima(3,0,0) noconstant": True,
    "arima wpi c t, arima(3,0,0) noconstant": True,
    "arima wpi, arima(3,0,0) sarima(0,2,0,4) noconstant": True,
    "arima wpi, arima(0,2,3) noconstant": True,
    "arima wpi c, arima(0,0,3) noconstant": False,
    "arima wpi c t, arima(0,0,3) noconstant": True,
    "arima wpi, arima(0,0,3) sarima(0,2,0,4) noconstant": False,
    "arima wpi c t, arima(3,0,2) noconstant": True,
    "arima wpi c t, sarima(0,0,3,4) noconstant": True,
    "arima wpi, sarima(0,2,3,4) noconstant": True,
    "arima wpi, arima(0,2,0) sarima(3,0,2,4) noconstant": False,
    "arima wpi x, sarima(3,0,0,4) noconstant": True,
}


def command(line):
    """The model, its features and how many of each parameter, from a command of Stata's."""
    head, options = line.split(",", 1)
    order = re.search(r"(?<!s)arima\((\d),(\d),(\d)\)", options)
    seasonal = re.search(r"sarima\((\d),(\d),(\d),(\d)\)", options)
    model = ARIMA(
        tuple(map(int, order.groups())) if order else (0, 0, 0),
        tuple(map(int, seasonal.groups())) if seasonal else None,
    )
    names = head.split()[2:]
    if not names:
        return model, None
    t = np.arange(1.0, len(WHOLESALE_PRICES) + 1)
    fraction = WHOLESALE_PRICES - np.floor(WHOLESALE_PRICES)
    known = {"c": np.ones_like(t), "t": t, "x": fraction**2}
    features = np.stack([known[name] for name in names], axis=1)
    return model + Regression(len(names), as_states=False), features


@pytest.mark.parametrize(("line", "compared"), COVERAGE.items(), ids=COVERAGE.keys())
def test_coverage_of_stata(line, compared):
    """Log-likelihoods are printed to four decimals, or to seven digits."""
    [row] = table("results_sarimax_coverage.csv").query("mod == @line + ' vce(oim)'").itertuples()
    model, features = command(line)
    result = model.fit(WHOLESALE_PRICES, features=features, verbose=0)
    assert result.converged
    assert result.log_likelihood > row.llf - PRINTED_SHORT
    if not compared:
        return
    np.testing.assert_allclose(result.log_likelihood, row.llf, rtol=0, atol=PRINTED_SHORT)
    estimates = np.array(row.parameters.split(","), np.float64)
    order = ("regression.coefficients", "arima.ar", "arima.ma", "arima.seasonal_ar")
    order = (*order, "arima.seasonal_ma", "arima.scale")
    for name in (name for name in order if name in result.params):
        size = np.size(result.params[name])
        check_near(result, name, estimates[:size], PRINTED_SHORT)
        estimates = estimates[size:]
