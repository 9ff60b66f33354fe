"""
One factor behind four series
=============================

Consumption, investment, income and unemployment go up and down together, each with noise of its
own. A *dynamic factor model* takes what they have in common for one unseen series, and that is the
business cycle.

The data come with statsmodels: ``pip install statsmodels``.
"""

# %%
# The data
# --------
# The United States from 1959 to 2009, by quarters: growth in per cent of what households consume,
# of what firms invest and of income that can be spent, and the change of the unemployment rate.

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from statsmodels.datasets import macrodata

import statespace as ss

table = macrodata.load_pandas().data
table.index = pd.period_range("1959Q1", periods=len(table), freq="Q")
growth = 100 * np.log(table[["realinv", "realcons", "realdpi", "realgdp"]]).diff().iloc[1:]
y = growth[["realinv", "realcons", "realdpi"]].set_axis(
    ["Investment", "Consumption", "Income"], axis=1
)
y["Unemployment"] = table["unemp"].diff()
y.tail()

# %%
# The model
# ---------
# The factor is an autoregression of order one, and so is the error of each series:
#
# .. math::
#
#    y_{i,t} &= \mu_i + \lambda_i f_t + u_{i,t} \\
#    f_t &= \phi f_{t-1} + e_t, & e_t &\sim N(0, 1) \\
#    u_{i,t} &= \rho_i u_{i,t-1} + \varepsilon_{i,t}, & \varepsilon_{i,t} &\sim N(0, \sigma_i^2)
#
# The first series goes up with the factor by definition; the others have the signs that the data
# give them. That of unemployment is negative.

model = ss.models.DynamicFactor(1, 1, num_series=4, error_order=1)
result = model.fit(y, verbose=0)
print(result.summary())

# %%
# Recessions
# ----------
# The model was told nothing of recessions. Shaded are those that the National Bureau of Economic
# Research dates, from a peak of the economy to the trough.

RECESSIONS = (
    ("1960Q2", "1961Q1"),
    ("1969Q4", "1970Q4"),
    ("1973Q4", "1975Q1"),
    ("1980Q1", "1980Q3"),
    ("1981Q3", "1982Q4"),
    ("1990Q3", "1991Q1"),
    ("2001Q1", "2001Q4"),
    ("2007Q4", "2009Q2"),
)

states = result.smooth()
factor = states.mean["factor_1"]
lower, upper = (end["factor_1"] for end in states.interval(0.9))
dates = y.index.to_timestamp()

fig, ax = plt.subplots(figsize=(9, 4), layout="constrained")
for peak, trough in RECESSIONS:
    ax.axvspan(pd.Timestamp(peak), pd.Period(trough, "Q").end_time, color="0.9", linewidth=0)
ax.fill_between(dates, lower, upper, color="#cce3f0", linewidth=0, label="90 % band")
ax.plot(dates, factor, color="#0072B2", linewidth=1.4, label="Smoothed factor")
ax.axhline(0, color="0.5", linewidth=0.8)
ax.set_ylabel("Factor")
fig.legend(frameon=False, ncols=2, loc="outside upper center")
ax.spines[["top", "right"]].set_visible(False)
ax.margins(x=0.01)

# %%
# Gross domestic product was not among the data, but the factor goes along with its growth.

print(f"Correlation with the growth of GDP: {np.corrcoef(factor, growth['realgdp'])[0, 1]:.2f}")

# %%
# What it explains
# ----------------
# Each series beside its mean and what the factor contributes. It is nearly all of unemployment's
# longer swings, and little of what happens to income from one quarter to the next.

components = result.components().mean
means = result.params["mean"]

fig, axes = plt.subplots(4, 1, figsize=(9, 7), sharex=True, layout="constrained")
for i, (name, ax) in enumerate(zip(y.columns, axes, strict=True)):
    explained = means[i] + components[f"factor_1[{i + 1}]"]
    ax.plot(dates, y[name], color="#4d4d4d", linewidth=0.8, label="Data")
    ax.plot(dates, explained, color="#D55E00", linewidth=1.6, label="Mean and factor")
    ax.set_title(name, loc="left", fontsize="medium")
    ax.spines[["top", "right"]].set_visible(False)
    ax.margins(x=0.01)
legend = axes[0].legend(frameon=False, ncols=2, fontsize="small", loc="lower center")

# %%
# The quarter that is not over
# ----------------------------
# Unemployment is known soon, the accounts of the nation come later. Struck out for the last two
# quarters, they are estimated from unemployment and from what came before. The fall of investment
# in the second quarter is seen; what income did then was its own.

late = y.copy()
late.iloc[-2:, :3] = np.nan
estimated = result.apply(late).impute()
pd.concat({"estimated": estimated.iloc[-2:, :3], "came": y.iloc[-2:, :3]}).round(2)

# %%
# **References**
#
# Stock, J. H. and Watson, M. W. (1991). A probability model of the coincident economic indicators.
# In *Leading Economic Indicators: New Approaches and Forecasting Records*, chapter 4. Cambridge
# University Press.
