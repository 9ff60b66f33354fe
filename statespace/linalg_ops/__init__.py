"""Differentiable factorisations and triangular algebra, fast in batches of small matrices."""

from statespace import native
from statespace.linalg_ops.cholesky import cholesky
from statespace.linalg_ops.cholesky_solve import cholesky_inverse, cholesky_solve
from statespace.linalg_ops.determinant import det, inverse, slogdet
from statespace.linalg_ops.diagonals import (
    extract_diag,
    extract_triangle,
    make_diag,
    make_triangle,
    sum_log_diag,
)
from statespace.linalg_ops.eigh import eigh
from statespace.linalg_ops.least_squares import least_squares
from statespace.linalg_ops.lq import lq
from statespace.linalg_ops.matrix_function import matrix_function
from statespace.linalg_ops.products import gemm, syrk
from statespace.linalg_ops.psd_cholesky import psd_cholesky
from statespace.linalg_ops.triangular import triangular_multiply, triangular_solve

__all__ = [
    "cholesky",
    "cholesky_inverse",
    "cholesky_solve",
    "det",
    "eigh",
    "extract_diag",
    "extract_triangle",
    "gemm",
    "inverse",
    "least_squares",
    "lq",
    "make_diag",
    "make_triangle",
    "matrix_function",
    "psd_cholesky",
    "slogdet",
    "sum_log_diag",
    "syrk",
    "triangular_multiply",
    "triangular_solve",
]

native.library()  # now, so that a SavedModel that contains the ops can be loaded from here on
