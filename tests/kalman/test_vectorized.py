"""The Kalman ops under tf.vectorized_map and jacobian."""

import itertools
import logging

import numpy as np
import pytest
import tensorflow as tf
from kalman.models import NAMES, build, random_data, random_parameters

import statespace as ss
from statespace import config

pytestmark = pytest.mark.skipif(
    not config.native_available(), reason="the compiled library is not available"
)


FORMS = [name for name in ss.kalman.ALGORITHMS if name not in ("auto", "reference")]


def value_and_gradients(y, parameters, algorithm="auto"):
    with tf.GradientTape() as tape:
        tape.watch(parameters)
        value = ss.log_likelihood(build(parameters), y, algorithm=algorithm)
        total = tf.reduce_sum(value)
    return value, tape.gradient(total, parameters)


def cases():
    """One form in all cases by default, the others in those that differ in what is mapped."""
    mapped = ("data", "model", "transition_offset", "initial_scale")
    for case in itertools.product(FORMS, mapped, ((), (2,)), ((), (4,))):
        quick = case[0] == "covariance" or case[2:] == ((2,), ())
        yield pytest.param(*case, marks=[] if quick else pytest.mark.slow)


@pytest.mark.parametrize(("algorithm", "mapped", "batch", "lead"), cases())
def test_likelihood_and_gradient_equal_a_loop(algorithm, mapped, batch, lead):
    """What is not mapped is shared, and its gradient is each iteration's own."""
    rng = np.random.default_rng(0)
    y = tf.constant(random_data(rng, (3, *batch), 4, 2))
    models = [random_parameters(rng, 3, 2, lead=lead) for _ in range(3)]
    stacked = {name: tf.constant(np.stack([x[name] for x in models])) for name in NAMES}
    names = NAMES if mapped == "model" else [mapped] if mapped in NAMES else []
    shared = {name: tf.constant(models[0][name]) for name in NAMES if name not in names}

    def function(elements):
        data, own = elements
        data = data if mapped in ("data", "model") else y[0]
        return value_and_gradients(data, shared | own, algorithm)

    elements = (y, {name: stacked[name] for name in names})
    got = tf.vectorized_map(function, elements, fallback_to_while_loop=False)
    members = [function(tf.nest.map_structure(lambda x, i=i: x[i], elements)) for i in range(3)]
    expected = tf.nest.map_structure(lambda *x: tf.stack(x), *members)
    for x, z in zip(tf.nest.flatten(got), tf.nest.flatten(expected), strict=True):
        assert x.shape == z.shape
        np.testing.assert_allclose(x, z, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("graph", [False, True])
@pytest.mark.parametrize("algorithm", FORMS)
def test_jacobian_of_the_likelihoods(algorithm, graph, caplog):
    rng = np.random.default_rng(1)
    y = tf.constant(random_data(rng, (3,), 4, 2))
    parameters = {k: tf.constant(v) for k, v in random_parameters(rng, 3, 2).items()}

    def jacobian(parameters):
        with tf.GradientTape() as tape:
            tape.watch(parameters)
            value = ss.log_likelihood(build(parameters), y, algorithm=algorithm)
        return tape.jacobian(value, parameters)

    with caplog.at_level(logging.WARNING, logger="tensorflow"):
        got = (tf.function(jacobian) if graph else jacobian)(parameters)
    assert "while_loop" not in caplog.text
    for item in range(3):
        _, expected = value_and_gradients(y[item], parameters, algorithm)
        for name in NAMES:
            np.testing.assert_allclose(got[name][item], expected[name], rtol=1e-10, atol=1e-10)
