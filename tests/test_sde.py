"""Discretisation of stochastic differential equations, and the model built from it."""

import mpmath
import numpy as np
import pytest
import scipy.linalg
import tensorflow as tf
from oracles.finite_differences import gradient

import statespace as ss
from statespace.sde import discretise, intervals

RNG = np.random.default_rng(0)
CASES = {  # name: (drift, diffusion, offset, lengths of intervals)
    "one source of noise": (*(RNG.normal(size=s) for s in ((3, 3), (3, 1), 3)), [1e-8, 0.3, 4.0]),
    "stiff": (
        np.array([[-1e-6, 1.0, 0.0], [0.0, -1.0, 2.0], [0.0, 0.0, -300.0]]),
        RNG.normal(size=(3, 2)),
        np.ones(3),
        [1e-8, 0.1, 1.0, 5.0],
    ),
    "chain of integrators": (np.eye(4, k=1), np.eye(4)[:, 3:], np.ones(4), [1e-8, 1.0, 1e4]),
    "unstable": (np.array([[1.0, 3.0], [0.0, 0.5]]), np.eye(2), np.ones(2), [1e-8, 10.0, 30.0]),
}


def exact(drift, diffusion, offset, h):
    """F, Q and b by the textbook's block exponentials, in as many digits as these need."""
    n = len(drift)
    with mpmath.workdps(60 + int(np.abs(np.linalg.eigvals(drift)).max() * h)):
        a, q = mpmath.matrix(drift.tolist()), mpmath.matrix((diffusion @ diffusion.T).tolist())
        block, affine = mpmath.zeros(2 * n), mpmath.zeros(n + 1)
        block[:n, :n], block[:n, n:], block[n:, n:] = -a * h, q * h, a.T * h
        affine[:n, :n], affine[:n, n] = a * h, mpmath.matrix(offset.tolist()) * h
        exponential = mpmath.expm(block, method="taylor")
        f = exponential[n:, n:].T
        q, b = f * exponential[:n, n:], mpmath.expm(affine, method="taylor")[:n, n]
        return tuple(np.array(x.tolist(), np.float64) for x in (f, q, b.T))


def run(drift, diffusion, offset, h):
    f, g, b = discretise("test", *(tf.constant(x) for x in (drift, diffusion, offset)), h)
    return f, g, b


def covariance(g):
    return tf.matmul(g, g, transpose_b=True)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_against_exact_arithmetic(case, native):
    *model, lengths = case
    f, g, b = run(*model, tf.constant(lengths, tf.float64))
    for t, h in enumerate(lengths):
        f_exact, q_exact, b_exact = exact(*model, h)
        np.testing.assert_allclose(
            f[t], f_exact, rtol=0, atol=5e-15 * np.abs(f_exact).max() + 1e-16
        )
        # Each entry relative to its own standard deviations, be they h^3.5 and h^0.5.
        deviations = np.sqrt(np.diag(q_exact))
        scaled = g[t].numpy() / deviations[:, np.newaxis]
        wanted = q_exact / np.outer(deviations, deviations)
        np.testing.assert_allclose(scaled @ scaled.T, wanted, rtol=0, atol=2e-14)
        np.testing.assert_allclose(b[t], b_exact[0], rtol=0, atol=5e-15 * np.abs(b_exact).max())


@pytest.mark.parametrize("h", [1e-8, 1e-3, 1.0, 1e4])
def test_closed_forms(h, native):
    lengths = tf.constant([h], tf.float64)
    # Integrated Wiener process.
    f, g, _ = run(np.eye(2, k=1), np.array([[0.0], [2.0]]), np.zeros(2), lengths)
    np.testing.assert_allclose(f[0], [[1.0, h], [0.0, 1.0]], rtol=1e-14)
    expected = 4.0 * np.array([[h**3 / 3, h**2 / 2], [h**2 / 2, h]])
    np.testing.assert_allclose(covariance(g)[0], expected, rtol=2e-14)
    # Ornstein-Uhlenbeck process about a mean of 5.
    rate, noise = 3.0, 0.7
    f, g, b = run(np.array([[-rate]]), np.array([[noise]]), np.array([5.0 * rate]), lengths)
    np.testing.assert_allclose(f[0, 0, 0], np.exp(-rate * h), rtol=1e-14, atol=1e-16)
    np.testing.assert_allclose(b[0, 0], -5.0 * np.expm1(-rate * h), rtol=1e-14)
    expected = -(noise**2) * np.expm1(-2 * rate * h) / (2 * rate)
    np.testing.assert_allclose(g[0, 0, 0], np.sqrt(expected), rtol=1e-14)


def test_matern_forgets_its_start(native):
    """A Matern 3/2 process, started anywhere, becomes stationary: variances s^2 and s^2 l^2."""
    l, s = 2.0, 1.5
    drift, diffusion = np.array([[0.0, 1.0], [-l * l, -2 * l]]), np.array([[0.0], [2 * s * l**1.5]])
    f, g, _ = run(drift, diffusion, np.zeros(2), tf.constant([0.7, 1e4], tf.float64))
    np.testing.assert_allclose(f[0], scipy.linalg.expm(0.7 * drift), rtol=1e-14)
    np.testing.assert_allclose(f[1], np.zeros((2, 2)), atol=1e-15)
    np.testing.assert_allclose(covariance(g)[1], s**2 * np.diag([1.0, l**2]), atol=1e-13)


def test_many_states():
    """More than there are nodes and factorials: a ring of 200 cells, with noise in one of them."""
    n = 200
    drift = np.roll(np.eye(n), 1, axis=1) + np.roll(np.eye(n), -1, axis=1) - 2.1 * np.eye(n)
    f, g, _ = run(drift, np.eye(n)[:, :1], np.zeros(n), tf.constant([0.1, 3.0], tf.float64))
    values, vectors = np.linalg.eigh(drift)
    for t, h in enumerate((0.1, 3.0)):
        np.testing.assert_allclose(f[t], (vectors * np.exp(h * values)) @ vectors.T, atol=1e-13)
        sums = values[:, np.newaxis] + values
        expected = np.outer(vectors[0], vectors[0]) * np.expm1(h * sums) / sums
        np.testing.assert_allclose(covariance(g)[t], vectors @ expected @ vectors.T, atol=1e-13)


def test_intervals_of_no_length(native):
    h = tf.constant([0.0, 1.0, 0.0], tf.float64)
    drift, diffusion = tf.constant(CASES["unstable"][0]), tf.constant([[1.0], [0.0]], tf.float64)
    with tf.GradientTape() as tape:
        tape.watch([h, drift, diffusion])
        f, g, b = discretise("test", drift, diffusion, tf.ones(2, tf.float64), h)
        total = tf.reduce_sum(f) + tf.reduce_sum(covariance(g)) + tf.reduce_sum(b)
    for t in (0, 2):
        np.testing.assert_array_equal(f[t], np.eye(2))
        np.testing.assert_array_equal(g[t], np.zeros((2, 2)))
        np.testing.assert_array_equal(b[t], np.zeros(2))
    for x in tape.gradient(total, [h, drift, diffusion]):
        assert np.all(np.isfinite(x))


@pytest.mark.parametrize("columns", [0, 1, 2])
def test_gradients(columns, native):
    """Of a smooth function of F, b and Q; intervals that need none, some and many doublings."""
    rng = np.random.default_rng(1)
    drift, diffusion = rng.normal(size=(2, 3, 3)), rng.normal(size=(3, columns))
    arguments = [drift, diffusion, rng.normal(size=3), np.array([0.02, 0.7, 2.3])]
    weights = [rng.normal(size=(2, 3, *s)) for s in ((3, 3), (3, 3), (3,))]

    def function(*arguments):
        f, g, b = discretise("test", *arguments)
        terms = zip(weights, (f, covariance(g), b), strict=True)
        return tf.add_n([tf.reduce_sum(w * x) for w, x in terms])

    variables = [tf.constant(x) for x in arguments]
    with tf.GradientTape() as tape:
        tape.watch(variables)
        value = function(*variables)
    compiled = tf.function(function)
    expected = gradient(lambda *x: compiled(*(tf.constant(y) for y in x)), arguments, step=1e-4)
    for x, z in zip(tape.gradient(value, variables), expected, strict=True):
        np.testing.assert_allclose(x, z, rtol=1e-8, atol=1e-8 * np.max(np.abs(z), initial=1.0))


def oscillator(times, dtype=np.float64, **changes):
    arguments = {
        "drift": [[0.0, 1.0], [-1.0, -0.2]],
        "diffusion": [[0.0], [0.8]],
        "observation_matrix": [[1.0, 0.0]],
        "observation_scale": [[0.3]],
        "initial_mean": [1.0, 0.0],
        "initial_scale": [[0.5, 0.0], [0.1, 0.5]],
        "drift_offset": [0.1, 0.4],
    } | changes
    arguments = {
        name: tf.cast(np.asarray(x) if isinstance(x, list) else x, dtype)
        if name != "diffuse"
        else x
        for name, x in arguments.items()
    }
    return ss.LinearGaussianSSM.from_sde(times=times, **arguments)


def test_gradient_of_the_likelihood():
    rng = np.random.default_rng(2)
    times, y = np.sort(rng.uniform(0, 10, 7)), rng.normal(size=(7, 1))
    arguments = [np.array([[0.0, 1.0], [-1.0, -0.2]]), np.array([[0.0], [0.8]]), times]

    def function(drift, diffusion, times):
        return ss.log_likelihood(oscillator(times, drift=drift, diffusion=diffusion), y)

    variables = [tf.constant(x) for x in arguments]
    with tf.GradientTape() as tape:
        tape.watch(variables)
        value = function(*variables)
    compiled = tf.function(function)
    expected = gradient(lambda *x: compiled(*(tf.constant(y) for y in x)), arguments)
    for x, z in zip(tape.gradient(value, variables), expected, strict=True):
        np.testing.assert_allclose(x, z, rtol=1e-8, atol=1e-8 * np.max(np.abs(z)))


def test_second_derivatives():
    weights = np.random.default_rng(7).normal(size=(2, 2))
    h = tf.constant([0.2, 1.4], tf.float64)

    @tf.function
    def first_and_second(rate):
        with tf.GradientTape() as outer:
            outer.watch(rate)
            with tf.GradientTape() as inner:
                inner.watch(rate)
                drift = rate * tf.constant([[0.0, 1.0], [-1.0, -0.2]], tf.float64)
                diffusion = tf.constant([[0.0], [0.8]], tf.float64)
                f, g, _ = discretise("test", drift, diffusion, None, h)
                value = tf.reduce_sum(weights * (f + covariance(g)))
            first = inner.gradient(value, rate)
        return first, outer.gradient(first, rate)

    _, second = first_and_second(tf.constant(1.3, tf.float64))
    (expected,) = gradient(lambda rate: first_and_second(tf.constant(rate))[0], [1.3])
    np.testing.assert_allclose(second, expected, rtol=1e-8)


def test_subdivision_changes_nothing():
    """Chapman-Kolmogorov: times at which nothing is seen leave the likelihood as it is."""
    rng = np.random.default_rng(3)
    times, y = np.sort(rng.uniform(0, 20, 9)), rng.normal(size=(9, 1))
    extra = rng.uniform(times[0], times[-1], 30)
    order = np.argsort(np.concatenate([times, extra]))
    longer = np.concatenate([y, np.full((30, 1), np.nan)])[order]
    coarse = ss.log_likelihood(oscillator(times), y)
    fine = ss.log_likelihood(oscillator(np.concatenate([times, extra])[order]), longer)
    np.testing.assert_allclose(fine, coarse, rtol=1e-13)


def test_repeated_times_are_one_instant():
    """Two observations at once are one observation of two components."""
    model = oscillator([0.0, 1.0, 1.0, 2.5])
    both = oscillator(
        [0.0, 1.0, 2.5],
        observation_matrix=[[1.0, 0.0], [1.0, 0.0]],
        observation_scale=[[0.3, 0.0], [0.0, 0.3]],
    )
    y = np.array([[0.4, np.nan], [0.9, 0.7], [0.2, np.nan]])
    np.testing.assert_allclose(
        ss.log_likelihood(model, [[0.4], [0.9], [0.7], [0.2]]),
        ss.log_likelihood(both, y),
        rtol=1e-13,
    )


def test_forecast_between_future_times():
    y = np.array([[0.3], [0.8], [0.1]])
    times = [0.0, 1.0, 1.5, 4.0, 9.0]
    ahead = ss.forecast(oscillator(times), y, 2)
    result = ss.kalman_filter(oscillator(times), np.concatenate([y, np.full((2, 1), np.nan)]))
    np.testing.assert_allclose(ahead.state_mean, result.predicted_mean[3:], rtol=1e-13)
    drift = np.array([[0.0, 1.0, 0.1], [-1.0, -0.2, 0.4], [0.0, 0.0, 0.0]])
    start = np.append(ss.kalman_filter(oscillator(times[:3]), y).filtered_mean[-1], 1.0)
    for h, mean in zip((2.5, 7.5), ahead.state_mean, strict=True):
        np.testing.assert_allclose(mean, (scipy.linalg.expm(h * drift) @ start)[:2], rtol=1e-12)


def test_batches_broadcast():
    """Times and coefficients per series, alone and together, against one series at a time."""
    rng = np.random.default_rng(4)
    drift, diffusion = rng.normal(size=(4, 1, 2, 2)), rng.normal(size=(3, 2, 1))
    times, y = np.sort(rng.uniform(0, 4, size=(4, 3, 6))), rng.normal(size=(4, 3, 6, 1))
    together = ss.log_likelihood(oscillator(times, drift=drift, diffusion=diffusion), y)
    assert together.shape == (4, 3)
    shared = ss.log_likelihood(oscillator(times[0, 0], drift=drift, diffusion=diffusion), y)
    for i, j in np.ndindex(4, 3):
        for value, when in ((together, times[i, j]), (shared, times[0, 0])):
            model = oscillator(when, drift=drift[i, 0], diffusion=diffusion[j])
            np.testing.assert_allclose(value[i, j], ss.log_likelihood(model, y[i, j]), rtol=1e-11)


@pytest.mark.parametrize("jit", [False, True])
def test_graph_and_xla_equal_eager(jit):
    rng = np.random.default_rng(5)
    times, y = np.sort(rng.uniform(0, 10, size=(2, 7))), rng.normal(size=(2, 7, 1))

    def value_and_gradient(times, diffusion):
        with tf.GradientTape() as tape:
            tape.watch([times, diffusion])
            value = ss.log_likelihood(oscillator(times, diffusion=diffusion), y)
        return value, *tape.gradient(value, [times, diffusion])

    arguments = tf.constant(times), tf.constant([[0.0], [0.8]], tf.float64)
    signature = [
        tf.TensorSpec([2, 7] if jit else [None, None], tf.float64),
        tf.TensorSpec([2, 1], tf.float64),
    ]
    compiled = tf.function(value_and_gradient, input_signature=signature, jit_compile=jit)
    for x, z in zip(compiled(*arguments), value_and_gradient(*arguments), strict=True):
        np.testing.assert_allclose(x, z, rtol=1e-11, atol=1e-11)


def test_float32_with_large_float64_times():
    rng = np.random.default_rng(6)
    times, y = np.sort(rng.uniform(0, 10, 20)), rng.normal(size=(20, 1))
    double = ss.log_likelihood(oscillator(times), y)
    model = oscillator(1.7e9 + np.round(times, 6), np.float32)
    assert model.transition_scale.dtype == tf.float32
    single = ss.log_likelihood(model, y.astype(np.float32))
    np.testing.assert_allclose(single, double, rtol=2e-5)
    # Short steps of a long chain of integrators do not underflow on the way.
    h = tf.constant([1e-8], tf.float32)
    chain = np.eye(3, k=1, dtype=np.float32), np.eye(3, dtype=np.float32)[:, 2:]
    f, g, _ = discretise("test", tf.constant(chain[0]), tf.constant(chain[1]), None, h)
    assert f.dtype == g.dtype == tf.float32
    expected = [np.sqrt(1e-40 / 20), np.sqrt(1e-24 / 3), np.sqrt(1e-8)]
    np.testing.assert_allclose(
        np.linalg.norm(g[0].numpy().astype(np.float64), axis=-1), expected, rtol=1e-6
    )


def test_no_numbers_for_intervals_beyond_reach(native):
    f, g, b = run(
        np.array([[-1.0]]), np.ones((1, 1)), np.ones(1), tf.constant([1e30, 1.0], tf.float64)
    )
    for x in (f, g, b):
        assert np.all(np.isnan(x[0]))
        assert np.all(np.isfinite(x[1]))


def test_times_that_decrease_are_refused():
    for times in ([0.0, 2.0, 1.0], [0.0, np.nan, 1.0], [0.0, np.inf, np.inf]):
        with pytest.raises(tf.errors.InvalidArgumentError, match=r"from_sde: times must.*decrease"):
            oscillator(times)
    decreasing = tf.function(lambda t: oscillator(t).transition_scale, jit_compile=True)
    assert np.all(np.isnan(decreasing(tf.constant([0.0, 2.0, 1.0], tf.float64))[1]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"drift": np.ones((2, 3))}, r"from_sde: drift has shape \(2, 3\).*square"),
        ({"drift": np.ones(2)}, r"from_sde: drift has shape \(2,\)"),
        ({"diffusion": np.ones((3, 1))}, r"from_sde: diffusion has shape \(3, 1\).*n = 2.*drift"),
        ({"drift_offset": np.ones(3)}, r"from_sde: drift_offset has shape \(3,\).*n = 2"),
        ({"times": 1.0}, r"from_sde: times has shape \(\).*\[\.\.\., T\]"),
        ({"times": "noon"}, "from_sde: times is not an array of numbers"),
        ({"observation_matrix": np.ones((1, 3))}, r"observation_matrix.*n = 2"),
    ],
)
def test_refuses_by_name(change, message):
    arguments = {"times": [0.0, 1.0]} | change
    with pytest.raises(ValueError, match=message):
        oscillator(**arguments)


def test_intervals():
    np.testing.assert_array_equal(intervals("test", [1, 2, 4], tf.float32), [1.0, 2.0, 0.0])
    assert intervals("test", np.zeros((3, 0)), tf.float64).shape == (3, 0)
    assert oscillator([0.0, 1.0], diffuse=[True, False]).diffuse is not None
