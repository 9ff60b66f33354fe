"""
Airline passengers
==================

A series with a trend and a season that both change: how many passengers flew with international
airlines each month from 1949 to 1960, what the series is made of, where it goes, and whether the
model may be trusted.
"""

# %%
# The data
# --------
# The seasonal swings grow with the level, so they are about the same in per cent: the logarithm
# makes them the same in size, and a sum of components becomes a product.

import numpy as np

import statespace as ss

passengers = ss.datasets.air_passengers()
y = np.log(passengers)

# %%
# Trend plus season plus noise
# ----------------------------
# Components are added with ``+``. The trend is a level that grows by a slope; the season is made of
# sines and cosines of one year and its fractions, whose amplitudes may drift.

model = ss.models.LocalLinearTrend() + ss.models.TrigonometricSeasonal(12)
result = model.fit(y, verbose=0)
print(result.summary())

# %%
# The scale of the slope comes out as zero: passengers grew by the same rate all along, and what
# wanders is the level. How fast did they grow?

slope = result.smooth().mean["slope"].iloc[-1]
print(f"{12 * slope:.3f} a year on the scale of logarithms, or {100 * np.expm1(12 * slope):.1f} %")

# %%
# The next three years
# --------------------
# The fan shows the central 50 % and 90 % intervals. ``transform=numpy.exp`` takes it from
# logarithms back to passengers: quantiles go along with any increasing function.

forecast = result.forecast(36)
ax = forecast.plot(transform=np.exp)
ax.set_title("Passengers of international airlines", loc="left")
ax.set_ylabel("Thousands a month")

# %%
# In numbers:

forecast.to_frame(transform=np.exp).head(12).round(0)

# %%
# What it is made of
# ------------------
# Each component of history and forecast, with bands that hold 90 %. The summer's peak has grown;
# most of what is uncertain about the years to come is where the trend goes.

result.plot_components(forecast=forecast)

# %%
# Is the model right?
# -------------------
# If it is, the errors of its predictions one month ahead, over their standard deviations, are
# independent draws from one normal distribution. Three tests ask whether they are.

diagnostics = result.diagnostics()
print(diagnostics.summary())

# %%
# The same in pictures. The two plots at the bottom show where the observation noise and the level
# were surprised, given all the data.

diagnostics.plot()

# %%
# Would it have known?
# --------------------
# The tests above look at the years from which the parameters were estimated. A harder question: had
# the fit stopped two years before the end, would these years have lain in its intervals?

held_out = y.iloc[-24:]
earlier = model.fit(y.iloc[:-24], verbose=0).forecast(24)
lower, upper = earlier.interval(0.9)
inside = ((lower <= held_out) & (held_out <= upper)).mean()
print(f"{100 * inside:.0f} % of the last 24 months lie in the 90 % intervals")

ax = earlier.plot(history=60, transform=np.exp)
ax.plot(held_out.index.to_timestamp(), np.exp(held_out), color="black", label="What came")
ax.legend(frameon=False, fontsize="small")
ax.set_ylabel("Thousands a month")

# %%
# **References**
#
# Box, G. E. P. and Jenkins, G. M. (1976). *Time Series Analysis: Forecasting and Control*,
# series G. Holden-Day.
#
# Durbin, J. and Koopman, S. J. (2012). *Time Series Analysis by State Space Methods*, 2nd edition,
# section 3.2. Oxford University Press.
