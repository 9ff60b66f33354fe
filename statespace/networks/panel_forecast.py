"""Forecasts of a panel by a network, in the form of the data."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from statespace.forecasting.errors import InputError, speak_of_skipped
from statespace.forecasting.forecast import Forecast
from statespace.forecasting.moments import not_negative
from statespace.forecasting.parts import series_at_once
from statespace.ssm import PARAMETERS, LinearGaussianSSM

_MOST_AT_ONCE = 256  # series


@dataclass(frozen=True, eq=False)
class PanelForecast(Forecast):
    """A forecast whose models are those of the steps to come alone, given the data before."""

    @cached_property
    def _ahead(self):
        return self.ssm


@dataclass(frozen=True, eq=False)
class History:
    """The series that a forecast goes on from, as its plots and parts ask for them.

    Attributes:
      model: the base model.
      values: [N, T, m], aligned at their ends.
      layout: how the data came in.
    """

    model: Any
    values: np.ndarray
    layout: Any

    def __getitem__(self, key):
        """The history of one series of several."""
        number, layout = self.layout.selected(key)
        return replace(self, values=self.values[number : number + 1], layout=layout)


def forecast_panel(network, panel, layout, values, horizon) -> PanelForecast:
    """Distributions of the steps after each series' last.

    Args:
      network: a DeepStateSpace.
      panel: arrays over T + h steps, of which y is missing at the last h of each series.
      layout: how the data came in.
      values: [N, T, m], the data as ``layout`` takes them, aligned at their ends.
      horizon: number of steps h.
    """
    count, steps = panel.y.shape[:2]
    at_once = series_at_once(steps, len(network.base_model.state_names))
    at_once, parts = min(_MOST_AT_ONCE, at_once), []
    for first in range(0, count, at_once):
        part = slice(first, first + at_once)
        some = type(panel)(*(None if x is None else x[part] for x in panel))
        parts.append(network.steps_ahead(some.given(), horizon))
    info, means, covariances, *of_states = (
        np.concatenate([part[i] for part in parts]) for i in range(5)
    )
    unknown = network.scaling & np.isnan(panel.y).all(axis=1).any(axis=-1)
    _speak(layout, unknown, info)
    failed = (unknown | (info > 0))[:, np.newaxis, np.newaxis]
    variances = not_negative(np.diagonal(covariances, axis1=-2, axis2=-1))
    means, variances = (np.where(failed, np.nan, x) for x in (means, variances))
    ssm = joined([part[-1] for part in parts])
    history = History(network.base_model, values, layout)
    ahead = layout.future(values.shape[1], horizon)
    return PanelForecast(history, ahead, ssm, means, variances, *of_states, known=(None, None))


def joined(models) -> LinearGaussianSSM:
    """Models of batches of series as one; what has no axis of series is that of the first."""

    def whole(spec):
        parts = [getattr(ssm, spec.name) for ssm in models]
        own = parts[0].shape.rank > len(spec.core) + spec.per_step
        return np.concatenate(parts) if own else parts[0]

    return LinearGaussianSSM(**{spec.name: whole(spec) for spec in PARAMETERS})


def _speak(layout, unknown, info):
    """Warns of series without a forecast; raises if there is no other."""
    reasons = [
        "it has no observation, by which it could be scaled."
        if nothing
        else f"the filter broke down at step {status - 1} in floating-point arithmetic."
        if status
        else ""
        for nothing, status in zip(unknown, info, strict=True)
    ]
    error = InputError if unknown.any() else FloatingPointError
    speak_of_skipped(layout.labels(), reasons, error)
