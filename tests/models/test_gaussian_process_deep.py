"""Deep kernels: networks trained by the marginal likelihood of a process on their output."""

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from oracles import finite_differences

from statespace.models import GaussianProcess

kernels = tfp.math.psd_kernels
PARAMS = {"amplitude": 1.0, "length_scale": 1.0, "noise_variance": 0.1}


def kernel(amplitude, length_scale):
    return kernels.ExponentiatedQuadratic(amplitude, length_scale)


def network(dtype="float32"):
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Dense(16, "tanh", dtype=dtype), keras.layers.Dense(2, dtype=dtype)]
    return keras.Sequential([keras.Input((2,), dtype=dtype), *layers])


def data(n=60, batch=()):
    """A step in one direction, a wave in the other."""
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, size=(*batch, n, 2))
    y = np.where(x[..., 0] > 0.3, 1.0, -1.0) * np.cos(3 * x[..., 1])
    return x, y + 0.05 * rng.normal(size=y.shape)


def test_gradient_by_the_weights():
    net = network("float64")
    gp = GaussianProcess(kernel, feature_map=net)
    x, y = data(12)
    weights = net.trainable_variables
    with tf.GradientTape() as tape:
        value = gp.log_marginal_likelihood(PARAMS, x, y)
    gradient = tape.gradient(value, [weight.value for weight in weights])
    assert all(np.any(g != 0) for g in gradient)  # none of them None
    for weight, ours in zip(weights, gradient, strict=True):
        before = weight.numpy()
        direction = np.random.default_rng(1).normal(size=before.shape)

        def along(value, weight=weight):
            weight.assign(value)
            return gp.log_marginal_likelihood(PARAMS, x, y)

        slope = finite_differences.directional(along, [before], [direction])
        weight.assign(before)
        # The last bias moves all features alike, which such a kernel does not see.
        np.testing.assert_allclose(np.sum(ours * direction), slope, rtol=1e-6, atol=1e-9)


def test_the_kernel_works_on_the_features():
    net = network()
    x, y = data(20)
    features = np.float64(net(x))
    np.testing.assert_allclose(
        GaussianProcess(kernel, feature_map=net).log_marginal_likelihood(PARAMS, x, y),
        GaussianProcess(kernel).log_marginal_likelihood(PARAMS, features, y),
        rtol=1e-10,
    )
    post = GaussianProcess(kernel, feature_map=net).condition(x, y, PARAMS)
    assert post.sample(x[:3], 2, seed=0).shape == (2, 3)


def test_training_learns_what_a_plain_kernel_cannot():
    x, y = data(200)
    seen, new = slice(0, 100), slice(100, None)
    deep = GaussianProcess(kernel, feature_map=network()).fit(x[seen], y[seen], num_steps=200)
    plain = GaussianProcess(kernel).fit(x[seen], y[seen])
    assert deep.log_marginal_likelihood > plain.log_marginal_likelihood + 20
    scores = [np.mean(post.predict(x[new]).log_prob(y[new])) for post in (deep, plain)]
    assert scores[0] > scores[1] + 0.1


def test_a_batch_shares_the_network():
    net = network()
    x, y = data(30, batch=(3,))
    post = GaussianProcess(kernel, feature_map=net).fit(x, y, num_steps=20)
    assert post.params["amplitude"].shape == (3,)
    assert post.predict(x[:, :4]).mean().shape == (3, 4)


def test_what_is_fixed_stays_and_the_optimiser_is_used():
    net = network()
    before = net.get_weights()
    x, y = data(30)
    gp = GaussianProcess(kernel, feature_map=net)
    post = gp.fit(x, y, fix=PARAMS, optimizer=keras.optimizers.SGD(0.0), num_steps=3)
    assert post.params["noise_variance"] == PARAMS["noise_variance"]
    for old, new in zip(before, net.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    gp.fit(x, y, fix=PARAMS, num_steps=3)
    assert np.any(net.get_weights()[0] != before[0])


def test_an_optimiser_may_be_used_again():
    x, y = data(20)
    gp = GaussianProcess(kernel, feature_map=network())
    optimizer = keras.optimizers.Adam(1e-3)
    for fix in (PARAMS, {"noise_variance": 0.1}):  # with other variables each time
        gp.fit(x, y, fix=fix, optimizer=optimizer, num_steps=2)
    assert not optimizer.variables or optimizer.iterations == 0
    with pytest.raises(ValueError, match="optimizer is 'adam'; it must be a Keras optimiser"):
        gp.fit(x, y, optimizer="adam", num_steps=2)


def test_regularisers_of_the_network_count():
    """With nothing but a weight's square to be had, it shrinks."""
    x, y = data(20)
    inputs = keras.Input((2,))
    hidden = keras.layers.Dense(2, kernel_regularizer=keras.regularizers.L2(100.0))
    unused = keras.layers.Dense(1)
    net = keras.Model(inputs, hidden(inputs))
    net.unused = unused
    unused.build((None, 2))
    before = np.linalg.norm(net.get_weights()[0]), unused.get_weights()[0]
    gp = GaussianProcess(kernel, feature_map=net)
    gp.fit(x, y, fix=PARAMS, optimizer=keras.optimizers.SGD(1e-3), num_steps=5)
    assert np.linalg.norm(hidden.get_weights()[0]) < 0.5 * before[0]
    np.testing.assert_array_equal(unused.get_weights()[0], before[1])


def test_a_training_that_fails_says_so_and_leaves_finite_weights():
    net = network()
    x, y = data(30)
    gp = GaussianProcess(kernel, feature_map=net)
    with pytest.raises(ValueError, match="not finite at step 0 of the training"):
        gp.fit(np.repeat(x, 2, axis=1)[:, :2] * 0, y, fix={"noise_variance": 0.0}, num_steps=3)
    assert all(np.isfinite(weight).all() for weight in net.get_weights())
