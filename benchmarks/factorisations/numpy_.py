"""NumPy and SciPy: a loop over the batch that calls LAPACK; no gradients."""

import numpy as np
import scipy
import scipy.linalg

LAYOUTS = {"lq": "qr"}
OPERATORS = {
    "cholesky": lambda a: (np.linalg.cholesky(a),),
    "lq": lambda a: tuple(np.linalg.qr(a)),
    "eigh": lambda a: tuple(np.linalg.eigh(a)),
    "triangular_solve": lambda l, b: (
        scipy.linalg.solve_triangular(l, b, lower=True, check_finite=False),
    ),
    "triangular_multiply": lambda l, b: (l @ b,),
    "inverse": lambda a: (np.linalg.inv(a),),
    "det": lambda a: (np.linalg.det(a),),
}


def versions() -> dict[str, str]:
    return {"numpy": np.__version__, "scipy": scipy.__version__}


def columns(name: str, n: int) -> dict:
    if name not in OPERATORS:
        return {}

    def make(arguments, cotangents):
        return (lambda: OPERATORS[name](*arguments)) if cotangents is None else None

    return {"NumPy": make}
