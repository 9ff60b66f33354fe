"""Filters and smoothers after a vague start, against filters and smoothers in mpmath.

What an update leaves of a vague covariance is a small difference of large numbers. The compiled
covariance form notices, and runs its first steps again in twice the precision. P - P N P, by which
the covariance and the univariate form smooth, cancels even more: such a series is smoothed again in
square-root form. The reference does neither.
"""

import functools

import numpy as np
import pytest
import tensorflow as tf
from kalman.models import build, dense, tensors
from kalman.test_diffuse import structural
from kalman.test_square_root import trend, walk
from oracles import dense as dense_oracle
from oracles import exact_filter

import statespace as ss
from statespace import config

pytestmark = pytest.mark.skipif(
    not config.native_available(), reason="the compiled library is not available"
)
FORMS = ("covariance", "univariate", "square_root")
DEVIATIONS = (1e2, 1e4, 1e6)


def two_series_on_a_trend(vague):
    return trend(1.0, vague) | {
        "observation_matrix": np.array([[1.0, 0.0], [1.0, 0.5]]),
        "observation_scale": np.array([[0.7, 0.0], [0.3, 1.1]]),
        "observation_offset": np.array([0.0, 2.0]),
    }


def seasonal(vague):
    """Level, slope and eleven months: 13 states."""
    return structural(12) | {"initial_scale": vague * np.eye(13)}


def series(num_steps, m, gaps):
    y = walk(np.random.default_rng(num_steps + m), num_steps, m)
    for gap in gaps:
        y[gap] = np.nan
    return y


# The gaps fall into the first steps, in which the states are being found, too.
MODELS = {  # name: (model of its start's deviation, data)
    "trend": (functools.partial(trend, 1.0), series(20, 1, [])),
    "trend, missing": (functools.partial(trend, 1.0), series(20, 1, [1, 5, 6, 7])),
    "two series": (two_series_on_a_trend, series(20, 2, [(0, 1), (1, 0), 4, (9, 1)])),
    "seasonal": (seasonal, series(30, 1, [])),
    "seasonal, missing": (seasonal, series(30, 1, [0, 3, 4, 20])),
}


@functools.cache
def exact(name, vague):
    """The moments in mpmath: of one series, from a start that vague."""
    parameters, y = MODELS[name]
    return exact_filter.run(parameters(vague), y)


def assert_exact(result, expected, tolerance):
    """Covariances relative to the deviations, means to the largest of their step."""
    mean, covariance, lag_one = (
        np.asarray(x, np.float64)
        for x in (result.smoothed_mean, result.smoothed_covariance, result.lag_one_covariance)
    )
    deviation = np.sqrt(np.diagonal(expected["smoothed_covariance"], axis1=1, axis2=2))
    rows, columns = deviation[:, :, np.newaxis], deviation[:, np.newaxis]
    error = np.abs(mean - expected["smoothed_mean"])
    size = np.max(np.abs(expected["smoothed_mean"]), axis=1, keepdims=True)
    assert np.all(error <= tolerance * size)
    error = np.abs(covariance - expected["smoothed_covariance"])
    assert np.all(error <= tolerance * rows * columns)
    error = np.abs(lag_one - expected["lag_one_covariance"])
    assert np.all(error <= tolerance * rows[1:] * columns[:-1])


def test_the_oracle_is_the_joint_gaussian():
    """From a start that float64 stands, where the dense Gaussian can tell."""
    parameters, y = MODELS["two series"]
    mean, covariance = dense_oracle.posterior(dense(parameters(1.0), (), (), len(y)), y)
    expected = exact("two series", 1.0)
    close = functools.partial(np.testing.assert_allclose, rtol=1e-11, atol=1e-11)
    close(expected["smoothed_mean"], mean)
    steps = np.arange(len(y))
    close(expected["smoothed_covariance"], covariance[steps, :, steps])
    close(expected["lag_one_covariance"], covariance[steps[1:], :, steps[:-1]])


def allowed(vague):
    """The square-root form's errors grow with the deviation, and pass nine digits at 1e6."""
    return max(1e-9, 10 * vague * np.finfo(np.float64).eps)


def member(result, item):
    """The result of one series of a batch."""
    return type(result)(*(None if x is None else x[item] for x in result))


@pytest.mark.parametrize("algorithm", FORMS)
@pytest.mark.parametrize("vague", DEVIATIONS)
@pytest.mark.parametrize("name", MODELS)
def test_one_series(name, vague, algorithm):
    parameters, y = MODELS[name]
    result = ss.kalman_smoother(build(parameters(vague)), y, algorithm=algorithm)
    expected = exact(name, vague)
    assert not result.info
    assert_exact(result, expected, allowed(vague))
    np.testing.assert_allclose(result.log_likelihood, expected["log_likelihood"], rtol=1e-10)


# Beyond these the filter's own covariances in float32 are no longer definite: a status tells so.
@pytest.mark.parametrize("algorithm", FORMS)
@pytest.mark.parametrize(
    ("name", "vague"),
    [("trend", 1e2), ("trend", 1e4), ("trend, missing", 1e2), ("seasonal", 1e2), ("seasonal", 1e3)],
)
def test_float32(name, vague, algorithm):
    parameters, y = MODELS[name]
    ssm = build(parameters(vague), tf.float32)
    result = ss.kalman_smoother(ssm, y.astype(np.float32), algorithm=algorithm)
    assert result.smoothed_covariance.dtype == tf.float32
    assert not result.info
    assert_exact(result, exact(name, vague), 1e-3)


def filter_errors(result, expected):
    """Covariances relative to the deviations, means to the largest of their step."""
    for kind in ("filtered", "predicted"):
        mean, covariance = (
            np.asarray(getattr(result, f"{kind}_{moment}"), np.float64)
            for moment in ("mean", "covariance")
        )
        exact_mean, exact_covariance = (expected[f"{kind}_{x}"] for x in ("mean", "covariance"))
        variance = np.diagonal(exact_covariance, axis1=1, axis2=2)
        scale = np.sqrt(variance[:, :, np.newaxis] * variance[:, np.newaxis])
        yield np.max(np.abs(covariance - exact_covariance) / scale)
        size = np.maximum(np.max(np.abs(exact_mean), axis=1, keepdims=True), np.sqrt(variance))
        yield np.max(np.abs(mean - exact_mean) / size)


@pytest.mark.parametrize(
    ("dtype", "vague"),
    [(tf.float64, 1e4), (tf.float64, 1e6), (tf.float64, 1e8), (tf.float32, 1e2), (tf.float32, 1e4)],
)
@pytest.mark.parametrize("name", MODELS)
def test_filter_in_covariance_form(name, vague, dtype):
    """As if the start were not vague: to the rounding of the tensors."""
    parameters, y = MODELS[name]
    y = y.astype(dtype.as_numpy_dtype)
    rounded = {k: x.astype(y.dtype) for k, x in parameters(vague).items()}
    expected = exact_filter.run(rounded, y)
    ssm = build(rounded, dtype)
    result = ss.kalman_filter(ssm, y, algorithm="covariance")
    total = ss.log_likelihood(ssm, y, algorithm="covariance")
    by_step = ss.log_likelihood(ssm, y, algorithm="covariance", per_step=True)
    assert not result.info
    assert max(filter_errors(result, expected)) < 50 * np.finfo(y.dtype).eps
    for value in (result.log_likelihood, total, tf.reduce_sum(by_step)):
        relative = abs(value / float(expected["log_likelihood"]) - 1)
        assert relative < 4 * np.finfo(y.dtype).eps


@pytest.mark.parametrize("function", [ss.log_likelihood, ss.kalman_filter])
@pytest.mark.parametrize("dtype", [tf.float32, tf.float64])
@pytest.mark.parametrize("shared", [False, True], ids=["own start", "shared start"])
@pytest.mark.parametrize("name", MODELS)
def test_filter_of_a_batch_equals_its_members_bit_for_bit(name, shared, dtype, function):
    """Series with starts of their own, a few beside them; or one start, a few missing patterns."""
    parameters, y = batch_of_starts(name, MIXED)
    if shared:
        parameters["initial_scale"] = parameters["initial_scale"][1]
    y = y + np.random.default_rng(0).normal(size=y.shape)
    y[3:6, 2] = np.nan
    y[7, :9] = np.nan
    y = y.astype(dtype.as_numpy_dtype)
    results = function(build(parameters, dtype), y, algorithm="covariance")
    for item in range(len(y)):
        own = parameters | ({} if shared else {"initial_scale": parameters["initial_scale"][item]})
        alone = function(build(own, dtype), y[item], algorithm="covariance")
        for x, z in zip(tensors(results), tensors(alone), strict=True):
            np.testing.assert_array_equal(x[item], z)


def test_start_that_shows_late():
    """The second state is seen from step 12 on, from the start's own covariance with the first."""
    parameters = two_series_on_a_trend(1e6) | {"initial_scale": 1e6 * np.array([[1, 0], [1, 0.1]])}
    y = series(40, 2, [(slice(0, 12), 1)])
    expected = exact_filter.log_likelihood(parameters, y)
    value = ss.log_likelihood(build(parameters), y, algorithm="covariance")
    np.testing.assert_allclose(value, float(expected), rtol=1e-13)


def batch_of_starts(name, deviations):
    """One model and series from several starts: [*B] initial scales, everything else shared."""
    parameters, y = MODELS[name]
    scales = np.stack([parameters(vague)["initial_scale"] for vague in deviations])
    copies = np.broadcast_to(y, (len(deviations), *y.shape))
    return parameters(1.0) | {"initial_scale": scales}, copies


# Nine series: whole groups of lanes and a rest.
MIXED = (1.0, 1e6, 1.0, 1.0, 1e2, 1e4, 1.0, 1e6, 1e6)


@pytest.mark.parametrize("algorithm", FORMS)
@pytest.mark.parametrize("name", MODELS)
def test_each_of_a_batch_has_its_own_start(name, algorithm):
    parameters, y = batch_of_starts(name, MIXED)
    result = ss.kalman_smoother(build(parameters), y, algorithm=algorithm)
    np.testing.assert_array_equal(result.info, np.zeros(len(MIXED)))
    for item, vague in enumerate(MIXED):
        assert_exact(member(result, item), exact(name, vague), allowed(vague))


@pytest.mark.parametrize("dtype", [tf.float32, tf.float64])
@pytest.mark.parametrize("algorithm", FORMS)
@pytest.mark.parametrize("name", MODELS)
def test_neighbours_do_not_change(name, algorithm, dtype):
    """A series beside those that are smoothed again is the one beside those that are not."""
    starts = [min(vague, 1e2) for vague in MIXED]  # in float32 no filter fails
    mixed, proper = (
        ss.kalman_smoother(
            build(parameters, dtype), y.astype(dtype.as_numpy_dtype), algorithm=algorithm
        )
        for parameters, y in (batch_of_starts(name, x) for x in (starts, np.ones(len(MIXED))))
    )
    same = np.equal(MIXED, 1.0)
    for x, z in zip(tensors(mixed), tensors(proper), strict=True):
        np.testing.assert_array_equal(x[same], z[same])
    assert np.all(mixed.smoothed_covariance[~same] != proper.smoothed_covariance[~same])


@pytest.mark.parametrize("shared", [False, True], ids=["own start", "shared start"])
@pytest.mark.parametrize("algorithm", FORMS)
@pytest.mark.parametrize("name", MODELS)
def test_batch_equals_its_members_bit_for_bit(name, algorithm, shared):
    """Also where one covariance recursion serves all series of a missing pattern."""
    parameters, y = batch_of_starts(name, MIXED)
    if shared:
        parameters["initial_scale"] = parameters["initial_scale"][1]
    rng = np.random.default_rng(0)
    y = y + rng.normal(size=y.shape)
    y[3:6, 2] = np.nan  # two missing patterns
    result = ss.kalman_smoother(build(parameters), y, algorithm=algorithm)
    for item in range(len(y)):
        own = parameters | ({} if shared else {"initial_scale": parameters["initial_scale"][item]})
        alone = ss.kalman_smoother(build(own), y[item], algorithm=algorithm)
        for x, z in zip(tensors(result), tensors(alone), strict=True):
            np.testing.assert_array_equal(x[item], z)


def test_time_varying_parameters_and_two_batch_axes():
    """Per-step parameters, which the second pass has to find for its series, too."""
    parameters, y = batch_of_starts("two series", MIXED[:6])
    expected = ss.kalman_smoother(build(parameters), y, algorithm="covariance")
    num_steps = y.shape[1]
    names = ("transition_matrix", "transition_scale", "observation_matrix", "observation_scale")
    varying = {
        name: np.broadcast_to(parameters[name], (3, num_steps, *parameters[name].shape))
        for name in names
    }
    scales = parameters["initial_scale"].reshape(2, 3, 2, 2)
    y = y.reshape(2, 3, *y.shape[1:])
    ssm = build(parameters | varying | {"initial_scale": scales})
    result = ss.kalman_smoother(ssm, y, algorithm="covariance")
    for x, z in zip(tensors(result), tensors(expected), strict=True):
        np.testing.assert_array_equal(np.reshape(x, z.shape), z)


NUM_STEPS = 5
WEIGHTS = [
    np.random.default_rng(0).normal(size=shape)
    for shape in ((NUM_STEPS, 2), (NUM_STEPS, 2, 2), (NUM_STEPS - 1, 2, 2))
]
GRADIENTS = ("transition_matrix", "transition_scale", "observation_scale", "initial_scale")


def short(name, vague):
    parameters, y = MODELS[name]
    return parameters(vague), y[:NUM_STEPS]


@functools.cache
def exact_gradient(name, vague, key):
    """Of the weighted sum of all moments by one parameter."""
    parameters, y = short(name, vague)
    gradient = np.zeros(parameters[key].shape)
    for index in np.ndindex(gradient.shape):
        direction = np.zeros(gradient.shape)
        direction[index] = 1.0
        gradient[index] = exact_filter.smoothed_derivative(parameters, y, key, direction, WEIGHTS)
    return gradient


@pytest.mark.parametrize("algorithm", FORMS)
@pytest.mark.parametrize("vague", DEVIATIONS)
@pytest.mark.parametrize("name", ["trend", "two series"])
def test_gradient_of_all_moments(name, vague, algorithm):
    """Relative to the largest entry of each parameter's gradient; the adjoint in float64 has none
    of its digits left from a deviation of 1e4 on. The start's scale has next to no influence, 1e-19
    at 1e6: what is asked for is the effect of doubling it, relative to the moments' size, 1.
    """
    parameters, y = short(name, vague)
    variables = {key: tf.constant(parameters[key]) for key in GRADIENTS}
    with tf.GradientTape() as tape:
        tape.watch(variables)
        result = ss.kalman_smoother(build(parameters | variables), y, algorithm=algorithm)
        moments = (
            result.smoothed_mean,
            result.smoothed_covariance,
            result.lag_one_covariance,
        )
        loss = sum(tf.reduce_sum(w * x) for w, x in zip(WEIGHTS, moments, strict=True))
    gradient = tape.gradient(loss, variables)
    for key in GRADIENTS:
        expected = exact_gradient(name, vague, key)
        size = 1 / vague if key == "initial_scale" else np.max(np.abs(expected))
        np.testing.assert_allclose(
            gradient[key], expected, rtol=1e-7, atol=1e-7 * size, err_msg=key
        )


@pytest.mark.parametrize("dtype", [tf.float32, tf.float64])
def test_gradients_of_neighbours_do_not_change(dtype):
    """Of the series beside one whose gradient takes twice the precision, also of what all share."""

    def gradients(starts):
        parameters, y = batch_of_starts("two series", starts)
        y = tf.constant(y, dtype)
        noise = tf.constant(parameters["transition_scale"], dtype)
        with tf.GradientTape() as tape:
            tape.watch((y, noise))
            ssm = build(parameters | {"transition_scale": noise}, dtype)
            result = ss.kalman_smoother(ssm, y, algorithm="covariance")
            loss = tf.reduce_sum(result.smoothed_covariance**2) + tf.reduce_sum(
                result.smoothed_mean**2
            )
        return tape.gradient(loss, (y, noise))

    starts = [min(vague, 1e2) for vague in MIXED]
    (y, noise), (calm, _) = gradients(starts), gradients(np.ones(len(MIXED)))
    same = np.equal(MIXED, 1.0)
    np.testing.assert_array_equal(y[same], calm[same])
    alone = sum(np.float64(gradients([start])[1]) for start in starts)
    np.testing.assert_allclose(noise, alone, rtol=1e-9 if dtype == tf.float64 else 1e-3)
