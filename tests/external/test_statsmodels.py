"""statsmodels as a live oracle, on random models that vary in time, with missing components."""

import numpy as np
import pytest
import tensorflow as tf
from kalman.models import build, dense, random_data, random_parameters
from oracles import statsmodels_
from oracles.statsmodels_ import time_first
from statsmodels.tsa.statespace.structural import UnobservedComponents

import statespace as ss

T = 25
SIZES = {  # name: (n, m, k)
    "one component": (3, 1, 2),
    "correlated noise": (3, 2, 3),
    "more components than states": (2, 4, 1),
    "large": (9, 3, 5),
}


@pytest.fixture(params=SIZES.values(), ids=SIZES.keys(), scope="module")
def example(request):
    n, m, k = request.param
    rng = np.random.default_rng(n)
    parameters = random_parameters(rng, n, m, k=k, lead=(T,))
    y = random_data(rng, (), T, m)
    return build(parameters), y, statsmodels_.smoother(dense(parameters, (), (), T), y)


def close(x, expected):
    np.testing.assert_allclose(x, expected, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("algorithm", ss.kalman.ALGORITHMS)
def test_log_likelihood(example, algorithm):
    ssm, y, expected = example
    close(ss.log_likelihood(ssm, y, algorithm=algorithm), expected.llf)
    close(ss.log_likelihood(ssm, y, per_step=True, algorithm=algorithm), expected.llf_obs)


@pytest.mark.parametrize("algorithm", ss.kalman.ALGORITHMS)
def test_filter(example, algorithm):
    ssm, y, expected = example
    result = ss.kalman_filter(ssm, y, algorithm=algorithm)
    close(result.predicted_mean, time_first(expected.predicted_state)[:-1])
    close(result.predicted_covariance, time_first(expected.predicted_state_cov)[:-1])
    close(result.filtered_mean, time_first(expected.filtered_state))
    close(result.filtered_covariance, time_first(expected.filtered_state_cov))
    close(result.innovation, np.nan_to_num(time_first(expected.forecasts_error)))
    close(result.innovation_covariance, time_first(expected.forecasts_error_cov))


@pytest.mark.parametrize("algorithm", ss.kalman.ALGORITHMS)
def test_smoother(example, algorithm):
    ssm, y, expected = example
    result = ss.kalman_smoother(ssm, y, algorithm=algorithm)
    close(result.smoothed_mean, time_first(expected.smoothed_state))
    close(result.smoothed_covariance, time_first(expected.smoothed_state_cov))
    close(result.lag_one_covariance, time_first(expected.smoothed_state_autocov)[:-1])


def test_score():
    """Of a trend's variances, by which statsmodels differentiates with complex steps."""
    y = np.random.default_rng(0).normal(size=60).cumsum()
    y[[3, 4, 20]] = np.nan
    variances = np.array([1.3, 0.4, 0.05])
    model = UnobservedComponents(y, "lltrend", loglikelihood_burn=0)
    model.ssm.initialize_approximate_diffuse(100.0)
    model.ssm.tolerance = 0  # no covariance passes for converged while its derivative is not
    expected = model.score(variances, transformed=True, approx_complex_step=True)
    with tf.GradientTape() as tape:
        variances = tf.Variable(variances)
        scale = tf.sqrt(variances)
        ssm = ss.LinearGaussianSSM(
            [[1.0, 1.0], [0.0, 1.0]],
            tf.linalg.diag(scale[1:]),
            [[1.0, 0.0]],
            scale[:1, tf.newaxis],
            [0.0, 0.0],
            10.0 * np.eye(2),
        )
        value = ss.log_likelihood(ssm, y[:, np.newaxis])
    close(value, model.loglike(variances.numpy(), transformed=True))
    np.testing.assert_allclose(tape.gradient(value, variances), expected, rtol=1e-8)


def test_score_of_a_diffuse_start():
    """Of a trend's and a seasonal pattern's variances, with gaps in the diffuse phase."""
    y = np.random.default_rng(1).normal(size=60).cumsum()
    y[[1, 3, 20, 21]] = np.nan
    variances = np.array([1.3, 0.4, 0.05, 0.3])
    model = UnobservedComponents(y, "lltrend", seasonal=4, use_exact_diffuse=True)
    model.ssm.tolerance = 0
    expected = model.score(variances, transformed=True, approx_complex_step=True)
    f = np.zeros((5, 5))
    f[:2, :2] = [[1.0, 1.0], [0.0, 1.0]]
    f[2, 2:], f[3, 2], f[4, 3] = -1.0, 1.0, 1.0
    with tf.GradientTape() as tape:
        variances = tf.Variable(variances)
        scale = tf.sqrt(variances)
        ssm = ss.LinearGaussianSSM(
            f,
            np.eye(5)[:, :3] * scale[1:],
            [[1.0, 0.0, 1.0, 0.0, 0.0]],
            scale[:1, tf.newaxis],
            np.zeros(5),
            np.zeros((5, 5)),
            diffuse=np.ones(5, bool),
        )
        value = ss.log_likelihood(ssm, y[:, np.newaxis])
    close(value, model.loglike(variances.numpy(), transformed=True))
    np.testing.assert_allclose(tape.gradient(value, variances), expected, rtol=1e-8)
