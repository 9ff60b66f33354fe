"""Filter, smoother and forecast against the dense joint Gaussian."""

import numpy as np
import pytest
from kalman.models import build, dense, random_data, random_parameters
from oracles import dense as oracle

import statespace as ss

T = 6
CASES = {  # name: (batch of the data, lead of per-step parameters, batch of initial ones, n, m, k)
    "one series": ((), (), (), 2, 1, 2),
    "time-varying": ((), (T,), (), 3, 2, 2),
    "batch, shared": ((5,), (), (), 2, 2, 1),
    "batch, per series": ((5,), (5, 1), (5,), 4, 1, 2),
    "batch, both": ((9,), (9, T), (9,), 3, 2, 3),
    "two batch axes": ((2, 3), (3, T), (2, 1), 2, 2, 2),
    "more components than states": ((2,), (T,), (), 1, 3, 1),
    "beyond the unrolled sizes": ((3,), (3, T), (3,), 6, 3, 4),
    "one lane left over": ((5,), (5, T), (5,), 5, 1, 2),
}


@pytest.fixture(params=CASES.values(), ids=CASES.keys())
def case(request):
    batch, lead, initial, n, m, k = request.param
    rng = np.random.default_rng(0)
    parameters = random_parameters(rng, n, m, k=k, lead=lead, batch=initial)
    return parameters, random_data(rng, batch, T, m), batch


@pytest.fixture(params=[name for name in ss.kalman.ALGORITHMS if name != "auto"])
def algorithm(request):
    """Every form of the recursion: a new one inherits the tests."""
    return request.param


def close(x, expected, tolerance=1e-11):
    np.testing.assert_allclose(x, expected, rtol=tolerance, atol=tolerance)


def test_log_likelihood(case, algorithm, native):
    parameters, y, batch = case
    total = ss.log_likelihood(build(parameters), y, algorithm=algorithm)
    per_step = ss.log_likelihood(build(parameters), y, algorithm=algorithm, per_step=True)
    assert total.shape == batch
    assert per_step.shape == (*batch, T)
    for item in np.ndindex(*batch):
        model = dense(parameters, item, batch, T)
        close(total.numpy()[item], oracle.log_likelihood(model, y[item]))
        for t in range(T):
            seen = np.where(np.arange(T)[:, None] <= t, y[item], np.nan)
            close(np.sum(per_step.numpy()[item][: t + 1]), oracle.log_likelihood(model, seen))


def test_filter(case, algorithm, native):
    parameters, y, batch = case
    result = ss.kalman_filter(build(parameters), y, algorithm=algorithm)
    total = ss.log_likelihood(build(parameters), y, algorithm=algorithm)
    close(result.log_likelihood, total)
    assert not np.any(result.info)
    for item in np.ndindex(*batch):
        model = dense(parameters, item, batch, T)
        for t in range(T):
            before = np.where(np.arange(T)[:, None] < t, y[item], np.nan)
            now = np.where(np.arange(T)[:, None] <= t, y[item], np.nan)
            at = (*item, t)
            mean, covariance = oracle.posterior(model, before)
            close(result.predicted_mean.numpy()[at], mean[t])
            close(result.predicted_covariance.numpy()[at], covariance[t, :, t])
            innovation = y[at] - model.h[t] @ mean[t] - model.d[t]
            close(result.innovation.numpy()[at], np.where(np.isnan(y[at]), 0.0, innovation))
            expected = model.h[t] @ covariance[t, :, t] @ model.h[t].T + model.c[t] @ model.c[t].T
            close(result.innovation_covariance.numpy()[at], expected)
            mean, covariance = oracle.posterior(model, now)
            close(result.filtered_mean.numpy()[at], mean[t])
            close(result.filtered_covariance.numpy()[at], covariance[t, :, t])


def test_smoother(case, algorithm, native):
    parameters, y, batch = case
    result = ss.kalman_smoother(build(parameters), y, algorithm=algorithm)
    total = ss.log_likelihood(build(parameters), y, algorithm=algorithm)
    close(result.log_likelihood, total)
    for item in np.ndindex(*batch):
        mean, covariance = oracle.posterior(dense(parameters, item, batch, T), y[item])
        close(result.smoothed_mean.numpy()[item], mean)
        for t in range(T):
            close(result.smoothed_covariance.numpy()[item][t], covariance[t, :, t])
        for t in range(T - 1):
            close(result.lag_one_covariance.numpy()[item][t], covariance[t + 1, :, t])


def test_forecast(case, native):
    parameters, y, batch = case
    horizon = 2
    # Time-varying parameters cover the future too: the last steps of y play it.
    forecast = ss.forecast(build(parameters), y[..., :-horizon, :], horizon)
    for item in np.ndindex(*batch):
        model = dense(parameters, item, batch, T)
        known = np.where(np.arange(T)[:, None] < T - horizon, y[item], np.nan)
        mean, covariance = oracle.posterior(model, known)
        for h in range(horizon):
            t, at = T - horizon + h, (*item, h)
            close(forecast.state_mean.numpy()[at], mean[t])
            close(forecast.state_covariance.numpy()[at], covariance[t, :, t])
            close(forecast.observation_mean.numpy()[at], model.h[t] @ mean[t] + model.d[t])
            noise = model.c[t] @ model.c[t].T
            expected = model.h[t] @ covariance[t, :, t] @ model.h[t].T + noise
            close(forecast.observation_covariance.numpy()[at], expected)
