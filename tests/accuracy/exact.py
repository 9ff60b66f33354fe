"""The operators with 120 digits, and their derivatives by differences with 40 digits to spare.

Nothing here knows an adjoint: values come from mpmath's own factorisations, derivatives from
central differences of those. Matrices are mpmath matrices; use ``with DIGITS:`` around all calls.
"""

import mpmath
import numpy as np

DIGITS = mpmath.workdps(120)
_STEP = mpmath.mpf(10) ** -40


def matrix(a) -> mpmath.matrix:
    return mpmath.matrix(np.atleast_1d(np.asarray(a, np.float64)).tolist())


def array(a) -> np.ndarray:
    """An mpmath matrix in float64."""
    return np.array(a.tolist(), np.float64).reshape(a.rows, a.cols)


def cholesky(a):
    return [mpmath.cholesky(a)]


def lq(a):
    """Through the Cholesky factor of AA': with 120 digits the squared condition does not matter."""
    l = mpmath.cholesky(a * a.T)
    return [l, mpmath.inverse(l) * a]


def lq_tall(a):
    n = a.cols
    l, q = lq(a[:n, :])
    below = a[n:, :] * q.T
    return [mpmath.matrix(l.tolist() + below.tolist()), q]


def eigh(a):
    """Of an eigenvector the first entry that is within 2^-10 of the largest is positive."""
    values, v = mpmath.eigsy(a)
    n = a.rows
    for j in range(n):
        bound = max(abs(v[i, j]) for i in range(n)) * (1 - mpmath.mpf(2) ** -10)
        first = next(i for i in range(n) if abs(v[i, j]) >= bound)
        if v[first, j] < 0:
            v[:, j] = -v[:, j]
    return [values, v]


def spectral(scalar):
    """V diag(scalar(lambda)) V'."""

    def function(a):
        values, v = mpmath.eigsy(a)
        return [v * mpmath.diag([scalar(x) for x in values]) * v.T]

    return function


def triangle(l, lower=True):
    n = l.rows
    return mpmath.matrix(
        [[l[i, j] if (i >= j if lower else i <= j) else 0 for j in range(n)] for i in range(n)]
    )


def product_of_diagonal(l):
    return mpmath.fprod(l[i, i] for i in range(l.rows))


def differentiate(function, arguments, weights, symmetric):
    """Gradient of sum(weights * function(*arguments)): an mpmath matrix for each argument.

    With ``symmetric`` the first argument moves along symmetric directions only, and its gradient is
    the symmetric one.
    """
    gradients = []
    for which, a in enumerate(arguments):
        gradient = mpmath.zeros(a.rows, a.cols)
        mirrored = symmetric and which == 0
        size = max(abs(x) for x in a)
        for i in range(a.rows):
            for j in range(i + 1 if mirrored else a.cols):
                moved = []
                for step in (_STEP * size, -_STEP * size):
                    b = a.copy()
                    b[i, j] += step
                    if mirrored and i != j:
                        b[j, i] += step
                    results = function(*arguments[:which], b, *arguments[which + 1 :])
                    moved.append(_weighted(results, weights))
                slope = (moved[0] - moved[1]) / (2 * _STEP * size)
                gradient[i, j] = slope if i == j or not mirrored else slope / 2
                if mirrored:
                    gradient[j, i] = gradient[i, j]
        gradients.append(gradient)
    return gradients


def _weighted(results, weights):
    products = []
    for result, weight in zip(results, weights, strict=True):
        entries = result if isinstance(result, mpmath.matrix) else [result]
        products += [x * w for x, w in zip(entries, weight, strict=True)]
    return mpmath.fsum(products)


def sensitivity(function, arguments, weights, symmetric, rng, directions=3):
    """How a relative change of the arguments is magnified in the gradient, about: its condition.

    The mean square over random directions of norm |argument|, times their number of dimensions.
    Returns (gradients, condition of each).
    """
    base = differentiate(function, arguments, weights, symmetric)
    squares = [mpmath.mpf(0)] * len(base)
    dimensions = sum(len(a) for a in arguments)
    for _ in range(directions):
        moved = []
        for which, a in enumerate(arguments):
            direction = rng.normal(size=(a.rows, a.cols))
            if symmetric and which == 0:
                direction = direction + direction.T
            direction *= 1 / np.linalg.norm(direction)
            moved.append(a + matrix(direction) * (_STEP**0.5 * mpmath.norm(a)))
        for k, gradient in enumerate(differentiate(function, moved, weights, symmetric)):
            squares[k] += (mpmath.norm(gradient - base[k]) / _STEP**0.5) ** 2 / directions
    conditions = []
    for gradient, square in zip(base, squares, strict=True):
        size = mpmath.norm(gradient)
        conditions.append(float(mpmath.sqrt(square * dimensions) / size) if size else 0.0)
    return base, conditions
