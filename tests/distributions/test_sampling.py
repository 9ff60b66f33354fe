"""Samples of observations, and of states given them.

Bounds are five standard errors of the sample moments, for fixed seeds.
"""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from distributions.cases import TABLE, Ours, Theirs, arrays, fixed
from oracles import dense

tfd = tfp.distributions
S = 20_000


def within(values, mean, variance, kurtosis_factor=2.0):
    """Sample mean and variance over the first axis agree with normal ones."""
    values = np.asarray(values)
    mean, variance = np.broadcast_arrays(mean, variance)
    error = np.sqrt(variance / len(values))
    assert np.all(np.abs(values.mean(0) - mean) <= 5 * error + 1e-12)
    error = variance * np.sqrt(kurtosis_factor / len(values))
    assert np.all(np.abs(values.var(0) - variance) <= 5 * error + 1e-12)


@pytest.mark.parametrize("name", ["shared", "moving models", "several series each"])
def test_moments_of_samples(name):
    model = TABLE[name].build(Ours)
    values = model.sample(S, seed=1)
    assert values.shape == (S, *model.batch_shape, *model.event_shape)
    theirs = TABLE[name].build(Theirs)
    within(values, theirs.mean(), theirs.variance())


def test_samples_have_the_density_they_are_said_to_have():
    """log p of a sample has mean -entropy: the quadratic form is chi-square, dimension T m."""
    model = TABLE["moving"].build(Ours)
    size = np.prod(model.event_shape)
    mode = model.log_prob(model.mean())
    within(2 * (mode - model.log_prob(model.sample(S, seed=2))), size, 2.0 * size, 2 + 12 / size)


@pytest.mark.parametrize("shape", [(), 3, (2,), (2, 3)])
def test_shapes_of_samples(shape):
    for name in ("shared", "several models, one series", "several series each"):
        ours, theirs = (TABLE[name].build(kind).sample(shape, seed=1) for kind in (Ours, Theirs))
        assert ours.shape == theirs.shape
        assert ours.dtype == theirs.dtype


def test_no_samples_at_all():
    assert TABLE["shared"].build(Ours).sample((0,), seed=1).shape == (0, 5, 2)


def test_seeds():
    model = TABLE["shared"].build(Ours)
    for seed in ((1, 2), tf.constant([1, 2])):
        np.testing.assert_array_equal(model.sample(2, seed=seed), model.sample(2, seed=seed))
    assert np.any(model.sample(2, seed=(1, 2)) != model.sample(2, seed=(1, 3)))
    assert np.any(model.sample(2) != model.sample(2))
    graph = tf.function(model.sample)
    np.testing.assert_allclose(graph(2, seed=(1, 2)), model.sample(2, seed=(1, 2)), rtol=1e-12)
    compiled = tf.function(lambda: model.sample(2, seed=(1, 2)), jit_compile=True)
    np.testing.assert_allclose(compiled(), model.sample(2, seed=(1, 2)), rtol=1e-12)


def test_samples_of_batches_that_broadcast():
    """TensorFlow Probability refuses to draw them."""
    rng = np.random.default_rng(3)
    p = {k: tf.constant(v) for k, v in arrays(rng, 2, 1, (4, 1), (3,)).items()}
    model, theirs = (kind(**fixed(5)(p)) for kind in (Ours, Theirs))
    with pytest.raises(NotImplementedError):
        theirs.sample(seed=1)
    within(model.sample(S, seed=1), theirs.mean(), theirs.variance())
    assert model.posterior_sample(np.zeros((5, 1)), 2, seed=1).shape == (2, 4, 3, 5, 2)


def test_samples_are_differentiable():
    case = TABLE["shared"]
    tensors = {k: tf.convert_to_tensor(v) for k, v in case.arrays.items()}
    with tf.GradientTape() as tape:
        tape.watch(tensors)
        value = tf.reduce_sum(case.build(Ours, **tensors).sample(3, seed=1))
    gradient = tape.gradient(value, tensors)
    assert all(np.any(gradient[key] != 0) for key in tensors)
    # The offset of the observations enters each of them once.
    np.testing.assert_allclose(gradient["d"], np.full(2, 15.0), rtol=1e-12)


@pytest.mark.parametrize("mask", [None, [False, True, True, False, False]])
def test_moments_of_posterior_samples(mask):
    case = TABLE["moving"]
    values = case.build(Ours).posterior_sample(case.x, S, mask=mask, seed=3)
    means, covs = case.build(Theirs).posterior_marginals(case.x, mask=mask)
    within(values, means, np.diagonal(covs, axis1=-2, axis2=-1))


def test_posterior_samples_are_jointly_right():
    """Covariances between steps, against the dense joint Gaussian."""
    case = TABLE["shared"]
    p = case.arrays
    moving = (np.broadcast_to(p[k], (5, *p[k].shape)) for k in "fghcbd")
    _, covariance = dense.posterior(dense.Model(*moving, p["mean"], p["scale"]), case.x)
    covariance = covariance.reshape(15, 15)
    values = case.build(Ours).posterior_sample(case.x, S, seed=4).numpy().reshape(S, 15)
    variance = np.diagonal(covariance)
    error = np.sqrt((covariance**2 + np.outer(variance, variance)) / S)
    assert np.all(np.abs(np.cov(values.T) - covariance) <= 5 * error)


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("shared", ()),
        ("shared", 3),
        ("several series", (2, 3)),
        ("several models, one series", (2,)),
        ("more masks than series", (2,)),
        ("mask of the model", [2]),
    ],
)
def test_shapes_of_posterior_samples(name, shape):
    case = TABLE[name]
    ours, theirs = (
        case.build(kind).posterior_sample(case.x, shape, mask=case.mask, seed=1)
        for kind in (Ours, Theirs)
    )
    assert ours.shape == theirs.shape


def test_posterior_samples_in_a_function():
    case = TABLE["shared"]
    expected = case.build(Ours).posterior_sample(case.x, 2, seed=(1, 2))
    for jit in (False, True):
        run = tf.function(
            lambda x: case.build(Ours).posterior_sample(x, 2, seed=(1, 2)), jit_compile=jit
        )
        np.testing.assert_allclose(run(case.x), expected, rtol=1e-9)


def test_sizes_that_are_not_known_before():
    model = TABLE["shared"].build(Ours)

    @tf.function(input_signature=[tf.TensorSpec([], tf.int32)])
    def run(number):
        return model.sample(number)

    with pytest.raises(ValueError, match="known before samples are drawn"):
        run(3)


@pytest.mark.parametrize("shape", [2.5, (0,)])
def test_bad_shapes_of_posterior_samples(shape):
    case = TABLE["shared"]
    with pytest.raises(ValueError, match=r"sample_shape is 2\.5|num_samples is 0"):
        case.build(Ours).posterior_sample(case.x, shape, seed=1)


def test_a_joint_distribution_draws_parameter_and_series():
    one = tf.constant(1.0, tf.float64)

    def series(scale):
        eye = tf.eye(1, dtype=tf.float64)
        noise = tfd.MultivariateNormalDiag(scale_diag=scale[..., tf.newaxis])
        return Ours(4, eye, noise, eye, noise, noise)

    joint = tfd.JointDistributionSequential([tfd.LogNormal(0.0 * one, 0.1 * one), series])
    scale, x = joint.sample(5, seed=1)
    assert (scale.shape, x.shape) == ((5,), (5, 4, 1))
    assert joint.log_prob([scale, x]).shape == (5,)
