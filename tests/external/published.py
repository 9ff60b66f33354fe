"""The tables of other programs' results that statsmodels' wheel carries for its own tests.

The scripts that made them, for KFAS (R), Stata and the SSM toolbox (MATLAB), stand beside them.
"""

from pathlib import Path

import numpy as np
import pandas as pd
from statsmodels.datasets import macrodata
from statsmodels.tsa.statespace.tests import results

GDP_AND_OTHERS = ("realgdp", "realcons", "realinv")


def table(name, **options):
    """A table as a DataFrame."""
    return pd.read_csv(Path(results.__file__).with_name(name), **options)


def stata_data(name):
    """A data set of Stata's as a DataFrame."""
    return pd.read_stata(Path(results.__file__).with_name(name))


def columns(frame, name, count):
    """``[T, count]``: name1, name2, ... or name_1, name_2, ... or, of one column, name."""
    for separator in ("", "_"):
        wanted = [f"{name}{separator}{i + 1}" for i in range(count)]
        if wanted[0] in frame:
            return frame[wanted].to_numpy()
    return frame[[name]].to_numpy()


def quarterly(names=GDP_AND_OTHERS):
    """US quarterly real GDP, consumption and investment from 1959, ``[203, 3]``."""
    return macrodata.load_pandas().data[list(names)].to_numpy(np.float64)
