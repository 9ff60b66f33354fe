"""Maximum likelihood for structural models."""

import numbers
from typing import NamedTuple

import numpy as np

from statespace.forecasting.data import as_batch
from statespace.forecasting.errors import InputError
from statespace.forecasting.likelihood import DiffuseLikelihood
from statespace.forecasting.results import FitResult
from statespace.forecasting.standardise import scale_for_fitting

_NUM_CANDIDATES = 32  # starting values that are tried before the optimiser is run from the best
_HESSIAN_STEP = 1e-4  # in free coordinates, where every variance varies on the same scale
_SMALL_GRADIENT = 1e-4  # of the log-likelihood per observation, in free coordinates
_LARGEST_POLISH = 1e-2  # a longer Newton step means that the optimiser stopped elsewhere
_ROUNDING = 1e-13  # relative error of a log-likelihood
_BOUNDARY_TOLERANCE = 1e-6  # in log-likelihood


class Estimate(NamedTuple):
    """What was estimated from one series, in standardised units."""

    values: np.ndarray  # [p], exactly zero at the boundary
    standard_errors: np.ndarray  # [p], NaN at the boundary
    log_likelihood: float
    converged: bool
    message: str


def fit(model, y, method="mle", features=None, *, num_starts=3, verbose=1) -> FitResult:
    """Estimates the variances of a structural model by maximum (diffuse) likelihood.

    The negative log-likelihood is minimised over the logarithms of the variances by L-BFGS-B on
    the compiled gradient. It may have several local optima, so 32 starting values, spread evenly
    and always the same, are evaluated in one call and the optimiser is run from the best of them.
    A variance that the data would as soon have at zero is set to exactly zero.

    Args:
      model: a :class:`statespace.models.Model`.
      y: array [T], [..., T] or [..., T, 1]; pandas Series; or DataFrame with one series a column.
        NaN is missing, and so are the gaps in a pandas index of dates, periods or whole numbers.
        Each series is fitted on its own.
      method: "mle".
      features: must be None until the Regression component exists.
      num_starts: how many starting values the optimiser is run from, 1 to 32.
      verbose: 0 is silent; 1 shows a progress bar on anything over two seconds.

    Returns:
      A :class:`statespace.forecasting.results.FitResult`.

    Raises:
      InputError: the data cannot be used (not numbers, infinite, all missing, constant, too few,
        irregular dates, ...) or an argument makes no sense; it is a ValueError.

    References:
      Durbin, J. and Koopman, S. J. (2012). Time Series Analysis by State Space Methods,
      2nd edition, section 7.3.

    Example:
      >>> import statespace as ss
      >>> result = ss.models.LocalLevel().fit(ss.datasets.nile())
      >>> round(result.log_likelihood, 4)
      -633.4646
    """
    _check_arguments(method, features, num_starts)
    values, layout = as_batch(y)
    _check_length(model, values, layout)
    labels = layout.labels()
    scale = np.array(
        [scale_for_fitting(model, row, name) for row, name in zip(values, labels, strict=True)]
    )
    likelihood = DiffuseLikelihood(model)
    with _progress(len(values) * num_starts, verbose) as bar:
        estimates = [
            _fit_one(likelihood, row, num_starts, name, bar)
            for row, name in zip(values / scale[:, np.newaxis], labels, strict=True)
        ]
    return FitResult(
        model=model,
        values=values,
        layout=layout,
        scale=scale,
        estimates=Estimate(*(np.stack(field) for field in zip(*estimates, strict=True))),
    )


def _fit_one(likelihood, y, num_starts, label, bar) -> Estimate:
    """Fits one standardised series [T]."""
    parameters = likelihood.model.parameters
    candidates = _candidates(parameters)
    heights = likelihood.value(candidates, y)
    usable = np.isfinite(heights)
    if not usable.any():
        raise InputError(
            f"{label}: the likelihood of {likelihood.model!r} cannot be evaluated at any starting "
            f"value. Look for values that are out of all proportion to the others."
        )
    best_first = np.argsort(np.where(usable, -heights, np.inf))[:num_starts]
    runs = []
    for start in candidates[best_first]:
        runs.append(_maximise(likelihood, start, y))
        bar.update()
    best = min(runs, key=lambda run: run.fun)
    free = _to_boundary(likelihood, best.x, y)
    free = _polish(likelihood, free, y)
    [log_likelihood] = likelihood.value(free[np.newaxis], y)
    return Estimate(
        values=_values(parameters, free),
        standard_errors=_standard_errors(likelihood, free, y),
        log_likelihood=float(log_likelihood),
        # Success, or a line search that failed because no digit of the value is left to gain.
        converged=bool(best.success or np.abs(best.jac).max() < _SMALL_GRADIENT),
        message=str(best.message),
    )


def _candidates(parameters):
    """Starting values spread evenly over the parameters' ranges, free coordinates [S, p]."""
    from scipy.stats import qmc

    low, high = np.transpose([parameter.start_range for parameter in parameters])
    points = qmc.Sobol(len(parameters), scramble=False).random(_NUM_CANDIDATES)
    return low + (high - low) * points


def _maximise(likelihood, start, y):
    """Runs L-BFGS-B; the objective is per observation so that its size hardly depends on T."""
    from scipy import optimize

    count = np.count_nonzero(~np.isnan(y))

    def objective(free):
        value, gradient = likelihood.value_and_gradient(free[np.newaxis], y)
        if not (np.isfinite(value[0]) and np.isfinite(gradient).all()):
            return 1e10, np.zeros_like(free)  # the line search turns back from here
        return -value[0] / count, -gradient[0] / count

    return optimize.minimize(
        objective,
        start,
        jac=True,
        method="L-BFGS-B",
        bounds=[parameter.free_bounds for parameter in likelihood.model.parameters],
        options={"ftol": 1e-12, "gtol": 1e-8, "maxiter": 500},
    )


def _to_boundary(likelihood, free, y):
    """Moves variances to zero, the smallest first, while the likelihood is none the worse for it.

    Towards zero the likelihood is flat in the logarithm, so where the optimiser stops on that
    plain says nothing. At the boundary the free coordinate is minus infinity.
    """
    [height] = likelihood.value(free[np.newaxis], y)
    for which in np.argsort(free)[:-1]:  # not all of them: something must be random
        trial = np.where(np.arange(len(free)) == which, -np.inf, free)
        [trial_height] = likelihood.value(trial[np.newaxis], y)
        if trial_height >= height - _BOUNDARY_TOLERANCE:
            free, height = trial, trial_height
    return free


def _polish(likelihood, free, y):
    """One Newton step in the coordinates off the boundary, if it is small and does no harm.

    L-BFGS-B stops where the *value* no longer changes in floating point, which leaves the
    parameters half of its digits; the gradient still has all of its own.
    """
    inside, gradient, information = _curvature(likelihood, free, y)
    if information is None:
        return free
    step = np.linalg.solve(information, gradient)
    if np.abs(step).max() > _LARGEST_POLISH:
        return free
    trial = free.copy()
    trial[inside] += step
    before, after = likelihood.value(np.stack([free, trial]), y)
    return trial if after >= before - _ROUNDING * abs(before) else free


def _standard_errors(likelihood, free, y):
    """Standard errors of the values [p], by the delta method; NaN at the boundary."""
    parameters = likelihood.model.parameters
    errors = np.full(len(parameters), np.nan)
    inside, _, information = _curvature(likelihood, free, y)
    if information is not None:
        deviations = np.sqrt(np.diag(np.linalg.inv(information)))
        values = _values(parameters, free)
        slopes = [p.derivative(value) for p, value in zip(parameters, values, strict=True)]
        errors[inside] = np.array(slopes)[inside] * deviations
    return errors


def _curvature(likelihood, free, y):
    """Gradient and observed information of the log-likelihood, by central differences.

    The information is minus the Hessian: differences of the analytic gradient, all in one call.

    Returns:
      The numbers of the q coordinates that are not at the boundary, the gradient [q] and the
      information [q, q] in them; None for the latter where it is not positive definite.
    """
    inside = np.flatnonzero(np.isfinite(free))
    # The gradient at zero variance is not a number; next to zero it is flat all the same.
    lowest = [parameter.free_bounds[0] for parameter in likelihood.model.parameters]
    centre = np.maximum(free, lowest)
    steps = _HESSIAN_STEP * np.eye(len(free))[inside]
    points = np.concatenate([centre + steps, centre - steps])
    _, gradients = likelihood.value_and_gradient(points, y)
    gradients = gradients[:, inside]
    forward, backward = np.split(gradients, 2)
    hessian = (forward - backward) / (2 * _HESSIAN_STEP)
    information = -(hessian + hessian.T) / 2
    if not np.isfinite(information).all() or np.linalg.eigvalsh(information).min() <= 0:
        information = None
    return inside, gradients.mean(axis=0), information


def _values(parameters, free):
    """The parameters' values [p] at free coordinates [p]."""
    return np.array([float(p.constrain(u)) for p, u in zip(parameters, free, strict=True)])


def _check_arguments(method, features, num_starts):
    if method != "mle":
        raise InputError(f"There is no method {method!r}; this version fits by 'mle'.")
    if features is not None:
        raise InputError(
            "features needs a Regression component, which this version does not have yet. Fit the "
            "series without it: features=None."
        )
    if not isinstance(num_starts, numbers.Integral) or not 1 <= num_starts <= _NUM_CANDIDATES:
        raise InputError(
            f"num_starts is a whole number from 1 to {_NUM_CANDIDATES}; given was {num_starts!r}."
        )


def _check_length(model, values, layout):
    """A short last axis is most likely the observed variables of one multivariate series."""
    shape = (*getattr(layout, "batch_shape", ()), values.shape[1])
    needed = len(model.state_names) + len(model.parameters)
    if len(shape) > 1 and shape[-1] < needed <= shape[-2]:
        raise InputError(
            f"An array of shape {list(shape)} is read as [..., T]: {len(values)} series of "
            f"{shape[-1]} steps. Series of {shape[-1]} variables observed together are not "
            f"supported; to fit each on its own, transpose the array."
        )


def _progress(total, verbose):
    """A bar that appears after two seconds, or one that never does."""
    try:
        from tqdm.auto import tqdm
    except ImportError:
        return _NoBar()
    return tqdm(total=total, desc="Fitting", delay=2, disable=not verbose, leave=False)


class _NoBar:
    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def update(self):
        pass
