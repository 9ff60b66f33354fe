"""Whether a model can be estimated from data at all; and the units in which to try."""

import numpy as np

from statespace.forecasting.errors import InputError

_SMALLEST_SCALE = 1e-100  # its square is a normal number, and so is that of its inverse
_NUMBERS_AT_ONCE = 2**24  # in the matrices of the check, 128 MB
_DEPENDENT = 1e-9  # share of a pattern that others leave, below which it is theirs


def check_estimable(model, ssm, values, num_parameters, labels):
    """Raises an error that says why no model could be estimated from some of the series.

    Args:
      model: the model.
      ssm: its state-space form at its starting values, with or without an axis over the series.
      values: N series, [N, T, m], NaN where missing.
      num_parameters: number of free coordinates of each series.
      labels: what messages call the series.

    Raises:
      InputError: too few values, all missing, constant, on a path that the model follows without
        any error, or silent about a state.
    """
    observed = ~np.isnan(values)
    _check_counts(model, ssm, values, observed, num_parameters, labels)
    if ssm.diffuse is None or not ssm.diffuse.numpy().any():
        return
    paths = noiseless_paths(ssm, values.shape[1])  # [1 or N, T, m, d]
    size = paths[0].size
    at_once = max(1, _NUMBERS_AT_ONCE // size)
    if len(paths) == 1 or not observed.all():
        _check_patterns(model, paths[:at_once], labels)
    for first in range(0, len(values), at_once):
        part = slice(first, first + at_once)
        part_paths = paths if len(paths) == 1 else paths[part]
        _check_series(model, part_paths, values[part], observed[part], labels[part])


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


def scale_for_fitting(model, values, labels) -> np.ndarray:
    """The unit in which each variable of each series is fitted, [N, m].

    It measures the short-term variation: the root mean square of the differences over the longest
    period of the model, from their mean if the model has a slope. It has no influence on the
    result, but the optimiser's starting values, bounds and criteria suit every series then.

    Raises:
      InputError: values vary so little, or so much, that squares leave the range of numbers.
    """
    periods = [round(getattr(component, "period", 1)) for component in model.components]
    lag = min(max(periods), values.shape[1] - 1)
    differences = values[:, lag:] - values[:, : values.shape[1] - lag]
    count = np.maximum((~np.isnan(differences)).sum(axis=1), 1)
    if "slope" in model.state_names:
        differences -= (np.nansum(differences, axis=1) / count)[:, np.newaxis]
    variation = np.sqrt(np.nansum(differences**2, axis=1) / count)
    spread = np.nanstd(values, axis=1)
    # Too many gaps for differences: the spread of the values themselves must do.
    scale = np.where((variation > 1e-9 * spread) & (count > 1), variation, spread)
    for label, row in zip(labels, scale, strict=True):
        outside = ~((row > _SMALLEST_SCALE) & (row < 1 / _SMALLEST_SCALE))
        if outside.any():
            raise InputError(
                f"{label}: its values vary by about {row[outside][0]:g}, too far from 1 to be "
                f"squared. Use other units."
            )
    return scale


def feature_scale(features, num_series) -> np.ndarray:
    """The spread of each feature, [N, K]; the size of one that is constant."""
    if features is None:
        return np.ones((num_series, 0))
    spread, size = features.std(axis=1), np.abs(features).max(axis=1)
    scale = np.where(spread > 1e-9 * size, spread, np.where(size > 0, size, 1.0))
    return np.broadcast_to(scale, (num_series, scale.shape[1]))


def _check_counts(model, ssm, values, observed, num_parameters, labels):
    diffuse = 0 if ssm.diffuse is None else int(ssm.diffuse.numpy().sum())
    needed = diffuse + num_parameters
    counts = observed.sum(axis=(1, 2))
    with np.errstate(invalid="ignore"):
        highest = np.where(observed, values, -np.inf).max(axis=1)
        lowest = np.where(observed, values, np.inf).min(axis=1)
    for i in np.flatnonzero((counts < needed) | (highest <= lowest).any(axis=1)):
        count, label = counts[i], labels[i]
        if count == 0:
            raise InputError(f"{label}: every one of its {values[i].size} values is missing.")
        if count < needed:
            raise InputError(
                f"{label}: {count} observed values are too few for {model!r}, which needs at least "
                f"{needed}: one for each of its {diffuse} diffuse states and {num_parameters} "
                f"parameters. Use a longer series or a smaller model."
            )
        variable = int(np.argmax(highest[i] <= lowest[i]))
        which = f"{label}, variable {variable}" if values.shape[2] > 1 else label
        count = observed[i, :, variable].sum()
        if count == 0:
            raise InputError(f"{which}: every one of its {values.shape[1]} values is missing.")
        raise InputError(
            f"{which}: all {count} observed values are {highest[i, variable]:g}. A constant column "
            f"has no variation to estimate."
        )


def _check_patterns(model, paths, labels):
    for i in np.flatnonzero(_dependent(_factors(paths)[0], paths)):
        of = f"{labels[i]}: " if len(paths) > 1 else f"{labels[0]}: "
        raise InputError(
            f"{of}no {paths.shape[1]} values could determine all {paths.shape[-1]} diffuse states "
            f"of {model!r}: its components have patterns in common, as do seasonal periods with a "
            f"common divisor, or a level and a constant feature."
        )


def _check_series(model, paths, values, observed, labels):
    seen = paths * observed[..., np.newaxis]
    triangle, basis = _factors(seen)
    for i in np.flatnonzero(_dependent(triangle, seen)):
        raise InputError(
            f"{labels[i]}: the observed values do not determine all {paths.shape[-1]} diffuse "
            f"states of {model!r}, because too many are missing at the same season or at either "
            f"end, or because features do not vary there."
        )
    y = np.where(observed, values, 0.0).reshape(len(values), -1)
    rest = y - np.einsum("ndt,nd->nt", basis, np.einsum("ndt,nt->nd", basis, y))
    # Taken out twice: what large values leave the first time is rounding.
    rest -= np.einsum("ndt,nd->nt", basis, np.einsum("ndt,nt->nd", basis, rest))
    spread = np.nanmax(values, axis=(1, 2)) - np.nanmin(values, axis=(1, 2))
    bound = 1e-9 * spread + 1e-13 * np.abs(y).max(axis=1)
    for i in np.flatnonzero(np.abs(rest).max(axis=1) <= bound):
        raise InputError(
            f"{labels[i]}: {model!r} follows the observed values without any error, so there is no "
            f"noise to estimate. Use a smaller model, or extend the pattern by hand."
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
