"""Structural models of US unemployment: KFAS's results, as statsmodels carries them.

The script that made them, ``test_ucm.R``, stands beside them. KFAS leaves log(2 pi) / 2 out of the
log-likelihood for each diffuse state.

KFAS stops when the log-likelihood hardly changes. Where that is d below its maximum, an estimate
may be sqrt(2 d) of its standard errors away from the optimum: so near must ours be.
"""

from typing import NamedTuple

import numpy as np
import pytest
from external.published import quarterly
from statsmodels.tsa.statespace.tests.results import results_structural as kfas

import statespace as ss
from statespace.models import (
    Autoregressive,
    Cycle,
    Irregular,
    LocalLevel,
    LocalLinearTrend,
    Model,
    Regression,
    Seasonal,
    SmoothTrend,
    TrigonometricSeasonal,
)

UNEMPLOYMENT = quarterly(["unemp"])[:, 0]
LOG_GDP = np.log(quarterly(["realgdp"]))
PRINTED = 1e-6  # of the log-likelihood, of ten digits


class Specification(NamedTuple):
    """A model, and how its parameters are listed in the results."""

    model: Model
    names: tuple[str, ...]  # in the order of the results: variances, frequencies, coefficients
    zero: tuple[str, ...] = ()  # scales that are zero
    given: tuple[str, ...] = ()  # what KFAS was told, not asked

    @property
    def features(self):
        return LOG_GDP if self.model.num_features else None

    @property
    def fix(self):
        """The scales that are zero, as ``fit`` takes them."""
        return dict.fromkeys(self.zero, 0.0)

    def values(self, listed) -> dict:
        """Parameters by our names, those that are zero included."""
        of = {"scale": np.sqrt, "period": lambda frequency: 2 * np.pi / frequency}
        # Of the undamped cycle a last number is listed as well, the damping of one.
        pairs = zip(self.names, listed[: len(self.names)], strict=True)
        own = {name: of.get(name.split(".")[1], np.atleast_1d)(value) for name, value in pairs}
        return own | self.fix


IRREGULAR, LEVEL, SLOPE = "irregular.scale", "level.scale", "slope.scale"
SEASONAL, CYCLE, PERIOD = "seasonal.scale", "cycle.scale", "cycle.period"
AR_SCALE, AR = "autoregressive.scale", "autoregressive.coefficients"
UNDAMPED = Cycle(damped=False)
EVERYTHING = LocalLinearTrend() + UNDAMPED + Seasonal(4) + Regression(1) + Autoregressive(1)

SPECIFICATIONS = {
    "irregular": Specification(Irregular(), (IRREGULAR,)),
    "fixed_intercept": Specification(LocalLevel(), (IRREGULAR,), zero=(LEVEL,)),
    "deterministic_constant": Specification(LocalLevel(), (IRREGULAR,), zero=(LEVEL,)),
    "local_level": Specification(LocalLevel(), (IRREGULAR, LEVEL)),
    "random_walk": Specification(LocalLevel(), (LEVEL,), zero=(IRREGULAR,)),
    "fixed_slope": Specification(LocalLinearTrend(), (IRREGULAR,), zero=(LEVEL, SLOPE)),
    "deterministic_trend": Specification(LocalLinearTrend(), (IRREGULAR,), zero=(LEVEL, SLOPE)),
    "local_linear_deterministic_trend": Specification(
        LocalLinearTrend(), (IRREGULAR, LEVEL), zero=(SLOPE,)
    ),
    "random_walk_with_drift": Specification(LocalLinearTrend(), (LEVEL,), zero=(IRREGULAR, SLOPE)),
    "local_linear_trend": Specification(LocalLinearTrend(), (IRREGULAR, LEVEL, SLOPE)),
    "smooth_trend": Specification(SmoothTrend(), (IRREGULAR, SLOPE)),
    "random_trend": Specification(SmoothTrend(), (SLOPE,), zero=(IRREGULAR,)),
    "cycle": Specification(UNDAMPED, (IRREGULAR, CYCLE, PERIOD), given=(CYCLE, PERIOD)),
    "seasonal": Specification(Seasonal(4), (IRREGULAR, SEASONAL), given=(SEASONAL,)),
    "freq_seasonal": Specification(
        TrigonometricSeasonal(5), (IRREGULAR, SEASONAL), given=(SEASONAL,)
    ),
    "reg": Specification(Regression(1), (IRREGULAR,)),
    "rtrend_ar1": Specification(
        SmoothTrend() + Autoregressive(1),
        (SLOPE, AR_SCALE, AR),
        zero=(IRREGULAR,),
        given=(SLOPE, AR_SCALE, AR),
    ),
    "lltrend_cycle_seasonal_reg_ar1": Specification(
        EVERYTHING,
        (IRREGULAR, LEVEL, SLOPE, SEASONAL, CYCLE, AR_SCALE, PERIOD, AR),
        given=(IRREGULAR, LEVEL, SLOPE, SEASONAL, CYCLE, AR_SCALE, PERIOD, AR),
    ),
}
VAGUE = ("cycle", "seasonal", "freq_seasonal", "reg", "lltrend_cycle_seasonal_reg_ar1")


def fit(name, fix):
    """Our default fit, and its log-likelihood in KFAS's convention."""
    specification = SPECIFICATIONS[name]
    features = specification.features
    result = specification.model.fit(UNEMPLOYMENT, features=features, fix=fix, verbose=0)
    return result, result.log_likelihood + result.num_diffuse * np.log(2 * np.pi) / 2


def test_every_result_is_compared():
    published = {name for name in vars(kfas) if isinstance(getattr(kfas, name), dict)}
    published -= {name for name in published if name.startswith("__")}
    assert published == {*SPECIFICATIONS, *(f"{name}_approx_diffuse" for name in VAGUE)}


@pytest.mark.parametrize("name", SPECIFICATIONS)
def test_log_likelihood_at_published_parameters(name):
    specification, published = SPECIFICATIONS[name], getattr(kfas, name)
    ssm = specification.model.build(
        specification.values(published["params"]), features=specification.features
    )
    value = ss.log_likelihood(ssm, UNEMPLOYMENT[:, np.newaxis], diffuse_constant="exclude")
    np.testing.assert_allclose(value, published["llf"], rtol=0, atol=PRINTED)


@pytest.mark.parametrize("name", VAGUE)
def test_log_likelihood_from_a_vague_start(name):
    """Variance a million for each state that is diffuse above."""
    specification, published = SPECIFICATIONS[name], getattr(kfas, f"{name}_approx_diffuse")
    ssm = specification.model.build(
        specification.values(published["params"]),
        features=specification.features,
        initial_variance=1e6,
    )
    value = ss.log_likelihood(ssm, UNEMPLOYMENT[:, np.newaxis])
    np.testing.assert_allclose(value, published["llf"], rtol=0, atol=PRINTED)


ESTIMATED = [name for name, s in SPECIFICATIONS.items() if set(s.given) < set(s.names)]


@pytest.mark.parametrize("name", ESTIMATED)
def test_maximum_likelihood_is_at_least_that_of_kfas(name):
    """With what KFAS was given fixed likewise."""
    specification, published = SPECIFICATIONS[name], getattr(kfas, name)
    expected = specification.values(published["params"])
    given = {parameter: expected[parameter] for parameter in specification.given}
    result, height = fit(name, specification.fix | given)
    assert result.converged
    assert height > published["llf"] - PRINTED
    gained = max(height - published["llf"], PRINTED)
    for parameter in set(specification.names) - set(given):
        estimate, error = result.params[parameter], result.standard_errors[parameter]
        if estimate == 0:  # no standard error; the specification without it is compared below
            continue
        assert abs(estimate - expected[parameter]) < np.sqrt(2 * gained) * error, parameter


@pytest.mark.parametrize("name", [name for name, s in SPECIFICATIONS.items() if s.given])
def test_nothing_given_is_no_worse(name):
    """All parameters free, from our default starting values."""
    result, height = fit(name, SPECIFICATIONS[name].fix)
    assert result.converged
    assert height > getattr(kfas, name)["llf"] - PRINTED


@pytest.mark.parametrize(
    ("name", "optimum"),
    [
        ("local_level", "random_walk"),
        ("local_linear_deterministic_trend", "random_walk_with_drift"),
    ],
)
def test_noise_that_is_not_there_is_left_out_exactly(name, optimum):
    """KFAS stops at 4e-6; the optimum is the published one of the specification without noise."""
    result, height = fit(name, SPECIFICATIONS[name].fix)
    published = getattr(kfas, optimum)
    assert result.params[IRREGULAR] == 0
    np.testing.assert_allclose(height, published["llf"], rtol=0, atol=PRINTED)
    np.testing.assert_allclose(result.params[LEVEL] ** 2, published["params"], rtol=1e-5)


def least_squares(columns):
    """Residual variance with the degrees of freedom of restricted maximum likelihood."""
    _, [total], _, _ = np.linalg.lstsq(columns, UNEMPLOYMENT, rcond=None)
    return total / (len(columns) - columns.shape[1])


ONE, TIME = np.ones(UNEMPLOYMENT.size), np.arange(UNEMPLOYMENT.size)
CHANGES = np.diff(UNEMPLOYMENT)
CLOSED_FORMS = {
    "irregular": np.mean(UNEMPLOYMENT**2),
    "deterministic_constant": least_squares(ONE[:, np.newaxis]),
    "deterministic_trend": least_squares(np.stack([ONE, TIME], axis=1)),
    "random_walk": np.mean(CHANGES**2),
    "random_walk_with_drift": np.var(CHANGES, ddof=1),
    "random_trend": np.mean(np.diff(CHANGES) ** 2),
    "reg": least_squares(LOG_GDP),
}


@pytest.mark.parametrize("name", CLOSED_FORMS)
def test_estimates_that_have_a_closed_form(name):
    """Of which KFAS's have up to six digits."""
    [parameter] = SPECIFICATIONS[name].names
    result, _ = fit(name, SPECIFICATIONS[name].fix)
    np.testing.assert_allclose(result.params[parameter] ** 2, CLOSED_FORMS[name], rtol=1e-9)
    [published] = getattr(kfas, name)["params"]
    np.testing.assert_allclose(published, CLOSED_FORMS[name], rtol=5e-6)
