"""The parallel-in-time form against the dense Gaussian, the covariance form, finite differences."""

import functools

import numpy as np
import pytest
import tensorflow as tf
from kalman.models import (
    NAMES,
    build,
    dense,
    floating,
    random_data,
    random_parameters,
    tensors,
)
from oracles import dense as oracle
from oracles import finite_differences

import statespace as ss

T = 6
likelihood, kalman_filter, smoother = (
    functools.partial(infer, algorithm="parallel")
    for infer in (ss.log_likelihood, ss.kalman_filter, ss.kalman_smoother)
)


def close(x, expected, tolerance=1e-11):
    np.testing.assert_allclose(x, expected, rtol=tolerance, atol=tolerance)


def assert_same(ssm, y, tolerance):
    """All outputs of both passes, relative to the largest entry of each."""
    for infer in (ss.kalman_filter, ss.kalman_smoother):
        result, expected = infer(ssm, y, algorithm="parallel"), infer(ssm, y)
        assert not np.any(result.info)
        for x, z in zip(tensors(result), tensors(expected), strict=True):
            scale = max(np.max(np.abs(z), initial=0.0), 1e-3)
            assert x.shape == z.shape
            assert np.all(np.abs(x - z) <= tolerance * scale), infer.__name__


CASES = {  # batch of the data, lead of per-step parameters, batch of initial ones, n, m, k
    "one series": ((), (), (), 2, 1, 2),
    "time-varying": ((), (T,), (), 3, 2, 2),
    "per series": ((5,), (5, 1), (5,), 4, 1, 2),
    "two batch axes": ((2, 3), (3, T), (2, 1), 2, 2, 2),
    "more components than states": ((2,), (T,), (), 1, 3, 1),
    "no noise in any state": ((2,), (), (), 3, 2, 0),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_against_dense(case):
    batch, lead, initial, n, m, k = case
    rng = np.random.default_rng(0)
    parameters = random_parameters(rng, n, m, k=k, lead=lead, batch=initial)
    y = random_data(rng, batch, T, m)
    ssm = build(parameters)
    per_step = likelihood(ssm, y, per_step=True).numpy()
    filtered, smoothed = kalman_filter(ssm, y), smoother(ssm, y)
    close(likelihood(ssm, y), np.sum(per_step, axis=-1))
    assert per_step.shape == (*batch, T)
    for item in np.ndindex(*batch):
        model = dense(parameters, item, batch, T)
        for t in range(T):
            at = (*item, t)
            seen = np.where(np.arange(T)[:, None] <= t, y[item], np.nan)
            close(np.sum(per_step[item][: t + 1]), oracle.log_likelihood(model, seen))
            mean, covariance = oracle.posterior(model, seen)
            close(filtered.filtered_mean.numpy()[at], mean[t])
            close(filtered.filtered_covariance.numpy()[at], covariance[t, :, t])
        mean, covariance = oracle.posterior(model, y[item])
        close(smoothed.smoothed_mean.numpy()[item], mean)
        for t in range(T):
            close(smoothed.smoothed_covariance.numpy()[item][t], covariance[t, :, t])
        for t in range(T - 1):
            close(smoothed.lag_one_covariance.numpy()[item][t], covariance[t + 1, :, t])


@pytest.mark.parametrize("num_steps", [1, 2, 7])
def test_every_output_equals_the_covariance_form(num_steps):
    rng = np.random.default_rng(1)
    parameters = random_parameters(rng, 3, 2, k=1, lead=(4, num_steps), batch=(4,))
    assert_same(build(parameters), random_data(rng, (4,), num_steps, 2), 1e-12)


def test_long_series():
    rng = np.random.default_rng(2)
    parameters = random_parameters(rng, 4, 2, k=2, lead=(2000,))
    assert_same(build(parameters), random_data(rng, (2,), 2000, 2), 1e-12)


def test_long_series_with_singular_covariances():
    """A trend, a seasonal pattern without noise, and a state that is known from the start."""
    f = np.zeros((6, 6))
    f[:2, :2] = [[1.0, 1.0], [0.0, 1.0]]
    f[2, 2:5], f[3, 2], f[4, 3], f[5, 5] = -1.0, 1.0, 1.0, 1.0
    start = np.diag([30.0, 1.0, 5.0, 5.0, 5.0, 0.0])
    ssm = ss.LinearGaussianSSM(
        f,
        np.eye(6)[:, :2] * [0.3, 0.02],
        [[1.0, 0.0, 1.0, 0.0, 0.0, 1.0]],
        [[1.0]],
        np.ones(6),
        start,
    )
    y = np.random.default_rng(3).normal(size=(2000, 1)).cumsum(axis=0) / 10
    y[5:9] = y[700:900] = np.nan
    assert_same(ssm, y, 1e-10)


def test_smoothed_covariance_after_a_vague_start():
    """Two diffuse states but for rounding: the limit, kappa -> infinity, is that of regression."""
    f, h = np.array([[1.0, 1.0], [0.0, 1.0]]), [[1.0, 0.0]]
    ssm = ss.LinearGaussianSSM(f, np.zeros((2, 1)), h, [[1.0]], np.zeros(2), 1e3 * np.eye(2))
    result = smoother(ssm, np.zeros((8, 1)))
    x = np.stack([np.ones(8), np.arange(8.0)], axis=1)
    start = np.linalg.inv(x.T @ x + 1e-6 * np.eye(2))
    for t in range(8):
        power = np.linalg.matrix_power(f, t)
        close(result.smoothed_covariance[t], power @ start @ power.T, 1e-10)


def setup(batch=(3,), seed=0, num_steps=5):
    rng = np.random.default_rng(seed)
    parameters = random_parameters(rng, 3, 2, k=2, lead=(*batch, num_steps), batch=batch)
    return parameters, random_data(rng, batch, num_steps, 2)


def moments(infer, weights):
    """A scalar that depends on every output."""

    def total(ssm, y):
        terms = tensors(infer(ssm, y))
        return tf.add_n(
            [w * tf.reduce_sum(tf.sin(x)) for w, x in zip(weights, terms, strict=False)]
        )

    return total


def gradients(function, parameters, y):
    variables = [tf.constant(parameters[name]) for name in NAMES] + [tf.constant(y)]
    with tf.GradientTape() as tape:
        tape.watch(variables)
        value = function(build(dict(zip(NAMES, variables[:-1], strict=True))), variables[-1])
    return tape.gradient(value, variables)


@pytest.mark.parametrize(
    ("infer", "outputs"),
    [(likelihood, 1), (kalman_filter, 7), (smoother, 4)],
    ids=["log_likelihood", "kalman_filter", "kalman_smoother"],
)
def test_gradient_of_each_parameter(infer, outputs):
    parameters, y = setup()
    total = moments(infer, np.random.default_rng(1).normal(size=outputs))
    got = gradients(total, parameters, y)
    for name, gradient in zip((*NAMES, "y"), got, strict=True):
        direction = np.random.default_rng(2).normal(size=gradient.shape)

        def moved(x, name=name):
            changed = parameters if name == "y" else parameters | {name: x}
            return total(build(changed), x if name == "y" else y)

        start = y if name == "y" else parameters[name]
        expected = finite_differences.directional(moved, [start], [direction])
        assert np.all(np.isfinite(gradient)), name
        scale = np.sum(np.abs(gradient * direction))
        assert abs(np.sum(gradient * direction) - expected) < 1e-7 * scale, name


def test_missing_entries_have_no_gradient():
    parameters, y = setup()
    missing = np.isnan(y)
    for name in ("observation_matrix", "observation_scale"):
        parameters[name] = np.where(missing[..., None], np.nan, parameters[name])
    parameters["observation_offset"] = np.where(missing, np.nan, parameters["observation_offset"])
    got = dict(zip((*NAMES, "y"), gradients(likelihood, parameters, y), strict=True))
    for name, gradient in got.items():
        assert np.all(np.isfinite(gradient)), name
    for name in ("observation_matrix", "observation_scale", "observation_offset", "y"):
        np.testing.assert_array_equal(got[name].numpy()[missing], 0.0)
    assert np.all(got["y"].numpy()[~missing] != 0.0)


def test_second_derivative():
    parameters, y = setup(batch=(2,), num_steps=4)
    f = parameters["transition_matrix"]
    direction = np.random.default_rng(3).normal(size=f.shape)

    def slope(f):
        with tf.GradientTape() as tape:
            tape.watch(f)
            value = tf.reduce_sum(likelihood(build(parameters | {"transition_matrix": f}), y))
        return tf.reduce_sum(tape.gradient(value, f) * direction)

    f = tf.constant(f)
    with tf.GradientTape() as tape:
        tape.watch(f)
        value = slope(f)
    got = np.sum(tape.gradient(value, f) * direction)
    expected = finite_differences.directional(slope, [f], [direction])
    np.testing.assert_allclose(got, expected, rtol=1e-6)


@pytest.mark.parametrize("poison", ["singular", "nan", "inf", "huge"])
def test_failure_stays_within_its_series(poison):
    parameters, y = setup(batch=(4,))
    y = np.random.default_rng(4).normal(size=y.shape)
    expected = [kalman_filter(build(parameters), y), smoother(build(parameters), y)]
    if poison == "singular":
        parameters["observation_scale"][2, 3] = 0.0
        parameters["observation_matrix"][2, 3] = 0.0
    elif poison == "huge":
        y[2, 3, 0] = 1e200
    else:
        parameters["transition_matrix"][2, 2, 0, 1] = float(poison)  # leads to step 3
    for infer, fine in zip((kalman_filter, smoother), expected, strict=True):
        result = infer(build(parameters), y)
        np.testing.assert_array_equal(result.info, [0, 0, 4, 0])
        for x, z in zip(floating(result), floating(fine), strict=True):
            assert np.all(np.isnan(x[2]))
            np.testing.assert_array_equal(np.delete(x, 2, axis=0), np.delete(z, 2, axis=0))

    def others(ssm, y):
        return tf.reduce_sum(tf.gather(likelihood(ssm, y), [0, 1, 3]))

    for name, gradient in zip((*NAMES, "y"), gradients(others, parameters, y), strict=True):
        assert np.all(np.isfinite(gradient)), name
        np.testing.assert_array_equal(gradient[2], 0.0, err_msg=name)


@pytest.mark.parametrize("mode", ["unknown shapes", "jit"])
def test_graph(mode):
    parameters, y = setup()
    expected = [smoother(build(parameters), y), gradients(likelihood, parameters, y)]

    def run(y, *values):
        with tf.GradientTape() as tape:
            tape.watch([*values, y])
            ssm = build(dict(zip(NAMES, values, strict=True)))
            value = likelihood(ssm, y)
        return smoother(ssm, y), tape.gradient(value, [*values, y])

    operands = [tf.constant(x) for x in (y, *(parameters[name] for name in NAMES))]
    signature = [tf.TensorSpec([None] * x.shape.rank, x.dtype) for x in operands]
    function = (
        tf.function(run, jit_compile=True)
        if mode == "jit"
        else tf.function(run, input_signature=signature)
    )
    for x, z in zip(tensors(function(*operands)), tensors(expected), strict=True):
        close(x, z)


def test_no_steps_and_no_series():
    parameters = random_parameters(np.random.default_rng(5), 2, 1)
    for y in (np.zeros((3, 0, 1)), np.zeros((0, 4, 1))):
        for infer in (ss.log_likelihood, ss.kalman_filter, ss.kalman_smoother):
            results = infer(build(parameters), y, algorithm="parallel"), infer(build(parameters), y)
            for x, z in zip(*map(tensors, results), strict=True):
                np.testing.assert_array_equal(x, z)


def test_float32():
    rng = np.random.default_rng(6)
    parameters = random_parameters(rng, 4, 2, lead=(9, 20), batch=(9,))
    y = random_data(rng, (9,), 20, 2)
    result = smoother(build(parameters, tf.float32), y.astype(np.float32))
    for x, z in zip(
        tensors(result), tensors(ss.kalman_smoother(build(parameters), y)), strict=True
    ):
        assert x.dtype == (tf.float32 if z.dtype == tf.float64 else z.dtype)
        np.testing.assert_allclose(x, z, rtol=1e-4, atol=1e-4)
