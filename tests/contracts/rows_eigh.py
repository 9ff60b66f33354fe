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


OPERATORS = (_eigh(1), _eigh(2), _eigh(3), _eigh(6))
