"""The digits of the log-likelihood in float64, form by form, against filters in mpmath.

And over a million steps against a recursion in plain Python.
"""

import functools
import math

import numpy as np
import pytest
import tensorflow as tf
from kalman.models import build, random_data, random_parameters
from kalman.test_diffuse import structural
from kalman.test_square_root import model, trend, walk
from oracles import exact_filter

import statespace as ss
from statespace import config

pytestmark = pytest.mark.skipif(
    not config.native_available(), reason="the compiled library is not available"
)
# The reference is compared with the others elsewhere, and is slow.
ALGORITHMS = [name for name in ss.kalman.ALGORITHMS if name not in ("auto", "reference")]
EPSILON = np.finfo(np.float64).eps

every_algorithm = pytest.mark.parametrize("algorithm", ALGORITHMS)


def random_example(num_steps, missing, state=1.0, noise=1.0):
    """Four states, two components; both noises in units of their own."""
    rng = np.random.default_rng(0)
    parameters = random_parameters(rng, 4, 2)
    parameters["transition_scale"] *= state
    parameters["observation_scale"] *= noise
    y = random_data(rng, (), num_steps, 2, missing)
    return parameters, (state + noise) * y


def with_gaps(y, gaps):
    y = y.copy()
    y[gaps] = np.nan
    return y


def units(ratio):
    """Deviations of state and observation noise at R / Q, the larger of them one."""
    return min(1.0, ratio**-0.5), min(1.0, ratio**0.5)


def noisy_level(ratio):
    rng, (state, noise) = np.random.default_rng(3), units(ratio)
    y = state * walk(rng, 200) + noise * rng.normal(size=(200, 1))
    return model(1.0, 1.3 * state, 1.0, 0.8 * noise, 10.0), y


def noisy_trend(ratio):
    rng, (state, noise) = np.random.default_rng(4), units(ratio)
    y = state * walk(rng, 100) + noise * rng.normal(size=(100, 1))
    g = state * np.diag([1.0, 0.1])
    return model([[1, 1], [0, 1]], g, [[1, 0]], 0.8 * noise, 10 * np.eye(2)), y


WALK = walk(np.random.default_rng(1), 100)
GAPS = [0, 4, 5, 6, 7, 30, 31]
CASES = {
    "trend": (trend(1.0, 10.0), WALK),
    "trend, missing": (trend(1.0, 10.0), with_gaps(WALK, GAPS)),
    "random": random_example(60, 0.0),
    "random, missing": random_example(60, 0.3),
    "seasonal": (structural(12), WALK[:50]),
    "seasonal, missing": (structural(12), with_gaps(WALK[:50], GAPS)),
}
RATIOS = {
    f"{name}, R/Q {ratio:g}": make(ratio)
    for ratio in (1e-12, 1e-6, 1e6, 1e12)
    for name, make in (
        ("level", noisy_level),
        ("trend", noisy_trend),
        ("random", lambda ratio: random_example(40, 0.3, *units(ratio))),
    )
}


@functools.cache
def exact(name):
    return float(exact_filter.log_likelihood(*(CASES | RATIOS)[name]))


def values(parameters, y, algorithm):
    """The log-likelihood from each function that tells it."""
    ssm = build(parameters)
    infer = functools.partial(ss.log_likelihood, ssm, y, algorithm=algorithm)
    return [
        infer(),
        tf.reduce_sum(infer(per_step=True)),
        ss.kalman_filter(ssm, y, algorithm=algorithm).log_likelihood,
        ss.kalman_smoother(ssm, y, algorithm=algorithm).log_likelihood,
    ]


@every_algorithm
@pytest.mark.parametrize("name", CASES)
def test_well_conditioned(name, algorithm):
    np.testing.assert_allclose(values(*CASES[name], algorithm), exact(name), rtol=1e-12)


@every_algorithm
@pytest.mark.parametrize("name", RATIOS)
def test_noise_ratio(name, algorithm):
    """R/Q over 24 orders of magnitude."""
    np.testing.assert_allclose(values(*RATIOS[name], algorithm), exact(name), rtol=1e-8)


def moved_by_an_ulp(parameters, y, seed):
    """All numbers a last place up or down, zeros and ones as they are."""
    rng = np.random.default_rng(seed)

    def move(x):
        moved = np.nextafter(x, np.where(rng.random(np.shape(x)) < 0.5, -np.inf, np.inf))
        return np.where((x == 0.0) | (x == 1.0), x, moved)

    return {name: move(x) for name, x in parameters.items()}, move(y)


@functools.cache
def vague(deviation):
    """A trend's start; the exact value, how far an ulp of the input moves it, the condition."""
    parameters, y = trend(1.0, deviation), WALK[:40]
    value = exact_filter.log_likelihood(parameters, y)
    moved = [
        exact_filter.log_likelihood(*moved_by_an_ulp(parameters, y, seed)) for seed in range(3)
    ]
    sensitivity = float(max(abs((x - value) / value) for x in moved))
    covariances = exact_filter.run(parameters, y)["predicted_covariance"]
    return parameters, y, float(value), sensitivity, np.max(np.linalg.cond(covariances))


@every_algorithm
@pytest.mark.parametrize("deviation", [1e2, 1e3, 1e4, 1e5])
def test_vague_start(deviation, algorithm):
    """What a start of deviation kappa costs: the covariance and the square-root form no digit.

    The problem itself loses none: an ulp of the input moves the answer by less than four. The
    others subtract from covariances of condition about 4 kappa^2, and lose their digits in
    proportion to it.
    """
    parameters, y, expected, sensitivity, condition = vague(deviation)
    assert sensitivity < 4 * EPSILON
    tolerance = 1e-12 if algorithm in ("covariance", "square_root") else EPSILON * condition
    np.testing.assert_allclose(values(parameters, y, algorithm), expected, rtol=tolerance)


LONG = 10**6
LONG_MODELS = {  # name: (model of two states, one series)
    "stationary": model([[0.9, 0.2], [-0.1, 0.7]], np.diag([0.5, 0.3]), [[1, 0.5]], 0.8, np.eye(2)),
    "trend": trend(1.0, 10.0),
}


def long_series(missing):
    rng = np.random.default_rng(7)
    y = rng.normal(size=(LONG, 1))
    if missing:
        y[rng.random(LONG) < 0.1] = np.nan
        y[1000:3000] = np.nan
    return y


def plain_log_likelihood(parameters, y):
    """The textbook's recursion for two states and one series, number by number."""
    (f, f_ab), (f_ba, f_b) = parameters["transition_matrix"].tolist()
    ((h, h_b),) = parameters["observation_matrix"].tolist()
    (q, q_ab), (_, q_b) = (
        parameters["transition_scale"] @ parameters["transition_scale"].T
    ).tolist()
    r = parameters["observation_scale"].item() ** 2
    a = b = 0.0
    (p, p_ab), (_, p_b) = (parameters["initial_scale"] @ parameters["initial_scale"].T).tolist()
    terms = []
    for value in y[:, 0].tolist():
        if not math.isnan(value):
            u, u_b = p * h + p_ab * h_b, p_ab * h + p_b * h_b
            s, v = h * u + h_b * u_b + r, value - h * a - h_b * b
            terms.append(math.log(2 * math.pi * s) + v * v / s)
            a, b = a + u * v / s, b + u_b * v / s
            p, p_ab, p_b = p - u * u / s, p_ab - u * u_b / s, p_b - u_b * u_b / s
        a, b = f * a + f_ab * b, f_ba * a + f_b * b
        x, x_ab = f * p + f_ab * p_ab, f * p_ab + f_ab * p_b
        z, z_ab = f_ba * p + f_b * p_ab, f_ba * p_ab + f_b * p_b
        p, p_ab, p_b = (
            x * f + x_ab * f_ab + q,
            x * f_ba + x_ab * f_b + q_ab,
            z * f_ba + z_ab * f_b + q_b,
        )
    return -0.5 * math.fsum(terms)


@functools.cache
def long_example(name, missing):
    y = long_series(missing)
    return y, plain_log_likelihood(LONG_MODELS[name], y)


@pytest.mark.parametrize(
    "algorithm",
    [
        pytest.param(name, marks=[pytest.mark.slow] if name == "parallel" else [])
        for name in ALGORITHMS
    ],
)
@pytest.mark.parametrize("missing", [False, True])
@pytest.mark.parametrize("name", LONG_MODELS)
def test_a_million_steps(name, missing, algorithm):
    y, expected = long_example(name, missing)
    value = ss.log_likelihood(build(LONG_MODELS[name]), y, algorithm=algorithm)
    np.testing.assert_allclose(value, expected, rtol=1e-10)
