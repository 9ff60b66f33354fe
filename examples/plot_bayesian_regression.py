"""
Which of ten features matter?
=============================

A year after ten measurements were taken of 442 diabetes patients, how far has the disease gone? A
linear regression on few patients overfits. Three priors deal with that, and the data themselves say
how strong each should be.
"""

# %%
# The data
# --------
# scikit-learn ships the set. The features are standardised already; eighty patients are to fit, and
# the other 362 to see what the fits are worth.

import matplotlib.pyplot as plt
import numpy as np
from scipy.stats import norm, t
from sklearn.datasets import load_diabetes

import statespace as ss

data = load_diabetes()
order = np.random.default_rng(0).permutation(len(data.target))
x, y = data.data[order] * np.sqrt(len(order)), data.target[order]
train, test = slice(None, 80), slice(80, None)

# %%
# Three priors
# ------------
# With a *flat* prior the regression is least squares. Under *evidence*, all weights are normal with
# one common scale, and the scale is the one under which the eighty observations are most likely.
# *ard* gives every weight a scale of its own; where the best scale is zero, the feature is out.

models = {
    prior: ss.models.BayesianLinearRegression(prior).fit(x[train], y[train])
    for prior in ("flat", "evidence", "ard")
}

fig, ax = plt.subplots(figsize=(8, 4), layout="constrained")
place = np.arange(len(data.feature_names))
for shift, (prior, model) in zip((-0.2, 0.0, 0.2), models.items(), strict=True):
    weights = model.coefficient_distribution()
    ax.errorbar(place + shift, weights.mean(), 2 * weights.stddev(), fmt="o", ms=4, label=prior)
ax.axhline(0, color="grey", lw=0.8)
ax.set_xticks(place, data.feature_names)
ax.set_ylabel("effect of one standard deviation")
ax.legend(title="prior")

# %%
# Bars are two standard deviations to each side. Least squares gives the serum measurements ``s1``
# to ``s5``, which depend on each other, large weights of opposite signs with huge uncertainty. The
# common scale shrinks them; with a scale for each, some are exactly zero:

for prior, model in models.items():
    print(f"{prior:9} {np.sum(model.coefficients != 0)} features")

# %%
# On new patients
# ---------------
# Each prediction is a distribution. How far off are the means, how many of the 362 outcomes lie
# within the 90 % intervals, and how probable were they?

for prior, model in models.items():
    prediction = model.predict(x[test])
    error = np.sqrt(np.mean((prediction.mean() - y[test]) ** 2))
    degrees = model.degrees_of_freedom
    quantile = norm.ppf(0.95) if degrees is None else t.ppf(0.95, degrees)
    inside = np.abs(y[test] - prediction.loc) < quantile * prediction.scale
    density = np.mean(prediction.log_prob(y[test]))
    print(f"{prior:9} error {error:.1f}, inside {np.mean(inside):.0%}, log density {density:.3f}")

# %%
# The common scale does best here, and three features alone nearly as well as all ten.
#
# More patients
# -------------
# ``update`` takes patients in one group after the other and gives what a fit to all of them would.
# The scales of the weights are estimated anew each time.

model = ss.models.BayesianLinearRegression("ard").fit(x[:20], y[:20])
counts, paths, deviations = [20], [model.coefficients], [model.coefficient_distribution().stddev()]
for start in range(20, 440, 20):
    model.update(x[start : start + 20], y[start : start + 20])
    counts.append(start + 20)
    paths.append(model.coefficients)
    deviations.append(model.coefficient_distribution().stddev())

fig, ax = plt.subplots(figsize=(8, 4), layout="constrained")
for name in ("bmi", "s5", "bp", "sex", "age"):
    column = data.feature_names.index(name)
    path, deviation = np.array(paths)[:, column], np.array(deviations)[:, column]
    (line,) = ax.plot(counts, path, label=name)
    ax.fill_between(counts, path - deviation, path + deviation, color=line.get_color(), alpha=0.15)
ax.axhline(0, color="grey", lw=0.8)
ax.set_xlabel("patients")
ax.set_ylabel("effect of one standard deviation")
ax.legend(ncols=5)

# %%
# Bands are one standard deviation to each side, and none where a feature is out. ``bmi`` and ``s5``
# are in early and stay.
