"""Observed information against second derivatives in closed form."""

import numpy as np
import pytest

from statespace.datasets import nile
from statespace.forecasting.curvature import informations
from statespace.models import LocalLevel


def second_derivatives(y, irregular, level):
    """Hessian of the local level's log-likelihood for the logarithms of its scales.

    The diffuse likelihood is that of the differences, N(0, S) with S = irregular^2 K + level^2 I,
    and S is linear in the variances v:

        L_i  = -tr(S^-1 S_i) / 2 + d' S^-1 S_i S^-1 d / 2
        L_ij =  tr(S^-1 S_i S^-1 S_j) / 2 - d' S^-1 S_i S^-1 S_j S^-1 d
    """
    d = np.diff(y)
    count = len(d)
    k = 2 * np.eye(count) - np.eye(count, k=1) - np.eye(count, k=-1)
    parts, variances = [k, np.eye(count)], np.array([irregular**2, level**2])
    inverse = np.linalg.inv(variances[0] * parts[0] + variances[1] * parts[1])
    scaled = [inverse @ part for part in parts]
    e = inverse @ d
    slope = np.array([(d @ s @ e - np.trace(s)) / 2 for s in scaled])
    hessian = np.array([[np.trace(s @ r) / 2 - d @ s @ r @ e for r in scaled] for s in scaled])
    # v = exp(2 u): dv/du = 2 v and d^2v/du^2 = 4 v.
    return 4 * np.outer(variances, variances) * hessian + np.diag(4 * variances * slope)


@pytest.mark.parametrize("log_scales", [(0.0, 0.0), (0.7, -1.0), (-2.0, 0.5)])
def test_information_of_a_local_level_is_that_of_the_closed_form(log_scales):
    y = nile().to_numpy(float)
    problem = LocalLevel().fit(y, verbose=0).problem
    free = np.array([log_scales])
    params = problem.params(free)
    expected = second_derivatives(y, params["irregular.scale"][0], params["level.scale"][0])
    definite = np.linalg.eigvalsh(-expected).min() > 0
    information = informations(problem, free)[0]
    if definite:
        np.testing.assert_allclose(information, -expected, rtol=0, atol=1e-8 * abs(expected).max())
    else:
        assert np.isnan(information).all()


def test_information_at_the_maximum_is_positive_definite_and_exact():
    y = nile().to_numpy(float)
    result = LocalLevel().fit(y, verbose=0)
    information = informations(result.problem, result.estimates.free)[0]
    expected = second_derivatives(y, result.params["irregular.scale"], result.params["level.scale"])
    np.testing.assert_allclose(information, -expected, rtol=0, atol=1e-8 * abs(expected).max())
    values = np.array([result.params["irregular.scale"], result.params["level.scale"]])
    deviations = values * np.sqrt(np.diag(np.linalg.inv(-expected)))
    assert list(result.standard_errors.values()) == pytest.approx(deviations, rel=1e-8)
