"""Published results for the Nile series (Durbin & Koopman 2012, chapter 2; KFAS; statsmodels)."""

import numpy as np
import pytest
from slow import slow_reference

import statespace as ss

OBSERVATION_VARIANCE, LEVEL_VARIANCE = 15099.0, 1469.1


@pytest.fixture(scope="module")
def volume():
    return ss.datasets.nile().to_numpy(np.float64)[:, np.newaxis]


def local_level(mean, variance):
    root = np.sqrt
    return ss.LinearGaussianSSM(
        [[1.0]],
        [[root(LEVEL_VARIANCE)]],
        [[1.0]],
        [[root(OBSERVATION_VARIANCE)]],
        [mean],
        [[root(variance)]],
    )


def diffuse(volume):
    """The exact diffuse start: the first observation, taken out, is the prior of its level."""
    data = volume.copy()
    data[0] = np.nan
    return local_level(volume[0, 0], OBSERVATION_VARIANCE), data


def with_gaps(volume):
    data = volume.copy()
    data[20:40] = np.nan
    data[60:80] = np.nan
    return data


def test_log_likelihood_from_a_vague_start(volume, native):
    value = ss.log_likelihood(local_level(0.0, 1e7), volume)
    assert abs(float(value) - -641.5855784595) < 1e-8


def test_diffuse_log_likelihood(volume, native):
    """KFAS counts nothing for the first observation; Durbin & Koopman and Stata -ln(2 pi) / 2."""
    value = float(ss.log_likelihood(*diffuse(volume)))
    assert abs(value - -632.5456251157) < 1e-8
    assert abs(value - 0.5 * np.log(2 * np.pi) - -633.4645636489) < 1e-8


@slow_reference
def test_diffuse_log_likelihood_with_gaps(volume, native):
    value = float(ss.log_likelihood(*diffuse(with_gaps(volume))))
    assert abs(value - 0.5 * np.log(2 * np.pi) - -381.5060013085) < 1e-8


@slow_reference
def test_smoothed_moments(volume, native):
    result = ss.kalman_smoother(*diffuse(volume))
    mean, variance = result.smoothed_mean[:3, 0], result.smoothed_covariance[:3, 0, 0]
    np.testing.assert_allclose(mean, [1111.66831913, 1110.85766462, 1105.26556731], atol=1e-6)
    np.testing.assert_allclose(variance, [4032.15794181, 3242.93007322, 2818.94217005], atol=1e-6)


@slow_reference
def test_filter_converges(volume, native):
    result = ss.kalman_filter(*diffuse(volume))
    assert abs(float(result.filtered_covariance[-1, 0, 0]) - 4032.1579418088) < 1e-8
    assert abs(float(result.innovation_covariance[-1, 0, 0]) - 20600.2579418090) < 1e-8


@slow_reference
def test_forecast(volume, native):
    forecast = ss.forecast(*diffuse(volume), 30)
    np.testing.assert_allclose(forecast.observation_mean, 798.37029261, atol=1e-6)
    variance = forecast.observation_covariance.numpy()[[0, 9, 29], 0, 0]
    np.testing.assert_allclose(variance, [20600.25794181, 33822.15794181, 63204.15794181])


@slow_reference
def test_nothing_is_nan_with_gaps(volume, native):
    model = local_level(0.0, 1e7)
    for infer in (ss.kalman_filter, ss.kalman_smoother):
        for name, x in infer(model, with_gaps(volume))._asdict().items():
            assert x is None or np.all(np.isfinite(x)), name
