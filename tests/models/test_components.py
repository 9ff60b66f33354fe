"""What every model of the library must do: batches, gradients, starts, starting values."""

import numpy as np
import pytest
import tensorflow as tf

import statespace as ss
from statespace import models
from statespace.models.parameters import Bounded, Parameterisation, StationaryCoefficients


def damped_walk(noise, step, memory):
    """A model written down by a user."""
    return ss.LinearGaussianSSM(
        memory[tf.newaxis, tf.newaxis],
        step[tf.newaxis, tf.newaxis],
        [[1.0]],
        noise[tf.newaxis, tf.newaxis],
        [0.0],
        [[1.0]],
    )


MODELS = [
    models.LocalLevel(),
    models.LocalLinearTrend(),
    models.SmoothTrend() + models.TrigonometricSeasonal(4),
    models.DampedTrend(),
    models.LocalLevel() + models.Seasonal(2),
    models.LocalLinearTrend() + models.Seasonal(4),
    models.LocalLevel() + models.Seasonal(5) + models.Seasonal(3),
    models.LocalLevel() + models.TrigonometricSeasonal(6.5, 2),
    models.LocalLevel() + models.Cycle(),
    models.LocalLevel() + models.Cycle(3, 9, damped=False),
    models.Autoregressive(1) + models.Irregular(),
    models.LocalLevel() + models.Autoregressive(3),
    models.LocalLevel() + models.Regression(2),
    models.LocalLevel() + models.Regression(2, as_states=False),
    models.DynamicRegression(2),
    models.MaternProcess(0.5),
    models.MaternProcess(1.5),
    models.MaternProcess(2.5) + models.MaternProcess(0.5, name="rough"),
    models.ConstantVelocity(2),
    models.ConstantAcceleration(1),
    models.ARIMA((1, 1, 2)),
    models.ARIMA((0, 1, 1), (1, 0, 1, 3), mean=True),
    models.ARIMA((2, 0, 0)) + models.Irregular() + models.Regression(1, as_states=False),
    models.ExponentialSmoothing(),
    models.ExponentialSmoothing("add", damped=True, seasonal="add", period=3),
    models.VectorAutoregressive(2, 2),
    models.DynamicFactor(1, 1, 3, error_order=1),
    models.Custom(
        damped_walk,
        (
            models.parameters.Scale("noise"),
            models.parameters.Scale("step"),
            Bounded("memory", low=-1.0, high=1.0),
        ),
    ),
]
NUM_STEPS = 14


def data(model, seed=1):
    """A series with a gap, and the features the model wants."""
    generator = np.random.default_rng(seed)
    y = generator.normal(size=(NUM_STEPS, model.num_observed)).cumsum(axis=0)
    y[4, 0] = np.nan
    features = generator.normal(size=(NUM_STEPS, model.num_features)).cumsum(axis=0)
    return y, {"features": features} if model.num_features else {}


def point(model, shape=(), seed=0):
    """Free coordinates, and the values there."""
    parameterisation = Parameterisation(model.parameters)
    free = np.random.default_rng(seed).uniform(-1, 1, (*shape, parameterisation.size))
    return free, parameterisation.values(tf.constant(free), units(model))


def units(model):
    return {p.name: 1.0 for p in model.parameters}


@pytest.mark.parametrize("model", MODELS, ids=repr)
def test_batched_values_give_one_model_each(model):
    y, known = data(model)
    _, batched = point(model, (2, 3))
    together = ss.log_likelihood(model.build(batched, **known), y)
    assert together.shape == (2, 3)
    for i in np.ndindex(2, 3):
        one = {name: value[i] for name, value in batched.items()}
        alone = ss.log_likelihood(model.build(one, **known), y)
        np.testing.assert_allclose(together[i], alone, rtol=1e-10)


STARTS = [(model, {}) for model in MODELS] + [
    (model, {"initial_variance": 10.0})  # in place of a diffuse start
    for model in (models.LocalLinearTrend(), models.LocalLevel() + models.Seasonal(2))
]


@pytest.mark.parametrize(("model", "start"), STARTS, ids=repr)
def test_gradient_against_central_differences(model, start):
    y, known = data(model)
    parameterisation, step = Parameterisation(model.parameters), 1e-5

    @tf.function
    def height(free):
        params = parameterisation.values(free, units(model))
        return ss.log_likelihood(model.build(params, **known, **start), y)

    free = tf.constant(point(model)[0])
    with tf.GradientTape() as tape:
        tape.watch(free)
        value = height(free)
    gradient = tape.gradient(value, free)
    steps = step * np.eye(parameterisation.size)
    differences = height(tf.constant(free + steps)) - height(tf.constant(free - steps))
    np.testing.assert_allclose(gradient, differences / (2 * step), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("model", MODELS, ids=repr)
def test_free_coordinates_come_back_from_the_values(model):
    free, values = point(model, (3,))
    again = Parameterisation(model.parameters).vector(values, units(model))
    np.testing.assert_allclose(again, free, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("model", [m for m in MODELS if m.uses_times], ids=repr)
def test_times_one_apart_are_the_steps(model):
    y, _ = data(model)
    _, params = point(model)
    steps = ss.log_likelihood(model.build(params), y)
    times = ss.log_likelihood(model.build(params, times=np.arange(NUM_STEPS) + 7.0), y)
    np.testing.assert_allclose(steps, times, rtol=1e-12)


@pytest.mark.parametrize("model", [m for m in MODELS if m.uses_times], ids=repr)
def test_irregular_times_are_regular_ones_with_gaps(model):
    y, _ = data(model)
    _, params = point(model)
    seen = np.array([0, 1, 3, 4, 7, 11, 12, 13])
    gaps = np.full_like(y, np.nan)
    gaps[seen] = y[seen]
    irregular = ss.log_likelihood(model.build(params, times=seen.astype(float)), y[seen])
    np.testing.assert_allclose(irregular, ss.log_likelihood(model.build(params), gaps), rtol=1e-10)


@pytest.mark.parametrize("nu", [0.5, 1.5, 2.5])
def test_matern_process_has_the_matern_covariance(nu):
    times = np.array([0.0, 0.3, 1.1, 1.2, 4.0])
    values = {"irregular.scale": 0.2, "matern.scale": 1.7, "matern.length_scale": 0.8}
    r = np.sqrt(2 * nu) * np.abs(times[:, np.newaxis] - times) / 0.8
    shape = {0.5: 1.0, 1.5: 1 + r, 2.5: 1 + r + r**2 / 3}[nu]
    covariance = 1.7**2 * shape * np.exp(-r) + 0.2**2 * np.eye(5)
    y = np.random.default_rng(0).normal(size=5)
    _, log_det = np.linalg.slogdet(2 * np.pi * covariance)
    expected = -0.5 * (log_det + y @ np.linalg.solve(covariance, y))
    ssm = models.MaternProcess(nu).build(values, times=times)
    np.testing.assert_allclose(ss.log_likelihood(ssm, y[:, np.newaxis]), expected, rtol=1e-11)


def test_motion_is_the_exact_discretisation_of_its_equation():
    times = np.array([0.0, 0.5, 0.7, 3.0])
    values = {"irregular.scale": 0.3, "motion.scale": 1.3}
    for model, n in ((models.ConstantVelocity(1), 2), (models.ConstantAcceleration(1), 3)):
        ours = model.build(values, times=times)
        theirs = ss.LinearGaussianSSM.from_sde(
            np.eye(n, k=1),
            1.3 * np.eye(n)[:, -1:],
            np.eye(1, n),
            [[0.3]],
            times,
            np.zeros(n),
            np.eye(n),
        )
        np.testing.assert_allclose(ours.transition_matrix, theirs.transition_matrix, rtol=1e-12)
        q = [
            g @ tf.linalg.matrix_transpose(g)
            for g in (ours.transition_scale, theirs.transition_scale)
        ]
        np.testing.assert_allclose(*q, rtol=1e-11, atol=1e-14)


def test_stationary_coefficients_are_stationary_and_complete():
    bijector = StationaryCoefficients("x", (4,)).bijector
    free = tf.constant(np.random.default_rng(0).normal(size=(200, 4)))
    for phi in bijector.forward(free).numpy():
        assert np.abs(np.roots(np.r_[1.0, -phi])).max() < 1
    # Any stationary process: coefficients from roots inside the circle, and back.
    phi = -np.poly([0.9, -0.5, 0.3 + 0.4j, 0.3 - 0.4j]).real[1:]
    np.testing.assert_allclose(bijector.forward(bijector.inverse(tf.constant(phi))), phi)


def test_log_det_of_the_stationary_bijector():
    bijector = StationaryCoefficients("x", (4,)).bijector
    free = tf.Variable(np.random.default_rng(1).normal(size=4))
    with tf.GradientTape() as tape:
        value = bijector.forward(free + 0.0)
    expected = np.linalg.slogdet(tape.jacobian(value, free))[1]
    np.testing.assert_allclose(bijector.forward_log_det_jacobian(free), expected, rtol=1e-10)


def test_stationary_start_solves_the_lyapunov_equation():
    from scipy.linalg import solve_discrete_lyapunov

    params = {
        "irregular.scale": 0.0,
        "autoregressive.scale": 1.5,
        "autoregressive.coefficients": [1.2, -0.5, 0.1],
    }
    ssm = models.Autoregressive(3).build(params)
    g = ssm.transition_scale.numpy()
    start = ssm.initial_scale @ tf.transpose(ssm.initial_scale)
    expected = solve_discrete_lyapunov(ssm.transition_matrix.numpy(), g @ g.T)
    np.testing.assert_allclose(start, expected, rtol=1e-10)


def test_a_process_that_explains_its_noise_has_no_irregular():
    class Silent(models.LocalLevel):
        explains_noise = True

    assert [p.name for p in Silent().parameters] == ["level.scale"]
    assert [p.name for p in (Silent() + models.Irregular()).parameters] == [
        "level.scale",
        "irregular.scale",
    ]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: models.TrigonometricSeasonal(1), "at least 2"),
        (lambda: models.TrigonometricSeasonal(7, 4), "from 1 to 3 harmonics"),
        (lambda: models.Cycle(2, 10), "shortest above 2"),
        (lambda: models.Autoregressive(0), "positive whole number"),
        (lambda: models.Regression(0), "positive whole number"),
        (lambda: models.MaternProcess(2), "0.5, 1.5 or 2.5"),
        (lambda: models.ConstantVelocity(1.5), "positive whole number"),
        (lambda: models.ConstantVelocity(2) + models.LocalLevel(), "numbers? of variables"),
        (lambda: models.Custom(damped_walk, (models.parameters.Scale("noise"),)), "same names"),
        (lambda: models.LocalLevel() + models.DampedTrend(), "no data could tell them apart"),
        (lambda: models.Regression(2).build({"irregular.scale": 1.0}), "needs features"),
        (
            lambda: models.Regression(2).build({"irregular.scale": 1.0}, features=np.ones((5, 3))),
            r"features has shape \(5, 3\)",
        ),
        (
            lambda: models.LocalLevel().build(
                {"irregular.scale": 1.0, "level.scale": 1.0}, features=np.ones((5, 3))
            ),
            "no use for features",
        ),
        (
            lambda: models.Autoregressive(2).build(
                {
                    "irregular.scale": 1.0,
                    "autoregressive.scale": 1.0,
                    "autoregressive.coefficients": [0.5],
                }
            ),
            r"autoregressive.coefficients has shape \(1,\)",
        ),
    ],
)
def test_models_that_make_no_sense(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_models_are_equal_if_they_are_written_alike():
    assert models.TrigonometricSeasonal(365.2425, 2) != models.TrigonometricSeasonal(365.243, 2)
    assert models.TrigonometricSeasonal(12.0, 2) == models.TrigonometricSeasonal(12, 2)
    assert models.Cycle(3.00000001, 9) != models.Cycle(3, 9)
    assert models.Seasonal(12, name="seasonal_12") != models.Seasonal(12)
    assert models.LocalLevel() + models.Seasonal(4) == models.LocalLevel() + models.Seasonal(4)


def test_functions_of_one_name_are_different_models():
    def made(factor):
        return models.Custom(
            lambda step: damped_walk(step, factor * step, tf.constant(0.5, tf.float64))
        )

    one, two = made(1.0), made(3.0)
    assert one != two
    y = np.random.default_rng(0).normal(size=20)
    heights = [m.fit(y, fix={"step": 1.0}, verbose=0).log_likelihood for m in (one, two)]
    assert heights[0] != heights[1]
