"""Certified linear regressions of NIST's Statistical Reference Datasets (StRD).

Data and certified values: https://www.itl.nist.gov/div898/strd/lls/lls.shtml. Wampler's sets are
polynomials of degree 5 at 0 ... 20, plus errors that are orthogonal to them.
"""

from fractions import Fraction
from typing import NamedTuple

import numpy as np


class Certified(NamedTuple):
    """A data set, the intercept not among its features, and what is certified of it."""

    name: str
    x: np.ndarray  # [N, D]
    y: np.ndarray  # [N]
    coefficients: np.ndarray  # intercept first, [D + 1]
    standard_errors: np.ndarray  # [D + 1]
    residual_deviation: float


def digits(estimate, certified):
    """The smallest number of correct digits, 15 at most, of what is certified to 15."""
    certified = np.asarray(certified)
    error = np.abs(np.asarray(estimate) - certified) / np.where(certified == 0, 1, abs(certified))
    with np.errstate(divide="ignore"):
        return float(np.clip(-np.log10(error), 0, 15).min())


def data_sets():
    """All of them; Longley's from statsmodels."""
    return [longley(), norris(), *(wampler(number) for number in range(1, 6))]


def longley():
    """Employment by six economic series, 1947 to 1962; condition number 5e9."""
    from statsmodels.datasets import longley

    data = longley.load()
    coefficients = [
        -3482258.63459582,
        15.0618722713733,
        -0.358191792925910e-01,
        -2.02022980381683,
        -1.03322686717359,
        -0.511041056535807e-01,
        1829.15146461355,
    ]
    standard_errors = [
        890420.383607373,
        84.9149257747669,
        0.334910077722432e-01,
        0.488399681651699,
        0.214274163161675,
        0.226073200069370,
        455.478499142212,
    ]
    x, y = (np.asarray(v, np.float64) for v in (data.exog, data.endog))
    return Certified(
        "Longley", x, y, np.array(coefficients), np.array(standard_errors), 304.854073561965
    )


def norris():
    """Calibration of ozone monitors: a line through 36 points."""
    points = """
        0.2 0.1     337.4 338.8  118.2 118.1  884.6 888.0  10.1 9.2     226.5 228.1
        666.3 668.5 996.3 998.5  448.6 449.1  777.0 778.9  558.2 559.2  0.4 0.3
        0.6 0.1     775.5 778.1  666.9 668.8  338.0 339.3  447.5 448.9  11.6 10.8
        556.0 557.7 228.1 228.3  995.8 998.0  887.6 888.8  120.2 119.6  0.3 0.3
        0.3 0.6     556.8 557.6  339.1 339.3  887.2 888.0  999.0 998.5  779.0 778.9
        11.1 10.2   118.3 117.6  229.2 228.9  669.1 668.4  448.9 449.2  0.5 0.2
    """
    x, y = np.array(points.split(), np.float64).reshape(-1, 2).T
    return Certified(
        "Norris",
        x[:, np.newaxis],
        y,
        np.array([-0.262323073774029, 1.00211681802045]),
        np.array([0.232818234301152, 0.429796848199937e-03]),
        0.884796396144373,
    )


def wampler(number):
    """Wampler's set of that number, 1 to 5."""
    base = Fraction(1, 10) if number == 2 else Fraction(1)
    error_size = {3: 1, 4: 100, 5: 10000}.get(number, 0)
    half = [759, -2048, 2048, -2048, 2523, -2048, 2048, -2048, 1838, -2048]
    errors = [*half, 2048, *half[::-1]]
    values = [sum(base**k * t**k for k in range(6)) + error_size * errors[t] for t in range(21)]
    standard_errors = [
        2152.32624678170,
        2363.55173469681,
        779.343524331583,
        101.475507550350,
        5.64566512170752,
        0.112324854679312,
    ]
    return Certified(
        f"Wampler{number}",
        np.arange(21.0)[:, np.newaxis] ** np.arange(1, 6),
        np.array([float(v) for v in values]),
        np.array([float(base**k) for k in range(6)]),
        error_size * np.array(standard_errors),
        error_size * 2360.14502379268,
    )
