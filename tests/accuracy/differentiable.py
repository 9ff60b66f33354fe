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
    l = np.linalg.qr(*_general(lambda n: (n, n))(rng, n, condition), mode="r").T
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


DIFFERENTIABLE = (
    Differentiable("cholesky", linalg_ops.cholesky, _positive_definite, exact.cholesky, True),
    Differentiable("lq-square", linalg_ops.lq, _general(lambda n: (n, n)), exact.lq),
    Differentiable("lq-wide", linalg_ops.lq, _general(lambda n: (n, n + 1)), exact.lq),
    Differentiable("lq-tall", linalg_ops.lq, _tall, exact.lq_tall),
    Differentiable(
        "lq-l",
        lambda a: linalg_ops.lq(a, mode="l"),
        _general(lambda n: (n, n + 1)),
        lambda a: exact.lq(a)[:1],
    ),
    _triangular_solve(True, False, False),
    _triangular_solve(True, True, False),
    _triangular_solve(False, False, True),
)
