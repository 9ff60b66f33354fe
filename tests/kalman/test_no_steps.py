"""Series of no steps: nothing is known but the prior, and every form says so."""

import numpy as np
import pytest
import tensorflow as tf
from kalman.models import build, floating, random_parameters

import statespace as ss
from statespace.kalman import ALGORITHMS

FORMS = [name for name in ALGORITHMS if name != "auto"]
PARAMETERS = random_parameters(np.random.default_rng(0), 2, 1)


@pytest.mark.parametrize("batch", [(), (3,), (0,)])
@pytest.mark.parametrize("algorithm", FORMS)
def test_values(native, algorithm, batch):
    y = tf.zeros([*batch, 0, 1], tf.float64)
    ssm = build(PARAMETERS)
    np.testing.assert_array_equal(ss.log_likelihood(ssm, y, algorithm=algorithm), np.zeros(batch))
    filtered = ss.kalman_filter(ssm, y, algorithm=algorithm)
    smoothed = ss.kalman_smoother(ssm, y, algorithm=algorithm)
    assert filtered.filtered_mean.shape == (*batch, 0, 2)
    assert filtered.innovation_covariance.shape == (*batch, 0, 1, 1)
    assert smoothed.smoothed_covariance.shape == (*batch, 0, 2, 2)
    assert smoothed.lag_one_covariance.shape == (*batch, 0, 2, 2)
    for result in (filtered, smoothed):
        np.testing.assert_array_equal(result.log_likelihood, np.zeros(batch))
        np.testing.assert_array_equal(result.info, np.zeros(batch))


@pytest.mark.parametrize("infer", [ss.kalman_filter, ss.kalman_smoother])
@pytest.mark.parametrize("algorithm", FORMS)
def test_gradients_are_zero(native, algorithm, infer):
    y = tf.zeros([3, 0, 1], tf.float64)
    variables = {name: tf.constant(x) for name, x in PARAMETERS.items()}
    with tf.GradientTape() as tape:
        tape.watch(variables)
        result = infer(build(variables), y, algorithm=algorithm)
        loss = tf.add_n([tf.reduce_sum(x) for x in floating(result)])
    gradient = tape.gradient(loss, variables, unconnected_gradients="zero")
    for name, x in gradient.items():
        np.testing.assert_array_equal(x, np.zeros(PARAMETERS[name].shape), err_msg=name)
