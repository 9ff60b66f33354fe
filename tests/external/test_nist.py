"""Certified coefficients and standard errors of NIST's Statistical Reference Datasets."""

from fractions import Fraction

import numpy as np
import pytest
from external import nist

import statespace as ss

pytest.importorskip("statsmodels")
SETS = nist.data_sets()
every_set = pytest.mark.parametrize("certified", SETS, ids=[data.name for data in SETS])
# Correct digits by LAPACK's QR, as benchmarks/nist.py prints them; Longley's after centring.
LAPACK = {
    "Longley": 12.6,
    "Norris": 12.3,
    "Wampler1": 9.3,
    "Wampler2": 12.6,
    "Wampler3": 9.1,
    "Wampler4": 7.8,
    "Wampler5": 5.9,
}


def fitted(certified, **options):
    return ss.models.BayesianLinearRegression("flat").fit(certified.x, certified.y, **options)


def coefficients(model):
    return np.append(model.intercept, model.coefficients)


@every_set
def test_certified_values_are_those_of_exact_arithmetic(certified):
    """Guards the copies of data and certificates: the normal equations, solved in fractions."""
    rows = [[Fraction(1), *map(decimal, row)] for row in certified.x]
    y = [decimal(value) for value in certified.y]
    size = len(rows[0])
    system = [
        [sum(row[i] * row[j] for row in rows) for j in range(size)]
        + [sum(row[i] * value for row, value in zip(rows, y, strict=True))]
        for i in range(size)
    ]
    for i in range(size):
        system[i] = [value / system[i][i] for value in system[i]]
        for j in range(size):
            if j != i:
                system[j] = [
                    u - system[j][i] * v for u, v in zip(system[j], system[i], strict=True)
                ]
    exact = [float(row[-1]) for row in system]
    assert nist.digits(exact, certified.coefficients) > 14


def decimal(value):
    return Fraction(repr(float(value)))


@every_set
def test_as_many_digits_as_lapack(certified):
    got = nist.digits(coefficients(fitted(certified)), certified.coefficients)
    assert got >= LAPACK[certified.name] - 0.5  # which depends on the order of additions


@every_set
def test_refined(certified):
    model = fitted(certified, refine=True)
    assert nist.digits(coefficients(model), certified.coefficients) >= 12
    if certified.residual_deviation:
        assert nist.digits(model.noise_scale, certified.residual_deviation) >= 13
        errors = model.coefficient_distribution().scale
        assert nist.digits(errors, certified.standard_errors[1:]) >= 9
        at_zero = model.predict(np.zeros((1, certified.x.shape[1])), noise=False)
        assert nist.digits(at_zero.scale, certified.standard_errors[0]) >= 9
