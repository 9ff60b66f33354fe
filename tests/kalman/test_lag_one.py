"""The smoother without lag-one covariances, against the smoother with them."""

import logging

import numpy as np
import pytest
import tensorflow as tf
from kalman.models import NAMES, build, floating, random_data, random_parameters
from oracles import finite_differences

import statespace as ss
from statespace import config, native

FORMS = [name for name in ss.kalman.ALGORITHMS if name != "auto"]
T = 5

needs_native = pytest.mark.skipif(
    not config.native_available(), reason="the compiled library is not available"
)


def both(ssm, y, **options):
    """The results without lag-one covariances and with them."""
    marginals = ss.kalman_smoother(ssm, y, lag_one=False, **options)
    return marginals, ss.kalman_smoother(ssm, y, **options)


def assert_same(marginals, result):
    """To the last bit: the arithmetic is the same."""
    assert isinstance(marginals, ss.SmootherResult)
    assert marginals.lag_one_covariance is None
    assert result.lag_one_covariance is not None
    expected = result._replace(lag_one_covariance=None)._asdict()
    for name, x in marginals._asdict().items():
        if expected[name] is None:
            assert x is None, name
            continue
        assert x.dtype == expected[name].dtype, name
        np.testing.assert_array_equal(x, expected[name], err_msg=name, strict=True)


@pytest.mark.parametrize("algorithm", FORMS)
@pytest.mark.parametrize("batch", [(), (1,), (9,), (2, 3)])
@pytest.mark.parametrize("varying", [False, True])
@pytest.mark.parametrize("sizes", [(2, 1), (5, 3)])
def test_everything_else_is_the_same(algorithm, batch, varying, sizes):
    rng = np.random.default_rng(0)
    lead = (*batch, T) if varying else ()
    parameters = random_parameters(rng, *sizes, lead=lead, batch=batch if varying else ())
    y = random_data(rng, batch, T, sizes[1])
    assert_same(*both(build(parameters), y, algorithm=algorithm))


@pytest.mark.parametrize("algorithm", FORMS)
def test_with_and_without_the_compiled_library(algorithm, native):
    rng = np.random.default_rng(15)
    parameters = random_parameters(rng, 2, 1, lead=(3, T), batch=(3,))
    assert_same(*both(build(parameters), random_data(rng, (3,), T, 1), algorithm=algorithm))


@pytest.mark.parametrize("algorithm", ["auto", *FORMS])
def test_float32(algorithm):
    rng = np.random.default_rng(1)
    ssm = build(random_parameters(rng, 3, 2), tf.float32)
    y = random_data(rng, (9,), T, 2).astype(np.float32)
    assert_same(*both(ssm, y, algorithm=algorithm))


@needs_native
def test_model_without_lanes():
    rng = np.random.default_rng(2)
    parameters = random_parameters(rng, 34, 2, lead=(3, T), batch=(3,))
    assert_same(*both(build(parameters), random_data(rng, (3,), T, 2)))


@pytest.mark.parametrize("algorithm", ["auto", "univariate", "reference"])
@pytest.mark.parametrize("diffuse", [[True, True, True], [False, True, False]])
@pytest.mark.parametrize("constant", ["include", "exclude"])
def test_diffuse_start(algorithm, diffuse, constant, native):
    rng = np.random.default_rng(3)
    parameters = random_parameters(rng, 3, 2)
    ssm = ss.LinearGaussianSSM(**parameters, diffuse=diffuse)
    y = random_data(rng, (4,), T, 2)
    assert_same(*both(ssm, y, algorithm=algorithm, diffuse_constant=constant))


@needs_native
@pytest.mark.parametrize("dtype", [tf.float32, tf.float64])
@pytest.mark.parametrize("algorithm", ["covariance", "univariate", "square_root"])
def test_series_that_are_smoothed_again(algorithm, dtype):
    """After a vague start, beside others that start well known."""
    rng = np.random.default_rng(4)
    vague = 1e2 if dtype == tf.float32 else 1e5
    parameters = random_parameters(rng, 2, 1)
    starts = np.where(np.arange(9) % 3 == 1, vague, 1.0)
    parameters["initial_scale"] = starts[:, np.newaxis, np.newaxis] * np.eye(2)
    y = random_data(rng, (9,), 12, 1).astype(dtype.as_numpy_dtype)
    assert_same(*both(build(parameters, dtype), y, algorithm=algorithm))


@needs_native
@pytest.mark.parametrize("algorithm", [name for name in FORMS if name != "reference"])
@pytest.mark.parametrize("shape", [(1,), (3, 1), (0,), (3, 0), (0, T)])
def test_hardly_any_data(algorithm, shape):
    parameters = random_parameters(np.random.default_rng(5), 2, 1)
    y = np.random.default_rng(6).normal(size=(*shape, 1))
    marginals, result = both(build(parameters), y, algorithm=algorithm)
    assert marginals.smoothed_covariance.shape == (*shape, 2, 2)
    assert_same(marginals, result)


@pytest.mark.parametrize("algorithm", FORMS)
def test_failure(algorithm, native):
    parameters = random_parameters(np.random.default_rng(7), 2, 1)
    y = np.random.default_rng(8).normal(size=(9, T, 1))
    y[4, 2] = np.inf
    ssm = build(parameters)
    marginals, result = both(ssm, y, algorithm=algorithm)
    assert_same(marginals, result)
    np.testing.assert_array_equal(marginals.info, np.where(np.arange(9) == 4, 3, 0))
    for x in floating(marginals):
        assert np.all(np.isnan(x[4]))
        assert np.all(np.isfinite(np.delete(x, 4, axis=0)))
    options = {"algorithm": algorithm, "lag_one": False, "on_failure": "raise"}
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"kalman_smoother.*\[4\].* 3"):
        ss.kalman_smoother(ssm, y, **options)
    np.testing.assert_array_equal(
        ss.kalman_smoother(ssm, y[:4], **options).smoothed_mean, result.smoothed_mean[:4]
    )


@pytest.mark.parametrize("algorithm", FORMS)
def test_unknown_sizes(algorithm):
    ssm = build(random_parameters(np.random.default_rng(9), 2, 1))
    smooth = tf.function(
        lambda y: ss.kalman_smoother(ssm, y, lag_one=False, algorithm=algorithm),
        input_signature=[tf.TensorSpec([None, None, 1], tf.float64)],
    )
    for shape in ((3, 5), (2, 8), (0, 4)):
        y = random_data(np.random.default_rng(10), shape[:1], shape[1], 1)
        expected = ss.kalman_smoother(ssm, y, lag_one=False, algorithm=algorithm)
        for x, z in zip(floating(smooth(y)), floating(expected), strict=True):
            np.testing.assert_allclose(x, z, rtol=1e-13, atol=1e-13)


# Of the raw ops: whatever the smoother's wrapper does, these take the same inputs.


def _raw(operation, y, parameters):
    return operation(y, *(parameters[name] for name in NAMES))


def _marginals(y, parameters):
    return _raw(native.library().statespace_kalman_smoother_marginals, y, parameters)


def _smoother(y, parameters):
    total, mean, covariance, _, info = _raw(
        native.library().statespace_kalman_smoother, y, parameters
    )
    return total, mean, covariance, info


def _loss(moments, y, parameters, outputs=(0, 1, 2)):
    rng = np.random.default_rng(11)
    results = moments(y, parameters)
    weights = [rng.normal(size=results[i].shape) for i in range(3)]
    return tf.add_n([tf.reduce_sum(weights[i] * tf.sin(results[i])) for i in outputs])


def _gradients(moments, y, parameters, outputs=(0, 1, 2)):
    with tf.GradientTape() as tape:
        tape.watch([y, parameters])
        value = _loss(moments, y, parameters, outputs)
    return tape.gradient(value, [y, *(parameters[name] for name in NAMES)])


def _inputs(batch, shared, sizes=(3, 2)):
    rng = np.random.default_rng(12)
    lead, own = ((), ()) if shared else ((*batch, T), batch)
    parameters = random_parameters(rng, *sizes, lead=lead, batch=own)
    y = tf.constant(random_data(rng, batch, T, sizes[1]))
    return y, {name: tf.constant(x) for name, x in parameters.items()}


@needs_native
@pytest.mark.parametrize("outputs", [(0,), (1,), (2,), (0, 1, 2)])
@pytest.mark.parametrize("shared", [False, True])
def test_gradients_of_the_op(shared, outputs):
    """One loss without lag-one covariances; of some outputs the cotangent is None."""
    y, parameters = _inputs((9,), shared)
    got, expected = (_gradients(f, y, parameters, outputs) for f in (_marginals, _smoother))
    for name, x, z in zip(("y", *NAMES), got, expected, strict=True):
        assert np.any(z != 0.0) or (name in ("y", *NAMES[4:7]) and outputs == (2,)), name
        np.testing.assert_array_equal(x, z, err_msg=name, strict=True)


@needs_native
@pytest.mark.parametrize("shape", [(0,), (3, 0), (0, T)])
def test_gradients_of_hardly_any_data(shape):
    parameters = random_parameters(np.random.default_rng(16), 2, 1)
    parameters = {name: tf.constant(x) for name, x in parameters.items()}
    y = tf.zeros((*shape, 1), tf.float64)
    inputs = (y, *(parameters[name] for name in NAMES))
    for x, value in zip(_gradients(_marginals, y, parameters), inputs, strict=True):
        assert x.shape == value.shape
        assert not np.any(x)


@needs_native
@pytest.mark.parametrize("jit", [False, True])
def test_gradients_in_graph_and_xla(jit):
    y, parameters = _inputs((4,), False)
    function = tf.function(lambda y, p: _gradients(_marginals, y, p), jit_compile=jit)
    got, expected = function(y, parameters), _gradients(_smoother, y, parameters)
    for name, x, z in zip(("y", *NAMES), got, expected, strict=True):
        scale = np.max(np.abs(z))
        np.testing.assert_allclose(x, z, rtol=0, atol=1e-13 * scale, err_msg=name)


@needs_native
@pytest.mark.parametrize("jit", [False, True])
def test_values_in_graph_and_xla(jit):
    y, parameters = _inputs((9,), True)
    got = tf.function(_marginals, jit_compile=jit)(y, parameters)
    for x, z in zip(got, _smoother(y, parameters), strict=True):
        np.testing.assert_array_equal(x, z, strict=True)


@needs_native
def test_second_derivative_of_the_op():
    y, parameters = _inputs((2,), False, (2, 1))
    names = NAMES[:4]
    rng = np.random.default_rng(13)
    directions = [rng.normal(size=parameters[name].shape) for name in names]

    def slope(*arrays):
        moved = parameters | dict(zip(names, arrays, strict=True))
        gradients = _gradients(_marginals, y, moved)[1:5]
        return tf.add_n([tf.reduce_sum(g * d) for g, d in zip(gradients, directions, strict=True)])

    arrays = [parameters[name] for name in names]
    with tf.GradientTape() as tape:
        tape.watch(arrays)
        value = slope(*arrays)
    pairs = zip(tape.gradient(value, arrays), directions, strict=True)
    got = sum(np.sum(g * d) for g, d in pairs)
    expected = finite_differences.directional(slope, arrays, directions)
    np.testing.assert_allclose(got, expected, rtol=1e-6)


@needs_native
@pytest.mark.parametrize("mapped", ["y", *NAMES])
def test_vectorized_map(mapped):
    """Over one input at a time, with its gradient; what is not mapped is shared."""
    y, parameters = _inputs((), False)
    inputs = {"y": y, **parameters}
    rng = np.random.default_rng(14)
    shape = inputs[mapped].shape
    stacked = inputs[mapped] + 0.1 * rng.normal(size=(3, *shape))

    def function(x):
        own = inputs | {mapped: x}
        with tf.GradientTape() as tape:
            tape.watch(x)
            results = _marginals(own["y"], own)
            value = tf.add_n([tf.reduce_sum(tf.sin(z)) for z in results[:3]])
        return (*results, tape.gradient(value, x))

    got = tf.vectorized_map(function, stacked, fallback_to_while_loop=False)
    members = [function(x) for x in tf.unstack(stacked)]
    for x, z in zip(got, zip(*members, strict=True), strict=True):
        np.testing.assert_allclose(x, tf.stack(z), rtol=1e-12, atol=1e-12)


@needs_native
def test_jacobian_of_the_smoothed_means(caplog):
    y, parameters = _inputs((), True)

    def jacobian(lag_one):
        with tf.GradientTape() as tape:
            tape.watch(y)
            result = ss.kalman_smoother(build(parameters), y, lag_one=lag_one)
        return tape.jacobian(result.smoothed_mean, y)

    with caplog.at_level(logging.WARNING, logger="tensorflow"):
        got = jacobian(False)
    assert "while_loop" not in caplog.text
    np.testing.assert_allclose(got, jacobian(True), rtol=1e-12, atol=1e-12)
