"""Maximum likelihood by expectation-maximisation."""

import functools
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from statespace.forecasting.curvature import values_and_slopes
from statespace.forecasting.em_coefficients import find_coefficients
from statespace.forecasting.em_factors import find_factors
from statespace.forecasting.em_probe import MEANS, NOISES, as_params, probe, refuse
from statespace.forecasting.maximum_likelihood import (
    Estimates,
    best_candidates,
    maximise,
    of_usable,
)
from statespace.models.parameters import Parameterisation

_MOST_CYCLES = 1000  # of two steps and an extrapolation
_TOLERANCE = 1e-9  # relative change of the log-likelihood in a cycle at which it has converged
_ROUNDING = 1e-13  # relative error of a log-likelihood
_MOST_HALVINGS = 30


def expectation_maximisation(problem, bar) -> Estimates:
    """Maximum likelihood by EM, with closed-form steps for coefficients and noise.

    One step of EM maximises the expected log-likelihood of states and observations, first over the
    coefficients, in which it is quadratic (:class:`.em_coefficients.Coefficients`), then over the
    factors of the noise, given the new coefficients (:class:`.em_factors.Factors`). Each of these
    is the value before plus what the score there asks for.

    Where the distribution of the start depends on the parameters, as in a stationary process, no
    maximum has a closed form. The steps then take the covariance of the start as given, but not its
    part in the score, so they vanish at the maximum of the likelihood all the same and lead uphill
    (Lange's gradient algorithm). They are halved where they would leave a parameter's domain or
    lower the likelihood, which so never falls.

    Steps become short long before the maximum, so every two are extrapolated; where that does not
    raise the likelihood, the steps stand. A scale at the boundary is approached without end.

    Args:
      problem: a :class:`statespace.forecasting.likelihood.Problem` of N series.
      bar: told how far things are.

    Returns:
      The :class:`Estimates`. Those that had not converged after 1000 cycles say so.

    Raises:
      InputError: a parameter that is not fixed enters nonlinearly, moves something without noise,
        or does not simply multiply noise.

    References:
      Dempster, A. P., Laird, N. M. and Rubin, D. B. (1977). Maximum likelihood from incomplete data
      via the EM algorithm. Journal of the Royal Statistical Society B 39, 1-38.
      Shumway, R. H. and Stoffer, D. S. (1982). An approach to time series smoothing and forecasting
      using the EM algorithm. Journal of Time Series Analysis 3(4), 253-264.
      Holmes, E. E. (2013). Derivation of an EM algorithm for constrained and unconstrained
      multivariate autoregressive state-space (MARSS) models. arXiv:1302.3919.
      Meng, X.-L. and Rubin, D. B. (1993). Maximum likelihood estimation via the ECM algorithm: a
      general framework. Biometrika 80(2), 267-278.
      Lange, K. (1995). A gradient algorithm locally equivalent to the EM algorithm. Journal of the
      Royal Statistical Society B 57(2), 425-437.
      Varadhan, R. and Roland, C. (2008). Simple and globally convergent methods for accelerating
      the convergence of any EM algorithm. Scandinavian Journal of Statistics 35(2), 335-353.
    """
    if problem.size == 0:
        return maximise(problem, 1, (), bar)
    starts, usable = best_candidates(problem, 1)
    if not usable.all():
        return of_usable(usable, problem, lambda part: expectation_maximisation(part, bar))
    ascent = Ascent(problem)
    now = ascent.at(_from_above(problem, starts[:, 0]), np.arange(len(starts)))
    converged = np.zeros(len(starts), bool)
    try:
        for cycle in range(_MOST_CYCLES):
            active = np.flatnonzero(~converged)
            if len(active) == 0:
                break
            before = now.those(active)
            first = ascent.step(before)
            second = ascent.step(first)
            new = ascent.at(_extrapolated(before.free, first.free, second.free), active)
            new = _where(new.height >= second.height, new, second)
            change = new.height - before.height
            converged[active] = change <= _TOLERANCE * np.maximum(np.abs(new.height), 1.0)
            now = now.updated(active, new)
            bar.to(cycle / _MOST_CYCLES)
    except KeyboardInterrupt:
        pass
    message = np.where(converged, "", "EM was interrupted or ran out of steps").astype(object)
    return Estimates(now.free, now.height, converged, message)


class Points(NamedTuple):
    """One point for each of A series."""

    free: np.ndarray  # [A, p]
    height: np.ndarray  # log-likelihoods [A]
    score: np.ndarray  # d height / d free, [A, p]
    members: np.ndarray  # numbers of the series, [A]

    def those(self, which):
        """Some of the points."""
        return Points(*(x[which] for x in self))

    def updated(self, which, others):
        """The same with other points in some places."""
        new = Points(*(x.copy() for x in self))
        for x, other in zip(new, others, strict=True):
            x[which] = other
        return new


class Ascent:
    """Steps of EM for a problem, each from points to points that are no lower."""

    def __init__(self, problem):
        self.problem = problem
        self.low, self.high = problem.parameterisation.each("limits").T
        found = probe(problem)
        linear = found.moves(MEANS)
        refuse(problem, linear & found.moves(NOISES[:2]), "not only noise depends on {it}")
        refuse(problem, ~linear & ~found.moves(NOISES), "nothing depends on {it}")
        first, last = _span(problem)
        self.coefficients = find_coefficients(problem, found, first, last)
        self.factors = find_factors(problem, found, first, last)
        fixed = frozenset(problem.fixed)
        self.values_of, self.free_of = _coordinates(problem.model.parameters, fixed)

    def at(self, free, members):
        """The points of series with given free coordinates, brought within the limits."""
        free = np.clip(free, self.low, self.high)
        height, score = self.problem.objective(free, members)
        fine = np.isfinite(height) & np.isfinite(score).all(axis=1)
        height, score = np.where(fine, height, -np.inf), np.where(fine[:, np.newaxis], score, 0.0)
        return Points(free, height, score, members)

    def step(self, points):
        """One step of EM: over the coefficients, then over the factors given these."""
        if self.coefficients is not None:
            values, slopes = self._values(points)
            closed = ((points.free <= self.low) & (points.score < 0)) | (
                (points.free >= self.high) & (points.score > 0)
            )
            score = np.where(closed, 0.0, points.score)
            change = self.coefficients.step(self.problem, values, slopes, score, points.members)
            points = self._raised(points, values, change)
        if self.factors:
            values, slopes = self._values(points)
            change = sum(
                factors.step(values, slopes, points.score, points.members)
                for factors in self.factors
            )
            points = self._raised(points, values, change)
        return points

    def _raised(self, points, values, change):
        """Moves points by changes of their values [A, p], halved until none is lowered."""
        for _ in range(_MOST_HALVINGS):
            moved = np.flatnonzero(change.any(axis=1))
            if len(moved) == 0:
                break
            members = points.members[moved]
            units = self._units(members)
            free = self.free_of(values[moved] + change[moved], units).numpy()
            inside = np.isfinite(free).all(axis=1)
            free[~inside] = points.free[moved][~inside]
            trial = self.at(free, members)
            floor = points.height[moved]
            fine = inside & (trial.height >= floor - _ROUNDING * np.abs(floor))
            points = points.updated(moved[fine], trial.those(fine))
            change[moved[fine]] = 0.0
            change /= 2
        return points

    def _values(self, points):
        values, slopes = self.values_of(points.free, self._units(points.members))
        return values.numpy(), slopes.numpy()

    def _units(self, members):
        count = len(self.problem.values)
        return {
            p.name: np.broadcast_to(self.problem.units[p.name], (count, *p.shape))[members]
            for p in self.problem.parameterisation.free
        }


@functools.lru_cache(maxsize=128)
def _coordinates(parameters, fixed):
    """Compiled functions from free coordinates to values and slopes, and from values back."""
    parameterisation = Parameterisation(parameters, fixed)
    size = parameterisation.size

    def values_of(free, units):
        return values_and_slopes(parameterisation, free, units)

    def free_of(values, units):
        return parameterisation.vector(as_params(parameterisation, values), units)

    signature = [
        tf.TensorSpec([None, size], tf.float64),
        {p.name: tf.TensorSpec([None, *p.shape], tf.float64) for p in parameterisation.free},
    ]
    return tuple(
        tf.function(f, input_signature=signature, autograph=False) for f in (values_of, free_of)
    )


def _from_above(problem, free):
    """Starting values with scales that are large: EM is slow to leave small ones."""
    parameterisation = problem.parameterisation
    is_scale = parameterisation.each("boundary") == -np.inf
    return np.where(is_scale, np.maximum(free, parameterisation.each("start")[:, 1]), free)


def _where(which, points, others):
    """The points for which something holds, and others elsewhere."""
    return others.updated(np.flatnonzero(which), points.those(which))


def _span(problem):
    """First and last step of the complete data of each series, [N] and [N].

    What lies beyond the last observed value says nothing, and nor does what lies before the first
    if the model starts anywhere.
    """
    seen = (~np.isnan(problem.values)).any(axis=2)
    first = np.argmax(seen, axis=1) * problem.model.starts_anywhere
    return first, seen.shape[1] - 1 - np.argmax(seen[:, ::-1], axis=1)


def _extrapolated(start, first, second):
    """Where two steps of EM point to (SQUAREM, scheme S3)."""
    change, turn = first - start, second - 2 * first + start
    size = np.linalg.norm(turn, axis=1, keepdims=True)
    stride = np.linalg.norm(change, axis=1, keepdims=True) / np.where(size > 0, size, 1.0)
    stride = np.clip(stride, 1.0, 1e3)  # one is the second of the two steps
    return start + 2 * stride * change + stride**2 * turn
