"""Rows of the operator table: Cholesky factorisation and what is computed from a factor."""

import numpy as np
from contracts.table import Operator, positive_definite

from statespace import linalg_ops


def _cholesky(n):
    def make(rng, batch, dtype):
        return [positive_definite(rng, batch, n, dtype)]

    return Operator(
        f"cholesky-{n}",
        linalg_ops.cholesky,
        make,
        np.linalg.cholesky,
        lambda a: -a,
        ((n, n),),
        symmetric=True,
        representative=n == 3,
    )


OPERATORS = (_cholesky(1), _cholesky(3), _cholesky(6))
