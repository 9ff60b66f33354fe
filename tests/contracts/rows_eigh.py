"""Rows of the operator table: eigenvalues and eigenvectors of symmetric matrices."""

import numpy as np
from contracts.table import Operator, with_nan

from statespace import linalg_ops


def symmetric(rng, batch, n, dtype):
    """Symmetric matrices with eigenvalues about 1, 2, ..., n: eigenvectors are well determined."""
    q = np.linalg.qr(rng.normal(size=(*batch, n, n)))[0]
    eigenvalues = 1.0 + np.arange(n) + 0.2 * rng.uniform(size=(*batch, n))
    a = (q * eigenvalues[..., None, :]) @ np.swapaxes(q, -1, -2)
    return (0.5 * (a + np.swapaxes(a, -1, -2))).astype(dtype)


def eigh_oracle(a):
    eigenvalues, v = np.linalg.eigh(a)
    magnitude = np.abs(v)
    large = magnitude >= (1 - 2.0**-10) * magnitude.max(axis=0)
    pivot = v[np.argmax(large, axis=0), np.arange(len(v))]
    return eigenvalues, np.where(pivot < 0, -v, v)


def _eigh(n):
    def make(rng, batch, dtype):
        return [symmetric(rng, batch, n, dtype)]

    return Operator(
        f"eigh-{n}",
        linalg_ops.eigh,
        make,
        eigh_oracle,
        with_nan,
        ((n, n),),
        symmetric=True,
        representative=n == 3,
    )


def _matrix_function(name, n, power=None):
    values = {
        "sqrt": np.sqrt,
        "inv_sqrt": lambda x: 1 / np.sqrt(x),
        "log": np.log,
        "exp": np.exp,
        "power": lambda x: x**power,
    }

    def oracle(a):
        eigenvalues, v = np.linalg.eigh(a)
        return (v * values[name](eigenvalues)) @ v.T

    return Operator(
        f"matrix_function-{name}-{n}",
        lambda a: linalg_ops.matrix_function(a, name, power=power),
        lambda rng, batch, dtype: [symmetric(rng, batch, n, dtype)],
        oracle,
        with_nan,
        ((n, n),),
        symmetric=True,
        representative=name == "log",
    )


OPERATORS = (
    _eigh(1),
    _eigh(2),
    _eigh(3),
    _eigh(6),
    _matrix_function("sqrt", 3),
    _matrix_function("inv_sqrt", 1),
    _matrix_function("log", 4),
    _matrix_function("exp", 2),
    _matrix_function("power", 3, 1.7),
)
