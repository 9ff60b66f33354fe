"""Expectation-maximisation for the scales of a model's noises."""

import numpy as np

from statespace.forecasting.errors import InputError
from statespace.forecasting.maximum_likelihood import Estimates
from statespace.models.parameters import Scale

_MOST_CYCLES = 1000  # of two steps and an extrapolation
_TOLERANCE = 1e-9  # relative change of the log-likelihood in a cycle at which it has converged


def expectation_maximisation(problem, bar) -> Estimates:
    """Maximum likelihood by EM: each scale becomes what its noise is expected to be.

    A scale s multiplies n independent standard normals e_i of the complete data, so the M-step is
    s^2 <- s^2 mean E[e_i^2 | y]. By Fisher's identity the derivative of the log-likelihood for
    log s is the sum of E[e_i^2 | y] - 1: with the compiled score g for it, the step is
    s^2 <- s^2 (1 + g / n), and no smoother need be run. Steps become short long before the maximum,
    so every two are extrapolated; where that does not raise the likelihood, the steps stand. A
    scale at the boundary is approached without end.

    Args:
      problem: a :class:`statespace.forecasting.likelihood.Problem` of N series.
      bar: told how far things are.

    Returns:
      The :class:`Estimates`. Those that had not converged after 1000 cycles say so.

    Raises:
      InputError: a parameter that is not fixed is no scale, or does not multiply noise.

    References:
      Dempster, A. P., Laird, N. M. and Rubin, D. B. (1977), Journal of the Royal Statistical
      Society B 39, 1-38; Durbin, J. and Koopman, S. J. (2012). Time Series Analysis by State Space
      Methods, 2nd edition, sections 7.3.3 and 7.3.4; for the extrapolation Varadhan, R. and Roland,
      C. (2008), Scandinavian Journal of Statistics 35, 335-353.
    """
    counts = _counts(problem)
    low, high = problem.parameterisation.each("limits").T
    start = problem.parameterisation.each("start").mean(axis=1)
    series = np.arange(len(problem.values))
    free = np.tile(start, (len(series), 1))
    height, score = problem.objective(free, series)
    converged = np.zeros(len(series), bool)

    def step(free, score, members):
        # 1 + g / n is a mean of squares; rounding may take it below zero at the boundary.
        ratio = np.maximum(1 + score / counts[members], 1e-4)
        return np.clip(free + np.log(ratio) / 2, low, high)

    try:
        for cycle in range(_MOST_CYCLES):
            active = np.flatnonzero(~converged)
            if len(active) == 0:
                break
            first = step(free[active], score[active], active)
            second = step(first, problem.objective(first, active)[1], active)
            trial = np.clip(_extrapolated(free[active], first, second), low, high)
            new, slope = problem.objective(trial, active)
            worse = ~(new >= height[active])
            if worse.any():  # the plain steps never are
                trial[worse] = second[worse]
                new[worse], slope[worse] = problem.objective(second[worse], active[worse])
            change = new - height[active]
            converged[active] = change <= _TOLERANCE * np.maximum(np.abs(new), 1.0)
            free[active], height[active], score[active] = trial, new, slope
            bar.to(cycle / _MOST_CYCLES)
    except KeyboardInterrupt:
        pass
    message = np.where(converged, "", "EM was interrupted or ran out of steps").astype(object)
    return Estimates(free, problem.log_likelihood(free, series), converged, message)


def _extrapolated(start, first, second):
    """Where two steps of EM point to (SQUAREM, scheme S3)."""
    change, turn = first - start, second - 2 * first + start
    size = np.linalg.norm(turn, axis=1, keepdims=True)
    stride = np.linalg.norm(change, axis=1, keepdims=True) / np.where(size > 0, size, 1.0)
    stride = np.clip(stride, 1.0, 1e3)  # one is the second of the two steps
    return start + 2 * stride * change + stride**2 * turn


def _counts(problem):
    """How many standard normals each scale multiplies, [N, p]."""
    parameters = problem.parameterisation.free
    for parameter in parameters:
        if not isinstance(parameter, Scale):
            raise InputError(
                f"method 'em' estimates the scales of noises; {parameter.name} is none. Fix it, or "
                f"use method='mle'."
            )
    free = np.zeros((1, problem.size))
    units = {name: np.ones_like(unit[:1]) for name, unit in problem.units.items()}
    base = _noises(problem, free, units)
    columns = []
    for j, label in enumerate(problem.parameterisation.labels):
        moved = free.copy()
        moved[0, j] = np.log(2.0)
        changed = []
        for old, new in zip(base, _noises(problem, moved, units), strict=True):
            grown = np.any(new != old, axis=tuple(range(old.ndim - 1)))
            if not np.allclose(new[..., grown], 2 * old[..., grown], rtol=1e-9, atol=0):
                changed = []
                break
            changed.append(np.count_nonzero(grown))
        if not any(changed):
            raise InputError(
                f"method 'em': {label} does not simply multiply noise of {problem.model!r}. Fix "
                f"it, or use method='mle'."
            )
        columns.append(changed)
    transitions, observations, starts = np.array(columns).T
    observed = ~np.isnan(problem.values)
    steps = problem.values.shape[1]
    # Noise on what is not observed keeps its prior, of which the likelihood knows nothing: of
    # observation noise count one for each observed value.
    share = observed.sum(axis=(1, 2)) / problem.values.shape[2]
    return transitions * (steps - 1.0) + starts + observations * share[:, np.newaxis]


def _noises(problem, free, units):
    """G, C and S_0 of the first series' model at free coordinates [1, p]."""
    import tensorflow as tf

    params = problem.parameterisation.values(
        tf.constant(free[0]), {k: u[0] for k, u in units.items()}
    )
    params |= {name: value[0] for name, value in problem.fixed.items()}
    features, times = (None if x is None else x[0] for x in (problem.features, problem.times))
    ssm = problem.model.build(params, features=features, times=times)
    return [x.numpy() for x in (ssm.transition_scale, ssm.observation_scale, ssm.initial_scale)]
