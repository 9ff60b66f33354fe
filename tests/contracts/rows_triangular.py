"""Rows of the operator table: systems and products with a triangular matrix."""

import numpy as np
from contracts.table import Operator, lower

from statespace import linalg_ops


def _zero_pivot(l):
    l = l.copy()
    l[0, 0] = 0.0
    return l


def _triangular_solve(n, k, is_lower, adjoint, right_side):
    def apply(l, b):
        return linalg_ops.triangular_solve(
            l, b, lower=is_lower, adjoint=adjoint, right_side=right_side
        )

    def make(rng, batch, dtype):
        l = lower(rng, batch, n, dtype)
        # Numbers in the other triangle must not matter.
        other = np.triu(rng.normal(size=l.shape), 1).astype(dtype)
        l = l + other if is_lower else np.swapaxes(l, -1, -2) + np.swapaxes(other, -1, -2)
        shape = (k, n) if right_side else (n, k)
        return [l, rng.normal(size=(*batch, *shape)).astype(dtype)]

    def oracle(l, b):
        op = np.tril(l) if is_lower else np.triu(l)
        op = op.T if adjoint else op
        return np.linalg.solve(op.T, b.T).T if right_side else np.linalg.solve(op, b)

    form = f"{'lower' if is_lower else 'upper'}{'-adjoint' if adjoint else ''}"
    side = "right" if right_side else "left"
    core = ((n, n), (k, n) if right_side else (n, k))
    name = f"solve-{form}-{side}-{n}"
    representative = name in ("solve-lower-left-4", "solve-upper-adjoint-right-4")
    return Operator(name, apply, make, oracle, _zero_pivot, core, representative=representative)


OPERATORS = (
    *(
        _triangular_solve(4, 3, is_lower, adjoint, right_side)
        for is_lower in (True, False)
        for adjoint in (True, False)
        for right_side in (True, False)
    ),
    _triangular_solve(6, 2, True, False, False),
)
