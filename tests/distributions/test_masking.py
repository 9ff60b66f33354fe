"""Missing data beyond TensorFlow Probability: single components, and NaN."""

import numpy as np
import pytest
import tensorflow as tf
from distributions.cases import TABLE, Ours, Theirs, arrays, fixed
from oracles import dense

T, N, M = 4, 2, 3
RNG = np.random.default_rng(5)
ARRAYS = arrays(RNG, N, M)
X = RNG.normal(size=(T, M))
MISSING = RNG.random((T, M)) < 0.4


def model(num_timesteps=T, parameters=ARRAYS, **options):
    tensors = {k: tf.constant(v) for k, v in parameters.items()}
    return Ours(**fixed(num_timesteps, **options)(tensors))


def oracle(parameters=ARRAYS):
    p = parameters
    order = (p["f"], p["g"], p["h"], p["c"], p["b"], p["d"])
    moving = (np.broadcast_to(x, (T, *x.shape)) for x in order)
    return dense.Model(*moving, p["mean"], p["scale"])


def hidden(x, missing):
    return np.where(missing, np.nan, x)


@pytest.mark.parametrize("way", ["argument", "constructor", "nan"])
def test_single_components(way):
    given, x = (MISSING, X) if way != "nan" else (None, hidden(X, MISSING))
    distribution = model(mask=given if way == "constructor" else None)
    mask = given if way == "argument" else None
    y = hidden(X, MISSING)
    expected = dense.log_likelihood(oracle(), y)
    np.testing.assert_allclose(distribution.log_prob(x, mask=mask), expected, rtol=1e-11)
    mean, covariance = dense.posterior(oracle(), y)
    steps = np.arange(T)
    means, covs = distribution.posterior_marginals(x, mask=mask)
    np.testing.assert_allclose(means, mean, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(covs, covariance[steps, :, steps], rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(
        distribution.forward_filter(x, mask=mask).filtered_means[-1], mean[-1], rtol=1e-10
    )


def test_covariances_have_the_axes_of_model_and_mask_alone():
    x = RNG.normal(size=(5, 2, T, M))
    several = RNG.random((2, T, M)) < 0.4
    means, covs = model().posterior_marginals(x, mask=several)
    assert (means.shape, covs.shape) == ((5, 2, T, N), (2, T, N, N))
    filtered = model().forward_filter(x, mask=several)
    assert filtered.observation_covs.shape == (2, T, M, M)
    for item in range(2):
        one = model().posterior_marginals(x[3, item], mask=several[item])
        np.testing.assert_allclose(means[3, item], one[0], rtol=1e-11, atol=1e-13)
        np.testing.assert_allclose(covs[item], one[1], rtol=1e-11, atol=1e-13)


def test_unmasked_nan_where_covariances_have_fewer_axes():
    x = np.stack([X, hidden(X, MISSING), X])
    expected = [model().log_prob(x[i]) for i in range(3)]
    np.testing.assert_allclose(model().log_prob(x), expected, rtol=1e-12)
    with pytest.raises(tf.errors.InvalidArgumentError, match="NaN that the mask does not hide"):
        model().posterior_marginals(x)
    with pytest.raises(tf.errors.InvalidArgumentError, match="NaN that the mask does not hide"):
        tf.function(model().forward_filter)(x)
    compiled = tf.function(lambda x: model().posterior_marginals(x), jit_compile=True)
    assert np.all(np.isnan(compiled(x)[1]))
    means, covs = model().posterior_marginals(x, mask=np.isnan(x))
    for item in range(3):
        one = model().posterior_marginals(x[item])
        np.testing.assert_allclose(means[item], one[0], rtol=1e-11, atol=1e-13)
        np.testing.assert_allclose(covs[item], one[1], rtol=1e-11, atol=1e-13)


def test_no_series_at_all():
    means, covs = model().posterior_marginals(np.zeros((0, T, M)))
    assert means.shape == (0, T, N)
    np.testing.assert_allclose(covs, model().posterior_marginals(X)[1], rtol=1e-12)


def test_masked_entries_have_no_influence_and_no_gradient():
    x = tf.constant(np.where(MISSING, 1e300, X))
    with tf.GradientTape() as tape:
        tape.watch(x)
        value = model().log_prob(x, mask=MISSING)
    np.testing.assert_allclose(value, model().log_prob(X, mask=MISSING), rtol=1e-13)
    gradient = tape.gradient(value, x).numpy()
    assert np.all(gradient[MISSING] == 0)
    assert np.all(gradient[~MISSING] != 0)


def test_prob_takes_the_mask():
    value = model().log_prob(X, mask=MISSING)
    np.testing.assert_allclose(model().prob(X, mask=MISSING), np.exp(value), rtol=1e-12)


def square(rank):
    """A model with as many components as steps, one more than states, and data of this rank."""
    p = arrays(np.random.default_rng(6), N, T)
    x = np.random.default_rng(7).normal(size=(T,) * rank)
    return p, x


def test_a_mask_that_fits_both_ways_is_one_of_steps_if_it_has_fewer_axes():
    p, x = square(3)
    mask = np.random.default_rng(8).random((T, T)) < 0.4
    tensors = {k: tf.constant(v) for k, v in p.items()}
    expected = Theirs(**fixed(T)(tensors)).log_prob(x, mask=mask)
    np.testing.assert_allclose(model(parameters=p).log_prob(x, mask=mask), expected, rtol=1e-10)


def test_a_mask_that_fits_both_ways_is_refused_if_it_has_as_many_axes():
    p, x = square(2)
    with pytest.raises(ValueError, match=r"mask has shape \(4, 4\), which fits x \(4, 4\) both"):
        model(parameters=p).log_prob(x, mask=np.zeros((T, T), bool))


@pytest.mark.parametrize("shape", [(T,), (2, T), (1, T), (2, T, M), (1, T, M)])
def test_sizes_that_are_not_known_before(shape):
    """Then the number of axes decides."""
    x, mask = RNG.normal(size=(2, T, M)), RNG.random(shape) < 0.4
    specs = [tf.TensorSpec([None] * a.ndim, dtype) for a, dtype in ((x, tf.float64), (mask, bool))]
    run = tf.function(lambda x, mask: model().log_prob(x, mask=mask), input_signature=specs)
    np.testing.assert_allclose(run(x, mask), model().log_prob(x, mask=mask), rtol=1e-12)


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (np.zeros(T), "mask is float64; it must be bool, True = missing"),
        (np.zeros(T + 1, bool), r"mask has shape \(5,\); to fit x, .*end in \[4\]"),
        (np.zeros((), bool), r"mask has shape \(\)"),
        (np.zeros((1, T, 1), bool), r"or in \[4, 3\] to mask single components"),
        (np.zeros((3, T), bool), r"do not broadcast against those of x and the model, \(2,\)"),
        (np.zeros((T, M - 1), bool), r"or in \[4, 3\] to mask single components"),
    ],
)
def test_bad_masks(mask, message):
    with pytest.raises(ValueError, match=message):
        model().log_prob(np.stack([X, X]), mask=mask)


def test_the_argument_stands_in_for_the_mask_of_the_model():
    case = TABLE["mask of the model"]
    other = ~np.asarray(case.build(Ours).mask)
    np.testing.assert_allclose(
        case.build(Ours).log_prob(case.x, mask=other),
        case.build(Theirs).log_prob(case.x, mask=other),
        rtol=1e-10,
    )
