"""How many certified digits do least-squares coefficients have, here and in other libraries?

Prints the smallest number of correct digits over all coefficients, for each of NIST's linear
regressions with certified values, and each way to fit them in float64. See README.md.

    python benchmarks/nist.py
"""

import sys
from pathlib import Path

import numpy as np
import scipy.linalg
import statsmodels.api as sm
from sklearn.linear_model import LinearRegression

import statespace as ss

# The data sets and their certificates are the tests'.
sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from external import nist


def ours(data, refine=False):
    model = ss.models.BayesianLinearRegression("flat").fit(data.x, data.y, refine=refine)
    return np.append(model.intercept, model.coefficients)


def lapack_qr(data):
    design = sm.add_constant(data.x)
    return scipy.linalg.lapack.dgels(design, data.y)[1][: design.shape[1]]


def lapack_svd(data):
    design = sm.add_constant(data.x)
    return np.linalg.lstsq(design, data.y)[0]


def scikit_learn(data):
    model = LinearRegression().fit(data.x, data.y)
    return np.append(model.intercept_, model.coef_)


def statsmodels(data, method):
    return sm.OLS(data.y, sm.add_constant(data.x)).fit(method=method).params


def normal_equations(data):
    design = sm.add_constant(data.x)
    return np.linalg.solve(design.T @ design, design.T @ data.y)


COLUMNS = {
    "ours": ours,
    "ours, refined": lambda data: ours(data, refine=True),
    "LAPACK QR": lapack_qr,
    "LAPACK SVD": lapack_svd,
    "scikit-learn": scikit_learn,
    "statsmodels (pinv)": lambda data: statsmodels(data, "pinv"),
    "statsmodels (qr)": lambda data: statsmodels(data, "qr"),
    "normal equations": normal_equations,
}


def main():
    print("| data set | " + " | ".join(COLUMNS) + " |")
    print("|---" * (len(COLUMNS) + 1) + "|")
    for data in nist.data_sets():
        digits = [nist.digits(fit(data), data.coefficients) for fit in COLUMNS.values()]
        print(f"| {data.name} | " + " | ".join(f"{number:.1f}" for number in digits) + " |")


if __name__ == "__main__":
    main()
