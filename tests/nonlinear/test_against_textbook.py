"""Every output of every method against covariance-form textbook code on published problems."""

import numpy as np
import pytest
from nonlinear.problems import PROBLEMS
from oracles import nonlinear as oracle

import statespace as ss

METHODS = {
    "extended": ({"method": "extended"}, oracle.tangent, 1),
    "iterated": ({"method": "iterated", "iterations": 3}, oracle.tangent, 3),
    "cubature": ({"method": "cubature"}, oracle.cubature, 1),
    "unscented": ({"method": "unscented"}, oracle.sigma_points(1.0, 0.0, None), 1),
    "unscented, scaled": (
        {"method": "unscented", "alpha": 1e-3, "beta": 2.0, "kappa": 0.0},
        oracle.sigma_points(1e-3, 2.0, 0.0),
        1,
    ),
    "unscented, wide": (
        {"method": "unscented", "alpha": 1.3, "beta": 1.5, "kappa": -0.4},
        oracle.sigma_points(1.3, 1.5, -0.4),
        1,
    ),
}


# Textbook steps are whole ones; those of the growth model's two modes have to be shortened.
CASES = [(name, method) for name in PROBLEMS for method in METHODS]
CASES.remove(("growth", "iterated"))


@pytest.mark.parametrize(("name", "method"), CASES)
def test_every_output(name, method):
    problem = PROBLEMS[name]
    options, moments, iterations = METHODS[method]
    if method == "unscented":
        moments = oracle.sigma_points(1.0, 0.0, max(3.0 - len(problem.m0), 0.0))
    rng = np.random.default_rng(3)
    y = problem.simulate(rng, (2,), 6)
    y[0, 2, 0] = np.nan
    y[1, 3:5] = np.nan
    model = problem.model()
    results = ss.nonlinear_filter(model, y, **options)._asdict()
    results |= ss.nonlinear_smoother(model, y, **options)._asdict()
    # Textbook code with weights of 1e6 loses six digits.
    tolerance = 1e-7 if method == "unscented, scaled" else 1e-10
    for item in range(2):
        expected = oracle.run(problem.textbook(), y[item], moments, iterations)
        for key, value in expected.items():
            got = results[key].numpy()[item]
            assert got.shape == value.shape, key
            size = np.max(np.abs(value))
            np.testing.assert_allclose(got, value, rtol=0, atol=tolerance * size, err_msg=key)
    for kind in ("filtered", "predicted", "innovation"):
        scale, covariance = results[f"{kind}_scale"].numpy(), results[f"{kind}_covariance"].numpy()
        np.testing.assert_allclose(scale @ np.swapaxes(scale, -1, -2), covariance, atol=1e-12)
        assert np.all(np.triu(scale, 1) == 0.0)
        assert np.all(np.diagonal(scale, axis1=-2, axis2=-1) >= 0.0)
    assert not np.any(results["info"])
