"""Stata's ARIMA results, as statsmodels carries them, from our default starting values.

Stata stops when the log-likelihood hardly changes. Where that is d below its maximum, an estimate
may be sqrt(2 d) of its standard errors away from the optimum: so near must ours be.
"""

import re
from typing import NamedTuple

import numpy as np
import pytest
from external.published import table
from slow import some_slow
from statsmodels.tsa.statespace.tests.results import results_sarimax as stata

from statespace.models import ARIMA, Regression

WHOLESALE_PRICES = np.array(stata.wpi1_data)
# Stata's `generate lnair = ln(air)` makes single-precision numbers.
LOG_PRICES = np.log(WHOLESALE_PRICES).astype(np.float32).astype(np.float64)
LOG_AIRLINE = np.log(np.array(stata.air2_data, np.float64))
STATAS_LOG_AIRLINE = LOG_AIRLINE.astype(np.float32).astype(np.float64)
CONSUMPTION, MONEY = (np.array(stata.friedman2_data[name]) for name in ("consump", "m2"))
CONSTANT_AND_MONEY = np.stack([np.ones_like(MONEY), MONEY], axis=1)
PRINTED = 1e-5  # what the log-likelihoods are compared to
DIGIT = 5.1e-8  # half of the seventh decimal of an estimate
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
    "two lags of a moving average": Published(
        ARIMA((1, 1, (1, 4)), mean=True),
        LOG_PRICES,
        None,
        stata.wpi1_seasonal["loglike"],
        {
            "arima.ar": 0.7806991,
            "arima.ma": [-0.3990039, 0.3090813],
            "arima.mean": 0.0110493,
            "arima.scale": 0.0104394,
        },
        {
            "arima.ar": 0.0811792,
            "arima.ma": [0.1058495, 0.1054576],
            "arima.mean": 0.0037734,
            "arima.scale": 0.0006658,
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
    errors = np.ravel(result.standard_errors[name])
    assert np.all(distance < np.sqrt(2 * tolerance) * errors + DIGIT), name


@pytest.mark.parametrize("name", some_slow(PUBLISHED, {"two lags of a moving average"}))
def test_maximum_likelihood_is_that_of_stata(name):
    case = PUBLISHED[name]
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


# Commands of statsmodels' coverage table, without "noconstant", and whether the estimates are
# compared as well: not where Stata stopped short of the optimum or at a moving average that is not
# invertible, nor where the optimum has roots on the unit circle, which leaves no standard errors to
# compare by.
COVERAGE = {
    "wpi, arima(3,0,0)": True,
    "wpi, arima(0,2,3)": True,
    "wpi c, arima(0,0,3)": False,
    "wpi c t, arima(0,0,3)": True,
    "wpi c t3, arima(0,0,3)": True,
    "wpi, arima(0,0,3) sarima(0,2,0,4)": False,
    "wpi c t3, arima(3,0,2)": True,
    "wpi c, sarima(0,0,3,4)": False,
    "wpi c t, sarima(0,0,3,4)": True,
    "wpi c t3, sarima(0,0,3,4)": True,
    "wpi, sarima(0,2,3,4)": True,
    "D.wpi2 t32 x, arima(3,0,2)": True,
}
# The others, in the full run.
MORE = {
    "wpi x, sarima(3,0,0,4)": True,
    "wpi x, arima(3,0,2)": True,
    "wpi c t, arima(3,0,2)": True,
    "wpi, arima(3,0,3)": False,
    "wpi, arima(3,0,0) sarima(0,2,0,4)": True,
    "wpi c t, arima(3,0,0)": True,
    "wpi c, arima(3,0,0)": True,
    "wpi c t3, arima(3,0,0)": True,
    "wpi, arima(3,2,0)": True,
    "wpi x, arima(3,0,0)": True,
    "wpi, arima(0,0,3)": False,
    "wpi x, arima(0,0,3)": False,
    "wpi c, arima(3,0,2)": True,
    "wpi, arima(3,2,2)": False,
    "wpi, arima(3,0,2) sarima(0,2,0,4)": False,
    "wpi, arima(3,2,2) sarima(0,2,0,4)": False,
    "wpi, sarima(3,0,0,4)": True,
    "wpi c, sarima(3,0,0,4)": True,
    "wpi c t, sarima(3,0,0,4)": True,
    "wpi c t3, sarima(3,0,0,4)": True,
    "wpi, arima(0,2,0) sarima(3,0,0,4)": True,
    "wpi, sarima(3,2,0,4)": True,
    "wpi, sarima(0,0,3,4)": False,
    "wpi, arima(0,2,0) sarima(0,0,3,4)": True,
    "wpi x, sarima(0,0,3,4)": False,
    "wpi, sarima(3,0,2,4)": False,
    "wpi c, sarima(3,0,2,4)": False,
    "wpi c t, sarima(3,0,2,4)": False,
    "wpi c t3, sarima(3,0,2,4)": True,
    "wpi, sarima(3,2,2,4)": True,
    "wpi, arima(0,2,0) sarima(3,0,2,4)": False,
    "wpi, arima(0,2,0) sarima(3,2,2,4)": False,
    "wpi x, sarima(3,0,2,4)": False,
    "wpi x, arima(3,2,2) sarima(3,2,2,4)": False,
}
# Commands with the option "diffuse" are out as well: variance 1e6 for the states of a stationary
# process, which is no model of ours.


def command(line):
    """The model, the data, the features and how many of each parameter, of a command of Stata's."""
    head, options = line.split(",", 1)
    order = re.search(r"(?<!s)arima\((\d),(\d),(\d)\)", options)
    seasonal = re.search(r"sarima\((\d),(\d),(\d),(\d)\)", options)
    model = ARIMA(
        tuple(map(int, order.groups())) if order else (0, 0, 0),
        tuple(map(int, seasonal.groups())) if seasonal else None,
    )
    left, *names = head.split()
    y, first = WHOLESALE_PRICES, 0
    if left == "D.wpi2":
        y = y.copy()
        y[9:19] = np.nan
        y, first = np.diff(y), 1
    if not names:
        return model, y, None
    t = np.arange(1.0, len(WHOLESALE_PRICES) + 1)
    fraction = WHOLESALE_PRICES - np.floor(WHOLESALE_PRICES)
    known = {"c": np.ones_like(t), "t": t, "t3": t**3, "t32": (t - 1) ** 3, "x": fraction**2}
    features = np.stack([known[name][first:] for name in names], axis=1)
    return model + Regression(len(names), as_states=False), y, features


def test_every_command_is_compared():
    commands = table("results_sarimax_coverage.csv")["mod"]
    commands = {line for line in commands if not line.endswith("diffuse")}
    ours = {f"arima {line} noconstant vce(oim)" for line in (*COVERAGE, *MORE)}
    assert commands == ours


LINES = [
    *COVERAGE.items(),
    *(pytest.param(*item, marks=pytest.mark.slow) for item in MORE.items()),
]


@pytest.mark.parametrize(("line", "compared"), LINES, ids=[*COVERAGE, *MORE])
def test_coverage_of_stata(line, compared):
    """Log-likelihoods are printed to four decimals, or to seven digits."""
    rows = table("results_sarimax_coverage.csv").set_index("mod")
    row = rows.loc[f"arima {line} noconstant vce(oim)"]
    model, y, features = command(line)
    result = model.fit(y, features=features, verbose=0)
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
