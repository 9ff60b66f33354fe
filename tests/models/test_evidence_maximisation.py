"""Estimated scales, against scikit-learn's and against the evidence around them."""

import numpy as np
import pytest
import tensorflow as tf
from oracles import finite_differences
from sklearn.datasets import load_diabetes
from sklearn.linear_model import ARDRegression, BayesianRidge

from statespace.models import BayesianLinearRegression, EvidencePrior, FixedPrior
from statespace.models import linear_gaussian_regression as regression
from statespace.models.evidence_newton import evidence_derivatives, polish

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


@pytest.mark.parametrize("prior", ["evidence", "ard"])
def test_units_move_nothing(prior):
    """To the last digits: the search ends somewhere near the maximum, Newton's method at it."""
    x, y = load_diabetes(return_X_y=True)
    model = BayesianLinearRegression(prior).fit(x, y)
    largest = np.abs(model.coefficients).max()
    for x_unit, y_unit in ((1e8, 1.0), (1e-8, 1e8), (1.0, 1e-8)):
        other = BayesianLinearRegression(prior).fit(x * x_unit, y * y_unit)
        moved = other.coefficients * x_unit / y_unit - model.coefficients
        assert np.abs(moved).max() < 1e-11 * largest
        np.testing.assert_allclose(other.noise_scale / y_unit, model.noise_scale, rtol=1e-12)
    # Units whose squares no float64 holds, too.
    huge = BayesianLinearRegression(prior).fit(x * 1e200, y)
    assert np.abs(huge.coefficients * 1e200 - model.coefficients).max() < 1e-11 * largest


@pytest.mark.parametrize("per_feature", [False, True])
def test_newton_finds_the_maximum_again_and_stays_put_elsewhere(per_feature):
    rng = np.random.default_rng(6)
    x = rng.normal(size=(2, 30, 3))
    y = x @ [1.0, 2.0, 0.0] + 0.3 * rng.normal(size=(2, 30))
    prior = "ard" if per_feature else "evidence"
    model = BayesianLinearRegression(prior, intercept=False).fit(x, y)
    noise, weight = np.array(model.noise_scale), np.array(model.weight_scale)
    count = np.full(2, 30.0)
    near = polish(x, y, count, 1.01 * noise, 0.98 * weight, per_feature=per_feature)
    np.testing.assert_allclose(near[0], noise, rtol=1e-12)
    np.testing.assert_allclose(near[1], weight, rtol=1e-12)
    far = polish(x, y, count, 9 * noise, 0.1 * weight, per_feature=per_feature)
    np.testing.assert_array_equal(far[0], 9 * noise)
    np.testing.assert_array_equal(far[1], 0.1 * weight)


@pytest.mark.parametrize("shape", [(9, 3), (3, 4)])
def test_curvature_equals_finite_differences(shape):
    rng = np.random.default_rng(8)
    x, y = rng.normal(size=(1, *shape)), rng.normal(size=(1, shape[0]))
    at = rng.uniform(-0.5, 0.5, size=1 + shape[1])

    def evidence(at):  # by logarithms of variances
        scales = np.exp(0.5 * at)
        return regression.log_evidence(x[0], y[0], scales[0], scales[1:])

    def derivatives(at):
        scales = np.exp(0.5 * at)[np.newaxis]
        return evidence_derivatives(x, y, np.array([shape[0]]), scales[:, 0], scales[:, 1:])

    slope, curvature = derivatives(at)
    (wanted,) = finite_differences.gradient(evidence, [at], step=1e-3)
    np.testing.assert_allclose(slope[0], wanted, atol=1e-9)
    for i in range(len(at)):
        (wanted,) = finite_differences.gradient(lambda v: derivatives(v)[0][0, i], [at], step=1e-3)  # noqa: B023
        np.testing.assert_allclose(curvature[0, i], wanted, atol=1e-9)


def test_one_observation_and_no_features():
    x, y = np.random.default_rng(7).normal(size=(6, 3)), np.arange(6.0) ** 2
    for prior in ("evidence", "ard"):
        with pytest.raises(ValueError, match="y is constant, so its noise"):
            BayesianLinearRegression(prior).fit(x[:1], y[:1])
        model = BayesianLinearRegression(prior).fit(x[:, :0], y)
        assert model.coefficients.shape == (0,)
        # Its noise is where N - 1 squares, the intercept's deducted, are most likely.
        np.testing.assert_allclose(model.noise_scale, np.std(y, ddof=1), rtol=1e-9)


@pytest.mark.parametrize("units", [(1.0, 1.0), (1e8, 1e-8)])
@pytest.mark.slow
def test_known_noise_has_sparse_weights_however_many_features(units):
    """Twice as many features as observations; the noise, if estimated, would tend to zero."""
    x_unit, y_unit = units
    rng = np.random.default_rng(9)
    x = rng.normal(size=(2, 30, 60))
    truth = np.zeros(60)
    truth[[5, 40]] = 2.0, -3.0
    y = (x @ truth + 0.3 * rng.normal(size=(2, 30)) + 4.0) * y_unit
    x = x * x_unit
    prior = EvidencePrior(per_feature=True, noise_scale=np.array([0.3, 0.6]) * y_unit)
    model = BayesianLinearRegression(prior).fit(x, y)
    assert model.converged.all()
    np.testing.assert_allclose(model.noise_scale, [0.3 * y_unit, 0.6 * y_unit], rtol=1e-14)
    weights = model.coefficients * x_unit / y_unit
    np.testing.assert_allclose(tf.gather(weights, [5, 40], axis=1), [[2, -3]] * 2, atol=0.25)
    assert np.all(np.sum(weights != 0, axis=1) <= 20)
    np.testing.assert_allclose(np.linalg.norm(weights - truth, axis=1), 0.0, atol=0.6)
    # No scale would rather be another, and none that is zero would rather be in.
    scale = model.weight_scale.numpy()
    for item in range(2):
        one = EvidencePrior(per_feature=True, noise_scale=float(prior.noise_scale[item]))
        alone = BayesianLinearRegression(one).fit(x[item], y[item])
        np.testing.assert_allclose(alone.coefficients, model.coefficients[item], rtol=1e-7)
        for position in (5, 40, *np.flatnonzero(scale[item] == 0)[:4]):
            for factor in (0.8, 1.25):
                other = scale[item].copy()
                other[position] = factor * other[position] or 0.05 * y_unit / x_unit
                fixed = BayesianLinearRegression(FixedPrior(prior.noise_scale[item], other))
                assert fixed.fit(x[item], y[item]).log_evidence < model.log_evidence[item]


def test_known_noise_with_one_scale_and_a_target_that_is_constant():
    rng = np.random.default_rng(10)
    x = rng.normal(size=(40, 4))
    y = x @ np.ones(4) + rng.normal(size=40)
    free = BayesianLinearRegression("evidence").fit(x, y)
    known = BayesianLinearRegression(EvidencePrior(noise_scale=free.noise_scale)).fit(x, y)
    np.testing.assert_allclose(known.weight_scale, free.weight_scale, rtol=1e-9)
    flat = BayesianLinearRegression(EvidencePrior(noise_scale=0.1)).fit(x, np.full(40, 7.0))
    np.testing.assert_array_equal(flat.coefficients, 0.0)
    np.testing.assert_allclose(flat.intercept, 7.0, rtol=1e-15)
    with pytest.raises(ValueError, match=r"noise_scale has shape \(3,\); it must broadcast"):
        BayesianLinearRegression(EvidencePrior(noise_scale=np.ones(3))).fit(x, y)
