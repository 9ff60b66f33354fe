"""Rows of the operator table: Cholesky factorisation and what is computed from a factor."""

import numpy as np
from contracts.table import Operator, lower, positive_definite

from statespace import linalg_ops


def _cholesky(n):
    def make(rng, batch, dtype):
        return [positive_definite(rng, batch, n, dtype)]

    return Operator(
        f"cholesky-{n}",
        linalg_ops.cholesky,
        make,
        np.linalg.cholesky,
        lambda a: -a,
        ((n, n),),
        symmetric=True,
        representative=n == 3,
    )


def _psd_cholesky(n):
    # Positive definite: elsewhere the factor is not differentiable (tests/linalg_ops has those).
    row = _cholesky(n)
    return row._replace(name=f"psd-cholesky-{n}", apply=linalg_ops.psd_cholesky)


def _factor(rng, batch, n, dtype):
    # Numbers in the other triangle must not matter.
    return lower(rng, batch, n, dtype) + np.triu(rng.normal(size=(n, n)), 1).astype(dtype)


def _zero_pivot(l):
    l = l.copy()
    l[-1, -1] = 0.0
    return l


def _cholesky_inverse(n):
    def make(rng, batch, dtype):
        return [_factor(rng, batch, n, dtype)]

    def oracle(l):
        return np.linalg.inv(np.tril(l) @ np.tril(l).T)

    return Operator(
        f"cholesky-inverse-{n}",
        linalg_ops.cholesky_inverse,
        make,
        oracle,
        _zero_pivot,
        ((n, n),),
        representative=n == 3,
    )


def _cholesky_solve(n, k):
    def make(rng, batch, dtype):
        l = _factor(rng, batch, n, dtype)
        return [l, rng.normal(size=(*batch, n, k)).astype(dtype)]

    def oracle(l, b):
        return np.linalg.solve(np.tril(l) @ np.tril(l).T, b)

    return Operator(
        f"cholesky-solve-{n}",
        linalg_ops.cholesky_solve,
        make,
        oracle,
        _zero_pivot,
        ((n, n), (n, k)),
        representative=n == 3,
    )


OPERATORS = (
    _cholesky(1),
    _cholesky(3),
    _cholesky(10),
    _psd_cholesky(3),
    _psd_cholesky(10),
    _cholesky_inverse(3),
    _cholesky_inverse(10),
    _cholesky_solve(3, 2),
    _cholesky_solve(10, 4),
)
