"""Units in which every series looks alike to the optimiser."""

import numpy as np

from statespace.forecasting.errors import InputError

_SMALLEST_SCALE = 1e-100  # its square is a normal number, and so is that of its inverse


def scale_for_fitting(model, y, label):
    """The unit in which a series is fitted.

    Models are fitted to y / scale, where the scale measures the short-term variation: the root
    mean square of the differences over the longest period of the model, from their mean if the
    model has a slope. It has no influence on the result, but the optimiser's starting values,
    bounds and criteria suit every series then.

    Args:
      model: the structural model, n states, p parameters.
      y: one series [T], NaN where missing.
      label: what messages call the series.

    Returns:
      The scale, a positive float.

    Raises:
      InputError: no model could be estimated from these values. The message says why: too few, all
        missing, constant, on a path the model follows without any error, or silent about a state.
    """
    _check_estimable(model, y, label)
    scale = _short_term_variation(model, y)
    if not _SMALLEST_SCALE < scale < 1 / _SMALLEST_SCALE:
        raise InputError(
            f"{label}: its values vary by about {scale:g}, too far from 1 to be squared. Use other "
            f"units."
        )
    return scale


def _check_estimable(model, y, label):
    observed = ~np.isnan(y)
    count, n, p = int(observed.sum()), len(model.state_names), len(model.parameters)
    if count == 0:
        raise InputError(f"{label}: every one of its {y.size} values is missing.")
    if count < n + p:
        raise InputError(
            f"{label}: {count} observed values are too few for {model!r}, which needs at least "
            f"{n + p}: one for each of its {n} states and {p} variances. Use a longer series or a "
            f"smaller model."
        )
    if np.ptp(y[observed]) == 0:
        raise InputError(
            f"{label}: all {count} observed values are {y[observed][0]:g}. A constant column has "
            f"no variation to estimate."
        )
    paths = noiseless_paths(model, y.size)
    if np.linalg.matrix_rank(paths) < n:
        raise InputError(
            f"{label}: no {y.size} values could determine all {n} states of {model!r}: its "
            f"components have patterns in common, as do seasonal periods with a common divisor."
        )
    paths = paths[observed]
    if np.linalg.matrix_rank(paths) < n:
        raise InputError(
            f"{label}: the observed values do not determine all {n} states of {model!r}, because "
            f"too many are missing at the same season or at either end."
        )
    states, *_ = np.linalg.lstsq(paths, y[observed], rcond=None)
    rounding = 1e-13 * np.abs(y[observed]).max()
    if np.abs(y[observed] - paths @ states).max() <= 1e-9 * np.ptp(y[observed]) + rounding:
        raise InputError(
            f"{label}: {model!r} follows the observed values without any error, so there is no "
            f"noise to estimate. Use a smaller model, or extend the pattern by hand."
        )


def noiseless_paths(model, num_steps):
    """H F^t for t = 0 ... T-1, [T, n]: the series as a linear function of the first state."""
    rows = [model.observation_row]
    for _ in range(num_steps - 1):
        rows.append(rows[-1] @ model.transition_matrix)
    return np.array(rows)


def _short_term_variation(model, y):
    periods = [getattr(component, "period", 1) for component in model.components]
    lag = max(periods)
    differences = y[lag:] - y[:-lag]
    differences = differences[~np.isnan(differences)]
    if len(differences) < 2:  # too many gaps: the spread of the values themselves must do
        return float(np.nanstd(y))
    if "slope" in model.state_names:
        differences = differences - differences.mean()
    variation = float(np.sqrt(np.mean(differences**2)))
    return variation if variation > 1e-9 * np.nanstd(y) else float(np.nanstd(y))
