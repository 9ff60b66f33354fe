"""Stata's vector autoregressions and dynamic factors, as statsmodels carries them.

All fits are ours from the default starting values. Stata stops when the log-likelihood hardly
changes; an estimate may be as far from the optimum as its printed digits and that leave open.
"""

import functools
from typing import NamedTuple

import numpy as np
import pytest
from external.published import stata_data, table
from slow import some_slow
from statsmodels.tsa.statespace.tests.results import results_dynamic_factor as stata_factors
from statsmodels.tsa.statespace.tests.results import results_varmax as stata

from statespace.models import DynamicFactor, VectorAutoregressive

# Stata's `generate ln_inv = ln(inv)` makes single-precision numbers.
LOGARITHMS = np.log(np.array(stata.lutkepohl_data, np.float64)).astype(np.float32)
GROWTH = np.diff(LOGARITHMS.astype(np.float64), axis=0)[:75]  # 1960q2 to 1978q4
# Changes from 1972 to 2008 of capacity use and hours worked in US manufacturing.
MANUFACTURING = stata_data("manufac.dta")[["lncaputil", "lnhours"]].diff()[1:].to_numpy(float)
# Stata's `gen t = _n`, where the first of the quarters has no growth, and a constant.
TIME = np.arange(2.0, 93.0)[:, np.newaxis]
ONE_AND_TIME = np.hstack([np.ones_like(TIME), TIME])
AHEAD = slice(76, 92)  # rows of the tables from 1979q1 on
VECTORS, FACTORS = "results_var_stata.csv", "results_dynamic_factor_stata.csv"
MOVING_AVERAGES = "results_varmax_stata.csv"
COEFFICIENTS, PHI = "autoregression.coefficients", "factor.coefficients"
THETA, EFFECTS = "moving_average.coefficients", "regression.coefficients"
CONDITIONAL = {"mean": False, "stationary": False, "effect": "dynamic"}
PRINTED = 5.1e-9  # half of the eighth decimal
ROUNDING = 1e-9  # of log-likelihoods


class Published(NamedTuple):
    """A model, Stata's results, the order of its estimates, and where its forecasts are.

    A name with a square is that of a standard deviation where Stata has the variance.
    """

    model: object
    results: dict
    order: tuple[str, ...]
    file: str
    column: str
    stopped_short: float = 1e-13  # Stata's log-likelihood, of its maximum
    features: np.ndarray | None = None  # up to where the forecasts end

    @property
    def y(self):
        if self.file == MOVING_AVERAGES:
            return MANUFACTURING
        return GROWTH[:, : self.model.num_observed]

    @property
    def known(self):
        """Features of the data."""
        return None if self.features is None else self.features[: len(self.y)]

    @property
    def to_come(self):
        """Features of the forecasts."""
        return None if self.features is None else self.features[len(self.y) :]


PUBLISHED = {
    "VAR(1)": Published(
        VectorAutoregressive(1, 3, mean=False),
        stata.lutkepohl_var1,
        (COEFFICIENTS,),
        VECTORS,
        "predict_{}",
    ),
    "VAR(1), uncorrelated innovations": Published(
        VectorAutoregressive(1, 3, mean=False, correlated=False),
        stata.lutkepohl_var1_diag,
        (COEFFICIENTS, "autoregression.scale^2"),
        VECTORS,
        "predict_diag{}",
    ),
    "VAR(1), uncorrelated innovations, means": Published(
        VectorAutoregressive(1, 3, correlated=False),
        stata.lutkepohl_var1_obs_intercept,
        (COEFFICIENTS, "autoregression.scale^2"),
        VECTORS,
        "predict_int{}",
    ),
    "VAR(2)": Published(
        VectorAutoregressive(2, 2, mean=False),
        stata.lutkepohl_var2,
        (COEFFICIENTS,),
        VECTORS,
        "predict_var2_{}",
    ),
    "VAR(1) with a feature": Published(
        VectorAutoregressive(1, 3, num_features=1, **CONDITIONAL),
        stata.lutkepohl_var1_exog,
        (COEFFICIENTS, EFFECTS),
        VECTORS,
        "fcast_exog1_{}",
        features=TIME,
    ),
    # The log-likelihood is that of Stata, which statsmodels has in a comment beside its own.
    "VAR(1) with two features": Published(
        VectorAutoregressive(1, 3, num_features=2, **CONDITIONAL),
        stata.lutkepohl_var1_exog2 | {"loglike": 600.9801664685759},
        (COEFFICIENTS, EFFECTS),
        VECTORS,
        "fcast_exog2_{}",
        features=ONE_AND_TIME,
    ),
    "seemingly unrelated regressions": Published(
        VectorAutoregressive(0, 3, mean=False, num_features=2),
        stata_factors.lutkepohl_sur,
        (EFFECTS,),
        FACTORS,
        "predict_sur_{}",
        features=ONE_AND_TIME,
    ),
    "regressions with VAR(1) errors": Published(
        VectorAutoregressive(1, 2, mean=False, correlated=False, num_features=2),
        stata_factors.lutkepohl_sur_auto,
        (EFFECTS, "autoregression.scale^2", COEFFICIENTS),
        FACTORS,
        "predict_sur_auto_{}",
        features=ONE_AND_TIME,
    ),
    "VARMA(1, 1) with zeros": Published(
        VectorAutoregressive(
            [[[1, 0], [1, 1]]], 2, moving_average=[[[1, 0], [0, 0]]], mean=False, correlated=False
        ),
        stata.fred_varma11,
        (COEFFICIENTS, THETA, "autoregression.scale^2"),
        MOVING_AVERAGES,
        "predict_varma11_{}",
    ),
    "VMA(1) with zeros": Published(
        VectorAutoregressive(0, 2, moving_average=[[[1, 0], [0, 0]]], mean=False, correlated=False),
        stata.fred_vma1,
        (THETA, "autoregression.scale^2"),
        MOVING_AVERAGES,
        "predict_vma1_{}",
        3e-7,
    ),
    "factor of order 2": Published(
        DynamicFactor(1, 2, 3, mean=False),
        stata_factors.lutkepohl_dfm,
        ("factor.loadings", "irregular.scale^2", PHI),
        FACTORS,
        "predict_dfm_{}",
    ),
    "factor, autoregressive errors": Published(
        DynamicFactor(1, 1, 3, error_order=2, mean=False),
        stata_factors.lutkepohl_dfm_ar2,
        ("factor.loadings", "error.scale^2", PHI, "error.coefficients"),
        FACTORS,
        "predict_dfm_ar2_{}",
        2e-11,
    ),
    "factor with two features": Published(
        DynamicFactor(1, 1, 3, mean=False, num_features=2),
        stata_factors.lutkepohl_dfm_exog2,
        ("factor.loadings", EFFECTS, "irregular.scale^2", PHI),
        FACTORS,
        "predict_dfm_exog2_{}",
        features=ONE_AND_TIME,
    ),
    "factor, errors of one scale": Published(
        DynamicFactor(1, 1, 3, error_covariance="scalar"),
        stata_factors.lutkepohl_dfm_scalar,
        ("factor.loadings", "mean", "irregular.scale^2", PHI),
        FACTORS,
        "predict_dfm_scalar_{}",
    ),
    # The third variance is zero: 7e-16 in Stata.
    "static factor": Published(
        DynamicFactor(1, 0, 3, mean=False),
        stata_factors.lutkepohl_sfm,
        ("factor.loadings", "irregular.scale^2"),
        FACTORS,
        "predict_sfm_{}",
        3e-7,
    ),
}


@functools.cache
def fitted(case):
    """The fit of a case by its name, made once."""
    case = PUBLISHED[case]
    return case.model.fit(case.y, features=case.known, verbose=0)


def estimates(order, result):
    """Estimates and standard errors in Stata's order."""
    values, errors = [], []
    for name in order:
        square = name.endswith("^2")
        value, error = (x[name.removesuffix("^2")] for x in (result.params, result.standard_errors))
        if np.ndim(value) == 3:  # row by row, each with all lags
            value, error = (np.moveaxis(x, 0, 1) for x in (value, error))
        values.append(np.ravel(value**2 if square else value))
        errors.append(np.ravel(2 * value * error if square else error))
    return np.concatenate(values), np.concatenate(errors)


def numbers_of(case, name):
    """Stata's, without those of coefficients that are zero by assumption."""
    values = np.array(case.results[name], float)
    return values[values != 0] if case.file == MOVING_AVERAGES else values


LONG = {
    "VAR(1), uncorrelated innovations",
    "VAR(1) with a feature",
    "regressions with VAR(1) errors",
    "VMA(1) with zeros",
    "factor of order 2",
    "factor with two features",
    "factor, autoregressive errors",
}


@pytest.mark.parametrize("name", some_slow(PUBLISHED, LONG))
def test_maximum_likelihood_is_that_of_stata(name):
    """Where Stata stopped d below the maximum, it may be sqrt(2 d) standard errors away from it."""
    case, result = PUBLISHED[name], fitted(name)
    assert result.converged
    below = max(case.stopped_short, ROUNDING)
    np.testing.assert_allclose(result.log_likelihood, case.results["loglike"], rtol=0, atol=below)
    values, errors = estimates(case.order, result)
    away = np.abs(values - numbers_of(case, "params")[: len(values)])
    assert np.all(away < PRINTED + np.sqrt(2 * case.stopped_short) * np.nan_to_num(errors))


WITH_ERRORS = [
    name
    for name, case in PUBLISHED.items()
    if any(case.results.get(key) is not None for key in ("var_oim", "bse_oim"))
]


@pytest.mark.parametrize("name", some_slow(WITH_ERRORS, LONG.intersection(WITH_ERRORS)))
def test_standard_errors_are_those_of_stata(name):
    """There is none for a variance of zero; Stata's is zero."""
    case = PUBLISHED[name]
    _, errors = estimates(case.order, fitted(name))
    errors = np.nan_to_num(errors)
    if "var_oim" in case.results:  # squares, of four digits
        expected = numbers_of(case, "var_oim")[: len(errors)]
        np.testing.assert_allclose(errors**2, expected, rtol=6e-4)
    else:  # seven decimals, and where Stata stopped
        np.testing.assert_allclose(errors, case.results["bse_oim"], rtol=5e-5, atol=5e-8)


@pytest.mark.parametrize("name", PUBLISHED)
def test_forecasts_are_those_of_stata(name):
    case = PUBLISHED[name]
    keys = ("dln_inv", "dln_inc", "dln_consump") if "fcast" in case.column else (1, 2, 3)
    columns = [case.column.format(key) for key in keys[: case.model.num_observed]]
    expected = table(case.file)[columns].to_numpy()
    expected = expected[-5:] if case.file == MOVING_AVERAGES else expected[AHEAD]
    forecast = fitted(name).forecast(len(expected), features=case.to_come)
    np.testing.assert_allclose(forecast.mean, expected, rtol=0, atol=6e-8)


@pytest.mark.parametrize(
    ("name", "covariance"),
    [
        ("VAR(1)", [0.00199294, 0.00006096, 0.00012986, 0.00018523, 0.00011695, 0.00016188]),
        ("VAR(2)", [0.00197786, 0.00008091, 0.00018269]),
    ],
)
def test_covariances_of_innovations_are_those_of_stata(name, covariance):
    """Its upper triangle, row by row."""
    m = PUBLISHED[name].model.num_observed
    factor = np.zeros((m, m))
    factor[np.tril_indices(m)] = fitted(name).params["autoregression.scale"]
    found = (factor @ factor.T)[np.triu_indices(m)]
    np.testing.assert_allclose(found, covariance, rtol=0, atol=PRINTED)


def test_means_are_those_of_stata():
    result = fitted("VAR(1), uncorrelated innovations, means")
    expected = stata.lutkepohl_var1_obs_intercept["obs_intercept"]
    np.testing.assert_allclose(result.params["mean"], expected, rtol=0, atol=PRINTED)


def test_measurement_error():
    """statsmodels' case is Stata's VAR with measurement errors of zero; the data prefer some."""
    published = stata.lutkepohl_var1_diag_meas
    values = np.array(published["params"])
    model = VectorAutoregressive(1, 3, mean=False, correlated=False, measurement_error=True)
    fix = {
        COEFFICIENTS: values[:9].reshape(1, 3, 3),
        "autoregression.scale": np.sqrt(values[9:12]),
        "measurement.scale": np.sqrt(values[12:]),
    }
    result = model.fit(GROWTH, fix=fix, verbose=0)
    np.testing.assert_allclose(result.log_likelihood, published["loglike"], rtol=0, atol=1e-5)
    assert model.fit(GROWTH, verbose=0).log_likelihood > published["loglike"] + 40


def test_every_result_is_compared():
    """In this file; of the last, Stata's search was stopped after its first step."""
    elsewhere = {"lutkepohl_var1_diag_meas", "lutkepohl_dfm_exog1", "lutkepohl_dfm_gen"}
    elsewhere |= {"lutkepohl_dfm2"}
    for module in (stata, stata_factors):
        published = {name: x for name, x in vars(module).items() if isinstance(x, dict)}
        for name, values in published.items():
            if name.startswith("__") or name in elsewhere:
                continue
            assert any(values["params"] == case.results["params"] for case in PUBLISHED.values()), (
                name
            )


JOINT_ERRORS = DynamicFactor(
    1, 1, 3, error_order=1, error_covariance="unstructured", joint_errors=True, mean=False
)


def test_factor_with_joint_errors():
    """At the values where Stata stopped."""
    published = stata_factors.lutkepohl_dfm_gen
    values = np.array(published["params"])
    fix = {
        "factor.loadings": values[:3],
        "error.scale": values[3:9],
        PHI: values[9:10].reshape(1, 1, 1),
        "error.coefficients": values[10:].reshape(1, 3, 3),
    }
    result = JOINT_ERRORS.fit(GROWTH, fix=fix, verbose=0)
    np.testing.assert_allclose(result.log_likelihood, published["loglike"], rtol=0, atol=1e-5)


@pytest.mark.slow
def test_factor_with_joint_errors_has_a_higher_maximum():
    """Where Stata stopped is a local one."""
    result = JOINT_ERRORS.fit(GROWTH, verbose=0)
    assert result.converged
    assert result.log_likelihood > stata_factors.lutkepohl_dfm_gen["loglike"] + 2.6


def test_factor_with_means():
    """Stata stops at a local maximum; ours is higher, where one of the variances is zero."""
    published = stata_factors.lutkepohl_dfm_exog1
    values = np.array(published["params"])
    model = DynamicFactor(1, 1, 3)
    fix = {
        "factor.loadings": -values[:3],  # a factor and its loadings may both change signs
        "mean": values[3:6],
        "irregular.scale": np.sqrt(values[6:9]),
        PHI: values[9:].reshape(1, 1, 1),
    }
    there = model.fit(GROWTH, fix=fix, verbose=0)
    np.testing.assert_allclose(there.log_likelihood, published["loglike"], rtol=0, atol=1e-5)
    result = model.fit(GROWTH, verbose=0)
    assert result.converged
    assert result.log_likelihood > published["loglike"] + 0.28
    assert result.params["irregular.scale"][2] == 0


def test_two_factors():
    """At the values where Stata was stopped, turned so that the first series has one factor."""
    published = stata_factors.lutkepohl_dfm2
    values = np.array(published["params"])
    loadings, coefficients = values[:6].reshape(3, 2), values[9:].reshape(2, 2)
    rotation, triangle = np.linalg.qr(loadings[:2].T)
    rotation *= np.sign(np.diag(triangle))
    model = DynamicFactor(2, 1, 3, mean=False)
    fix = {
        "factor.loadings": (loadings @ rotation)[np.tril_indices(3, m=2)],
        PHI: (rotation.T @ coefficients @ rotation)[np.newaxis],
        "irregular.scale": np.sqrt(values[6:9]),
    }
    result = model.fit(GROWTH, fix=fix, verbose=0)
    np.testing.assert_allclose(result.log_likelihood, published["loglike"], rtol=1e-6)
