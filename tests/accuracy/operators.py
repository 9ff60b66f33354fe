"""The operators of linalg_ops, each with its residual ratios: a new operator adds a row.

A row's function makes the matrices of one size, applies the operator and returns Ratios. A ratio is
LAPACK's test ratio of the same name where one is given.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from accuracy import matrices
from accuracy.residuals import entrywise, identity_like, norm, ratios, transpose, wide
from statespace import linalg_ops


class Operator(NamedTuple):
    name: str
    measure: Callable  # (rng, n, dtype, samples) -> list of Ratio
    threshold: float = 30.0  # LAPACK's own; 60 for eigenvalues


def _cholesky(rng, n, dtype, samples):
    """|LL' - A| / n|A|eps (dpot01), and the same after A is scaled to a unit diagonal."""
    names, a = matrices.stack(matrices.POSITIVE_DEFINITE, rng, (n, n), dtype, samples)
    l = wide(linalg_ops.cholesky(a))
    a = wide(a)
    residual = l @ transpose(l) - a
    root = np.sqrt(np.einsum("...ii->...i", a))
    scaled = entrywise(residual, root[..., :, np.newaxis] * root[..., np.newaxis, :])
    return [
        *ratios("|LL'-A|", names, (n, n), dtype, norm(residual), n * norm(a)),
        *ratios("|LL'-A| scaled", names, (n, n), dtype, scaled, np.full(len(names), n, a.dtype)),
    ]


def _lq(shape_of):
    def measure(rng, n, dtype, samples):
        """|A - LQ| / n|A|eps and |QQ' - I| / n eps (dlqt01), the first by rows too."""
        m, n = shape = shape_of(n)
        names, a = matrices.stack(matrices.GENERAL, rng, shape, dtype, samples)
        l, q = (wide(x) for x in linalg_ops.lq(a))
        a = wide(a)
        order = max(m, n)
        residual = a - l @ q
        rows = entrywise(residual, np.sum(np.abs(a), axis=-1, keepdims=True))
        constant = np.full(len(names), order, a.dtype)
        return [
            *ratios("|A-LQ|", names, shape, dtype, norm(residual), order * norm(a)),
            *ratios("|A-LQ| by rows", names, shape, dtype, rows, constant),
            *ratios(
                "|QQ'-I|", names, shape, dtype, norm(q @ transpose(q) - np.eye(q.shape[-2])), constant
            ),
        ]

    return measure


def _lq_l(shape_of):
    def measure(rng, n, dtype, samples):
        """|LL' - AA'| / n|A||A'|eps, for L alone."""
        m, n = shape = shape_of(n)
        names, a = matrices.stack(matrices.GENERAL, rng, shape, dtype, samples)
        l = wide(linalg_ops.lq(a, mode="l"))
        a = wide(a)
        residual = norm(l @ transpose(l) - a @ transpose(a))
        scale = max(m, n) * norm(a) * norm(transpose(a))
        return ratios("|LL'-AA'|", names, shape, dtype, residual, scale)

    return measure


def _triangular(rng, n, k, dtype, samples, form):
    """Triangles and what stands beside them: names, the argument L, op(L) wide, X."""
    names, l = matrices.stack(matrices.TRIANGULAR, rng, (n, n), dtype, samples)
    l = l if form["lower"] else transpose(l)
    op = wide(transpose(l) if form["adjoint"] else l)
    shape = (k, n) if form["right_side"] else (n, k)
    x = rng.normal(size=(len(l), *shape)).astype(dtype)
    # Numbers in the other triangle must not matter.
    other = rng.normal(size=l.shape).astype(dtype)
    other = np.triu(other, 1) if form["lower"] else np.tril(other, -1)
    return names, l + other, op, x


def _product(op, x, form):
    return x @ op if form["right_side"] else op @ x


def _triangular_solve(form):
    def measure(rng, n, dtype, samples):
        """|B - op(L)X| / |L||X|eps (dtrt02), and entry by entry against n |L||X|."""
        names, l, op, x = _triangular(rng, n, 3, dtype, samples, form)
        b = _product(op, wide(x), form).astype(dtype)
        x = wide(linalg_ops.triangular_solve(l, b, **form))
        residual = wide(b) - _product(op, x, form)
        by_entry = entrywise(residual, _product(np.abs(op), np.abs(x), form))
        # As in dtrt02, each right-hand side by itself.
        size = -1 if form["right_side"] else -2
        columns = np.sum(np.abs(residual), axis=size), np.sum(np.abs(x), axis=size)
        op_norm = norm(transpose(op) if form["right_side"] else op)
        by_column = entrywise(*(c[:, np.newaxis] for c in columns))
        return [
            *ratios("|B-LX|", names, (n, 3), dtype, by_column, op_norm),
            *ratios("|B-LX| by entry", names, (n, 3), dtype, by_entry, np.full(len(l), n, x.dtype)),
        ]

    return measure


FORMS = [
    {"lower": lower, "adjoint": adjoint, "right_side": right_side}
    for lower in (True, False)
    for adjoint in (False, True)
    for right_side in (False, True)
]


def _form_name(form):
    sides = "lower" if form["lower"] else "upper", "-adjoint" if form["adjoint"] else ""
    return "".join(sides) + ("-right" if form["right_side"] else "-left")


def _square(n):
    return n, n


def _wide(n):
    return n, 2 * n + 1


def _tall(n):
    return 2 * n + 1, n


def _nearly_square(n):
    return n, n + 1


OPERATORS = (
    Operator("cholesky", _cholesky),
    Operator("lq-square", _lq(_square)),
    Operator("lq-wide", _lq(_wide)),
    Operator("lq-tall", _lq(_tall)),
    Operator("lq-nearly-square", _lq(_nearly_square)),
    Operator("lq-l-square", _lq_l(_square)),
    Operator("lq-l-wide", _lq_l(_wide)),
    Operator("lq-l-tall", _lq_l(_tall)),
    *(Operator(f"triangular_solve-{_form_name(form)}", _triangular_solve(form)) for form in FORMS),
)
