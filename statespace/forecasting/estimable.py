"""Whether a model can be estimated from data at all; and the units in which to try."""

import numpy as np

_SMALLEST_SCALE = 1e-100  # its square is a normal number, and so is that of its inverse
_NUMBERS_AT_ONCE = 2**24  # in the matrices of the check, 128 MB
_DEPENDENT = 1e-9  # share of a pattern that others leave, below which it is theirs


def why_not_estimable(model, ssm, values, num_parameters) -> tuple[np.ndarray, np.ndarray]:
    """Says of each series why no model could be estimated from it.

    It may have too few values, all missing or constant, be on a path that the model follows without
    any error, say nothing about a state, or vary too little or too much to be squared.

    Args:
      model: the model.
      ssm: its state-space form at its starting values, with or without an axis over the series.
      values: N series, [N, T, m], NaN where missing.
      num_parameters: number of free coordinates of each series.

    Returns:
      N reasons in words, empty where there is none; and the unit in which each variable of each
      series is fitted, as of ``scale_for_fitting``, [N, m], one where there is a reason.
    """
    observed = ~np.isnan(values)
    reasons = np.full(len(values), "", object)

    def note(found, first=0):
        for i, reason in found:
            reasons[first + i] = reasons[first + i] or reason

    note(_miscounted(model, ssm, values, observed, num_parameters))
    if ssm.diffuse is not None and ssm.diffuse.numpy().any():
        paths = noiseless_paths(ssm, values.shape[1])  # [1 or N, T, m, d]
        if len(paths) == 1:
            note((i, reason) for _, reason in _confounded(model, paths) for i in range(len(values)))
        at_once = max(1, _NUMBERS_AT_ONCE // paths[0].size)
        for first in range(0, len(values), at_once):
            part = slice(first, first + at_once)
            part_paths = paths if len(paths) == 1 else paths[part]
            if len(paths) > 1 and not observed[part].all():  # else the next check says as much
                note(_confounded(model, part_paths), first)
            note(_undetermined(model, part_paths, values[part], observed[part]), first)
    usable = (reasons == "")[:, np.newaxis, np.newaxis]
    scale = scale_for_fitting(model, np.where(usable, values, 0.0))
    note(_too_far_from_one(scale))
    return reasons, np.where((reasons == "")[:, np.newaxis], scale, 1.0)


def noiseless_paths(ssm, num_steps) -> np.ndarray:
    """H_t F_{t-1} ... F_0 for the diffuse states, [1 or N, T, m, d].

    The observations as a linear function of what is not known about the first state.
    """
    diffuse = ssm.diffuse.numpy()
    state = np.eye(len(diffuse))[:, diffuse]
    transition, observation = ssm.transition_matrix.numpy(), ssm.observation_matrix.numpy()
    transition, observation = (_with_axes(x) for x in (transition, observation))
    states = []
    for t in range(num_steps):
        states.append(state)
        state = transition[:, min(t, transition.shape[1] - 1)] @ state
    states = np.stack(np.broadcast_arrays(*states)).reshape(num_steps, -1, *state.shape[-2:])
    return observation @ np.moveaxis(states, 0, 1)


def scale_for_fitting(model, values) -> np.ndarray:
    """The unit in which each variable of each series is fitted, [N, m].

    It measures the short-term variation: the root mean square of the differences over the longest
    period of the model, from their mean if the model has a slope. It has no influence on the
    result, but the optimiser's starting values, bounds and criteria suit every series then.
    """
    periods = [round(getattr(component, "period", 1)) for component in model.components]
    lag = min(max(periods), values.shape[1] - 1)
    differences = values[:, lag:] - values[:, : values.shape[1] - lag]
    count = np.maximum((~np.isnan(differences)).sum(axis=1), 1)
    if "slope" in model.state_names:
        differences -= (np.nansum(differences, axis=1) / count)[:, np.newaxis]
    with np.errstate(over="ignore", invalid="ignore"):  # what is too large is refused in words
        variation = np.sqrt(np.nansum(differences**2, axis=1) / count)
        spread = np.nanstd(values, axis=1)
    # Too many gaps for differences: the spread of the values themselves must do.
    return np.where((variation > 1e-9 * spread) & (count > 1), variation, spread)


def feature_scale(features, num_series) -> np.ndarray:
    """The spread of each feature, [N, K]; the size of one that is constant."""
    if features is None:
        return np.ones((num_series, 0))
    spread, size = features.std(axis=1), np.abs(features).max(axis=1)
    scale = np.where(spread > 1e-9 * size, spread, np.where(size > 0, size, 1.0))
    return np.broadcast_to(scale, (num_series, scale.shape[1]))


def _miscounted(model, ssm, values, observed, num_parameters):
    """Series with too few values, or the same value throughout: pairs of number and reason."""
    diffuse = 0 if ssm.diffuse is None else int(ssm.diffuse.numpy().sum())
    needed = diffuse + num_parameters
    counts = observed.sum(axis=(1, 2))
    highest = np.where(observed, values, -np.inf).max(axis=1)
    lowest = np.where(observed, values, np.inf).min(axis=1)
    for i in np.flatnonzero((counts < needed) | (highest <= lowest).any(axis=1)):
        if counts[i] == 0:
            yield i, f"every one of its {values[i].size} values is missing."
            continue
        if counts[i] < needed:
            yield (
                i,
                f"{counts[i]} observed values are too few for {model!r}, which needs at least "
                f"{needed}: one for each of its {diffuse} diffuse states and {num_parameters} "
                f"parameters. Use a longer series or a smaller model.",
            )
            continue
        variable = int(np.argmax(highest[i] <= lowest[i]))
        of = f" of variable {variable}" if values.shape[2] > 1 else ""
        count = observed[i, :, variable].sum()
        if count == 0:
            yield i, f"every one of the {values.shape[1]} values{of} is missing."
            continue
        yield (
            i,
            f"all {count} observed values{of} are {highest[i, variable]:g}. A constant column has "
            f"no variation to estimate.",
        )


def _confounded(model, paths):
    """Series whose features leave patterns of the model in common: pairs of number and reason."""
    for i in np.flatnonzero(_dependent(_factors(paths)[0], paths)):
        yield (
            i,
            f"no {paths.shape[1]} values could determine all {paths.shape[-1]} diffuse states of "
            f"{model!r}: its components have patterns in common, as do seasonal periods with a "
            f"common divisor, or a level and a constant feature.",
        )


def _undetermined(model, paths, values, observed):
    """Series that say nothing of a state, or nothing of noise: pairs of number and reason."""
    seen = paths * observed[..., np.newaxis]
    triangle, basis = _factors(seen)
    for i in np.flatnonzero(_dependent(triangle, seen)):
        yield (
            i,
            f"the observed values do not determine all {paths.shape[-1]} diffuse states of "
            f"{model!r}, because too many are missing at the same season or at either end, or "
            f"because features do not vary there.",
        )
    y = np.where(observed, values, 0.0).reshape(len(values), -1)
    rest = y - np.einsum("ndt,nd->nt", basis, np.einsum("ndt,nt->nd", basis, y))
    # Taken out twice: what large values leave the first time is rounding.
    rest -= np.einsum("ndt,nd->nt", basis, np.einsum("ndt,nt->nd", basis, rest))
    spread = np.max(values, axis=(1, 2), where=observed, initial=-np.inf)
    spread -= np.min(values, axis=(1, 2), where=observed, initial=np.inf)
    bound = 1e-9 * spread + 1e-13 * np.abs(y).max(axis=1)
    for i in np.flatnonzero(np.abs(rest).max(axis=1) <= bound):
        yield (
            i,
            f"{model!r} follows the observed values without any error, so there is no noise to "
            f"estimate. Use a smaller model, or extend the pattern by hand.",
        )


def _too_far_from_one(scale):
    """Series whose squares leave the range of numbers: pairs of number and reason."""
    outside = ~((scale > _SMALLEST_SCALE) & (scale < 1 / _SMALLEST_SCALE))
    for i in np.flatnonzero(outside.any(axis=1)):
        yield (
            i,
            f"its values vary by about {scale[i][outside[i]][0]:g}, too far from 1 to be squared. "
            f"Use other units.",
        )


def _factors(paths):
    """LQ factors of each series' patterns, [N, d, d] and [N, d, T m]."""
    from statespace.linalg_ops.lq import lq

    rows = np.moveaxis(paths.reshape(len(paths), -1, paths.shape[-1]), -1, -2)
    size = np.abs(rows).max(axis=-1, keepdims=True)
    triangle, basis = lq(rows / np.where(size > 0, size, 1.0))
    return triangle.numpy(), basis.numpy()


def _dependent(triangle, paths):
    """Whether one pattern is a combination of those before it, bool [N]."""
    if triangle.shape[-1] < paths.shape[-1]:
        return np.ones(len(triangle), bool)
    distance = np.abs(np.diagonal(triangle, axis1=-2, axis2=-1))
    return (distance <= _DEPENDENT * np.linalg.norm(triangle, axis=-1)).any(axis=-1)


def _with_axes(matrix):
    """[.., T or 1, a, b] with one axis over series and one over steps."""
    if matrix.ndim == 2:
        return matrix[np.newaxis, np.newaxis]
    return matrix[np.newaxis] if matrix.ndim == 3 else matrix
