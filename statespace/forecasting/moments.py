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

    @classmethod
    def of_variables(cls, names, layout, means, variances) -> "Moments":
        """Those of quantities with a part in each of m variables: means, variances [N, T, K, m]."""
        m = means.shape[3]
        names = names if m == 1 else [f"{name}[{i + 1}]" for name in names for i in range(m)]
        flat = (x.reshape(*x.shape[:2], -1) for x in (means, variances))
        return cls(tuple(names), layout, *flat)

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


def contribution_names(model, ssm, known) -> tuple[str, ...]:
    """What adds up to an observation, by name.

    Args:
      model: the model.
      ssm: its state-space form.
      known: whether there are observations, of which the components leave a rest.

    Returns:
      The components, "offset" and "irregular", those of them that there are.
    """
    names = list(model.component_states())
    if np.any(ssm.observation_offset.numpy()):
        names.append("offset")
    if known or np.any(ssm.observation_scale.numpy()):
        names.append("irregular")
    return tuple(dict.fromkeys(names))


def contributions(model, ssm, names, means, covariances, values=None):
    """What each component, and the observation noise, contributes to each observation.

    Args:
      model: the model.
      ssm: its state-space form over the L steps.
      names: the K contributions, as of ``contribution_names``.
      means, covariances: of the states, [N, L, n] and [N, L, n, n].
      values: the observations [N, L, m]; None where none are known.

    Returns:
      Means and variances, [N, L, K, m].
    """
    row, states = ssm.observation_matrix.numpy(), model.component_states()
    shape = (*means.shape[:2], row.shape[-2])
    parts = {name: _seen(row, own, means, covariances) for name, own in states.items()}
    parts["offset"] = ssm.observation_offset.numpy(), 0.0
    if "irregular" in names:
        # A component may have the noise of the observations among its states.
        mean, variance = parts.pop("irregular", (0.0, 0.0))
        variance = variance + np.sum(ssm.observation_scale.numpy() ** 2, axis=-1)
        if values is not None:  # noise is what the rest of the model leaves of them
            seen = ~np.isnan(values)
            others = row.copy()
            others[..., states.get("irregular", slice(0))] = 0.0
            _, rest = _seen(others, slice(None), means, covariances)
            mean = np.where(seen, values - sum(part for part, _ in parts.values()), mean)
            variance = np.where(seen, rest, variance)
        parts["irregular"] = mean, variance
    part_means, part_variances = (
        np.stack([np.broadcast_to(parts[name][k], shape) for name in names], axis=2) for k in (0, 1)
    )
    return part_means, not_negative(part_variances)


def _seen(row, own, means, covariances):
    """Mean and variance of what is observed of some of the states, [N, L, m]."""
    row = row[..., own]
    mean = np.sum(row * means[..., np.newaxis, own], axis=-1)
    covariance = covariances[..., own, :][..., own]
    return mean, np.sum((row @ covariance) * row, axis=-1)


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
