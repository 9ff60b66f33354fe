"""Expected improvement against mpmath, quadrature and differences; Thompson sampling by counts."""

import mpmath
import numpy as np
import pytest
import scipy.integrate
import scipy.stats
import tensorflow as tf
import tensorflow_probability as tfp

from statespace import active
from statespace.models import (
    BayesianLinearRegression,
    FixedPrior,
    GaussianProcess,
    NormalInverseGamma,
)

tfd = tfp.distributions
U = np.concatenate([np.linspace(-90, 6, 97), [-1.0, -1 - 1e-12, -72.9, -74.0, -500.0]])


def exact_normal(u):
    with mpmath.workdps(60):
        u = mpmath.mpf(float(u))
        tail = mpmath.erfc(-u / mpmath.sqrt(2)) / 2
        return float(mpmath.log(u * tail + mpmath.npdf(u)))


def exact_student(u, v):
    with mpmath.workdps(60):
        u, v = mpmath.mpf(float(u)), mpmath.mpf(v)
        density = (
            mpmath.gamma((v + 1) / 2)
            / (mpmath.sqrt(v * mpmath.pi) * mpmath.gamma(v / 2))
            * (1 + u**2 / v) ** (-(v + 1) / 2)
        )
        tail = mpmath.betainc(v / 2, mpmath.mpf(1) / 2, 0, v / (v + u**2), regularized=True) / 2
        return float(mpmath.log(u * (tail if u < 0 else 1 - tail) + (v + u**2) / (v - 1) * density))


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 2e-13), (np.float32, 2e-5)])
def test_normal_to_all_digits(dtype, tolerance):
    u = U.astype(dtype)
    distribution = tfd.Normal(np.zeros_like(u), dtype(1))
    got = active.log_expected_improvement(distribution, u)
    assert got.dtype == dtype
    want = np.array([exact_normal(value) for value in u])
    # Absolute where the logarithm is of the order of one, else relative.
    np.testing.assert_allclose(got, want, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("degrees", [1.5, 4.0, 30.0, 200.0])
def test_student_to_all_digits(degrees):
    u = np.linspace(-30, 6, 37)
    got = active.log_expected_improvement(tfd.StudentT(degrees, np.zeros_like(u), 1.0), u)
    np.testing.assert_allclose(got, [exact_student(v, degrees) for v in u], atol=1e-10)


def test_the_definition_by_quadrature():
    for distribution, frozen in (
        (tfd.Normal(np.float64(1.0), 2.0), scipy.stats.norm(1.0, 2.0)),
        (tfd.StudentT(np.float64(5.0), 1.0, 2.0), scipy.stats.t(5.0, 1.0, 2.0)),
    ):
        low = scipy.integrate.quad(lambda f, d=frozen: (0.5 - f) * d.pdf(f), -np.inf, 0.5)[0]
        high = scipy.integrate.quad(lambda f, d=frozen: (f - 0.5) * d.pdf(f), 0.5, np.inf)[0]
        got = active.expected_improvement(distribution, 0.5)
        np.testing.assert_allclose(got, low, rtol=1e-8)
        got = active.expected_improvement(distribution, 0.5, maximise=True)
        np.testing.assert_allclose(got, high, rtol=1e-8)


@pytest.mark.parametrize("degrees", [None, 4.0])
@pytest.mark.parametrize("u", [-300.0, -73.0, -20.0, -1.0, 0.0, 3.0])
def test_slopes(u, degrees):
    """d EI / d mean = -P(f < best): the logarithm's is minus that over EI."""
    location = tf.constant(-u, tf.float64)
    scale = tf.constant(1.0, tf.float64)
    with tf.GradientTape() as tape:
        tape.watch([location, scale])
        distribution = (
            tfd.Normal(location, scale)
            if degrees is None
            else tfd.StudentT(np.float64(degrees), location, scale)
        )
        value = active.log_expected_improvement(distribution, np.float64(0.0))
    by_location, by_scale = tape.gradient(value, [location, scale])
    with mpmath.workdps(50):
        if degrees is None:
            exact, density = exact_normal(u), mpmath.npdf(u)
            below = mpmath.erfc(-mpmath.mpf(u) / mpmath.sqrt(2)) / 2
        else:
            exact = exact_student(u, degrees)
            below = scipy.stats.t.cdf(u, degrees)
            density = (degrees + u**2) / (degrees - 1) * scipy.stats.t.pdf(u, degrees)
        want = float(-below / mpmath.exp(exact)), float(density / mpmath.exp(exact))
    np.testing.assert_allclose([by_location, by_scale], want, rtol=1e-8)


def test_infinite_and_never_nan():
    heavy = tfd.StudentT(np.array([0.5, 1.0, 1.1]), 0.0, 1.0)
    np.testing.assert_array_equal(
        np.isinf(active.expected_improvement(heavy, 0.0)), [True, True, False]
    )
    far = tf.constant([-1e3, -1e5, -1e30, 1e30], tf.float64)
    for distribution in (tfd.Normal(tf.zeros_like(far), 1.0), tfd.StudentT(2e3, -far, 1.0)):
        with tf.GradientTape() as tape:
            tape.watch(far)
            distribution = distribution.copy(loc=-far)
            value = active.log_expected_improvement(distribution, np.float64(0.0))
        assert not np.any(np.isnan(value))
        assert np.all(np.isfinite(tape.gradient(value, far)))
    with pytest.raises(ValueError, match="distribution is a Gamma; it must be a Normal"):
        active.expected_improvement(tfd.Gamma(1.0, 1.0), 0.0)
    with pytest.raises(ValueError, match=r"best\[1\] is nan; leave that value out"):
        active.expected_improvement(tfd.Normal(0.0, 1.0), [0.0, np.nan])


@pytest.mark.parametrize("degrees", [None, 4.0])
def test_what_is_certain_improves_by_the_gap_itself(degrees):
    best = tf.constant([-2.0, 0.0, 3.0], tf.float64)
    scale = tf.constant(0.0, tf.float64)
    with tf.GradientTape() as tape:
        tape.watch(best)
        certain = (
            tfd.Normal(tf.zeros_like(best), scale)
            if degrees is None
            else tfd.StudentT(np.float64(degrees), tf.zeros_like(best), scale)
        )
        value = active.log_expected_improvement(certain, best)
    np.testing.assert_allclose(value, [-np.inf, -np.inf, np.log(3.0)])
    np.testing.assert_allclose(tape.gradient(value, best), [0.0, 0.0, 1 / 3])
    np.testing.assert_allclose(active.expected_improvement(certain, best), [0.0, 0.0, 3.0])


def test_the_best_value_may_have_another_type():
    distribution = tfd.Normal([0.0, 1.0], 1.0)
    want = active.expected_improvement(distribution, 2.0)
    for best in (2, np.float64(2.0), np.array([2, 2]), tf.constant(2.0, tf.float64)):
        np.testing.assert_array_equal(active.expected_improvement(distribution, best), want)


def posteriors():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(9, 2)), rng.normal(size=9)
    gp = GaussianProcess(tfp.math.psd_kernels.MaternFiveHalves(np.float64(1.0), np.float64(1.0)))
    yield BayesianLinearRegression(FixedPrior(0.5, 1.0)).fit(x, y)
    yield BayesianLinearRegression(NormalInverseGamma(weight_scale=1.0)).fit(x, y)
    yield gp.condition(x, y, {"noise_variance": 0.1})


@pytest.mark.parametrize("model", list(posteriors()), ids=["normal", "student", "process"])
def test_functions_drawn_have_the_moments_of_predictions(model):
    at = np.random.default_rng(1).normal(size=(4, 2))
    draws = active.sample_functions(model, at, 20_000, seed=3).numpy()
    assert draws.shape == (20_000, 4)
    prediction = model.predict(at, noise=False)
    deviation = prediction.stddev().numpy()
    np.testing.assert_allclose(draws.mean(0), prediction.mean(), atol=0.04 * deviation.max())
    np.testing.assert_allclose(draws.std(0), deviation, rtol=0.05)
    if isinstance(model, BayesianLinearRegression):
        root = model.covariance_root(at).numpy()
        scale = np.sqrt((root**2).sum(-1))
        want = root @ root.T / np.outer(scale, scale)
    else:
        want = model.joint(at).covariance().numpy() / np.outer(deviation, deviation)
    np.testing.assert_allclose(np.corrcoef(draws.T), want, atol=0.04)


@pytest.mark.parametrize("maximise", [False, True])
def test_thompson_sampling_chooses_as_often_as_a_candidate_is_the_best(maximise):
    model = next(posteriors())
    at = np.array([[0.0, 0.0], [0.5, 0.5]])
    chosen = active.thompson_sample(model, at, 20_000, seed=5, maximise=maximise)
    assert chosen.dtype == tf.int32
    difference = (at[1] - at[0])[np.newaxis]
    mean = (difference @ model.coefficients.numpy())[0]
    root = model.covariance_root(at).numpy()
    below = scipy.stats.norm.cdf(-mean / np.linalg.norm(root[1] - root[0]))
    np.testing.assert_allclose(np.mean(chosen), 1 - below if maximise else below, atol=0.012)
    again = active.thompson_sample(model, at, 20_000, seed=5, maximise=maximise)
    np.testing.assert_array_equal(chosen, again)


def test_thompson_sampling_in_batches():
    x, y = np.random.default_rng(0).normal(size=(2, 6, 3)), np.zeros((2, 6))
    model = BayesianLinearRegression(FixedPrior(0.5, 1.0)).fit(x, y)
    assert active.thompson_sample(model, x, 4, seed=(1, 2)).shape == (4, 2)
