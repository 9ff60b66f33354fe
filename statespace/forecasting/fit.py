"""``model.fit``: from data and arguments to a result, whatever the method."""

import functools
import numbers
from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np

from statespace.forecasting.data import (
    as_batch,
    as_features,
    as_numbers,
    as_times,
    feature_names,
)
from statespace.forecasting.em import expectation_maximisation
from statespace.forecasting.errors import InputError, speak_of_skipped
from statespace.forecasting.estimable import feature_scale, why_not_estimable
from statespace.forecasting.likelihood import Problem
from statespace.forecasting.maximum_likelihood import MOST_CANDIDATES, maximise
from statespace.forecasting.methods import METHODS
from statespace.forecasting.progress import progress_bar
from statespace.forecasting.results import FitResult
from statespace.models.parameters import Parameterisation

_WITH_PRIORS = ("map", "hmc", "vi")


def fit(
    model,
    y,
    method="mle",
    features=None,
    *,
    times=None,
    fix=None,
    share=(),
    priors=None,
    num_starts=3,
    verbose=1,
    seed=0,
) -> FitResult:
    """Estimates the parameters of a model.

    ``"mle"`` maximises the (diffuse) likelihood of every series over the free coordinates of its
    parameters, all series at once, by L-BFGS on the compiled gradient. The likelihood may have
    several local optima, so 32 starting values, spread evenly and always the same, are evaluated
    for each series and the optimiser is run from the best of them. A scale that the data would as
    soon have at zero is set to exactly zero. ``"map"`` maximises likelihood times priors. ``"em"``
    is maximum likelihood again, by expectation-maximisation, for models that are linear in their
    free parameters other than factors of noise. ``"hmc"`` and ``"vi"`` draw from the posterior; see
    :func:`statespace.forecasting.posterior.sample_posterior`.

    Args:
      model: a :class:`statespace.models.Model`.
      y: array [T], [..., T] or [..., T, 1]; pandas Series; or DataFrame with one series a column.
        For a model of m variables: array [..., T, m], or DataFrame with one variable a column.
        NaN is missing, and so are the gaps in a pandas index of dates, periods or whole numbers.
      method: "mle", "map", "em", "hmc" or "vi".
      features: for regressions, [T, K], [..., T, K] or a DataFrame on the index of y, which may go
        on beyond it.
      times: for models in continuous time, [T] or [..., T], increasing.
      fix: dict from names of parameters to the values they are to have.
      share: names of parameters that are to have one value for all series.
      priors: for "map", "hmc" and "vi": dict from names to TFP distributions over values in the
        data's units; parameters without one have the model's weak priors.
      num_starts: how many starting values the optimiser is run from, 1 to 32; with several, once
        more for models that can guess at their parameters from the data.
      verbose: 0 is silent; 1 shows a progress bar on anything over two seconds. Interrupted
        (control-C), the optimiser stops where it is and the sampler keeps the draws that it has,
        if it has warmed up; the result says that it did not converge.
      seed: of the draws of "hmc" and "vi".

    Returns:
      A :class:`statespace.forecasting.results.FitResult`. Series of a batch that say too little
      (all missing, constant, too short for the model, ...) are skipped, with a
      :class:`statespace.forecasting.errors.SkippedSeriesWarning` that names them: their ``message``
      says why, and their estimates and forecasts are NaN.

    Raises:
      InputError: the data cannot be used (not numbers, infinite, irregular dates, ...), no series
        says enough, or an argument makes no sense; it is a ValueError.

    References:
      Durbin, J. and Koopman, S. J. (2012). Time Series Analysis by State Space Methods,
      2nd edition, section 7.3.

    Example:
      >>> import statespace as ss
      >>> result = ss.models.LocalLevel().fit(ss.datasets.nile())
      >>> round(result.log_likelihood, 4)
      -633.4646
    """
    _check_arguments(model, method, fix, share, priors, num_starts)
    values, layout = as_batch(y, model.num_observed)
    problem, reasons = pose(model, values, layout, features, times, fix, share)
    if method in _WITH_PRIORS:
        problem = replace(problem, priors=dict(priors or {}))
    usable = reasons == ""
    part = problem if usable.all() else problem.selected(usable)
    with progress_bar("Fitting", verbose) as bar:
        if method in ("hmc", "vi"):
            from statespace.forecasting.posterior import PosteriorResult, sample_posterior

            estimates, draws, chains = sample_posterior(part, method, num_starts, seed, bar)
            draws = {name: _among(values, usable) for name, values in draws.items()}
            kind = functools.partial(PosteriorResult, draws=draws, chains=chains)
        elif method == "em":
            kind, estimates = FitResult, expectation_maximisation(part, bar)
        else:
            kind, estimates = FitResult, maximise(part, num_starts, tuple(share), bar)
    estimates = estimates.among(reasons)
    skipped = np.isnan(estimates.free).any(axis=1)
    speak_of_skipped(layout.labels(), np.where(skipped, estimates.message, ""))
    return kind(problem, layout, method, tuple(share), estimates)


def _among(draws, usable):
    """Draws [S, N, ...] of the usable series among NaN for the others."""
    whole = np.full((len(draws), len(usable), *draws.shape[2:]), np.nan)
    whole[:, usable] = draws
    return whole


def pose(model, values, layout, features=None, times=None, fix=None, share=()):
    """Checks data against the model and states what is to be estimated.

    Args:
      model, features, times, fix, share: as for ``fit``.
      values: N series, [N, T, m], NaN where missing.
      layout: how they came in.

    Returns:
      The :class:`statespace.forecasting.likelihood.Problem` of all series; and why the model cannot
      be estimated from each, in words, empty where it can.

    Raises:
      InputError: it can be estimated from none of the series, or an argument makes no sense. With
        all parameters fixed, every series must determine the model's states.
    """
    fix = fix or {}
    names = feature_names(features, layout)
    features = as_features(features, model, layout, values.shape)
    times = as_times(times, model, values.shape)
    parameterisation = Parameterisation(model.parameters, frozenset(fix))
    fixed = _fixed_values(model, fix, layout, len(values))
    _check_length(model, parameterisation.size, values, layout)
    ssm = _at_start(model, parameterisation, fixed, features, times)
    reasons, scale = why_not_estimable(model, ssm, values, parameterisation.size)
    usable = reasons == ""
    if not usable.any() or (parameterisation.size == 0 and not usable.all()):
        first = int(np.argmin(usable))
        raise InputError(f"{layout.labels()[first]}: {reasons[first]}")
    units = model.units(scale, feature_scale(features, len(values)))
    for name in share:  # one value for all has one unit
        unit = np.exp(np.log(units[name][usable]).mean(axis=0, keepdims=True))
        units[name] = np.broadcast_to(unit, units[name].shape)
    problem = Problem(model, parameterisation, values, units, fixed, features, times, names)
    return problem, reasons


def _at_start(model, parameterisation, fixed, features, times):
    """The model at the middle of its starting values, in units of one, for a look at its states.

    Of values that are fixed differently for each series those of the first must do.
    """
    middle = parameterisation.each("start").reshape(-1, 2).mean(axis=1)
    params = parameterisation.values(middle, {p.name: 1.0 for p in parameterisation.free})
    params |= {name: value[0] for name, value in fixed.items()}
    return model.build(
        params,
        features=None if features is None else features[0] if len(features) == 1 else features,
        times=None if times is None else times[0] if len(times) == 1 else times,
    )


def _fixed_values(model, fix, layout, num_series):
    """Dict from name to the value for each series, [N, *shape]."""
    fixed = {}
    for parameter in model.parameters:
        if parameter.name not in fix:
            continue
        value = as_numbers(fix[parameter.name], f"fix: {parameter.name}")
        per_series = (*getattr(layout, "batch_shape", (num_series,)), *parameter.shape)
        try:
            value = np.broadcast_to(value, per_series)
        except ValueError:
            raise InputError(
                f"fix: {parameter.name} has shape {list(value.shape)}; it must be "
                f"{list(parameter.shape) or 'a number'}, or one for each series, "
                f"{list(per_series)}."
            ) from None
        if not np.isfinite(value).all():
            raise InputError(f"fix: {parameter.name} must be finite; given was {value}.")
        value = value.reshape(num_series, *parameter.shape)
        if reason := parameter.why_not(value):
            raise InputError(f"fix: {parameter.name} {reason}; given was {fix[parameter.name]}.")
        fixed[parameter.name] = value
    return fixed


def _check_arguments(model, method, fix, share, priors, num_starts):
    if method not in METHODS:
        raise InputError(
            f"There is no method {method!r}; there are {', '.join(map(repr, METHODS))}."
        )
    names = [parameter.name for parameter in model.parameters]
    for argument, given in (("fix", fix), ("priors", priors), ("share", share)):
        if argument != "share" and given is not None and not isinstance(given, Mapping):
            raise InputError(f"{argument} is a dict from names of parameters; given was {given!r}.")
        if argument == "share" and (isinstance(given, str) or not isinstance(given, Iterable)):
            raise InputError(f"{argument} is a sequence of names; given was {given!r}.")
        for name in given or ():
            if name not in names:
                raise InputError(
                    f"{argument}: {model!r} has no parameter {name!r}; it has {', '.join(names)}."
                )
    for name in share:
        if name in (fix or {}):
            raise InputError(f"{name} is both fixed and shared; choose one.")
    if priors and method not in _WITH_PRIORS:
        raise InputError(
            f"method {method!r} knows no priors; those that do are "
            f"{', '.join(map(repr, _WITH_PRIORS))}."
        )
    if len(share) and method not in ("mle", "map"):
        raise InputError(f"method {method!r} fits each series alone; share needs 'mle' or 'map'.")
    if not isinstance(num_starts, numbers.Integral) or not 1 <= num_starts <= MOST_CANDIDATES:
        raise InputError(
            f"num_starts is a whole number from 1 to {MOST_CANDIDATES}; given was {num_starts!r}."
        )


def _check_length(model, num_parameters, values, layout):
    """A short last axis is most likely the observed variables of one multivariate series."""
    shape = (*getattr(layout, "batch_shape", ()), values.shape[1])
    needed = len(model.state_names) + num_parameters
    if model.num_observed == 1 and len(shape) > 1 and shape[-1] < needed <= shape[-2]:
        raise InputError(
            f"An array of shape {list(shape)} is read as [..., T]: {len(values)} series of "
            f"{shape[-1]} steps. {model!r} is for one observed variable; to fit each column on its "
            f"own, transpose the array."
        )
