"""Reports of a fit and its forecast: one file of HTML with its figures inside, or one picture."""

import base64
import html
import io
import math
import textwrap
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure

from statespace.forecasting.plots import plot_forecast

_MOST_FANS = 12  # series that are drawn
_FANS_BESIDE = 3
_MOST_ROWS = 500  # of a table
_ROWS_IN_PICTURE = 24
_WIDTH = 9  # inches
_LINE = 0.135  # height of a line of text in a picture, inches
_LINE_LENGTH = 135  # characters

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #222; max-width: 60rem; margin: 2rem auto;
       padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2rem; }
img { max-width: 100%; } pre { overflow-x: auto; font-size: 0.85rem; }
div.table { overflow-x: auto; }
table { border-collapse: collapse; font-size: 0.85rem; font-variant-numeric: tabular-nums; }
th, td { padding: 0.15rem 0.7rem; text-align: right; border-bottom: 1px solid #ddd; }
"""


class Section(NamedTuple):
    """One part of a report: what it holds of text, table and figure."""

    heading: str
    text: str = ""
    table: Any = None  # a DataFrame
    draw: Callable | None = None  # draws into a Figure or SubFigure
    height: float = 0.0  # of the figure, inches


def sections(forecast, table, *, evaluation=None, levels=(0.5, 0.9), transform=None, scale=""):
    """The parts of a report.

    Args:
      forecast: a :class:`statespace.forecasting.forecast.Forecast`; the fit is that it is from.
      table: the forecast as a DataFrame.
      evaluation: None, or an :class:`statespace.forecasting.evaluation.Evaluation`.
      levels: probabilities of the intervals that are drawn.
      transform: None, or an increasing function that takes the forecast back to another scale.
      scale: what headings say of the scale of the model.

    Returns:
      List of :class:`Section`.
    """
    result, count = forecast.result, len(forecast.means)
    only = f" (drawn are {_MOST_FANS} of {count} series)" if count > _MOST_FANS else ""
    parts = [
        Section(
            f"Forecast{only}",
            table=table,
            draw=lambda figure: draw_forecast(figure, forecast, levels, transform),
            height=forecast_height(forecast),
        ),
        Section(f"Fit{scale}", text=result.summary()),
    ]
    diagnostics = result.diagnostics()
    if count > 1:
        parts.append(Section("Diagnostics", text=diagnostics.summary()))
    else:
        panels = len(result.components().names)
        parts += [
            Section(
                f"Components{scale}",
                draw=lambda figure: _draw_components(figure, forecast, panels),
                height=1.8 * panels,
            ),
            Section(
                "Diagnostics",
                text=diagnostics.summary(),
                draw=lambda figure: diagnostics.plot(figure.subplots(3, 2)),
                height=8,
            ),
        ]
    if evaluation is not None:
        heading = f"Forecasts from {len(evaluation.origins)} origins in the past{scale}"
        parts.append(Section(heading, table=evaluation.to_frame()))
    return parts


def forecast_height(forecast) -> float:
    """Height in inches that ``draw_forecast`` needs at the usual width."""
    count = min(len(forecast.means), _MOST_FANS)
    return 4.5 if count == 1 else 2.2 * math.ceil(count / _FANS_BESIDE) + 0.3


def draw_forecast(figure, forecast, levels, transform=None):
    """Draws the fan of one series, or small ones of the first of many.

    Args:
      figure: a Figure or SubFigure of matplotlib.
      forecast: the Forecast.
      levels: probabilities of the intervals.
      transform: None, or an increasing function of all that is drawn.
    """
    count = min(len(forecast.means), _MOST_FANS)
    if count == 1:
        forecast.plot(figure.subplots(), levels=levels, transform=transform)
        return
    rows, columns = math.ceil(count / _FANS_BESIDE), min(count, _FANS_BESIDE)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for ax in axes[count:]:
        ax.set_visible(False)
    for number, ax in enumerate(axes[:count]):
        one = _of_one_series(forecast, number)
        plot_forecast(one, ax, levels=levels, transform=transform)
        [label] = one.layout.labels()
        ax.set_title(label, loc="left", fontsize="medium")
        ax.set_ylabel("")
        _mark_few_dates(ax)
        ax.get_legend().remove()
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside lower center", ncols=4, frameon=False, fontsize="small"
    )


def write_html(path, title, parts):
    """Writes a report as one file that needs no others.

    Args:
      path: the file.
      title: its heading.
      parts: the sections.
    """
    body = [f"<h1>{html.escape(title)}</h1>"]
    for part in parts:
        body.append(f"<h2>{html.escape(part.heading)}</h2>")
        if part.draw is not None:
            figure = Figure(figsize=(_WIDTH, part.height), layout="constrained")
            part.draw(figure)
            source = f"data:image/png;base64,{base64.b64encode(_png(figure)).decode()}"
            body.append(f'<img alt="{html.escape(part.heading)}" src="{source}">')
        if part.text:
            body.append(f"<pre>{html.escape(part.text)}</pre>")
        if part.table is not None:
            table = part.table.head(_MOST_ROWS)
            index = table.index.name is not None
            text = table.to_html(border=0, float_format="{:.6g}".format, index=index)
            body.append(f'<div class="table">{text}</div>')
            body += [f"<p>{line}</p>" for line in _rest(part.table, _MOST_ROWS)]
    page = (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f"<title>{html.escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        f"{chr(10).join(body)}\n</body>\n</html>\n"
    )
    with open(path, "w", encoding="utf-8") as file:
        file.write(page)


def write_png(path, title, parts):
    """Writes a report as one picture, its sections below each other.

    Args:
      path: the file.
      title: its heading.
      parts: the sections.
    """
    panels = [panel for part in parts for panel in _panels(part)]
    heights = [height for _, height, _ in panels]
    figure = Figure(figsize=(_WIDTH, sum(heights) + 0.5), layout="constrained")
    figure.suptitle(title, x=0.01, ha="left", fontweight="bold")
    subfigures = figure.subfigures(len(panels), 1, height_ratios=heights, squeeze=False).ravel()
    for subfigure, (heading, _, draw) in zip(subfigures, panels, strict=True):
        subfigure.suptitle(heading, x=0.01, ha="left", fontsize="medium")
        draw(subfigure)
    with open(path, "wb") as file:
        file.write(_png(figure))


def _panels(part):
    """What a section is in a picture: headings, heights and functions that draw."""
    panels = []
    if part.draw is not None:
        panels.append((part.heading, part.height + 0.3, part.draw))
    lines = [piece for line in part.text.splitlines() for piece in _wrapped(line)]
    if part.table is not None:
        shown, index = part.table.head(_ROWS_IN_PICTURE), part.table.index.name is not None
        lines += shown.to_string(float_format="{:.5g}".format, index=index).splitlines()
        lines += _rest(part.table, _ROWS_IN_PICTURE)
    if lines:
        heading = "" if panels else part.heading
        height = _LINE * len(lines) + 0.4
        panels.append((heading, height, lambda figure: _write_lines(figure, lines)))
    return panels


def _wrapped(line):
    """A line, or several where it is too long; tables keep their spaces."""
    if len(line) <= _LINE_LENGTH:
        return [line]
    return textwrap.wrap(line, _LINE_LENGTH, subsequent_indent="  ")


def _rest(table, shown):
    """Says how much of a table is left out."""
    return [f"... and {len(table) - shown} more rows"] if len(table) > shown else []


def _write_lines(figure, lines):
    ax = figure.subplots()
    ax.set_axis_off()
    ax.text(
        0.0,
        1.0,
        "\n".join(lines),
        transform=ax.transAxes,
        va="top",
        family="monospace",
        fontsize=8,
        parse_math=False,
    )


def _draw_components(figure, forecast, count):
    axes = figure.subplots(count, 1, sharex=True, squeeze=False).ravel()
    forecast.result.plot_components(axes, forecast=forecast)


def _mark_few_dates(ax):
    """Small marks of the axes, of dates only a few."""
    ax.tick_params(labelsize="x-small")
    if isinstance(ax.xaxis.get_major_locator(), AutoDateLocator):
        locator = AutoDateLocator(minticks=2, maxticks=5)
        ax.xaxis.set_major_locator(locator)
        ax.xaxis.set_major_formatter(ConciseDateFormatter(locator, show_offset=False))


def _of_one_series(forecast, number):
    """The forecast of one of several series."""
    layout = forecast.layout
    if hasattr(layout, "columns"):
        return forecast[layout.columns[number]]
    return forecast[np.unravel_index(number, layout.batch_shape)]


def _png(figure):
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=130)
    return buffer.getvalue()
