"""Differentiable factorisations and triangular algebra, fast in batches of small matrices."""

from statespace import native
from statespace.linalg_ops.cholesky import cholesky
from statespace.linalg_ops.eigh import eigh
from statespace.linalg_ops.lq import lq
from statespace.linalg_ops.matrix_function import matrix_function
from statespace.linalg_ops.triangular import triangular_solve

__all__ = ["cholesky", "eigh", "lq", "matrix_function", "triangular_solve"]

native.library()  # now, so that a SavedModel that contains the ops can be loaded from here on
