"""EM's step for coefficients: loadings, transitions, means, and whatever else is linear."""

import functools
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from statespace.forecasting.em_probe import MEANS, NOISES, as_params, refuse, with_axes
from statespace.forecasting.likelihood import signature, signature_of_known
from statespace.forecasting.parts import NUMBERS_AT_ONCE, some_of
from statespace.kalman.smoother import kalman_smoother
from statespace.ssm import PARAMETERS, LinearGaussianSSM

_ROUNDING = 1e-9  # relative size of a singular value that is zero
_SINGULAR = 1e-12  # share of a curvature's largest eigenvalue


class Equation(NamedTuple):
    """How q coefficients move what some rows of an equation predict, linear in z."""

    rows: np.ndarray  # [a], each with noise of its own
    slopes: np.ndarray  # d (predicted rows) / d (coefficient, z), [N or 1, T or 1, q, a, c]


@dataclass(frozen=True, eq=False)
class Coefficients:
    """Coordinates whose values F, b, H, d and m_0 are linear in.

    Given complete data, the states x and the observations, the log-likelihood is quadratic in them:
    the M-step adds K^-1 g to their values, where -K is the expected second derivative

        K_ij = sum_t tr(D_i' Q^-1 D_j E[z_t z_t' | y]),    D_i = d (F_t z_t) / d (coefficient i),

    and likewise for the observations, and g is the derivative at the values before, which by
    Fisher's identity is the log-likelihood's own. Without restrictions that is F = S_10 S_00^-1;
    what a model fixes, shares or repeats is in the D_i.

    In z = (x_t, x_{t-1}, ..., x_{t-L}, 1) is the past where a coefficient moves a row of F that
    has no noise, if that row carries it to one that has: a companion form.

    Attributes:
      places: among all coordinates, [q].
      lags: L.
      transition, observation, start: the equations; for the start z = 1.
      first, last: the steps between which the complete data of each series are, [N].
    """

    places: np.ndarray
    lags: int
    transition: Equation
    observation: Equation
    start: Equation
    first: np.ndarray
    last: np.ndarray

    def step(self, problem, values, slopes, score, members) -> np.ndarray:
        """What the M-step adds to the values.

        Args:
          problem: of N series.
          values: of A of them, [A, p].
          slopes: d value / d free coordinate, [A, p, p].
          score: d log-likelihood / d free coordinate, zero for what is not to move, [A, p].
          members: the numbers of the A series.

        Returns:
          Array [A, p], zero for all other coordinates.
        """
        slopes = slopes[:, self.places][:, :, self.places]
        score = score[:, self.places]
        moves = score != 0
        curvature = np.swapaxes(slopes, 1, 2) @ self.information(problem, values, members) @ slopes
        curvature *= moves[:, :, np.newaxis] & moves[:, np.newaxis]
        curvature[~np.isfinite(curvature).all(axis=(1, 2))] = 0.0  # then nothing moves
        size = np.sqrt(np.diagonal(curvature, axis1=1, axis2=2))
        size = np.where(size > 0, size, 1.0)
        curvature /= size[:, :, np.newaxis] * size[:, np.newaxis]
        inverse = np.linalg.pinv(curvature, rcond=_SINGULAR, hermitian=True)
        change = (inverse @ (score / size)[..., np.newaxis]) / size[..., np.newaxis]
        result = np.zeros_like(values)
        result[:, self.places] = (slopes @ change)[..., 0]
        return result

    def information(self, problem, values, members) -> np.ndarray:
        """K at values [A, p] for the series with given numbers: [A, q, q]."""
        states = len(problem.model.state_names) * (self.lags + 1)
        at_once = max(1, NUMBERS_AT_ONCE // (4 * problem.values.shape[1] * (states + 1) ** 2))
        parts = [
            self._information(problem, values[part], members[part])
            for part in (slice(i, i + at_once) for i in range(0, len(members), at_once))
        ]
        return np.concatenate(parts)

    def _information(self, problem, values, members):
        part = problem.selected(members)
        moments, scales = _expectation(part, values, self.lags)
        steps = np.arange(moments.shape[1])
        inside = steps >= self.first[members, np.newaxis]
        inside &= steps < self.last[members, np.newaxis]
        observed = ~np.isnan(part.values)
        one = np.ones((1, 1, 1, 1))
        return (
            _curvature(
                _of(self.transition, members),
                _without_last(scales["transition_scale"]),
                (moments * inside[..., np.newaxis, np.newaxis])[:, :-1],
            )
            + _curvature(
                _of(self.observation, members), scales["observation_scale"], moments, observed
            )
            + _curvature(_of(self.start, members), scales["initial_scale"], one)
        )


def find_coefficients(problem, probe, first, last) -> Coefficients | None:
    """The coefficients among a problem's parameters, from what these do to its model's matrices.

    Args:
      problem: of N series.
      probe: its :class:`statespace.forecasting.em_probe.Probe`.
      first, last: the steps between which the complete data of each series are, [N].

    Returns:
      The :class:`Coefficients`, or None for none.

    Raises:
      InputError: a coefficient enters nonlinearly, or moves what has no noise.
    """
    places = np.flatnonzero(probe.moves(MEANS))
    if len(places) == 0:
        return None
    refuse(problem, probe.curved, "the model is not linear in {it}")
    noise = [probe.matrices[name] for name in NOISES]
    transition = _beside(probe, "transition_matrix", "transition_offset", places)
    transition, lags = _carried(problem, probe, transition, places)
    observation = _beside(probe, "observation_matrix", "observation_offset", places)
    past = np.zeros((*observation.shape[:-1], lags * len(problem.model.state_names)))
    observation = np.concatenate([observation[..., :-1], past, observation[..., -1:]], axis=-1)
    start = np.moveaxis(probe.slopes["initial_mean"][places], 0, 2)[..., np.newaxis]
    names = problem.model.state_names
    rows = [f"observed variable {i + 1}" for i in range(problem.model.num_observed)]
    return Coefficients(
        places,
        lags,
        *(
            _equation(problem, places, slopes, scale, what)
            for slopes, scale, what in zip(
                (transition, observation, start),
                (_without_last(noise[0]), *noise[1:]),
                (names, rows, [f"the start of {name}" for name in names]),
                strict=True,
            )
        ),
        first,
        last,
    )


def _beside(probe, matrix, offset, places):
    """Slopes of a matrix and, as its last column, of the offset: [N, T, q, rows, columns + 1]."""
    parts = probe.slopes[matrix][places], probe.slopes[offset][places][..., np.newaxis]
    shape = np.broadcast_shapes(*(x.shape[:-1] for x in parts))
    whole = [np.broadcast_to(x, (*shape, x.shape[-1])) for x in parts]
    return np.moveaxis(np.concatenate(whole, axis=-1), 0, 2)


def _without_last(x):
    """Without the step that leads beyond the data, where there is one for each; [N, T, ...]."""
    return x[:, :-1] if x.shape[1] > 1 else x


def _noisy(scale):
    """Which rows have noise in all series at all steps, bool [rows]."""
    return (scale != 0).any(axis=3).all(axis=(0, 1))


def _equation(problem, places, slopes, scale, names):
    """Slopes on the rows that have noise; refuses coefficients that move others."""
    noisy = _noisy(scale)
    moved = slopes.any(axis=(0, 1, 4))  # [q, rows]
    for row in np.flatnonzero(~noisy & moved.any(axis=0)):
        refuse(problem, places[moved[:, row]], f"{names[row]} depends on {{it}} and has no noise")
    if not moved.any():
        noisy[:] = False
    rows = np.flatnonzero(noisy)
    own = scale[:, :, rows]
    own = own / np.linalg.norm(own, axis=3, keepdims=True)
    if len(rows) and (np.linalg.matrix_rank(own, tol=_ROUNDING) < len(rows)).any():
        refuse(problem, places[moved.any(axis=1)], "what depends on {it} shares its noise")
    return Equation(rows, slopes[:, :, :, rows])


def _carried(problem, probe, slopes, places):
    """Slopes of the noisy rows of F for z with as many lags L as are needed, and L.

    Given the path of the rows with noise, the others follow. With N the projection on these,
    coefficient i moves them by N D_i x_{t-s} at t - s + 1, and what is predicted of x_{t+1} by
    (F N)^s D_i x_{t-s}.
    """
    scale = _without_last(probe.matrices["transition_scale"])
    matrix = _without_last(probe.matrices["transition_matrix"])
    slopes = _without_last(slopes)
    quiet = ~_noisy(scale)
    if not slopes[:, :, :, quiet].any():
        return slopes, 0
    if slopes.shape[1] > 1 or matrix.shape[1] > 1 or slopes[:, :, :, quiet, -1].any():
        return slopes, 0  # to be refused for the rows
    parts = [slopes[..., :-1]]
    while parts[-1][:, :, :, quiet].any() and len(parts) <= len(quiet):
        past = np.abs(parts[-1][:, :, :, quiet]).sum(axis=2)
        if (np.abs(slopes[..., :-1][..., quiet]).sum(axis=2) @ past).any():
            own = places[slopes[:, :, :, quiet].any(axis=(0, 1, 3, 4))]
            refuse(problem, own, "by way of states without noise the model is not linear in {it}")
        parts.append((matrix * quiet)[:, :, np.newaxis] @ parts[-1])
    if parts[-1][:, :, :, quiet].any():
        return slopes, 0
    whole = np.concatenate([*parts, slopes[..., -1:]], axis=-1)
    whole[:, :, :, quiet] = 0.0
    return whole, len(parts) - 1


def _of(equation, members):
    """An equation of the series with given numbers."""
    return equation._replace(slopes=some_of(equation.slopes, members))


def _curvature(equation, scale, moments, observed=None):
    """sum_t tr(D_i' Q^-1 D_j E[z z']), [A, q, q], Q restricted to what is observed.

    Args:
      equation: of A series.
      scale: of the noise, [A or 1, T or 1, rows, k].
      moments: E[z z'], [A, T, c, c].
      observed: bool [A, T, rows]; None: all.
    """
    rows, slopes = equation
    if len(rows) == 0:
        return 0.0
    scale = scale[:, :, rows]
    covariance = scale @ np.swapaxes(scale, 2, 3)
    if observed is None:
        precision = np.linalg.inv(covariance)
    else:
        seen = observed[..., rows]
        both = seen[..., np.newaxis] & seen[..., np.newaxis, :]
        precision = np.linalg.inv(np.where(both, covariance, np.eye(len(rows)))) * both
    if slopes.shape[1] > 1:
        moved = precision[:, :, np.newaxis] @ slopes @ moments[:, :, np.newaxis]
        return np.einsum("ntiac,ntjac->nij", *np.broadcast_arrays(slopes, moved), optimize=True)
    if precision.shape[1] == 1:
        moments = moments.sum(axis=1, keepdims=True)
    axes = np.broadcast_shapes(precision.shape[:2], moments.shape[:2])
    precision, moments = (np.broadcast_to(x, axes + x.shape[2:]) for x in (precision, moments))
    weights = np.einsum("ntab,ntcd->nacbd", precision, moments)
    size = slopes.shape[3] * slopes.shape[4]
    flat = slopes.reshape(len(slopes), -1, size)
    return flat @ weights.reshape(-1, size, size) @ np.swapaxes(flat, 1, 2)


def _expectation(problem, values, lags):
    """E[z_t z_t' | y], [A, T, c, c], and the scales of all noise, dict of [A or 1, T or 1, ...]."""
    known = {"features": problem.features, "times": problem.times}
    known = {name: x for name, x in known.items() if x is not None}
    params = as_params(problem.parameterisation, values) | problem.fixed
    smoother = _smoother(problem.model, problem.times is not None, lags)
    mean, covariance, *scales = smoother(params, problem.values, known)
    mean, covariance = mean.numpy(), covariance.numpy()
    z = np.concatenate([mean, np.ones_like(mean[..., :1])], axis=-1)
    moments = z[..., np.newaxis] * z[..., np.newaxis, :]
    moments[..., :-1, :-1] += covariance
    return moments, {
        name: with_axes(x.numpy(), "rc") for name, x in zip(NOISES, scales, strict=True)
    }


@functools.lru_cache(maxsize=32)
def _smoother(model, timed, lags):
    """One traced function for all fits of the same model, whatever the sizes of their data."""

    def expectation(params, y, known):
        ssm = model.build(params, **known)
        smoothed = kalman_smoother(_with_past(ssm, lags), y, lag_one=False)
        start = tf.expand_dims(ssm.initial_scale, -3)
        scales = ssm.transition_scale, ssm.observation_scale, start
        return smoothed.smoothed_mean, smoothed.smoothed_covariance, *scales

    return tf.function(
        expectation,
        input_signature=[
            {p.name: signature(None, *p.shape) for p in model.parameters},
            signature(None, None, model.num_observed),
            signature_of_known(model, timed),
        ],
        autograph=False,
    )


def _with_past(ssm, lags):
    """The model of (x_t, x_{t-1}, ..., x_{t-lags}), zero before the start."""
    if lags == 0:
        return ssm
    n = ssm.state_dim
    more = lags * n

    def padded(name):
        [core] = [spec.core for spec in PARAMETERS if spec.name == name]
        x = getattr(ssm, name)
        own = [[0, more if axis == "n" else 0] for axis in core]
        return tf.pad(x, [[0, 0]] * (x.shape.rank - len(core)) + own)

    matrices = {spec.name: padded(spec.name) for spec in PARAMETERS}
    matrices["transition_matrix"] += np.eye(n + more, k=-n)
    diffuse = None if ssm.diffuse is None else tf.pad(ssm.diffuse, [[0, more]])
    return LinearGaussianSSM(**matrices, diffuse=diffuse)
