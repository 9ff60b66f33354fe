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


def contributions(model, ssm, layout, means, covariances, values=None) -> Moments:
    """What each component, and the observation noise, contributes to each observation.

    Args:
      model: the model.
      ssm: its state-space form over the L steps.
      layout: the form of the result.
      means, covariances: of the states, [N, L, n] and [N, L, n, n].
      values: the observations [N, L, m]; None where none are known.

    Returns:
      Moments [N, L, K] with the names of the components and "irregular", for each variable.
    """
    row, offset = ssm.observation_matrix.numpy(), ssm.observation_offset.numpy()
    m = row.shape[-2]
    noise = np.sum(ssm.observation_scale.numpy() ** 2, axis=-1)
    shape = (*means.shape[:2], m)
    parts = {}
    for name, own in model.component_states().items():
        h = row[..., own]
        parts[name] = (
            np.einsum("...mi,...i->...m", h, means[..., own]),
            np.einsum("...mi,...ij,...mj->...m", h, covariances[..., own, own], h),
        )
    if np.any(offset):
        parts["offset"] = (np.broadcast_to(offset, shape), np.zeros(shape))
    if np.any(noise) or values is not None:
        fitted = sum(part for part, _ in parts.values())
        variance = np.einsum("...mi,...ij,...mj->...m", row, covariances, row)
        missing = np.ones(shape, bool) if values is None else np.isnan(values)
        rest = 0.0 if values is None else values - fitted
        parts["irregular"] = (
            np.where(missing, 0.0, rest),
            np.where(missing, np.broadcast_to(noise, shape), variance),
        )
    names = list(parts) if m == 1 else [f"{name}[{i + 1}]" for name in parts for i in range(m)]
    part_means, part_variances = (
        np.concatenate([np.broadcast_to(pair[k], shape) for pair in parts.values()], axis=-1)
        for k in (0, 1)
    )
    return Moments(tuple(names), layout, part_means, not_negative(part_variances))


def not_negative(variances):
    """The variances without rounding errors about zero.

    Without observation noise the data tell the sum of the components exactly, and what is left of
    its variance are the last digits of those of the states, of either sign.
    """
    return np.maximum(variances, 0.0)


def normal_half_width(level) -> float:
    """Half the width of a standard normal's central interval of probability ``level``."""
    check_probability("The level of an interval", level)
    return normal_quantile(0.5 + level / 2)


def normal_quantile(q) -> float:
    """The ``q``-quantile of a standard normal."""
    from scipy.special import ndtri

    check_probability("A quantile", q)
    return float(ndtri(q))


def check_probability(what, value):
    """Raises an InputError unless 0 < value < 1."""
    if not isinstance(value, numbers.Real) or not 0 < value < 1:
        raise InputError(f"{what} lies between 0 and 1; given was {value!r}.")
