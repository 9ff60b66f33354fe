"""
Tracking a boat
===============

A boat reports its position now and then, with an error of a hundred metres, and for twenty minutes
not at all. Where was it in between, and how fast? The differences of the reports are of no use for
that; a model of the motion is.
"""

# %%
# The reports
# -----------
# The track is made up, so that there is a truth to compare with: a boat that slows down and speeds
# up as it turns. Distances are in kilometres, times in hours. About once a minute, at irregular
# times, a report comes in; those between 1:20 and 1:40 are lost.

import numpy as np
from matplotlib import pyplot as plt

import statespace as ss

rng = np.random.default_rng(4)
seconds = np.arange(0, 3 * 3600 + 1)
hours = seconds / 3600
heading = 1.3 * np.sin(2 * np.pi * hours / 1.7) + 0.9 * hours - 1.4
speed = 15 + 5 * np.cos(2 * np.pi * hours / 1.1)
velocity = speed[:, np.newaxis] * np.stack([np.cos(heading), np.sin(heading)], axis=1)
track = np.cumsum(velocity, axis=0) / 3600

reported = np.sort(rng.choice(seconds, 180, replace=False))
reported = reported[(hours[reported] < 4 / 3) | (hours[reported] > 5 / 3)]
reports = track[reported] + rng.normal(0, 0.1, (len(reported), 2))

# %%
# Irregular times
# ---------------
# ``ConstantVelocity`` is a model in continuous time: the velocity wanders, and the position is its
# integral, whatever the time between two reports. To have the motion at other times as well, they
# are put among those of the reports, with nothing observed: here every half minute.

known = np.isin(seconds, reported)
wanted = known | (seconds % 30 == 0)
times = hours[wanted]
y = np.full((len(times), 2), np.nan)
y[known[wanted]] = reports

result = ss.models.ConstantVelocity(2).fit(y, times=times, verbose=0)
print(result.summary())

# %%
# The scale of the irregular is the error of a report, which was 0.1 km. That of the motion says how
# fast the velocity wanders; it is what the fit makes of the boat's manoeuvres.
#
# Where it was
# ------------
# The smoother knows the reports before and after. What it says of the states at each time is a
# normal distribution, with a mean and a covariance matrix.

states = result.smooth()
position = states.mean[:, [states.names.index(f"position_{i}") for i in (1, 2)]]
lost = (times > 4 / 3) & (times < 5 / 3)

fig, ax = plt.subplots(figsize=(9, 5), layout="constrained")
ax.plot(*reports.T, ".", color="#4d4d4d", markersize=4, label="Reports")
ax.plot(*track.T, color="black", linewidth=0.8, label="Truth")
ax.plot(*position.T, color="#0072B2", linewidth=1.8, label="Smoothed")
ax.plot(*position[lost].T, color="#D55E00", linewidth=1.8, label="Smoothed, no reports")
ax.set_aspect("equal")
ax.set_xlabel("East (km)")
ax.set_ylabel("North (km)")
ax.legend(frameon=False)
ax.spines[["top", "right"]].set_visible(False)

error = np.linalg.norm(position - track[wanted], axis=1)
for when, part in (("With reports", ~lost), ("Without", lost)):
    print(f"{when}: {1000 * np.sqrt(np.mean(error[part] ** 2)):.0f} m from the truth")

# %%
# How fast it was
# ---------------
# The speed is the length of the velocity, of which it is no linear function. So its distribution is
# taken from draws of the velocity. Dots are what the differences from one report to the next say;
# some lie far above the picture.

at = [states.names.index(f"velocity_{i}") for i in (1, 2)]
spread = np.linalg.cholesky(states.covariance[:, at][:, :, at])
draws = states.mean[:, at] + np.einsum("tij,stj->sti", spread, rng.normal(size=(2000, *y.shape)))
lower, median, upper = np.quantile(np.linalg.norm(draws, axis=-1), [0.05, 0.5, 0.95], axis=0)
differences = np.linalg.norm(np.diff(reports, axis=0), axis=1) / np.diff(hours[reported])

fig, ax = plt.subplots(figsize=(9, 4.5), layout="constrained")
ax.plot(hours[reported][1:], differences, ".", color="#4d4d4d", markersize=4, label="Differences")
ax.plot(hours, speed, color="black", linewidth=0.8, label="Truth")
ax.plot(times, median, color="#0072B2", linewidth=1.8, label="Smoothed")
ax.fill_between(times, lower, upper, color="#cce3f0", linewidth=0, zorder=1, label="90 % band")
ax.set_ylim(0, 40)
ax.set_xlabel("Time (hours)")
ax.set_ylabel("Speed (km/h)")
fig.legend(frameon=False, loc="outside upper center", ncols=4)
ax.spines[["top", "right"]].set_visible(False)

inside = np.mean((lower <= speed[wanted]) & (speed[wanted] <= upper))
print(f"The band holds the truth at {inside:.0%} of the times")

# %%
# That is more than the ninety in a hundred that it promises. The velocity of the model wanders
# without inertia; that of this boat does not, it changes smoothly, so the model expects worse than
# what comes. ``ConstantAcceleration`` has the acceleration wander, which is one integral further
# away from the position: another word in the call, for things that move like this.

# %%
# **References**
#
# Bar-Shalom, Y., Li, X. R. and Kirubarajan, T. (2001). *Estimation with Applications to Tracking
# and Navigation*, section 6.2. Wiley.
