"""The adapter to scikit-learn: its conventions, and the same numbers as the model."""

import numpy as np
import pytest
from sklearn.datasets import load_diabetes
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from statespace.models import BayesianLinearRegression, NormalInverseGamma, ZellnerG
from statespace.models.sklearn_regression import BayesianLinearRegressor


def refused(estimator):
    """Checks on data with more features than observations, which these priors do not determine."""
    if estimator.prior == "flat" or isinstance(estimator.prior, ZellnerG):
        return {"check_sample_weight_equivalence_on_dense_data": "30 features, 15 observations"}
    return {}


@parametrize_with_checks(
    [
        BayesianLinearRegressor(prior)
        for prior in ("evidence", NormalInverseGamma(1.0, 1.0, 1.0), "flat", ZellnerG())
    ],
    expected_failed_checks=refused,
)
def test_conventions_of_scikit_learn(estimator, check):
    check(estimator)


def test_same_numbers_as_the_model():
    x, y = load_diabetes(return_X_y=True)
    regressor = BayesianLinearRegressor("ard").fit(x, y)
    model = BayesianLinearRegression("ard").fit(x, y)
    np.testing.assert_array_equal(regressor.coef_, model.coefficients)
    np.testing.assert_allclose(regressor.alpha_, model.noise_scale**-2.0)
    np.testing.assert_array_equal(np.isinf(regressor.lambda_), regressor.coef_ == 0)
    mean, deviation = regressor.predict(x, return_std=True)
    np.testing.assert_allclose(mean, model.predict(x).mean())
    np.testing.assert_allclose(deviation, model.predict(x).stddev())


def test_flat_prior_equals_linear_regression():
    x, y = load_diabetes(return_X_y=True)
    weights = np.random.default_rng(0).uniform(0.5, 2.0, size=len(y))
    regressor = BayesianLinearRegressor("flat", refine=True).fit(x, y, weights)
    other = LinearRegression().fit(x, y, weights)
    np.testing.assert_allclose(regressor.coef_, other.coef_, rtol=1e-9)
    np.testing.assert_allclose(regressor.intercept_, other.intercept_, rtol=1e-12)


def test_partial_fits_are_one_fit():
    x, y = load_diabetes(return_X_y=True)
    parts = BayesianLinearRegressor()
    for rows in np.array_split(np.arange(len(y)), 7):
        parts.partial_fit(x[rows], y[rows])
    whole = BayesianLinearRegressor().fit(x, y)
    np.testing.assert_allclose(parts.coef_, whole.coef_, rtol=1e-6)
    np.testing.assert_allclose(parts.log_evidence_, whole.log_evidence_, rtol=1e-12)


@pytest.mark.filterwarnings("error")
def test_in_a_pipeline_and_a_search():
    x, y = load_diabetes(return_X_y=True)
    pipeline = make_pipeline(StandardScaler(), BayesianLinearRegressor())
    search = GridSearchCV(pipeline, {"bayesianlinearregressor__prior": ["evidence", "ard"]}, cv=3)
    assert search.fit(x, y).best_score_ > 0.45


@pytest.mark.parametrize("prior", ["flat", ZellnerG()], ids=str)
def test_repetitions_under_priors_that_need_observations(prior):
    """What scikit-learn's check asks for, on data that determine the weights."""
    rng = np.random.default_rng(0)
    x, y, times = rng.normal(size=(25, 6)), rng.normal(size=25), rng.integers(0, 4, size=25)
    regressor = BayesianLinearRegressor(prior).fit(x, y, times)
    repeated = BayesianLinearRegressor(prior).fit(np.repeat(x, times, 0), np.repeat(y, times))
    np.testing.assert_allclose(regressor.predict(x), repeated.predict(x), rtol=1e-10)
    with pytest.raises(ValueError, match=r"column 4 of x is a combination|at least as many observ"):
        BayesianLinearRegressor(prior).fit(x[:5], y[:5])
