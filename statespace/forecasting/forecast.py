"""Forecasts: normal distributions of the observations to come."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from statespace.forecasting.errors import InputError
from statespace.forecasting.moments import (
    Interval,
    Moments,
    check_probability,
    contribution_names,
    contributions,
    normal_quantile,
)
from statespace.forecasting.parts import models_of, some_of
from statespace.ssm import LinearGaussianSSM


@dataclass(frozen=True, eq=False)
class Forecast:
    """Distribution of the next h observations of N series, in the form of the data.

    The marginal distribution at each step is normal; ``sample`` draws whole paths, with the
    dependence between steps.

    Attributes:
      result: the fit it comes from.
      layout: the form of the data, over the steps to come.
      ssm: the fitted models, over the steps of the data and those to come.
      means: [N, h, m]; ``mean`` has them in the form of the data.
      variances: [N, h, m], noise of the observation included; ``variance`` likewise.
      state_means, state_covariances: of the states to come, [N, h, n] and [N, h, n, n].
      known: features and times of the data and of the steps to come.
    """

    result: Any
    layout: Any
    ssm: Any
    means: np.ndarray
    variances: np.ndarray
    state_means: np.ndarray
    state_covariances: np.ndarray
    known: tuple[Any, Any]

    @property
    def horizon(self) -> int:
        """Number of steps, h."""
        return self.means.shape[1]

    @property
    def mean(self):
        """Mean, which is also the median: [..., h], Series or DataFrame."""
        return self.layout.per_step(self.means)

    @property
    def variance(self):
        """Variance: [..., h], Series or DataFrame."""
        return self.layout.per_step(self.variances)

    def quantile(self, q):
        """The ``q``-quantile, 0 < q < 1: [..., h], Series or DataFrame."""
        return self.layout.per_step(self.quantiles(q))

    def interval(self, level=0.9, *, widen=1.0) -> Interval:
        """Central interval that holds each observation to come with probability ``level``.

        Args:
          level: the probability.
          widen: factor of its width, a number or one for each step, [h]; such as
            :meth:`statespace.forecasting.evaluation.Evaluation.calibration` finds.
        """
        widen = np.broadcast_to(np.asarray(widen, np.float64), (self.horizon,))[:, np.newaxis]
        centre = self.quantiles(0.5)
        ends = (centre + widen * (end - centre) for end in self.ends(level))
        return Interval(*map(self.layout.per_step, ends))

    def quantiles(self, q) -> np.ndarray:
        """The ``q``-quantile of all series, [N, h, m]."""
        return self.means + normal_quantile(q) * np.sqrt(self.variances)

    def ends(self, level) -> tuple[np.ndarray, np.ndarray]:
        """Both ends of the central interval for all series, [N, h, m] each."""
        check_probability("The level of an interval", level)
        return self.quantiles((1 - level) / 2), self.quantiles((1 + level) / 2)

    def components(self) -> Moments:
        """What each component contributes to each observation to come, with variances.

        "irregular" is the observation noise. The components of one step are correlated, so their
        variances do not add up to that of the observation.
        """
        model, ssm = self.result.model, self._ahead
        names = contribution_names(model, ssm, known=False)
        moments = contributions(model, ssm, names, self.state_means, self.state_covariances)
        return Moments.of_variables(names, self.layout, *moments)

    def sample(self, n, seed=None):
        """Draws ``n`` paths.

        Args:
          n: number of paths.
          seed: an int for paths that can be drawn again, or None.

        Returns:
          Array [n, ..., h] (or [n, ..., h, m]). For pandas data a DataFrame with a column for each
          path, below the series' (or variables') names if there are several.
        """
        if seed is None:
            seed = int(np.random.default_rng().integers(2**31))
        return self._as_paths(self.paths(n, seed))

    def paths(self, n, seed) -> np.ndarray:
        """``n`` paths of all series, [n, N, h, m]."""
        from statespace.kalman.sampling import sample

        return sample(self._ahead, self.horizon, sample_shape=(n,), seed=seed).observations.numpy()

    def _as_paths(self, paths):
        """Paths [n, N, h, m] in the form of the data."""
        n, m = len(paths), paths.shape[-1]
        paths = np.moveaxis(paths, 0, -1)  # [N, h, m, n]
        if hasattr(self.layout, "batch_shape"):
            whole = paths.reshape(*self.layout.batch_shape, *paths.shape[1:])
            return np.moveaxis(whole[..., 0, :] if m == 1 else whole, -1, 0)
        names = range(n) if m == 1 else [(v, i) for v in self.layout.variables for i in range(n)]
        return self.layout.per_name(paths.reshape(*paths.shape[:2], -1), names)

    def to_frame(self, level=0.9, transform=None):
        """The forecast as a table.

        Args:
          level: probability of the interval.
          transform: an increasing function, such as ``numpy.exp`` for a model of logarithms, that
            takes the forecast back to another scale. Quantiles go along with it, means do not:
            the table then has the median in place of mean and standard deviation.

        Returns:
          DataFrame with the columns mean, standard_deviation, lower_90 and upper_90 (named after
          the level) or, with ``transform``, median, lower_90 and upper_90; for several series they
          are the lower level of the columns.
        """
        import pandas as pd

        ends = dict(zip(("lower", "upper"), self.ends(level), strict=True))
        columns = {f"{end}_{100 * level:g}": values for end, values in ends.items()}
        if transform is None:
            columns = {"mean": self.means, "standard_deviation": np.sqrt(self.variances)} | columns
        else:
            columns = {"median": self.quantiles(0.5)} | columns
            columns = {name: transform(values) for name, values in columns.items()}
        table = np.stack(list(columns.values()), axis=-1)  # [N, h, m, K]
        names = list(columns)
        if table.shape[2] > 1:
            variables = getattr(self.layout, "variables", range(table.shape[2]))
            names = pd.MultiIndex.from_product([variables, names])
        table = self.layout.per_name(table.reshape(*table.shape[:2], -1), names)
        if isinstance(table, np.ndarray):
            if table.ndim != 2:
                raise InputError(
                    "A table needs one series or a DataFrame; take one series as result[index]."
                )
            steps = self.layout.positions(self.horizon)
            table = pd.DataFrame(table, pd.Index(steps, name="step"), names)
        return table

    def plot(self, ax=None, *, levels=(0.5, 0.9), history=True, transform=None):
        """Plots the fan of central intervals; returns the matplotlib Axes.

        Args:
          ax: Axes to draw into; by default new ones.
          levels: probabilities of the intervals.
          history: whether to plot the data before the forecast as well; or how many steps.
          transform: increasing function applied to all that is plotted, such as ``numpy.exp``.
        """
        from statespace.forecasting.plots import plot_forecast

        return plot_forecast(self, ax, levels=levels, history=history, transform=transform)

    def __getitem__(self, key):
        """The forecast of one series of several, as ``result[key]``."""
        number, layout = self.layout.selected(key)
        one = slice(number, number + 1)
        return replace(
            self,
            result=self.result[key],
            layout=layout,
            ssm=models_of(self.ssm, one),
            means=self.means[one],
            variances=self.variances[one],
            state_means=self.state_means[one],
            state_covariances=self.state_covariances[one],
            known=tuple(some_of(x, one) for x in self.known),
        )

    @property
    def first_state(self):
        """Mean [N, n] and scale [N, n, n] of the first state to come."""
        from statespace.linalg_ops.psd_cholesky import psd_cholesky

        return self.state_means[:, 0], psd_cholesky(self.state_covariances[:, 0]).numpy()

    @cached_property
    def _ahead(self):
        """The model of the steps to come alone, given the data."""
        ssm, past = self.ssm, self.result.values.shape[1]

        def ahead(parameter, core):
            own = parameter.shape.rank > core and parameter.shape[-core - 1] > 1
            return parameter[(..., slice(past, None), *[slice(None)] * core)] if own else parameter

        return LinearGaussianSSM(
            ahead(ssm.transition_matrix, 2),
            ahead(ssm.transition_scale, 2),
            ahead(ssm.observation_matrix, 2),
            ahead(ssm.observation_scale, 2),
            *self.first_state,
            ahead(ssm.transition_offset, 1),
            ahead(ssm.observation_offset, 1),
        )
