"""Rows of the operator table: systems and products with a triangular matrix."""

import numpy as np
from contracts.table import Operator, lower

from statespace import linalg_ops


def _zero_pivot(l):
    l = l.copy()
    l[0, 0] = 0.0
    return l


def _row(kind, n, k, is_lower, adjoint, right_side):
    """A solve or a product in one of its eight forms."""
    function = {"solve": linalg_ops.triangular_solve, "multiply": linalg_ops.triangular_multiply}

    def apply(l, b):
        return function[kind](l, b, lower=is_lower, adjoint=adjoint, right_side=right_side)

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
        if kind == "multiply":
            return b @ op if right_side else op @ b
        return np.linalg.solve(op.T, b.T).T if right_side else np.linalg.solve(op, b)

    form = f"{'lower' if is_lower else 'upper'}{'-adjoint' if adjoint else ''}"
    side = "right" if right_side else "left"
    core = ((n, n), (k, n) if right_side else (n, k))
    representative = f"{form}-{side}-{n}" in ("lower-left-4", "upper-adjoint-right-4")
    name = f"{kind}-{form}-{side}-{n}"
    spoil = _zero_pivot if kind == "solve" else None
    return Operator(name, apply, make, oracle, spoil, core, representative=representative)


OPERATORS = (
    *(
        _row(kind, 4, 3, is_lower, adjoint, right_side)
        for kind in ("solve", "multiply")
        for is_lower in (True, False)
        for adjoint in (True, False)
        for right_side in (True, False)
    ),
    _row("solve", 10, 2, True, False, False),
    _row("solve", 10, 5, False, False, True),
    _row("multiply", 10, 2, False, True, False),
    _row("multiply", 10, 5, True, False, True),
)
