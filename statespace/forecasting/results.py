"""What a fit returns: estimates, and everything that follows from them."""

import operator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from statespace.forecasting.forecast import Forecast
from statespace.forecasting.moments import Moments, SmoothedStates
from statespace.models.base import Model


@dataclass(frozen=True)
class FitResult:
    """A model with fitted parameters, and the data it was fitted to.

    Made by ``fit``; the properties and methods below are what it is for. Results take the form of
    the data. One array [T] or one Series gives numbers, arrays and Series; a batch [..., T] gives
    arrays with its leading axes; a DataFrame gives objects over its columns. ``result[key]`` is the
    result of one series of several: a column's name, or an index into the batch axes.

    Attributes:
      model: the model that was fitted.
      values: the N series, [N, T], NaN where missing.
      layout: how the data came in.
      scale: the unit each series was divided by for fitting, [N].
      estimates: the raw estimates in that unit, with a leading axis over N.
    """

    model: Model
    values: np.ndarray
    layout: Any
    scale: np.ndarray
    estimates: Any

    @property
    def params(self) -> dict:
        """Estimated parameters by name, in the units of the data."""
        return self._by_name(self.estimates.values)

    @property
    def standard_errors(self) -> dict:
        """Standard errors by name, from the observed information.

        NaN for a variance at its boundary, zero, where the likelihood is not quadratic, and for
        all parameters where the information matrix is not positive definite.
        """
        return self._by_name(self.estimates.standard_errors)

    @property
    def log_likelihood(self):
        """The maximised diffuse log-likelihood, in the convention of Stata and statsmodels.

        KFAS adds (d / 2) log 2 pi, with d the number of states.
        """
        return self.layout.per_series(self._log_likelihoods)

    @property
    def aic(self):
        """Akaike's criterion, -2 log L + 2 k, with k = p + d: parameters plus diffuse states."""
        return self.layout.per_series(2 * self._degrees_of_freedom - 2 * self._log_likelihoods)

    @property
    def bic(self):
        """Schwarz's criterion, -2 log L + k log(number of observed values), k as for ``aic``."""
        penalty = self._degrees_of_freedom * np.log(self._num_observed)
        return self.layout.per_series(penalty - 2 * self._log_likelihoods)

    @property
    def converged(self):
        """Whether the optimiser met its criteria; if not, ``message`` has its words."""
        return self.layout.per_series(self.estimates.converged)

    @property
    def message(self):
        """What the optimiser said when it stopped."""
        return self.layout.per_series(self.estimates.message)

    def forecast(self, horizon) -> Forecast:
        """Forecasts the next ``horizon`` steps.

        Args:
          horizon: number of steps, a positive whole number.

        Returns:
          A :class:`statespace.forecasting.forecast.Forecast`. It takes the estimated parameters
          for the true ones, as is usual.

        Raises:
          ValueError: ``horizon`` is not a positive whole number.
        """
        from statespace.kalman.forecast import forecast

        moments = forecast(self._ssm, self._standardised, horizon)
        _check_status(moments.info, self.layout)
        scale = self.scale[:, np.newaxis]
        return Forecast(
            result=self,
            layout=self.layout.future(self.values.shape[1], operator.index(horizon)),
            means=moments.observation_mean.numpy()[..., 0] * scale,
            variances=moments.observation_covariance.numpy()[..., 0, 0] * scale**2,
            first_state=(
                moments.state_mean.numpy()[:, 0] * scale,
                moments.state_covariance.numpy()[:, 0] * scale[..., np.newaxis] ** 2,
            ),
        )

    def smooth(self) -> SmoothedStates:
        """Mean and covariance of every state given all the data."""
        means, covariances = self._smoothed
        return SmoothedStates(
            names=self.model.state_names,
            layout=self.layout,
            means=means,
            variances=_not_negative(np.diagonal(covariances, axis1=-2, axis2=-1)),
            covariances=covariances,
        )

    def components(self) -> Moments:
        """What each component, and the observation noise, contributes to each observation.

        Returns:
          Moments with the names of the components and "irregular", given all the data. The means
          add up to the data. Where an observation is missing, its noise has mean zero and the
          observation variance.
        """
        means, covariances = self._smoothed
        row = self.model.observation_row
        parts = {
            name: (means[..., s] @ row[s], row[s] @ covariances[..., s, s] @ row[s])
            for name, s in self.model.component_states().items()
        }
        missing = np.isnan(self.values)
        noise = self._in_data_units(self.estimates.values)[:, :1]
        parts["irregular"] = (
            np.where(missing, 0.0, self.values - means @ row),
            np.where(missing, noise, np.einsum("i,...ij,j", row, covariances, row)),
        )
        part_means, part_variances = zip(*parts.values(), strict=True)
        return Moments(
            names=tuple(parts),
            layout=self.layout,
            means=np.stack(part_means, axis=-1),
            variances=_not_negative(np.stack(part_variances, axis=-1)),
        )

    def summary(self) -> str:
        """The fit as a table of plain text."""
        from statespace.forecasting.summary import summary

        return summary(self)

    def plot(self, ax=None, *, level=0.9):
        """Plots the data and the smoothed trend with its band; returns the matplotlib Axes."""
        from statespace.forecasting.plots import plot_fit

        return plot_fit(self, ax, level=level)

    def plot_components(self, axes=None, *, level=0.9):
        """Plots each component with its band, one below the other; returns the array of Axes."""
        from statespace.forecasting.plots import plot_components

        return plot_components(self, axes, level=level)

    def __getitem__(self, key):
        number, layout = self.layout.selected(key)
        one = slice(number, number + 1)
        return replace(
            self,
            values=self.values[one],
            layout=layout,
            scale=self.scale[one],
            estimates=type(self.estimates)(*(field[one] for field in self.estimates)),
        )

    @property
    def at_boundary(self) -> dict:
        """Whether each parameter was estimated as exactly zero, by name."""
        return self._by_name(self.estimates.values == 0)

    @property
    def _num_observed(self):
        return np.count_nonzero(~np.isnan(self.values), axis=1)

    @property
    def _degrees_of_freedom(self):
        return len(self.model.parameters) + len(self.model.state_names)

    @property
    def _log_likelihoods(self):
        """Of the data, [N]: each observed value but the first d brings the density's 1 / scale."""
        informative = self._num_observed - len(self.model.state_names)
        return self.estimates.log_likelihood - informative * np.log(self.scale)

    @cached_property
    def _standardised(self):
        return (self.values / self.scale[:, np.newaxis])[..., np.newaxis]

    @cached_property
    def _ssm(self):
        """The N fitted models in standardised units, for the filter."""
        names = [parameter.name for parameter in self.model.parameters]
        return self.model.build(dict(zip(names, self.estimates.values.T, strict=True)))

    @cached_property
    def _smoothed(self):
        """Means [N, T, n] and covariances [N, T, n, n] of the states in the data's units."""
        from statespace.kalman.smoother import kalman_smoother

        moments = kalman_smoother(self._ssm, self._standardised, lag_one=False)
        _check_status(moments.info, self.layout)
        scale = self.scale[:, np.newaxis, np.newaxis]
        return (
            moments.smoothed_mean.numpy() * scale,
            moments.smoothed_covariance.numpy() * scale[..., np.newaxis] ** 2,
        )

    def _in_data_units(self, estimates):
        """Values [N, p], or standard errors, of the standardised data, for the data."""
        columns = zip(self.model.parameters, estimates.T, strict=True)
        return np.stack([p.in_data_units(column, self.scale) for p, column in columns], axis=-1)

    def _by_name(self, estimates):
        if estimates.dtype != bool:
            estimates = self._in_data_units(estimates)
        columns = zip(self.model.parameters, estimates.T, strict=True)
        return {p.name: self.layout.per_series(column) for p, column in columns}


def _not_negative(variances):
    """The variances without rounding errors about zero.

    Without observation noise the data tell the sum of the components exactly, and what is left of
    its variance are the last digits of those of the states, of either sign.
    """
    return np.maximum(variances, 0.0)


def _check_status(info, layout):
    """Speaks up about series for which the filter failed, rather than hand out NaN."""
    for label, status in zip(layout.labels(), info.numpy(), strict=True):
        if status != 0:
            raise FloatingPointError(
                f"{label}: the filter broke down at step {status - 1} in floating-point arithmetic."
            )
