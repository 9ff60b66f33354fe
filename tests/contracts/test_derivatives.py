"""Every way TensorFlow has to differentiate: for each operator one number, however it is asked.

The gradients themselves are compared with finite differences in test_operators.py.
"""

import logging

import numpy as np
import pytest
import tensorflow as tf
from contracts.operators import OPERATORS, REPRESENTATIVES
from contracts.table import directions, loss, outputs

from statespace import config

needs_native = pytest.mark.skipif(
    not config.native_available(), reason="the compiled library is not available"
)
ZERO = tf.UnconnectedGradients.ZERO
every_operator = pytest.mark.parametrize("operator", OPERATORS, ids=lambda op: op.name)
representatives = pytest.mark.parametrize("operator", REPRESENTATIVES, ids=lambda op: op.name)


class Setup:
    """Arguments, weights of the outputs and directions of the arguments."""

    def __init__(self, operator, batch=(2,)):
        rng = np.random.default_rng(0)
        self.operator = operator
        self.arguments = [tf.constant(x) for x in operator.make(rng, batch, np.float64)]
        results = outputs(operator.apply(*self.arguments))
        self.weights = [tf.constant(rng.normal(size=x.shape)) for x in results]
        self.along = [tf.constant(x) for x in directions(operator, rng, self.arguments)]
        self.value = loss(operator, self.weights)

    def gradient(self, *arguments):
        with tf.GradientTape() as tape:
            tape.watch(arguments)
            value = self.value(*arguments)
        return tape.gradient(value, arguments)

    def slope(self, *arguments):
        return inner(self.gradient(*arguments), self.along)

    def curvature(self, *arguments):
        """Second derivative along ``along``, in reverse over reverse mode."""
        with tf.GradientTape() as tape:
            tape.watch(arguments)
            slope = self.slope(*arguments)
        return tape.gradient(slope, arguments, unconnected_gradients=ZERO)


def inner(x, y):
    return tf.add_n([tf.reduce_sum(a * b) for a, b in zip(x, y, strict=True)])


def assert_close(got, expected, tolerance=1e-10):
    for x, y in zip(tf.nest.flatten(got), tf.nest.flatten(expected), strict=True):
        assert x.shape == y.shape
        scale = max(1.0, np.max(np.abs(y), initial=0.0))
        np.testing.assert_allclose(x, y, rtol=0, atol=tolerance * scale)


@needs_native
@representatives
def test_forward_mode(operator):
    setup = Setup(operator)

    def forward(*arguments):
        with tf.autodiff.ForwardAccumulator(list(arguments), setup.along) as accumulator:
            results = outputs(operator.apply(*arguments))
        return [accumulator.jvp(x, unconnected_gradients=ZERO) for x in results]

    tangents = tf.function(forward)(*setup.arguments)
    assert_close(inner(tangents, setup.weights), setup.slope(*setup.arguments))


@needs_native
@representatives
def test_forward_over_reverse(operator):
    setup = Setup(operator)

    def forward(*arguments):
        with tf.autodiff.ForwardAccumulator(list(arguments), setup.along) as accumulator:
            gradients = setup.gradient(*arguments)
        return [accumulator.jvp(x, tf.UnconnectedGradients.ZERO) for x in gradients]

    product = forward(*setup.arguments)
    assert_close(inner(product, setup.along), inner(setup.curvature(*setup.arguments), setup.along))


@needs_native
@representatives
def test_reverse_over_forward(operator):
    setup = Setup(operator)
    with tf.GradientTape() as tape:
        tape.watch(setup.arguments)
        with tf.autodiff.ForwardAccumulator(setup.arguments, setup.along) as accumulator:
            value = setup.value(*setup.arguments)
        slope = accumulator.jvp(value, unconnected_gradients=ZERO)
    gradients = tape.gradient(slope, setup.arguments)
    expected = setup.curvature(*setup.arguments)
    assert_close(inner(gradients, setup.along), inner(expected, setup.along))


def jacobians(setup, *, pfor=True):
    def function(*arguments):
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(arguments)
            results = outputs(setup.operator.apply(*arguments))
        return [tape.jacobian(x, arguments, experimental_use_pfor=pfor) for x in results]

    return function


def contract(jacobian, setup):
    """The derivative of the weighted outputs along a direction, from their Jacobians."""
    total = 0.0
    for weights, row in zip(setup.weights, jacobian, strict=True):
        for x, along in zip(row, setup.along, strict=True):
            total += tf.tensordot(
                tf.tensordot(weights, x, weights.shape.rank), along, along.shape.rank
            )
    return total


@representatives
def test_jacobian(operator, native):
    setup = Setup(operator)
    for pfor in (True, False):
        jacobian = jacobians(setup, pfor=pfor)(*setup.arguments)
        assert_close(contract(jacobian, setup), setup.slope(*setup.arguments))


@needs_native
@representatives
@pytest.mark.parametrize("jit", [False, True])
def test_jacobian_in_a_function(operator, jit):
    setup = Setup(operator)
    jacobian = tf.function(jacobians(setup), jit_compile=jit)(*setup.arguments)
    assert_close(contract(jacobian, setup), setup.slope(*setup.arguments))


@needs_native
@representatives
def test_jacobian_of_unknown_shapes(operator):
    setup = Setup(operator)
    signature = [tf.TensorSpec([None] * x.shape.rank, x.dtype) for x in setup.arguments]
    function = tf.function(jacobians(setup), input_signature=signature)
    jacobian = function(*setup.arguments)
    assert_close(contract(jacobian, setup), setup.slope(*setup.arguments))


@needs_native
@representatives
def test_batch_jacobian(operator):
    setup = Setup(operator)
    first = setup.arguments[0]
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(first)
        results = outputs(operator.apply(first, *setup.arguments[1:]))
        # TensorFlow wants at least one axis beside the batch.
        results = [x if x.shape.rank > 1 else x[:, tf.newaxis] for x in results]
    for x in results:
        batched = tape.batch_jacobian(x, first, unconnected_gradients=ZERO)
        full = tape.jacobian(x, first, unconnected_gradients=ZERO)
        core = x.shape.rank
        for item in range(2):
            block = tf.gather(full[item], item, axis=core - 1)
            assert_close(batched[item], block)


@needs_native
@representatives
@pytest.mark.parametrize("graph", [False, True])
def test_hessian(operator, graph, caplog):
    """Not batched, as Hessians are: of the first argument, by pfor over the gradient."""
    setup = Setup(operator, batch=())
    first, rest = setup.arguments[0], setup.arguments[1:]

    def hessian(first):
        with tf.GradientTape() as outer:
            outer.watch(first)
            with tf.GradientTape() as tape:
                tape.watch(first)
                value = setup.value(first, *rest)
            gradient = tape.gradient(value, first)
        return outer.jacobian(gradient, first, unconnected_gradients=ZERO)

    with caplog.at_level(logging.WARNING, logger="tensorflow"):
        result = (tf.function(hessian) if graph else hessian)(first)
    assert "while_loop" not in caplog.text
    setup.along[1:] = [tf.zeros_like(x) for x in rest]
    along = setup.along[0]
    got = tf.tensordot(tf.tensordot(along, result, 2), along, 2)
    expected = tf.reduce_sum(setup.curvature(*setup.arguments)[0] * along)
    assert_close(got, expected)


@every_operator
def test_batch_equals_its_members_bit_for_bit(operator):
    setup = Setup(operator, batch=(11,))
    together = setup.gradient(*setup.arguments)
    for item in range(11):
        with tf.GradientTape() as tape:
            arguments = [x[item] for x in setup.arguments]
            tape.watch(arguments)
            results = outputs(operator.apply(*arguments))
        alone = tape.gradient(results, arguments, [x[item] for x in setup.weights])
        for x, y in zip(together, alone, strict=True):
            np.testing.assert_array_equal(x[item], y)


@needs_native
@representatives
def test_second_derivative_of_unknown_shapes(operator):
    setup = Setup(operator)
    expected = setup.curvature(*setup.arguments)
    for shape in ([None] * 3, None):
        signature = [tf.TensorSpec(shape, tf.float64) for _ in setup.arguments]
        function = tf.function(setup.curvature, input_signature=signature)
        assert_close(function(*setup.arguments), expected)


@needs_native
@representatives
def test_second_derivative_under_jit(operator):
    setup = Setup(operator)
    expected = setup.curvature(*setup.arguments)
    assert_close(tf.function(setup.curvature, jit_compile=True)(*setup.arguments), expected)


@representatives
def test_the_gradient_is_linear_also_at_a_zero_cotangent(operator, native):
    """Its derivative by the cotangent, at zero, is the derivative of the operator."""
    setup = Setup(operator)
    cotangents = [tf.zeros_like(w) for w in setup.weights]
    with tf.GradientTape() as outer:
        outer.watch(cotangents)
        with tf.GradientTape() as tape:
            tape.watch(setup.arguments)
            results = outputs(operator.apply(*setup.arguments))
        gradients = tape.gradient(results, setup.arguments, cotangents)
        total = inner(gradients, setup.along)
    tangents = outer.gradient(total, cotangents, unconnected_gradients=ZERO)
    expected = setup.slope(*setup.arguments)
    assert_close(inner(tangents, setup.weights), expected, 1e-9)
