"""Many small minimisations at once: L-BFGS over a batch, each member with its own convergence."""

from typing import NamedTuple

import numpy as np

_LONGEST_STEP = 3.0  # in any coordinate: a factor of twenty for a scale
_SUFFICIENT = 1e-4  # share of the decrease that the slope promises (Armijo)
_SMALLEST_FRACTION = 1e-9  # of a step, before the line search gives up


class Minimum(NamedTuple):
    """Where R minimisations ended."""

    x: np.ndarray  # [R, p]
    value: np.ndarray  # [R]
    gradient: np.ndarray  # [R, p]
    converged: np.ndarray  # bool [R]


def minimise(
    objective,
    x,
    limits,
    *,
    max_iterations=500,
    gradient_tolerance=1e-7,
    value_tolerance=1e-11,
    value_size=None,
    memory=10,
    progress=None,
) -> Minimum:
    """Minimises R functions of p variables by projected L-BFGS, all in step.

    Each call of the objective evaluates one trial point of every member that has not converged. A
    member converges when its gradient, projected on the box, is small, or when two steps in
    succession no longer lower its value. Interrupting (control-C) ends all where they are.

    Args:
      objective: ``f(points [A, p], members [A]) -> (values [A], gradients [A, p])``; a value that
        is not finite counts as too high.
      x: starting points, [R, p], with finite values.
      limits: lowest and highest value of each coordinate, [2, p].
      max_iterations: number of calls of the objective.
      gradient_tolerance: on the largest element of the gradient.
      value_tolerance: on the decrease, relative to ``value_size``.
      value_size: a number; None: max(|value|, 1), of each member.
      memory: how many pairs of steps and gradient changes the curvature is taken from; where many
        variables depend on each other, more of them save evaluations.
      progress: called after each iteration with the share of members that are done.

    Returns:
      A :class:`Minimum`.

    References:
      Nocedal, J. and Wright, S. J. (2006). Numerical Optimization, 2nd edition, algorithms 7.4,
      7.5 and section 3.1.
    """
    low, high = limits
    x = np.clip(x, low, high)
    members = np.arange(len(x))
    value, gradient = objective(x, members)
    state = _State(x, value, gradient, low, high, memory)
    final = Minimum(x.copy(), value.copy(), gradient.copy(), np.zeros(len(x), bool))

    def retire(done, converged):
        where = members[done]
        final.x[where], final.value[where] = state.x[done], state.value[done]
        final.gradient[where], final.converged[where] = state.gradient[done], converged

    small = state.projected_size() < gradient_tolerance
    try:
        for _ in range(max_iterations):
            done = small | state.stuck
            if done.any():
                retire(done, (small | state.flat)[done])
                state.keep(~done)
                members = members[~done]
                if progress is not None:
                    progress(1 - len(members) / len(x))
            if len(members) == 0:
                break
            trial = np.clip(state.x + state.step[:, np.newaxis] * state.direction, low, high)
            state.advance(trial, *objective(trial, members), value_tolerance, value_size)
            small = state.projected_size() < gradient_tolerance
    except KeyboardInterrupt:
        pass
    if len(members):
        retire(np.ones(len(members), bool), np.zeros(len(members), bool))
    return final


class _State:
    """Where the members that still run are, and what they remember of their way."""

    def __init__(self, x, value, gradient, low, high, memory):
        self.low, self.high = low, high
        self.x, self.value, self.gradient = x, value, gradient
        rows, p = x.shape
        self.steps = np.zeros((rows, memory, p))  # newest first; zero where there is none
        self.changes = np.zeros((rows, memory, p))
        self.curvature = np.zeros((rows, memory))  # 1 / (s' y)
        self.step = np.ones(rows)
        self.flat_steps = np.zeros(rows, int)
        self.failures = np.zeros(rows, int)
        self.stuck = np.zeros(rows, bool)
        self.flat = np.zeros(rows, bool)
        # Where the curvature along a step was negative, how far to go next.
        self.reach = np.full(rows, 0.5)
        self.direction = np.zeros_like(x)
        self._redirect(np.ones(rows, bool))

    def keep(self, which):
        for name, array in vars(self).items():
            if name not in ("low", "high"):
                setattr(self, name, array[which])

    def projected(self, x, gradient):
        outward = ((x <= self.low) & (gradient > 0)) | ((x >= self.high) & (gradient < 0))
        return np.where(outward, 0.0, gradient)

    def projected_size(self):
        return np.abs(self.projected(self.x, self.gradient)).max(axis=1, initial=0.0)

    def advance(self, trial, value, gradient, value_tolerance, value_size):
        """Takes the trial points that are low enough, and shortens the steps to the others."""
        finite = np.isfinite(value) & np.isfinite(gradient).all(axis=1)
        moved = trial - self.x
        promised = (self.gradient * moved).sum(axis=1)
        decrease = self.value - np.where(finite, value, np.inf)
        # Where no more than the last digits are left to gain, these decide nothing.
        rounding = 1e-14 * np.maximum(np.abs(self.value), 1.0)
        accepted = finite & (decrease >= -_SUFFICIENT * promised - rounding)

        rejected = ~accepted
        if rejected.any():
            with np.errstate(invalid="ignore", divide="ignore"):
                # The minimum of the parabola through value, slope and the value tried.
                fraction = -promised / (2 * (-decrease - promised))
            fraction = np.where(np.isfinite(fraction), fraction, 0.1)
            self.step[rejected] *= np.clip(fraction, 0.1, 0.5)[rejected]
            gave_up = rejected & (self.step < _SMALLEST_FRACTION)
            # Once more along the steepest descent, without memory; then no further.
            again = gave_up & (self.failures == 0)
            self.stuck |= gave_up & ~again
            self.failures[again] += 1
            self.curvature[again] = 0.0
            self.reach[again] = 1e-3
            self._redirect(again)
        if accepted.any():
            self._remember(accepted, trial, gradient)
            self.x[accepted] = trial[accepted]
            self.value[accepted] = value[accepted]
            self.gradient[accepted] = gradient[accepted]
            size = np.maximum(np.abs(self.value), 1.0) if value_size is None else value_size
            is_flat = accepted & (decrease <= value_tolerance * size)
            self.flat_steps = np.where(
                is_flat, self.flat_steps + 1, np.where(accepted, 0, self.flat_steps)
            )
            self.failures[accepted & ~is_flat] = 0
            self.flat = self.flat_steps >= 2
            self.stuck |= self.flat
            self._redirect(accepted)

    def _remember(self, accepted, trial, gradient):
        moved = trial - self.x
        # A slope out of the box says nothing of the curvature inside.
        change = self.projected(trial, gradient) - self.projected(self.x, self.gradient)
        product = (moved * change).sum(axis=1)
        curved = product > 1e-10 * np.linalg.norm(moved, axis=1) * np.linalg.norm(change, axis=1)
        useful = accepted & curved
        for memory, new in ((self.steps, moved), (self.changes, change)):
            memory[useful] = np.roll(memory[useful], 1, axis=1)
            memory[useful, 0] = new[useful]
        self.curvature[useful] = np.roll(self.curvature[useful], 1, axis=1)
        self.curvature[useful, 0] = 1 / product[useful]
        downhill = accepted & ~curved  # the function bends down: forget, and stride out
        self.curvature[downhill] = 0.0
        length = np.linalg.norm(moved, axis=1)
        self.reach = np.where(downhill, np.clip(2 * length, 1e-3, _LONGEST_STEP), self.reach)

    def _redirect(self, which):
        """New directions, and full steps along them."""
        gradient = self.projected(self.x, self.gradient)[which]
        steps, changes = self.steps[which], self.changes[which]
        rho = self.curvature[which]
        # The two loops of Nocedal and Wright; pairs that are not there have rho = 0.
        q, weights = gradient.copy(), np.zeros_like(rho)
        for i in range(rho.shape[1]):
            weights[:, i] = rho[:, i] * (steps[:, i] * q).sum(axis=1)
            q -= weights[:, i, np.newaxis] * changes[:, i]
        squares = (changes[:, 0] ** 2).sum(axis=1)
        remembers = rho[:, 0] > 0
        norm = np.linalg.norm(gradient, axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            newton = 1 / (rho[:, 0] * squares)
            first = np.minimum(
                self.reach[which] / norm, np.where(self.reach[which] > 0.5, np.inf, 1.0)
            )
        q *= np.where(remembers, newton, np.where(norm > 0, first, 1.0))[:, np.newaxis]
        for i in reversed(range(rho.shape[1])):
            correction = weights[:, i] - rho[:, i] * (changes[:, i] * q).sum(axis=1)
            q += correction[:, np.newaxis] * steps[:, i]
        direction = -np.where(gradient == 0, 0.0, q)
        uphill = (direction * gradient).sum(axis=1) >= 0
        direction[uphill] = -gradient[uphill]
        largest = np.abs(direction).max(axis=1, initial=0.0)
        direction *= np.minimum(1.0, _LONGEST_STEP / np.maximum(largest, 1e-300))[:, np.newaxis]
        self.direction[which] = direction
        self.step[which] = 1.0
