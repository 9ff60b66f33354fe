"""The operators that the linear-algebra benchmarks run: arguments, results and gradients.

All in plain NumPy and float64, by the textbook formula, as the answers that every library is held
to. In the formulas of the adjoints a trailing ``_bar`` marks a cotangent; those of ``cholesky``,
``lq`` and ``eigh`` are equations of Seeger et al., arXiv:1710.08717.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Operator:
    """One operator.

    Attributes:
      draw: (random generator, batch, n) -> arguments, well conditioned.
      forward: arguments -> results.
      adjoint: (arguments, results, cotangents of the results) -> gradients by the arguments.
      structure: of each argument "general", "symmetric" or "lower"; of a gradient, only the
        symmetric part or the lower triangle is determined.
      sign_axes: of each result the axis along which vectors of free sign are counted, or None.
      usual: False where only ``--all`` asks for it.
    """

    draw: Callable
    forward: Callable
    adjoint: Callable
    structure: tuple[str, ...]
    sign_axes: tuple[int | None, ...] = (None,)
    usual: bool = True


def _transpose(a):
    return np.swapaxes(a, -1, -2)


def _symmetric_from_lower(a):
    """copyltu: the lower triangle mirrored."""
    return np.tril(a) + _transpose(np.tril(a, -1))


def _normal(rng, batch, n):
    return rng.normal(size=[batch, n, n]) / np.sqrt(n)


def _definite(rng, batch, n):
    """Eigenvalues between 1 and about 5."""
    x = _normal(rng, batch, n)
    return (x @ _transpose(x) + np.eye(n),)


def _general(rng, batch, n):
    """Singular values between about 1 and 5."""
    return (_normal(rng, batch, n) + 3 * np.eye(n),)


def _symmetric(rng, batch, n):
    """Eigenvalues between -1 and 1, no two closer than 1 / n: eigenvectors are well defined."""
    gaps = rng.uniform(1.0, 3.0, size=[batch, n])
    eigenvalues = np.cumsum(gaps, axis=-1) / n - 1
    vectors = np.linalg.qr(_normal(rng, batch, n))[0]
    a = (vectors * eigenvalues[:, np.newaxis]) @ _transpose(vectors)
    return ((a + _transpose(a)) / 2,)


def _lower(rng, batch, n):
    below = np.tril(_normal(rng, batch, n), -1) / 2
    return (below + rng.uniform(1, 2, size=[batch, n, 1]) * np.eye(n),)


def _lower_and_general(rng, batch, n):
    return *_lower(rng, batch, n), _normal(rng, batch, n)


def _cholesky(a):
    return (np.linalg.cholesky(a),)


def _cholesky_adjoint(arguments, results, cotangents):
    """A_bar = L^-T copyltu(L' L_bar) L^-1 / 2."""
    (l,), (l_bar,) = results, cotangents
    inner = _symmetric_from_lower(_transpose(l) @ np.tril(l_bar))
    left = np.linalg.solve(_transpose(l), inner)
    return (_transpose(np.linalg.solve(_transpose(l), _transpose(left))) / 2,)


def _lq(a):
    q, r = np.linalg.qr(_transpose(a))
    sign = np.where(np.diagonal(r, axis1=-2, axis2=-1) < 0, -1.0, 1.0)
    return _transpose(r) * sign[:, np.newaxis], _transpose(q) * sign[..., np.newaxis]


def _lq_adjoint(arguments, results, cotangents):
    """A_bar = L^-T (Q_bar + copyltu(L' L_bar - Q_bar Q') Q)."""
    (l, q), (l_bar, q_bar) = results, cotangents
    inner = _transpose(l) @ np.tril(l_bar) - q_bar @ _transpose(q)
    return (np.linalg.solve(_transpose(l), q_bar + _symmetric_from_lower(inner) @ q),)


def _eigh(a):
    return tuple(np.linalg.eigh(a))


def _eigh_adjoint(arguments, results, cotangents):
    """A_bar = V (diag(lambda_bar) + E o (V' V_bar)) V' with E_ij = 1 / (lambda_j - lambda_i)."""
    (eigenvalues, v), (eigenvalues_bar, v_bar) = results, cotangents
    one = np.eye(v.shape[-1])
    gap = eigenvalues[:, np.newaxis] - eigenvalues[..., np.newaxis]
    inner = (1 - one) / (gap + one) * (_transpose(v) @ v_bar) + eigenvalues_bar[:, np.newaxis] * one
    return (v @ inner @ _transpose(v),)


def _triangular_solve(l, b):
    return (np.linalg.solve(l, b),)


def _triangular_solve_adjoint(arguments, results, cotangents):
    b_bar = np.linalg.solve(_transpose(arguments[0]), cotangents[0])
    return -b_bar @ _transpose(results[0]), b_bar


def _triangular_multiply(l, b):
    return (l @ b,)


def _triangular_multiply_adjoint(arguments, results, cotangents):
    l, b = arguments
    return cotangents[0] @ _transpose(b), _transpose(l) @ cotangents[0]


def _cholesky_inverse(l):
    return (np.linalg.inv(l @ _transpose(l)),)


def _cholesky_inverse_adjoint(arguments, results, cotangents):
    (p,), (p_bar,) = results, cotangents
    return (-p @ (p_bar + _transpose(p_bar)) @ p @ arguments[0],)


def _cholesky_solve(l, b):
    return (np.linalg.solve(l @ _transpose(l), b),)


def _cholesky_solve_adjoint(arguments, results, cotangents):
    l, _ = arguments
    (b_bar,) = _cholesky_solve(l, cotangents[0])
    outer = b_bar @ _transpose(results[0])
    return -(outer + _transpose(outer)) @ l, b_bar


def _inverse(a):
    return (np.linalg.inv(a),)


def _inverse_adjoint(arguments, results, cotangents):
    inverse = _transpose(results[0])
    return (-inverse @ cotangents[0] @ inverse,)


def _det(a):
    # A power of the entries: scaled to stay in the range of float32.
    return (np.linalg.det(a),)


def _det_adjoint(arguments, results, cotangents):
    scale = (cotangents[0] * results[0])[:, np.newaxis, np.newaxis]
    return (scale * _transpose(np.linalg.inv(arguments[0])),)


def _for_det(rng, batch, n):
    """As _general, with determinants of about one."""
    return (_general(rng, batch, n)[0] / 3,)


OPERATORS = {
    "cholesky": Operator(_definite, _cholesky, _cholesky_adjoint, ("symmetric",)),
    "lq": Operator(_general, _lq, _lq_adjoint, ("general",), sign_axes=(-1, -2)),
    "eigh": Operator(_symmetric, _eigh, _eigh_adjoint, ("symmetric",), sign_axes=(None, -1)),
    "triangular_solve": Operator(
        _lower_and_general, _triangular_solve, _triangular_solve_adjoint, ("lower", "general")
    ),
    "triangular_multiply": Operator(
        _lower_and_general,
        _triangular_multiply,
        _triangular_multiply_adjoint,
        ("lower", "general"),
        usual=False,
    ),
    "cholesky_inverse": Operator(
        _lower, _cholesky_inverse, _cholesky_inverse_adjoint, ("lower",), usual=False
    ),
    "cholesky_solve": Operator(
        _lower_and_general,
        _cholesky_solve,
        _cholesky_solve_adjoint,
        ("lower", "general"),
        usual=False,
    ),
    "inverse": Operator(_general, _inverse, _inverse_adjoint, ("general",), usual=False),
    "det": Operator(_for_det, _det, _det_adjoint, ("general",), usual=False),
}
