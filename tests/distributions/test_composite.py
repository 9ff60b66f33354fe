"""A distribution as an argument and a result of tf.function and tf.while_loop."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from distributions.cases import TABLE, Ours, Theirs

tfd = tfp.distributions


def model(scale=1.0, **changes):
    """A univariate AR(1) with noise, in float64."""

    def normal(deviation):
        deviation = tf.reshape(tf.cast(deviation, tf.float64), [1])
        return tfd.MultivariateNormalDiag(scale_diag=deviation)

    arguments = {
        "num_timesteps": 3,
        "transition_matrix": tf.constant([[0.9]], tf.float64),
        "transition_noise": normal(scale),
        "observation_matrix": tf.constant([[1.0]], tf.float64),
        "observation_noise": normal(1.0),
        "initial_state_prior": normal(1.0),
    }
    return Ours(**(arguments | changes))


X = tf.constant([[0.5], [0.0], [1.0]], tf.float64)


@pytest.mark.parametrize("name", TABLE)
def test_argument_and_result_of_a_function(name):
    """Whatever the arguments are: tensors, operators, functions of time; with axes of a batch."""
    case = TABLE[name]
    ours = case.build(Ours)
    passed = tf.function(lambda distribution: distribution)(ours)
    assert isinstance(passed, Ours)
    got = tf.function(lambda distribution: distribution.log_prob(case.x))(passed)
    expected = case.build(Theirs).log_prob(case.x)
    np.testing.assert_allclose(got, expected, rtol=1e-10)


@pytest.mark.parametrize("mask", [[False, True, False], tf.constant([False, True, False])])
def test_the_mask_comes_along(mask):
    masked = model(mask=mask)
    got = tf.function(lambda distribution: distribution.log_prob(X))(masked)
    np.testing.assert_allclose(got, model().log_prob(X, mask=mask), rtol=1e-14)


def test_other_numbers_are_not_traced_anew():
    traces = []

    @tf.function
    def log_prob(distribution):
        traces.append(None)
        return distribution.log_prob(X)

    for scale in (1.0, 2.0):
        np.testing.assert_allclose(log_prob(model(scale)), model(scale).log_prob(X), rtol=1e-14)
    assert len(traces) == 1


def test_a_loop_carries_it():
    def double(i, distribution):
        return i + 1, model(2.0 * distribution.transition_noise.stddev()[0])

    _, last = tf.while_loop(lambda i, _: i < 3, double, (0, model(1.0)))
    np.testing.assert_allclose(last.log_prob(X), model(8.0).log_prob(X), rtol=1e-14)


def test_gradients_reach_a_variable():
    deviation = tf.Variable([2.0], dtype=tf.float64)
    noise = tfd.MultivariateNormalDiag(scale_diag=deviation)
    ours = model(transition_noise=noise)

    def gradient(log_prob):
        with tf.GradientTape() as tape:
            value = log_prob(ours)
        return tape.gradient(value, deviation)

    expected = gradient(lambda distribution: distribution.log_prob(X))
    got = gradient(tf.function(lambda distribution: distribution.log_prob(X)))
    np.testing.assert_allclose(got, expected, rtol=1e-14)
    assert ours.trainable_variables == (deviation,)


def test_components():
    ours = model(2.0)
    parts = tf.nest.flatten(ours, expand_composites=True)
    assert all(tf.is_tensor(x) for x in parts)
    again = tf.nest.pack_sequence_as(ours, parts, expand_composites=True)
    np.testing.assert_allclose(again.log_prob(X), ours.log_prob(X), rtol=1e-14)
