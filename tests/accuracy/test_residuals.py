"""Residual ratios of every operator on every type of matrix, at the sizes where code paths change."""

import numpy as np
import pytest
from accuracy import matrices
from accuracy.operators import OPERATORS
from accuracy.residuals import check

from statespace import linalg_ops

SMALL = (0, 1, 2, 3, 5, 8, 10, 16, 17)
SIZES = (*SMALL, 33, 50, 200)

every_operator = pytest.mark.parametrize("operator", OPERATORS, ids=lambda op: op.name)
dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64])


@every_operator
@dtypes
def test_residuals(operator, dtype, native):
    rng = np.random.default_rng(0)
    found = []
    for n in SIZES if native else SMALL:
        found += operator.measure(rng, n, dtype, samples=1 if n > 50 else 3)
    check(found, operator.threshold)
