"""Maximum marginal likelihood of Gaussian processes."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from statespace.models import GaussianProcess
from statespace.models.gaussian_process_parameters import Positive

kernels = tfp.math.psd_kernels


def matern(amplitude, length_scale):
    return kernels.MaternFiveHalves(amplitude, length_scale)


def by_column(amplitude, length_scale):
    return kernels.FeatureScaled(kernels.ExponentiatedQuadratic(amplitude), length_scale)


GP = GaussianProcess(matern)


def data(n=60, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 1))
    return x, np.sin(3 * x[:, 0]) + 0.1 * rng.normal(size=n)


def test_as_high_as_scikit_learn():
    gaussian_process = pytest.importorskip("sklearn.gaussian_process")
    k = gaussian_process.kernels
    x, y = data()
    whole = k.ConstantKernel(1.0) * k.Matern(1.0, nu=2.5) + k.WhiteKernel(0.01)
    theirs = gaussian_process.GaussianProcessRegressor(whole, alpha=0).fit(x, y)
    post = GP.fit(x, y)
    assert post.converged
    assert post.log_marginal_likelihood >= theirs.log_marginal_likelihood_value_ - 1e-8
    fitted = theirs.kernel_
    np.testing.assert_allclose(post.params["length_scale"], fitted.k1.k2.length_scale, rtol=1e-4)
    np.testing.assert_allclose(post.params["noise_variance"], fitted.k2.noise_level, rtol=1e-4)


def test_the_gradient_vanishes_at_the_maximum():
    x, y = data()
    logs = {name: tf.math.log(value) for name, value in GP.fit(x, y).params.items()}
    with tf.GradientTape() as tape:
        tape.watch(logs)
        params = {name: tf.exp(value) for name, value in logs.items()}
        value = GP.log_marginal_likelihood(params, x, y)
    assert max(abs(g) for g in tape.gradient(value, logs).values()) < 1e-4


@pytest.mark.parametrize("scale", [1e-8, 1e8])
def test_units_do_not_matter(scale):
    x, y = data()
    plain = GP.fit(x, y)
    scaled = GP.fit(x * scale, y / scale)
    expected = {"amplitude": 1 / scale, "length_scale": scale, "noise_variance": scale**-2}
    for name, unit in expected.items():
        np.testing.assert_allclose(scaled.params[name], plain.params[name] * unit, rtol=1e-5)
    np.testing.assert_allclose(
        scaled.log_marginal_likelihood - 60 * np.log(scale),
        plain.log_marginal_likelihood,
        rtol=1e-9,
    )


@pytest.mark.parametrize("method", ["dense", "state_space"])
def test_units_of_the_inputs_do_not_matter(method):
    x, y = data(n=25)
    gp = GaussianProcess(matern, method=method)
    plain = gp.fit(x, y, num_starts=1)
    for scale in (1e-30, 1e30):
        scaled = gp.fit(x * scale, y, num_starts=1)
        for name, power in (("amplitude", 0), ("length_scale", 1), ("noise_variance", 0)):
            np.testing.assert_allclose(
                scaled.params[name] / scale**power, plain.params[name], rtol=1e-4
            )


@pytest.mark.parametrize("level", [0.1, 1e9])
def test_constant_observations(level):
    """Their unit is their size, not what rounding makes of their spread."""
    x, _ = data(n=20)
    post = GP.fit(x, np.full(20, level), num_starts=1)
    np.testing.assert_allclose(post.predict(x).mean(), level, rtol=1e-6)
    assert 0.1 * level < post.params["amplitude"] < 100 * level
    assert np.all(post.predict(x).stddev() < 1e-3 * level)


def test_a_batch_is_a_loop():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 3, 30, 2))
    y = 1e3 + 5 * x[..., 0] + np.sin(3 * x[..., 1]) + 0.1 * rng.normal(size=(2, 3, 30))
    gp = GaussianProcess(
        by_column,
        mean=lambda x, level, slope: level + slope * x[..., 0],
        parameters=[Positive("length_scale", (2,), x_power=1, limits=(-5.0, 3.0))],
    )
    fix = {"length_scale": [20.0, 0.7], "noise_variance": np.array([[0.01], [0.02]])}
    together = gp.fit(x, y, fix=fix)
    assert together.converged.all()
    assert together.params["length_scale"].shape == (2, 3, 2)
    np.testing.assert_array_equal(together.params["noise_variance"][1], [0.02] * 3)
    np.testing.assert_allclose(together.params["slope"], 5.0, atol=0.5)
    one = gp.fit(x[1, 2], y[1, 2], fix=fix | {"noise_variance": 0.02})
    np.testing.assert_allclose(
        together.log_marginal_likelihood[1, 2], one.log_marginal_likelihood, rtol=1e-9
    )


def test_a_length_scale_for_each_column():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(80, 3)) * [1.0, 1e3, 1e-3]
    y = np.sin(2 * x[:, 0]) + np.cos(x[:, 1] / 1e3)
    gp = GaussianProcess(by_column, parameters=[Positive("length_scale", (3,), x_power=1)])
    post = gp.fit(x, y + 0.05 * rng.normal(size=80))
    scaled = post.params["length_scale"] / [1.0, 1e3, 1e-3]
    assert scaled[2] > 20 * max(scaled[:2])  # the third column says nothing


def test_known_errors():
    x, y = data()
    errors = np.where(np.arange(60) % 2, 4.0, 1e-4)
    y = y + np.random.default_rng(1).normal(size=60) * np.sqrt(errors)
    post = GP.fit(x, y, error_variance=errors)
    assert post.params["noise_variance"] < 0.05
    assert GP.fit(x, y).params["noise_variance"] > 1


def test_float32():
    x, y = data()
    post = GP.fit(x.astype(np.float32), y.astype(np.float32))
    assert post.params["length_scale"].dtype == tf.float32
    np.testing.assert_allclose(
        post.log_marginal_likelihood, GP.fit(x, y).log_marginal_likelihood, atol=1e-2
    )


def test_everything_fixed():
    x, y = data()
    params = {"amplitude": 1.0, "length_scale": 0.5, "noise_variance": 0.01}
    assert (
        GP.fit(x, y, fix=params).log_marginal_likelihood
        == GP.condition(x, y, params).log_marginal_likelihood
    )


def test_graphs_are_found_again():
    gp = GaussianProcess(matern)
    for n in (10, 11, 12):
        gp.fit(*data(n), num_starts=2)
    (graph,) = gp._objectives["dense"]._graphs.values()
    assert graph.experimental_get_tracing_count() == 1


def test_errors():
    x, y = data()
    with pytest.raises(ValueError, match="fix has noise; the parameters are amplitude"):
        GP.fit(x, y, fix={"noise": 1.0})
    with pytest.raises(ValueError, match="nothing to learn from"):
        GP.fit(x[:0], y[:0])
    with pytest.raises(ValueError, match="num_starts is 0"):
        GP.fit(x, y, num_starts=0)
    with pytest.raises(ValueError, match="num_steps is -1"):
        GP.fit(x, y, num_steps=-1)
    with pytest.raises(ValueError, match="fix is a list; it must be a dict"):
        GP.fit(x, y, fix=["noise_variance"])
    with pytest.raises(ValueError, match=r"noise_variance is -1\.0; it must be finite and not neg"):
        GP.fit(x, y, fix={"noise_variance": -1.0})
    with pytest.raises(ValueError, match=r"call it outside tf\.function"):
        tf.function(GP.fit, autograph=False)(x, y)
    with pytest.raises(ValueError, match=r"y\[3\] is nan"):
        GP.fit(x, np.where(np.arange(60) == 3, np.nan, y))
