"""Matérn processes on a line by the Kalman filter against the dense covariance matrix."""

import mpmath
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from hypothesis import given, settings
from hypothesis import strategies as st

from statespace.models import GaussianProcess
from statespace.models.gaussian_process_state_space import StateSpacePosterior

kernels = tfp.math.psd_kernels
MATERN = [kernels.MaternOneHalf, kernels.MaternThreeHalves, kernels.MaternFiveHalves]
PARAMS = {"amplitude": 1.3, "length_scale": 2.0, "noise_variance": 0.1}


def both(kernel, mean=None):
    def build(amplitude, length_scale):
        return kernel(amplitude, length_scale)

    return [GaussianProcess(build, mean, method=method) for method in ("dense", "state_space")]


def data(n=40, seed=0):
    """Unsorted inputs, some of them repeated."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(0, 10, size=(n, 1))
    x[n // 2 : n // 2 + 3] = x[:3]
    return x, np.sin(x[:, 0]) + 0.3 * rng.normal(size=n)


@pytest.mark.parametrize("kernel", MATERN)
def test_the_same_numbers(kernel):
    x, y = data()
    errors = np.random.default_rng(1).uniform(0, 0.2, size=40)
    new = np.concatenate([np.linspace(12, -2, 15)[:, np.newaxis], x[:2], x[:1]])
    dense, fast = both(kernel, mean=lambda x, slope: slope * x[..., 0])
    params = PARAMS | {"slope": 0.2}
    values, gradients = [], []
    for gp in (dense, fast):
        variables = {name: tf.Variable(value, dtype=tf.float64) for name, value in params.items()}
        known = tf.Variable(errors)
        with tf.GradientTape() as tape:
            tensors = {name: tf.identity(value) for name, value in variables.items()}
            values.append(gp.log_marginal_likelihood(tensors, x, y, error_variance=known))
        gradients.append(tape.gradient(values[-1], (variables, known)))
    np.testing.assert_allclose(values[1], values[0], rtol=1e-12)
    for ours, theirs in zip(*map(tf.nest.flatten, gradients), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-10)

    post, expected = (gp.condition(x, y, params, error_variance=errors) for gp in (fast, dense))
    assert isinstance(post, StateSpacePosterior)
    for ours, theirs in zip(
        post.mean_and_variance(new), expected.mean_and_variance(new), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-11)
    for ours, theirs in zip(post.leave_one_out(), expected.leave_one_out(), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-10)
    np.testing.assert_allclose(
        post.joint(new).covariance(), expected.joint(new).covariance(), atol=1e-12
    )


def test_the_same_second_derivatives():
    x, y = data(20)
    hessians = []
    for gp in both(kernels.MaternFiveHalves):
        values = tf.constant([1.3, 0.7, 0.1], tf.float64)
        with tf.GradientTape(persistent=True) as outer:
            outer.watch(values)
            with tf.GradientTape() as tape:
                tape.watch(values)
                params = dict(zip(PARAMS, tf.unstack(values), strict=True))
                value = gp.log_marginal_likelihood(params, x, y)
            gradient = tape.gradient(value, values)
        hessians.append(outer.jacobian(gradient, values, experimental_use_pfor=False))
    np.testing.assert_allclose(hessians[1], hessians[0], rtol=1e-9)


@settings(max_examples=10)
@given(
    kernel=st.sampled_from(MATERN),
    batch=st.sampled_from([(1,), (2,), (2, 3)]),
    shared=st.sampled_from(["nothing", "inputs", "observations", "params"]),
    dtype=st.sampled_from([np.float32, np.float64]),
)
def test_batches(kernel, batch, shared, dtype):
    rng = np.random.default_rng(0)
    x = rng.uniform(0, 10, (*(() if shared == "inputs" else batch), 9, 1)).astype(dtype)
    y = rng.normal(size=(*(() if shared == "observations" else batch), 9)).astype(dtype)
    own = () if shared == "params" else batch
    params = {k: (v * rng.uniform(0.8, 1.2, size=own)).astype(dtype) for k, v in PARAMS.items()}
    new = np.linspace(-1, 11, 5)[:, np.newaxis].astype(dtype)
    dense, fast = both(kernel)
    post, expected = (gp.condition(x, y, params) for gp in (fast, dense))
    tolerance = {np.float32: 1e-4, np.float64: 1e-10}[dtype]
    np.testing.assert_allclose(
        post.log_marginal_likelihood, expected.log_marginal_likelihood, rtol=tolerance
    )
    for ours, theirs in zip(
        post.mean_and_variance(new), expected.mean_and_variance(new), strict=True
    ):
        assert ours.dtype == dtype
        assert ours.shape == (*batch, 5)
        np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(
        post.leave_one_out().mean, expected.leave_one_out().mean, rtol=tolerance, atol=tolerance
    )
    assert post.sample(new, 2, seed=0).shape == (2, *batch, 5)


def test_draws_have_the_moments_of_the_posterior():
    x, y = data(10)
    post = both(kernels.MaternThreeHalves)[1].condition(x, y, PARAMS)
    new = np.array([[7.0], [1.0], [7.0], [-1.0]])
    draws = post.sample(new, 20000, seed=3).numpy()
    covariance = post.joint(new).covariance().numpy()
    error = 5 * np.sqrt(np.diag(covariance) / 20000)
    assert np.all(np.abs(draws.mean(axis=0) - post.joint(new).loc) < error)
    np.testing.assert_allclose(np.cov(draws.T), covariance, atol=6 * covariance.max() / 20000**0.5)
    np.testing.assert_allclose(draws[:, 0], draws[:, 2], atol=1e-7)


def test_small_noise_against_fifty_digits():
    """Variances far below that of the process, where differences of float64 have no digits left."""
    x, y = data(12)
    noise = 1e-6
    post = both(kernels.MaternThreeHalves)[1].condition(x, y, PARAMS | {"noise_variance": noise})
    with mpmath.workdps(50):

        def covariance(a, b):
            r = mpmath.sqrt(3) * abs(mpmath.mpf(float(a)) - mpmath.mpf(float(b))) / 2
            return mpmath.mpf(1.3) ** 2 * (1 + r) * mpmath.exp(-r)

        matrix = mpmath.matrix([[covariance(a, b) for b in x[:, 0]] for a in x[:, 0]])
        inverse = (matrix + mpmath.mpf(noise) * mpmath.eye(12)) ** -1
        precision = [inverse[i, i] for i in range(12)]
        variance = [float(noise - mpmath.mpf(noise) ** 2 * p) for p in precision]
        left_out = [float(1 / p) for p in precision]
    np.testing.assert_allclose(post.mean_and_variance(x)[1], variance, rtol=1e-13)
    np.testing.assert_allclose(post.leave_one_out().variance, left_out, rtol=1e-8)


def test_fit_gives_the_same_maximum():
    x, y = data()
    dense, fast = (gp.fit(x, y, num_starts=2) for gp in both(kernels.MaternFiveHalves))
    np.testing.assert_allclose(
        fast.log_marginal_likelihood, dense.log_marginal_likelihood, rtol=1e-10
    )
    np.testing.assert_allclose(fast.params["length_scale"], dense.params["length_scale"], rtol=1e-4)


def test_auto():
    kernel = kernels.MaternFiveHalves(np.float64(1.0), np.float64(0.5))
    inverse = kernels.MaternFiveHalves(np.float64(1.0), inverse_length_scale=np.float64(2.0))
    noise = {"noise_variance": 0.1}
    x, y = data(250)
    for n, k, columns, fast in (
        (250, kernel, 1, True),
        (250, inverse, 1, True),
        (20, kernel, 1, False),
        (250, kernel, 2, False),
        (250, kernel + kernel, 1, False),
    ):
        post = GaussianProcess(k).condition(np.repeat(x[:n], columns, axis=1), y[:n], noise)
        assert isinstance(post, StateSpacePosterior) is fast
    np.testing.assert_allclose(
        GaussianProcess(inverse).log_marginal_likelihood(noise, x, y),
        GaussianProcess(kernel, method="dense").log_marginal_likelihood(noise, x, y),
        rtol=1e-11,
    )


def test_a_hundred_thousand_observations():
    rng = np.random.default_rng(0)
    x = rng.uniform(0, 1e4, size=(100_000, 1))
    y = np.sin(x[:, 0]) + 0.1 * rng.normal(size=100_000)
    gp = GaussianProcess(lambda length_scale: kernels.MaternFiveHalves(None, length_scale))
    post = gp.condition(x, y, {"length_scale": 1.5, "noise_variance": 0.01})
    new = np.array([[10.0], [5000.0]])
    np.testing.assert_allclose(post.predict(new).mean(), np.sin(new[:, 0]), atol=0.1)


def test_without_noise():
    x, y = data(10)
    dense, fast = both(kernels.MaternThreeHalves)
    distinct = np.arange(10.0)[:, np.newaxis]
    certain = PARAMS | {"noise_variance": 0.0}
    np.testing.assert_allclose(
        fast.log_marginal_likelihood(certain, distinct, y),
        dense.log_marginal_likelihood(certain, distinct, y),
        rtol=1e-10,
    )
    with pytest.raises(ValueError, match=r"noise of observation .*Use method='dense'"):
        fast.condition(distinct, y, certain).leave_one_out()
    with pytest.raises(ValueError, match="two observations without noise have one input"):
        fast.condition(x, y, certain)
    assert np.isnan(fast.log_marginal_likelihood(certain, x, y, on_failure="nan"))
    with pytest.raises(tf.errors.InvalidArgumentError, match="no likelihood"):
        tf.function(fast.log_marginal_likelihood)(certain, x, y)


def test_where_it_cannot_be():
    gp = GaussianProcess(kernels.ExponentiatedQuadratic(np.float64(1.0)), method="state_space")
    with pytest.raises(ValueError, match=r"method is 'state_space'.*ExponentiatedQuadratic"):
        gp.condition(*data(), {"noise_variance": 0.1})
    with pytest.raises(ValueError, match="method is 'fast'; it must be one of auto, dense"):
        GaussianProcess(kernels.ExponentiatedQuadratic(), method="fast")
