"""Estimated scales, against scikit-learn's and against the evidence around them."""

import numpy as np
import pytest
from oracles import finite_differences
from sklearn.datasets import load_diabetes
from sklearn.linear_model import ARDRegression, BayesianRidge

from statespace.models import BayesianLinearRegression, FixedPrior

# Without the hyperpriors that scikit-learn adds by default, and converged.
NO_HYPERPRIORS = {"alpha_1": 0, "alpha_2": 0, "lambda_1": 0, "lambda_2": 0, "compute_score": True}


def diabetes():
    """442 patients, ten features; centred, since scikit-learn's evidence ignores the intercept."""
    x, y = load_diabetes(return_X_y=True)
    return x - x.mean(axis=0), y - y.mean()


def test_diabetes_equals_bayesian_ridge():
    x, y = diabetes()
    other = BayesianRidge(**NO_HYPERPRIORS, tol=1e-12, max_iter=10000, fit_intercept=False)
    other.fit(x, y)
    model = BayesianLinearRegression("evidence", intercept=False).fit(x, y)
    assert model.converged
    np.testing.assert_allclose(model.noise_scale, other.alpha_**-0.5, rtol=1e-8)
    np.testing.assert_allclose(model.weight_scale, other.lambda_**-0.5, rtol=1e-7)
    np.testing.assert_allclose(model.coefficients, other.coef_, rtol=1e-6)
    np.testing.assert_allclose(model.coefficient_covariance, other.sigma_, rtol=1e-5, atol=1e-3)
    np.testing.assert_allclose(model.log_evidence, other.scores_[-1], rtol=1e-12)
    mean, deviation = other.predict(x[:5], return_std=True)
    prediction = model.predict(x[:5])
    np.testing.assert_allclose(prediction.mean(), mean, rtol=1e-6)
    np.testing.assert_allclose(prediction.stddev(), deviation, rtol=1e-8)


@pytest.mark.filterwarnings("ignore:Converge")
def test_diabetes_evidence_equals_the_scores_on_the_way():
    """Not only where it is highest: at each iterate of scikit-learn.

    The last score of a run that has not converged is of the coefficients before; so take the same
    one from a longer run.
    """
    x, y = diabetes()
    options = NO_HYPERPRIORS | {"tol": 1e-300, "fit_intercept": False}
    scores = BayesianRidge(**options, max_iter=8).fit(x, y).scores_
    for steps in (1, 2, 5):
        other = BayesianRidge(**options, max_iter=steps).fit(x, y)
        prior = FixedPrior(other.alpha_**-0.5, other.lambda_**-0.5)
        model = BayesianLinearRegression(prior, intercept=False).fit(x, y)
        np.testing.assert_allclose(model.log_evidence, scores[steps], rtol=1e-12)
        np.testing.assert_allclose(model.coefficients, other.coef_, rtol=1e-9, atol=1e-9)


def test_diabetes_equals_ard_regression():
    x, y = diabetes()
    other = ARDRegression(
        **NO_HYPERPRIORS, tol=1e-9, max_iter=10000, threshold_lambda=1e10, fit_intercept=False
    )
    other.fit(x, y)
    model = BayesianLinearRegression("ard", intercept=False).fit(x, y)
    assert model.converged
    np.testing.assert_allclose(model.noise_scale, other.alpha_**-0.5, rtol=1e-6)
    scales = other.lambda_**-0.5
    relevant = scales > 1e-3
    np.testing.assert_allclose(model.weight_scale[relevant], scales[relevant], rtol=1e-4)
    np.testing.assert_array_equal(model.weight_scale[~relevant], 0.0)  # there, not only nearly
    np.testing.assert_allclose(model.coefficients, other.coef_, rtol=1e-4, atol=1e-4)


def test_sparse_weights_are_found():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(80, 30))
    truth = np.zeros(30)
    truth[[3, 17]] = 1.0, -2.0
    y = x @ truth + 0.3 * rng.normal(size=80)
    model = BayesianLinearRegression("ard").fit(x, y)
    np.testing.assert_allclose(model.coefficients, truth, atol=0.15)
    assert np.sum(model.weight_scale == 0) > 12  # half of the irrelevant, by chance
    np.testing.assert_allclose(model.noise_scale, 0.3, rtol=0.25)


def test_no_signal_means_no_weights():
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(60, 5)), rng.normal(size=60)
    residual = y - x @ np.linalg.lstsq(x, y)[0]
    model = BayesianLinearRegression(intercept=False).fit(x, residual)
    assert model.converged
    np.testing.assert_array_equal(model.coefficients, 0.0)
    np.testing.assert_allclose(model.noise_scale, np.sqrt(np.mean(residual**2)), rtol=1e-7)


# With more features than observations, and a scale for each, the noise mostly tends to zero.
@pytest.mark.parametrize(
    ("shape", "prior"), [((40, 4), "evidence"), ((20, 50), "evidence"), ((40, 4), "ard")]
)
def test_no_evidence_around_is_higher(shape, prior):
    rng = np.random.default_rng(2)
    x = rng.normal(size=shape) * np.exp(rng.normal(size=shape[1]))
    y = x[:, :2] @ [1.0, -1.0] + rng.normal(size=shape[0]) + 7.0
    model = BayesianLinearRegression(prior).fit(x, y)
    scales = np.append(model.noise_scale, model.weight_scale)
    if prior == "evidence":
        scales = scales[:2]
    free = scales > 0

    def evidence(log_scales):
        at = np.where(free, np.exp(log_scales), 0.0)
        fixed = FixedPrior(at[0], at[1:] if prior == "ard" else at[1])
        return BayesianLinearRegression(fixed).fit(x, y).log_evidence

    start = np.log(np.where(free, scales, 1.0))
    (slope,) = finite_differences.gradient(evidence, [start], step=1e-3)
    np.testing.assert_allclose(slope, 0.0, atol=2e-6)
    for position in np.flatnonzero(~free):  # nor would a weight that is out rather be in
        let_in = scales.copy()
        let_in[position] = 0.05
        fixed = FixedPrior(let_in[0], let_in[1:])
        assert BayesianLinearRegression(fixed).fit(x, y).log_evidence < model.log_evidence


def test_a_perfect_fit_is_said_to_have_no_maximum():
    x = np.random.default_rng(3).normal(size=(10, 2))
    with pytest.warns(UserWarning, match="no maximum of the evidence within reach in 1 of 1"):
        model = BayesianLinearRegression().fit(x, x @ [1.0, 2.0])
    assert not model.converged
    np.testing.assert_allclose(model.coefficients, [1.0, 2.0], rtol=1e-9)


def test_a_batch_of_constant_targets_is_refused_by_index():
    x, y = np.random.default_rng(4).normal(size=(3, 8, 2)), np.ones((3, 8))
    y[:2] += x[:2, :, 0] ** 2
    with pytest.raises(ValueError, match=r"y is constant \(batch index \[2\]\)"):
        BayesianLinearRegression().fit(x, y)
