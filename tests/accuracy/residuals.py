"""Residual ratios: how many rounding errors a result is away from solving its problem.

A ratio divides the norm of a residual by what one rounding error of the input would make of it. The
residual is computed in a wider type than the result's, so that computing it adds nothing.
"""

from typing import NamedTuple

import numpy as np
from accuracy.matrices import limits


class Ratio(NamedTuple):
    """One number to be held against LAPACK's threshold."""

    quantity: str
    matrix: str  # name of the type
    shape: tuple[int, ...]
    value: float


def wide(x) -> np.ndarray:
    """float64 for float32, where products are then exact; x87's or IEEE's long for float64."""
    x = np.asarray(x)
    return x.astype(np.float64 if x.dtype == np.float32 else np.longdouble)


def transpose(x):
    return np.swapaxes(x, -1, -2)


def norm(x):
    """The 1-norm ``[cases]``: the largest column sum, as in LAPACK's tests."""
    return np.max(np.sum(np.abs(x), axis=-2), axis=-1, initial=0.0)


def departure(q):
    """|QQ' - I| for rows that should be orthonormal."""
    return norm(q @ transpose(q) - np.eye(q.shape[-2]))


def eliminate(a):
    """Sign and log of |det A|, and the 1-norm of A^-1, by Gauss-Jordan with row pivoting."""
    n = a.shape[-1]
    cases = np.arange(len(a))
    work = np.concatenate([a, np.broadcast_to(np.eye(n), a.shape)], axis=-1)
    sign, log_abs = np.ones(len(a), a.dtype), np.zeros(len(a), a.dtype)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        for j in range(n):
            best = j + np.argmax(np.abs(work[:, j:, j]), axis=-1)
            work[cases, best], work[:, j] = work[:, j].copy(), work[cases, best]
            pivot = work[:, j, j].copy()
            sign *= np.where(best == j, 1, -1) * np.sign(pivot)
            log_abs += np.log(np.abs(pivot))
            work[:, j] /= pivot[:, np.newaxis]
            factors = work[:, :, j].copy()
            factors[:, j] = 0
            work -= factors[:, :, np.newaxis] * work[:, j, np.newaxis, :]
    return sign, log_abs, norm(work[:, :, n:])


def ratios(quantity, names, shape, dtype, residual, scale):
    """One Ratio a case: |residual| / (scale * unit), both ``[cases]``; 0 / 0 is 0, NaN infinite.

    Where unit * scale is below the smallest of all numbers, an error of that much is allowed: a
    rounding error cannot be smaller.
    """
    unit, least = limits(dtype).unit, float(np.finfo(dtype).smallest_subnormal)
    scale = np.asarray(scale)
    allowed = np.where(scale == 0, 0, np.maximum(scale * unit, scale.dtype.type(least)))
    with np.errstate(divide="ignore", invalid="ignore"):
        values = np.where(residual == 0, 0, np.asarray(residual) / allowed)
    values = np.where(np.isnan(values), np.inf, values)
    return [
        Ratio(quantity, name, tuple(shape), float(value))
        for name, value in zip(names, values, strict=True)
    ]


def entrywise(residual, scale):
    """The largest |residual| / scale among a case's entries, ``[cases]``."""
    with np.errstate(divide="ignore", invalid="ignore"):
        quotients = np.where(residual == 0, 0, np.abs(residual) / scale)
    return np.max(quotients, axis=(-2, -1), initial=0.0)


def check(found, threshold):
    """Every ratio below the threshold, and 99 of a hundred below 10."""
    worst = sorted(found, key=lambda ratio: -ratio.value)[:5]
    assert all(ratio.value < threshold for ratio in found), worst
    assert sum(ratio.value >= 10 for ratio in found) <= 0.01 * len(found), worst
