"""The compiled ops against the reference; eager, graph and XLA against each other."""

import hypothesis
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from kalman.models import NAMES, build, on_threads, random_data, random_parameters, tensors

import statespace as ss
from statespace import config

FORMS = [name for name in ss.kalman.ALGORITHMS if name not in ("auto", "reference")]

needs_native = pytest.mark.skipif(
    not config.native_available(), reason="the compiled library is not available"
)


def everything(parameters, y, algorithm):
    """Values and gradients of all three inference functions, flat."""
    variables = [tf.convert_to_tensor(parameters[name]) for name in NAMES]
    y = tf.convert_to_tensor(y)
    with tf.GradientTape() as tape:
        tape.watch([*variables, y])
        ssm = build(dict(zip(NAMES, variables, strict=True)), y.dtype)
        value = ss.log_likelihood(ssm, y, algorithm=algorithm)
        total = tf.reduce_sum(value)
    return [
        value,
        ss.log_likelihood(ssm, y, algorithm=algorithm, per_step=True),
        *tape.gradient(total, [*variables, y], unconnected_gradients="zero"),
        *ss.kalman_filter(ssm, y, algorithm=algorithm)[:8],  # without what only some forms have
        *ss.kalman_smoother(ssm, y, algorithm=algorithm)[:5],
    ]


def assert_close(results, expected, tolerance):
    for x, z in zip(results, expected, strict=True):
        x, z = np.asarray(x, np.float64), np.asarray(z, np.float64)
        assert x.shape == z.shape
        scale = max(np.max(np.abs(z), initial=0.0), 1e-3)
        assert np.max(np.abs(x - z), initial=0.0) < tolerance * scale


@needs_native
@settings(max_examples=15)
@given(
    n=st.integers(1, 7),
    m=st.integers(1, 4),
    k=st.integers(0, 3),
    num_steps=st.integers(1, 4),
    batch=st.sampled_from([(), (1,), (3,), (4,), (6,), (2, 3)]),
    varying=st.booleans(),
    per_series=st.booleans(),
    missing=st.sampled_from([0.0, 0.3, 1.0]),
    seed=st.integers(0, 100),
)
def test_native_equals_reference(n, m, k, num_steps, batch, varying, per_series, missing, seed):
    rng = np.random.default_rng(seed)
    lead = (*batch, num_steps if varying else 1) if per_series else (num_steps,) * varying
    parameters = random_parameters(rng, n, m, k=k, lead=lead, batch=batch * per_series)
    y = random_data(rng, batch, num_steps, m, missing)
    expected = everything(parameters, y, "reference")
    for algorithm in FORMS:
        hypothesis.note(algorithm)
        assert_close(everything(parameters, y, algorithm), expected, 1e-12)


# TensorFlow takes long to compile the reference; one form of it is enough by default.
IMPLEMENTATIONS = [
    *(
        pytest.param(
            "native",
            name,
            sizes,
            marks=[pytest.mark.slow] * (name != "covariance" and not sizes[2]),
        )
        for name in FORMS
        for sizes in ((3, 2, (5,)), (5, 1, ()))
    ),
    *(
        pytest.param(
            "reference", name, (3, 2, (5,)), marks=[pytest.mark.slow] * (name != "covariance")
        )
        for name in FORMS
    ),
]


@pytest.mark.parametrize("jit", [False, True])
@pytest.mark.parametrize(("native", "algorithm", "sizes"), IMPLEMENTATIONS, indirect=["native"])
def test_graph_and_xla_equal_eager(algorithm, jit, sizes, native):
    n, m, batch = sizes
    rng = np.random.default_rng(0)
    parameters = random_parameters(rng, n, m, k=2, lead=(*batch, 6), batch=batch)
    y = random_data(rng, batch, 6, m)
    expected = everything(parameters, y, "reference")
    compiled = tf.function(lambda p, y: everything(p, y, algorithm), jit_compile=jit)
    tensors = {name: tf.constant(x) for name, x in parameters.items()}
    assert_close(compiled(tensors, tf.constant(y)), expected, 1e-12)


@needs_native
@pytest.mark.parametrize("function", [ss.log_likelihood, ss.kalman_filter, ss.kalman_smoother])
@pytest.mark.parametrize("sizes", [(2, 1), (4, 2), (5, 3)])
@pytest.mark.parametrize("algorithm", ["covariance", "square_root", "univariate"])
def test_batch_equals_its_members_bit_for_bit(algorithm, function, sizes):
    n, m = sizes
    rng = np.random.default_rng(1)
    parameters = random_parameters(rng, n, m, lead=(9, 7), batch=(9,))
    y = random_data(rng, (9,), 7, m)
    together = tensors(function(build(parameters), y, algorithm=algorithm))
    for item in range(9):
        one = {name: x[item] if x.ndim > 2 else x for name, x in parameters.items()}
        one["initial_mean"] = parameters["initial_mean"][item]
        alone = tensors(function(build(one), y[item], algorithm=algorithm))
        for x, z in zip(together, alone, strict=True):
            np.testing.assert_array_equal(x.numpy()[item], z.numpy())


@needs_native
@pytest.mark.parametrize("algorithm", FORMS)
def test_gradient_does_not_depend_on_the_number_of_threads(algorithm):
    rng = np.random.default_rng(2)
    parameters = random_parameters(rng, 4, 2)
    y = random_data(rng, (301,), 50, 2)
    for x, z in zip(*on_threads(lambda: everything(parameters, y, algorithm)), strict=True):
        np.testing.assert_array_equal(x, z)


@needs_native
@pytest.mark.parametrize("algorithm", FORMS)
def test_float32_is_close_to_float64(algorithm):
    rng = np.random.default_rng(3)
    parameters = random_parameters(rng, 4, 2, lead=(9, 20), batch=(9,))
    y = random_data(rng, (9,), 20, 2)
    single = {name: x.astype(np.float32) for name, x in parameters.items()}
    results = everything(single, y.astype(np.float32), algorithm)
    assert all(x.dtype == tf.float32 for x in results if x.dtype.is_floating)
    assert_close(results, everything(parameters, y, algorithm), 5e-4)


def test_unknown_static_shapes(native):
    rng = np.random.default_rng(4)
    parameters = random_parameters(rng, 2, 1)
    signature = [tf.TensorSpec([None, None, 1], tf.float64)]
    likelihood = tf.function(
        lambda y: ss.log_likelihood(build(parameters), y), input_signature=signature
    )
    for shape in ((3, 5), (2, 8)):
        y = random_data(rng, shape[:1], shape[1], 1)
        np.testing.assert_allclose(likelihood(y), ss.log_likelihood(build(parameters), y))


def test_model_passes_through_tensorflow(native):
    """As an argument and a result of tf.function, and as a loop variable."""
    parameters = random_parameters(np.random.default_rng(5), 2, 1)
    y = random_data(np.random.default_rng(6), (), 6, 1)

    @tf.function
    def softened(ssm, y):
        def body(i, ssm):
            softer = ss.LinearGaussianSSM(
                ssm.transition_matrix,
                ssm.transition_scale,
                ssm.observation_matrix,
                1.1 * ssm.observation_scale,
                ssm.initial_mean,
                ssm.initial_scale,
                ssm.transition_offset,
                ssm.observation_offset,
            )
            return i + 1, softer

        _, ssm = tf.while_loop(lambda i, _: i < 2, body, (0, ssm))
        return ssm, ss.log_likelihood(ssm, y)

    ssm, value = softened(build(parameters), y)
    assert isinstance(ssm, ss.LinearGaussianSSM)
    wider = parameters | {"observation_scale": 1.21 * parameters["observation_scale"]}
    np.testing.assert_allclose(ssm.observation_scale, wider["observation_scale"])
    np.testing.assert_allclose(value, ss.log_likelihood(build(wider), y))
