"""How well does a model forecast? A backtest from rolling origins, with a baseline beside it."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from statespace.forecasting import backtest, metrics
from statespace.forecasting.backtest import Predictions
from statespace.forecasting.data import as_batch, as_features, as_times
from statespace.forecasting.errors import InputError
from statespace.forecasting.moments import normal_half_width, normal_quantile
from statespace.forecasting.steps import moved_behind, times_moved_behind

BASELINE = "seasonal naive"
QUANTILES = tuple(np.arange(1, 10) / 10)  # of the weighted quantile loss


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
    times=None,
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
      times: when the steps are, for models in continuous time, as for ``model.fit``.
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
    times = as_times(times, model, values.shape)
    lengths = getattr(layout, "lengths", np.full(len(values), values.shape[1]))
    padding = values.shape[1] - lengths
    if padding.any():
        values = moved_behind(values, padding)
        features = None if features is None else moved_behind(features, padding)
        times = None if times is None else times_moved_behind(times, padding)
    season = _longest_period(model) if season is None else season
    origins = backtest.origins(lengths, horizon, num_origins, step, season, layout)
    batch = np.broadcast_to(values, (num_origins, *values.shape))
    before = np.arange(origins.max()) < origins[..., np.newaxis]
    past = np.where(before[..., np.newaxis], batch[:, :, : origins.max()], np.nan)
    ahead = (origins[..., np.newaxis] + np.arange(horizon))[..., np.newaxis]
    actual = np.take_along_axis(batch, ahead, axis=2)
    fit = backtest.Fitter(model, past, features, times, method, options)
    predictions = Predictions(np.empty(actual.shape), np.empty(actual.shape))
    for estimated_from, used_at in backtest.plan(num_origins, refit, options.get("share")):
        result = fit(estimated_from)
        for j in used_at:
            number = len(values) * (j - used_at[0] if refit else 0) + np.arange(len(values))
            predictions.mean[j], predictions.variance[j] = backtest.forecast(
                result, number, origins[j], past[j], features, times, horizon
            )
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
            BASELINE: backtest.seasonal_naive(past, origins, horizon, season),
        },
    )


def _longest_period(model):
    return max(round(getattr(component, "period", 1)) for component in model.components)
