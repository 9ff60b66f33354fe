"""Derivatives by everything that a model's functions close over, and by its tensors."""

import functools

import numpy as np
import pytest
import tensorflow as tf
from nonlinear.problems import PROBLEMS
from oracles import finite_differences

import statespace as ss
from statespace.nonlinear import METHODS

PENDULUM = PROBLEMS["pendulum"]
OPTIONS = {"iterated": {"iterations": 2}, "unscented": {"alpha": 0.5, "beta": 2.0, "kappa": 0.3}}


def arguments(seed=0):
    """Data with gaps, coefficients of both functions (one per series), scales, start."""
    rng = np.random.default_rng(seed)
    y = PENDULUM.simulate(rng, (3,), 4)
    y[0, 1] = np.nan
    noise = np.repeat(PENDULUM.g[np.newaxis], 4, axis=0) * (1.0 + 0.1 * rng.random((4, 1, 1)))
    theta, loading = np.array([0.5, 0.05]), 1.0 + 0.2 * rng.random((3, 1))
    return [y, theta, loading, noise, PENDULUM.c, PENDULUM.m0, PENDULUM.s0]


def model(theta, loading, g, c, m0, s0):
    def transition(x):
        angle, speed = x[..., 0], x[..., 1]
        return tf.stack([angle + theta[1] * speed, speed - theta[0] * tf.sin(angle)], axis=-1)

    return ss.NonlinearGaussianSSM(transition, g, lambda x: loading * tf.sin(x[..., :1]), c, m0, s0)


def total(method, smoothing, y, *parameters):
    options = {"method": method} | OPTIONS.get(method, {})
    if not smoothing:
        result = ss.nonlinear_filter(model(*parameters), y, **options)
        return tf.reduce_sum(tf.constant([1.0, -0.7, 0.4], y.dtype) * result.log_likelihood)
    result = ss.nonlinear_smoother(model(*parameters), y, **options)
    return tf.add_n([tf.reduce_sum(tf.sin(x)) for x in result[:4]])


def gradient(function, given):
    with tf.GradientTape() as tape:
        tape.watch(given)
        value = function(*given)
    return value, tape.gradient(value, given)


QUICK = ("extended", False), ("unscented", True)
CASES = [(method, smoothing) for method in METHODS for smoothing in (False, True)]
CASES = [x if x in QUICK else pytest.param(*x, marks=pytest.mark.slow) for x in CASES]


@pytest.mark.parametrize(("method", "smoothing"), CASES)
def test_against_finite_differences(method, smoothing):
    """Along a random direction of each argument."""
    function = tf.function(functools.partial(total, method, smoothing))
    given = [tf.constant(x) for x in arguments()]
    _, gradients = tf.function(functools.partial(gradient, function))(given)
    rng = np.random.default_rng(1)
    for which, derivative in enumerate(gradients):
        assert derivative is not None
        directions = [np.zeros(x.shape) for x in given]
        directions[which] = rng.normal(size=given[which].shape)
        directions[0] = np.where(np.isnan(given[0]), 0.0, directions[0])
        expected = finite_differences.directional(function, given, directions, 1e-4)
        size = np.max(np.abs(derivative)) + 1e-3
        got = np.sum(derivative * directions[which])
        np.testing.assert_allclose(got, expected, rtol=1e-7, atol=1e-7 * size, err_msg=str(which))
    np.testing.assert_array_equal(gradients[0][0, 1], 0.0)  # the missing observation


@pytest.mark.slow
@pytest.mark.parametrize("method", ["extended", "unscented"])
def test_second_derivatives(method):
    """The Hessian by theta against differences of the gradient."""
    y, theta, *others = (tf.constant(x) for x in arguments())

    def slope(theta):
        with tf.GradientTape() as tape:
            tape.watch(theta)
            value = total(method, False, y, theta, *others)
        return tape.gradient(value, theta)

    @tf.function
    def both(theta, direction):
        with tf.GradientTape() as tape:
            tape.watch(theta)
            along = tf.reduce_sum(slope(theta) * direction)
        return along, tape.gradient(along, theta)

    direction = tf.constant([0.6, -0.3], tf.float64)
    _, got = both(theta, direction)
    for i, unit in enumerate(np.eye(2)):
        expected = finite_differences.directional(
            lambda x: both(x, direction)[0], [theta], [unit], 1e-4
        )
        np.testing.assert_allclose(got[i], expected, rtol=1e-7)


@pytest.mark.parametrize("method", METHODS)
def test_variables_and_keras_layers(method):
    """No gradient is None, in float32 with layers that broadcast over points and series."""
    dense = tf.keras.layers.Dense(2, activation="tanh")
    variable = tf.Variable([0.7])
    y = tf.constant(PENDULUM.simulate(np.random.default_rng(0), (3,), 2), tf.float32)
    dense(tf.zeros([1, 2]))
    sources = [*dense.trainable_variables, variable]
    with tf.GradientTape() as tape:
        built = ss.NonlinearGaussianSSM(
            dense,
            0.1 * tf.eye(2),
            lambda x: variable * x[..., :1],
            [[0.3]],
            tf.zeros(2),
            tf.eye(2),
        )
        options = {"iterations": 2} if method == "iterated" else {}
        result = ss.nonlinear_filter(built, y, method=method, **options)
        loss = -tf.reduce_sum(result.log_likelihood)
    for source, x in zip(sources, tape.gradient(loss, sources), strict=True):
        assert x is not None, source.name
        assert np.all(np.isfinite(x))
        assert np.any(x != 0.0)


def test_jacobians_of_the_users_are_used_and_give_the_same():
    """Analytic Jacobians: value and gradient are those by automatic differentiation."""
    y, theta, loading, *scales = (tf.constant(x) for x in arguments())
    calls = []

    def built(theta, with_jacobians):
        def transition(x):
            angle, speed = x[..., 0], x[..., 1]
            return tf.stack([angle + theta[1] * speed, speed - theta[0] * tf.sin(angle)], axis=-1)

        def transition_jacobian(x):
            calls.append("transition")
            one = tf.ones_like(x[..., 0])
            rows = [[one, theta[1] * one], [-theta[0] * tf.cos(x[..., 0]), one]]
            return tf.stack([tf.stack(row, axis=-1) for row in rows], axis=-2)

        def observation_jacobian(x, step):
            calls.append("observation")
            slope = loading * tf.cos(x[..., :1])
            return tf.stack([slope, tf.zeros_like(slope)], axis=-1)

        jacobians = (transition_jacobian, observation_jacobian) if with_jacobians else ()
        g, *others = scales
        return ss.NonlinearGaussianSSM(
            transition, g, lambda x: loading * tf.sin(x[..., :1]), *others, *jacobians
        )

    results = []
    for with_jacobians in (True, False):

        def value(theta, with_jacobians=with_jacobians):
            return tf.reduce_sum(ss.nonlinear_filter(built(theta, with_jacobians), y)[0])

        value_and_gradient = tf.function(functools.partial(gradient, value))
        results.append(tf.nest.flatten(value_and_gradient([theta])))
    assert set(calls) == {"transition", "observation"}
    for x, z in zip(*results, strict=True):
        np.testing.assert_allclose(x, z, rtol=1e-12)
