"""Results of KFAS, Stata and MATLAB's SSM toolbox for models with a proper start."""

import numpy as np
import pytest
from external.published import columns, quarterly, table

import statespace as ss

# The reference is compared with the compiled operations elsewhere; over long series it is slow.
ALGORITHMS = [name for name in ss.kalman.ALGORITHMS if name not in ("auto", "reference")]
VAGUE = 1e3 * np.eye(3)

every_algorithm = pytest.mark.parametrize("algorithm", ALGORITHMS)


def det(x):
    return np.linalg.det(np.asarray(x))


def wholesale_prices():
    """An AR(3) of the changes of the US wholesale price index, with the estimates of Stata."""
    coefficients = np.array([0.5270715, 0.0952613, 0.2580355])
    f = np.vstack([coefficients, np.eye(2, 3)])
    covariance = np.array(
        [
            [1.58276997, 1.24351589, 1.12706975],
            [1.24351589, 1.58276997, 1.24351589],
            [1.12706975, 1.24351589, 1.58276997],
        ]
    )
    ssm = ss.LinearGaussianSSM(
        f,
        np.sqrt(0.5307459) * np.eye(3, 1),
        np.eye(1, 3),
        [[0.0]],
        np.zeros(3),
        np.linalg.cholesky(covariance),
    )
    return ssm, np.diff(table("results_wpi1_ar3_stata.csv")["wpi"])[:, np.newaxis]


TOOLBOX = ["a1", "a2", "a3", "detP", "alphahat1", "alphahat2", "alphahat3", "detV"]


@every_algorithm
def test_stata_and_toolbox(algorithm):
    """To the five or six digits printed."""
    ssm, y = wholesale_prices()
    stata = table("results_wpi1_ar3_stata.csv")[1:]
    toolbox = table("results_wpi1_ar3_matlab_ssm.csv", header=None, usecols=range(8), names=TOOLBOX)
    filtered = ss.kalman_filter(ssm, y, algorithm=algorithm)
    smoothed = ss.kalman_smoother(ssm, y, algorithm=algorithm)
    for mean, name in ((filtered.predicted_mean, "sp"), (filtered.filtered_mean, "sf")):
        np.testing.assert_allclose(mean, columns(stata, name, 3), atol=2e-5)
    np.testing.assert_allclose(smoothed.smoothed_mean, columns(stata, "sm", 3), atol=2e-5)
    np.testing.assert_allclose(filtered.predicted_mean, columns(toolbox, "a", 3), atol=5e-5)
    np.testing.assert_allclose(det(filtered.predicted_covariance), toolbox["detP"], atol=1e-5)
    np.testing.assert_allclose(smoothed.smoothed_mean, columns(toolbox, "alphahat", 3), atol=5e-5)


@every_algorithm
def test_toolbox_with_missing_data(algorithm):
    ssm, y = wholesale_prices()
    y[9:20] = np.nan
    toolbox = table(
        "results_wpi1_missing_ar3_matlab_ssm.csv", header=None, usecols=range(8), names=TOOLBOX
    )
    filtered = ss.kalman_filter(ssm, y, algorithm=algorithm)
    smoothed = ss.kalman_smoother(ssm, y, algorithm=algorithm)
    np.testing.assert_allclose(filtered.predicted_mean, columns(toolbox, "a", 3), atol=5e-5)
    np.testing.assert_allclose(det(filtered.predicted_covariance), toolbox["detP"], atol=5e-5)
    np.testing.assert_allclose(smoothed.smoothed_mean, columns(toolbox, "alphahat", 3), atol=5e-5)
    np.testing.assert_allclose(det(smoothed.smoothed_covariance), toolbox["detV"], atol=5e-5)


def assert_kfas(ssm, y, expected, algorithm, tolerance=1e-8):
    """KFAS' predicted and smoothed states, and the determinants of their covariances."""
    filtered = ss.kalman_filter(ssm, y, algorithm=algorithm)
    smoothed = ss.kalman_smoother(ssm, y, algorithm=algorithm)
    predicted = columns(expected, "a", 3)[:-1]  # from the second step on, and one beyond the data
    scale = np.max(np.abs(predicted))
    np.testing.assert_allclose(
        filtered.predicted_mean[1:], predicted, rtol=0, atol=tolerance * scale
    )
    covariances = filtered.predicted_covariance[1:]
    np.testing.assert_allclose(det(covariances), expected["detP"][:-1], rtol=100 * tolerance)
    states = columns(expected, "alphahat", 3)
    np.testing.assert_allclose(smoothed.smoothed_mean, states, rtol=0, atol=tolerance * scale)
    np.testing.assert_allclose(
        det(smoothed.smoothed_covariance), expected["detV"], rtol=100 * tolerance
    )


@every_algorithm
def test_kfas_with_missing_components(algorithm):
    """Three random walks from a variance of 1e6, gaps in each."""
    y = np.diff(quarterly(), axis=0)
    y[:50, 0] = y[19:70, 1] = y[39:90, 2] = y[119:130, 0] = y[119:130, 2] = np.nan
    ssm = ss.LinearGaussianSSM(np.eye(3), np.eye(3), np.eye(3), np.eye(3), np.zeros(3), VAGUE)
    expected = table("results_smoothing_R.csv")
    value = ss.log_likelihood(ssm, y, algorithm=algorithm)
    np.testing.assert_allclose(value, -205310.9767, rtol=1e-9)
    assert_kfas(ssm, y, expected, algorithm)
    filtered = ss.kalman_filter(ssm, y, algorithm=algorithm)
    innovation = np.nan_to_num(columns(expected, "v", 3))
    np.testing.assert_allclose(filtered.innovation, innovation, rtol=1e-8, atol=1e-6)
    variances = np.diagonal(filtered.innovation_covariance, axis1=1, axis2=2)
    np.testing.assert_allclose(variances, columns(expected, "F", 3), rtol=1e-8)


@every_algorithm
def test_kfas_vector_autoregression(algorithm):
    """A variance of 1e6 beside a noise of 6e-5 costs the first steps ten digits in any program."""
    f = [
        [-0.1119908792, 0.8441841604, 0.0238725303],
        [0.2629347724, 0.4996718412, -0.0173023305],
        [-3.2192369082, 4.1536028244, 0.4514379215],
    ]
    q = np.array(
        [
            [0.0000640649, 0.0000388496, 0.0002148769],
            [0.0000388496, 0.0000572802, 0.000001555],
            [0.0002148769, 0.000001555, 0.0017088585],
        ]
    )
    r = np.diag(np.diag(q))
    ssm = ss.LinearGaussianSSM.from_covariances(f, q, np.eye(3), r, np.zeros(3), VAGUE @ VAGUE)
    y = np.diff(np.log(quarterly()), axis=0)
    value = ss.log_likelihood(ssm, y, algorithm=algorithm)
    np.testing.assert_allclose(value, 1695.34872, rtol=1e-8)
    assert_kfas(ssm, y, table("results_smoothing2_R.csv"), algorithm, 1e-6)
