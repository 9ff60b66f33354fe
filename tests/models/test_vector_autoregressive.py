"""Vector autoregressions: against statsmodels and least squares; starts, gradients, batches."""

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from oracles import finite_differences
from oracles.parameter_values import random_values, unit_values
from scipy.linalg import solve_discrete_lyapunov
from statsmodels.tsa.statespace.tools import unconstrain_stationary_multivariate
from statsmodels.tsa.statespace.varmax import VARMAX

import statespace as ss
from statespace.forecasting.expression import parse_model
from statespace.models import VectorAutoregressive
from statespace.models.parameters import (
    Location,
    LowerTriangle,
    Parameterisation,
    StationaryCoefficients,
)
from statespace.models.stationary import block_companion
from statespace.models.stationary_matrices import StationaryMatrices

MODELS = [
    VectorAutoregressive(1, 3, mean=False),
    VectorAutoregressive(2, 2),
    VectorAutoregressive(3, 2, measurement_error=True),
    VectorAutoregressive(2, 3, correlated=False),
    VectorAutoregressive(2, 1, mean=False),
    VectorAutoregressive(2, 2, stationary=False),
    VectorAutoregressive(1, 2, stationary=False, measurement_error=True),
    VectorAutoregressive(0, 2),
    VectorAutoregressive(0, 2, moving_average=2, mean=False),
    VectorAutoregressive(2, 2, moving_average=1, measurement_error=True),
    VectorAutoregressive(
        [[[1, 0], [1, 1]], [[0, 0], [0, 1]]], 2, moving_average=[[[0, 1], [0, 1]]]
    ),
]
STATIONARY = [model for model in MODELS if model.stationary]
T = 30
every_model = pytest.mark.parametrize("model", MODELS, ids=repr)
every_model_of_statsmodels = pytest.mark.parametrize(
    "model",
    [m for m in STATIONARY if m.num_observed > 1 and (m.order or m.moving_average)],
    ids=repr,
)
every_stationary_model = pytest.mark.parametrize("model", STATIONARY, ids=repr)


def series(m, gaps=False, seed=1, num_steps=T):
    """Correlated series that remember, [T, m]; with single values and whole steps missing."""
    generator = np.random.default_rng(seed)
    y = generator.normal(size=(num_steps, m)) @ generator.normal(size=(m, m))
    for t in range(1, num_steps):
        y[t] += 0.6 * y[t - 1] - 0.2 * y[t - 1, ::-1]
    if gaps:
        y[[3, 11], 0] = np.nan
        y[17:19] = np.nan
    return y


def log_likelihood(model, params, y):
    ssm = model.build(params)
    return ss.log_likelihood(ssm, y, diffuse_constant=model.diffuse_constant).numpy()


def factor(model, params):
    """The Cholesky factor of the innovations' covariance."""
    m, elements = model.num_observed, params["autoregression.scale"]
    if not model.correlated:
        return np.diag(elements)
    result = np.zeros((m, m))
    result[np.tril_indices(m)] = elements
    return result


def coefficients(model, params):
    """The matrices Phi [p, m, m] and Theta [q, m, m]."""
    m = model.num_observed
    for name, order in (
        ("autoregression.coefficients", model.order),
        ("moving_average.coefficients", model.moving_average),
    ):
        values = params.get(name, np.zeros((0, m, m)))
        if not isinstance(order, int):
            matrices = np.array(order, float)
            matrices[matrices != 0] = values
            values = matrices
        yield values


def varmax(model, params, y):
    """statsmodels' model of the series less their means, and its parameters."""
    m = model.num_observed
    phi, theta = coefficients(model, params)
    theirs = VARMAX(
        y - params.get("mean", np.zeros(m)),
        order=(len(phi), len(theta)),
        trend="n",
        error_cov_type="unstructured" if model.correlated else "diagonal",
        measurement_error=model.measurement_error,
    )
    theirs.ssm.tolerance = 0.0  # or its filter takes covariances for settled too soon
    rows = np.concatenate([np.moveaxis(x, 0, 1).reshape(-1) for x in (phi, theta)])
    scale = params["autoregression.scale"]
    errors = params.get("measurement.scale", np.zeros(0))
    return theirs, np.concatenate([rows, scale if model.correlated else scale**2, errors**2])


@pytest.mark.parametrize("gaps", [False, True], ids=["complete", "gaps"])
@every_model_of_statsmodels
def test_log_likelihood_is_that_of_statsmodels(model, gaps):
    params, y = random_values(model), series(model.num_observed, gaps)
    theirs, their_params = varmax(model, params, y)
    expected = theirs.loglike(their_params)
    np.testing.assert_allclose(log_likelihood(model, params, y), expected, rtol=0, atol=1e-8)


@every_model_of_statsmodels
def test_forecast_is_that_of_statsmodels(model):
    params, y = random_values(model), series(model.num_observed, gaps=True)
    forecast = model.fit(y, fix=params, verbose=0).forecast(5)
    theirs, their_params = varmax(model, params, y)
    expected = theirs.smooth(their_params).get_forecast(5)
    mean = expected.predicted_mean + params.get("mean", 0.0)
    np.testing.assert_allclose(forecast.mean, mean, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(np.sqrt(forecast.variance), expected.se_mean, rtol=1e-9)


@pytest.mark.parametrize("mean", [True, False])
def test_likelihood_without_stationarity_is_conditional_on_the_first_observations(mean):
    """Brute force, step by step; also of an explosive process."""
    model = VectorAutoregressive(2, 2, mean=mean, stationary=False)
    params = random_values(model)
    params["autoregression.coefficients"][0] = [[1.1, 0.2], [-0.1, 0.9]]
    y = series(2)
    around = params["mean"] if mean else np.zeros(2)
    x, root, expected = y - around, factor(model, params), 0.0
    for t in range(2, T):
        expected_x = sum(params["autoregression.coefficients"][k] @ x[t - 1 - k] for k in (0, 1))
        z = np.linalg.solve(root, x[t] - expected_x)
        expected += -0.5 * z @ z - np.log(2 * np.pi) - np.log(np.diag(root)).sum()
    np.testing.assert_allclose(log_likelihood(model, params, y), expected, rtol=1e-11)


def test_fit_without_stationarity_is_least_squares():
    model, y = VectorAutoregressive(2, 3, stationary=False), series(3, num_steps=60) + 5.0
    result = model.fit(y, verbose=0)
    past = np.hstack([y[1:-1], y[:-2], np.ones((58, 1))])
    solution, *_ = np.linalg.lstsq(past, y[2:], rcond=None)
    rest = y[2:] - past @ solution
    coefficients = solution[:6].reshape(2, 3, 3).swapaxes(1, 2)
    mean = np.linalg.solve(np.eye(3) - coefficients.sum(axis=0), solution[6])
    root = np.linalg.cholesky(rest.T @ rest / 58)
    assert result.converged
    np.testing.assert_allclose(
        result.params["autoregression.coefficients"], coefficients, atol=1e-6
    )
    np.testing.assert_allclose(result.params["mean"], mean, rtol=1e-6)
    np.testing.assert_allclose(factor(model, result.params), root, atol=1e-6)
    height = -29 * (3 * np.log(2 * np.pi) + 2 * np.log(np.diag(root)).sum() + 3)
    np.testing.assert_allclose(result.log_likelihood, height, rtol=1e-10)


@every_stationary_model
def test_start_solves_the_lyapunov_equation(model):
    ssm = model.build(random_values(model))
    scale = ssm.transition_scale.numpy()
    expected = solve_discrete_lyapunov(ssm.transition_matrix.numpy(), scale @ scale.T)
    start = ssm.initial_scale.numpy()
    np.testing.assert_allclose(start @ start.T, expected, rtol=1e-9, atol=1e-11)


@every_model
def test_gradient_against_central_differences(model):
    """At coefficients of zero too, where the covariance of the start is singular."""
    y, parameterisation = series(model.num_observed, True), Parameterisation(model.parameters)

    @tf.function(autograph=False)
    def height(free):
        ssm = model.build(parameterisation.values(free, unit_values(model)))
        return ss.log_likelihood(ssm, y, diffuse_constant=model.diffuse_constant)

    anywhere = np.random.default_rng(2).uniform(-0.8, 0.8, parameterisation.size)
    for free in (anywhere, np.zeros_like(anywhere)):
        point = tf.constant(free)
        with tf.GradientTape() as tape:
            tape.watch(point)
            value = height(point)
        [expected] = finite_differences.gradient(
            lambda x: height(tf.constant(x)), [free], step=1e-4
        )
        np.testing.assert_allclose(tape.gradient(value, point), expected, rtol=1e-7, atol=1e-7)


@every_model
def test_batched_values_give_one_model_each(model):
    params, y = random_values(model, (2, 3)), series(model.num_observed, gaps=True)
    together = log_likelihood(model, params, y)
    assert together.shape == (2, 3)
    for i in np.ndindex(2, 3):
        one = {name: value[i] for name, value in params.items()}
        np.testing.assert_allclose(together[i], log_likelihood(model, one, y), rtol=1e-10)


@every_model
def test_free_coordinates_come_back_from_the_values(model):
    parameterisation = Parameterisation(model.parameters)
    free = np.random.default_rng(0).uniform(-1, 1, (3, parameterisation.size))
    values = parameterisation.values(tf.constant(free), unit_values(model))
    values = {name: value.numpy() for name, value in values.items()}  # no bijector knows these
    again = parameterisation.vector(values, unit_values(model))
    np.testing.assert_allclose(again, free, rtol=0, atol=1e-8)


def roots(coefficients):
    return np.abs(np.linalg.eigvals(block_companion(tf.constant(coefficients)).numpy()))


def test_stationary_matrices_are_stationary_and_complete():
    bijector = StationaryMatrices("x", dims=(3, 2, 2)).bijector
    generator = np.random.default_rng(0)
    inside = bijector.forward(tf.constant(generator.normal(size=(200, 3, 2, 2)))).numpy()
    assert roots(inside).max() < 1
    # Any stationary process, and back: matrices scaled down until they are one.
    matrices = generator.normal(size=(50, 3, 2, 2))
    shrinkage = 0.9 / roots(matrices).max(axis=1)[:, np.newaxis]
    matrices *= (shrinkage ** np.arange(1, 4))[..., np.newaxis, np.newaxis]
    again = bijector.forward(bijector.inverse(tf.constant(matrices)).numpy())
    np.testing.assert_allclose(again, matrices, rtol=0, atol=1e-9)


def test_stationary_matrices_have_the_partial_autocorrelations_of_statsmodels():
    """Its unconstrained matrices belong to other square roots of covariances: a rotation apart."""
    bijector = StationaryMatrices("x", dims=(3, 2, 2)).bijector
    free = np.random.default_rng(4).uniform(-0.8, 0.8, (3, 2, 2))
    coefficients = bijector.forward(tf.constant(free)).numpy()
    theirs, _ = unconstrain_stationary_multivariate(list(coefficients), np.eye(2))
    for a, b in zip(np.sinh(free), theirs, strict=True):
        np.testing.assert_allclose(*(np.linalg.svd(x)[1] for x in (a, b)), rtol=1e-6)


def test_stationary_matrices_of_one_series_are_stationary_coefficients():
    free = tf.constant(np.random.default_rng(0).normal(size=(5, 4)))
    matrices = StationaryMatrices("x", dims=(4, 1, 1)).bijector.forward(
        free[..., tf.newaxis, tf.newaxis]
    )
    numbers = StationaryCoefficients("x", shape=(4,)).bijector.forward(free)
    np.testing.assert_allclose(matrices[..., 0, 0], numbers, rtol=1e-12)


@pytest.mark.parametrize(
    "parameter",
    [StationaryMatrices("x", dims=(2, 2, 2)), LowerTriangle("x", dims=(3, 2))],
    ids=lambda p: type(p).__name__,
)
def test_log_det_of_the_bijectors(parameter):
    generator, rank = np.random.default_rng(1), len(parameter.shape)
    free = generator.normal(size=(2, *parameter.shape))
    got = parameter.bijector.forward_log_det_jacobian(tf.constant(free), event_ndims=rank)
    for u, log_det in zip(free, got, strict=True):
        u = tf.Variable(u)
        with tf.GradientTape() as tape:
            value = parameter.bijector.forward(u + 0.0)
        jacobian = tf.reshape(tape.jacobian(value, u), [parameter.size, parameter.size])
        np.testing.assert_allclose(log_det, np.linalg.slogdet(jacobian)[1], rtol=1e-9)


def test_a_lower_triangle_is_read_row_by_row():
    parameter = LowerTriangle("x", dims=(3, 2))
    assert parameter.labels == ("x[1,1]", "x[2,1]", "x[2,2]", "x[3,1]", "x[3,2]")
    expected = [[1.0, 0.0], [2.0, 3.0], [4.0, 5.0]]
    np.testing.assert_array_equal(parameter.matrix([1.0, 2.0, 3.0, 4.0, 5.0]), expected)
    both = parameter.matrix([[1.0, 2.0, 3.0, 4.0, 5.0], np.zeros(5)])
    np.testing.assert_array_equal(both, [expected, np.zeros((3, 2))])


def test_the_default_prior_of_a_place_says_nothing_of_it():
    prior = Location("mean").default_prior
    assert prior.log_prob(0.0) - prior.log_prob(1e4) < 1e-4


@every_model
def test_starting_values_from_the_data_are_usable(model):
    y = np.stack([series(model.num_observed, gaps=True), series(model.num_observed, seed=2)])
    guess = model.start(y * 100 + 1e4, {})
    params = {p.name: guess[p.name] for p in model.parameters}
    height = log_likelihood(model, params, y * 100 + 1e4)
    assert np.isfinite(height).all()
    # Far better than the middle of the ranges that the other candidates come from.
    middle = Parameterisation(model.parameters)
    scale = np.full((2, model.num_observed), 100.0)
    free = np.zeros((2, middle.size))
    values = middle.values(tf.constant(free), model.units(scale, np.ones((2, 0))))
    if model.mean:
        assert (height > log_likelihood(model, values, y * 100 + 1e4) + 100).all()


def test_a_batch_is_fitted_as_its_members_are():
    model = VectorAutoregressive(1, 2)
    y = np.stack([series(2, gaps=True), series(2, seed=3)])
    together = model.fit(y, verbose=0)
    for i in range(2):
        alone = model.fit(y[i], verbose=0)
        np.testing.assert_allclose(together.log_likelihood[i], alone.log_likelihood, rtol=1e-10)
        for name, value in alone.params.items():
            np.testing.assert_allclose(together.params[name][i], value, rtol=1e-5, atol=1e-7)


def test_estimates_go_with_the_units_of_the_series():
    model, y, unit = VectorAutoregressive(1, 2), series(2), np.array([1e4, 1e-3])
    plain, scaled = (model.fit(x, verbose=0) for x in (y, y * unit))
    expected = plain.params["autoregression.coefficients"] * unit[:, np.newaxis] / unit
    np.testing.assert_allclose(
        scaled.params["autoregression.coefficients"], expected, rtol=1e-5, atol=0
    )
    np.testing.assert_allclose(scaled.params["mean"], plain.params["mean"] * unit, rtol=1e-5)
    np.testing.assert_allclose(
        factor(model, scaled.params),
        unit[:, np.newaxis] * factor(model, plain.params),
        rtol=1e-5,
    )


def test_results_of_a_data_frame():
    index = pd.period_range("2020-01", periods=T, freq="M")
    frame = pd.DataFrame(series(2, gaps=True) + 9.0, index, ["sales", "price"])
    result = VectorAutoregressive(1, 2, measurement_error=True).fit(frame, verbose=0)
    assert list(result.forecast(2).mean.columns) == ["sales", "price"]
    assert list(result.smooth().mean.columns) == ["autoregression_1", "autoregression_2"]
    parts = result.components().mean
    for i, name in enumerate(frame):
        total = sum(parts[f"{part}[{i + 1}]"] for part in ("autoregression", "offset", "irregular"))
        seen = frame[name].notna()
        np.testing.assert_allclose(total[seen], frame[name][seen])
        np.testing.assert_allclose(total, result.impute()[name])
    assert "autoregression.scale[2,1]" in result.summary()


def test_a_saved_result_is_had_back(tmp_path):
    result = VectorAutoregressive(1, 2).fit(series(2), verbose=0)
    result.save(tmp_path / "fit.statespace")
    again = ss.load(tmp_path / "fit.statespace")
    assert again.model == result.model
    np.testing.assert_array_equal(again.forecast(3).mean, result.forecast(3).mean)


def test_states_are_named_after_what_they_say():
    assert VectorAutoregressive(2, 2).state_names == (
        "autoregression_1",
        "autoregression_2",
        "autoregression_1_ahead_1",
        "autoregression_2_ahead_1",
    )


@every_model
def test_models_are_had_back_from_their_text(model):
    assert parse_model(repr(model)) == model


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((-1, 2), "order is a whole number from zero; given was -1"),
        ((1.5, 2), r"order is a whole number from zero, or .* given was 1\.5"),
        (([[[0, 0], [0, 0]]], 2), "not all zero"),
        (([[1, 0], [1, 1]], 2), r"an array \[order, 2, 2\] of zeros and ones"),
        (([[[2, 0], [1, 1]]], 2), "zeros and ones"),
        ((1, 0), "num_series is a positive whole number; given was 0"),
    ],
)
def test_arguments_that_make_no_sense(arguments, message):
    with pytest.raises(ValueError, match=message):
        VectorAutoregressive(*arguments)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"moving_average": 1, "stationary": False}, "starts from the stationary distribution"),
        ({"effect": "lasting"}, r"effect is one of \('static', 'dynamic'\); given was 'lasting'"),
        ({"num_features": -1}, "num_features is a whole number from zero; given was -1"),
        ({"moving_average": [[[1]]]}, r"\[moving_average, 2, 2\]"),
    ],
)
def test_options_that_make_no_sense(options, message):
    with pytest.raises(ValueError, match=message):
        VectorAutoregressive(1, 2, **options)


def test_coefficients_that_are_all_there_need_no_list():
    full = VectorAutoregressive(np.ones((2, 2, 2), bool), 2, moving_average=[[[1, 1], [1, 1]]])
    assert full == VectorAutoregressive(2, 2, moving_average=1)


def test_coefficients_that_are_not_there_are_zero():
    model = VectorAutoregressive([[[1, 0], [1, 1]]], 2)
    first = model.parameters[0]
    assert first.labels == tuple(
        f"autoregression.coefficients[1,{place}]" for place in ("1,1", "2,1", "2,2")
    )
    transition = model.build(random_values(model)).transition_matrix.numpy()
    assert transition[0, 1] == 0
    assert np.count_nonzero(transition) == 3


def with_features(effect, order=2):
    """A model with two features, its parameters, data and features."""
    model = VectorAutoregressive(order, 2, num_features=2, effect=effect, stationary=False)
    features = np.random.default_rng(7).normal(size=(T, 2))
    return model, random_values(model), series(2, gaps=True), features


def test_static_effects_are_a_part_of_the_observations():
    model, params, y, features = with_features("static")
    ours = ss.log_likelihood(model.build(params, features=features), y, diffuse_constant="exclude")
    plain = VectorAutoregressive(2, 2, stationary=False)
    effects = params.pop("regression.coefficients")
    expected = log_likelihood(plain, params, y - features @ effects.T)
    np.testing.assert_allclose(ours, expected, rtol=1e-11)


@pytest.mark.parametrize("order", [1, 2])
def test_dynamic_effects_enter_as_innovations_do(order):
    """Brute force, step by step, given the first observations."""
    model, params, y, features = with_features("dynamic", order)
    y = series(2)
    ours = ss.log_likelihood(model.build(params, features=features), y, diffuse_constant="exclude")
    x, root, expected = y - params["mean"], factor(model, params), 0.0
    effects = features @ params["regression.coefficients"].T
    for t in range(order, T):
        past = [phi @ x[t - 1 - k] for k, phi in enumerate(params["autoregression.coefficients"])]
        z = np.linalg.solve(root, x[t] - sum(past) - effects[t])
        expected += -0.5 * z @ z - np.log(2 * np.pi) - np.log(np.diag(root)).sum()
    np.testing.assert_allclose(ours, expected, rtol=1e-11)


def test_forecasts_follow_the_features_to_come():
    model, params, _, features = with_features("dynamic", order=1)
    y = series(2)
    ahead = np.random.default_rng(8).normal(size=(3, 2))
    result = model.fit(y, features=features, fix=params, verbose=0)
    forecast, x = result.forecast(3, features=ahead), y[-1] - params["mean"]
    for mean, z in zip(forecast.mean, ahead, strict=True):
        x = params["autoregression.coefficients"][0] @ x + params["regression.coefficients"] @ z
        np.testing.assert_allclose(mean, x + params["mean"], rtol=1e-9)


@pytest.mark.parametrize("effect", ["static", "dynamic"])
def test_features_of_a_batch(effect):
    """Parameters and features of each series, or features of all."""
    model, _, y, features = with_features(effect)
    params = random_values(model, (3,))
    each = features * np.array([1.0, 2.0, -1.0])[:, np.newaxis, np.newaxis]
    for given in (features, each):
        together = log_likelihood_with(model, params, y, given)
        for i in range(3):
            one = {name: value[i] for name, value in params.items()}
            own = given if given.ndim == 2 else given[i]
            np.testing.assert_allclose(together[i], log_likelihood_with(model, one, y, own))


def log_likelihood_with(model, params, y, features):
    ssm = model.build(params, features=features)
    return ss.log_likelihood(ssm, y, diffuse_constant=model.diffuse_constant).numpy()
