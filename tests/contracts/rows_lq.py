"""Rows of the operator table: LQ factorisation and what is computed from it."""

import numpy as np
import tensorflow as tf
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


def _least_squares(m, n, ridge=0.0, weighted=False, minimum_norm=False):
    weights = np.linspace(0.5, 2.0, m) if weighted else np.ones(m)

    def apply(a, b):
        given = tf.constant(weights, a.dtype) if weighted else None
        return linalg_ops.least_squares(a, b, weights=given, ridge=ridge, minimum_norm=minimum_norm)

    def make(rng, batch, dtype):
        return [general(rng, batch, m, n, dtype), rng.normal(size=(*batch, m, 2)).astype(dtype)]

    def oracle(a, b):
        a, b = (np.sqrt(weights)[:, np.newaxis] * x for x in (a, b))
        if ridge == 0.0:
            return np.linalg.lstsq(a, b, rcond=None)[0]
        return np.linalg.solve(a.T @ a + ridge * np.eye(n), a.T @ b)

    def spoil(a):
        return with_nan(a) if ridge or minimum_norm else np.ones_like(a)

    options = {"ridge": ridge, "weights": weighted, "minimum-norm": minimum_norm}
    name = "-".join([f"least-squares-{m}x{n}", *(key for key, value in options.items() if value)])
    # The plain form stands for all.
    first = (m, n) == (5, 3) and not any(options.values())
    return Operator(name, apply, make, oracle, spoil, ((m, n), (m, 2)), representative=first)


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
    _least_squares(5, 3, weighted=True),
    _least_squares(3, 5, minimum_norm=True),
)
