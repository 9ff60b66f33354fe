"""Structural models: composition, state-space form, batches, gradients."""

import numpy as np
import pytest
import tensorflow as tf

import statespace as ss
from statespace.models import (
    LocalLevel,
    LocalLinearTrend,
    Seasonal,
    StructuralModel,
    TrigonometricSeasonal,
)

MODELS = [
    LocalLevel(),
    LocalLinearTrend(),
    LocalLevel() + Seasonal(2),
    LocalLinearTrend() + Seasonal(4),
    LocalLevel() + Seasonal(7) + Seasonal(3),
]


def values(model, shape=(), seed=0):
    generator = np.random.default_rng(seed)
    return {p.name: generator.uniform(0.1, 2.0, shape) for p in model.parameters}


def random_series(num_steps, seed=1):
    y = np.random.default_rng(seed).normal(size=(num_steps, 1)).cumsum(axis=0)
    y[4] = np.nan
    return y


@pytest.mark.parametrize(
    ("start", "published"),
    [({}, -633.4645636489), ({"initial_variance": 1e7}, -641.5855784595)],
    ids=["diffuse", "vague"],
)
def test_nile_log_likelihood_at_published_variances(start, published):
    params = {"irregular.scale": np.sqrt(15099.0), "level.scale": np.sqrt(1469.1)}
    y = ss.datasets.nile().to_numpy()[:, np.newaxis]
    value = ss.log_likelihood(LocalLevel().build(params, **start), y)
    np.testing.assert_allclose(value, published, rtol=0, atol=1e-9)


def test_names_of_a_sum():
    model = LocalLinearTrend() + Seasonal(4)
    assert [p.name for p in model.parameters] == [
        "irregular.scale",
        "level.scale",
        "slope.scale",
        "seasonal.scale",
    ]
    assert model.state_names == ("level", "slope", "seasonal", "seasonal_lag_1", "seasonal_lag_2")
    assert model.component_states() == {"trend": slice(0, 2), "seasonal": slice(2, 5)}
    assert repr(model) == "LocalLinearTrend() + Seasonal(4)"


def test_two_seasonal_terms_are_told_apart_by_their_periods():
    model = LocalLevel() + Seasonal(12) + Seasonal(7)
    names = [p.name for p in model.parameters]
    assert names[2:] == ["seasonal_12.scale", "seasonal_7.scale"]
    assert list(model.component_states()) == ["level", "seasonal_12", "seasonal_7"]
    assert len(set(model.state_names)) == len(model.state_names)


def test_a_third_seasonal_term_and_nested_sums():
    model = (LocalLevel() + Seasonal(5)) + (Seasonal(3) + Seasonal(2))
    assert list(model.component_states()) == ["level", "seasonal_5", "seasonal_3", "seasonal_2"]


@pytest.mark.parametrize(
    "add",
    [
        lambda: LocalLevel() + LocalLevel(),
        lambda: LocalLevel() + LocalLinearTrend(),
        lambda: LocalLevel() + Seasonal(4) + Seasonal(4),
    ],
)
def test_components_that_no_data_could_tell_apart(add):
    with pytest.raises(ValueError, match="no data could tell them apart"):
        add()


@pytest.mark.parametrize("terms", [(), (1,), (Seasonal,)])
def test_sums_of_what_are_no_components(terms):
    with pytest.raises(TypeError, match="sum of components"):
        StructuralModel(*terms)


@pytest.mark.parametrize("period", [1, 0, -3, 2.5, "12", None, 2001])
def test_bad_period(period):
    with pytest.raises(ValueError, match="from 2 to 2000"):
        Seasonal(period)


def test_sum_with_something_else():
    with pytest.raises(TypeError):
        LocalLevel() + 3


def test_build_names_the_parameters_it_wants():
    with pytest.raises(ValueError, match=r"irregular.scale, level.scale; given were level"):
        LocalLevel().build({"level": 1.0})


def test_a_diffuse_start_has_no_mean():
    with pytest.raises(ValueError, match="initial_mean is given without initial_variance"):
        LocalLevel().build(values(LocalLevel()), initial_mean=[3.0])


def test_seasonal_pattern_without_shocks_repeats_and_sums_to_zero():
    ssm = Seasonal(4).build({"irregular.scale": 0.0, "seasonal.scale": 0.0})
    state, path = np.array([1.0, -2.0, 0.5]), []
    for _ in range(8):
        path.append(state[0])
        state = ssm.transition_matrix.numpy() @ state
    np.testing.assert_allclose(path[:4], path[4:])
    assert sum(path[:4]) == pytest.approx(0.0)


def test_matrices_of_trend_plus_seasonal():
    params = {
        "irregular.scale": 3.0,
        "level.scale": 2.0,
        "slope.scale": 1.0,
        "seasonal.scale": 4.0,
    }
    ssm = (LocalLinearTrend() + Seasonal(3)).build(params, initial_variance=25.0)
    np.testing.assert_array_equal(
        ssm.transition_matrix, [[1, 1, 0, 0], [0, 1, 0, 0], [0, 0, -1, -1], [0, 0, 1, 0]]
    )
    np.testing.assert_array_equal(
        ssm.transition_scale, [[2, 0, 0], [0, 1, 0], [0, 0, 4], [0, 0, 0]]
    )
    np.testing.assert_array_equal(ssm.observation_matrix, [[1, 0, 1, 0]])
    np.testing.assert_array_equal(ssm.observation_scale, [[3]])
    np.testing.assert_array_equal(
        ssm.initial_scale @ tf.transpose(ssm.initial_scale), 25 * np.eye(4)
    )


def test_seasonal_terms_of_two_kinds_are_told_apart_by_their_periods():
    model = LocalLevel() + Seasonal(7) + TrigonometricSeasonal(365.25, 3)
    assert list(model.component_states()) == ["level", "seasonal_7", "seasonal_365.25"]
    with pytest.raises(ValueError, match="no data could tell them apart"):
        Seasonal(7) + TrigonometricSeasonal(7, 3)
