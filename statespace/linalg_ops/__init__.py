"""Differentiable factorisations and triangular algebra, fast in batches of small matrices."""

from statespace.linalg_ops.cholesky import cholesky
from statespace.linalg_ops.lq import lq
from statespace.linalg_ops.triangular import triangular_solve

__all__ = ["cholesky", "lq", "triangular_solve"]
