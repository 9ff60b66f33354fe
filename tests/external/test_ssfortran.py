"""ssfortran, an independent implementation of Durbin & Koopman's book; skipped where it is missing.

Unlike statsmodels it tells the innovations of several components, and their covariances, in the
diffuse phase too. ``pip install ssfortran`` in an environment of your own runs these tests.
"""

import numpy as np
import pytest
from external.test_exact_diffuse import CASES, with_diffuse
from kalman.models import build, dense, random_data, random_parameters
from oracles.statsmodels_ import time_first

import statespace as ss

ssfortran = pytest.importorskip("ssfortran")

EVERY_STEP = {  # their name: that in oracles.dense.Model
    "transition": "f",
    "selection": "g",
    "design": "h",
    "state_intercept": "b",
    "obs_intercept": "d",
}


def representation(model, y, diffuse):
    n, k = model.g.shape[1:]
    result = ssfortran.Representation(y, n, k)
    for theirs, ours in EVERY_STEP.items():
        result[theirs] = np.moveaxis(getattr(model, ours), 0, -1)
    result["state_cov"] = np.eye(k)
    result["obs_cov"] = np.moveaxis(model.c @ np.swapaxes(model.c, 1, 2), 0, -1)
    result.initialize(model.m0, model.s0 @ model.s0.T, np.diag(np.asarray(diffuse, float)))
    return result


def close(x, expected):
    np.testing.assert_allclose(x, expected, rtol=1e-8, atol=1e-8)


def assert_same(ssm, y, expected, algorithm):
    theirs = expected.smooth()
    filtered = ss.kalman_filter(ssm, y, algorithm=algorithm)
    smoothed = ss.kalman_smoother(ssm, y, algorithm=algorithm)
    close(ss.log_likelihood(ssm, y, per_step=True, algorithm=algorithm), theirs.filter.llf_obs)
    close(filtered.predicted_mean, time_first(theirs.filter.predicted_state)[:-1])
    close(filtered.predicted_covariance, time_first(theirs.filter.predicted_state_cov)[:-1])
    close(filtered.filtered_mean, time_first(theirs.filter.filtered_state))
    close(filtered.filtered_covariance, time_first(theirs.filter.filtered_state_cov))
    close(filtered.innovation, np.nan_to_num(time_first(theirs.filter.forecasts_error)))
    close(filtered.innovation_covariance, time_first(theirs.filter.forecasts_error_cov))
    close(smoothed.smoothed_mean, time_first(theirs.smoothed_state))
    close(smoothed.smoothed_covariance, time_first(theirs.smoothed_state_cov))
    lag_one = time_first(expected.smoothed_state_autocov())
    known = np.all(np.isfinite(lag_one), axis=(1, 2))  # it has none in the diffuse phase
    assert np.any(known)
    close(smoothed.lag_one_covariance[known], lag_one[known])


@pytest.mark.parametrize("algorithm", ss.kalman.ALGORITHMS)
@pytest.mark.parametrize("sizes", [(3, 1, 2), (3, 2, 3), (2, 4, 1)])
def test_proper_start(sizes, algorithm):
    n, m, k = sizes
    num_steps = 20
    rng = np.random.default_rng(n)
    parameters = random_parameters(rng, n, m, k=k, lead=(num_steps,))
    y = random_data(rng, (), num_steps, m)
    model = dense(parameters, (), (), num_steps)
    assert_same(build(parameters), y, representation(model, y, np.zeros(n)), algorithm)


@pytest.mark.parametrize("name", CASES)
def test_diffuse_start(name, native):
    (parameters, diffuse), y = CASES[name]
    model = dense(parameters, (), (), len(y))
    ssm = with_diffuse(parameters, diffuse)
    assert_same(ssm, y, representation(model, y, diffuse), "auto")
