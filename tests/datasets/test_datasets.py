"""The shipped series are the published ones."""

import pandas as pd
import pytest

from statespace import datasets


def test_nile():
    nile = datasets.nile()
    assert (len(nile), nile.sum()) == (100, 91935)
    assert (nile.iloc[0], nile.iloc[-1]) == (1120, 740)
    assert nile.index.equals(pd.period_range("1871", "1970", freq="Y", name="year"))


def test_nile_equals_the_copy_in_statsmodels():
    statsmodels_datasets = pytest.importorskip("statsmodels.datasets")
    theirs = statsmodels_datasets.nile.load_pandas().data["volume"]
    assert datasets.nile().tolist() == theirs.tolist()


def test_air_passengers():
    passengers = datasets.air_passengers()
    assert (len(passengers), passengers.sum()) == (144, 40363)
    assert (passengers.iloc[0], passengers.iloc[-1]) == (112, 432)
    assert passengers.groupby(passengers.index.year).sum()[1960] == 5714
    assert passengers.index.equals(pd.period_range("1949-01", "1960-12", freq="M", name="month"))


def test_series_are_fresh_copies():
    first = datasets.nile()
    first.iloc[0] = 0.0
    assert datasets.nile().iloc[0] == 1120
