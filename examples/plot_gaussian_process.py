"""
Carbon dioxide: a kernel put together from parts
================================================

The air at Mauna Loa has been measured since 1958. Its carbon dioxide rises, from year to year a
little faster, and goes up and down with the seasons. A Gaussian process says all of that in its
kernel, a sum of parts whose parameters are learnt from the data.
"""

# %%
# The data
# --------
# Monthly means in parts per million. Those from 1990 on are kept for the end.

import numpy as np
import tensorflow_probability as tfp
from matplotlib import pyplot as plt
from statsmodels.datasets import co2

import statespace as ss

monthly = co2.load().data["co2"].resample("MS").mean().dropna()
years = (monthly.index.year + (monthly.index.month - 0.5) / 12).to_numpy()
x, y = years[:, np.newaxis], monthly.to_numpy()
seen = years < 1990

# %%
# The kernel
# ----------
# It is a function; its arguments are the parameters, by name. A trend is smooth over decades. A
# wave of one year has a form that may change slowly, which the product with a second kernel says.
# What is left comes and goes within months. The mean is a straight line; its two parameters are
# learnt as well.

kernels = tfp.math.psd_kernels


def kernel(
    trend_amplitude,
    trend_length_scale,
    season_amplitude,
    season_smoothness,
    season_length_scale,
    short_amplitude,
    short_length_scale,
):
    trend = kernels.ExponentiatedQuadratic(trend_amplitude, trend_length_scale)
    wave = kernels.ExpSinSquared(season_amplitude, season_smoothness, np.float64(1.0))
    form = kernels.ExponentiatedQuadratic(None, season_length_scale)
    short = kernels.MaternOneHalf(short_amplitude, short_length_scale)
    return trend + wave * form + short


def line(x, level, slope):
    return level + slope * (x[..., 0] - 1975)


model = ss.models.GaussianProcess(kernel, mean=line)
posterior = model.fit(x[seen], y[seen])
for name, value in posterior.params.items():
    print(f"{name:20} {value:10.3f}")
print(f"log marginal likelihood {posterior.log_marginal_likelihood:.1f}")

# %%
# Ten years ahead
# ---------------
# The prediction of a value to come is a normal distribution at each input.

ahead = np.arange(1990, 2002, 1 / 24)[:, np.newaxis]
prediction = posterior.predict(ahead)
mean, deviation = prediction.mean().numpy(), prediction.stddev().numpy()

fig, ax = plt.subplots(figsize=(9, 4.5), layout="constrained")
ax.plot(years[seen], y[seen], color="#4d4d4d", linewidth=0.8, label="Learnt from")
ax.plot(years[~seen], y[~seen], ".", color="black", markersize=3, label="What came")
ax.plot(ahead[:, 0], mean, color="#0072B2", linewidth=1.2, label="Predicted")
ax.fill_between(
    ahead[:, 0],
    mean - 1.645 * deviation,
    mean + 1.645 * deviation,
    color="#cce3f0",
    linewidth=0,
    zorder=1,
    label="90 % band",
)
ax.set_xlim(1975, 2002)
ax.set_ylim(325, 380)
ax.set_xlabel("Year")
ax.set_ylabel("Carbon dioxide (ppm)")
ax.legend(frameon=False, loc="upper left")
ax.spines[["top", "right"]].set_visible(False)

came = posterior.predict(x[~seen])
inside = np.abs(y[~seen] - came.mean()) < 1.645 * came.stddev()
error = np.sqrt(np.mean((y[~seen] - came.mean()) ** 2))
print(f"Error {error:.2f} ppm; {np.mean(inside):.0%} of what came lies in the band")

# %%
# That is less than the band promises. The rise was slower in the early nineties than anything in
# the years before had suggested, and the band takes the parameters for known, the slope of the
# line among them.

# %%
# Is the season needed?
# ---------------------
# Each observation can be predicted from all others, at no more than the cost of a factorisation.
# The mean of the log densities scores a model on data it has not seen. Without the part that
# repeats, neighbouring months must explain the waves.


def without_season(trend_amplitude, trend_length_scale, short_amplitude, short_length_scale):
    trend = kernels.ExponentiatedQuadratic(trend_amplitude, trend_length_scale)
    return trend + kernels.MaternOneHalf(short_amplitude, short_length_scale)


plain = ss.models.GaussianProcess(without_season, mean=line).fit(x[seen], y[seen])
residuals = {}
for label, fitted in (("With season", posterior), ("Without", plain)):
    left_out = fitted.leave_one_out()
    residuals[label] = y[seen] - left_out.mean.numpy()
    print(f"{label}: mean log density {np.mean(left_out.log_density):.2f}")

fig, ax = plt.subplots(figsize=(9, 3.2), layout="constrained")
ax.plot(years[seen], residuals["Without"], color="#E69F00", linewidth=1.2, label="Without")
ax.plot(years[seen], residuals["With season"], color="#0072B2", linewidth=1.2, label="With season")
ax.axhline(0, color="black", linewidth=0.5)
ax.set_xlim(1980, 1990)
ax.set_xlabel("Year")
ax.set_ylabel("Left-out error (ppm)")
fig.legend(frameon=False, loc="outside upper center", ncols=2)
ax.spines[["top", "right"]].set_visible(False)

# %%
# **References**
#
# Rasmussen, C. E. and Williams, C. K. I. (2006). *Gaussian Processes for Machine Learning*, section
# 5.4.3. MIT Press.
