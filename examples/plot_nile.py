"""
The level of the Nile
=====================

The oldest example in the book: how much water did the Nile carry from year to year, and how much
next year? One hundred annual flows, a model with two variances, and the whole path from data to
forecast in a dozen lines.
"""

# %%
# The data
# --------
# The package ships the series: flow of the Nile at Aswan from 1871 to 1970, in 10⁸ m³, as a pandas
# Series on a yearly index.

import statespace as ss

flow = ss.datasets.nile()
flow.head()

# %%
# A level that wanders
# --------------------
# The *local level* model says that each year's flow is a level plus noise, and that the level
# itself takes a random step from one year to the next:
#
# .. math::
#
#    y_t &= \text{level}_t + \varepsilon_t, & \varepsilon_t &\sim N(0, \sigma^2_\varepsilon) \\
#    \text{level}_{t+1} &= \text{level}_t + \eta_t, & \eta_t &\sim N(0, \sigma^2_\eta)
#
# Two numbers decide everything: the observation variance and the level variance. Were the level
# variance zero, the level would be one constant mean; were the observation variance zero, every
# wiggle of the data would be a change of level. ``fit`` finds the pair under which the data are
# most likely, with gradients from one compiled op and without a starting value from us.

result = ss.models.LocalLevel().fit(flow, verbose=0)
print(result.summary())

# %%
# Durbin and Koopman report 15 099 and 1 469.1 for the same model; the log-likelihood follows the
# convention for a diffuse start, in which nothing at all is assumed about the level in 1871.
#
# What the level was
# ------------------
# The smoother takes every year's level from *all* the data, before and after. Its band is narrow in
# the middle and widens at both ends, where there are neighbours on one side only.

result.plot()

# %%
# The drop near 1899, when the first dam at Aswan was begun, is plain to see, although the model was
# told nothing about it. The numbers behind the plot are a DataFrame:

smoothed = result.smooth()
smoothed.mean.loc["1895":"1902"].round(1)

# %%
# What comes next
# ---------------
# A forecast is a distribution. For this model its centre stays at the last level, and its spread
# grows with every step, because the level goes on wandering.

forecast = result.forecast(12)
forecast.to_frame(level=0.9).round(1)

# %%
# The fan shows the central 50 % and 90 % intervals.

ax = result.plot()
forecast.plot(ax, history=False)
ax.set_title("The Nile at Aswan: smoothed level and forecast", loc="left")
ax.set_ylabel("Annual flow (10⁸ m³)")

# %%
# Years without a measurement
# ---------------------------
# Missing values need no preparation: where there is nothing to learn from, the filter carries its
# estimate on, and the band says how much less is known. Here forty of the hundred years are struck
# out before the fit.

gaps = flow.copy()
gaps.iloc[20:40] = float("nan")
gaps.iloc[60:80] = float("nan")

ax = ss.models.LocalLevel().fit(gaps, verbose=0).plot()
ax.set_title("Forty years struck out", loc="left")
ax.set_ylabel("Annual flow (10⁸ m³)")

# %%
# **References**
#
# Cobb, G. W. (1978). The problem of the Nile: conditional solution to a change-point problem.
# *Biometrika* 65, 243–251.
#
# Durbin, J. and Koopman, S. J. (2012). *Time Series Analysis by State Space Methods*, 2nd edition,
# chapter 2. Oxford University Press.
