"""The operators with well and ill-conditioned arguments, for the accuracy of their gradients."""

from collections.abc import Callable
from typing import NamedTuple

import mpmath
import numpy as np
from accuracy import exact
from accuracy.matrices import geometric, with_eigenvalues, with_singular_values

from statespace import linalg_ops


class Differentiable(NamedTuple):
    name: str
    apply: Callable  # tensors -> tensor or tuple of tensors
    make: Callable  # (rng, n, condition) -> list of float64 arrays
    exact: Callable  # mpmath matrices -> list of mpmath matrices
    symmetric: bool = False  # the first argument is a symmetric matrix, and so is its gradient


def _positive_definite(rng, n, condition):
    return [with_eigenvalues(rng, geometric(n, condition))]


def _general(shape_of):
    def make(rng, n, condition):
        shape = shape_of(n)
        return [with_singular_values(rng, shape, geometric(min(shape), condition))]

    return make


def _tall(rng, n, condition):
    """The leading block has the condition, and the rows below are of its size."""
    top = with_singular_values(rng, (n, n), geometric(n, condition))
    return [np.concatenate([top, with_singular_values(rng, (n + 1, n), geometric(n, 2.0))])]


def _triangle(rng, n, condition):
    l = np.linalg.qr(*_square(rng, n, condition), mode="r").T
    return l * np.where(np.diag(l) < 0, -1.0, 1.0)


def _lower(rng, n, condition):
    return [_triangle(rng, n, condition)]


def _system(lower, right_side):
    def make(rng, n, condition):
        l = _triangle(rng, n, condition)
        return [l if lower else l.T, rng.normal(size=(2, n) if right_side else (n, 2))]

    return make


def _exact_solve(lower, adjoint, right_side):
    def function(l, b):
        op = exact.triangle(l, lower)
        inverse = mpmath.inverse(op.T if adjoint else op)
        return [b * inverse if right_side else inverse * b]

    return function


def _triangular_solve(lower, adjoint, right_side):
    form = {"lower": lower, "adjoint": adjoint, "right_side": right_side}
    name = "-".join(["triangular_solve", *(key for key, value in form.items() if value)])
    return Differentiable(
        name,
        lambda l, b: linalg_ops.triangular_solve(l, b, **form),
        _system(lower, right_side),
        _exact_solve(**form),
    )


def _triangular_multiply(lower, adjoint, right_side):
    form = {"lower": lower, "adjoint": adjoint, "right_side": right_side}

    def function(l, b):
        op = exact.triangle(l, lower)
        op = op.T if adjoint else op
        return [b * op if right_side else op * b]

    return Differentiable(
        "-".join(["triangular_multiply", *(key for key, value in form.items() if value)]),
        lambda l, b: linalg_ops.triangular_multiply(l, b, **form),
        _system(lower, right_side),
        function,
    )


def _exact_cholesky_inverse(l):
    inverse = mpmath.inverse(exact.triangle(l))
    return [inverse.T * inverse]


def _exact_cholesky_solve(l, b):
    return [_exact_cholesky_inverse(l)[0] * b]


_square = _general(lambda n: (n, n))
_nearly_square = _general(lambda n: (n, n + 1))


def _separated(rng, n, condition):
    """Eigenvalues at a distance of 1 from each other, or, ill-conditioned, graded."""
    graded = condition > 1e6
    return [with_eigenvalues(rng, geometric(n, condition) if graded else np.arange(1.0, n + 1))]


def _nearly_repeated(rng, n, condition):
    """Pairs of eigenvalues at a relative distance of 1e-10."""
    values = 1.0 + np.arange(n) // 2 / n
    values[1::2] *= 1.0 + 1e-10
    return [with_eigenvalues(rng, values)]


def _overdetermined(rng, n, condition):
    return [*_general(lambda n: (2 * n, n))(rng, n, condition), rng.normal(size=(2 * n, 2))]


def _underdetermined(rng, n, condition):
    return [*_nearly_square(rng, n, condition), rng.normal(size=(n, 2))]


def _factors(rng, n, condition):
    return [*_underdetermined(rng, n, condition)[:1], rng.normal(size=(n + 1, 2))]


def _matrix_function(name, scalar):
    def apply(a):
        return linalg_ops.matrix_function(a, name)

    return [
        Differentiable(f"matrix_function-{name}{suffix}", apply, make, exact.spectral(scalar), True)
        for suffix, make in (("", _positive_definite), ("-nearly-repeated", _nearly_repeated))
    ]


def _named(name, make, function, symmetric=False, **options):
    """The operator of that name; options (after a dash in the row's name) go to the call."""
    operator = name.split("-")[0]
    return Differentiable(
        name, lambda *x: getattr(linalg_ops, operator)(*x, **options), make, function, symmetric
    )


DIFFERENTIABLE = (
    _named("cholesky", _positive_definite, exact.cholesky, True),
    _named("psd_cholesky", _positive_definite, exact.cholesky, True),
    _named("cholesky_inverse", _lower, _exact_cholesky_inverse),
    _named(
        "cholesky_solve", _system(True, False), lambda l, b: [_exact_cholesky_inverse(l)[0] * b]
    ),
    _triangular_solve(True, False, False),
    _triangular_solve(True, True, False),
    _triangular_solve(False, False, True),
    _triangular_multiply(True, False, False),
    _triangular_multiply(False, True, True),
    _named("lq-square", _square, exact.lq),
    _named("lq-wide", _nearly_square, exact.lq),
    _named("lq-tall", _tall, exact.lq_tall),
    _named("lq-l-square", _square, lambda a: exact.lq(a)[:1], mode="l"),
    _named("lq-l-wide", _nearly_square, lambda a: exact.lq(a)[:1], mode="l"),
    _named("lq-l-tall", _tall, lambda a: exact.lq_tall(a)[:1], mode="l"),
    _named("eigh", _separated, exact.eigh, True),
    _named("inverse", _square, lambda a: [mpmath.inverse(a)]),
    _named("det", _square, lambda a: [mpmath.det(a)]),
    Differentiable(
        "slogdet",
        lambda a: linalg_ops.slogdet(a)[1],
        _square,
        lambda a: [mpmath.log(abs(mpmath.det(a)))],
    ),
    _named("syrk", _nearly_square, lambda a: [a * a.T]),
    _named("gemm", _factors, lambda a, b: [a * b]),
    _named("sum_log_diag", _lower, lambda l: [mpmath.log(exact.product_of_diagonal(l))]),
    _named(
        "least_squares-tall", _overdetermined, lambda a, b: [mpmath.inverse(a.T * a) * (a.T * b)]
    ),
    _named(
        "least_squares-wide", _underdetermined, lambda a, b: [a.T * (mpmath.inverse(a * a.T) * b)]
    ),
    *_matrix_function("sqrt", mpmath.sqrt),
    *_matrix_function("inv_sqrt", lambda x: 1 / mpmath.sqrt(x)),
    *_matrix_function("log", mpmath.log),
    *_matrix_function("exp", mpmath.exp),
)
# Those that have landed.
DIFFERENTIABLE = tuple(
    operator for operator in DIFFERENTIABLE if hasattr(linalg_ops, operator.name.split("-")[0])
)
