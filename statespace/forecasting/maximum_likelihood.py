"""Maximum likelihood, and maximum posterior density, for a batch of series at once."""

from typing import NamedTuple

import numpy as np

from statespace.forecasting.curvature import informations, within_limits
from statespace.optimise import minimise

MOST_CANDIDATES = 32  # starting values that are tried before the optimiser is run from the best
_SMALL_GRADIENT = 1e-4  # of the log-likelihood per observation, in free coordinates
_LARGEST_POLISH = 1e-2  # a longer Newton step means that the optimiser stopped elsewhere
_ROUNDING = 1e-13  # relative error of a log-likelihood
_BOUNDARY_TOLERANCE = 1e-6  # in log-likelihood
_NOWHERE = (
    "the likelihood cannot be evaluated at any starting value. Look for values that are out of all "
    "proportion to the others, or for fixed parameters at the end of their range."
)


class Estimates(NamedTuple):
    """What was estimated from N series."""

    free: np.ndarray  # free coordinates [N, p]; -inf at a boundary
    log_likelihood: np.ndarray  # [N], without priors
    converged: np.ndarray  # bool [N]
    message: np.ndarray  # [N], empty where converged

    def among(self, reasons) -> "Estimates":
        """Estimates of all series, from those of the ones without a reason to skip them.

        Args:
          reasons: why each of the series was skipped; N of them are empty.

        Returns:
          NaN for those that were skipped, with the reason for a message.
        """
        used = reasons == ""
        free = np.full((len(used), self.free.shape[1]), np.nan)
        log_likelihood, converged = np.full(len(used), np.nan), np.zeros(len(used), bool)
        message = reasons.copy()
        for whole, part in zip((free, log_likelihood, converged, message), self, strict=True):
            whole[used] = part
        return Estimates(free, log_likelihood, converged, message)


def maximise(problem, num_starts, share, bar) -> Estimates:
    """Maximises each series' likelihood, or with shared parameters that of all together.

    Args:
      problem: a :class:`statespace.forecasting.likelihood.Problem` of N series.
      num_starts: how many starting values the optimiser is run from.
      share: names of parameters with one value for all series.
      bar: told how far things are.

    Returns:
      The :class:`Estimates`.
    """
    series = np.arange(len(problem.values))
    if problem.size == 0:
        free = np.empty((len(series), 0))
        value = problem.log_likelihood(free, series)
        done = np.ones(len(series), bool)
        return Estimates(free, value, done, np.full(len(series), "", object))
    starts, usable = best_candidates(problem, num_starts)
    if not usable.all():
        return of_usable(usable, problem, lambda part: maximise(part, num_starts, share, bar))
    count = starts.shape[1]
    found = _run(problem, starts.reshape(-1, problem.size), np.repeat(series, count), bar)
    best = np.argmin(found.value.reshape(-1, count), axis=1) + series * count
    free, gradient = found.x[best], found.gradient[best]
    if share:
        free, gradient = _together(problem, free, share, bar)
    fine = _is_small(problem, free, gradient)
    if problem.priors is None and not share:
        free = _to_boundary(problem, free)
    if not share:
        free = _polish(problem, free)
        _, gradient = problem.objective(free, series)
        fine |= _is_small(problem, free, gradient / problem.num_observed[:, np.newaxis])
    message = np.where(fine, "", "it was interrupted or ran out of steps").astype(object)
    return Estimates(free, problem.log_likelihood(free, series), fine, message)


def of_usable(usable, problem, method) -> Estimates:
    """Estimates of the series whose likelihood can be evaluated; the others are told why not.

    Args:
      usable: which these are, bool [N].
      problem: of N series.
      method: from the problem of some of the series to their estimates.
    """
    reasons = np.where(usable, "", _NOWHERE).astype(object)
    if usable.any():
        return method(problem.selected(usable)).among(reasons)
    none = np.empty(0, bool)
    return Estimates(np.empty((0, problem.size)), np.empty(0), none, none).among(reasons)


def _is_small(problem, free, gradient):
    """Whether a gradient per observation is zero but for directions that are closed, bool [N]."""
    low, high = problem.parameterisation.each("limits").T
    closed = (free <= low) | (free >= high)  # where the optimiser would not have stopped inside
    return (np.where(closed, 0.0, np.abs(gradient)) < _SMALL_GRADIENT).all(axis=1)


def _limits(problem):
    return problem.parameterisation.each("limits").T


def best_candidates(problem, num_starts):
    """The best of starting values spread evenly over the parameters' ranges.

    A model that can guess at its parameters from the data adds that to them. It takes the place of
    none, if there are several: one more is returned.

    Returns:
      Starting values [N, S, p], the best first, and whether a series' likelihood can be evaluated
      at any, [N].
    """
    from scipy.stats import qmc

    low, high = problem.parameterisation.each("start").T
    points = qmc.Sobol(problem.size, scramble=False).random(MOST_CANDIDATES)
    count = len(problem.values)
    candidates = np.tile(low + (high - low) * points, (count, 1, 1))
    guess = problem.model.start(problem.values, problem.units, problem.features)
    if guess is not None:
        own = problem.parameterisation.vector(guess, problem.units).numpy()
        own = np.clip(own, *_limits(problem))[:, np.newaxis]
        candidates = np.concatenate([own, candidates], axis=1)
        num_starts += num_starts > 1
    heights = problem.log_likelihood(
        candidates.reshape(-1, problem.size), np.repeat(np.arange(count), candidates.shape[1])
    ).reshape(count, -1)
    heights = np.where(np.isfinite(heights), heights, -np.inf)
    best = np.argsort(-heights, axis=1)[:, :num_starts]
    starts = np.take_along_axis(candidates, best[..., np.newaxis], axis=1)
    return starts, ~np.isneginf(heights).all(axis=1)


def _run(problem, starts, series, bar):
    """L-BFGS; the objective is per observation, so that its size hardly depends on T."""
    count = problem.num_observed[series]

    def objective(free, members):
        value, gradient = problem.objective(free, series[members])
        return -value / count[members], -gradient / count[members, np.newaxis]

    return minimise(objective, starts, _limits(problem), progress=bar.to)


def _together(problem, free, share, bar):
    """Maximises the sum of all log-likelihoods, with some coordinates common to all series.

    Returns:
      Free coordinates [N, p], and the gradient of each series' share in the objective with that of
      the common coordinates summed up.
    """
    common = np.isin(problem.parameterisation.each("name"), list(share))
    series, own = np.arange(len(free)), ~common
    count = problem.num_observed.sum()

    def unpack(x):
        whole = np.empty_like(free)
        whole[:, common] = x[: common.sum()]
        whole[:, own] = x[common.sum() :].reshape(len(free), -1)
        return whole

    def pack(whole, shared):
        return np.concatenate([shared, whole[:, own].ravel()])

    def objective(points, members):
        value, gradient = problem.objective(unpack(points[0]), series)
        total = pack(gradient, gradient[:, common].sum(axis=0))
        return -np.array([value.sum()]) / count, -total[np.newaxis] / count

    limits = [pack(np.tile(bound, (len(free), 1)), bound[common]) for bound in _limits(problem)]
    start = pack(free, np.median(free[:, common], axis=0))
    found = minimise(objective, start[np.newaxis], np.array(limits), progress=bar.to)
    return unpack(found.x[0]), unpack(found.gradient[0])


def _to_boundary(problem, free):
    """Moves scales to zero, the smallest first, while the likelihood is none the worse for it.

    Towards zero the likelihood is flat in the logarithm, so where the optimiser stops on that
    plain says nothing. At the boundary the free coordinate is minus infinity.
    """
    boundary = problem.parameterisation.each("boundary")
    can_move = np.array([b is not None for b in boundary]) & (
        problem.parameterisation.each("power") == 1
    )
    series, free = np.arange(len(free)), free.copy()
    height = problem.log_likelihood(free, series)
    order = np.argsort(np.where(can_move, free, np.inf), axis=1)
    last = can_move.sum() - (can_move.all() and not problem.fixed)  # something must be random
    for column in order[:, :last].T:
        trial = free.copy()
        trial[series, column] = -np.inf
        trial_height = problem.log_likelihood(trial, series)
        better = trial_height >= height - _BOUNDARY_TOLERANCE
        free = np.where(better[:, np.newaxis], trial, free)
        height = np.where(better, trial_height, height)
    return free


def _polish(problem, free):
    """One Newton step in the coordinates off the boundary, where it is small and does no harm.

    L-BFGS stops where the *value* no longer changes in floating point, which leaves the
    parameters half of its digits; the gradient still has all of its own.
    """
    series = np.arange(len(free))
    before, gradient = problem.objective(free, series)
    information = informations(problem, free)
    inside = within_limits(problem, free)
    usable = np.isfinite(information).all(axis=(1, 2))
    step = np.zeros_like(free)
    if usable.any():
        step[usable] = np.linalg.solve(
            information[usable], np.where(inside, gradient, 0.0)[usable][..., np.newaxis]
        )[..., 0]
    low, high = _limits(problem)
    step = np.where(inside & (np.abs(step).max(axis=1) <= _LARGEST_POLISH)[:, np.newaxis], step, 0)
    trial = np.where(inside, np.clip(free + step, low, high), free)
    after, _ = problem.objective(trial, series)
    better = after >= before - _ROUNDING * np.abs(before)
    return np.where(better[:, np.newaxis], trial, free)
