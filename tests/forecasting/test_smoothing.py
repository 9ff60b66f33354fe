"""Smoothed states and components of batches, smoothed a few series at a time."""

import numpy as np
import pytest

from statespace.forecasting import parts
from statespace.models import (
    ARIMA,
    ExponentialSmoothing,
    Irregular,
    LocalLevel,
    LocalLinearTrend,
    Seasonal,
)

MODELS = [
    LocalLinearTrend() + Seasonal(4),
    ExponentialSmoothing(),
    ExponentialSmoothing(trend="add", damped=True),
    ExponentialSmoothing(trend="add", seasonal="add", period=4),
    ExponentialSmoothing(seasonal="add", period=3),
    ARIMA((1, 0, 0), mean=True),  # has an offset
]
every_model = pytest.mark.parametrize("model", MODELS, ids=repr)
rng = np.random.default_rng(4)
WALKS = rng.normal(0.2, 1.0, (5, 40)).cumsum(axis=1) + np.tile([2.0, 0, -2, 1], 10)
WALKS[0, 7:9] = np.nan


@pytest.fixture(scope="module")
def fits():
    return {model: model.fit(WALKS, num_starts=1, verbose=0) for model in MODELS}


@every_model
def test_parts_of_a_batch_are_the_same_as_all_at_once(model, fits, monkeypatch):
    whole = fits[model]
    again = model.fit(WALKS, fix=whole.params, verbose=0)
    monkeypatch.setattr(parts, "NUMBERS_AT_ONCE", 1)
    for ours, theirs in (
        (again.smooth(), whole.smooth()),
        (again.components(), whole.components()),
    ):
        np.testing.assert_array_equal(ours.means, theirs.means)
        np.testing.assert_array_equal(ours.variances, theirs.variances)
    np.testing.assert_array_equal(again.smooth().covariance, whole.smooth().covariance)
    np.testing.assert_array_equal(again.impute(), whole.impute())


@every_model
def test_variances_are_the_diagonal_of_the_covariances(model, fits):
    states = fits[model].smooth()
    n = len(model.state_names)
    assert states.covariance.shape == (5, 40, n, n)
    diagonal = np.diagonal(states.covariance, axis1=-2, axis2=-1)
    np.testing.assert_array_equal(states.variance, np.maximum(diagonal, 0.0))


def test_covariances_are_kept_only_when_asked_for():
    result = LocalLevel().fit(WALKS, verbose=0)
    states = result.smooth()
    result.components()
    assert "covariances" not in vars(states)
    assert states.covariances is result.smooth().covariances


@every_model
def test_components_add_up_where_there_are_data_and_to_the_forecast(model, fits):
    result = fits[model]
    components, ahead = result.components(), result.forecast(6).components()
    np.testing.assert_allclose(components.means.sum(axis=2), result.impute(), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(ahead.means.sum(axis=2), result.forecast(6).mean, rtol=1e-9)
    assert set(ahead.names) <= set(components.names)


# --- exponential smoothing


@pytest.mark.parametrize(
    ("model", "names"),
    [
        (ExponentialSmoothing(), ("level", "irregular")),
        (ExponentialSmoothing(trend="add", damped=True), ("level", "slope", "irregular")),
        (
            ExponentialSmoothing(trend="add", seasonal="add", period=4),
            ("level", "slope", "seasonal", "irregular"),
        ),
        (ExponentialSmoothing() + Seasonal(4), ("level", "irregular", "seasonal")),
    ],
)
def test_exponential_smoothing_is_split(model, names):
    params = {p.name: 0.9 if p.name == "smoothing.damping" else 0.4 for p in model.parameters}
    result = model.fit(WALKS[1], fix=params, verbose=0)
    assert result.components().names == names
    assert result.forecast(2).components().names == names


def recursions(y, level, slope, effects, alpha, beta, gamma, phi):
    """Level, slope, season and error of each step, by the recursions of Holt and Winters.

    Effects are normalised, as the model has them: what an effect moves by goes to the level in
    part, so that the latest m of them always sum to zero.
    """
    rows, m = [], len(effects)
    for value in y:
        error = value - level - phi * slope - effects[0]
        rows.append((level, phi * slope, effects[0], error))
        level, slope = level + phi * slope + alpha * error, phi * slope + beta * error
        effects = np.append(effects[1:], effects[0] + gamma * error)
        level, effects = level + gamma * error / m, effects - gamma * error / m
    return np.array(rows), (level, slope, effects)


def test_the_parts_of_exponential_smoothing_are_those_of_its_recursions():
    """Given where they start, data and parameters determine every part."""
    model, m = ExponentialSmoothing(trend="add", damped=True, seasonal="add", period=4), 4
    alpha, beta, gamma, phi = 0.4, 0.1, 0.3, 0.9
    params = {
        "smoothing.scale": 0.7,
        "smoothing.level": alpha,
        "smoothing.trend": beta / alpha,
        "smoothing.seasonal": gamma / (1 - alpha),
        "smoothing.damping": phi,
    }
    result = model.fit(WALKS[1], fix=params, verbose=0)
    components = result.components()
    first = dict(zip(components.names, components.means[0, 0], strict=True))
    means = components.mean
    # The effects of the first period: the last of the start are not seen at once.
    states = result.smooth().mean[0]
    own = [i for i, name in enumerate(model.state_names) if name.startswith("seasonal")]
    seen = states[own]  # at hand, and those of the m - 2 steps before
    effects = np.array([seen[0], -seen.sum(), *seen[:0:-1]])
    rows, (level, slope, effects) = recursions(
        WALKS[1], first["level"], first["slope"] / phi, effects, alpha, beta, gamma, phi
    )
    np.testing.assert_allclose(means, rows, rtol=1e-8, atol=1e-8)
    ahead = result.forecast(m).components()
    powers = np.cumsum(phi ** np.arange(1, m + 1))
    totals = level + slope * powers
    np.testing.assert_allclose(ahead.mean[:, 2], effects, rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose(ahead.mean[:, :2].sum(axis=1), totals, rtol=1e-8)
    np.testing.assert_array_equal(ahead.mean[:, 3], 0.0)
    np.testing.assert_allclose(ahead.variance[:, 3], 0.7**2)


def test_later_data_tell_of_the_error_at_a_gap():
    y = np.array([1.0, 1.1, 0.9, 1.0, np.nan, 9.0, 9.1, 8.9, 9.0])
    fix = {"smoothing.scale": 1.0, "smoothing.level": 0.9}
    components = ExponentialSmoothing().fit(y, fix=fix, verbose=0).components()
    assert components.mean[4, 1] > 4  # the level rose there, by 0.9 of the error
    assert 0 < components.variance[4, 1] < 1.0


def test_noise_beside_that_of_exponential_smoothing():
    model = ExponentialSmoothing() + Irregular()
    fix = {"smoothing.scale": 1.0, "smoothing.level": 0.5, "irregular.scale": 2.0}
    result = model.fit(WALKS[0], fix=fix, verbose=0)
    components, ahead = result.components(), result.forecast(3).components()
    assert components.names == ahead.names == ("level", "irregular")
    np.testing.assert_allclose(ahead.variance[:, 1], 1.0 + 4.0)
    np.testing.assert_allclose(components.mean.sum(axis=1)[9:], WALKS[0, 9:])
