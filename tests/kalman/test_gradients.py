"""Derivatives of the log-likelihood and of the moments."""

import functools

import numpy as np
import pytest
import tensorflow as tf
from kalman.models import NAMES, build, floating, random_data, random_parameters
from oracles import finite_differences
from slow import slow_reference

import statespace as ss
from statespace import config

T = 5

MOMENTS = [
    pytest.param(ss.kalman_filter, id="filter"),
    pytest.param(ss.kalman_smoother, id="smoother"),
    pytest.param(functools.partial(ss.kalman_smoother, lag_one=False), id="marginals"),
]
FORMS = [name for name in ss.kalman.ALGORITHMS if name not in ("auto", "reference")]


def setup(batch, n=3, m=2, k=2, seed=0):
    """Every parameter time-varying and per series, rank-deficient noise, missing data."""
    rng = np.random.default_rng(seed)
    parameters = random_parameters(rng, n, m, k=k, lead=(*batch, T), batch=batch)
    return parameters, random_data(rng, batch, T, m)


def gradients(function, parameters, y):
    variables = [tf.constant(parameters[name]) for name in NAMES] + [tf.constant(y)]
    with tf.GradientTape() as tape:
        tape.watch(variables)
        value = function(build(dict(zip(NAMES, variables[:-1], strict=True))), variables[-1])
    return tape.gradient(value, variables)


@pytest.mark.parametrize("batch", [(1,), (5,)])
@pytest.mark.parametrize("sizes", [(3, 2, 2), (2, 1, 1), (5, 3, 4)])
def test_every_parameter_against_finite_differences(batch, sizes):
    """The reference is compared with the compiled op elsewhere."""
    n, m, k = sizes
    parameters, y = setup(batch, n, m, k)
    weights = np.random.default_rng(1).normal(size=batch)

    def total(ssm, y):
        return tf.reduce_sum(weights * ss.log_likelihood(ssm, y))

    got = gradients(total, parameters, y)
    for which, name in enumerate((*NAMES, "y")):

        def shifted(direction, amount, name=name):
            moved, data = dict(parameters), y
            if name == "y":
                data = y + amount * direction
            else:
                moved[name] = moved[name] + amount * direction
            return float(total(build(moved), data))

        analytic = got[which].numpy()
        assert np.all(np.isfinite(analytic)), name
        for seed in range(2):
            direction = np.random.default_rng(seed).normal(size=analytic.shape)
            h = 1e-4
            near = shifted(direction, h) - shifted(direction, -h)
            far = shifted(direction, 2 * h) - shifted(direction, -2 * h)
            expected = (8 * near - far) / (12 * h)
            slope = np.sum(analytic * direction)
            scale = np.sum(np.abs(analytic * direction))
            assert abs(slope - expected) < 1e-7 * scale, name


def test_entry_by_entry_with_weights_per_step():
    parameters, y = setup((1,), 2, 2, 1)
    weights = np.random.default_rng(2).normal(size=(1, T))

    def total(ssm, y):
        return tf.reduce_sum(weights * ss.log_likelihood(ssm, y, per_step=True))

    got = gradients(total, parameters, y)[:-1]
    arguments = [parameters[name] for name in NAMES]
    expected = finite_differences.gradient(
        lambda *x: total(build(dict(zip(NAMES, x, strict=True))), y), arguments
    )
    for name, x, reference in zip(NAMES, got, expected, strict=True):
        scale = max(1.0, np.max(np.abs(reference)))
        np.testing.assert_allclose(x, reference, rtol=0, atol=1e-8 * scale, err_msg=name)


def test_shared_parameters_get_the_sum(native):
    rng = np.random.default_rng(3)
    batch = (2, 11)
    y = random_data(rng, batch, T, 2)
    for lead in ((), (T,), (11, 1), (2, 1, 1), (1, 11, T)):
        parameters = random_parameters(rng, 3, 2, lead=lead)
        full = {
            name: np.broadcast_to(
                x, (*batch, *(() if name.startswith("initial") else (T,)), *x.shape[len(lead) :])
            )
            if not name.startswith("initial")
            else np.broadcast_to(x, (*batch, *x.shape))
            for name, x in parameters.items()
        }
        shared = gradients(lambda s, y: tf.reduce_sum(ss.log_likelihood(s, y)), parameters, y)
        each = gradients(lambda s, y: tf.reduce_sum(ss.log_likelihood(s, y)), full, y)
        for x, z in zip(shared[:-1], each[:-1], strict=True):
            shape, z = x.shape, z.numpy()
            extra = tuple(range(z.ndim - len(shape)))
            z = z.sum(extra)
            keep = tuple(i for i, size in enumerate(shape) if size == 1 and z.shape[i] != 1)
            np.testing.assert_allclose(x, z.sum(keep, keepdims=True), rtol=1e-11, atol=1e-11)


def test_masked_entries_have_zero_gradient(native):
    parameters, y = setup((3,))
    missing = np.isnan(y)
    filled = np.where(missing, 1e300, y)  # a mask hides whatever stands there
    for data, mask in ((y, None), (filled, ~missing)):
        gradient = gradients(
            lambda ssm, y, mask=mask: tf.reduce_sum(ss.log_likelihood(ssm, y, mask=mask)),
            parameters,
            data,
        )[-1].numpy()
        assert np.all(gradient[missing] == 0.0)
        assert np.all(gradient[~missing] != 0.0)


def test_unknown_regressors_at_missing_rows_do_no_harm(native):
    parameters, y = setup((3,))
    expected = gradients(lambda s, y: tf.reduce_sum(ss.log_likelihood(s, y)), parameters, y)
    rows = np.isnan(y)
    for name in ("observation_matrix", "observation_scale"):
        parameters[name] = np.where(rows[..., None], np.nan, parameters[name])
    got = gradients(lambda s, y: tf.reduce_sum(ss.log_likelihood(s, y)), parameters, y)
    for name, x, z in zip((*NAMES, "y"), got, expected, strict=True):
        np.testing.assert_allclose(x, z, rtol=1e-12, atol=1e-12, err_msg=name)


@pytest.mark.parametrize(
    ("algorithm", "graph"),
    [
        # TensorFlow takes long to trace it; a graph of one form is enough by default.
        pytest.param(name, graph, marks=[pytest.mark.slow] * (graph and name != "covariance"))
        for name in FORMS
        for graph in (False, True)
    ],
)
def test_hessian_vector_product(algorithm, graph, native):
    parameters, y = setup((2,), 2, 1, 2)
    names = NAMES[:4]
    directions = [np.random.default_rng(4).normal(size=parameters[x].shape) for x in names]

    def slope(*arrays):
        variables = [tf.convert_to_tensor(x) for x in arrays]
        with tf.GradientTape() as tape:
            tape.watch(variables)
            model = build(parameters | dict(zip(names, variables, strict=True)))
            value = tf.reduce_sum(ss.log_likelihood(model, y, algorithm=algorithm))
        pairs = zip(tape.gradient(value, variables), directions, strict=True)
        return tf.add_n([tf.reduce_sum(g * d) for g, d in pairs])

    def curvature(*arrays):
        with tf.GradientTape() as tape:
            tape.watch(arrays)
            value = slope(*arrays)
        return tape.gradient(value, arrays)

    arrays = [tf.constant(parameters[x]) for x in names]
    pairs = zip((tf.function(curvature) if graph else curvature)(*arrays), directions, strict=True)
    got = sum(np.sum(g * d) for g, d in pairs)
    expected = finite_differences.directional(slope, arrays, directions)
    np.testing.assert_allclose(got, expected, rtol=1e-6)


@pytest.mark.parametrize("infer", MOMENTS[:2])  # most forms leave lag-one covariances out last
@pytest.mark.parametrize("algorithm", FORMS)
def test_moments_are_differentiable(algorithm, infer, native):
    parameters, y = setup((2,), 2, 1, 1)

    def total(ssm, y):
        result = infer(ssm, y, algorithm=algorithm)
        return tf.add_n([tf.reduce_sum(tf.sin(x)) for x in floating(result)])

    got = gradients(total, parameters, y)[:-1]
    arguments = [parameters[name] for name in NAMES]
    directions = [np.random.default_rng(5).normal(size=x.shape) for x in arguments]
    expected = finite_differences.directional(
        lambda *x: total(build(dict(zip(NAMES, x, strict=True))), y), arguments, directions
    )
    slope = sum(np.sum(g * d) for g, d in zip(got, directions, strict=True))
    np.testing.assert_allclose(slope, expected, rtol=1e-7)


def test_float32_gradient(native):
    parameters, y = setup((5,))
    expected = gradients(lambda s, y: tf.reduce_sum(ss.log_likelihood(s, y)), parameters, y)
    variables = [tf.constant(parameters[name], tf.float32) for name in NAMES]
    with tf.GradientTape() as tape:
        tape.watch(variables)
        model = build(dict(zip(NAMES, variables, strict=True)), tf.float32)
        value = tf.reduce_sum(ss.log_likelihood(model, y.astype(np.float32)))
    for x, z in zip(tape.gradient(value, variables), expected[:-1], strict=True):
        np.testing.assert_allclose(x, z, rtol=0, atol=2e-4 * np.max(np.abs(z)))


@pytest.mark.parametrize(
    "algorithm",
    [pytest.param(name, marks=[pytest.mark.slow] * (name != "covariance")) for name in FORMS],
)
def test_forward_mode(algorithm, native):
    parameters, y = setup((), 2, 1, 1)
    scale = tf.constant(parameters["observation_scale"])

    def value(scale):
        ssm = build(parameters | {"observation_scale": scale})
        return ss.log_likelihood(ssm, y, algorithm=algorithm)

    direction = tf.ones_like(scale)
    with tf.autodiff.ForwardAccumulator(scale, direction) as accumulator:
        result = value(scale)
    expected = finite_differences.directional(value, [scale], [direction])
    np.testing.assert_allclose(accumulator.jvp(result), expected, rtol=1e-7)


def test_curvature_of_series_in_two_batch_axes():
    """TensorFlow's own products of these shapes corrupt the heap (2.21, float32, with oneDNN)."""
    rng = np.random.default_rng(0)
    ssm = build(random_parameters(rng, 4, 4), tf.float32)
    y = tf.constant(random_data(rng, (5, 1), T, 4), tf.float32)
    direction = tf.constant(rng.normal(size=y.shape), tf.float32)

    def curvature(y, direction):
        with tf.GradientTape() as outer:
            outer.watch(y)
            with tf.GradientTape() as inner:
                inner.watch(y)
                value = tf.reduce_sum(ss.log_likelihood(ssm, y))
            gradient = inner.gradient(value, y)
        return outer.gradient(gradient, y, direction)

    expected = curvature(y[:, 0], direction[:, 0])
    np.testing.assert_allclose(curvature(y, direction)[:, 0], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("infer", MOMENTS)
@pytest.mark.parametrize("sizes", [(2, 1, 2), (3, 2, 2), (6, 3, 4), (33, 2, 1)])
@pytest.mark.parametrize("shared", [False, True])
def test_moment_gradients_equal_those_of_the_reference(infer, sizes, shared):
    """The compiled adjoints of filter and smoother, for random cotangents of all their outputs."""
    n, m, k = sizes
    rng = np.random.default_rng(6)
    lead, batch = ((), ()) if shared else ((3, T), (3,))
    parameters = random_parameters(rng, n, m, k=k, lead=lead, batch=batch)
    y = random_data(rng, (3,), T, m)

    def by(algorithm):
        def total(ssm, y):
            weights = np.random.default_rng(7)
            results = floating(infer(ssm, y, algorithm=algorithm))
            return tf.add_n([tf.reduce_sum(x * weights.normal(size=x.shape)) for x in results])

        return gradients(total, parameters, y)

    for name, x, z in zip((*NAMES, "y"), by("covariance"), by("reference"), strict=True):
        scale = np.max(np.abs(z), initial=1e-3)
        np.testing.assert_allclose(x, z, rtol=0, atol=1e-12 * scale, err_msg=name)


@slow_reference
@pytest.mark.parametrize("infer", MOMENTS)
def test_second_derivatives_of_moments(infer, native):
    parameters, y = setup((2,), 2, 1, 1)
    scale = tf.constant(parameters["transition_scale"])
    direction = np.random.default_rng(8).normal(size=scale.shape)

    def slope(scale):
        with tf.GradientTape() as tape:
            tape.watch(scale)
            results = infer(build(parameters | {"transition_scale": scale}), y)
            value = tf.add_n([tf.reduce_sum(tf.sin(x)) for x in floating(results)])
        return tf.reduce_sum(tape.gradient(value, scale) * direction)

    with tf.GradientTape() as tape:
        tape.watch(scale)
        value = slope(scale)
    got = np.sum(tape.gradient(value, scale) * direction)
    expected = finite_differences.directional(slope, [scale], [direction])
    np.testing.assert_allclose(got, expected, rtol=1e-6)


@pytest.mark.parametrize("infer", MOMENTS)
def test_moments_of_masked_entries_have_zero_gradient(infer, native):
    parameters, y = setup((3,))
    missing = np.isnan(y)

    def total(ssm, y):
        return tf.add_n([tf.reduce_sum(tf.sin(x)) for x in floating(infer(ssm, y))])

    got = gradients(total, parameters, y)
    assert all(np.all(np.isfinite(x)) for x in got)
    assert np.all(got[-1].numpy()[missing] == 0.0)


@pytest.mark.skipif(not config.native_available(), reason="the compiled library is not available")
@pytest.mark.parametrize("num_steps", [1, 2, 7, 16, 17])
@pytest.mark.parametrize("algorithm", ["covariance", "square_root", "univariate"])
@pytest.mark.parametrize("per_step", [False, True])
def test_low_memory_changes_no_bit(algorithm, num_steps, per_step):
    rng = np.random.default_rng(9)
    parameters = random_parameters(rng, 3, 2, lead=(9, num_steps), batch=(9,))
    parameters["observation_matrix"] = parameters["observation_matrix"][:, :1]
    y = random_data(rng, (9,), num_steps, 2)
    diffuse = [True, False, True] if algorithm == "univariate" else None

    def by(memory):
        def total(ssm, y):
            ssm = ss.LinearGaussianSSM(
                **{name: getattr(ssm, name) for name in NAMES}, diffuse=diffuse
            )
            value = ss.log_likelihood(ssm, y, algorithm=algorithm, memory=memory, per_step=per_step)
            return tf.reduce_sum(value)

        return gradients(total, parameters, y)

    for name, x, z in zip((*NAMES, "y"), by("low"), by("auto"), strict=True):
        np.testing.assert_array_equal(x, z, err_msg=name)


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("algorithm", ["covariance", "square_root", "univariate"])
def test_known_matrices_change_no_bit_of_the_rest(algorithm, shared):
    """Where no tape follows transition and observation matrix their cotangents are left out."""
    rng = np.random.default_rng(9)
    lead = () if shared else (9, 12)
    parameters = random_parameters(rng, 3, 2, lead=lead, batch=() if shared else (9,))
    y = random_data(rng, (9,), 12, 2, 0.0 if shared else 0.2)
    diffuse = [True, False, True] if algorithm == "univariate" else None
    rest = ("transition_scale", "observation_scale", "initial_mean")

    def by(*watched):
        variables = {name: tf.constant(parameters[name]) for name in NAMES}
        with tf.GradientTape() as tape:
            tape.watch([variables[name] for name in watched])
            ssm = ss.LinearGaussianSSM(**variables, diffuse=diffuse)
            value = tf.reduce_sum(ss.log_likelihood(ssm, y, algorithm=algorithm))
        return tape.gradient(value, [variables[name] for name in rest])

    known = by(*rest)
    for graph in (False, True):
        function = tf.function(by) if graph else by
        for other in ((), ("transition_matrix",), ("observation_matrix",)):
            for name, x, z in zip(rest, function(*rest, *other), known, strict=True):
                np.testing.assert_array_equal(x, z, err_msg=name)


def test_low_memory_refusals():
    parameters, y = setup(())
    with pytest.raises(ValueError, match="memory is 'low', but algorithm 'parallel' keeps"):
        ss.log_likelihood(build(parameters), y, memory="low", algorithm="parallel")
    with pytest.raises(ValueError, match="memory is 'some'"):
        ss.log_likelihood(build(parameters), y, memory="some")
