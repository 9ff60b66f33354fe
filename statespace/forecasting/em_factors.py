"""EM's step for the factors of a model's noise: scales, and Cholesky factors of covariances."""

from typing import NamedTuple

import numpy as np

from statespace.forecasting.em_probe import MEANS, NOISES, matrices_at, refuse
from statespace.models.parameters import LowerTriangle

_ROUNDING = 1e-9  # relative difference of columns that are equal
_SMALLEST = 1e-4  # mean square of noise in a step, of which rounding may leave less than nothing


class Factors(NamedTuple):
    """A parameter that is f lower-triangular factors L, [k, k], of standard normal noise.

    The complete data are vectors L e, e ~ N(0, I), so the M-step makes L L' the mean of
    E[L e e' L' | y]. By Fisher's identity the derivative of the log-likelihood for L, times L' from
    the left, has the lower triangle of W = sum (E[e e' | y] - I): the step for n vectors is
    L <- L chol(I + W / n), for a scale s^2 <- s^2 (1 + W / n), and no smoother need be run.
    """

    places: np.ndarray  # of each factor's elements among all coordinates, row by row, [f, k(k+1)/2]
    size: int  # k; one for scales
    counts: np.ndarray  # how many vectors each multiplies in each series, [N, f]

    def step(self, values, slopes, score, members) -> np.ndarray:
        """What the M-step adds to the values.

        Args:
          values: [A, p].
          slopes: d value / d free coordinate, [A, p, p].
          score: d log-likelihood / d free coordinate, [A, p].
          members: the numbers of the A series.

        Returns:
          Array [A, p], zero for all other coordinates.
        """
        gradient = score / np.diagonal(slopes, axis1=1, axis2=2)
        factor, gradient = (_triangles(x[:, self.places], self.size) for x in (values, gradient))
        half = np.tril(np.swapaxes(factor, -2, -1) @ gradient)
        surplus = half + np.swapaxes(np.tril(half, -1), -2, -1)
        mean = np.eye(self.size) + surplus / self.counts[members][..., np.newaxis, np.newaxis]
        squares, axes = np.linalg.eigh(mean)
        mean = (axes * np.maximum(squares, _SMALLEST)[..., np.newaxis, :]) @ np.swapaxes(
            axes, -2, -1
        )
        change = factor @ np.linalg.cholesky(mean) - factor
        result = np.zeros_like(values)
        result[:, self.places] = change[(..., *np.tril_indices(self.size))]
        return result


def find_factors(problem, probe, first, last) -> tuple[Factors, ...]:
    """The factors among a problem's parameters, from what these do to the noise of its model.

    Args:
      problem: of N series.
      probe: its :class:`statespace.forecasting.em_probe.Probe`.
      first, last: the steps between which the complete data of each series are, [N].

    Raises:
      InputError: a parameter moves noise in another way.
    """
    found = []
    observed = ~np.isnan(problem.values)
    noise = ~probe.moves(MEANS)
    for parameter, places in problem.parameterisation.places():
        own = np.arange(problem.size)[places][noise[places]]
        size = parameter.dims[0] if isinstance(parameter, LowerTriangle) else 1
        if size * (size + 1) // 2 != len(own):
            size = 1  # numbers, each a factor of its own
        places = own.reshape(-1, size * (size + 1) // 2)
        counts = np.zeros((len(observed), len(places)))
        for number, own in enumerate(places):
            transition, observation, start = _blocks(probe, own, size)
            if (
                transition is None
                or observation is None
                or not (transition or observation or start)
            ):
                refuse(problem, own, "{it} does more than multiply noise")
            counts[:, number] = len(transition) * (last - first) + len(start or ())
            for block in observation or ():
                rows = (probe.matrices["observation_scale"][..., block] != 0).any(axis=(0, 1, 3))
                counts[:, number] += observed[..., rows].any(axis=2).sum(axis=1)
        found.append(Factors(places, size, np.maximum(counts, 1.0)))
    return tuple(found)


def _blocks(probe, places, size):
    """Columns of G, C and S_0 that a factor multiplies; None where it does anything else.

    So of a stationary start: it depends on all noise, and the step takes it as given.
    """
    moved = probe.values.copy()
    moved[:, places] = probe.others[:, places]
    matrices = matrices_at(probe.part, moved[np.newaxis])
    ratio = np.linalg.solve(*(_triangles(x[:, places], size) for x in (probe.values, moved)))
    blocks = []
    for name in NOISES:
        old, new = probe.matrices[name], matrices[name][0]
        columns = np.flatnonzero(probe.slopes[name][places].any(axis=(0, 1, 2, 3)))
        if len(columns) % size:
            blocks.append(None)
            continue
        own = columns.reshape(-1, size)
        expected = old.copy()
        for block in own:
            expected[..., block] = old[..., block] @ ratio[:, np.newaxis]
        tolerance = _ROUNDING * np.abs(new).max(initial=0.0)
        same = np.allclose(new, expected, rtol=_ROUNDING, atol=tolerance)
        blocks.append(list(own) if same else None)
    return blocks


def _triangles(elements, size):
    """Lower-triangular matrices ``[..., k, k]`` of elements ``[..., k (k + 1) / 2]``."""
    matrices = np.zeros((*elements.shape[:-1], size, size))
    matrices[(..., *np.tril_indices(size))] = elements
    return matrices
