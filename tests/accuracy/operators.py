"""The operators of linalg_ops, each with its residual ratios: a new operator adds a row.

A row's function makes the matrices of one size, applies the operator and returns Ratios. A ratio is
LAPACK's test ratio of the same name where one is given.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from accuracy import matrices
from accuracy.residuals import departure, eliminate, entrywise, norm, ratios, transpose, wide

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
                "|QQ'-I|",
                names,
                shape,
                dtype,
                norm(q @ transpose(q) - np.eye(q.shape[-2])),
                constant,
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


def _triangular_multiply(form):
    def measure(rng, n, dtype, samples):
        """|C - op(L)B| entry by entry, against n |op(L)||B|."""
        names, l, op, b = _triangular(rng, n, 3, dtype, samples, form)
        c = wide(linalg_ops.triangular_multiply(l, b, **form))
        b = wide(b)
        error = entrywise(c - _product(op, b, form), _product(np.abs(op), np.abs(b), form))
        return ratios("|C-LB| by entry", names, (n, 3), dtype, error, np.full(len(l), n, b.dtype))

    return measure


def _cholesky_solve(rng, n, dtype, samples):
    """|B - AX| / |A||X|eps with A = LL' (dpot02)."""
    names, a = matrices.stack(matrices.POSITIVE_DEFINITE, rng, (n, n), dtype, samples)
    l = linalg_ops.cholesky(a).numpy()
    a = wide(l) @ transpose(wide(l))
    b = (a @ rng.normal(size=(len(a), n, 3))).astype(dtype)
    x = wide(linalg_ops.cholesky_solve(l, b))
    residual = np.sum(np.abs(wide(b) - a @ x), axis=-2)
    by_column = entrywise(*(c[:, np.newaxis] for c in (residual, np.sum(np.abs(x), axis=-2))))
    return ratios("|B-AX|", names, (n, 3), dtype, by_column, norm(a))


def _cholesky_inverse(rng, n, dtype, samples):
    """|I - AX| / n|A||X|eps with A = LL' (dpot03), after A is scaled to a unit diagonal."""
    names, a = matrices.stack(matrices.POSITIVE_DEFINITE, rng, (n, n), dtype, samples)
    l = linalg_ops.cholesky(a).numpy()
    x = linalg_ops.cholesky_inverse(l).numpy()
    np.testing.assert_array_equal(x, transpose(x))
    a, x = wide(l) @ transpose(wide(l)), wide(x)
    root = np.sqrt(np.einsum("...ii->...i", a))
    root = root[..., :, np.newaxis] * root[..., np.newaxis, :]
    a, x = a / root, x * root
    scale = n * norm(a) * norm(x)
    return ratios("|I-AX|", names, (n, n), dtype, norm(np.eye(n) - a @ x), scale)


def _psd_cholesky(rng, n, dtype, samples):
    """|LL' - A| / n|A|eps."""
    types = matrices.POSITIVE_DEFINITE + matrices.SEMIDEFINITE
    names, a = matrices.stack(types, rng, (n, n), dtype, samples)
    l = wide(linalg_ops.psd_cholesky(a))
    a = wide(a)
    residual = norm(l @ transpose(l) - a)
    scale = n * norm(a) * np.array([_growth(x) for x in l]) ** 2
    return ratios("|LL'-A|", names, (n, n), dtype, residual, scale)


def _growth(l):
    """1 + |W|, W expressing the rows with a zero pivot by the others; 1 where there are none.

    Without pivoting, that squared is how much of a rounding error of a semidefinite A comes into
    what is left of it (Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., theorem
    10.14).
    """
    l = l.astype(np.float64)
    kept = np.diag(l) > 0
    if kept.all() or not kept.any():
        return 1.0
    w = np.linalg.lstsq(l[kept][:, kept].T, l[~kept][:, kept].T)[0]
    return 1.0 + np.linalg.norm(w, 2)


def _inverse(rng, n, dtype, samples):
    """|I - AX| / n|A||X|eps (dget03)."""
    types = [kind for kind in matrices.GENERAL if not kind.singular]
    names, a = matrices.stack(types, rng, (n, n), dtype, samples)
    # A random triangular matrix of some size has an inverse beyond the range of float32.
    fits = eliminate(wide(a))[2] < np.finfo(dtype).max
    names = [name for name, kept in zip(names, fits, strict=True) if kept]
    a = a[fits]
    x = wide(linalg_ops.inverse(a))
    a = wide(a)
    scale = n * norm(a) * norm(x)
    return ratios("|I-AX|", names, (n, n), dtype, norm(np.eye(n) - a @ x), scale)


def _slogdet(rng, n, dtype, samples):
    """The error of log |det A| against what n |A|eps in A can make of it, and equal signs.

    log |det (A + E)| - log |det A| is about trace(A^-1 E), at most n |A||A^-1| times eps and the
    growth of rounding errors in the elimination, which LAPACK's ratios allow a factor n.
    """
    names, a = matrices.stack(matrices.GENERAL, rng, (n, n), dtype, samples)
    singular = np.array([kind.singular for kind in matrices.GENERAL for _ in range(samples)])
    sign, log_abs = (x.numpy() for x in linalg_ops.slogdet(a))
    expected_sign, expected, inverse_norm = eliminate(wide(a))
    condition = norm(wide(a)) * inverse_norm
    certain = ~singular & (n * n * condition * matrices.limits(dtype).unit < 0.1)
    np.testing.assert_array_equal(sign[certain], expected_sign[certain])
    error = np.abs(wide(log_abs[certain]) - expected[certain])
    scale = (n * condition + np.abs(expected))[certain]
    names = [name for name, kept in zip(names, certain, strict=True) if kept]
    return ratios("log |det|", names, (n, n), dtype, error, scale)


def _det(rng, n, dtype, samples):
    """The relative error of det A against n |A||A^-1|eps; matrices whose determinant fits."""
    types = [kind for kind in matrices.GENERAL if not kind.singular]
    names, a = matrices.stack(types, rng, (n, n), dtype, samples)
    sign, log_abs, inverse_norm = eliminate(wide(a))
    condition = norm(wide(a)) * inverse_norm
    numbers = np.finfo(dtype)
    fits = (np.log(numbers.smallest_normal) < log_abs) & (log_abs < np.log(numbers.max))
    fits &= n * n * condition * matrices.limits(dtype).unit < 0.1
    names = [name for name, kept in zip(names, fits, strict=True) if kept]
    expected = sign[fits] * np.exp(log_abs[fits])
    error = np.abs(wide(linalg_ops.det(a[fits])) - expected) / np.abs(expected)
    return ratios("det", names, (n, n), dtype, error, (n * condition + np.abs(log_abs))[fits])


def _least_squares(shape_of):
    def measure(rng, n, dtype, samples):
        """|A'R| / max(m,n)|A|(|A||X| + |B|)eps with R = B - AX, or |B - AX| / max(m,n)|A||X|eps

        where A has no more rows than columns (dqrt16). The first is what a change of A by |A|eps
        makes of the normal equations; X can be large where B has parts outside A's range.
        """
        m, n = shape = shape_of(n)
        types = [kind for kind in matrices.GENERAL if kind.name in FULL_RANK]
        names, a = matrices.stack(types, rng, shape, dtype, samples)
        x_true = rng.normal(size=(len(a), n, 2))
        b = wide(a) @ x_true
        if m > n:
            b = b + rng.normal(size=b.shape) * norm(b)[:, np.newaxis, np.newaxis] / max(m, 1)
        b = b.astype(dtype)
        x = wide(linalg_ops.least_squares(a, b))
        a, b = wide(a), wide(b)
        residual = b - a @ x
        if m > n:
            scale = max(m, n) * norm(a) * (norm(a) * norm(x) + norm(b))
            return ratios("|A'R|", names, shape, dtype, norm(transpose(a) @ residual), scale)
        scale = max(m, n) * norm(a) * norm(x)
        return ratios("|B-AX|", names, shape, dtype, norm(residual), scale)

    return measure


FULL_RANK = ("diagonal", "condition-2", "condition-bad", "near-underflow", "near-overflow")


def _syrk(transposed):
    def measure(rng, n, dtype, samples):
        """|C - AA'| entry by entry, against n |A||A'|."""
        types = [kind for kind in matrices.GENERAL if not kind.name.startswith(("near", "graded"))]
        names, a = matrices.stack(types, rng, (n, n + 1), dtype, samples)
        c = linalg_ops.syrk(a, transpose=transposed).numpy()
        np.testing.assert_array_equal(c, transpose(c))
        a = transpose(wide(a)) if transposed else wide(a)
        error = entrywise(wide(c) - a @ transpose(a), np.abs(a) @ np.abs(transpose(a)))
        constant = np.full(len(names), n + 1, a.dtype)
        return ratios("|C-AA'| by entry", names, (n, n + 1), dtype, error, constant)

    return measure


def _gemm(rng, n, dtype, samples):
    """|C - AB| entry by entry, against n |A||B|."""
    types = [kind for kind in matrices.GENERAL if not kind.name.startswith(("near", "graded"))]
    names, a = matrices.stack(types, rng, (n, n + 1), dtype, samples)
    b = rng.normal(size=(len(a), n + 1, 3)).astype(dtype)
    c = wide(linalg_ops.gemm(a, b))
    a, b = wide(a), wide(b)
    error = entrywise(c - a @ b, np.abs(a) @ np.abs(b))
    constant = np.full(len(names), n + 1, a.dtype)
    return ratios("|C-AB| by entry", names, (n, n + 1), dtype, error, constant)


def _sum_log_diag(rng, n, dtype, samples):
    """The error against n times the sum of the magnitudes of the logarithms."""
    types = [kind for kind in matrices.TRIANGULAR if kind.name != "diagonal"]
    names, l = matrices.stack(types, rng, (n, n), dtype, samples)
    l = np.abs(l)
    terms = np.log(np.einsum("...ii->...i", wide(l)))
    error = np.abs(wide(linalg_ops.sum_log_diag(l)) - np.sum(terms, axis=-1))
    return ratios("sum", names, (n, n), dtype, error, n * (np.sum(np.abs(terms), axis=-1) + 1))


def _eigh(rng, n, dtype, samples):
    """|A - V diag(lambda) V'| / n|A|eps and |V'V - I| / n eps (dsyt21), ascending eigenvalues."""
    names, a = matrices.stack(matrices.SYMMETRIC, rng, (n, n), dtype, samples)
    values, v = (x.numpy() for x in linalg_ops.eigh(a))
    assert np.all(values[..., 1:] >= values[..., :-1])
    a, values, v = wide(a), wide(values), wide(v)
    constant = np.full(len(names), n, a.dtype)
    residual = norm(a - (v * values[..., np.newaxis, :]) @ transpose(v))
    return [
        *ratios("|A-VLV'|", names, (n, n), dtype, residual, n * norm(a)),
        *ratios("|V'V-I|", names, (n, n), dtype, departure(transpose(v)), constant),
    ]


def _matrix_function(name, residual_of):
    def measure(rng, n, dtype, samples):
        """The residual of the equation that defines the function, in units of |A|'s rounding."""
        kinds = [kind for kind in matrices.POSITIVE_DEFINITE if kind.name in SPECTRAL]
        names, a = matrices.stack(kinds, rng, (n, n), dtype, samples)
        x = wide(linalg_ops.matrix_function(a, name))
        residual, scale = residual_of(wide(a), x)
        return ratios(name, names, (n, n), dtype, norm(residual), n * scale)

    return measure


SPECTRAL = ("diagonal", "condition-2", "condition-bad", "arithmetic", "tridiagonal")


def _root_residual(a, x):
    return x @ x - a, norm(a)


def _inverse_residual(a, x):
    return x @ a @ x - np.eye(a.shape[-1]), norm(a) * norm(x) ** 2


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
    *(
        Operator(f"triangular_multiply-{_form_name(form)}", _triangular_multiply(form))
        for form in FORMS
    ),
    Operator("cholesky_solve", _cholesky_solve),
    Operator("cholesky_inverse", _cholesky_inverse),
    Operator("psd_cholesky", _psd_cholesky),
    Operator("inverse", _inverse),
    Operator("det", _det),
    Operator("slogdet", _slogdet),
    Operator("least_squares-square", _least_squares(_square)),
    Operator("least_squares-wide", _least_squares(_wide)),
    Operator("least_squares-tall", _least_squares(_tall)),
    Operator("syrk", _syrk(False)),
    Operator("syrk-transpose", _syrk(True)),
    Operator("gemm", _gemm),
    Operator("sum_log_diag", _sum_log_diag),
    Operator("eigh", _eigh, threshold=60.0),
    Operator("matrix_function-sqrt", _matrix_function("sqrt", _root_residual), 60.0),
    Operator("matrix_function-inv_sqrt", _matrix_function("inv_sqrt", _inverse_residual), 60.0),
)
# Those that have landed.
OPERATORS = tuple(row for row in OPERATORS if hasattr(linalg_ops, row.name.split("-")[0]))
