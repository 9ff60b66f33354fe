"""Programs written for TensorFlow Probability, run with only the class replaced."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from distributions.cases import Ours, Theirs

tfd, tfb = tfp.distributions, tfp.bijectors


def both(program):
    """What a program returns with either class, as arrays."""
    return [[x.numpy() for x in tf.nest.flatten(program(kind))] for kind in (Ours, Theirs)]


def assert_same(program, tolerance=1e-9):
    for got, expected in zip(*both(program), strict=True):
        assert got.shape == expected.shape
        np.testing.assert_allclose(got, expected, rtol=tolerance, atol=tolerance)


def test_tracking_a_vehicle_by_noisy_positions():
    """A random walk in the plane: filter, smoother, and distributions made of their moments."""
    positions = np.cumsum(np.random.default_rng(0).normal(size=(3, 12, 2)), axis=1)

    def program(kind):
        one = tf.ones([2], tf.float64)
        identity = tf.linalg.LinearOperatorIdentity(2, dtype=tf.float64)
        model = kind(
            num_timesteps=12,
            transition_matrix=identity,
            transition_noise=tfd.MultivariateNormalDiag(scale_diag=one),
            observation_matrix=identity,
            observation_noise=tfd.MultivariateNormalDiag(scale_diag=5.0 * one),
            initial_state_prior=tfd.MultivariateNormalDiag(scale_diag=one),
        )
        _, means, covariances, _, _, _, _ = model.forward_filter(positions)
        now = tfd.MultivariateNormalTriL(
            means[..., -1, :], tf.linalg.cholesky(covariances[..., -1, :, :])
        )
        means, covariances = model.posterior_marginals(positions)
        start = tfd.MultivariateNormalTriL(
            means[..., 0, :], tf.linalg.cholesky(covariances[..., 0, :, :])
        )
        return model.log_prob(positions), now.mean(), now.stddev(), start.mean(), start.stddev()

    assert_same(program)


def test_linear_trend():
    """Level and slope; what is expected of the next observations is read off the states."""
    series = 0.3 * np.arange(30.0)[:, np.newaxis] + np.random.default_rng(1).normal(size=(30, 1))

    def program(kind):
        def constant(*values):
            return tf.constant(values, tf.float64)

        trend = kind(
            30,
            tf.linalg.LinearOperatorFullMatrix(constant([1.0, 1.0], [0.0, 1.0])),
            tfd.MultivariateNormalDiag(scale_diag=constant(0.4, 0.05)),
            tf.linalg.LinearOperatorFullMatrix(constant([1.0, 0.0])),
            tfd.MultivariateNormalDiag(scale_diag=constant(1.0)),
            tfd.MultivariateNormalDiag(scale_diag=constant(10.0, 1.0)),
        )
        filtered = trend.forward_filter(series)
        fitted = trend.latents_to_observations(filtered.filtered_means, filtered.filtered_covs)
        return fitted, trend.log_prob(series), trend.forward_filter(series, final_step_only=True)[1]

    assert_same(program)


def test_a_hidden_constant_with_a_mean_that_moves_from_day_to_day():
    """A weekday effect enters by functions of time that branch inside the graph."""
    series = np.random.default_rng(2).normal(size=(21, 1))

    def program(kind):
        def scale(t):
            weekend = tf.math.floormod(t, 7) >= 5
            return tf.cond(
                weekend,
                lambda: tf.constant([2.0], tf.float64),
                lambda: tf.constant([0.5], tf.float64),
            )

        def noise(t):
            mean = tf.sin(tf.cast(t, tf.float64))[tf.newaxis]
            return tfd.MultivariateNormalDiag(mean, scale(t))

        model = kind(
            num_timesteps=21,
            transition_matrix=tf.linalg.LinearOperatorIdentity(1, dtype=tf.float64),
            transition_noise=tfd.MultivariateNormalDiag(scale_diag=tf.zeros([1], tf.float64)),
            observation_matrix=tf.linalg.LinearOperatorIdentity(1, dtype=tf.float64),
            observation_noise=noise,
            initial_state_prior=tfd.MultivariateNormalDiag(scale_diag=tf.ones([1], tf.float64)),
            initial_step=3,
        )
        return model.log_prob(series), model.posterior_marginals(series), model.mean()

    assert_same(program)


@pytest.mark.parametrize("graph", [False, True])
def test_fitting_by_gradients(graph):
    series = np.random.default_rng(3).normal(size=(25, 1)).cumsum(axis=0)

    def program(kind):
        scale = tf.Variable([0.1, 0.1], dtype=tf.float64)

        def loss():
            one = tf.eye(1, dtype=tf.float64)
            noise = tfd.MultivariateNormalDiag(scale_diag=tf.exp(scale[:1]))
            seen = tfd.MultivariateNormalDiag(scale_diag=tf.exp(scale[1:]))
            start = tfd.MultivariateNormalDiag(scale_diag=tf.ones([1], tf.float64))
            return -kind(25, one, noise, one, seen, start).log_prob(series)

        def step():
            with tf.GradientTape() as tape:
                value = loss()
            scale.assign_sub(0.01 * tape.gradient(value, scale))
            return value

        step = tf.function(step) if graph else step
        return [step() for _ in range(5)], scale.read_value()

    assert_same(program)


@pytest.mark.parametrize(
    "component",
    [
        lambda x: tfp.sts.LocalLevel(observed_time_series=x),
        lambda x: tfp.sts.Seasonal(4, 2, observed_time_series=x),
        lambda x: tfp.sts.SemiLocalLinearTrend(observed_time_series=x),
    ],
)
def test_models_of_structural_time_series(component):
    """Rebuilt from the attributes of the distribution that ``tfp.sts`` makes."""
    series = np.random.default_rng(4).normal(size=(12, 1))
    model = tfp.sts.Sum([component(series)], observed_time_series=series)
    values = [p.prior.sample(seed=1) for p in model.parameters]
    theirs = model.make_state_space_model(12, values)
    names = ("transition_matrix", "transition_noise", "observation_matrix", "observation_noise")
    ours = Ours(
        num_timesteps=12,
        initial_state_prior=theirs.initial_state_prior,
        **{name: getattr(theirs, name) for name in names},
    )
    np.testing.assert_allclose(ours.log_prob(series), theirs.log_prob(series), rtol=1e-9)
    got, expected = ours.forward_filter(series), theirs.forward_filter(series)
    for x, z in zip(got, expected, strict=True):
        np.testing.assert_allclose(x, z, rtol=1e-9, atol=1e-9)


def walk(kind, scale):
    """A random walk whose steps have the given scale, ``[...]``."""
    one = tf.eye(1, dtype=tf.float64)
    noise = tfd.MultivariateNormalDiag(scale_diag=scale[..., tf.newaxis])
    unit = tfd.MultivariateNormalDiag(scale_diag=tf.ones([1], tf.float64))
    return kind(6, one, noise, one, unit, unit)


def test_inside_independent():
    x = np.random.default_rng(5).normal(size=(2, 3, 6, 1))

    def program(kind):
        scales = tf.constant([0.5, 1.0, 2.0], tf.float64)
        model = tfd.Independent(walk(kind, scales), reinterpreted_batch_ndims=1)
        assert model.event_shape == (3, 6, 1)
        return model.log_prob(x), model.mean()

    assert_same(program)


def test_inside_joint_distributions():
    x = np.random.default_rng(6).normal(size=(6, 1))
    scale = tf.constant([0.3, 0.7, 2.0], tf.float64)
    one = tf.constant(1.0, tf.float64)

    def sequential(kind):
        joint = tfd.JointDistributionSequential(
            [tfd.LogNormal(0.0 * one, one), lambda scale: walk(kind, scale)]
        )
        return joint.log_prob([scale, x])

    def coroutine(kind):
        @tfd.JointDistributionCoroutineAutoBatched
        def joint():
            drawn = yield tfd.LogNormal(0.0 * one, one, name="scale")
            yield walk(kind, drawn)

        return joint.log_prob([scale, tf.broadcast_to(x, (*scale.shape, 6, 1))])

    assert_same(sequential)
    assert_same(coroutine)


def test_hamiltonian_steps():
    """One trajectory of HMC over the scale: the gradient of log_prob inside a graph."""
    x = np.random.default_rng(7).normal(size=(6, 1))

    def program(kind):
        kernel = tfp.mcmc.HamiltonianMonteCarlo(
            lambda z: walk(kind, tf.exp(z)).log_prob(x) - 0.5 * z**2, 0.1, 3
        )
        state = tf.constant([0.1, -0.3], tf.float64)
        run = tf.function(
            lambda: tfp.mcmc.sample_chain(4, state, kernel=kernel, trace_fn=None, seed=[1, 2])
        )
        return run()

    assert_same(program)
