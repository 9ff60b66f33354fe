"""Whether a fitted model leaves anything in the data unexplained."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from statespace.forecasting.auxiliary import AuxiliaryResiduals, auxiliary_residuals
from statespace.forecasting.errors import InputError
from statespace.forecasting.parts import in_parts
from statespace.forecasting.residual_tests import (
    SignificanceTest,
    autocorrelations,
    heteroscedasticity,
    jarque_bera,
    ljung_box,
)
from statespace.kalman.filter import kalman_filter, log_likelihood
from statespace.linalg_ops.arguments import positive_int


class Consistency(NamedTuple):
    """Mean normalised innovation squared of each series, and where it should lie."""

    mean: Any  # about one in a right model
    lower: Any
    upper: Any
    degrees_of_freedom: Any  # number of innovations


@dataclass(frozen=True, eq=False)
class Diagnostics:
    """Residuals of a fit and the tests of them, in the form of the data.

    Made by ``FitResult.diagnostics``. Two kinds of residuals answer two questions. The standardised
    *innovations*, errors of the predictions one step ahead over their standard deviations, are
    independent and N(0, 1) if the model is right, and the tests ask whether they are. The
    *auxiliary residuals*, the noise of each component given all the data over its standard
    deviation, show where and in which component the model was surprised.

    Results of tests have one number for each series, or, for a model of m > 1 variables, an array
    [m] for each.

    Attributes:
      layout: how the data came in.
      lags: number of autocorrelations that the Ljung-Box test looks at.
      num_parameters: number of estimated parameters that the test allows for.
      standardised: innovations over their standard deviations, each variable by itself, [N, T, m];
        NaN where missing, or where the variance was infinite because a diffuse state was met.
      squares: normalised innovations squared, v' F^-1 v, [N, T]; NaN where there is none.
      auxiliary_residuals: see :class:`statespace.forecasting.auxiliary.AuxiliaryResiduals`.
    """

    layout: Any
    lags: int
    num_parameters: int
    standardised: np.ndarray
    squares: np.ndarray
    auxiliary_residuals: AuxiliaryResiduals

    @property
    def innovations(self):
        """Standardised innovations: [..., T], Series or DataFrame; see ``standardised``."""
        return self.layout.per_step(self.standardised)

    @property
    def ljung_box(self) -> SignificanceTest:
        """Whether the innovations are uncorrelated; see ``residual_tests.ljung_box``."""
        return self._in_form(self._ljung_box)

    @property
    def jarque_bera(self) -> SignificanceTest:
        """Whether they are normally distributed; see ``residual_tests.jarque_bera``."""
        return self._in_form(self._jarque_bera)

    @property
    def heteroscedasticity(self) -> SignificanceTest:
        """Whether their variance stays the same; see ``residual_tests.heteroscedasticity``."""
        return self._in_form(self._heteroscedasticity)

    @property
    def autocorrelations(self):
        """Those of the innovations at the lags 1 to ``lags``, [..., lags] (or [..., m, lags])."""
        return self.layout.per_series(self._by_variable(self._autocorrelations))

    @property
    def nis(self) -> Consistency:
        """Mean of the normalised innovations squared (NIS), and its 95 % consistency interval.

        In a right model nu times the mean, nu the number of innovations, has a chi-squared
        distribution with nu degrees of freedom: above the interval the model is more certain of its
        predictions than it should be, below it less. Maximum likelihood brings the mean to about
        one by itself; so ask this of fixed parameters, or of new data (``result.extend``).

        References:
          Bar-Shalom, Y., Li, X. R. and Kirubarajan, T. (2001). Estimation with Applications to
          Tracking and Navigation, section 5.4.2.
        """
        from scipy.stats import chi2

        freedom = np.count_nonzero(~np.isnan(self.standardised), axis=(1, 2))
        known = np.where(freedom > 0, freedom, np.nan)
        mean = np.nansum(self.squares, axis=1) / known
        lower, upper = (chi2.ppf(q, known) / known for q in (0.025, 0.975))
        return Consistency(*map(self.layout.per_series, (mean, lower, upper, freedom)))

    @property
    def auxiliary(self):
        """Auxiliary residuals: [..., T, K], or a DataFrame with the disturbances as columns."""
        residuals = self.auxiliary_residuals
        return self.layout.per_name(residuals.standardised, residuals.names)

    def outliers(self, threshold=3.0):
        """Observations that the noise of the model does not account for.

        Args:
          threshold: of the absolute value of the auxiliary residual.

        Returns:
          DataFrame with ``time``, ``size`` (how far off the observation is, in the units of the
          data: the coefficient that a pulse at that step would have) and ``statistic`` (its
          t-statistic), largest first; see ``AuxiliaryResiduals.shocks``.
        """
        m = self.standardised.shape[2]
        names = [f"irregular[{i + 1}]" for i in range(m)] if m > 1 else ["irregular"]
        return self._shocks(names, threshold)

    def level_breaks(self, threshold=3.0):
        """Steps at which the level shifted by more than its noise accounts for.

        Args:
          threshold: of the absolute value of the auxiliary residual.

        Returns:
          DataFrame as of ``outliers``; ``time`` is the first step at the new level.
        """
        return self.shocks("level", threshold)

    def shocks(self, name, threshold=3.0):
        """As ``level_breaks``, for any state, such as "slope"; none where it has no noise."""
        return self._shocks([name], threshold)

    def to_frame(self):
        """The tests as a table: a row for each series (and variable), statistics and p-values."""
        import pandas as pd

        tests = {
            "ljung_box": self._ljung_box,
            "jarque_bera": self._jarque_bera,
            "heteroscedasticity": self._heteroscedasticity,
        }
        columns = {"innovations": np.count_nonzero(~np.isnan(self.standardised), axis=1)}
        for name, test in tests.items():
            columns |= {name: test.statistic, f"{name}_p_value": test.p_value}
        index = pd.Index(self.layout.labels(), name="series")
        if self.standardised.shape[2] > 1:
            both = [index, pd.Index(self._variables, name="variable")]
            index = pd.MultiIndex.from_product(both)
        return pd.DataFrame({name: np.ravel(x) for name, x in columns.items()}, index)

    def summary(self) -> str:
        """What the tests and the auxiliary residuals say, as plain text."""
        from statespace.forecasting.diagnostics_summary import summary

        return summary(self)

    def plot(self, axes=None):
        """Draws the residuals, as ``FitResult.plot_diagnostics`` does; returns the Axes."""
        from statespace.forecasting.plot_diagnostics import plot_diagnostics

        return plot_diagnostics(self, axes)

    @cached_property
    def _rows(self):
        """The innovations with time last, [N, m, T]."""
        return np.moveaxis(self.standardised, 1, 2)

    @cached_property
    def _ljung_box(self):
        return ljung_box(self._rows, self.lags, self.num_parameters)

    @cached_property
    def _jarque_bera(self):
        return jarque_bera(self._rows)

    @cached_property
    def _heteroscedasticity(self):
        return heteroscedasticity(self._rows)

    @cached_property
    def _autocorrelations(self):
        return autocorrelations(self._rows, self.lags)[0]

    @property
    def _variables(self):
        return list(getattr(self.layout, "variables", range(self.standardised.shape[2])))

    def _in_form(self, test):
        return SignificanceTest(*(self.layout.per_series(self._by_variable(x)) for x in test))

    def _by_variable(self, values):
        """[N, m, ...], without the axis of variables if there is one only."""
        return values[:, 0] if values.shape[1] == 1 else values

    def _shocks(self, names, threshold):
        table = self.auxiliary_residuals.shocks(names, threshold)
        return table if len(names) > 1 else table.drop(columns="name")


def diagnose(model, ssm, layout, values, free, check_status, lags=None) -> Diagnostics:
    """Computes the residuals of a fitted model.

    Args:
      model: the model.
      ssm: its state-space form.
      layout: how the data came in.
      values: the N series, [N, T, m].
      free: the parameters that were estimated.
      check_status: told what the filter says of each series.
      lags: of the Ljung-Box test; None: twice the longest period, or ten, and at most a fifth of
        the steps, as far as that leaves a degree of freedom.

    References:
      Durbin, J. and Koopman, S. J. (2012). Time Series Analysis by State Space Methods,
      2nd edition, sections 2.12 and 7.5.
      Hosking, J. R. M. (1980). The multivariate portmanteau statistic. Journal of the American
      Statistical Association 75(371), 602-608, for the parameters of several variables.

    Example:
      >>> import statespace as ss
      >>> result = ss.models.LocalLevel().fit(ss.datasets.nile(), verbose=0)
      >>> diagnostics = result.diagnostics()
      >>> print(diagnostics.level_breaks().round(1).to_string(index=False))
      time   size  statistic
      1899 -315.7       -3.2
    """
    num_parameters = _per_variable(sum(p.size for p in free if not _only_shifts(p)), values)
    lags = _lags(lags, model, values.shape[1], num_parameters)
    info, standardised, squares = in_parts(_innovations, ssm, values)
    check_status(info)
    return Diagnostics(
        layout=layout,
        lags=lags,
        num_parameters=num_parameters,
        standardised=standardised,
        squares=squares,
        auxiliary_residuals=auxiliary_residuals(model, ssm, layout, values, check_status),
    )


def _innovations(ssm, values):
    """Status [N], standardised innovations [N, T, m] and their normalised squares [N, T]."""
    filtered = kalman_filter(ssm, values)
    covariance = filtered.innovation_covariance.numpy()
    deviation = np.sqrt(np.diagonal(covariance, axis1=-2, axis2=-1))
    known = ~np.isnan(values) & ~_diffuse_steps(ssm, values)[..., np.newaxis] & (deviation > 0)
    deviation = np.where(known, deviation, np.nan)
    standardised = filtered.innovation.numpy() / deviation
    correlation = covariance / (deviation[..., :, np.newaxis] * deviation[..., np.newaxis, :])
    return filtered.info.numpy(), standardised, _normalised_squares(standardised, correlation)


def _diffuse_steps(ssm, values):
    """At which steps an observation met a diffuse state, so that nothing predicted it, [N, T].

    Such an observation adds -1/2 log(2 pi) to one convention of the log-likelihood and nothing to
    the other.
    """
    if ssm.diffuse is None:
        return np.zeros(values.shape[:2], bool)
    with_constant, without = (
        log_likelihood(ssm, values, per_step=True, diffuse_constant=choice).numpy()
        for choice in ("include", "exclude")
    )
    return without - with_constant > 0.5


def _normalised_squares(standardised, correlation):
    """e' R^-1 e over the elements of each step that there are, [N, T]; NaN where there are none."""
    missing = np.isnan(standardised)
    error = np.where(missing, 0.0, standardised)[..., np.newaxis]
    correlation = np.where(np.isnan(correlation), np.eye(standardised.shape[-1]), correlation)
    squares = np.sum(error * np.linalg.solve(correlation, error), axis=(-2, -1))
    return np.where(missing.all(axis=-1), np.nan, squares)


def _only_shifts(parameter):
    """Whether a parameter moves the mean alone, as does the coefficient of a known feature."""
    return parameter.power == 1 and parameter.boundary is None


def _per_variable(num_parameters, values):
    """How many parameters the test of one of m variables is to allow for.

    Besides the scale, they fit m^2 correlations at each lag, those between the variables among
    them; the ones of a variable with itself bear that share of the cost.
    """
    variables = values.shape[2]
    return 1 + -(-(num_parameters - 1) // variables**2) if num_parameters else 0


def _lags(lags, model, num_steps, num_parameters):
    fewest = max(num_parameters, 1)
    if lags is None:
        period = max(round(getattr(c, "period", 1)) for c in model.components)
        lags = max(min(2 * period if period > 1 else 10, num_steps // 5), fewest)
        return min(lags, num_steps - 1)
    lags = positive_int("diagnostics", "lags", lags)
    if not fewest <= lags < num_steps:
        raise InputError(
            f"lags must lie between {fewest}, for the {num_parameters} parameters that the "
            f"Ljung-Box test allows for, and {num_steps - 1}, the number of steps less one; given "
            f"was {lags}."
        )
    return lags
