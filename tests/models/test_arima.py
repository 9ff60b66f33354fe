"""ARIMA: against statsmodels' SARIMAX and the differenced series; gradients, batches, errors."""

import numpy as np
import pytest
import tensorflow as tf
from oracles import finite_differences
from oracles.parameter_values import random_values, unit_values
from statsmodels.tsa.statespace.sarimax import SARIMAX

import statespace as ss
from statespace.models import ARIMA, Autoregressive, Irregular, LocalLevel, Regression
from statespace.models.parameters import InvertibleCoefficients, Parameterisation
from statespace.models.polynomials import multiplied

SPECS = [
    ARIMA((1, 0, 0)),
    ARIMA((0, 0, 1), mean=True),
    ARIMA((2, 0, 1), mean=True),
    ARIMA((0, 1, 0)),
    ARIMA((1, 1, 2), mean=True),
    ARIMA((0, 2, 2)),
    ARIMA((3, 0, 0), (0, 2, 1, 2)),
    ARIMA((0, 1, 1), (0, 1, 1, 4)),
    ARIMA((1, 1, 0), (1, 1, 0, 3), mean=True),
    ARIMA((1, 0, 1), (2, 0, 1, 2)),  # p at least the period: powers of B that meet
    ARIMA((0, 2, 0), (1, 0, 2, 5)),
    ARIMA(((1, 3), 0, (1, 4)), mean=True),
    ARIMA((0, 1, (3,)), ((2,), 0, (1, 3), 2)),
]
T = 40
every_spec = pytest.mark.parametrize("model", SPECS, ids=repr)


def series(num_missing=0, seed=3):
    """A random walk with a drift, [T, 1], NaN where missing."""
    generator = np.random.default_rng(seed)
    y = generator.normal(0.3, 1.0, (T, 1)).cumsum(axis=0)
    y[generator.choice(np.arange(1, T), num_missing, replace=False)] = np.nan
    return y


def num_differences(model):
    """How many values the differences cost: d + D s."""
    _, d, _ = model.order
    _, seasonal_d, _, period = model.seasonal_order or (0, 0, 0, 0)
    return d + seasonal_d * period


def log_likelihood(model, params, y, **known):
    ssm = model.build(params, **known)
    return ss.log_likelihood(ssm, y, diffuse_constant=model.diffuse_constant).numpy()


def sarimax(model, y, **options):
    """statsmodels' model of the same orders."""
    trend = "c" if model.mean else "n"
    seasonal = model.seasonal_order or (0, 0, 0, 0)
    return SARIMAX(y, order=model.order, seasonal_order=seasonal, trend=trend, **options)


def their_params(model, params):
    """Our values in statsmodels' order; its intercept is what the mean leaves of itself."""
    own = {name.removeprefix("arima."): value for name, value in params.items()}
    names = ("ar", "ma", "seasonal_ar", "seasonal_ma")
    vectors = [own.get(name, np.zeros(0)) for name in names]
    remains = (1 - vectors[0].sum()) * (1 - vectors[2].sum())
    intercept = [own["mean"] * remains] if model.mean else []
    return np.concatenate([intercept, *vectors, [own["scale"] ** 2]])


@every_spec
def test_log_likelihood_is_that_of_statsmodels_for_the_differenced_series(model):
    params, y = random_values(model), series()
    theirs = sarimax(model, y, simple_differencing=True)
    theirs.ssm.tolerance = 0.0  # or its filter takes covariances for settled too soon
    expected = theirs.loglike(their_params(model, params))
    np.testing.assert_allclose(log_likelihood(model, params, y), expected, rtol=0, atol=1e-8)


@every_spec
def test_log_likelihood_is_that_of_statsmodels_with_missing_values(model):
    params, y = random_values(model, seed=1), series(num_missing=6)
    theirs = sarimax(model, y, use_exact_diffuse=True)
    theirs.ssm.tolerance = 0.0
    constant = 0.5 * np.log(2 * np.pi) * num_differences(model)
    expected = theirs.loglike(their_params(model, params)) + constant
    np.testing.assert_allclose(log_likelihood(model, params, y), expected, rtol=0, atol=1e-8)


@pytest.mark.parametrize("model", [m for m in SPECS[4:] if num_differences(m)], ids=repr)
def test_log_likelihood_is_that_of_the_stationary_model_for_differences(model):
    (p, d, q), seasonal = model.order, model.seasonal_order
    stationary_seasonal = seasonal and (seasonal[0], 0, seasonal[2], seasonal[3])
    stationary = ARIMA((p, 0, q), stationary_seasonal, mean=model.mean)
    params, y = random_values(model), series()
    differences = np.diff(y, d, axis=0)
    for _ in range(seasonal[1] if seasonal else 0):
        differences = differences[seasonal[3] :] - differences[: -seasonal[3]]
    expected = log_likelihood(stationary, params, differences)
    np.testing.assert_allclose(log_likelihood(model, params, y), expected, rtol=1e-11)


@every_spec
@pytest.mark.parametrize("where", ["anywhere", "zero"])
def test_gradient_against_central_differences(model, where):
    """At coefficients of zero too, where the covariance of the start is singular."""
    y, parameterisation = series(num_missing=4), Parameterisation(model.parameters)
    free = np.random.default_rng(2).uniform(-0.8, 0.8, parameterisation.size)
    if where == "zero":
        free[:] = 0.0

    @tf.function(autograph=False)
    def height(free):
        ssm = model.build(parameterisation.values(free, unit_values(model)))
        return ss.log_likelihood(ssm, y, diffuse_constant="exclude")

    point = tf.constant(free)
    with tf.GradientTape() as tape:
        tape.watch(point)
        value = height(point)
    [expected] = finite_differences.gradient(lambda x: height(tf.constant(x)), [free], step=1e-4)
    np.testing.assert_allclose(tape.gradient(value, point), expected, rtol=1e-8, atol=1e-8)


@every_spec
def test_batched_values_give_one_model_each(model):
    params, y = random_values(model, (2, 3)), series(num_missing=4)
    together = log_likelihood(model, params, y)
    assert together.shape == (2, 3)
    for i in np.ndindex(2, 3):
        one = {name: value[i] for name, value in params.items()}
        np.testing.assert_allclose(together[i], log_likelihood(model, one, y), rtol=1e-10)


@every_spec
def test_free_coordinates_come_back_from_the_values(model):
    parameterisation = Parameterisation(model.parameters)
    free = np.random.default_rng(0).uniform(-1, 1, (3, parameterisation.size))
    values = parameterisation.values(tf.constant(free), unit_values(model))
    again = parameterisation.vector(values, unit_values(model))
    np.testing.assert_allclose(again, free, atol=1e-12)


@pytest.mark.parametrize("model", [SPECS[2], SPECS[4], SPECS[7], SPECS[8]], ids=repr)
def test_forecasts_are_those_of_statsmodels(model):
    params, y = random_values(model), series(num_missing=3)
    ours = ss.forecast(model.build(params), y, 9)
    theirs = sarimax(model, y, use_exact_diffuse=True)
    theirs.ssm.tolerance = 0.0
    expected = theirs.filter(their_params(model, params)).get_forecast(9)
    np.testing.assert_allclose(ours.observation_mean[:, 0], expected.predicted_mean, rtol=1e-9)
    np.testing.assert_allclose(
        ours.observation_covariance[:, 0, 0], expected.var_pred_mean, rtol=1e-9
    )


def test_regression_with_arima_errors_and_measurement_error():
    errors = ARIMA((1, 1, 1), (0, 1, 1, 4))
    model = errors + Regression(2, as_states=False) + Irregular()
    assert model.diffuse_constant == "exclude"
    features, y = np.random.default_rng(5).normal(size=(T, 2)), series(num_missing=5)
    params = random_values(errors) | {
        "regression.coefficients": np.array([0.7, -1.3]),
        "irregular.scale": 0.6,
    }
    theirs = sarimax(errors, y, exog=features, measurement_error=True, use_exact_diffuse=True)
    theirs.ssm.tolerance = 0.0
    process = their_params(errors, random_values(errors))
    values = np.concatenate(
        [params["regression.coefficients"], process[:-1], [0.6**2], process[-1:]]
    )
    expected = theirs.loglike(values) + 0.5 * np.log(2 * np.pi) * num_differences(errors)
    ours = log_likelihood(model, params, y, features=features)
    np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-8)


def test_a_pure_autoregression_is_the_component_of_that_name():
    coefficients, y = np.array([0.5, 0.2, -0.3]), series(num_missing=3)
    arima = {"arima.scale": 1.3, "arima.ar": coefficients}
    plain = {
        "irregular.scale": 0.0,
        "autoregressive.scale": 1.3,
        "autoregressive.coefficients": coefficients,
    }
    expected = ss.log_likelihood(Autoregressive(3).build(plain), y)
    np.testing.assert_allclose(log_likelihood(ARIMA((3, 0, 0)), arima, y), expected, rtol=1e-12)


def test_a_noisy_random_walk_is_the_local_level_model():
    y = series(num_missing=3)
    walk = {"arima.scale": 0.8, "irregular.scale": 0.5}
    level = {"level.scale": 0.8, "irregular.scale": 0.5}
    expected = ss.log_likelihood(LocalLevel().build(level), y, diffuse_constant="exclude")
    ours = log_likelihood(ARIMA((0, 1, 0)) + Irregular(), walk, y)
    np.testing.assert_allclose(ours, expected, rtol=1e-12)


def test_a_vague_start_tends_to_the_diffuse_one():
    """With variance v the density of the d first values lacks a factor of sqrt(v) each."""
    model, y, variance = ARIMA((1, 1, 0), (0, 1, 1, 3)), series(), 1e8
    params = random_values(model)
    vague = ss.log_likelihood(model.build(params, initial_variance=variance), y)
    missing = 0.5 * np.log(2 * np.pi * variance) * num_differences(model)
    np.testing.assert_allclose(vague + missing, log_likelihood(model, params, y), atol=1e-4)


def test_fitting_many_series_is_fitting_each():
    model = ARIMA((1, 1, 1))
    y = np.stack([series(seed=seed)[:, 0] for seed in range(3)])
    together = model.fit(y, verbose=0)
    for i, one in enumerate(y):
        alone = model.fit(one, verbose=0)
        np.testing.assert_allclose(together.log_likelihood[i], alone.log_likelihood, rtol=1e-9)
        np.testing.assert_allclose(together.params["arima.ma"][i], alone.params["arima.ma"])


def test_invertible_coefficients_are_invertible_and_complete():
    bijector = InvertibleCoefficients("x", (3,)).bijector
    free = np.random.default_rng(0).normal(size=(200, 3))
    for theta in bijector.forward(tf.constant(free)).numpy():
        assert np.abs(np.roots(np.r_[1.0, theta])).max() < 1
    theta = np.poly([0.95, 0.3 + 0.4j, 0.3 - 0.4j]).real[1:]
    np.testing.assert_allclose(bijector.forward(bijector.inverse(tf.constant(theta))), theta)


def test_log_det_of_the_invertible_bijector():
    bijector = InvertibleCoefficients("x", (3,)).bijector
    free = tf.Variable(np.random.default_rng(1).normal(size=3))
    with tf.GradientTape() as tape:
        value = bijector.forward(free + 0.0)
    _, expected = np.linalg.slogdet(tape.jacobian(value, free))
    np.testing.assert_allclose(bijector.forward_log_det_jacobian(free), expected, rtol=1e-10)


@pytest.mark.parametrize(
    ("p", "seasonal_p", "period"), [(1, 1, 12), (5, 2, 3), (0, 2, 4), (2, 0, 7)]
)
def test_product_of_polynomials(p, seasonal_p, period):
    generator = np.random.default_rng(p)
    a, b = generator.normal(size=(2, p)), generator.normal(size=(2, seasonal_p))
    product = multiplied(a, b, period)
    for i in range(2):
        spread = np.zeros(seasonal_p * period + 1)
        spread[::period] = np.r_[1.0, b[i]]
        expected = np.convolve(np.r_[1.0, a[i]], spread)
        np.testing.assert_allclose(product[i], expected, rtol=1e-14, atol=1e-15)


def test_names():
    model = ARIMA((1, 1, 1), (1, 0, 1, 4), mean=True)
    assert [p.name for p in model.parameters] == [
        "arima.scale",
        "arima.ar",
        "arima.ma",
        "arima.seasonal_ar",
        "arima.seasonal_ma",
        "arima.mean",
    ]
    assert model.state_names[:2] == ("arima_difference_0_lag_1", "arima_1")
    assert repr(model) == "ARIMA((1, 1, 1), (1, 0, 1, 4), mean=True)"
    assert eval(repr(model)) == model
    assert repr(ARIMA([[1, 4], 0, [1, 2]])) == "ARIMA(((1, 4), 0, 2))"
    assert eval("ARIMA(((1, 4), 0, 2))") == ARIMA(((1, 4), 0, (1, 2)))
    assert ARIMA((0, 0, (1, 4))).own_parameters[1].labels == ("arima.ma[1]", "arima.ma[4]")
    assert repr(ARIMA([0, 1, 1], name="errors")) == "ARIMA((0, 1, 1), name='errors')"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ARIMA((1, 1)), r"three whole numbers from zero; given was \(1, 1\)"),
        (lambda: ARIMA((1, -1, 0)), "three whole numbers from zero"),
        (lambda: ARIMA((1, 0.5, 0)), "three whole numbers from zero"),
        (lambda: ARIMA(3), "given was 3"),
        (lambda: ARIMA(((2, 1), 0, 0)), "lags, increasing from one"),
        (lambda: ARIMA(((0, 1), 0, 0)), "lags, increasing from one"),
        (lambda: ARIMA((1, (1, 2), 0)), "three whole numbers from zero"),
        (lambda: ARIMA(((), 0, 0)), "white noise"),
        (lambda: ARIMA("110"), "given was '110'"),
        (lambda: ARIMA((1, 0, 0), (1, 0, 0)), r"from 2 to 2000 steps; given was \(1, 0, 0\)"),
        (lambda: ARIMA((1, 0, 0), (1, 0, 0, 1)), "from 2 to 2000 steps"),
        (lambda: ARIMA((1, 0, 0), (1, 0, 0, 2001)), "from 2 to 2000 steps"),
        (lambda: ARIMA((0, 0, 0)), "white noise"),
        (lambda: ARIMA((0, 0, 0), (0, 0, 0, 12)), "white noise"),
        (lambda: ARIMA((1, 0, 0)) + ARIMA((0, 1, 1)), "no data could tell them apart"),
    ],
)
def test_models_that_make_no_sense(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_too_few_values_for_the_differences():
    with pytest.raises(ValueError, match=r"at least 16: .* 13 diffuse states and 3 parameters"):
        ARIMA((0, 1, 1), (0, 1, 1, 12)).fit(series()[:15, 0], verbose=0)


def test_a_guess_at_the_autoregression_is_least_squares():
    """Of a lag that both factors have the first has the coefficient."""
    y = series(num_missing=3)[np.newaxis]
    guess, _ = ARIMA(((2,), 0, 0), (1, 0, 0, 2)).own_start(y, None)
    past, now = y[0, :-2, 0], y[0, 2:, 0]
    seen = ~np.isnan(past + now)
    slope = past[seen] @ now[seen] / (past[seen] @ past[seen])
    np.testing.assert_allclose(guess["arima.ar"], [[min(slope, 0.98**2)]], rtol=1e-6)
    np.testing.assert_array_equal(guess["arima.seasonal_ar"], [[0.0]])


@pytest.mark.parametrize("offset", [0.0, 1e3, 1e6])
def test_a_mean_far_from_zero_is_found(offset):
    generator = np.random.default_rng(4)
    y = generator.normal(size=150)
    for i in range(1, 150):
        y[i] += 0.6 * y[i - 1]
    result = ARIMA((1, 0, 0), mean=True).fit(y + offset, verbose=0)
    assert result.converged
    assert result.params["arima.mean"] - offset == pytest.approx(y.mean(), abs=0.2)
    assert result.params["arima.ar"][0] == pytest.approx(0.6, abs=0.15)
