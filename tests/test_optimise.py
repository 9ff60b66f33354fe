"""The batched L-BFGS against SciPy's, member by member."""

import numpy as np
import pytest
from scipy.optimize import minimize, rosen, rosen_der

from statespace.optimise import minimise

FREE = np.array([[-10.0] * 4, [10.0] * 4])


def rosenbrock(points, members):
    return np.array([rosen(x) for x in points]), np.array([rosen_der(x) for x in points])


def starts(count=40, seed=0):
    return np.random.default_rng(seed).uniform(-2, 2, (count, 4))


def test_every_member_reaches_a_stationary_point():
    found = minimise(rosenbrock, starts(), FREE, gradient_tolerance=1e-6, value_tolerance=0.0)
    assert found.converged.all()
    assert np.abs(found.gradient).max() < 1e-5
    # Four variables have a second minimum beside the one at (1, 1, 1, 1).
    lowest = np.isclose(found.value, 0, atol=1e-9)
    np.testing.assert_allclose(found.x[lowest], 1.0, rtol=1e-4)
    np.testing.assert_allclose(found.value[~lowest], 3.70142861, rtol=1e-6)
    assert lowest.sum() > 20


def test_members_do_not_know_of_each_other():
    together = minimise(rosenbrock, starts(), FREE)
    for i in (0, 7, 39):
        alone = minimise(rosenbrock, starts()[i : i + 1], FREE)
        np.testing.assert_array_equal(alone.x[0], together.x[i])


def test_bounds_hold_as_in_scipy():
    limits = np.array([[-10.0] * 4, [0.5, 10.0, 0.4, 10.0]])
    found = minimise(rosenbrock, np.clip(starts(), *limits), limits)
    assert (found.x <= limits[1]).all()
    for start, value in zip(np.clip(starts(), *limits)[:10], found.value, strict=False):
        best = minimize(
            rosen,
            start,
            jac=rosen_der,
            method="L-BFGS-B",
            bounds=limits.T,
            options={"ftol": 1e-14, "gtol": 1e-9},
        )
        minima = np.isclose(found.value, best.fun, rtol=1e-6)
        assert minima.any()  # SciPy's minimum is one of ours
        assert np.isfinite(value)


def test_scales_of_very_different_size():
    curvature = 10.0 ** np.arange(-3, 4, 2)

    def quadratic(points, members):
        return 0.5 * points**2 @ curvature, points * curvature

    found = minimise(quadratic, starts(), FREE, gradient_tolerance=1e-9, value_tolerance=0.0)
    assert found.converged.all()
    np.testing.assert_allclose(found.x, 0.0, atol=1e-4)


def test_values_that_are_not_finite_turn_the_search_back():
    def walled(points, members):
        x = points[:, 0]
        with np.errstate(invalid="ignore", divide="ignore"):
            value = np.where(x > 0, x - np.log(x), np.nan)
            gradient = np.where(x > 0, 1 - 1 / x, np.nan)
        return value, gradient[:, np.newaxis]

    found = minimise(walled, np.array([[5.0], [0.01], [1.0]]), np.array([[-9.0], [9.0]]))
    assert found.converged.all()
    np.testing.assert_allclose(found.x, 1.0, rtol=1e-5)


def test_only_members_that_run_are_evaluated():
    calls = []

    def quadratic(points, members):
        calls.append(members.copy())
        return 0.5 * np.sum(points**2, axis=1), points

    minimise(quadratic, np.array([[0.0, 0.0], [3.0, -2.0]]), FREE[:, :2])
    assert calls[0].tolist() == [0, 1]
    assert all(members.tolist() == [1] for members in calls[1:])


def test_an_interrupt_leaves_the_best_so_far():
    calls = []

    def interrupted(points, members):
        calls.append(1)
        if len(calls) == 8:
            raise KeyboardInterrupt
        return rosenbrock(points, members)

    found = minimise(interrupted, starts(5), FREE)
    assert not found.converged.any()
    assert (found.value < rosenbrock(starts(5), None)[0]).all()


def test_a_limit_on_steps_is_no_convergence():
    found = minimise(rosenbrock, starts(3), FREE, max_iterations=3)
    assert not found.converged.any()


@pytest.mark.parametrize("start", [0.3, -4.0])
def test_a_maximum_is_left_downhill(start):
    def double_well(points, members):
        x = points[:, 0]
        return (x**2 - 1) ** 2, (4 * x * (x**2 - 1))[:, np.newaxis]

    found = minimise(double_well, np.array([[start], [1e-3]]), np.array([[-9.0], [9.0]]))
    np.testing.assert_allclose(np.abs(found.x), 1.0, rtol=1e-5)
