"""The panel of plots that shows whether a model leaves anything unexplained."""

import numpy as np
from matplotlib import pyplot as plt
from scipy.stats import norm

from statespace.forecasting.errors import InputError
from statespace.forecasting.plots import DATA, FORECAST, SMOOTHED, tidy

_BEYOND = 3.0  # standard deviations, from which residuals are marked
_MOST_MARKED = 4  # residuals of a plot that are given their dates


def plot_diagnostics(diagnostics, axes=None):
    """Draws what innovations and auxiliary residuals look like, in six plots.

    Innovations over time; their autocorrelations with the bounds that hold 95 % of those of white
    noise; their histogram with the normal density; their quantiles against those of the normal
    distribution; and the auxiliary residuals of the observation noise and of the first state that
    has noise, those beyond three standard deviations with their dates.

    Args:
      diagnostics: those of one series of one variable.
      axes: six Axes; by default a new figure.

    Returns:
      Array of the Axes.
    """
    shape = diagnostics.standardised.shape
    if shape[0] > 1 or shape[2] > 1:
        raise InputError(
            f"A plot shows one variable of one series; these diagnostics are of {shape[0]} series "
            f"of {shape[2]}. Take the result of one series, as in result[0]."
        )
    if axes is None:
        _, axes = plt.subplots(3, 2, figsize=(10, 8), layout="constrained")
    axes = np.ravel(axes)
    if len(axes) != 6:
        raise InputError(f"axes: six Axes are needed; given: {len(axes)}.")
    for ax in axes:
        tidy(ax)
    auxiliary = diagnostics.auxiliary_residuals
    x, times = diagnostics.layout.positions(shape[1]), auxiliary.time_names(0)
    residuals = diagnostics.standardised[0, :, 0]
    known = residuals[~np.isnan(residuals)]
    _draw_over_time(axes[0], x, residuals, times, "Standardised innovations")
    _draw_correlations(axes[1], diagnostics.autocorrelations.ravel(), len(known))
    _draw_histogram(axes[2], known)
    _draw_quantiles(axes[3], known)
    for i, ax in enumerate(axes[4:]):
        ax.set_visible(i < len(auxiliary.names))
        if i < len(auxiliary.names):
            name = auxiliary.names[i].replace("_", " ")
            title = f"Auxiliary residuals: {name}"
            _draw_over_time(ax, x, auxiliary.standardised[0, :, i], times, title)
    return axes


def _draw_over_time(ax, x, residuals, times, title):
    """Bars at each step; the largest beyond the bounds have their times beside them."""
    ax.plot(x, np.zeros(len(x)), color="0.7", linewidth=0.8, zorder=0)
    for bound in (-_BEYOND, _BEYOND):
        ax.axhline(bound, color=FORECAST, linewidth=0.8, linestyle="--", zorder=0)
    ax.vlines(x, 0.0, residuals, color=SMOOTHED, linewidth=0.9)
    size = np.abs(np.nan_to_num(residuals))
    beyond = np.flatnonzero(size > _BEYOND)
    style = {"color": FORECAST, "linestyle": "none", "marker": "o", "markersize": 4}
    ax.plot(x[beyond], residuals[beyond], **style)
    limit = 1.3 * max(_BEYOND, size.max())
    ax.set_ylim(-limit, limit)
    ax.set_title(title, loc="left", fontsize="medium")
    for step in _apart(beyond[np.argsort(-size[beyond])], len(x) / 15)[:_MOST_MARKED]:
        left, above = step > len(x) / 2, residuals[step] > 0
        ax.annotate(
            times[step],
            (x[step], residuals[step]),
            xytext=(-4 if left else 4, 3 if above else -3),
            textcoords="offset points",
            ha="right" if left else "left",
            va="bottom" if above else "top",
            fontsize="small",
        )


def _apart(steps, distance):
    """Those steps that are not too close to one before them in the list."""
    kept = []
    for step in steps:
        if all(abs(step - other) >= distance for other in kept):
            kept.append(step)
    return kept


def _draw_correlations(ax, correlations, count):
    lags = np.arange(1, len(correlations) + 1)
    bound = norm.ppf(0.975) / np.sqrt(max(count, 1))
    ax.axhspan(-bound, bound, color="0.92", zorder=0)
    ax.axhline(0.0, color="0.7", linewidth=0.8, zorder=0)
    ax.vlines(lags, 0.0, correlations, color=SMOOTHED, linewidth=1.6)
    ax.plot(lags, correlations, color=SMOOTHED, linestyle="none", marker="o", markersize=3)
    limit = max(1.15 * np.max(np.abs(correlations)), 0.5)
    ax.set_ylim(-limit, limit)
    ax.set_xlim(0, lags[-1] + 1)
    ax.xaxis.get_major_locator().set_params(integer=True)
    ax.set_title("Autocorrelations by lag, 95 % bounds", loc="left", fontsize="medium")


def _draw_histogram(ax, residuals):
    limit = max(4.0, 1.05 * np.max(np.abs(residuals), initial=0.0))
    bins = np.arange(-np.ceil(2 * limit) / 2, limit + 0.5, 0.5)
    ax.hist(residuals, bins, density=True, color=DATA, alpha=0.35, edgecolor="white")
    x = np.linspace(-limit, limit, 200)
    ax.plot(x, norm.pdf(x), color=SMOOTHED, linewidth=1.6)
    ax.set_yticks([])
    ax.spines["left"].set_visible(False)
    ax.set_title("Distribution, normal density", loc="left", fontsize="medium")


def _draw_quantiles(ax, residuals):
    count = len(residuals)
    normal = norm.ppf((np.arange(count) + 0.5) / max(count, 1))
    ends = np.array([-1.0, 1.0]) * max(3.0, np.max(np.abs(residuals), initial=0.0))
    ax.plot(ends, ends, color="0.7", linewidth=0.8, zorder=0)
    ax.plot(normal, np.sort(residuals), color=SMOOTHED, linestyle="none", marker=".", markersize=4)
    ax.set_title("Quantiles against normal quantiles", loc="left", fontsize="medium")
