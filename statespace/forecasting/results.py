"""What a fit returns: estimates, and everything that follows from them."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from statespace.forecasting import new_data
from statespace.forecasting.fitted_model import FittedModel
from statespace.forecasting.forecast import Forecast
from statespace.forecasting.moments import Moments, not_negative
from statespace.forecasting.parts import in_parts
from statespace.forecasting.smoothing import SmoothedStates, smoothed_components, smoothed_states


@dataclass(frozen=True, eq=False)
class FitResult(FittedModel):
    """A model with fitted parameters, and the data it was fitted to.

    Made by ``fit``; the properties and methods below are what it is for. Results take the form of
    the data. One array [T] or one Series gives numbers, arrays and Series; a batch [..., T] gives
    arrays with its leading axes; a DataFrame gives objects over its columns. ``result[key]`` is the
    result of one series of several: a column's name, or an index into the batch axes. Its
    attributes are those of :class:`statespace.forecasting.fitted_model.FittedModel`.
    """

    def forecast(self, horizon, features=None, times=None) -> Forecast:
        """Forecasts the next ``horizon`` steps.

        Args:
          horizon: number of steps, a positive whole number.
          features: those of the steps to come, for regressions: [h, K], [..., h, K], or a
            DataFrame that has their dates, and the columns that the features of the fit had.
            Another scenario is another call.
          times: when the steps to come are, [h] or [..., h], if the data were given times.

        Returns:
          A :class:`statespace.forecasting.forecast.Forecast`. It takes the estimated parameters
          for the true ones, as is usual.

        Raises:
          ValueError: ``horizon`` is not a positive whole number, or features or times are missing,
            superfluous or of the wrong length.
        """
        from statespace.kalman.forecast import forecast
        from statespace.linalg_ops.arguments import positive_int

        def ahead(ssm, values):
            moments = forecast(ssm, values, horizon)
            variances = np.diagonal(moments.observation_covariance, axis1=-2, axis2=-1)
            return (
                moments.info.numpy(),
                moments.observation_mean.numpy(),
                not_negative(variances),
                moments.state_mean.numpy(),
                moments.state_covariance.numpy(),
            )

        horizon = positive_int("forecast", "horizon", horizon)
        layout = self.layout.future(self.values.shape[1], horizon)
        known = new_data.with_future(self, horizon, layout, features, times)
        ssm = self._built(*known)
        info, *moments = in_parts(ahead, ssm, self.values)
        self.check_status(info)
        return Forecast(self, layout, ssm, *moments, known=known)

    def smooth(self) -> SmoothedStates:
        """Mean, variance and covariance of every state given all the data.

        Covariance matrices are n times as large as the means, for n states: they are computed when
        they are first asked for.
        """
        return self._smoothed

    def components(self) -> Moments:
        """What each component, and the observation noise, contributes to each observation.

        Returns:
          Moments with the names of the components and "irregular", given all the data. The means
          add up to the data. Where an observation is missing, its noise has mean zero and the
          variance of the observation noise. (In exponential smoothing the noise moves the states as
          well, so later data tell something of it.) A model of several variables has a column for
          each component and variable.
        """
        return smoothed_components(self)

    def impute(self):
        """The data with what is missing filled in by its mean given all the data."""
        fitted = self._ssm.observation_matrix.numpy() @ self._smoothed.means[..., np.newaxis]
        fitted = fitted[..., 0] + self._ssm.observation_offset.numpy()
        return self.layout.per_step(np.where(np.isnan(self.values), fitted, self.values))

    def append(self, y, features=None, times=None) -> "FitResult":
        """The result with new data after the old, and the parameters as they are.

        Args:
          y: the steps that follow, one or more, in the form of the data; a pandas index must go on
            where that of the data ends, with its frequency. Columns and ids are told by name.
          features: theirs, as for ``forecast``; or names of columns of a long frame.
          times: theirs.

        Returns:
          A :class:`FitResult` over old and new steps.

        Raises:
          InputError: the new data do not go on where the old ones end, or are of another form.
        """
        return new_data.append(self, y, features, times)

    def extend(self, y, features=None, times=None) -> "FitResult":
        """The result over new data alone, which follow the old; parameters as they are.

        As ``append``, but the steps before are forgotten, except for what they say of the first
        new state: the way to go through a long stream piece by piece.
        """
        return new_data.extend(self, y, features, times)

    def apply(self, y, features=None, times=None) -> "FitResult":
        """The same parameters with other data, of as many series.

        Where a frame has the columns or ids of the data, in whatever order, each series keeps its
        own parameters; other names go by their order.
        """
        return new_data.apply(self, y, features, times)

    def diagnostics(self, lags=None):
        """Residuals and tests of whether the model leaves anything unexplained.

        Args:
          lags: number of autocorrelations that the Ljung-Box test looks at; None: twice the longest
            seasonal period, or ten, and at most a fifth of the steps.

        Returns:
          A :class:`statespace.forecasting.diagnostics.Diagnostics`: standardised innovations, tests
          for correlation, normality and constant variance, auxiliary residuals with their outliers
          and level breaks, ``summary()``, ``to_frame()`` and ``plot()``.

        Raises:
          ValueError: ``lags`` is not a whole number, as large as the number of parameters at least
            and less than that of steps.
        """
        from statespace.forecasting.diagnostics import diagnose

        free = self.problem.parameterisation.free
        return diagnose(
            self.model, self._ssm, self.layout, self.values, free, self.check_status, lags
        )

    def summary(self) -> str:
        """The fit as a table of plain text."""
        from statespace.forecasting.summary import summary

        return summary(self)

    def save(self, path):
        """Writes the result into a file, from which ``statespace.load(path)`` has it back.

        Args:
          path: the file, with the suffix ``.statespace``; see
            :func:`statespace.forecasting.saving.save`.
        """
        from statespace.forecasting.saving import save

        save(self, path)

    def plot(self, ax=None, *, level=0.9):
        """Plots the data and the smoothed trend with its band; returns the matplotlib Axes."""
        from statespace.forecasting.plots import plot_fit

        return plot_fit(self, ax, level=level)

    def plot_components(self, axes=None, *, level=0.9, forecast=None):
        """Plots each component with its band, one below the other; returns the array of Axes.

        Args:
          axes: one for each component; by default a new figure.
          level: probability of the bands.
          forecast: a Forecast of this result, whose components are to follow those of the data.
        """
        from statespace.forecasting.plots import plot_components

        return plot_components(self, axes, level=level, forecast=forecast)

    def plot_states(self, axes=None, *, level=0.9):
        """Plots each smoothed state with its band, one below the other; returns array of Axes."""
        from statespace.forecasting.plots import plot_states

        return plot_states(self, axes, level=level)

    def plot_diagnostics(self, axes=None, *, lags=None):
        """Plots innovations, their distribution and correlations, and auxiliary residuals.

        Args:
          axes: six Axes; by default a new figure.
          lags: as for ``diagnostics``.

        Returns:
          The array of Axes.
        """
        return self.diagnostics(lags).plot(axes)

    def __getitem__(self, key):
        number, layout = self.layout.selected(key)
        return self.selected(slice(number, number + 1), layout)

    @cached_property
    def _smoothed(self):
        return smoothed_states(self)
