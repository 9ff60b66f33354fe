"""A fit as a table of plain text."""

import numpy as np

from statespace.forecasting.curvature import hardly_told, within_limits
from statespace.forecasting.methods import METHODS
from statespace.models.regression import Regression

_MOST_SERIES = 20  # shown for a batch; the rest are counted


def summary(result) -> str:
    """Describes a fit: model, data, criteria, estimates, and what to be wary of."""
    labels = result.layout.labels()
    start = ", diffuse start" if result.num_diffuse else ""
    lines = [f"{result.model!r}, {METHODS.get(result.method, result.method)}{start}"]
    if len(labels) == 1:
        return "\n".join(lines + _one(result, labels[0]))
    lines.append(f"{len(labels)} series of {result.values.shape[1]} steps")
    for number, label in enumerate(labels[:_MOST_SERIES]):
        lines += ["", *_one(_nth(result, number), label)]
    if len(labels) > _MOST_SERIES:
        lines += ["", f"... and {len(labels) - _MOST_SERIES} more series"]
    return "\n".join(lines)


def _one(result, label):
    known = ~np.isnan(result.values).all(axis=2)
    begun = np.logical_or.accumulate(known, axis=1)  # what lies before a series is not missing
    observed = int(result.problem.num_observed.sum())
    missing = int(begun.sum()) * result.values.shape[2] - observed
    lines = [f"{label}: {observed} observed values, {missing} missing"]
    if result.skipped:
        return [*lines, f"skipped: {result.message}"]
    counted = f"{result.problem.size} parameters"
    if result.num_estimated > result.problem.size:
        counted += f" and {result.num_diffuse} diffuse states"
    lines += [
        f"log-likelihood {result.log_likelihood:.4f}   AIC {result.aic:.2f}   "
        f"BIC {result.bic:.2f}   (counting {counted})",
        "",
        *estimates(result),
        *coefficients(result),
    ]
    return lines + [f"Note: {note}" for note in notes(result)]


def estimates(result) -> list[str]:
    """Lines of a table of estimates and standard errors, for the result of one series."""
    errors, rows = result.standard_errors, []
    for parameter in result.model.parameters:
        values = np.ravel(result.params[parameter.name])
        deviations = np.ravel(errors[parameter.name])
        fixed = parameter.name in result.problem.fixed
        for label, value, error in zip(parameter.labels, values, deviations, strict=True):
            shown = "fixed" if fixed else "-" if np.isnan(error) else f"{error:.4g}"
            rows.append([label, f"{value:.6g}", shown])
    drawn = result.method in ("hmc", "vi")
    header = ["posterior mean", "deviation"] if drawn else ["estimate", "standard error"]
    return aligned(["parameter", *header], rows)


def coefficients(result) -> list[str]:
    """Lines of a table of the coefficients that are states, given all the data; none without."""
    constant = {name for c in result.model.components for name in constant_states(c)}
    if not constant:
        return []
    states = result.smooth()
    which = [i for i, name in enumerate(states.names) if name in constant]
    means, deviations = states.means[0, -1, which], np.sqrt(states.variances[0, -1, which])
    rows = [
        [states.names[i], f"{mean:.6g}", f"{deviation:.4g}"]
        for i, mean, deviation in zip(which, means, deviations, strict=True)
    ]
    return ["", *aligned(["coefficient", "estimate", "standard error"], rows)]


def constant_states(component) -> tuple[str, ...]:
    """Names of the states of a regression with constant coefficients."""
    return component.state_names if isinstance(component, Regression) else ()


def notes(result) -> list[str]:
    """What to be wary of, in plain words, for the result of one series."""
    found = []
    boundary = [name for name, zero in result.at_boundary.items() if np.any(zero)]
    for name in boundary:
        component = name.split(".")[0]
        consequence = {
            "irregular": "the observations are taken to be free of noise of their own",
            "seasonal": "the seasonal pattern is taken to be the same throughout",
        }.get(component.split("_")[0], f"the {component} has no shocks of its own")
        found.append(
            f"{name} is estimated as zero, its boundary: {consequence}. A standard error has no "
            f"meaning there."
        )
    errors = result.standard_errors
    unknown = [
        name
        for name, error in errors.items()
        if np.isnan(error).any() and name not in boundary and name not in result.problem.fixed
    ]
    if unknown:
        found.append(
            f"no standard error for {', '.join(unknown)}: the likelihood is nearly flat, so the "
            f"data hardly tell the parameters apart."
        )
    parameterisation, free = result.problem.parameterisation, result.estimates.free
    if free.size and result.method not in ("hmc", "vi"):
        deviations = np.concatenate([np.ravel(errors[p.name]) for p in parameterisation.free])
        [vague] = hardly_told(result.problem, free, deviations[np.newaxis])
        if vague.any():
            labels = ", ".join(np.array(parameterisation.labels)[vague])
            found.append(f"the data say next to nothing of {labels}: other values fit as well.")
    at_end = np.isfinite(free) & ~within_limits(result.problem, free)
    for label, end in zip(parameterisation.labels, at_end[0], strict=True):
        if end:
            found.append(
                f"{label} lies at the end of the range in which it is sought: the data would have "
                f"it beyond any sensible value, or do not tell it at all."
            )
    if not result.converged:
        found.append(f"the optimiser did not finish: {result.message}.")
    return found


def aligned(header, rows) -> list[str]:
    """Lines of a table: first column flush left, the others flush right, a rule below the header.

    Args:
      header: column names.
      rows: lists of strings, as long as the header.
    """
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]

    def line(cells):
        first, *others = (
            cell.rjust(width) if i else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(cells, widths, strict=True))
        )
        return "   ".join([first, *others]).rstrip()

    return [line(header), "-" * (sum(widths) + 3 * (len(widths) - 1)), *map(line, rows)]


def _nth(result, number):
    layout = result.layout
    if hasattr(layout, "columns"):
        return result[layout.columns[number]]
    return result[np.unravel_index(number, layout.batch_shape)]
