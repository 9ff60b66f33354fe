"""The iterated smoother finds the most probable path."""

import numpy as np
import pytest
from nonlinear.problems import PROBLEMS, NumPy
from scipy import linalg, optimize

import statespace as ss
from statespace.nonlinear.filter import prepare
from statespace.nonlinear.path import relinearised
from statespace.nonlinear.recursion import backward, forward

STEPS = 6


def residuals(problem, y):
    """A function of a path ``[T * n]``, whose squares add up to the distance J."""
    whiten = {k: linalg.inv(getattr(problem, k)) for k in ("g", "c", "s0")}
    seen = ~np.isnan(y)

    def function(path):
        x = path.reshape(len(y), -1)
        parts = [whiten["s0"] @ (x[0] - problem.m0)]
        for t, y_t in enumerate(y):
            part = whiten["c"] @ np.where(seen[t], y_t - problem.h(NumPy, x[t]), 0.0)
            parts.append(part)
            if t + 1 < len(y):
                parts.append(whiten["g"] @ (x[t + 1] - problem.f(NumPy, x[t], t)))
        return np.concatenate(parts)

    return function


@pytest.mark.parametrize(
    ("name", "iterations"),
    [("pendulum", 10), ("bearings", 10), pytest.param("growth", 40, marks=pytest.mark.slow)],
)
def test_path_is_that_of_least_squares(name, iterations):
    """Covariances are blocks of the inverse Gauss-Newton Hessian there."""
    problem = PROBLEMS[name]
    y = problem.simulate(np.random.default_rng(5), (2,), STEPS)
    y[0, 3] = np.nan
    options = {"method": "iterated", "iterations": iterations}
    result = ss.nonlinear_smoother(problem.model(), y, **options)
    n = len(problem.m0)
    for item in range(2):
        function, mean = residuals(problem, y[item]), result.smoothed_mean[item].numpy()
        best = optimize.least_squares(function, mean.ravel(), xtol=1e-15, ftol=1e-15, gtol=1e-12)
        np.testing.assert_allclose(mean, best.x.reshape(mean.shape), rtol=0, atol=1e-5)
        blocks = linalg.inv(best.jac.T @ best.jac).reshape(STEPS, n, STEPS, n)
        steps = np.arange(STEPS)
        for got, expected in (
            (result.smoothed_covariance, blocks[steps, :, steps]),
            (result.lag_one_covariance, blocks[steps[1:], :, steps[:-1]]),
        ):
            size = np.max(np.abs(expected))
            np.testing.assert_allclose(got[item], expected, rtol=0, atol=1e-4 * size)


def test_no_step_raises_the_distance():
    """Where whole ones would: the growth model, whose states have two modes."""
    model = PROBLEMS["growth"]
    y = model.simulate(np.random.default_rng(6), (20,), STEPS)
    options = {"iterations": 1}
    arguments = (model.model(), y, "iterated", None, None, None, options, "nan")
    problem = prepare("nonlinear_smoother", *arguments)
    passed = forward(problem, smoothing=True)
    start, before = backward(passed), np.inf
    for number in range(1, 6):
        method = problem.method._replace(linearisations=number)
        found, failed = relinearised(problem._replace(method=method), start, passed.failed)
        assert not np.any(failed)
        paths = np.swapaxes(found.mean, 0, 1)
        distance = np.array(
            [np.sum(residuals(model, z)(x.ravel()) ** 2) for x, z in zip(paths, y, strict=True)]
        )
        assert np.all(distance <= before * (1 + 1e-10))
        before = distance
