"""A model with estimated parameters: their values, standard errors and information criteria."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from statespace.forecasting.curvature import covariances, informations, outer_products
from statespace.forecasting.errors import InputError, speak_of_skipped
from statespace.forecasting.likelihood import Problem


@dataclass(frozen=True, eq=False)
class FittedModel:
    """What was estimated from N series.

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
        for parameter, places in self.problem.parameterisation.places():
            errors[parameter.name] = deviations[:, places].reshape(errors[parameter.name].shape)
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
        """Why a series was skipped or its optimiser stopped too soon; empty for the others."""
        return self.layout.per_series(self.estimates.message)

    @property
    def skipped(self):
        """Whether a series of a batch could not be estimated; ``message`` says why."""
        return self.layout.per_series(self._skipped)

    @property
    def at_boundary(self) -> dict:
        """Whether each parameter was estimated as exactly zero, its boundary, by name."""
        fixed = self.problem.fixed
        return {
            name: self.layout.per_series((value == 0) & (name not in fixed))
            for name, value in self._params.items()
        }

    def selected(self, part, layout):
        """The same for some of the series.

        Args:
          part: which, a slice or an array of their numbers.
          layout: theirs.
        """
        return replace(
            self,
            problem=self.problem.selected(part),
            layout=layout,
            estimates=type(self.estimates)(*(field[part] for field in self.estimates)),
            start=None if self.start is None else tuple(x[part] for x in self.start),
        )

    def check_status(self, info):
        """Speaks up about series for which the filter failed, rather than hand out NaN.

        Args:
          info: what the filter says of each series, [N].

        Raises:
          InputError: there is no series but those that were skipped in the fit.
          FloatingPointError: it failed for all the others.
        """
        labels, used = np.array(self.layout.labels(), object), ~self._skipped
        if not used.any():
            raise InputError(f"{labels[0]} was skipped in the fit: {self.estimates.message[0]}")
        reasons = [
            f"the filter broke down at step {status - 1} in floating-point arithmetic."
            if status
            else ""
            for status in np.asarray(info)[used]
        ]
        speak_of_skipped(labels[used], reasons, FloatingPointError)

    @property
    def _skipped(self):
        unknown = [np.isnan(x).reshape(len(x), -1).any(axis=1) for x in self._params.values()]
        return np.any(unknown, axis=0) if unknown else np.zeros(len(self.values), bool)

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

    def _built(self, features, times):
        from statespace.ssm import replaced

        ssm = self.model.build(self._params, features=features, times=times)
        if self.start is None:
            return ssm
        mean, scale = self.start
        return replaced(ssm, initial_mean=mean, initial_scale=scale, diffuse=None)

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
