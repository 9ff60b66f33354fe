"""Rows of the operator table: LQ factorisation and what is computed from it."""

import numpy as np
from contracts.table import Operator, general, with_nan

from statespace import linalg_ops


def _lq_oracle(a):
    q, r = np.linalg.qr(a.T)
    sign = np.where(np.diag(r) < 0, -1.0, 1.0)
    return (r * sign[:, None]).T, (q * sign).T


def _lq(m, n):
    def make(rng, batch, dtype):
        return [general(rng, batch, m, n, dtype)]

    return Operator(
        f"lq-{m}x{n}",
        linalg_ops.lq,
        make,
        _lq_oracle,
        with_nan,
        ((m, n),),
        representative=(m, n) in ((2, 5), (5, 2)),
    )


def _lq_l(m, n):
    def apply(a):
        return linalg_ops.lq(a, mode="l")

    def make(rng, batch, dtype):
        return [general(rng, batch, m, n, dtype)]

    return Operator(
        f"lq-l-{m}x{n}",
        apply,
        make,
        lambda a: _lq_oracle(a)[0],
        with_nan,
        ((m, n),),
        representative=(m, n) == (2, 6),
    )


def _least_squares(m, n, ridge=0.0):
    def apply(a, b):
        return linalg_ops.least_squares(a, b, ridge=ridge)

    def make(rng, batch, dtype):
        return [general(rng, batch, m, n, dtype), rng.normal(size=(*batch, m, 2)).astype(dtype)]

    def oracle(a, b):
        if ridge == 0.0:
            return np.linalg.lstsq(a, b, rcond=None)[0]
        return np.linalg.solve(a.T @ a + ridge * np.eye(n), a.T @ b)

    def spoil(a):
        return np.ones_like(a) if ridge == 0.0 else with_nan(a)

    name = f"least-squares-{m}x{n}{'-ridge' if ridge else ''}"
    return Operator(
        name, apply, make, oracle, spoil, ((m, n), (m, 2)), representative=(m, n) == (5, 3)
    )


OPERATORS = (
    _lq(1, 1),
    _lq(3, 3),
    _lq(2, 5),
    _lq(6, 7),
    _lq(5, 2),
    _lq(20, 18),
    _lq_l(3, 3),
    _lq_l(2, 6),
    _lq_l(6, 2),
    _lq_l(18, 20),
    _least_squares(3, 3),
    _least_squares(5, 3),
    _least_squares(3, 5),
    _least_squares(5, 3, ridge=0.5),
)
