"""The square-root form where others lose their digits, against filters in mpmath."""

import numpy as np
import pytest
import tensorflow as tf
from kalman.models import NAMES, build, floating, random_data, random_parameters, tensors
from oracles import exact_filter

import statespace as ss
from statespace import config

pytestmark = pytest.mark.skipif(
    not config.native_available(), reason="the compiled library is not available"
)


def model(f, g, h, c, scale):
    """Parameters without offsets, as arrays."""
    f, g, h, c, scale = (np.atleast_2d(x).astype(np.float64) for x in (f, g, h, c, scale))
    n, m = len(f), len(h)
    vectors = (np.zeros(n), np.zeros(m), np.zeros(n))
    return dict(zip(NAMES, (f, g, h, c, *vectors, scale), strict=True))


def walk(rng, num_steps, m=1):
    return np.cumsum(rng.normal(size=(num_steps, m)), axis=0)


def trend(noise, vague):
    return model([[1, 1], [0, 1]], np.diag([0.1, 0.01]), [[1, 0]], noise, vague * np.eye(2))


RNG = np.random.default_rng(0)
REPEATED = 1.0 + 1e-6 * RNG.normal(size=(30, 2))
UNSTABLE = 1.2 ** np.arange(150)[:, None] + RNG.normal(size=(150, 1))
GAPS = np.where(RNG.random((40, 2)) < 0.4, np.nan, RNG.normal(size=(40, 2)))
CASES = {
    "repeated observations": (
        model(1.0, 0.0, [[1], [1]], 1e-6 * np.eye(2), 1.0),
        REPEATED,
    ),
    "repeated observations of a moving state": (
        model([[0.9, 0.1], [0.0, 0.8]], np.eye(2), [[1, 1], [1, 1]], 1e-6 * np.eye(2), np.eye(2)),
        walk(RNG, 40) + 1e-6 * RNG.normal(size=(40, 2)),
    ),
    "unstable": (model(1.2, 1.0, 1.0, 1.0, 1.0), RNG.normal(size=(500, 1))),
    "unstable, and so are the data": (model(1.2, 1.0, 1.0, 1.0, 1.0), UNSTABLE),
    "vague start": (trend(1.0, 1e6), walk(RNG, 40)),
    "vague start, little noise": (trend(1e-3, 1e6), walk(RNG, 40)),
    "vague start, hardly any noise": (trend(1e-6, 1e6), walk(RNG, 40)),
    "unobservable states": (
        model(np.diag([1.1, 0.9, 1.0]), np.eye(3), [[1, 0, 0]], 0.5, np.eye(3)),
        walk(RNG, 40),
    ),
    "rank one": (
        model([[0.5, 1], [0.3, 0]], [[1], [0.4]], [[1, 0]], 0.0, np.eye(2)),
        RNG.normal(size=(40, 1)),
    ),
    "a channel without noise": (
        model([[0.9, 0.1], [0, 0.7]], np.eye(2), np.eye(2), np.diag([0.0, 1.0]), np.eye(2)),
        GAPS,
    ),
    "no noise but the first state": (
        model([[1, 1], [0, 1]], np.zeros((2, 1)), [[1, 0]], 1e-6, np.eye(2)),
        np.linspace(0, 4, 30)[:, None] + 1e-6 * RNG.normal(size=(30, 1)),
    ),
    "one step": (trend(1e-3, 1e6), np.array([[0.3]])),
    "nothing observed": (trend(1.0, 1.0), np.full((5, 1), np.nan)),
    "one step, nothing observed": (trend(1.0, 1e6), np.full((1, 1), np.nan)),
    "unstable, vague start": (model(1.2, 1.0, 1.0, 1.0, 1e6), UNSTABLE),
    "unstable, unobservable and vague": (
        model(np.diag([1.2, 1.2]), np.eye(2), [[1, 0]], 1.0, 1e6 * np.eye(2)),
        UNSTABLE[:40],
    ),
    "repeated observations, vague start": (
        model(1.0, 0.0, [[1], [1]], 1e-6 * np.eye(2), 1e6),
        REPEATED,
    ),
    "repeated observations, unstable, vague start": (
        model(1.2, 1e-3, [[1], [1]], 1e-6 * np.eye(2), 1e6),
        UNSTABLE[:30] + 1e-6 * RNG.normal(size=(30, 2)),
    ),
}
HUGE = {
    f"scale {scale:g}": (
        {
            name: x * (scale if name not in ("transition_matrix", "observation_matrix") else 1.0)
            for name, x in random_parameters(np.random.default_rng(1), 3, 2).items()
        },
        scale * random_data(np.random.default_rng(2), (), 8, 2),
    )
    for scale in (1e-150, 1e150)
}


def rounded(parameters, y, dtype):
    """What the tensors hold, for the oracle."""
    parameters = {name: np.asarray(x, dtype) for name, x in parameters.items()}
    return parameters, np.asarray(y, dtype)


def deviations(covariance, floor):
    return np.sqrt(np.diagonal(covariance, axis1=-2, axis2=-1)) + floor


def products(left, right):
    return left[..., :, None] * right[..., None, :]


def assert_moments(mean, covariance, expected_mean, expected_covariance, tolerance, floor):
    """Within a tolerance of the standard deviations; means also of their own size."""
    deviation = deviations(expected_covariance, floor)
    error = np.abs(covariance - expected_covariance)
    assert np.all(error <= tolerance * products(deviation, deviation))
    size = np.max(np.abs(expected_mean), axis=-1, keepdims=True)
    assert np.all(np.abs(mean - expected_mean) <= tolerance * deviation + 1e-6 * size)


def check_everything(parameters, y, dtype, tolerance):
    parameters, y = rounded(parameters, y, dtype)
    expected = exact_filter.run(parameters, y)
    ssm, y = build(parameters, dtype), tf.constant(y)
    for total in (
        ss.log_likelihood(ssm, y, algorithm="square_root"),
        tf.reduce_sum(ss.log_likelihood(ssm, y, algorithm="square_root", per_step=True)),
    ):
        np.testing.assert_allclose(total, expected["log_likelihood"], rtol=min(tolerance, 2e-6))
    filtered = ss.kalman_filter(ssm, y, algorithm="square_root")
    smoothed = ss.kalman_smoother(ssm, y, algorithm="square_root")
    assert not filtered.info.numpy()
    assert not smoothed.info.numpy()
    # What is known exactly comes out with a deviation that is rounding error.
    floor = 1e-12 * np.sqrt(np.max(expected["predicted_covariance"]))
    for kind, result in (("filtered", filtered), ("predicted", filtered), ("smoothed", smoothed)):
        moments = [f"{kind}_mean", f"{kind}_covariance"]
        got = [np.asarray(getattr(result, name), np.float64) for name in moments]
        assert_moments(*got, *(expected[name] for name in moments), tolerance, floor)
    for kind in ("filtered", "predicted", "innovation"):
        scale = np.asarray(getattr(filtered, f"{kind}_scale"), np.float64)
        assert np.all(np.triu(scale, 1) == 0.0)
        assert np.all(np.diagonal(scale, axis1=-2, axis2=-1) >= 0.0)
        zero = np.zeros(scale.shape[:-1])
        got = (zero, scale @ np.swapaxes(scale, -1, -2))
        assert_moments(*got, zero, expected[f"{kind}_covariance"], tolerance, floor)
    deviation = deviations(expected["smoothed_covariance"], floor)
    lag_one = np.asarray(smoothed.lag_one_covariance, np.float64)
    error = np.abs(lag_one - expected["lag_one_covariance"])
    assert np.all(error <= tolerance * products(deviation[1:], deviation[:-1]))


@pytest.mark.parametrize("case", CASES)
def test_moments_in_float32(case):
    check_everything(*CASES[case], np.float32, 1e-4)


@pytest.mark.parametrize("case", CASES | HUGE)
def test_moments_in_float64(case):
    check_everything(*(CASES | HUGE)[case], np.float64, 1e-4 if "hardly" in case else 1e-6)


def likelihood_and_gradients(parameters, y):
    variables = [tf.constant(parameters[name]) for name in NAMES]
    with tf.GradientTape() as tape:
        tape.watch(variables)
        ssm = build(dict(zip(NAMES, variables, strict=True)), y.dtype)
        value = ss.log_likelihood(ssm, tf.constant(y), algorithm="square_root")
    gradients = [np.asarray(x, np.float64) for x in tape.gradient(value, variables)]
    return value, dict(zip(NAMES, gradients, strict=True))


def both_dtypes(cases):
    return [(case, dtype) for case in cases for dtype in (np.float32, np.float64)]


@pytest.mark.parametrize(
    ("case", "dtype"), [*both_dtypes(CASES), *((case, np.float64) for case in HUGE)]
)
def test_gradient(case, dtype):
    """Every entry, to 1e-3 of the largest of its parameter.

    The gradient by the mean of a vague start is a difference of much larger numbers. It is right as
    seen from the start's own scale or, of repeated observations, up to rounding in what cancels:
    residuals over variances, 1 / 1e-6.
    """
    parameters, y = rounded(*(CASES | HUGE)[case], dtype)
    _, gradients = likelihood_and_gradients(parameters, y)
    floor = 1e-8 * np.max(np.abs(gradients["initial_scale"]))
    for name, gradient in gradients.items():
        expected = np.zeros(gradient.shape)
        for index in np.ndindex(*gradient.shape):
            unit = np.zeros(gradient.shape)
            unit[index] = 1.0
            expected[index] = exact_filter.derivative(parameters, y, name, unit)
        tolerance = 1e-3 * np.max(np.abs(expected)) + floor
        if name == "initial_mean" and case.startswith("repeated"):
            tolerance += np.finfo(np.float64).eps / 1e-6
        np.testing.assert_allclose(gradient, expected, rtol=0, atol=tolerance, err_msg=name)


@pytest.mark.parametrize("ratio", 10.0 ** np.arange(-12, 13, 6))
def test_sweep_of_the_noise_ratio_in_float32(ratio):
    """Local level, R/Q over 24 orders of magnitude: likelihood to 2e-6, gradient to 1e-3."""
    rng = np.random.default_rng(3)
    state, noise = min(1.0, ratio**-0.5), min(1.0, ratio**0.5)
    y = state * walk(rng, 500) + noise * rng.normal(size=(500, 1))
    parameters, y = rounded(model(1.0, 1.3 * state, 1.0, 0.8 * noise, 10.0), y, np.float32)
    value, gradients = likelihood_and_gradients(parameters, y)
    np.testing.assert_allclose(value, float(exact_filter.log_likelihood(parameters, y)), rtol=2e-6)
    for name in ("transition_matrix", "transition_scale", "observation_scale"):
        expected = exact_filter.derivative(parameters, y, name, np.ones((1, 1)))
        np.testing.assert_allclose(gradients[name], float(expected), rtol=1e-3, err_msg=name)


@pytest.mark.parametrize("dtype", [tf.float32, tf.float64])
def test_scales_equal_those_of_the_reference(dtype):
    """Missing components and unknown regressors of one that is never observed among them."""
    rng = np.random.default_rng(5)
    parameters = random_parameters(rng, 3, 2, k=1, lead=(6,), batch=(2,))
    y = random_data(rng, (2,), 6, 2)
    y[0, :, 1] = np.nan
    parameters["observation_matrix"] = np.stack([parameters["observation_matrix"]] * 2)
    parameters["observation_matrix"][0, :, 1] = np.nan
    results = []
    for compiled in (True, False):
        config.use_native(compiled)
        try:
            result = ss.kalman_filter(
                build(parameters, dtype), tf.cast(y, dtype), algorithm="square_root"
            )
        finally:
            config.use_native(True)
        results.append(tensors(result))
    tolerance = 1e-12 if dtype == tf.float64 else 1e-6
    for x, z in zip(*results, strict=True):
        assert x.dtype == z.dtype
        np.testing.assert_allclose(x, z, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("n", [4, 20, 40])  # in lanes, in panels of reflectors, one by one
def test_forms_agree(n):
    rng = np.random.default_rng(6)
    parameters = random_parameters(rng, n, 2, k=2, lead=(20,))
    y = random_data(rng, (9,), 20, 2)

    def everything(algorithm):
        variables = [tf.constant(parameters[name]) for name in NAMES]
        with tf.GradientTape() as tape:
            tape.watch(variables)
            ssm = build(dict(zip(NAMES, variables, strict=True)))
            value = ss.log_likelihood(ssm, y, algorithm=algorithm)
        filtered = ss.kalman_filter(ssm, y, algorithm=algorithm)[:8]
        smoothed = tensors(ss.kalman_smoother(ssm, y, algorithm=algorithm))[:5]
        return [value, *tape.gradient(value, variables), *filtered, *smoothed]

    for algorithm in ("square_root", "univariate"):
        for x, z in zip(everything(algorithm), everything("covariance"), strict=True):
            size = np.max(np.abs(z))
            np.testing.assert_allclose(x, z, rtol=0, atol=1e-10 * size, err_msg=algorithm)


def test_moments_are_differentiated_in_float64():
    """Gradients of filter and smoother for float32 inputs, scales among the outputs."""
    rng = np.random.default_rng(4)
    parameters = random_parameters(rng, 3, 2, k=1)
    y = random_data(rng, (2,), 6, 2)

    def gradients(dtype):
        variables = [tf.constant(parameters[name], dtype) for name in NAMES]
        data = tf.constant(y, dtype)
        with tf.GradientTape() as tape:
            tape.watch(variables)
            ssm = build(dict(zip(NAMES, variables, strict=True)), dtype)
            filtered = ss.kalman_filter(ssm, data, algorithm="square_root")
            smoothed = ss.kalman_smoother(ssm, data, algorithm="square_root")
            outputs = floating((filtered, smoothed))
            total = tf.add_n([tf.reduce_sum(tf.sin(x)) for x in outputs])
        return tape.gradient(total, variables)

    for got, expected in zip(gradients(tf.float32), gradients(tf.float64), strict=True):
        assert got.dtype == tf.float32
        size = np.max(np.abs(expected))
        np.testing.assert_allclose(got, expected, rtol=0, atol=1e-5 * size)


@pytest.mark.parametrize("graph", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_the_filter_without_its_scales_has_the_adjoint_of_the_covariance_form(graph):
    """In graphs many cotangents at once too, rows with and without a scale among them."""
    rng = np.random.default_rng(5)
    variables = [tf.constant(x) for x in random_parameters(rng, 2, 1).values()]
    y = random_data(rng, (2,), 5, 1)

    def derivatives(algorithm, scales):
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(variables)
            ssm = ss.LinearGaussianSSM(**dict(zip(NAMES, variables, strict=True)))
            result = ss.kalman_filter(ssm, y, algorithm=algorithm)
            last = result.filtered_mean[0, -1]
            if scales:
                # Of a state's covariance, by way of a factor where there is one.
                factor = result.filtered_scale
                factor = (
                    tf.linalg.cholesky(result.filtered_covariance) if factor is None else factor
                )
                last = tf.concat([last, factor[1, -1, 0]], 0)
            total = tf.reduce_sum(tf.sin(last))
        first = tape.gradient(total, variables)
        return first + (tape.jacobian(last, variables) if graph else [])

    run = tf.function(derivatives) if graph else derivatives
    for scales in (False, True):
        for got, expected in zip(
            run("square_root", scales), run("covariance", scales), strict=True
        ):
            np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("graph", [False, True])
def test_the_filter_can_leave_out_its_scales(graph, native):
    """Moments, their gradient and, eagerly, the gradient of that are those of other forms."""
    rng = np.random.default_rng(6)
    variables = [tf.constant(x) for x in random_parameters(rng, 2, 1).values()]
    y = random_data(rng, (2,), 4, 1)

    def derivatives(algorithm):
        with tf.GradientTape() as outer:
            outer.watch(variables)
            with tf.GradientTape() as inner:
                inner.watch(variables)
                ssm = ss.LinearGaussianSSM(**dict(zip(NAMES, variables, strict=True)))
                result = ss.kalman_filter(ssm, y, algorithm=algorithm, scales=False)
                assert result.filtered_scale is None
                moments = floating(result)
                total = tf.add_n([tf.reduce_sum(tf.sin(x)) for x in moments])
            first = inner.gradient(total, variables)
            slope = tf.add_n([tf.reduce_sum(x**2) for x in first])
        return moments + first + ([] if graph else outer.gradient(slope, variables))

    run = tf.function(derivatives) if graph else derivatives
    for got, expected in zip(run("square_root"), run("covariance"), strict=True):
        size = np.max(np.abs(expected))
        np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-10 * size)


def test_beyond_float32_is_a_failure_of_the_series():
    """A likelihood that the result could not hold: as in the other forms, status and NaN."""
    parameters = model(1.0, 1.0, 1.0, 1e-10, 1.0)
    y = np.zeros((2, 4, 1), np.float32)
    y[1, 2] = 1e25
    result = ss.kalman_filter(build(parameters, tf.float32), y, algorithm="square_root")
    np.testing.assert_array_equal(result.info, [0, 3])
    np.testing.assert_array_equal(np.isnan(result.log_likelihood), [False, True])
