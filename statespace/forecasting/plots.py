"""Plots. Each function takes matplotlib Axes, or makes them, and returns them.

Colours are from the palette of Okabe and Ito, which people with any colour vision can tell apart.
"""

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.colors import to_rgb

from statespace.forecasting.errors import InputError
from statespace.forecasting.moments import normal_half_width

DATA = "#4d4d4d"
SMOOTHED = "#0072B2"  # blue
FORECAST = "#D55E00"  # vermilion


def plot_forecast(forecast, ax=None, *, levels=(0.5, 0.9), history=True, transform=None):
    """Draws the data and the fan of a forecast: central intervals around the median.

    Args:
      forecast: a Forecast of one series.
      ax: Axes to draw into; by default new ones.
      levels: probabilities of the intervals.
      history: whether to draw the data as well; or how many of their last steps.
      transform: increasing function applied to all that is drawn, such as ``numpy.exp``.

    Returns:
      The Axes.
    """
    data = forecast.result
    _check_one(data)
    ax = _axes(ax)
    transform = transform or (lambda values: values)
    if history:
        steps = data.values.shape[1]
        last = slice(-min(steps, steps if history is True else int(history)), None)
        x = data.layout.positions(steps)[last]
        _draw_data(ax, x, transform(data.values[0, last, 0]))
    x = forecast.layout.positions(forecast.horizon)
    levels = sorted(levels, reverse=True)
    median = transform(forecast.quantiles(0.5)[0, :, 0])
    ax.plot(x, median, color=FORECAST, linewidth=1.8, label="Forecast (median)")
    for level, strength in zip(levels, np.linspace(0.2, 0.45, len(levels)), strict=True):
        lower, upper = (transform(end[0, :, 0]) for end in forecast.ends(level))
        _band(
            ax,
            x,
            lower,
            upper,
            colour=FORECAST,
            strength=strength,
            label=f"{100 * level:g} % interval",
        )
    _finish(ax, data)
    return ax


def plot_fit(result, ax=None, *, level=0.9):
    """Draws the data and the smoothed level with its band.

    Args:
      result: a FitResult of one series.
      ax: Axes to draw into; by default new ones.
      level: probability of the band around the level.

    Returns:
      The Axes.
    """
    _check_one(result)
    ax = _axes(ax)
    x = result.layout.positions(result.values.shape[1])
    _draw_data(ax, x, result.values[0, :, 0])
    states = result.smooth()
    which = states.names.index("level") if "level" in states.names else 0
    mean, deviation = states.means[0, :, which], np.sqrt(states.variances[0, :, which])
    half = normal_half_width(level) * deviation
    name = states.names[which].replace("_", " ")
    ax.plot(x, mean, color=SMOOTHED, linewidth=1.8, label=f"Smoothed {name}")
    _band(ax, x, mean - half, mean + half, label=f"{100 * level:g} % band")
    _finish(ax, result)
    return ax


def plot_components(result, axes=None, *, level=0.9, forecast=None):
    """Draws each component and the irregular with their bands, one below the other.

    Args:
      result: a FitResult of one series.
      axes: as many Axes as there are components, plus one; by default a new figure.
      level: probability of the bands.
      forecast: a Forecast of the result, to draw the components of the steps to come as well.

    Returns:
      Array of the Axes.
    """
    _check_one(result)
    components = result.components()
    axes = _panels(axes, len(components.names))
    x = result.layout.positions(result.values.shape[1])
    for i, (name, ax) in enumerate(zip(components.names, axes, strict=True)):
        if name.startswith("irregular"):
            ax.vlines(x, 0.0, components.means[0, :, i], color=DATA, linewidth=1.0)
        else:
            _draw_moments(ax, x, components, i, level)
        if name not in ("level", "trend"):
            ax.axhline(0.0, color="0.7", linewidth=0.8, zorder=0)
        ax.set_title(name.replace("_", " ").capitalize(), loc="left", fontsize="medium")
    if forecast is not None:
        ahead = forecast.components()
        x = forecast.layout.positions(forecast.horizon)
        for i, name in enumerate(ahead.names):
            ax = axes[components.names.index(name)]
            _draw_moments(ax, x, ahead, i, level, colour=FORECAST)
    return axes


def plot_states(result, axes=None, *, level=0.9):
    """Draws each smoothed state with its band, one below the other.

    Args:
      result: a FitResult of one series.
      axes: as many Axes as there are states; by default a new figure.
      level: probability of the bands.

    Returns:
      Array of the Axes.
    """
    _check_one(result)
    states = result.smooth()
    axes = _panels(axes, len(states.names))
    x = result.layout.positions(result.values.shape[1])
    for i, (name, ax) in enumerate(zip(states.names, axes, strict=True)):
        _draw_moments(ax, x, states, i, level)
        ax.set_title(name.replace("_", " ").capitalize(), loc="left", fontsize="medium")
    return axes


def _panels(axes, count):
    """``count`` Axes, one below the other; those given, if any are."""
    if axes is None:
        _, axes = plt.subplots(
            count, 1, figsize=(9, 1.8 * count), sharex=True, layout="constrained", squeeze=False
        )
    axes = np.ravel(axes)
    if len(axes) != count:
        raise InputError(f"axes: {count} Axes are needed, one for each panel; given: {len(axes)}.")
    for ax in axes:
        tidy(ax)
    return axes


def _draw_moments(ax, x, moments, number, level, colour=SMOOTHED):
    """One of several quantities, with its band."""
    mean = moments.means[0, :, number]
    half = normal_half_width(level) * np.sqrt(moments.variances[0, :, number])
    _band(ax, x, mean - half, mean + half, colour=colour)
    ax.plot(x, mean, color=colour, linewidth=1.4)


def _axes(ax):
    if ax is None:
        _, ax = plt.subplots(figsize=(9, 4.5), layout="constrained")
    return ax


def _draw_data(ax, x, values):
    """Points joined by a faint line, which breaks where values are missing."""
    ax.plot(x, values, color=DATA, linewidth=0.8, alpha=0.4, zorder=1.5)
    size = 4 if len(values) <= 300 else 2
    ax.plot(x, values, color=DATA, linestyle="none", marker=".", markersize=size, label="Data")


def _band(ax, x, lower, upper, *, colour=SMOOTHED, strength=0.2, label=None):
    """Fills between two curves with a colour mixed with white: opaque, so that bands nest."""
    mixed = strength * np.array(to_rgb(colour)) + (1 - strength)
    ax.fill_between(x, lower, upper, color=mixed, linewidth=0, zorder=1, label=label)


def _finish(ax, result):
    [label] = result.layout.labels()
    if not ax.get_ylabel() and label != "y":
        ax.set_ylabel(label)
    ax.legend(frameon=False, loc="best", fontsize="small")
    tidy(ax)


def tidy(ax):
    """The look that all plots have in common."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.margins(x=0.01)


def _check_one(result):
    if len(result.values) != 1:
        key = repr(result.layout.labels()[0]) if hasattr(result.layout, "columns") else "0"
        raise InputError(
            f"A plot shows one series; this result has {len(result.values)}. Take one of them, as "
            f"in result[{key}]."
        )
