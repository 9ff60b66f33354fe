"""The table of operators that the contract tests run over: a new operator adds a row."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from statespace import linalg_ops


class Operator(NamedTuple):
    """One operator in one of its forms."""

    name: str
    apply: Callable  # tensors -> tensor or tuple of tensors
    make: Callable  # (rng, batch, dtype) -> list of arrays, well conditioned
    oracle: Callable  # arrays of one item -> arrays, by NumPy in float64
    spoil: Callable  # array (first argument of one item) -> array the operator must fail on
    core_dims: tuple[tuple[int, int], ...]  # of the arguments that `make` makes


def _positive_definite(rng, batch, n, dtype):
    a = rng.normal(size=(*batch, n, n))
    return (a @ np.swapaxes(a, -1, -2) + n * np.eye(n)).astype(dtype)


def _lower(rng, batch, n, dtype):
    return (np.tril(rng.normal(size=(*batch, n, n))) + 3.0 * np.eye(n)).astype(dtype)


def _general(rng, batch, m, n, dtype):
    # Rows far from dependent, so that finite differences of the factors are meaningful.
    return (rng.normal(size=(*batch, m, n)) + 2.0 * np.eye(m, n)).astype(dtype)


def _with_nan(a):
    a = a.copy()
    a[-1, 0] = np.nan
    return a


def _zero_pivot(l):
    l = l.copy()
    l[0, 0] = 0.0
    return l


def _cholesky(n):
    def make(rng, batch, dtype):
        return [_positive_definite(rng, batch, n, dtype)]

    return Operator(
        f"cholesky-{n}", linalg_ops.cholesky, make, np.linalg.cholesky, lambda a: -a, ((n, n),)
    )


def _triangular_solve(n, k, lower, adjoint, right_side):
    def apply(l, b):
        return linalg_ops.triangular_solve(
            l, b, lower=lower, adjoint=adjoint, right_side=right_side
        )

    def make(rng, batch, dtype):
        l = _lower(rng, batch, n, dtype)
        # Numbers in the other triangle must not matter.
        other = np.triu(rng.normal(size=l.shape), 1).astype(dtype)
        l = l + other if lower else np.swapaxes(l, -1, -2) + np.swapaxes(other, -1, -2)
        shape = (k, n) if right_side else (n, k)
        return [l, rng.normal(size=(*batch, *shape)).astype(dtype)]

    def oracle(l, b):
        op = np.tril(l) if lower else np.triu(l)
        op = op.T if adjoint else op
        return np.linalg.solve(op.T, b.T).T if right_side else np.linalg.solve(op, b)

    form = f"{'lower' if lower else 'upper'}{'-adjoint' if adjoint else ''}"
    side = "right" if right_side else "left"
    core = ((n, n), (k, n) if right_side else (n, k))
    return Operator(f"solve-{form}-{side}-{n}", apply, make, oracle, _zero_pivot, core)


def _lq_oracle(a):
    q, r = np.linalg.qr(a.T)
    sign = np.where(np.diag(r) < 0, -1.0, 1.0)
    return (r * sign[:, None]).T, (q * sign).T


def _lq(m, n):
    def make(rng, batch, dtype):
        return [_general(rng, batch, m, n, dtype)]

    return Operator(f"lq-{m}x{n}", linalg_ops.lq, make, _lq_oracle, _with_nan, ((m, n),))


def _lq_l(m, n):
    def apply(a):
        return linalg_ops.lq(a, mode="l")

    def make(rng, batch, dtype):
        return [_general(rng, batch, m, n, dtype)]

    return Operator(f"lq-l-{m}x{n}", apply, make, lambda a: _lq_oracle(a)[0], _with_nan, ((m, n),))


OPERATORS = (
    _cholesky(1),
    _cholesky(3),
    _cholesky(6),
    *(
        _triangular_solve(4, 3, lower, adjoint, right_side)
        for lower in (True, False)
        for adjoint in (True, False)
        for right_side in (True, False)
    ),
    _triangular_solve(6, 2, True, False, False),
    _lq(3, 3),
    _lq(2, 5),
    _lq(6, 7),
    _lq(5, 2),
    _lq_l(3, 3),
    _lq_l(2, 6),
)


def outputs(result) -> list[tf.Tensor]:
    """An operator's result as a list."""
    return list(result) if isinstance(result, tuple) else [result]


def loss(operator: Operator, weights):
    """A scalar function of the operator's arguments: its outputs against fixed weights."""

    def function(*arguments):
        results = outputs(operator.apply(*arguments))
        return tf.add_n([tf.reduce_sum(w * x) for w, x in zip(weights, results, strict=True)])

    return function
