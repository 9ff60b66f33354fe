"""tf.vectorized_map: the loop becomes one more batch axis, for every op and its gradient."""

import logging

import numpy as np
import pytest
import tensorflow as tf
from contracts.operators import OPERATORS, REPRESENTATIVES
from contracts.table import outputs

from statespace import config

every_operator = pytest.mark.parametrize("operator", OPERATORS, ids=lambda op: op.name)
representatives = pytest.mark.parametrize("operator", REPRESENTATIVES, ids=lambda op: op.name)
needs_native = pytest.mark.skipif(
    not config.native_available(), reason="the compiled library is not available"
)


def mapped(function, arguments):
    """vectorized_map without its fallback to a loop."""
    return tf.vectorized_map(lambda x: function(*x), arguments, fallback_to_while_loop=False)


def with_gradient(operator):
    """The operator's outputs, and the gradient of the sum of their squares."""

    def function(*arguments):
        with tf.GradientTape() as tape:
            tape.watch(arguments)
            results = outputs(operator.apply(*arguments))
            value = tf.add_n([tf.reduce_sum(tf.square(x)) for x in results])
        return *results, *tape.gradient(value, arguments)

    return function


def assert_same(got, expected):
    for x, y in zip(tf.nest.flatten(got), tf.nest.flatten(expected), strict=True):
        assert x.shape == y.shape
        np.testing.assert_allclose(x, y, rtol=1e-12, atol=1e-12)


@needs_native
@every_operator
@pytest.mark.parametrize("batch", [(), (2, 3)])
def test_equals_a_loop(operator, batch):
    arguments = operator.make(np.random.default_rng(0), (4, *batch), np.float64)
    variables = [tf.constant(x) for x in arguments]
    function = with_gradient(operator)
    members = [function(*(x[i] for x in variables)) for i in range(4)]
    expected = [tf.stack(x) for x in zip(*members, strict=True)]
    assert_same(mapped(function, variables), expected)


@needs_native
@representatives
def test_each_argument_alone_is_mapped(operator):
    """The others are shared by all iterations, and have more or fewer batch axes."""
    rng = np.random.default_rng(1)
    function = with_gradient(operator)
    for which in range(len(operator.core_dims)):
        for inner, other in (((), (2,)), ((3, 1), (2,)), ((2,), (3, 1))):
            inner_arguments = operator.make(rng, (4, *inner), np.float64)
            arguments = [tf.constant(x) for x in operator.make(rng, other, np.float64)]

            def at(x, arguments=arguments, which=which):
                return function(*arguments[:which], x, *arguments[which + 1 :])

            members = [at(x) for x in tf.unstack(inner_arguments[which])]
            expected = [tf.stack(x) for x in zip(*members, strict=True)]
            assert_same(mapped(at, [tf.constant(inner_arguments[which])]), expected)


@needs_native
@representatives
def test_nested(operator):
    arguments = [
        tf.constant(x) for x in operator.make(np.random.default_rng(2), (2, 3), np.float64)
    ]
    function = with_gradient(operator)
    got = mapped(lambda *x: mapped(function, list(x)), arguments)
    members = [[function(*(x[i, j] for x in arguments)) for j in range(3)] for i in range(2)]
    expected = [
        tf.stack([tf.stack([members[i][j][k] for j in range(3)]) for i in range(2)])
        for k in range(len(members[0][0]))
    ]
    assert_same(got, expected)


@needs_native
@representatives
@pytest.mark.parametrize("jit", [False, True])
def test_unknown_static_shapes(operator, jit):
    arguments = operator.make(np.random.default_rng(3), (4, 2), np.float64)
    function = with_gradient(operator)
    expected = mapped(function, [tf.constant(x) for x in arguments])
    signature = [tf.TensorSpec([None] * x.ndim, tf.float64) for x in arguments]
    compiled = tf.function(
        lambda *x: mapped(function, list(x)), input_signature=signature, jit_compile=jit
    )
    assert_same(compiled(*arguments), expected)


@needs_native
@representatives
def test_unknown_rank(operator):
    arguments = operator.make(np.random.default_rng(3), (4, 2), np.float64)
    expected = mapped(operator.apply, [tf.constant(x) for x in arguments])
    signature = [tf.TensorSpec(None, tf.float64) for _ in arguments]
    function = tf.function(lambda *x: mapped(operator.apply, list(x)), input_signature=signature)
    assert_same(function(*arguments), expected)


@needs_native
@representatives
def test_no_iterations(operator):
    arguments = operator.make(np.random.default_rng(4), (1, 2), np.float64)
    signature = [tf.TensorSpec([None, *x.shape[1:]], tf.float64) for x in arguments]
    function = tf.function(lambda *x: mapped(operator.apply, list(x)), input_signature=signature)
    for got, full in zip(
        outputs(function(*(x[:0] for x in arguments))),
        outputs(function(*arguments)),
        strict=True,
    ):
        assert got.shape == (0, *full.shape[1:])


@needs_native
@representatives
def test_says_nothing(operator, caplog):
    arguments = operator.make(np.random.default_rng(5), (4,), np.float64)
    with caplog.at_level(logging.DEBUG, logger="tensorflow"):
        tf.vectorized_map(
            lambda x: with_gradient(operator)(*x), [tf.constant(x) for x in arguments]
        )
    assert "while_loop" not in caplog.text


@representatives
def test_reference(operator):
    """It may fall back to a loop: TensorFlow has no rule for its own QR."""
    arguments = operator.make(np.random.default_rng(6), (3,), np.float64)
    config.use_native(False)
    try:
        expected = operator.apply(*arguments)
        got = tf.vectorized_map(lambda x: operator.apply(*x), [tf.constant(x) for x in arguments])
    finally:
        config.use_native(True)
    assert_same(got, expected)
