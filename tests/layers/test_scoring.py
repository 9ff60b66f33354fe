"""Losses and metrics of normal predictions, against SciPy and the metrics of forecasts."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from oracles import finite_differences
from scipy import stats

import statespace as ss
from statespace import scores
from statespace.forecasting import metrics

RNG = np.random.default_rng(0)
ACTUAL = RNG.normal(size=(4, 5, 2))
MEAN, DEVIATION = RNG.normal(size=ACTUAL.shape), np.exp(RNG.normal(size=ACTUAL.shape))
PREDICTED = np.concatenate([MEAN, DEVIATION], axis=-1)
SCORES = {
    "log score": (
        ss.layers.GaussianLogScore,
        ss.layers.MeanGaussianLogScore,
        -stats.norm.logpdf(ACTUAL, MEAN, DEVIATION),
    ),
    "CRPS": (
        ss.layers.GaussianCRPS,
        ss.layers.MeanGaussianCRPS,
        # A mean over one step is that step.
        metrics.crps_normal(*(x[..., np.newaxis] for x in (ACTUAL, MEAN, DEVIATION))),
    ),
}
BY_NAME = pytest.mark.parametrize("name", sorted(SCORES))


def with_mask(predicted, mask):
    """Predictions as a Keras layer returns them."""
    predicted = tf.constant(predicted)
    predicted._keras_mask = tf.constant(mask)
    return predicted


@BY_NAME
def test_losses_are_means_of_the_score(name):
    loss, _, expected = SCORES[name]
    got = loss(dtype="float64")(ACTUAL, PREDICTED)
    np.testing.assert_allclose(got, expected.mean(), rtol=1e-12)
    each = loss(reduction="none", dtype="float64")(ACTUAL, PREDICTED)
    np.testing.assert_allclose(each, expected, rtol=1e-12)
    total = loss(reduction="sum", dtype="float64")(ACTUAL, PREDICTED)
    np.testing.assert_allclose(total, expected.sum(), rtol=1e-12)


@BY_NAME
def test_what_is_missing_masked_or_of_weight_zero_does_not_count(name):
    loss, metric, expected = SCORES[name]
    known = RNG.random(ACTUAL.shape) < 0.7
    mask = RNG.random(ACTUAL.shape[:2]) < 0.7
    weight = np.array([1.0, 0.0, 2.0, 0.5])
    actual = np.where(known, ACTUAL, np.nan)
    share = known * mask[..., np.newaxis]
    predicted = with_mask(PREDICTED, mask)
    for given, factor in ((None, np.ones(4)), (weight, weight)):
        weights = share * factor[:, np.newaxis, np.newaxis]
        wanted = np.sum(weights * expected) / np.sum(weights)
        got = loss(dtype="float64")(actual, predicted, sample_weight=given)
        np.testing.assert_allclose(got, wanted, rtol=1e-12)
        mean = metric(dtype="float64")
        for part in (slice(0, 1), slice(1, 4)):
            some = None if given is None else given[part]
            mean.update_state(actual[part], with_mask(PREDICTED[part], mask[part]), some)
        np.testing.assert_allclose(mean.result(), wanted, rtol=1e-12)
    nothing = np.full(ACTUAL.shape, np.nan)
    with tf.GradientTape() as tape:
        predicted = tf.Variable(PREDICTED)
        value = loss(dtype="float64")(nothing, predicted)
    assert value == 0
    np.testing.assert_array_equal(tape.gradient(value, predicted), np.zeros_like(PREDICTED))


def test_coverage_is_that_of_forecasts():
    actual = np.where(RNG.random(ACTUAL.shape) < 0.8, ACTUAL, np.nan)
    for level in (0.5, 0.95):
        metric = ss.layers.IntervalCoverage(level, dtype="float64")
        metric.update_state(actual, PREDICTED)
        half = stats.norm.ppf((1 + level) / 2) * DEVIATION
        expected = metrics.coverage(*(x.ravel() for x in (actual, MEAN - half, MEAN + half)))
        np.testing.assert_allclose(metric.result(), expected, rtol=1e-12)
        again = keras.metrics.deserialize(keras.metrics.serialize(metric))
        assert again.level == level
    with pytest.raises(ValueError, match="level is 1"):
        ss.layers.IntervalCoverage(1)


@pytest.mark.parametrize("score", [scores.log_score_normal, scores.crps_normal])
def test_gradients_of_the_scores(score):
    def function(*arguments):
        return tf.reduce_sum(tf.sin(score(*(tf.convert_to_tensor(x) for x in arguments))))

    arguments = [tf.constant(x) for x in (ACTUAL[0], MEAN[0], DEVIATION[0])]
    with tf.GradientTape() as tape:
        tape.watch(arguments)
        value = function(*arguments)
    expected = finite_differences.gradient(function, arguments)
    for got, wanted in zip(tape.gradient(value, arguments), expected, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-6, atol=1e-8)


@BY_NAME
def test_predictions_without_standard_deviations_are_refused(name):
    loss, metric, _ = SCORES[name]
    message = r"y_true has shape \(4, 5, 2\) and y_pred \(4, 5, 2\); .*join_standard_deviation"
    with pytest.raises(ValueError, match=message):
        loss()(ACTUAL, MEAN)
    with pytest.raises(ValueError, match=message):
        metric().update_state(ACTUAL, MEAN)


@BY_NAME
def test_configs(name):
    loss, metric, _ = SCORES[name]
    assert isinstance(keras.losses.deserialize(keras.losses.serialize(loss())), loss)
    assert isinstance(keras.metrics.deserialize(keras.metrics.serialize(metric())), metric)
