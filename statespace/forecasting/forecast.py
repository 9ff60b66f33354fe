"""Forecasts: normal distributions of the observations to come."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from statespace.forecasting.errors import InputError
from statespace.forecasting.moments import Interval, normal_half_width, normal_quantile


@dataclass(frozen=True)
class Forecast:
    """Distribution of the next h observations of N series, in the form of the data.

    The marginal distribution at each step is normal; ``sample`` draws whole paths, with the
    dependence between steps.

    Attributes:
      result: the fit it comes from.
      layout: the form of the data, over the steps to come.
      means: [N, h]; ``mean`` has them in the form of the data.
      variances: [N, h], noise of the observation included; ``variance`` likewise.
      first_state: mean [N, n] and covariance [N, n, n] of the first state to come.
    """

    result: Any
    layout: Any
    means: np.ndarray
    variances: np.ndarray
    first_state: tuple[np.ndarray, np.ndarray]

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
        return self.layout.per_step(self.means + normal_quantile(q) * np.sqrt(self.variances))

    def interval(self, level=0.9) -> Interval:
        """Central interval that holds each observation to come with probability ``level``."""
        half = normal_half_width(level) * np.sqrt(self.variances)
        return Interval(
            self.layout.per_step(self.means - half), self.layout.per_step(self.means + half)
        )

    def sample(self, n, seed=None):
        """Draws ``n`` paths.

        Args:
          n: number of paths.
          seed: an int for paths that can be drawn again, or None.

        Returns:
          Array [n, ..., h]. For pandas data a DataFrame with a column for each path, below the
          series' names if there are several.
        """
        paths = self._paths(n, np.random.default_rng(seed))  # [N, h, n]
        if hasattr(self.layout, "index"):
            return self.layout.per_name(paths, range(n))
        return np.moveaxis(self.layout.per_name(paths, range(n)), -1, 0)

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

        deviation = np.sqrt(self.variances)
        half = normal_half_width(level) * deviation
        percent = f"{100 * level:g}"
        columns = {
            "median": self.means,
            f"lower_{percent}": self.means - half,
            f"upper_{percent}": self.means + half,
        }
        if transform is None:
            columns = {"mean": columns.pop("median"), "standard_deviation": deviation} | columns
        else:
            columns = {name: transform(values) for name, values in columns.items()}
        table = self.layout.per_name(np.stack(list(columns.values()), axis=-1), columns)
        if isinstance(table, np.ndarray):
            if table.ndim != 2:
                raise InputError(
                    "A table needs one series or a DataFrame; take one series as result[index]."
                )
            steps = self.layout.positions(self.horizon)
            table = pd.DataFrame(table, pd.Index(steps, name="step"), list(columns))
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

    def _paths(self, n, generator):
        model, ssm = self.result.model, self.result._ssm
        scale = self.result.scale[:, np.newaxis, np.newaxis]
        noise = ssm.transition_scale.numpy()[:, 0] * scale  # G [N, n, k]
        observation_noise = ssm.observation_scale.numpy()[:, 0] * scale  # C [N, 1, 1]
        mean, covariance = self.first_state
        states = mean[..., np.newaxis] + _root(covariance) @ generator.standard_normal(
            (*mean.shape, n)
        )
        paths = np.empty((len(mean), self.horizon, n))
        for step in range(self.horizon):
            errors = generator.standard_normal((len(mean), 1, n))
            paths[:, step] = (model.observation_row @ states) + (observation_noise @ errors)[:, 0]
            disturbances = generator.standard_normal((len(mean), noise.shape[-1], n))
            states = model.transition_matrix @ states + noise @ disturbances
        return paths


def _root(covariance):
    """A square root of symmetric semidefinite matrices [..., n, n], which need not be definite."""
    eigenvalues, vectors = np.linalg.eigh(covariance)
    return vectors * np.sqrt(np.maximum(eigenvalues, 0.0))[..., np.newaxis, :]
