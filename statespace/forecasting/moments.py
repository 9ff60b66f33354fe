"""Means and variances of named quantities over time, such as states and components."""

import numbers
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from statespace.forecasting.errors import InputError


class Interval(NamedTuple):
    """The two ends of a central interval, in the form of the data."""

    lower: Any
    upper: Any


@dataclass(frozen=True)
class Moments:
    """Normal distributions of K named quantities at each step of N series.

    Attributes:
      names: the K names.
      layout: how the data came in.
      means: [N, T, K]; ``mean`` has them in the form of the data.
      variances: [N, T, K]; ``variance`` likewise.
    """

    names: tuple[str, ...]
    layout: Any
    means: np.ndarray
    variances: np.ndarray

    @property
    def mean(self):
        """[..., T, K], or a DataFrame with the names as (lower level of) columns."""
        return self.layout.per_name(self.means, self.names)

    @property
    def variance(self):
        """[..., T, K], or a DataFrame with the names as (lower level of) columns."""
        return self.layout.per_name(self.variances, self.names)

    def interval(self, level=0.9) -> Interval:
        """Central interval that holds each quantity with probability ``level``."""
        half = normal_half_width(level) * np.sqrt(self.variances)
        return Interval(
            self.layout.per_name(self.means - half, self.names),
            self.layout.per_name(self.means + half, self.names),
        )


@dataclass(frozen=True)
class SmoothedStates(Moments):
    """The states given all the data: means, variances and the full covariance matrices."""

    covariances: np.ndarray  # [N, T, n, n]

    @property
    def covariance(self):
        """Covariance matrices of the states, an array [..., T, n, n]."""
        batch = getattr(self.layout, "batch_shape", None)
        if batch is None:
            batch = () if len(self.covariances) == 1 else (len(self.covariances),)
        return self.covariances.reshape(*batch, *self.covariances.shape[1:])


def normal_half_width(level) -> float:
    """Half the width of a standard normal's central interval of probability ``level``."""
    _check_probability("The level of an interval", level)
    return normal_quantile(0.5 + level / 2)


def normal_quantile(q) -> float:
    """The ``q``-quantile of a standard normal."""
    from scipy.special import ndtri

    _check_probability("A quantile", q)
    return float(ndtri(q))


def _check_probability(what, value):
    if not isinstance(value, numbers.Real) or not 0 < value < 1:
        raise InputError(f"{what} lies between 0 and 1; given was {value!r}.")
