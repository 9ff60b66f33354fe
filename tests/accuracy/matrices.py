"""The matrices that accuracy is measured on: the types of LAPACK's test programs, and harder ones.

After the descriptions in LAPACK Working Note 41 (Installation Guide for LAPACK), sections 6 and 8;
the numbers are our own. A type is a row of a table: a name and a function of a random generator,
the shape and the limits of the number type.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np


class Limits(NamedTuple):
    """What the types need to know of a number type."""

    unit: float  # half the distance from 1 to the next number
    small: float  # near underflow, but so that the unit times it is still about a normal number
    large: float  # its inverse
    span: float  # span and 1 / span have normal squares, with room for sums of many
    subnormal: float  # below the normal numbers


def limits(dtype) -> Limits:
    info = np.finfo(dtype)
    unit = float(info.eps) / 2
    small = float(info.smallest_normal) / (4 * unit)
    span = {np.float32: 1e16, np.float64: 1e150}[dtype]
    return Limits(unit, small, 1 / small, span, float(info.smallest_normal) / 100)


class MatrixType(NamedTuple):
    name: str
    make: Callable  # (rng, shape, limits) -> [m, n] in float64
    singular: bool = False


def stack(types, rng, shape, dtype, samples=1):
    """One matrix of each type (``samples`` of each) in one batch: (names, ``[cases, m, n]``).

    Matrices of all scales are neighbours there, as they may be in a user's batch.
    """
    numbers = limits(dtype)
    types = [kind for kind in types for _ in range(samples)]
    matrices = [kind.make(rng, shape, numbers) for kind in types]
    return [kind.name for kind in types], np.stack(matrices).astype(dtype)


# --- Spectra and singular values, largest 1, smallest 1 / condition


def geometric(count, condition):
    return condition ** -np.linspace(0.0, 1.0, count)


def arithmetic(count, condition):
    return np.linspace(1.0, 1.0 / condition, count)


def one_large(count, condition):
    values = np.full(count, 1.0 / condition)
    values[:1] = 1.0
    return values


def one_small(count, condition):
    values = np.ones(count)
    values[1:][-1:] = 1.0 / condition
    return values


# --- Building blocks


def orthogonal(rng, n):
    """Uniformly distributed (Stewart, SIAM J. Numer. Anal. 17, 1980)."""
    q, r = np.linalg.qr(rng.normal(size=(n, n)))
    return q * np.where(np.diag(r) < 0, -1.0, 1.0)


def with_singular_values(rng, shape, values):
    m, n = shape
    k = min(m, n)
    return (orthogonal(rng, m)[:, :k] * values) @ orthogonal(rng, n)[:k]


def with_eigenvalues(rng, values):
    v = orthogonal(rng, len(values))
    a = (v * values) @ v.T
    return np.tril(a) + np.tril(a, -1).T


def grades(count, span):
    """``count`` numbers from 1 / span to span."""
    return span ** np.linspace(-1.0, 1.0, count)


# --- General matrices


def _random(condition=2.0, scale=1.0, distribution=geometric):
    """Singular values from ``distribution``; condition and scale may be functions of limits."""

    def make(rng, shape, numbers):
        values = distribution(min(shape), _value(condition, numbers))
        return with_singular_values(rng, shape, values) * _value(scale, numbers)

    return make


def _value(x, numbers):
    return x(numbers) if callable(x) else x


def bad(numbers):
    return np.sqrt(0.1 / numbers.unit)


def worst(numbers):
    return 0.1 / numbers.unit


def small(numbers):
    return numbers.small


def large(numbers):
    return numbers.large


def _part_of_random(part):
    return lambda rng, shape, numbers: part(_random()(rng, shape, numbers))


def _diagonal(rng, shape, numbers):
    a = np.zeros(shape)
    k = min(shape)
    a[np.arange(k), np.arange(k)] = geometric(k, 2.0) * rng.choice([-1.0, 1.0], k)
    return a


def _without_columns(columns):
    """Zero in ``columns(n)``, a slice."""

    def make(rng, shape, numbers):
        a = _random()(rng, shape, numbers)
        a[:, columns(shape[1])] = 0.0
        return a

    return make


def _of_rank(rank):
    def make(rng, shape, numbers):
        k = rank(min(shape))
        return rng.normal(size=(shape[0], k)) @ rng.normal(size=(k, shape[1]))

    return make


def _graded(rows, columns):
    """Rows or columns between 1 / span and span; both between their roots."""

    def make(rng, shape, numbers):
        span = numbers.span ** (0.5 if rows and columns else 1.0)
        left = rng.permutation(grades(shape[0], span))[:, None] if rows else 1.0
        right = rng.permutation(grades(shape[1], span)) if columns else 1.0
        return rng.normal(size=shape) * left * right

    return make


def _subnormal(rng, shape, numbers):
    return rng.normal(size=shape) * numbers.subnormal


GENERAL = (
    MatrixType("diagonal", _diagonal),
    MatrixType("upper", _part_of_random(np.triu)),
    MatrixType("lower", _part_of_random(np.tril)),
    MatrixType("condition-2", _random()),
    MatrixType("condition-bad", _random(bad)),
    MatrixType("condition-worst", _random(worst)),
    MatrixType("one-small-value", _random(worst, distribution=one_small)),
    MatrixType("one-large-value", _random(worst, distribution=one_large)),
    MatrixType("near-underflow", _random(scale=small)),
    MatrixType("near-overflow", _random(scale=large)),
    MatrixType("graded-rows", _graded(True, False)),
    MatrixType("graded-columns", _graded(False, True)),
    MatrixType("graded", _graded(True, True)),
    MatrixType("zero-first-column", _without_columns(lambda n: slice(0, 1)), True),
    MatrixType("zero-middle-column", _without_columns(lambda n: slice(n // 2, n // 2 + 1)), True),
    MatrixType("zero-last-columns", _without_columns(lambda n: slice(n // 2, n)), True),
    MatrixType("rank-1", _of_rank(lambda k: min(k, 1)), True),
    MatrixType("half-rank", _of_rank(lambda k: (k + 1) // 2), True),
    MatrixType("zero", lambda rng, shape, numbers: np.zeros(shape), True),
)


# --- Symmetric matrices


def _similar(spectrum, scale=1.0, signs=True):
    """A random orthogonal similarity of diag(spectrum(n, limits)), with random signs."""

    def make(rng, shape, numbers):
        values = spectrum(shape[0], numbers) * _value(scale, numbers)
        return with_eigenvalues(rng, values * _signs(rng, signs, shape[0]))

    return make


def _signs(rng, signs, n):
    return rng.choice([-1.0, 1.0], n) if signs else np.ones(n)


def _spectrum(distribution, condition):
    return lambda n, numbers: distribution(n, _value(condition, numbers))


def _on_diagonal(spectrum):
    def make(rng, shape, numbers):
        values = spectrum(shape[0], numbers) * rng.choice([-1.0, 1.0], shape[0])
        return np.diag(rng.permutation(values))

    return make


def _repeated(n, numbers):
    """Three values, one of them zero, each many times."""
    return np.array([1.0, 0.5, 0.0])[np.arange(n) % 3]


def _half_zero(n, numbers):
    values = geometric(n, 10.0)
    values[n // 2 :] = 0.0
    return values


def _symmetric_entries(scale):
    def make(rng, shape, numbers):
        a = rng.uniform(-1.0, 1.0, shape)
        return (np.tril(a) + np.tril(a, -1).T) * _value(scale, numbers)

    return make


def _tridiagonal(rng, shape, numbers):
    """Diagonally dominant."""
    n = shape[0]
    beside = rng.uniform(-1.0, 1.0, max(n - 1, 0))
    return np.diag(2.0 + rng.uniform(size=n)) + np.diag(beside, 1) + np.diag(beside, -1)


def _wilkinson(rng, shape, numbers):
    """Wilkinson's W+: pairs of eigenvalues closer than any rounding can tell apart."""
    n = shape[0]
    diagonal = np.abs(np.arange(n) - (n - 1) / 2)
    beside = np.ones(max(n - 1, 0))
    return np.diag(diagonal) + np.diag(beside, 1) + np.diag(beside, -1)


def _graded_similar(spectrum, signs):
    """D A D with D graded, so that the diagonal runs from 1 / span to span."""

    def make(rng, shape, numbers):
        a = _similar(spectrum, signs=signs)(rng, shape, numbers)
        d = rng.permutation(grades(shape[0], np.sqrt(numbers.span)))
        return a * d[:, None] * d

    return make


_ULP_ARITHMETIC = _spectrum(arithmetic, worst)
_ULP_GEOMETRIC = _spectrum(geometric, worst)
_ULP_LARGE = _spectrum(one_large, worst)
_ULP_SMALL = _spectrum(one_small, worst)
_MILD = _spectrum(geometric, 2.0)

SYMMETRIC = (
    MatrixType("zero", lambda rng, shape, numbers: np.zeros(shape)),
    MatrixType("identity", lambda rng, shape, numbers: np.eye(shape[0])),
    MatrixType("diagonal-arithmetic", _on_diagonal(_ULP_ARITHMETIC)),
    MatrixType("diagonal-geometric", _on_diagonal(_ULP_GEOMETRIC)),
    MatrixType("diagonal-clustered", _on_diagonal(_ULP_LARGE)),
    MatrixType("arithmetic", _similar(_ULP_ARITHMETIC)),
    MatrixType("geometric", _similar(_ULP_GEOMETRIC)),
    MatrixType("clustered-at-zero", _similar(_ULP_LARGE)),
    MatrixType("clustered-at-one", _similar(_ULP_SMALL)),
    MatrixType("definite", _similar(_ULP_GEOMETRIC, signs=False)),
    MatrixType("repeated", _similar(_repeated, signs=False)),
    MatrixType("half-zero", _similar(_half_zero)),
    MatrixType("entries", _symmetric_entries(1.0)),
    MatrixType("near-underflow", _similar(_ULP_GEOMETRIC, small)),
    MatrixType("near-overflow", _similar(_ULP_GEOMETRIC, large)),
    MatrixType("entries-near-underflow", _symmetric_entries(small)),
    MatrixType("entries-near-overflow", _symmetric_entries(large)),
    MatrixType("tridiagonal", _tridiagonal),
    MatrixType("wilkinson", _wilkinson),
    MatrixType("graded", _graded_similar(_MILD, True)),
)

POSITIVE_DEFINITE = (
    MatrixType("diagonal", lambda rng, shape, numbers: np.diag(geometric(shape[0], 2.0))),
    MatrixType("condition-2", _similar(_MILD, signs=False)),
    MatrixType("condition-bad", _similar(_spectrum(geometric, bad), signs=False)),
    MatrixType("condition-worst", _similar(_ULP_GEOMETRIC, signs=False)),
    MatrixType("arithmetic", _similar(_ULP_ARITHMETIC, signs=False)),
    MatrixType("near-underflow", _similar(_MILD, small, signs=False)),
    MatrixType("near-overflow", _similar(_MILD, large, signs=False)),
    MatrixType("tridiagonal", _tridiagonal),
    MatrixType("graded", _graded_similar(_MILD, False)),
)


def _gram(rank):
    """G G' of small whole numbers, so that it is semidefinite without rounding."""

    def make(rng, shape, numbers):
        g = rng.integers(-3, 4, size=(shape[0], rank(shape[0]))).astype(np.float64)
        return g @ g.T

    return make


def _semidefinite_with_zeros(rng, shape, numbers):
    a = _similar(_MILD, signs=False)(rng, shape, numbers)
    kept = rng.integers(0, 2, shape[0])
    return a * kept[:, None] * kept


SEMIDEFINITE = (
    MatrixType("zero", lambda rng, shape, numbers: np.zeros(shape)),
    MatrixType("rank-1", _gram(lambda n: min(n, 1))),
    MatrixType("half-rank", _gram(lambda n: (n + 1) // 2)),
    MatrixType("zero-rows", _semidefinite_with_zeros),
    MatrixType("ones", lambda rng, shape, numbers: np.ones(shape)),
)


def without_row_and_column(rng, n, position, dtype):
    """A positive definite matrix but for a zero row and column: its leading minors vanish there."""
    a = _similar(_MILD, signs=False)(rng, (n, n), limits(dtype))
    a[position] = a[:, position] = 0.0
    return a.astype(dtype)


# --- Lower triangular matrices


def _triangle(condition=2.0, scale=1.0):
    """The triangular factor of a random matrix, which has its singular values."""

    def make(rng, shape, numbers):
        a = _random(condition)(rng, shape, numbers)
        return np.linalg.qr(a, mode="r").T * _value(scale, numbers)

    return make


def _growing(rng, shape, numbers):
    """Small entries in the inverse of the left half, huge ones below: substitution amplifies."""
    n = shape[0]
    return np.eye(n) - np.tril(np.full(shape, min(1.0, 20.0 / max(n, 1))), -1)


def _graded_triangle(rows, columns):
    def make(rng, shape, numbers):
        left = grades(shape[0], numbers.span)[:, None] if rows else 1.0
        right = grades(shape[0], numbers.span) if columns else 1.0
        return _triangle()(rng, shape, numbers) * left * right

    return make


TRIANGULAR = (
    MatrixType("diagonal", _diagonal),
    MatrixType("identity", lambda rng, shape, numbers: np.eye(shape[0])),
    MatrixType("condition-2", _triangle()),
    MatrixType("condition-bad", _triangle(bad)),
    MatrixType("condition-worst", _triangle(worst)),
    MatrixType("growing", _growing),
    MatrixType("near-underflow", _triangle(scale=small)),
    MatrixType("near-overflow", _triangle(scale=large)),
    MatrixType("graded-rows", _graded_triangle(True, False)),
    MatrixType("graded-columns", _graded_triangle(False, True)),
)
