"""What a backtest is made of: origins, fits before them, forecasts from them, and a baseline."""

import warnings
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from statespace.forecasting import metrics
from statespace.forecasting.errors import InputError, SkippedSeriesWarning
from statespace.forecasting.layout import ArrayLayout
from statespace.forecasting.parts import some_of
from statespace.forecasting.steps import moved_behind

_WHICH = "(y[j, i] is series i before origin j.)"


class Predictions(NamedTuple):
    """What was forecast after each origin: normal distributions.

    For a mixture, as methods that draw parameters give one, the normal of its mean and variance.
    """

    mean: np.ndarray  # [J, N, h, m]
    variance: np.ndarray  # [J, N, h, m]


def origins(lengths, horizon, num_origins, step, season, layout):
    """How many steps lie before each origin, [J, N]."""
    back = horizon + step * np.arange(num_origins)[::-1]
    origins = lengths - back[:, np.newaxis]
    for i in np.flatnonzero(origins[0] <= season):
        raise InputError(
            f"{layout.labels()[i]}: of its {lengths[i]} steps {back[0]} lie after the earliest of "
            f"{num_origins} origins, which leaves too few to fit and to compare with the values "
            f"{season} steps before. Use fewer origins, a smaller step or a shorter horizon."
        )
    return origins


def plan(num_origins, refit, share):
    """Pairs: the origins before which a batch of fits is made, and those at which it is used."""
    every = list(range(num_origins))
    if not refit:
        return [([0], every)]
    return [([j], [j]) for j in every] if share else [(every, every)]


@dataclass(frozen=True)
class Fitter:
    """Fits a model to the data before some of J origins, one batch.

    Attributes:
      model: the model.
      past: data before the origins, [J, N, T, m].
      features: [1 or N, T or more, K], or None.
      times: [1 or N, T or more], or None.
      method, options: how to fit, as for ``model.fit``.
    """

    model: Any
    past: np.ndarray
    features: Any
    times: Any
    method: str
    options: dict

    def __call__(self, origins):
        """The result of fits before the origins with these numbers, for all series."""
        past = self.past[origins]
        features, times = (self._before(x, past.shape[:3]) for x in (self.features, self.times))
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                result = self.model.fit(past, self.method, features, times=times, **self.options)
            except InputError as error:
                raise InputError(f"{error} {_WHICH}") from None
        nothing = result.skipped.all(axis=1)
        if nothing.any():
            j = int(np.argmax(nothing))
            raise InputError(f"y[{j}, 0]: {result.message[j, 0]} {_WHICH}")
        for one in caught:
            which = f" {_WHICH}" if one.category is SkippedSeriesWarning else ""
            warnings.warn(f"{one.message}{which}", one.category, stacklevel=3)
        return result

    @staticmethod
    def _before(known, shape):
        """Features or times of all series before all origins, [J, N, T, ...]."""
        if known is None:
            return None
        return np.broadcast_to(known[:, : shape[2]], (*shape, *known.shape[2:]))


def forecast(result, number, lengths, past, features, times, horizon):
    """Forecasts of N series from the ends of their data.

    Args:
      result: fits.
      number: which of the fits each series' parameters are from, [N].
      lengths: number of steps before the end of each series, [N].
      past: the series, [N, T, m], NaN after their ends.
      features: [1 or N, T, K] over these steps and those to come, or None.
      times: [1 or N, T], likewise.
      horizon: number of steps h.

    Returns:
      Means and variances, [N, h, m].
    """
    moments = np.full((2, len(past), horizon, past.shape[2]), np.nan)
    used = ~np.ravel(result.skipped)[number]
    for length in np.unique(lengths[used]):  # what ends together is forecast together
        rows = np.flatnonzero(used & (lengths == length))
        part = result.selected(number[rows], ArrayLayout((len(rows),)))
        problem = replace(
            part.problem,
            values=past[rows, :length],
            features=_at(features, rows, slice(length)),
            times=_at(times, rows, slice(length)),
        )
        coming = slice(length, length + horizon)
        ahead = replace(part, problem=problem).forecast(
            horizon, _at(features, rows, coming), _at(times, rows, coming)
        )
        moments[:, rows] = ahead.means, ahead.variances
    return moments


def _at(known, rows, steps):
    """Features or times [1 or N, T, ...] of some series and steps; None where there are none."""
    own = some_of(known, rows)
    return None if own is None else own[:, steps]


def seasonal_naive(past, origins, horizon, season):
    """The last season again; NaN where nothing is known of a season."""
    to_end = moved_behind(past, origins)
    short = -to_end.shape[2] % season
    seasons = np.pad(to_end, [(0, 0), (0, 0), (short, 0), (0, 0)], constant_values=np.nan)
    seasons = seasons.reshape(*past.shape[:2], -1, season, past.shape[3])
    number = np.arange(seasons.shape[2])[:, np.newaxis, np.newaxis]
    latest = np.where(np.isnan(seasons), 0, number).max(axis=2, keepdims=True)
    last = np.take_along_axis(seasons, latest, axis=2)[:, :, 0]
    ahead = np.arange(horizon)
    difference = to_end[:, :, season:] - to_end[:, :, :-season]
    variance = metrics.nan_mean(difference**2, axis=2)[:, :, np.newaxis]
    return Predictions(last[:, :, ahead % season], variance * (1 + ahead // season)[:, np.newaxis])
