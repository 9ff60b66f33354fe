"""Fits that several tests look at, made once."""

import matplotlib as mpl
import numpy as np
import pytest

from statespace import datasets
from statespace.models import LocalLevel, LocalLinearTrend, Seasonal

mpl.use("Agg")


@pytest.fixture(scope="session")
def nile():
    """Local level on the Nile, a Series on a PeriodIndex."""
    return LocalLevel().fit(datasets.nile(), verbose=0)


@pytest.fixture(scope="session")
def airline():
    """Trend and seasonal on the logarithm of AirPassengers, with gaps in a DatetimeIndex."""
    return (LocalLinearTrend() + Seasonal(12)).fit(np.log(airline_data()), verbose=0)


@pytest.fixture(scope="session")
def batch():
    """Local level on a DataFrame of two series."""
    flow = datasets.nile().iloc[:40]
    return LocalLevel().fit(flow.to_frame("a").assign(b=flow[::-1].to_numpy()), verbose=0)


def airline_data():
    """AirPassengers without eight of its months."""
    passengers = datasets.air_passengers()
    passengers.index = passengers.index.to_timestamp()
    return passengers.drop(passengers.index[[20, 21, 22, 23, 24, 70, 90, 91]])
