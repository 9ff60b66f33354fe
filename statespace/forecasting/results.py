"""What a fit returns: estimates, and everything that follows from them."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from statespace.forecasting.curvature import covariances, informations, outer_products
from statespace.forecasting.errors import InputError
from statespace.forecasting.forecast import Forecast
from statespace.forecasting.likelihood import Problem
from statespace.forecasting.moments import Moments, SmoothedStates, contributions, not_negative
from statespace.forecasting.parts import in_parts


@dataclass(frozen=True, eq=False)
class FitResult:
    """A model with fitted parameters, and the data it was fitted to.

    Made by ``fit``; the properties and methods below are what it is for. Results take the form of
    the data. One array [T] or one Series gives numbers, arrays and Series; a batch [..., T] gives
    arrays with its leading axes; a DataFrame gives objects over its columns. ``result[key]`` is the
    result of one series of several: a column's name, or an index into the batch axes.

    Attributes:
      problem: model, data, features and units; see
        :class:`statespace.forecasting.likelihood.Problem`.
      layout: how the data came in.
      method: how the parameters were estimated.
      share: names of parameters that all series have in common.
      estimates: free coordinates and what the optimiser said.
      start: None, or mean [N, n] and scale [N, n, n] of the first state where the data go on from
        others.
    """

    problem: Problem
    layout: Any
    method: str
    share: tuple[str, ...]
    estimates: Any
    start: Any = None

    @property
    def model(self):
        """The model that was fitted."""
        return self.problem.model

    @property
    def values(self) -> np.ndarray:
        """The N series, [N, T, m], NaN where missing."""
        return self.problem.values

    @property
    def params(self) -> dict:
        """Estimated (and fixed) parameters by name, in the units of the data."""
        return {name: self.layout.per_series(value) for name, value in self._params.items()}

    @property
    def standard_errors(self) -> dict:
        """Standard errors by name, from the observed information.

        NaN for a scale at its boundary, zero, where the likelihood is not quadratic, for what was
        fixed, and for all parameters where the information matrix is not positive definite.
        """
        return self.standard_errors_by("hessian")

    def standard_errors_by(self, information="hessian") -> dict:
        """Standard errors by name.

        Args:
          information: "hessian", the observed information, from central differences of the
            analytic score (relative error about 1e-8); "opg", the sum of the outer products of each
            step's score; "robust", the sandwich of both.

        Raises:
          InputError: ``information`` is none of these.
        """
        deviations = np.sqrt(np.diagonal(self._covariance(information), axis1=1, axis2=2))
        errors = {name: np.full_like(value, np.nan) for name, value in self._params.items()}
        position = 0
        for parameter in self.problem.parameterisation.free:
            own = deviations[:, position : position + parameter.size]
            errors[parameter.name] = own.reshape(errors[parameter.name].shape)
            position += parameter.size
        return {name: self.layout.per_series(value) for name, value in errors.items()}

    @property
    def log_likelihood(self):
        """The maximised log-likelihood.

        Of a structural model with a diffuse start it is in the convention of Stata and statsmodels
        (KFAS adds (d / 2) log 2 pi, with d the number of diffuse states); of one with an ARIMA
        component it is that of the differenced series.
        """
        return self.layout.per_series(self.estimates.log_likelihood)

    @property
    def aic(self):
        """Akaike's criterion, -2 log L + 2 k; k counts parameters and diffuse states.

        For models whose likelihood is that of differences, k counts the parameters alone.
        """
        return self.layout.per_series(2 * self.num_estimated - 2 * self.estimates.log_likelihood)

    @property
    def aicc(self):
        """Akaike's criterion with the correction for short series, + 2 k (k + 1) / (N - k - 1)."""
        k = self.num_estimated
        with np.errstate(divide="ignore"):
            extra = np.where(
                self._num_informative > k + 1,
                2 * k * (k + 1) / np.maximum(self._num_informative - k - 1, 1e-300),
                np.inf,
            )
        return self.layout.per_series(2 * k - 2 * self.estimates.log_likelihood + extra)

    @property
    def bic(self):
        """Schwarz's criterion, -2 log L + k log(number of observed values), k as for ``aic``."""
        penalty = self.num_estimated * np.log(self._num_informative)
        return self.layout.per_series(penalty - 2 * self.estimates.log_likelihood)

    @property
    def num_estimated(self) -> int:
        """The k of the criteria."""
        counted = self.num_diffuse if self.model.diffuse_constant == "include" else 0
        return self.problem.size + counted

    @property
    def num_diffuse(self) -> int:
        """Number of states with a diffuse start."""
        diffuse = self._ssm.diffuse
        return 0 if diffuse is None else int(np.count_nonzero(diffuse.numpy()))

    @property
    def converged(self):
        """Whether the optimiser met its criteria; if not, ``message`` says why."""
        return self.layout.per_series(self.estimates.converged)

    @property
    def message(self):
        """Why the optimiser stopped too soon; empty where it did not."""
        return self.layout.per_series(self.estimates.message)

    @property
    def at_boundary(self) -> dict:
        """Whether each parameter was estimated as exactly zero, its boundary, by name."""
        fixed = self.problem.fixed
        return {
            name: self.layout.per_series((value == 0) & (name not in fixed))
            for name, value in self._params.items()
        }

    def forecast(self, horizon, features=None, times=None) -> Forecast:
        """Forecasts the next ``horizon`` steps.

        Args:
          horizon: number of steps, a positive whole number.
          features: those of the steps to come, for regressions: [h, K], [..., h, K], or a
            DataFrame that has their dates. Another scenario is another call.
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
        known = self._with_future(horizon, layout, features, times)
        ssm = self._built(*known)
        info, *moments = in_parts(ahead, ssm, self.values)
        check_status(info, self.layout)
        return Forecast(self, layout, ssm, *moments, known=known)

    def smooth(self) -> SmoothedStates:
        """Mean and covariance of every state given all the data."""
        means, covariances = self._smoothed
        return SmoothedStates(
            names=self.model.state_names,
            layout=self.layout,
            means=means,
            variances=not_negative(np.diagonal(covariances, axis1=-2, axis2=-1)),
            covariances=covariances,
        )

    def components(self) -> Moments:
        """What each component, and the observation noise, contributes to each observation.

        Returns:
          Moments with the names of the components and "irregular", given all the data. The means
          add up to the data. Where an observation is missing, its noise has mean zero and the
          variance of the observation noise. A model of several variables has a column for each
          component and variable.
        """
        return contributions(self.model, self._ssm, self.layout, *self._smoothed, self.values)

    def impute(self):
        """The data with what is missing filled in by its mean given all the data."""
        means, _ = self._smoothed
        fitted = self._ssm.observation_matrix.numpy() @ means[..., np.newaxis]
        fitted = fitted[..., 0] + self._ssm.observation_offset.numpy()
        return self.layout.per_step(np.where(np.isnan(self.values), fitted, self.values))

    def append(self, y, features=None, times=None) -> "FitResult":
        """The result with new data after the old, and the parameters as they are.

        Args:
          y: the steps that follow, in the form of the data; a pandas index must go on where that
            of the data ends.
          features: theirs, as for ``forecast``.
          times: theirs.

        Returns:
          A :class:`FitResult` over old and new steps.

        Raises:
          InputError: the new data do not go on where the old ones end, or are of another form.
        """
        values, layout = self._following(y)
        steps = self._with_future(values.shape[1], layout, features, times)
        problem = replace(
            self.problem,
            values=np.concatenate([self.values, values], axis=1),
            features=steps[0],
            times=steps[1],
        )
        return self._on(problem, self.layout.joined(layout), self.start)

    def extend(self, y, features=None, times=None) -> "FitResult":
        """The result over new data alone, which follow the old; parameters as they are.

        As ``append``, but the steps before are forgotten, except for what they say of the first
        new state: the way to go through a long stream piece by piece.
        """
        values, layout = self._following(y)
        ahead = self.forecast(values.shape[1], features, times)
        steps = self._with_future(values.shape[1], layout, features, times)
        first = slice(self.values.shape[1], None)
        problem = replace(
            self.problem,
            values=values,
            features=None if steps[0] is None else steps[0][:, first],
            times=None if steps[1] is None else steps[1][:, first],
        )
        return self._on(problem, layout, ahead.first_state)

    def apply(self, y, features=None, times=None) -> "FitResult":
        """The same parameters with other data, of as many series."""
        from statespace.forecasting.data import as_batch, as_features, as_times

        values, layout = as_batch(y, self.model.num_observed)
        if len(values) != len(self.values):
            raise InputError(
                f"The result has {len(self.values)} series; the new data have {len(values)}."
            )
        problem = replace(
            self.problem,
            values=values,
            features=as_features(features, self.model, layout, values.shape),
            times=as_times(times, self.model, values.shape),
        )
        return self._on(problem, layout, None)

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
        return diagnose(self.model, self._ssm, self.layout, self.values, free, lags)

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
        one = slice(number, number + 1)
        return replace(
            self,
            problem=self.problem.selected(one),
            layout=layout,
            estimates=type(self.estimates)(*(field[one] for field in self.estimates)),
            start=None if self.start is None else tuple(x[one] for x in self.start),
        )

    @cached_property
    def _params(self) -> dict:
        """All parameters, [N, *shape], in the order of the model."""
        values = self.problem.params(self.estimates.free)
        return {p.name: values[p.name] for p in self.model.parameters}

    @property
    def _num_informative(self):
        """Observed values that the likelihood counts, [N]."""
        counted = self.model.diffuse_constant == "include"
        return self.problem.num_observed - (0 if counted else self.num_diffuse)

    @cached_property
    def _ssm(self):
        """The N fitted models."""
        return self._built(self.problem.features, self.problem.times)

    @cached_property
    def _smoothed(self):
        """Means [N, T, n] and covariances [N, T, n, n] of the states."""
        from statespace.kalman.smoother import kalman_smoother

        moments = kalman_smoother(self._ssm, self.values, lag_one=False)
        check_status(moments.info, self.layout)
        return moments.smoothed_mean.numpy(), moments.smoothed_covariance.numpy()

    def _built(self, features, times):
        from statespace.ssm import LinearGaussianSSM

        ssm = self.model.build(self._params, features=features, times=times)
        if self.start is None:
            return ssm
        mean, scale = self.start
        return LinearGaussianSSM(
            ssm.transition_matrix,
            ssm.transition_scale,
            ssm.observation_matrix,
            ssm.observation_scale,
            mean,
            scale,
            ssm.transition_offset,
            ssm.observation_offset,
        )

    def _covariance(self, information):
        if information not in ("hessian", "opg", "robust"):
            raise InputError(
                f"information is 'hessian', 'opg' or 'robust'; given was {information!r}."
            )
        free = self.estimates.free
        if free.shape[1] == 0:
            return np.zeros((len(free), 0, 0))
        if information == "hessian":
            return covariances(self.problem, free, informations(self.problem, free), self.share)
        outer = outer_products(self.problem, free)
        if information == "opg":
            return covariances(self.problem, free, outer, self.share)
        observed = informations(self.problem, free)
        inverse = np.linalg.inv(np.where(np.isfinite(observed), observed, np.eye(free.shape[1])))
        sandwich = np.linalg.inv(inverse @ outer @ inverse)
        sandwich[~np.isfinite(observed).all(axis=(1, 2))] = np.nan
        return covariances(self.problem, free, sandwich, self.share)

    def _following(self, y):
        """New data, checked to go on where the old ones end: values and layout."""
        from statespace.forecasting.data import as_batch

        values, layout = as_batch(y, self.model.num_observed)
        if type(layout) is not type(self.layout) or len(values) != len(self.values):
            raise InputError(
                f"The new data must be of the form of the old ones, {len(self.values)} series in "
                f"a {type(self.layout).__name__.removesuffix('Layout')}; given were {len(values)} "
                f"in a {type(layout).__name__.removesuffix('Layout')}."
            )
        follows = self.layout.future(self.values.shape[1], values.shape[1])
        if hasattr(layout, "index") and not layout.index.equals(follows.index):
            raise InputError(
                f"The new data begin at {layout.index[0]}; those of the result end just before "
                f"{follows.index[0]}, at steps of {describe_index(self.layout.index)}."
            )
        return values, follows

    def _with_future(self, horizon, layout, features, times):
        """Features and times of the data and the steps after them."""
        from statespace.forecasting.data import as_features, as_times

        shape = (len(self.values), horizon, self.model.num_observed)
        features = as_features(features, self.model, layout, shape)
        if features is not None:
            features = _joined(self.problem.features, features)
        past = self.problem.times
        if self.model.uses_times and past is not None:
            if times is None:
                step = np.median(np.diff(past, axis=1), axis=1)[:, np.newaxis]
                times = past[:, -1:] + step * np.arange(1, horizon + 1)
            times = _joined(past, as_times(times, self.model, shape))
            if (np.diff(times) < 0).any():
                raise InputError("The times to come lie before the last of the data.")
        elif times is not None:
            raise InputError("times are given for the steps to come, but the data had none.")
        return features, times

    def _on(self, problem, layout, start):
        """The same estimates on other data."""
        result = replace(self, problem=problem, layout=layout, start=start)
        if start is None:
            height = problem.log_likelihood(self.estimates.free, np.arange(len(problem.values)))
        else:
            from statespace.kalman.filter import log_likelihood

            height = log_likelihood(result._ssm, problem.values).numpy()
        return replace(result, estimates=self.estimates._replace(log_likelihood=height))


def check_status(info, layout):
    """Speaks up about series for which the filter failed, rather than hand out NaN."""
    for label, status in zip(layout.labels(), np.asarray(info), strict=True):
        if status != 0:
            raise FloatingPointError(
                f"{label}: the filter broke down at step {status - 1} in floating-point arithmetic."
            )


def describe_index(index):
    """What lies between the steps of a pandas index, in words."""
    from statespace.forecasting.frequency import describe

    return describe(index)


def _joined(past, future):
    count = max(len(past), len(future))
    past, future = (np.broadcast_to(x, (count, *x.shape[1:])) for x in (past, future))
    return np.concatenate([past, future], axis=1)
