"""Information and variances after observations, against determinants and models fitted again."""

import itertools

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import finite_differences

from statespace import active
from statespace.models import BayesianLinearRegression, FixedPrior, GaussianProcess

KERNEL = tfp.math.psd_kernels.MaternFiveHalves(np.float64(1.3), np.float64(0.8))


def problem(m=6, k=3, batch=(), seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(*batch, m, k)), rng.uniform(0.1, 2.0, size=(*batch, m))


def gain_by_determinant(covariance, noise, chosen):
    """1/2 log det(I + D^-1 C) of the chosen candidates."""
    part = covariance[np.ix_(chosen, chosen)] / noise[list(chosen), np.newaxis]
    return 0.5 * np.linalg.slogdet(np.eye(len(chosen)) + part)[1]


def covariance_given(covariance, noise, chosen):
    """The covariance of all candidates after observations of the chosen ones."""
    chosen = list(chosen)
    observed = covariance[np.ix_(chosen, chosen)] + np.diag(noise[chosen])
    cross = covariance[:, chosen]
    return covariance - cross @ np.linalg.solve(observed, cross.T)


@pytest.mark.parametrize(("m", "k"), [(6, 3), (3, 6), (4, 4), (1, 1)])
def test_gains_are_those_of_determinants(m, k):
    root, noise = problem(m, k)
    covariance = root @ root.T
    want = [gain_by_determinant(covariance, noise, [i]) for i in range(m)]
    np.testing.assert_allclose(active.information_gain(root, noise), want, rtol=1e-13)
    want = gain_by_determinant(covariance, noise, range(m))
    np.testing.assert_allclose(active.joint_information_gain(root, noise), want, rtol=1e-12)


@pytest.mark.parametrize("points", [None, 2, 9])
def test_variance_reduction_is_the_fall_of_the_average(points):
    root, noise = problem()
    reference = None if points is None else problem(points, 3, seed=1)[0]
    rows = root if reference is None else np.concatenate([root, reference])
    at = slice(None) if reference is None else slice(len(root), None)
    covariance = rows @ rows.T
    noise_of_all = np.append(noise, np.ones(len(rows) - len(root)))
    before = np.diag(covariance)[at].mean()
    after = [
        np.diag(covariance_given(covariance, noise_of_all, [i]))[at].mean()
        for i in range(len(root))
    ]
    got = active.variance_reduction(root, noise, reference)
    np.testing.assert_allclose(got, before - np.array(after), rtol=1e-11)


@given(
    m=st.integers(1, 6),
    k=st.integers(1, 6),
    size=st.floats(-8.0, 8.0),
    times=st.integers(1, 4),
    seed=st.integers(0, 1000),
)
@settings(max_examples=30)
def test_observations_one_by_one_are_all_at_once(m, k, size, times, seed):
    """At any ratio of variance to noise, the gains of the steps add up to that of all."""
    root, noise = problem(m, k, seed=seed)
    root *= 10.0**size
    chosen = np.random.default_rng(seed).integers(m, size=times)
    covariance, total, left = root @ root.T, 0.0, tf.constant(root)
    for i in chosen:
        total += active.information_gain(left, noise)[i]
        left = active.observe(left, left[i], noise[i])
    together = active.joint_information_gain(root[chosen], noise[chosen])
    # Each gain knows f to the digits that are left of it beside the noise.
    np.testing.assert_allclose(total, together, rtol=1e-13 * max(10, 10**size), atol=1e-14)
    if size < 1:
        want = covariance_given(covariance, noise, chosen)
        np.testing.assert_allclose(
            left @ tf.transpose(left), want, atol=1e-12 * np.abs(covariance).max()
        )
    assert np.all(active.variance(left) <= active.variance(root) * (1 + 1e-12))


def test_batches_are_loops():
    root, noise = problem(5, 3, (2, 2))
    left = active.observe(root, root[..., 1, :], noise[..., 1])
    for index in np.ndindex(2, 2):
        for criterion in (
            active.information_gain,
            active.joint_information_gain,
            active.variance_reduction,
        ):
            np.testing.assert_allclose(
                criterion(root, noise)[index], criterion(root[index], noise[index]), rtol=1e-13
            )
        one = active.observe(root[index], root[index][1], noise[index][1])
        np.testing.assert_allclose(left[index], one, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(
    "function",
    [
        lambda root, noise: tf.reduce_sum(active.information_gain(root, noise) ** 2),
        active.joint_information_gain,
        lambda root, noise: tf.reduce_sum(active.variance_reduction(root, noise) ** 2),
        lambda root, noise: tf.reduce_sum(active.observe(root, root[0], noise[0]) ** 2),
    ],
    ids=["information", "joint", "variance reduction", "observe"],
)
@pytest.mark.parametrize("shape", [(4, 2), (2, 4)])
def test_gradients(function, shape):
    root, noise = (tf.constant(v) for v in problem(*shape))
    direction = tf.constant(np.random.default_rng(5).normal(size=shape))
    with tf.GradientTape() as outer:
        outer.watch([root, noise])
        with tf.GradientTape() as tape:
            tape.watch([root, noise])
            value = function(root, noise)
        gradients = tape.gradient(value, [root, noise])
        slope = tf.reduce_sum(gradients[0] * direction)
    second = outer.gradient(slope, root)
    want = finite_differences.gradient(function, [root, noise])
    for got, expected in zip(gradients, want, strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-8, atol=1e-9)

    def gradient_along(point):
        point = tf.constant(point)
        with tf.GradientTape() as tape:
            tape.watch(point)
            value = function(point, noise)
        return tf.reduce_sum(tape.gradient(value, point) * direction)

    want = finite_differences.gradient(gradient_along, [root])[0]
    np.testing.assert_allclose(second, want, rtol=1e-7, atol=1e-8)


def test_criteria_compile():
    root, noise = problem()
    for function in (active.joint_information_gain, active.variance_reduction):
        compiled = tf.function(function, jit_compile=True)
        np.testing.assert_allclose(
            compiled(tf.constant(root), tf.constant(noise)), function(root, noise), rtol=1e-12
        )


def test_float32_and_wrong_dtypes():
    root, noise = problem()
    got = active.joint_information_gain(root.astype(np.float32), noise.astype(np.float32))
    assert got.dtype == tf.float32
    np.testing.assert_allclose(got, active.joint_information_gain(root, noise), rtol=1e-5)
    with pytest.raises(ValueError, match="root is int64; it must be float32 or float64"):
        active.variance(np.ones((2, 2), np.int64))
    for call in (
        lambda: active.variance_reduction(root, noise, root.astype(np.float32)),
        lambda: active.observe(root, root[0].astype(np.float32), 1.0),
    ):
        with pytest.raises(ValueError, match="mixed dtypes"):
            call()


@pytest.mark.parametrize(
    "function",
    [
        active.information_gain,
        active.joint_information_gain,
        active.variance_reduction,
        lambda root, noise: active.observe(root, root[..., 0, :], noise),
    ],
)
def test_noise_that_is_none_is_refused(function):
    root, _ = problem()
    for noise in (0.0, -1.0, np.nan):
        with pytest.raises(ValueError, match=f"noise_variance is {noise}; it must be positive"):
            function(root, noise)
    with pytest.raises(ValueError, match="noise_variance is no array of numbers: 'low'"):
        function(root, "low")
    with pytest.raises(ValueError, match=r"noise_variance has shape \(4,\); it must broadcast"):
        function(root[np.newaxis].repeat(6, axis=0), np.ones(4))


def regression(d=3, n=8, prior=None, **options):
    rng = np.random.default_rng(2)
    x = rng.normal(size=(n, d)) + 1.0
    y = x @ np.ones(d) + 0.3 * rng.normal(size=n)
    prior = prior or FixedPrior(0.3, [1.0] * d)
    return BayesianLinearRegression(prior, **options).fit(x, y)


@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize(("d", "n"), [(3, 8), (6, 3)], ids=["n > d", "n < d"])
def test_root_of_a_regression_is_its_covariance(d, n, intercept):
    model = regression(d, n, intercept=intercept)
    x = np.random.default_rng(3).normal(size=(5, d))
    root = model.covariance_root(x).numpy()
    variance = model.predict(x, noise=False).variance()
    np.testing.assert_allclose((root**2).sum(-1), variance, rtol=1e-12)
    # Off the diagonal, by the variance of f(x_0) - f(x_1): of a regression without constant.
    joint = x @ model.coefficient_covariance.numpy() @ x.T
    if not intercept:
        np.testing.assert_allclose(root @ root.T, joint, rtol=1e-10, atol=1e-14)
    difference = x[0] - x[1]
    want = difference @ model.coefficient_covariance.numpy() @ difference
    np.testing.assert_allclose(((root[0] - root[1]) ** 2).sum(), want, rtol=1e-11)


@pytest.mark.parametrize(("d", "n"), [(3, 8), (6, 3)], ids=["n > d", "n < d"])
def test_observing_is_updating_the_regression(d, n):
    model, at = regression(d, n), np.random.default_rng(3).normal(size=(5, d))
    root = model.covariance_root(at)
    left = active.observe(root, root[2], model.noise_scale**2)
    model.update(at[2:3], np.array([7.0]))
    again = model.covariance_root(at).numpy()
    np.testing.assert_allclose(left @ tf.transpose(left), again @ again.T, atol=1e-13)


def test_observing_is_conditioning_the_gaussian_process():
    rng = np.random.default_rng(4)
    x, at, params = rng.normal(size=(6, 2)), rng.normal(size=(5, 2)), {"noise_variance": 0.04}
    gp = GaussianProcess(KERNEL)
    root = gp.condition(x, np.ones(6), params).joint(at).scale_tril
    left = active.observe(root, root[2], 0.04)
    after = gp.condition(np.append(x, at[2:3], 0), np.ones(7), params).joint(at)
    np.testing.assert_allclose(left @ tf.transpose(left), after.covariance(), atol=1e-12)


def test_expected_fall_of_entropy_is_the_information_gain():
    """From the definition: of the joint normal of weights and intercept, by determinants."""
    model, at = regression(), np.array([[0.3, -1.0, 2.0]])
    before = np.linalg.slogdet(model.coefficient_covariance.numpy())[1]
    mean_variance = model.noise_scale.numpy() ** 2 / 8  # the intercept's, at the mean of x
    gain = active.information_gain(model.covariance_root(at), model.noise_scale**2)[0]
    model.update(at, np.array([0.0]))
    after = np.linalg.slogdet(model.coefficient_covariance.numpy())[1]
    mean_variance_after = model.noise_scale.numpy() ** 2 / 9
    want = 0.5 * (before - after + np.log(mean_variance / mean_variance_after))
    np.testing.assert_allclose(gain, want, rtol=1e-11)


def test_all_pairs_agree():
    """The chain rule, whatever the order."""
    root, noise = problem(4, 2)
    covariance = root @ root.T
    for i, j in itertools.permutations(range(4), 2):
        left = active.observe(root, root[i], noise[i])
        total = active.information_gain(root, noise)[i] + active.information_gain(left, noise)[j]
        np.testing.assert_allclose(
            total, gain_by_determinant(covariance, noise, [i, j]), rtol=1e-12
        )
