"""Rows of the operator table: products, diagonals and triangles, determinants and inverses."""

import numpy as np
from contracts.table import Operator, general, lower, with_nan

from statespace import linalg_ops


def _all_nan(a):
    return np.full_like(a, np.nan)


def _shape(rows, columns, transpose):
    return (columns, rows) if transpose else (rows, columns)


def _gemm(m, n, k, transpose_a, transpose_b, add=False):
    shapes = [_shape(m, k, transpose_a), _shape(k, n, transpose_b)] + [(m, n)] * add

    def apply(a, b, c=None):
        c = None if c is None else c * c  # so that no second derivative vanishes
        return linalg_ops.gemm(
            a, b, c, transpose_a=transpose_a, transpose_b=transpose_b, alpha=0.5, beta=-2.0
        )

    def make(rng, batch, dtype):
        return [rng.normal(size=(*batch, *shape)).astype(dtype) for shape in shapes]

    def oracle(a, b, c=0.0):
        return 0.5 * (a.T if transpose_a else a) @ (b.T if transpose_b else b) - 2.0 * c**2

    name = f"gemm-{'tn'[not transpose_a]}{'tn'[not transpose_b]}-{m}x{n}x{k}{'-add' * add}"
    return Operator(name, apply, make, oracle, _all_nan, tuple(shapes), representative=add)


def _syrk(m, n, transpose):
    def apply(a):
        return linalg_ops.syrk(a, transpose=transpose, alpha=3.0)

    def make(rng, batch, dtype):
        return [rng.normal(size=(*batch, m, n)).astype(dtype)]

    def oracle(a):
        return 3.0 * (a.T @ a if transpose else a @ a.T)

    name = f"syrk-{'t' if transpose else 'n'}-{m}x{n}"
    return Operator(name, apply, make, oracle, _all_nan, ((m, n),), representative=not transpose)


def _diag(n, offset):
    """Squares of a diagonal, moved to the other side."""

    def apply(a):
        diagonal = linalg_ops.extract_diag(a, offset=offset)
        return linalg_ops.make_diag(diagonal * diagonal, offset=-offset)

    def make(rng, batch, dtype):
        return [rng.normal(size=(*batch, n, n)).astype(dtype)]

    def oracle(a):
        return np.diag(np.diag(a, offset) ** 2, -offset)

    return Operator(f"diag-{offset}-{n}", apply, make, oracle, None, ((n, n),), representative=True)


def _triangle(n, offset, is_lower):
    """Squares of a triangle, put back."""

    def apply(a):
        packed = linalg_ops.extract_triangle(a, offset=offset, lower=is_lower)
        return linalg_ops.make_triangle(packed * packed, offset=offset, lower=is_lower)

    def make(rng, batch, dtype):
        return [rng.normal(size=(*batch, n, n)).astype(dtype)]

    def oracle(a):
        keep = np.tril if offset < 0 or (offset == 0 and is_lower) else np.triu
        return keep(a**2, offset)

    name = f"triangle-{'lower' if is_lower else 'upper'}-{offset}-{n}"
    return Operator(name, apply, make, oracle, None, ((n, n),), representative=offset == 0)


def _sum_log_diag(n):
    def make(rng, batch, dtype):
        return [np.abs(lower(rng, batch, n, dtype)) + np.eye(n, dtype=dtype)]

    def oracle(l):
        return np.sum(np.log(np.diag(l)))

    def zero_pivot(l):
        l = l.copy()
        l[0, 0] = 0.0
        return l

    name = f"sum-log-diag-{n}"
    return Operator(
        name, linalg_ops.sum_log_diag, make, oracle, zero_pivot, ((n, n),), representative=n == 3
    )


def _square(apply, oracle, n):
    def make(rng, batch, dtype):
        return [general(rng, batch, n, n, dtype) + 2 * np.eye(n, dtype=dtype)]

    name = f"{apply.__name__}-{n}"
    return Operator(name, apply, make, oracle, with_nan, ((n, n),), representative=n == 3)


OPERATORS = (
    *(
        _gemm(3, 4, 2, transpose_a, transpose_b)
        for transpose_a in (False, True)
        for transpose_b in (False, True)
    ),
    _gemm(5, 2, 6, False, False, add=True),
    _gemm(66, 3, 65, True, False),
    _syrk(3, 5, False),
    _syrk(5, 3, True),
    _diag(4, 1),
    _diag(3, -2),
    _triangle(4, 0, True),
    _triangle(4, 0, False),
    _triangle(5, 2, True),
    _triangle(5, -1, False),
    _sum_log_diag(3),
    _sum_log_diag(6),
    *(
        _square(apply, oracle, n)
        for n in (1, 3, 6)
        for apply, oracle in (
            (linalg_ops.inverse, np.linalg.inv),
            (linalg_ops.det, np.linalg.det),
            (linalg_ops.slogdet, lambda a: tuple(np.linalg.slogdet(a))),
        )
    ),
)
