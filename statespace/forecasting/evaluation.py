"""How well does a model forecast? A backtest from rolling origins, with a baseline beside it."""

import warnings
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from statespace.forecasting import metrics
from statespace.forecasting.data import as_batch, as_features
from statespace.forecasting.errors import InputError, SkippedSeriesWarning
from statespace.forecasting.layout import ArrayLayout
from statespace.forecasting.moments import normal_half_width, normal_quantile

BASELINE = "seasonal naive"
_WHICH = "(y[j, i] is series i before origin j.)"
QUANTILES = tuple(np.arange(1, 10) / 10)  # of the weighted quantile loss


class Predictions(NamedTuple):
    """What was forecast after each origin: normal distributions.

    For a mixture, as methods that draw parameters give one, the normal of its mean and variance.
    """

    mean: np.ndarray  # [J, N, h, m]
    variance: np.ndarray  # [J, N, h, m]


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Forecasts from J origins in each of N series, beside what came.

    Attributes:
      model: the model that was evaluated.
      layout: how the data came in.
      season: steps of a season, for MASE and the baseline.
      levels: probabilities of the intervals whose coverage is counted.
      origins: number of steps of each series before each origin, [J, N], the earliest first.
      past: data before the origins, [J, N, T, m] from each series' start, NaN from the origin on.
      actual: what came, [J, N, h, m].
      predictions: dict from the forecaster, ``repr(model)`` or "seasonal naive", to its
        :class:`Predictions`.
    """

    model: Any
    layout: Any
    season: int
    levels: tuple[float, ...]
    origins: np.ndarray
    past: np.ndarray
    actual: np.ndarray
    predictions: dict

    def scores(self, by=None) -> dict:
        """Metrics of each forecaster.

        Args:
          by: None for numbers over everything; "series" for arrays [N]; "origin" for arrays [J].

        Returns:
          Dict from forecaster to a dict with MASE, sMAPE, CRPS and coverage of each level, means
          over what is taken together, and WQL, a ratio of sums; see
          :mod:`statespace.forecasting.metrics`.

        Raises:
          InputError: ``by`` is none of these.
        """
        axes = {None: (0, 1, 2), "series": (0, 2), "origin": (1, 2)}
        if by not in axes:
            raise InputError(f"by is None, 'series' or 'origin'; given was {by!r}.")
        return {name: self._scores(*p, axes[by]) for name, p in self.predictions.items()}

    def calibration(self, level=0.9) -> np.ndarray:
        """How much wider intervals must be to hold what came with probability ``level``.

        For each step ahead the quantile of the model's absolute errors, in units of their predicted
        standard deviations, over that of a normal distribution; from all series and origins
        together. It is the conformal one, so that intervals wider by this factor hold the next
        observation with at least the probability asked for, if errors to come are like these.

        Args:
          level: probability of the central interval.

        Returns:
          Factors [h], for ``forecast.interval(level, widen=factors)``.

        Raises:
          InputError: there are too few errors for this level.

        References:
          Vovk, V., Gammerman, A. and Shafer, G. (2005). Algorithmic Learning in a Random World,
          chapter 2.
        """
        mean, variance = self.predictions[repr(self.model)]
        ratios = np.abs(self.actual - mean) / np.sqrt(variance)
        factors = []
        for step in np.moveaxis(ratios, 2, 0):
            errors = np.sort(step[np.isfinite(step)])
            rank = int(np.ceil((len(errors) + 1) * level))
            if rank > len(errors):
                raise InputError(
                    f"{len(errors)} errors a step are too few for intervals of level {level}; "
                    f"evaluate more origins or more series."
                )
            factors.append(errors[rank - 1])
        return np.array(factors) / normal_half_width(level)

    def to_frame(self, by=None):
        """The scores as a DataFrame with a column for each metric.

        Args:
          by: None for a row for each forecaster; "series" or "origin" for one for each of these
            and each forecaster. Origins are numbered, the earliest is 0.
        """
        import pandas as pd

        scores = self.scores(by)
        if by is None:
            table = pd.DataFrame(scores).T
            table.index.name = "forecaster"
            return table
        keys = self.layout.labels() if by == "series" else range(len(self.origins))
        frames = [pd.DataFrame(own, index=pd.Index(keys, name=by)) for own in scores.values()]
        table = pd.concat(frames, keys=list(scores), names=["forecaster"])
        return table.swaplevel().reindex(keys, level=by)

    def _scores(self, mean, variance, axes):
        """Metrics, with a mean over these of the axes [J, N, m]."""
        actual, mean, variance, past = (
            np.moveaxis(x, 2, -1) for x in (self.actual, mean, variance, self.past)
        )
        deviation = np.sqrt(variance)
        quantiles = np.stack([mean + normal_quantile(q) * deviation for q in QUANTILES])
        each = {
            "MASE": metrics.mase(actual, mean, past, self.season),
            "sMAPE": metrics.smape(actual, mean),
            "CRPS": metrics.crps_normal(actual, mean, deviation),
        }
        for level in self.levels:
            half = normal_half_width(level) * deviation
            each[f"coverage_{100 * level:g}"] = metrics.coverage(actual, mean - half, mean + half)
        scores = {name: metrics.nan_mean(values, axes) for name, values in each.items()}
        wql = metrics.weighted_quantile_loss(actual, quantiles, QUANTILES, axis=(*axes, 3))
        return scores | {"WQL": wql}


def evaluate(
    model,
    y,
    horizon,
    *,
    num_origins=5,
    step=None,
    refit=True,
    levels=(0.9,),
    features=None,
    season=None,
    method="mle",
    **options,
) -> Evaluation:
    """Forecasts from several origins in the past and compares with what came.

    The last origin leaves ``horizon`` steps to forecast, each earlier one ``step`` more. At each
    of them the model is fitted to the data before it alone. The fits of all origins and all series
    are one batch; parameters that series share are shared before each origin separately.

    The baseline repeats the last season: its mean k steps ahead is the last value known of that
    season, its variance the mean square of the past seasonal differences, times the number of
    seasons begun.

    Args:
      model: a :class:`statespace.models.Model`.
      y: the data, as for ``model.fit``. In a long frame each series has origins before its own end.
      horizon: number of steps h to forecast from each origin.
      num_origins: number J of origins.
      step: how many steps lie between origins; ``horizon`` by default.
      refit: False to estimate once, from the data before the earliest origin, and to forecast with
        these parameters from all.
      levels: probabilities of central intervals whose coverage is counted.
      features: for regressions, as for ``model.fit``; at the steps to come they count as known.
      season: steps of a season for MASE and the baseline; by default the longest period of the
        model's seasonal terms, or 1.
      method: how parameters are estimated, as for ``model.fit``.
      **options: further arguments of ``model.fit``: fix, share, priors, num_starts, verbose, seed.

    Returns:
      An :class:`Evaluation`.

    Raises:
      InputError: a series is too short for the origins, or as ``model.fit``.

    References:
      Hyndman, R. J. and Athanasopoulos, G. (2021). Forecasting: Principles and Practice, 3rd
      edition, sections 5.2, 5.5 and 5.10.

    Example:
      >>> import statespace as ss
      >>> result = evaluate(ss.models.LocalLevel(), ss.datasets.nile(), 5, num_origins=4)
      >>> result.origins.ravel()
      array([80, 85, 90, 95])
      >>> for name, scores in result.scores().items():
      ...     print(f"{name}: MASE {scores['MASE']:.2f}, coverage {scores['coverage_90']:.2f}")
      LocalLevel(): MASE 0.87, coverage 0.95
      seasonal naive: MASE 0.92, coverage 1.00
    """
    step = horizon if step is None else step
    for name, count in (("horizon", horizon), ("num_origins", num_origins), ("step", step)):
        if not isinstance(count, int | np.integer) or count < 1:
            raise InputError(f"{name} is a positive whole number; given was {count!r}.")
    values, layout = as_batch(y, model.num_observed)
    features = as_features(features, model, layout, values.shape)
    lengths = getattr(layout, "lengths", np.full(len(values), values.shape[1]))
    padding = values.shape[1] - lengths
    values = _rolled(values, padding)
    if features is not None and len(features) > 1:
        features = _rolled(features, padding)
    season = _longest_period(model) if season is None else season
    origins = _origins(lengths, horizon, num_origins, step, season, layout)
    batch = np.broadcast_to(values, (num_origins, *values.shape))
    before = np.arange(origins.max()) < origins[..., np.newaxis]
    past = np.where(before[..., np.newaxis], batch[:, :, : origins.max()], np.nan)
    ahead = (origins[..., np.newaxis] + np.arange(horizon))[..., np.newaxis]
    actual = np.take_along_axis(batch, ahead, axis=2)
    fit = _Fitter(model, past, features, method, options)
    predictions = Predictions(np.empty(actual.shape), np.empty(actual.shape))
    for estimated_from, used_at in _plan(num_origins, refit, options.get("share")):
        result = fit(estimated_from)
        for j in used_at:
            number = len(values) * (j - used_at[0] if refit else 0) + np.arange(len(values))
            forecast = _forecast(result, number, origins[j], past[j], features, horizon)
            predictions.mean[j], predictions.variance[j] = forecast
    # What the model cannot be fitted to is not held against the others either.
    actual = np.where(np.isnan(predictions.mean), np.nan, actual)
    return Evaluation(
        model=model,
        layout=layout,
        season=season,
        levels=tuple(levels),
        origins=origins,
        past=past,
        actual=actual,
        predictions={
            repr(model): predictions,
            BASELINE: _seasonal_naive(past, origins, horizon, season),
        },
    )


def _origins(lengths, horizon, num_origins, step, season, layout):
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


def _plan(num_origins, refit, share):
    """Pairs: the origins before which a batch of fits is made, and those at which it is used."""
    every = list(range(num_origins))
    if not refit:
        return [([0], every)]
    return [([j], [j]) for j in every] if share else [(every, every)]


@dataclass(frozen=True)
class _Fitter:
    """Fits the model to the data before some of the origins, one batch."""

    model: Any
    past: np.ndarray
    features: Any
    method: str
    options: dict

    def __call__(self, origins):
        past, features = self.past[origins], self.features
        if features is not None:
            shape = (*past.shape[:3], features.shape[-1])
            features = np.broadcast_to(features[:, : past.shape[2]], shape)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                result = self.model.fit(past, self.method, features, **self.options)
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


def _forecast(result, number, lengths, past, features, horizon):
    """Forecasts of N series from the ends of their data.

    Args:
      result: fits.
      number: which of the fits each series' parameters are from, [N].
      lengths: number of steps before the end of each series, [N].
      past: the series, [N, T, m], NaN after their ends.
      features: [1 or N, T, K] over these steps and those to come, or None.
      horizon: number of steps h.

    Returns:
      Means and variances, [N, h, m].
    """
    moments = np.full((2, len(past), horizon, past.shape[2]), np.nan)
    used = ~np.ravel(result.skipped)[number]
    for length in np.unique(lengths[used]):  # what ends together is forecast together
        rows = np.flatnonzero(used & (lengths == length))
        own = features
        if features is not None:
            own = features if len(features) == 1 else features[rows]
        part = result.selected(number[rows], ArrayLayout((len(rows),)))
        problem = replace(
            part.problem,
            values=past[rows, :length],
            features=None if own is None else own[:, :length],
        )
        part = replace(part, problem=problem)
        future = None if own is None else own[:, length : length + horizon]
        ahead = part.forecast(horizon, features=future)
        moments[:, rows] = ahead.means, ahead.variances
    return moments


def _seasonal_naive(past, origins, horizon, season):
    """The last season again; NaN where nothing is known of a season."""
    to_end = _rolled(past, origins)
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


def _rolled(values, shift):
    """[..., T, m] with the first ``shift`` [...] steps moved behind the others.

    What ends together, with padding before, starts together so, with padding behind; and the
    other way round.
    """
    num_steps = values.shape[-2]
    order = (np.arange(num_steps) + shift[..., np.newaxis]) % num_steps
    return np.take_along_axis(values, order[..., np.newaxis], axis=-2)


def _longest_period(model):
    return max(round(getattr(component, "period", 1)) for component in model.components)
