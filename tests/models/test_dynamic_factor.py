"""Dynamic factors: against statsmodels; rotations, gradients, batches, what a fit finds again."""

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from oracles import finite_differences
from oracles.parameter_values import random_values, unit_values
from scipy.linalg import solve_discrete_lyapunov
from statsmodels.tsa.statespace.dynamic_factor import DynamicFactor as Theirs

import statespace as ss
from statespace.forecasting.expression import parse_model
from statespace.models import DynamicFactor
from statespace.models.parameters import Parameterisation

MODELS = [
    DynamicFactor(1, 1, 3, mean=False),
    DynamicFactor(1, 0, 3),
    DynamicFactor(2, 0, 3, error_order=1),
    DynamicFactor(1, 2, 3, error_order=2),
    DynamicFactor(2, 1, 4),
    DynamicFactor(2, 2, 4, error_order=1, mean=False),
    DynamicFactor(1, 1, 3, error_covariance="scalar"),
    DynamicFactor(1, 1, 3, error_order=2, error_covariance="scalar"),
    DynamicFactor(1, 1, 3, error_covariance="unstructured"),
    DynamicFactor(1, 1, 3, error_order=2, error_covariance="unstructured"),
    DynamicFactor(1, 2, 3, error_order=1, joint_errors=True),
    DynamicFactor(1, 1, 3, error_order=2, error_covariance="unstructured", joint_errors=True),
]
T = 30
every_model = pytest.mark.parametrize("model", MODELS, ids=repr)


def series(model, gaps=False, seed=1):
    """Series with something in common, [T, m]; with single values and whole steps missing."""
    generator = np.random.default_rng(seed)
    y = generator.normal(size=(T, 1)).cumsum(axis=0) + generator.normal(
        size=(T, model.num_observed)
    )
    if gaps:
        y[[3, 11], 0] = np.nan
        y[17:19] = np.nan
    return y


def log_likelihood(model, params, y):
    return ss.log_likelihood(model.build(params), y).numpy()


def loadings(model, params):
    """The matrix of loadings, [m, k]."""
    result = np.zeros((model.num_observed, model.num_factors))
    result[np.tril_indices(len(result), m=model.num_factors)] = params["factor.loadings"]
    return result


def statsmodels_(model, y, matrix, coefficients, params):
    """statsmodels' model of the series less their means, and its parameters."""
    theirs = Theirs(
        y - params.get("mean", np.zeros(model.num_observed)),
        k_factors=model.num_factors,
        factor_order=model.factor_order,
        error_order=model.error_order,
        error_cov_type=model.error_covariance,
        error_var=model.error_order > 0 and same_of_all(model),
    )
    theirs.ssm.tolerance = 0.0  # or its filter takes covariances for settled too soon
    scale = params["error.scale" if model.error_order else "irregular.scale"]
    errors = params.get("error.coefficients", np.zeros((0, 1, 1)))
    if model.joint_errors:
        errors = np.moveaxis(errors, 0, 1)
    elif model.error_order and same_of_all(model):  # as matrices
        errors = np.array(
            [[np.eye(len(errors))[i] * x for x in own] for i, own in enumerate(errors)]
        )
    values = [
        matrix.ravel(),
        np.ravel(scale if model.error_covariance == "unstructured" else scale**2),
        np.moveaxis(coefficients, 0, 1).ravel(),
        errors.ravel(),
    ]
    return theirs, np.concatenate(values)


def same_of_all(model):
    """Whether statsmodels has the errors as a vector autoregression."""
    return model.joint_errors or model.error_covariance == "unstructured"


def same_as_ours(model, y, params):
    """statsmodels' model at our parameters."""
    coefficients = params.get("factor.coefficients", np.zeros((0, 1, 1)))
    return statsmodels_(model, y, loadings(model, params), coefficients, params)


@pytest.mark.parametrize("gaps", [False, True], ids=["complete", "gaps"])
@every_model
def test_log_likelihood_is_that_of_statsmodels(model, gaps):
    params, y = random_values(model), series(model, gaps)
    theirs, their_params = same_as_ours(model, y, params)
    expected = theirs.loglike(their_params)
    np.testing.assert_allclose(log_likelihood(model, params, y), expected, rtol=0, atol=1e-8)


@every_model
def test_forecast_and_factors_are_those_of_statsmodels(model):
    params, y = random_values(model), series(model, gaps=True)
    result = model.fit(y, fix=params, verbose=0)
    theirs, their_params = same_as_ours(model, y, params)
    theirs = theirs.smooth(their_params)
    expected, forecast = theirs.get_forecast(5), result.forecast(5)
    mean = expected.predicted_mean + params.get("mean", 0.0)
    np.testing.assert_allclose(forecast.mean, mean, rtol=1e-8, atol=1e-9)
    np.testing.assert_allclose(np.sqrt(forecast.variance), expected.se_mean, rtol=1e-8)
    k = model.num_factors
    assert result.smooth().names[:k] == tuple(f"factor_{j + 1}" for j in range(k))
    np.testing.assert_allclose(
        result.smooth().mean[:, :k], theirs.factors.smoothed.T, rtol=1e-7, atol=1e-8
    )


def test_any_loadings_can_be_turned_into_ours():
    """The restrictions on the loadings cost nothing: any others have a rotation that keeps them."""
    generator, model = np.random.default_rng(5), DynamicFactor(2, 1, 4)
    matrix, coefficients = generator.normal(size=(4, 2)), np.array([[[0.5, 0.3], [-0.4, 0.2]]])
    params, y = random_values(model), series(model)
    theirs, their_params = statsmodels_(model, y, matrix, coefficients, params)
    rotation, triangle = np.linalg.qr(matrix[:2].T)
    rotation *= np.sign(np.diag(triangle))
    turned = matrix @ rotation
    params["factor.loadings"] = turned[np.tril_indices(4, m=2)]
    params["factor.coefficients"] = rotation.T @ coefficients @ rotation
    np.testing.assert_allclose(turned[0, 1], 0.0, atol=1e-12)
    expected = theirs.loglike(their_params)
    np.testing.assert_allclose(log_likelihood(model, params, y), expected, rtol=0, atol=1e-8)


@every_model
def test_start_solves_the_lyapunov_equation(model):
    ssm = model.build(random_values(model))
    scale, start = ssm.transition_scale.numpy(), ssm.initial_scale.numpy()
    expected = solve_discrete_lyapunov(ssm.transition_matrix.numpy(), scale @ scale.T)
    np.testing.assert_allclose(start @ start.T, expected, rtol=1e-9, atol=1e-11)


@every_model
def test_gradient_against_central_differences(model):
    """At coefficients of zero too, where the covariance of the start is singular."""
    y, parameterisation = series(model, True), Parameterisation(model.parameters)

    @tf.function(autograph=False)
    def height(free):
        return ss.log_likelihood(model.build(parameterisation.values(free, unit_values(model))), y)

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
    params, y = random_values(model, (2, 3)), series(model, gaps=True)
    together = log_likelihood(model, params, y)
    assert together.shape == (2, 3)
    for i in np.ndindex(2, 3):
        one = {name: value[i] for name, value in params.items()}
        np.testing.assert_allclose(together[i], log_likelihood(model, one, y), rtol=1e-10)


@every_model
def test_starting_values_from_the_data_are_usable(model):
    y = np.stack([series(model, gaps=True), series(model, seed=2)]) * 100 + 1e4 * model.mean
    guess = model.start(y, {})
    parameterisation = Parameterisation(model.parameters)
    height = log_likelihood(model, {p.name: guess[p.name] for p in model.parameters}, y)
    units = model.units(np.full((2, model.num_observed), 100.0), np.ones((2, 0)))
    middle = parameterisation.values(tf.zeros((2, parameterisation.size), tf.float64), units)
    assert (height > log_likelihood(model, middle, y)).all()
    assert np.isfinite(parameterisation.vector(guess, units)).all()


def simulated(num_steps=400, seed=4):
    """Five series of two factors: data [T, m], factors [T, k], and the true parameters."""
    generator = np.random.default_rng(seed)
    matrix = np.array([[1.0, 0.0], [0.5, 1.0], [-1.0, 0.3], [0.2, -2.0], [2.0, 1.0]])
    coefficients = np.array([[0.8, 0.1], [-0.2, 0.5]])
    scale, mean = np.array([0.5, 1.0, 0.7, 0.4, 1.0]), np.array([10.0, -5.0, 0.0, 1.0, 3.0])
    factors = generator.normal(size=(num_steps, 2))
    for t in range(1, num_steps):
        factors[t] += coefficients @ factors[t - 1]
    y = mean + factors @ matrix.T + scale * generator.normal(size=(num_steps, 5))
    true = {
        "factor.loadings": matrix[np.tril_indices(5, m=2)],
        "factor.coefficients": coefficients[np.newaxis],
        "mean": mean,
        "irregular.scale": scale,
    }
    return y, factors, true


def test_a_fit_finds_again_what_the_data_were_made_with():
    y, factors, true = simulated()
    model = DynamicFactor(2, 1, 5)
    result = model.fit(y, verbose=0)
    assert result.converged
    assert result.log_likelihood >= log_likelihood(model, true, y)
    for name, value in true.items():
        deviations = np.abs(result.params[name] - value) / result.standard_errors[name]
        assert np.nanmax(deviations) < 4, name
    theirs, their_params = same_as_ours(model, y, result.params)
    np.testing.assert_allclose(result.log_likelihood, theirs.loglike(their_params), atol=1e-7)
    found = result.smooth().mean[:, :2]
    for j in range(2):
        assert np.corrcoef(found[:, j], factors[:, j])[0, 1] > 0.95


def test_a_batch_is_fitted_as_its_members_are():
    model, y = DynamicFactor(1, 1, 3), simulated(120)[0][:, :3].reshape(2, 60, 3)
    together = model.fit(y, verbose=0)
    for i in range(2):
        alone = model.fit(y[i], verbose=0)
        np.testing.assert_allclose(together.log_likelihood[i], alone.log_likelihood, rtol=1e-10)
        for name, value in alone.params.items():
            np.testing.assert_allclose(together.params[name][i], value, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("error_order", [0, 1])
def test_components_add_up_to_the_data(error_order):
    index = pd.period_range("2000-01", periods=100, freq="M")
    frame = pd.DataFrame(simulated(100)[0], index, list("abcde"))
    frame.iloc[7, 2] = np.nan
    model = DynamicFactor(2, 1, 5, error_order=error_order)
    result = model.fit(frame, fix=random_values(model), verbose=0)
    parts = result.components().mean
    names = ("factor_1", "factor_2", "offset", "irregular", *(("error",) if error_order else ()))
    assert len(parts.columns) == 5 * len(names)
    for i, column in enumerate(frame):
        total = sum(parts[f"{name}[{i + 1}]"] for name in names)
        np.testing.assert_allclose(total, result.impute()[column])
    matrix, states = loadings(model, result.params), result.smooth().mean
    np.testing.assert_allclose(parts["factor_2[4]"], matrix[3, 1] * states["factor_2"])
    assert list(result.forecast(2).mean.columns) == list("abcde")


def test_estimates_go_with_the_units_of_the_series():
    model, y, unit = DynamicFactor(1, 1, 3), simulated(100)[0][:, :3], np.array([1e4, 1.0, 1e-3])
    plain, scaled = (model.fit(x, verbose=0) for x in (y, y * unit))
    for name in ("factor.loadings", "mean", "irregular.scale"):
        np.testing.assert_allclose(
            scaled.params[name], plain.params[name] * unit, rtol=1e-4, atol=1e-9
        )
    np.testing.assert_allclose(
        scaled.params["factor.coefficients"], plain.params["factor.coefficients"], rtol=1e-4
    )


@every_model
def test_models_are_had_back_from_their_text(model):
    assert parse_model(repr(model)) == model


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 1, 3), "num_factors is a positive whole number; given was 0"),
        ((1, -1, 3), "factor_order is a whole number from zero; given was -1"),
        ((3, 1, 3), "num_factors must be less than the number of series, 3; given was 3"),
        ((1, 1, "three"), "num_series is a positive whole number; given was 'three'"),
    ],
)
def test_arguments_that_make_no_sense(arguments, message):
    with pytest.raises(ValueError, match=message):
        DynamicFactor(*arguments)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"error_covariance": "full"}, "error_covariance is one of .* given was 'full'"),
        ({"joint_errors": True}, "give an error_order of at least one"),
        ({"num_features": 1.5}, r"num_features is a whole number from zero; given was 1\.5"),
    ],
)
def test_options_that_make_no_sense(options, message):
    with pytest.raises(ValueError, match=message):
        DynamicFactor(1, 1, 3, **options)


def test_effects_of_features_are_a_part_of_the_observations():
    model = DynamicFactor(1, 1, 3, num_features=2)
    params, y = random_values(model), series(model, gaps=True)
    features = np.random.default_rng(7).normal(size=(T, 2))
    ours = ss.log_likelihood(model.build(params, features=features), y)
    effects = params.pop("regression.coefficients")
    expected = log_likelihood(DynamicFactor(1, 1, 3), params, y - features @ effects.T)
    np.testing.assert_allclose(ours, expected, rtol=1e-12)
