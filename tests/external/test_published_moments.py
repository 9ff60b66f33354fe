"""Results of KFAS, Stata and MATLAB's SSM toolbox for models with a proper start."""

import numpy as np
import pytest
from external.published import columns, quarterly, table

import statespace as ss

# The reference is compared with the compiled operations elsewhere; over long series it is slow.
ALGORITHMS = [name for name in ss.kalman.ALGORITHMS if name not in ("auto", "reference")]
EYE = np.eye(3)
VAGUE = 1e3 * EYE

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
    ssm, y = wholesale_prices_with_a_gap()
    toolbox = table(
        "results_wpi1_missing_ar3_matlab_ssm.csv", header=None, usecols=range(8), names=TOOLBOX
    )
    filtered = ss.kalman_filter(ssm, y, algorithm=algorithm)
    smoothed = ss.kalman_smoother(ssm, y, algorithm=algorithm)
    np.testing.assert_allclose(filtered.predicted_mean, columns(toolbox, "a", 3), atol=5e-5)
    np.testing.assert_allclose(det(filtered.predicted_covariance), toolbox["detP"], atol=5e-5)
    np.testing.assert_allclose(smoothed.smoothed_mean, columns(toolbox, "alphahat", 3), atol=5e-5)
    np.testing.assert_allclose(det(smoothed.smoothed_covariance), toolbox["detV"], atol=5e-5)


def wholesale_prices_with_a_gap():
    ssm, y = wholesale_prices()
    y[9:20] = np.nan
    return ssm, y


def gaps_in_each(y):
    y = y.copy()
    y[:50, 0] = y[19:70, 1] = y[39:90, 2] = y[119:130, 0] = y[119:130, 2] = np.nan
    return y


def random_walks(observation_scale=EYE, **offsets):
    """Three from a variance of 1e6, each with its observation."""
    return ss.LinearGaussianSSM(EYE, EYE, EYE, observation_scale, np.zeros(3), VAGUE, **offsets)


def walks_with_missing_components():
    return random_walks(), gaps_in_each(np.diff(quarterly(), axis=0))


def walks_with_offsets():
    y = quarterly()
    ssm = random_walks(transition_offset=[4.0, 5.0, 6.0], observation_offset=[1.0, 2.0, 3.0])
    return ssm, gaps_in_each(y / np.std(y, axis=0, ddof=1))


def walks_with_correlated_noise():
    """Of rank two."""
    return random_walks(np.arange(1, 10).reshape(3, 3) / 10), np.diff(quarterly(), axis=0)


def vector_autoregression():
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
    ssm = ss.LinearGaussianSSM.from_covariances(f, q, EYE, r, np.zeros(3), VAGUE @ VAGUE)
    return ssm, np.diff(np.log(quarterly()), axis=0)


KFAS = {  # table: (model and data, log-likelihood where it is told, tolerance)
    "smoothing": (walks_with_missing_components(), -205310.9767, 1e-8),
    "smoothing2": (vector_autoregression(), 1695.34872, 1e-6),
    "smoothing3": (wholesale_prices_with_a_gap(), -130.0310409, 1e-8),
    "intercepts": (walks_with_offsets(), -7924.03893566, 1e-8),
    "smoothing_generalobscov": (walks_with_correlated_noise(), None, 1e-8),
}
# KFAS tells the signals, innovations and observation noise of another model here: after a rotation
# of the observations that makes their noise independent.
ROTATED = "smoothing_generalobscov"
# The parallel form needs observation noise, which the disturbance smoother moves into the state.
SEQUENTIAL = [name for name in ALGORITHMS if name != "parallel"]

every_table = pytest.mark.parametrize("name", KFAS)
every_table_of_the_model = pytest.mark.parametrize("name", [x for x in KFAS if x != ROTATED])


def kfas(name):
    (ssm, y), value, tolerance = KFAS[name]
    return ssm, y, value, tolerance, table(f"results_{name}_R.csv")


def assert_mean(mean, expected, tolerance):
    """Relative to the largest."""
    np.testing.assert_allclose(mean, expected, rtol=0, atol=tolerance * np.max(np.abs(expected)))


def assert_determinant(covariances, expected, tolerance):
    """Relative to the determinant or, of a singular matrix, to what cancels in it.

    Beside variances of one that of a state that is known exactly may be rounding error.
    """
    terms = np.prod(np.diagonal(covariances, axis1=-2, axis2=-1), axis=-1)
    error = np.abs(det(covariances) - expected)
    assert np.all(error <= 100 * tolerance * np.abs(expected) + 0.1 * tolerance * terms + 2e-15)


def transformed(matrix, covariances):
    return matrix @ np.asarray(covariances) @ np.transpose(matrix)


@every_algorithm
@every_table
def test_kfas_states(name, algorithm):
    """Predicted and smoothed means, and the determinants of their covariances."""
    ssm, y, value, tolerance, expected = kfas(name)
    if value is not None:
        total = ss.log_likelihood(ssm, y, algorithm=algorithm)
        np.testing.assert_allclose(total, value, rtol=1e-9)
    filtered = ss.kalman_filter(ssm, y, algorithm=algorithm)
    # KFAS' are those from the second step on, and one beyond the data.
    assert_mean(filtered.predicted_mean[1:], columns(expected, "a", 3)[:-1], tolerance)
    assert_determinant(filtered.predicted_covariance[1:], expected["detP"][:-1], tolerance)
    smoothed = ss.kalman_smoother(ssm, y, algorithm=algorithm)
    assert_mean(smoothed.smoothed_mean, columns(expected, "alphahat", 3), tolerance)
    assert_determinant(smoothed.smoothed_covariance, expected["detV"], tolerance)


@every_algorithm
@every_table_of_the_model
def test_kfas_signals_and_innovations(name, algorithm):
    ssm, y, _, tolerance, expected = kfas(name)
    m = y.shape[1]
    h, d = np.asarray(ssm.observation_matrix), np.asarray(ssm.observation_offset)
    filtered = ss.kalman_filter(ssm, y, algorithm=algorithm)
    smoothed = ss.kalman_smoother(ssm, y, algorithm=algorithm)
    for mean, signal in ((filtered.predicted_mean, "m"), (smoothed.smoothed_mean, "muhat")):
        assert_mean(mean @ h.T + d, columns(expected, signal, m), tolerance)
    signal = transformed(h, filtered.predicted_covariance)
    assert_determinant(signal, expected["detPmu"], tolerance)
    # Of the smoothed signal KFAS tells the variances alone.
    signal = transformed(h, smoothed.smoothed_covariance) * np.eye(m)
    assert_determinant(signal, expected["detVmu"], tolerance)
    # KFAS takes one component at a time, given those before it.
    count = 1 if name == "smoothing2" else m
    innovation = columns(expected, "v", count)
    np.testing.assert_array_equal(np.isnan(innovation), np.isnan(y[:, :count]))
    assert_mean(filtered.innovation[:, :count], np.nan_to_num(innovation), tolerance)
    variances = np.diagonal(filtered.innovation_covariance, axis1=1, axis2=2)[:, :count]
    np.testing.assert_allclose(variances, columns(expected, "F", count), rtol=tolerance)


@pytest.mark.parametrize("algorithm", SEQUENTIAL)
@every_table
def test_kfas_disturbances(name, algorithm):
    """The noise of states and observations, in their units."""
    ssm, y, _, tolerance, expected = kfas(name)
    result = ss.disturbance_smoother(ssm, y, algorithm=algorithm)
    g, c = np.asarray(ssm.transition_scale), np.asarray(ssm.observation_scale)
    g = g[np.any(g != 0.0, axis=1)]  # the states that have noise
    assert_mean(result.state_mean @ g.T, columns(expected, "etahat", len(g)), tolerance)
    assert_determinant(transformed(g, result.state_covariance), expected["detVeta"], tolerance)
    if name != ROTATED:
        means, variances = (columns(expected, x, len(c)) for x in ("epshat", "Veps"))
        assert_mean(result.observation_mean @ c.T, means, tolerance)
        got = np.diagonal(transformed(c, result.observation_covariance), axis1=1, axis2=2)
        assert_mean(got, variances, tolerance)
