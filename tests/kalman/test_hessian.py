"""Hessians by ``tape.jacobian`` of a gradient: all rows at once, by TensorFlow's vectorisation."""

import logging

import numpy as np
import pytest
import tensorflow as tf
from kalman.models import build, random_data, random_parameters
from oracles import finite_differences

import statespace as ss
from statespace import config

pytestmark = pytest.mark.skipif(
    not config.native_available(), reason="the compiled library is not available"
)

T = 4
NAMES = ("transition_matrix", "observation_scale", "initial_mean")
CASES = [  # each form eagerly or in a graph, with a single series or a batch
    pytest.param("covariance", None, (), False, id="covariance"),
    pytest.param("square_root", None, (2,), True, id="square_root", marks=pytest.mark.slow),
    pytest.param("univariate", None, (), True, id="univariate", marks=pytest.mark.slow),
    pytest.param("univariate", [True, False], (2,), False, id="diffuse", marks=pytest.mark.slow),
]


class Problem:
    """The log-likelihood of a model as a function of three of its parameters."""

    def __init__(self, batch=(), algorithm="covariance", diffuse=None):
        rng = np.random.default_rng(0)
        self.fixed = random_parameters(rng, 2, 1, k=1, batch=batch)  # noise of lower rank
        self.arguments = [tf.constant(self.fixed[name]) for name in NAMES]
        self.y = tf.constant(random_data(rng, batch, T, 1))
        self.algorithm, self.diffuse = algorithm, diffuse

    def value(self, *arguments, y=None):
        model = build(self.fixed | dict(zip(NAMES, arguments, strict=True)))
        parameters = {name: getattr(model, name) for name in self.fixed}
        model = ss.LinearGaussianSSM(**parameters, diffuse=self.diffuse)
        y = self.y if y is None else y
        return tf.reduce_sum(ss.log_likelihood(model, y, algorithm=self.algorithm))

    def gradient(self, *arguments, y=None):
        """Of all parameters, as one vector."""
        arguments = [tf.convert_to_tensor(x) for x in arguments]
        with tf.GradientTape() as tape:
            tape.watch(arguments)
            value = self.value(*arguments, y=y)
        return _flat(tape.gradient(value, arguments))

    def hessian(self, *arguments, y=None):
        with tf.GradientTape() as tape:
            tape.watch(arguments)
            gradient = self.gradient(*arguments, y=y)
        rows = tape.jacobian(gradient, arguments)
        return tf.concat([tf.reshape(x, [tf.shape(x)[0], -1]) for x in rows], axis=1)


def _flat(tensors):
    return tf.concat([tf.reshape(x, [-1]) for x in tensors], axis=0)


def _differences(function, arguments):
    """Jacobian of a function that returns a vector."""
    columns = len(_flat(arguments))
    rows = [
        _flat(finite_differences.gradient(lambda *x, i=i: function(*x)[i], arguments))
        for i in range(len(function(*arguments)))
    ]
    return np.reshape(rows, (-1, columns))


def _assert_close(got, expected, tolerance):
    scale = np.max(np.abs(expected))
    np.testing.assert_allclose(got, expected, rtol=0, atol=tolerance * scale)


@pytest.mark.parametrize(("algorithm", "diffuse", "batch", "graph"), CASES)
def test_hessian_against_finite_differences(algorithm, diffuse, batch, graph, caplog):
    """One parameter is of each series its own, the others are shared and get sums."""
    problem = Problem(batch, algorithm, diffuse)
    hessian = tf.function(problem.hessian) if graph else problem.hessian
    with caplog.at_level(logging.WARNING, logger="tensorflow"):
        got = hessian(*problem.arguments)
    assert "while_loop" not in caplog.text
    # Differences of a gradient good to 1e-14, with a step of 1e-5.
    _assert_close(got, _differences(problem.gradient, problem.arguments), 1e-8)
    _assert_close(got, tf.transpose(got), 1e-12)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("algorithm", "diffuse"),
    [
        ("square_root", None),
        ("univariate", [True, False]),
    ],
)
def test_second_derivatives_in_xla(algorithm, diffuse):
    """Of a batch that shares parameters: what is broadcast must be so outside of the loops."""
    problem = Problem((2,), algorithm, diffuse)

    def product(*arguments):
        """Of the Hessian with a vector."""
        with tf.GradientTape() as tape:
            tape.watch(arguments)
            gradient = problem.gradient(*arguments)
            total = tf.tensordot(gradient, tf.constant(np.linspace(1.0, 2.0, gradient.shape[0])), 1)
        return _flat(tape.gradient(total, arguments))

    got = tf.function(product, jit_compile=True)(*problem.arguments)
    _assert_close(got, product(*problem.arguments), 1e-12)


def test_hessian_of_data_of_unknown_size():
    problem = Problem((2,))
    spec = tf.TensorSpec([None, None, 1], tf.float64)
    function = tf.function(lambda y: problem.hessian(*problem.arguments, y=y), [spec])
    expected = _differences(problem.gradient, problem.arguments)
    _assert_close(function(problem.y), expected, 1e-8)


@pytest.mark.slow
def test_hessians_of_many_models():
    """A loop in a loop: both are vectorised."""
    problem = Problem()
    transition, scale, mean = problem.arguments
    scales = scale * tf.reshape(tf.constant([0.5, 1.0], tf.float64), [2, 1, 1])
    got = tf.vectorized_map(
        lambda scale: problem.hessian(transition, scale, mean),
        scales,
        fallback_to_while_loop=False,
    )
    for item in range(2):
        expected = _differences(problem.gradient, (transition, scales[item], mean))
        _assert_close(got[item], expected, 1e-8)


def test_second_derivatives_of_many_models():
    problem = Problem()
    scales = problem.arguments[1] * tf.reshape(tf.constant([0.5, 1.0, 2.0], tf.float64), [3, 1, 1])

    def slope(scale):
        return problem.gradient(problem.arguments[0], scale, problem.arguments[2])[4]

    def curvature(scale):
        with tf.GradientTape() as tape:
            tape.watch(scale)
            value = slope(scale)
        return tape.gradient(value, scale)

    got = tf.vectorized_map(curvature, scales, fallback_to_while_loop=False)
    for item in range(3):
        (expected,) = finite_differences.gradient(slope, [scales[item]])
        _assert_close(got[item], expected, 1e-8)


@pytest.mark.slow
def test_derivative_of_a_hessian():
    """As where log det of the information is maximised."""
    problem = Problem()
    transition, scale, mean = problem.arguments

    @tf.function
    def total(scale):
        return tf.reduce_sum(tf.sin(problem.hessian(transition, scale, mean)))

    @tf.function
    def derivative(scale):
        with tf.GradientTape() as tape:
            tape.watch(scale)
            value = total(scale)
        return tape.gradient(value, scale)

    (expected,) = finite_differences.gradient(total, [scale])
    _assert_close(derivative(scale), expected, 1e-8)


def test_jacobian_of_moments_without_a_compiled_gradient():
    problem = Problem((2,), "square_root")

    def moments(scale):
        model = build(problem.fixed | {"observation_scale": scale})
        result = ss.kalman_filter(model, problem.y, algorithm="square_root")
        return _flat([result.filtered_mean, result.predicted_scale])

    def jacobian(scale):
        with tf.GradientTape() as tape:
            tape.watch(scale)
            value = moments(scale)
        return tape.jacobian(value, scale)

    scale = problem.arguments[1]
    got = jacobian(scale)
    _assert_close(got[:, :, 0], _differences(moments, [scale]), 1e-8)
