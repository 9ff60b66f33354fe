"""The disturbance smoother against the dense joint Gaussian and statsmodels."""

import numpy as np
import pytest
import tensorflow as tf
from kalman.models import build, dense, random_data, random_parameters
from oracles import dense as oracle
from slow import slow_reference
from statsmodels.tsa.statespace.kalman_smoother import KalmanSmoother

import statespace as ss

T = 5


def noise_given_data(model, y):
    """Moments of all noise by conditioning it directly on the observations.

    Returns:
      q: mean [T, k] and covariance [T, k, T, k]; r: mean [T, r] and covariance [T, r, T, r].
    """
    num_steps, n, k = model.g.shape
    m, r = model.c.shape[1:]
    size = num_steps * (k + r)
    # y = mean + (loading of the start) z_0 + loading (q, r), written out by linearity.
    loading = np.zeros((num_steps, m, size))
    for j in range(num_steps):
        for i in range(k):
            x = np.zeros(n)
            for t in range(num_steps):
                loading[t, :, j * k + i] = model.h[t] @ x
                x = model.f[t] @ x + (model.g[t][:, i] if t == j else 0.0)
        loading[j, :, num_steps * k + j * r : num_steps * k + (j + 1) * r] = model.c[j]
    seen = ~np.isnan(y.ravel())
    loading = loading.reshape(num_steps * m, size)[seen]
    mean, covariance = oracle.joint_moments(model)
    h = np.zeros((num_steps * m, num_steps * n))
    s = np.zeros((num_steps * m, num_steps * m))
    for t in range(num_steps):
        rows = slice(t * m, (t + 1) * m)
        h[rows, t * n : (t + 1) * n] = model.h[t]
        s[rows, rows] = model.c[t] @ model.c[t].T
    s = (h @ covariance @ h.T + s)[np.ix_(seen, seen)]
    residual = (y.ravel() - h @ mean - model.d.ravel())[seen]
    gain = np.linalg.solve(s, loading).T
    moments = gain @ residual, np.eye(size) - gain @ loading
    q, r_part = slice(0, num_steps * k), slice(num_steps * k, size)
    return (
        moments[0][q].reshape(num_steps, k),
        moments[1][q, q].reshape(num_steps, k, num_steps, k),
        moments[0][r_part].reshape(num_steps, r),
        moments[1][r_part, r_part].reshape(num_steps, r, num_steps, r),
    )


@pytest.mark.parametrize(
    ("batch", "lead", "n", "m", "k"),
    [((), (), 2, 1, 2), ((3,), (T,), 3, 2, 1), ((2, 3), (3, T), 2, 2, 3), ((5,), (5, 1), 4, 1, 2)],
)
@pytest.mark.parametrize("algorithm", ["covariance", "square_root", "univariate", "reference"])
def test_against_conditioning_the_noise(batch, lead, n, m, k, algorithm):
    rng = np.random.default_rng(0)
    parameters = random_parameters(rng, n, m, k=k, lead=lead)
    y = random_data(rng, batch, T, m)
    result = ss.disturbance_smoother(build(parameters), y, algorithm=algorithm)
    assert not np.any(result.info)
    for item in np.ndindex(*batch):
        q, q_covariance, r, r_covariance = noise_given_data(
            dense(parameters, item, batch, T), y[item]
        )
        close = {"rtol": 1e-10, "atol": 1e-10}
        np.testing.assert_allclose(result.state_mean.numpy()[item], q, **close)
        np.testing.assert_allclose(result.observation_mean.numpy()[item], r, **close)
        for t in range(T):
            at = (*item, t)
            np.testing.assert_allclose(
                result.state_covariance.numpy()[at], q_covariance[t, :, t], **close
            )
            np.testing.assert_allclose(
                result.observation_covariance.numpy()[at], r_covariance[t, :, t], **close
            )


def test_against_statsmodels_with_a_diffuse_start():
    rng = np.random.default_rng(1)
    y = np.cumsum(rng.normal(size=(30, 1)), axis=0)
    y[4:7] = np.nan
    transition, scale = np.array([[1.0, 1.0], [0.0, 1.0]]), np.diag([0.5, 0.1])
    theirs = KalmanSmoother(1, 2, k_posdef=2)
    theirs.bind(y.copy())
    theirs["transition"], theirs["selection"], theirs["state_cov"] = transition, scale, np.eye(2)
    theirs["design"], theirs["obs_cov"] = np.array([[1.0, 0.0]]), np.array([[0.7**2]])
    theirs.initialize_diffuse()
    expected = theirs.smooth()
    ssm = ss.LinearGaussianSSM(
        transition, scale, [[1.0, 0.0]], [[0.7]], np.zeros(2), np.eye(2), diffuse=[True, True]
    )
    result = ss.disturbance_smoother(ssm, y)
    close = {"rtol": 1e-9, "atol": 1e-9}
    np.testing.assert_allclose(
        0.7 * result.observation_mean[:, 0], expected.smoothed_measurement_disturbance[0], **close
    )
    np.testing.assert_allclose(result.state_mean, expected.smoothed_state_disturbance.T, **close)
    np.testing.assert_allclose(
        0.49 * result.observation_covariance[:, 0, 0],
        expected.smoothed_measurement_disturbance_cov[0, 0],
        **close,
    )
    np.testing.assert_allclose(
        result.state_covariance,
        np.moveaxis(expected.smoothed_state_disturbance_cov, -1, 0),
        **close,
    )


@slow_reference
def test_graph_with_unknown_sizes_and_gradient(native):
    rng = np.random.default_rng(2)
    parameters = random_parameters(rng, 2, 1)
    y = random_data(rng, (3,), T, 1)
    scale = tf.constant(parameters["observation_scale"])

    def run(y):
        with tf.GradientTape() as tape:
            tape.watch(scale)
            ssm = build(parameters | {"observation_scale": scale})
            result = ss.disturbance_smoother(ssm, y)
            total = tf.reduce_sum(tf.sin(result.observation_mean))
        return tape.gradient(total, scale), *result

    unknown = tf.TensorSpec([None, None, 1], tf.float64)
    compiled = tf.function(run, input_signature=[unknown])
    for x, z in zip(compiled(tf.constant(y)), run(tf.constant(y)), strict=True):
        np.testing.assert_allclose(x, z, rtol=1e-12, atol=1e-12)


def test_what_is_not_known_has_its_prior():
    parameters = random_parameters(np.random.default_rng(3), 2, 1)
    y = np.full((T, 1), np.nan)
    result = ss.disturbance_smoother(build(parameters), y)
    np.testing.assert_allclose(result.state_mean, np.zeros((T, 2)), atol=1e-14)
    np.testing.assert_allclose(result.state_covariance, [np.eye(2)] * T, atol=1e-14)
    np.testing.assert_allclose(result.observation_covariance, np.ones((T, 1, 1)), atol=1e-14)


def test_refusals():
    with pytest.raises(ValueError, match="ssm is a dict; it must be a LinearGaussianSSM"):
        ss.disturbance_smoother({}, np.zeros((3, 1)))
