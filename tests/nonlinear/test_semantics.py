"""Missing data, failures, shapes, compilers and messages."""

import numpy as np
import pytest
import tensorflow as tf
from nonlinear.problems import PROBLEMS

import statespace as ss
from statespace.nonlinear import METHODS

PENDULUM = PROBLEMS["pendulum"]


def tensors(result):
    return [x for x in result if x is not None]


def assert_equal(results, expected, tolerance=1e-13):
    for x, z in zip(results, expected, strict=True):
        assert x.shape == z.shape
        np.testing.assert_allclose(x, z, rtol=tolerance, atol=tolerance)


def everything(y, method="extended", model=None, **options):
    if method == "iterated":
        options |= {"iterations": 2}
    model = PENDULUM.model(y.dtype) if model is None else model
    return [
        *tensors(ss.nonlinear_filter(model, y, method=method, **options)),
        *tensors(ss.nonlinear_smoother(model, y, method=method, **options)),
    ]


@pytest.mark.parametrize("method", ["extended", "cubature"])
def test_mask_lengths_and_nan_agree(method):
    y = PENDULUM.simulate(np.random.default_rng(0), (2,), 4)
    gaps = y.copy()
    gaps[0, 2:] = np.nan
    gaps[1, 1] = np.nan
    mask = np.ones((2, 4), bool)
    mask[1, 1] = False
    y = np.where(np.isnan(gaps), 1e6, y)
    expected = everything(tf.constant(gaps), method)
    assert_equal(everything(tf.constant(y), method, mask=mask, lengths=[2, 4]), expected)


@pytest.mark.parametrize(
    "method", ["extended", *(pytest.param(x, marks=pytest.mark.slow) for x in METHODS[1:])]
)
def test_graph_with_unknown_sizes_equals_eager(method):
    signature = [tf.TensorSpec([None, None, 1], tf.float64)]
    compiled = tf.function(lambda y: everything(y, method), input_signature=signature)
    for batch, steps in ((2, 2), (1, 3)):
        y = tf.constant(PENDULUM.simulate(np.random.default_rng(1), (batch,), steps))
        assert_equal(compiled(y), everything(y, method), 1e-12)


def value_and_gradient(method, theta, y):
    options = {"iterations": 2} if method == "iterated" else {}
    with tf.GradientTape() as tape:
        tape.watch([theta, y])
        model = PENDULUM.model(observation_scale=theta * PENDULUM.c)
        filtered = ss.nonlinear_filter(model, y, method=method, **options)
        smoothed = ss.nonlinear_smoother(model, y, method=method, **options)
        loss = tf.reduce_sum(filtered.log_likelihood) + tf.reduce_sum(smoothed.smoothed_mean)
    return [*tensors(filtered), *tensors(smoothed), *tape.gradient(loss, [theta, y])]


def test_filter_in_xla():
    y = tf.constant(PENDULUM.simulate(np.random.default_rng(2), (3,), 4))
    model = PENDULUM.model()
    function = tf.function(lambda y: ss.nonlinear_filter(model, y)[:8], jit_compile=True)
    assert_equal(function(y), ss.nonlinear_filter(model, y)[:8], 1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_xla_equals_graph(method):
    y = PENDULUM.simulate(np.random.default_rng(2), (3,), 4)
    y[1, 2] = np.nan
    given = (method, tf.constant(1.0, tf.float64), tf.constant(y))
    expected = tf.function(value_and_gradient)(*given)
    assert_equal(tf.function(value_and_gradient, jit_compile=True)(*given), expected, 1e-12)


def test_size_of_the_graph_does_not_grow_with_the_series():
    def nodes(num_steps):
        y = tf.zeros([2, num_steps, 1], tf.float64)
        function = tf.function(lambda: ss.nonlinear_filter(PENDULUM.model(), y).log_likelihood)
        graph = function.get_concrete_function().graph.as_graph_def()
        return len(graph.node) + sum(len(x.node_def) for x in graph.library.function)

    assert nodes(3) == nodes(300)


@pytest.mark.parametrize("method", METHODS)
def test_batch_equals_its_members(method):
    y = PENDULUM.simulate(np.random.default_rng(3), (3,), 3)
    together = everything(tf.constant(y), method)
    alone = everything(tf.constant(y[1]), method)
    for x, z in zip(together, alone, strict=True):
        np.testing.assert_allclose(x[1], z, rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("method", METHODS)
def test_no_steps(method):
    result = everything(tf.zeros([2, 0, 1], tf.float64), method)
    np.testing.assert_array_equal(result[0], np.zeros(2))
    assert result[1].shape == (2, 0, 2)


@pytest.mark.parametrize("method", METHODS)
def test_float32(method):
    y = tf.constant(PENDULUM.simulate(np.random.default_rng(4), (2,), 5))
    for x, z in zip(everything(tf.cast(y, tf.float32), method), everything(y, method), strict=True):
        assert not x.dtype.is_floating or x.dtype == tf.float32
        np.testing.assert_allclose(x, z, rtol=2e-4, atol=2e-5)


def root_model(theta):
    """h = sqrt(theta x): NaN, and NaN its derivative, where x is negative."""
    return ss.NonlinearGaussianSSM(
        lambda x, controls: x + controls,
        [[0.1]],
        lambda x: tf.sqrt(theta * x),
        [[0.2]],
        [4.0],
        [[0.1]],
    )


@pytest.mark.parametrize(
    "compiled", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["eager", "graph"]
)
@pytest.mark.parametrize("method", METHODS)
def test_failing_series_spoils_no_other(method, compiled):
    """Status, NaN in all its outputs, and a clean gradient by what it shares with the others."""
    y = np.full((4, 3, 1), 2.0)
    y[2, 1] = np.inf
    controls = np.zeros((4, 3, 1))
    controls[1, 1] = -50.0  # leads to where h is not defined, at the third step
    controls[3, 0] = np.nan
    options = {"iterations": 2} if method == "iterated" else {}

    def run(y, controls):
        theta = tf.constant(1.3, tf.float64)
        with tf.GradientTape() as tape:
            tape.watch(theta)
            model = root_model(theta)
            filtered, smoothed = (
                infer(model, y, method=method, controls=controls, **options)
                for infer in (ss.nonlinear_filter, ss.nonlinear_smoother)
            )
            fine = tf.equal(filtered.info, 0)
            loss = tf.reduce_sum(tf.where(fine, filtered.log_likelihood, 0))
            means = smoothed.smoothed_mean
            loss += tf.reduce_sum(tf.where(fine[:, tf.newaxis, tf.newaxis], means, 0))
        return *tensors(filtered), *tensors(smoothed), filtered.info, tape.gradient(loss, theta)

    run = tf.function(run) if compiled else run
    *results, info, gradient = run(tf.constant(y), tf.constant(controls))
    harmless = tf.constant(np.full_like(y, 2.0)), tf.constant(np.zeros_like(controls))
    *healthy, _, expected = run(*harmless)
    np.testing.assert_array_equal(info, [0, 3, 2, 2])
    for x, z in zip(results, healthy, strict=True):
        np.testing.assert_array_equal(x[0], z[0])
        if x.dtype.is_floating:
            assert np.all(np.isnan(x[1:]))
    np.testing.assert_allclose(gradient, expected / 4.0, rtol=1e-12)


def test_singular_innovation_covariance_is_a_failure():
    """No noise, and an observation that does not depend on the state."""
    c = tf.constant([[[0.3]], [[0.0]]], tf.float64)[:, tf.newaxis]
    model = PENDULUM.model(observation_scale=c)
    model = ss.NonlinearGaussianSSM(
        lambda x: x, [[1.0]], lambda x: tf.zeros_like(x), c, [0.0], [[1.0]]
    )
    y = tf.zeros([2, 2, 1], tf.float64)
    for method in METHODS:
        result = ss.nonlinear_filter(model, y, method=method)
        np.testing.assert_array_equal(result.info, [0, 1])
        np.testing.assert_array_equal(np.isnan(result.log_likelihood), [False, True])
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"batch index \[1\].*step"):
        ss.nonlinear_filter(model, y, on_failure="raise")


def model_with(**changes):
    arguments = {
        "transition_fn": lambda x: x,
        "transition_scale": np.eye(2),
        "observation_fn": lambda x: x[..., :1],
        "observation_scale": [[1.0]],
        "initial_mean": [0.0, 0.0],
        "initial_scale": np.eye(2),
    }
    return ss.NonlinearGaussianSSM(**arguments | changes)


Y = np.zeros((3, 4, 1))
MESSAGES = {
    "observation_fn returned shape": (
        lambda: ss.nonlinear_filter(model_with(observation_fn=lambda x: x), Y),
        r"observation_fn returned shape \(3, 2\).*\[\.\.\., 1\]",
    ),
    "transition_fn mixes axes": (
        lambda: ss.nonlinear_filter(
            model_with(transition_fn=lambda x: tf.zeros([5, 2], tf.float64)), Y
        ),
        r"transition_fn returned shape \(5, 2\).*leading axes",
    ),
    "dtype": (
        lambda: ss.nonlinear_filter(model_with(transition_fn=lambda x: tf.cast(x, tf.float32)), Y),
        "transition_fn returned float32 for float64 states",
    ),
    "no tensor": (
        lambda: ss.nonlinear_filter(model_with(transition_fn=lambda x: None), Y),
        "transition_fn did not return a tensor",
    ),
    "jacobian": (
        lambda: ss.nonlinear_filter(model_with(observation_jacobian=lambda x: x), Y),
        r"observation_jacobian returned shape .*\[\.\.\., 1, 2\]",
    ),
    "parameter": (
        lambda: model_with(transition_fn=lambda x, t: x),
        "transition_fn has a parameter 't'",
    ),
    "not callable": (lambda: model_with(transition_fn=np.eye(2)), "transition_fn is a ndarray"),
    "scale": (
        lambda: model_with(transition_scale=np.eye(3)),
        r"initial_mean has shape \(2,\).*n = 3",
    ),
    "data": (lambda: ss.nonlinear_filter(model_with(), np.zeros((3, 4, 2))), "y has shape"),
    "steps": (
        lambda: ss.nonlinear_filter(model_with(observation_scale=np.ones((5, 1, 1))), Y),
        "observation_scale has shape .*time axis has 5 steps",
    ),
    "controls": (
        lambda: ss.nonlinear_filter(model_with(), Y, controls=np.zeros((4, 1))),
        "no function of the model takes it",
    ),
    "no controls": (
        lambda: ss.nonlinear_filter(model_with(transition_fn=lambda x, controls: x), Y),
        "controls is None",
    ),
    "method": (lambda: ss.nonlinear_filter(model_with(), Y, method="ekf"), "method is 'ekf'"),
    "option": (
        lambda: ss.nonlinear_filter(model_with(), Y, alpha=1.0),
        "alpha is for method 'unscented'",
    ),
    "iterations": (
        lambda: ss.nonlinear_filter(model_with(), Y, method="iterated", iterations=0),
        "iterations is 0",
    ),
    "alpha": (
        lambda: ss.nonlinear_smoother(model_with(), Y, method="unscented", alpha=0.0),
        "nonlinear_smoother: alpha = 0",
    ),
    "model": (lambda: ss.nonlinear_filter(None, Y), "model is a NoneType"),
}


@pytest.mark.parametrize("case", MESSAGES)
def test_messages(case):
    call, message = MESSAGES[case]
    with pytest.raises(ValueError, match=message):
        call()
