"""Covariances computed once for the series that share them, against each series computing its own.

Parameters repeated for every series take part in no sharing, and those repeated for every step do
not settle: both are what the shared way is compared with.
"""

import numpy as np
import pytest
import tensorflow as tf
from kalman.models import (
    NAMES,
    build,
    on_threads,
    per_series,
    per_step,
    random_parameters,
    slow_level,
)

import statespace as ss
from statespace import config

pytestmark = pytest.mark.skipif(
    not config.native_available(), reason="the compiled library is not available"
)

BATCH = 37  # more than two groups of any instruction set in float32, and no whole number of them


def value_and_gradients(parameters, y, weights=None, **options):
    variables = [tf.constant(parameters[name]) for name in NAMES] + [tf.constant(y)]
    with tf.GradientTape() as tape:
        tape.watch(variables)
        ssm = build(dict(zip(NAMES, variables[:-1], strict=True)), variables[-1].dtype)
        value = ss.log_likelihood(ssm, variables[-1], **options)
        total = tf.reduce_sum(value if weights is None else weights * value)
    return value.numpy(), [x.numpy() for x in tape.gradient(total, variables)]


def assert_shared_equals_own(parameters, y, weights=None, tolerance=1e-12):
    """Values to the last bit; gradients, which are summed in another order, to ``tolerance``."""
    value, shared = value_and_gradients(parameters, y, weights)
    own_value, own = value_and_gradients(per_series(parameters, len(y)), y, weights)
    np.testing.assert_array_equal(value, own_value)
    for name, x, z in zip((*NAMES, "y"), shared, own, strict=True):
        if x.shape != z.shape:  # of every series' own parameter: the shared one's is the sum
            z = np.sum(z, axis=0).reshape(x.shape)
        np.testing.assert_array_equal(np.isnan(x), np.isnan(z), err_msg=name)
        scale = max(np.nanmax(np.abs(z), initial=0.0), 1e-3)
        error = np.nanmax(np.abs(x - z), initial=0.0)
        assert error < tolerance * scale, (name, error / scale)


def data(missing, num_steps, m, batch=BATCH):
    rng = np.random.default_rng(1)
    y = rng.normal(size=(batch, num_steps, m))
    if missing == "common":
        y[:, num_steps // 3] = np.nan
        y[:, num_steps // 2, 0] = np.nan
    elif missing == "several patterns":
        y[: batch // 2, num_steps // 2, 0] = np.nan
        y[3, 0] = np.nan
        y[4] = np.nan
    elif missing == "all different":
        y[rng.random(y.shape) < 0.2] = np.nan
    return y


@pytest.mark.parametrize("missing", ["nothing", "common", "several patterns", "all different"])
@pytest.mark.parametrize("varying", [False, True])
@pytest.mark.parametrize(("n", "m"), [(2, 1), (4, 2), (5, 3), (34, 2)])
def test_shared_equals_own(n, m, varying, missing):
    num_steps = 40
    parameters = random_parameters(np.random.default_rng(0), n, m, lead=(num_steps,) * varying)
    assert_shared_equals_own(parameters, data(missing, num_steps, m))


@pytest.mark.parametrize("missing", ["nothing", "common", "several patterns"])
@pytest.mark.parametrize(("n", "m"), [(2, 1), (5, 3)])
def test_settled_covariances(n, m, missing):
    """Long after the covariances have settled, with gaps that unsettle them."""
    parameters = random_parameters(np.random.default_rng(2), n, m)
    assert_shared_equals_own(parameters, data(missing, 400, m))


@pytest.mark.parametrize("batch", [1, BATCH])
def test_settled_equals_every_step_computed(batch):
    """Parameters repeated for every step have every covariance computed."""
    parameters = random_parameters(np.random.default_rng(3), 3, 2)
    y = data("common", 5000, 2, batch)
    repeated = per_step(parameters, 5000)
    value, gradients = value_and_gradients(parameters, y)
    expected, by_step = value_and_gradients(repeated, y)
    np.testing.assert_allclose(value, expected, rtol=1e-12)
    filtered = ss.kalman_filter(build(repeated), y)
    np.testing.assert_allclose(value, filtered.log_likelihood, rtol=1e-12)
    for name, x, z in zip((*NAMES, "y"), gradients, by_step, strict=True):
        z = z.sum(0) if z.ndim > x.ndim else z
        assert np.max(np.abs(x - z)) < 1e-11 * np.max(np.abs(z)), name  # sums of 5000 steps


def test_slow_convergence_is_not_taken_for_the_limit():
    level = slow_level(10.0)
    y = np.cumsum(np.random.default_rng(4).normal(size=(BATCH, 20000, 1)), axis=1) * 1e-2
    value = ss.log_likelihood(build(level), y)
    expected = ss.kalman_filter(build(per_step(level, 20000)), y).log_likelihood
    np.testing.assert_allclose(value, expected, rtol=1e-12)


def test_one_step():
    parameters = random_parameters(np.random.default_rng(5), 3, 2)
    parameters["transition_matrix"] = np.full((3, 3), np.nan)  # leads beyond the data
    assert_shared_equals_own(parameters, data("nothing", 1, 2))


@pytest.mark.parametrize("num_steps", [6, 300])
def test_per_series_offsets_and_means(num_steps):
    rng = np.random.default_rng(6)
    parameters = random_parameters(rng, 3, 2)
    parameters["initial_mean"] = rng.normal(size=(BATCH, 3))
    parameters["transition_offset"] = rng.normal(size=(BATCH, 1, 3))
    parameters["observation_offset"] = rng.normal(size=(BATCH, num_steps, 2))
    y = data("several patterns", num_steps, 2)
    value, gradients = value_and_gradients(parameters, y)
    for item in (0, 3, 4, BATCH - 1):
        one = parameters | {
            name: parameters[name][item]
            for name in ("initial_mean", "transition_offset", "observation_offset")
        }
        alone, of_one = value_and_gradients(one, y[item])
        assert value[item] == alone
        for name, x, z in zip((*NAMES, "y"), gradients, of_one, strict=True):
            if name in ("initial_mean", "transition_offset", "observation_offset", "y"):
                np.testing.assert_allclose(x[item], z, rtol=1e-11, atol=1e-11, err_msg=name)


@pytest.mark.parametrize("value", [np.inf, 1e200])
@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_failure_stays_within_its_series(value, weight):
    parameters = random_parameters(np.random.default_rng(7), 3, 2)
    y = data("nothing", 100, 2)
    y[5, 60, 1] = value
    weights = np.linspace(0.5, 1.5, BATCH)
    weights[5] = weight
    found, gradients = value_and_gradients(parameters, y, weights)
    clean, expected = value_and_gradients(parameters, np.where(np.abs(y) > 1e100, 0.0, y), weights)
    others = np.arange(BATCH) != 5
    assert np.isnan(found[5])
    np.testing.assert_array_equal(found[others], clean[others])
    info = ss.kalman_filter(build(parameters), y).info
    np.testing.assert_array_equal(info, np.where(others, 0, 61))
    for name, x, z in zip(NAMES, gradients[:-1], expected[:-1], strict=True):
        assert np.all(np.isnan(x)) if weight else np.all(np.isfinite(x)), name
        if not weight:
            np.testing.assert_allclose(x, z, rtol=1e-11, atol=1e-11, err_msg=name)
    np.testing.assert_array_equal(gradients[-1][others], expected[-1][others])
    np.testing.assert_array_equal(gradients[-1][5], 0.0 if weight == 0.0 else np.nan)


def test_singular_innovations_fail_in_every_series():
    parameters = random_parameters(np.random.default_rng(8), 2, 1)
    parameters["observation_matrix"] = np.zeros((1, 2))
    parameters["observation_scale"] = np.zeros((1, 1))
    y = data("nothing", 30, 1)
    y[2] = np.nan
    value = ss.log_likelihood(build(parameters), y)
    np.testing.assert_array_equal(np.isnan(value), np.arange(BATCH) != 2)


def test_weights_of_zero_give_gradients_of_zero():
    parameters = random_parameters(np.random.default_rng(9), 3, 2)
    y = data("several patterns", 100, 2)
    weights = np.random.default_rng(10).normal(size=BATCH)
    weights[7:] = 0.0
    assert_shared_equals_own(parameters, y, weights)
    _, gradients = value_and_gradients(parameters, y, np.zeros(BATCH))
    for name, x in zip((*NAMES, "y"), gradients, strict=True):
        np.testing.assert_array_equal(x, 0.0, err_msg=name)


def test_rows_nobody_observes_may_be_nan():
    parameters = random_parameters(np.random.default_rng(11), 3, 2)
    known = {name: x.copy() for name, x in parameters.items()}
    parameters["observation_matrix"][1] = np.nan
    y = data("nothing", 100, 2)
    y[..., 1] = np.nan
    value, gradients = value_and_gradients(parameters, y)
    expected, of_known = value_and_gradients(known, y)
    np.testing.assert_array_equal(value, expected)
    for name, x, z in zip((*NAMES, "y"), gradients, of_known, strict=True):
        np.testing.assert_allclose(x, z, rtol=1e-12, atol=1e-12, err_msg=name)


@pytest.mark.parametrize("varying", [False, True])
def test_float32(varying):
    parameters = random_parameters(np.random.default_rng(12), 4, 2, lead=(200,) * varying)
    single = {name: x.astype(np.float32) for name, x in parameters.items()}
    y = data("several patterns", 200, 2).astype(np.float32)
    assert_shared_equals_own(single, y, tolerance=3e-5)


def test_memory_low_gives_the_same():
    parameters = random_parameters(np.random.default_rng(13), 3, 2)
    y = data("common", 100, 2)
    value, gradients = value_and_gradients(parameters, y)
    expected, others = value_and_gradients(parameters, y, memory="low")
    np.testing.assert_array_equal(value, expected)
    for name, x, z in zip((*NAMES, "y"), gradients, others, strict=True):
        assert np.max(np.abs(x - z)) < 1e-12 * np.max(np.abs(z)), name


def test_result_does_not_depend_on_the_number_of_threads():
    parameters = random_parameters(np.random.default_rng(14), 4, 2)
    y = data("several patterns", 200, 2, batch=301)
    one, three = on_threads(lambda: value_and_gradients(parameters, y))
    for x, z in zip([one[0], *one[1]], [three[0], *three[1]], strict=True):
        np.testing.assert_array_equal(x, z)


@pytest.mark.parametrize("num_steps", [40, 300])
def test_batch_equals_its_members_bit_for_bit(num_steps):
    """With parameters shared, with parameters per series, and alone."""
    parameters = random_parameters(np.random.default_rng(15), 3, 2)
    y = data("all different", num_steps, 2)
    y[10:] = data("nothing", num_steps, 2)[10:]
    together = ss.log_likelihood(build(parameters), y)
    alone = [ss.log_likelihood(build(parameters), series) for series in y]
    np.testing.assert_array_equal(together, alone)
