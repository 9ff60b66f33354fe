"""
Hundreds of series in one call
==============================

A retailer has three hundred shops and wants next year's sales of each. The shops opened in
different years, and some months were lost. All of them are fitted at once, each with parameters of
its own, and then we ask how good such forecasts would have been in the past.
"""

# %%
# The data
# --------
# Sales by month, made up: a level that grows and wanders, a season with a peak in some month, and
# noise, all in proportion to the size of the shop.

import time

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt

import statespace as ss

rng = np.random.default_rng(1)
months = pd.period_range("2014-01", "2025-12", freq="M")
count, steps = 300, len(months)
size = rng.lognormal(4, 1, (count, 1))
growth = rng.normal(0.003, 0.003, (count, 1))
level = 1 + np.cumsum(growth + rng.normal(0, 0.015, (count, steps)), axis=1)
peak, height = rng.integers(12, size=(count, 1)), rng.uniform(0.05, 0.3, (count, 1))
season = height * np.cos(2 * np.pi * (np.arange(steps) - peak) / 12)
sales = size * (level + season + rng.normal(0, 0.05, (count, steps)))

# %%
# Data of many series often come as one long table, with a row for each series and date. It may have
# series of any lengths. Dates that a series lacks between its first and its last are missing values
# and need no preparation.

opened = rng.integers(0, steps - 72, (count, 1))
known = (np.arange(steps) >= opened) & (rng.random((count, steps)) > 0.03)
shop, month = np.nonzero(known)
data = pd.DataFrame(
    {
        "unique_id": [f"shop {i + 1}" for i in shop],
        "ds": months[month],
        "y": sales[shop, month],
    }
)
data.head()

# %%
# One call
# --------
# The model has a season of two waves, a year and half a year long. The optimiser runs for all
# series side by side, on one compiled gradient, and each of them stops where it has converged. The
# time includes that for tracing the functions.

model = ss.models.LocalLinearTrend() + ss.models.TrigonometricSeasonal(12, harmonics=2)
start = time.perf_counter()
result = model.fit(data, verbose=0)
print(f"{time.perf_counter() - start:.1f} s for {count} fits")
print(f"{np.mean(result.converged):.0%} of them converged")

# %%
# Estimates are tables with a row for each series. In proportion to the sizes of the shops the
# scales of the level and of the noise were 0.015 and 0.05 for all of them, growth and season
# without noise.

estimates = pd.DataFrame(result.params)
(estimates / size).describe().loc[["25%", "50%", "75%"]].round(3)

# %%
# Forecasts
# ---------
# Those of all series, again in one call; each goes on from its own end.

start = time.perf_counter()
forecast = result.forecast(12)
print(f"{time.perf_counter() - start:.2f} s for {count} forecasts of 12 months")
forecast.to_frame(level=0.9).head()

# %%
# ``result[name]`` is the result of one series, with all that belongs to it. A handful of them:

fig, axes = plt.subplots(2, 3, figsize=(11, 5.5), layout="constrained")
for name, ax in zip(forecast.mean["unique_id"].unique()[:6], axes.flat, strict=True):
    result[name].forecast(12).plot(ax, history=72)
    ax.set_title(name, loc="left", fontsize="medium")
    ax.set_ylabel("")
    ax.get_legend().remove()
fig.supylabel("Sales a month", fontsize="medium")
legend = fig.legend(
    *ax.get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False
)

# %%
# How good would it have been?
# ----------------------------
# ``evaluate`` goes back to three points in the past of each series, fits the model to what was
# known there, and compares a year's forecasts with what came. The baseline repeats the last year.
# MASE is the mean absolute error in units of the changes from year to year, WQL is that of the
# quantiles, and the coverage is the share of the outcomes in their 90 % intervals.

start = time.perf_counter()
evaluation = ss.forecasting.evaluate(model, data, 12, num_origins=3, verbose=0)
print(f"{time.perf_counter() - start:.1f} s for {3 * count} fits and forecasts")
evaluation.to_frame().round(3)
