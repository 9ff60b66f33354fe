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


OPERATORS = (
    _lq(3, 3),
    _lq(2, 5),
    _lq(6, 7),
    _lq(5, 2),
    _lq_l(3, 3),
    _lq_l(2, 6),
)
