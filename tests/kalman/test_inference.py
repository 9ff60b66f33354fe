"""What all inference functions share: ragged lengths, and the choice that "auto" makes."""

import numpy as np
import pytest
import tensorflow as tf
from kalman.models import NAMES, build, random_data, random_parameters, tensors

import statespace as ss

T = 6


@pytest.mark.parametrize("algorithm", ["auto", "square_root", "univariate", "parallel"])
def test_lengths_are_a_mask_of_the_tail(algorithm, native):
    rng = np.random.default_rng(0)
    parameters, y = random_parameters(rng, 2, 2), random_data(rng, (2, 3), T, 2)
    lengths = np.array([0, 4, T])
    padded = np.where(np.arange(T)[:, None] < lengths[:, None, None], y, 1e300)
    masked = np.where(padded == 1e300, np.nan, padded)
    ssm = build(parameters)
    for infer in (ss.kalman_filter, ss.kalman_smoother):
        got = infer(ssm, padded, lengths=lengths, algorithm=algorithm)
        expected = infer(ssm, masked, algorithm=algorithm)
        for x, z in zip(tensors(got), tensors(expected), strict=True):
            np.testing.assert_array_equal(x, z)
    value = ss.log_likelihood(ssm, padded, lengths=lengths, algorithm=algorithm)
    # As the series alone, cut to its length; nothing observed has log-likelihood 0.
    alone = ss.log_likelihood(ssm, y[0, 1, :4], algorithm=algorithm)
    np.testing.assert_allclose(value[0, 1], alone, rtol=1e-13)
    np.testing.assert_array_equal(value[:, 0], [0.0, 0.0])


def test_padding_has_no_gradient(native):
    rng = np.random.default_rng(1)
    y = tf.constant(random_data(rng, (3,), T, 2, missing=0.0))
    ssm = build(random_parameters(rng, 2, 2))
    lengths = tf.constant([0, 4, T])
    with tf.GradientTape() as tape:
        tape.watch(y)
        value = ss.log_likelihood(ssm, y, lengths=lengths)
    gradient = tape.gradient(value, y).numpy()
    inside = np.arange(T) < lengths.numpy()[:, None]
    assert np.all(gradient[~inside] == 0.0)
    assert np.all(gradient[inside] != 0.0)


def test_lengths_refuse_by_name():
    rng = np.random.default_rng(2)
    y, ssm = random_data(rng, (3,), T, 2), build(random_parameters(rng, 2, 2))
    with pytest.raises(ValueError, match=r"lengths has shape \(2,\).*batch axes \(3,\)"):
        ss.log_likelihood(ssm, y, lengths=[1, 2])
    with pytest.raises(ValueError, match="lengths is float"):
        ss.log_likelihood(ssm, y, lengths=[1.0, 2.0, 3.0])


@pytest.mark.parametrize(
    ("dtype", "diffuse", "form"),
    [
        (tf.float64, None, "covariance"),
        (tf.float32, None, "square_root"),
        (tf.float64, [True, False], "univariate"),
        (tf.float32, [True, False], "univariate"),
    ],
)
def test_what_auto_chooses(dtype, diffuse, form):
    rng = np.random.default_rng(3)
    parameters, y = random_parameters(rng, 2, 1), tf.cast(random_data(rng, (3,), T, 1), dtype)
    ssm = ss.LinearGaussianSSM(
        **{name: tf.cast(parameters[name], dtype) for name in NAMES}, diffuse=diffuse
    )
    for infer in (ss.kalman_filter, ss.kalman_smoother):
        pairs = zip(tensors(infer(ssm, y)), tensors(infer(ssm, y, algorithm=form)), strict=True)
        for x, z in pairs:
            np.testing.assert_array_equal(x, z)
