"""
Which labels are worth their price?
===================================

Features are cheap and labels dear: which patients to examine, which compounds to make, where to put
sensors. A Bayesian model knows what it does not know, and can say which labels would tell it most.
"""

# %%
# A batch is not the most uncertain points
# ----------------------------------------
# A Gaussian process has seen five points and may see six more. Where it is least certain, it is so
# at neighbouring points for the same reason, and one of them would do. ``select`` takes each point
# given those before it; that it does not know yet what will be observed there does not matter,
# since variances do not depend on it.

import numpy as np
import tensorflow_probability as tfp
from matplotlib import pyplot as plt
from sklearn.datasets import load_diabetes
from sklearn.preprocessing import PolynomialFeatures, StandardScaler

import statespace as ss

kernel = tfp.math.psd_kernels.MaternFiveHalves(np.float64(1.0), np.float64(0.8))
gp = ss.models.GaussianProcess(kernel)
noise = {"noise_variance": 0.01}
x = np.array([[0.3], [0.7], [4.0], [4.2], [7.5]])
posterior = gp.condition(x, np.sin(x[:, 0]), noise)

line = np.linspace(0, 10, 201)[:, np.newaxis]
deviation = posterior.predict(line, noise=False).stddev().numpy()
batches = {
    "the six most uncertain": np.argsort(-deviation)[:6],
    "most information": ss.active.select(posterior, line, 6).indices.numpy(),
}

fig, axes = plt.subplots(1, 2, figsize=(10, 3.2), sharey=True, layout="constrained")
for (name, chosen), ax in zip(batches.items(), axes, strict=True):
    both = np.concatenate([x, line[chosen]])
    after = gp.condition(both, np.zeros(len(both)), noise).predict(line, noise=False)
    ax.plot(line, deviation, color="0.6", label="before")
    ax.plot(line, after.stddev(), color="C0", label="after")
    ax.plot(x, np.zeros(len(x)), "|", color="0.4", ms=12, label="seen")
    ax.plot(line[chosen], np.zeros(len(chosen)), "^", color="C3", label="chosen")
    ax.set_title(name, loc="left", fontsize="medium")
    ax.set_xlabel("x")
axes[0].set_ylabel("standard deviation of f")
legend = fig.legend(
    *axes[1].get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False
)

# %%
# Learning curves
# ---------------
# Ground is to be surveyed that is hard to reach: of 300 places in the pool, four in five lie near
# one corner. The height is wanted everywhere, so we compare with it on a grid. The model is a
# Bayesian linear regression on bumps, and the error of the instrument is known. Twenty surveys,
# with pools of their own, run side by side: the regression takes them as a batch, and so does
# ``select``.
#
# The second task has real data: the progress of diabetes in 442 patients, from ten measurements,
# their squares and products. Scales of weights and noise are estimated anew for each number of
# labels. Pool and test patients are a random split, so random labels are no bad choice, and most of
# what differs between patients is noise to this model.


def learning_curve(criterion, prior, features, outcome, wanted, truth, start, batch, steps=6):
    """Errors at what is wanted ``[splits, steps]``, from pools of features and outcomes."""
    rng, splits, size = np.random.default_rng(0), len(features), features.shape[1]
    known = np.tile(np.arange(start), (splits, 1))
    errors = []
    while True:
        x = np.take_along_axis(features, known[..., np.newaxis], axis=1)
        y = np.take_along_axis(outcome, known, axis=1)
        model = ss.models.BayesianLinearRegression(prior).fit(x, y)
        missed = model.predict(wanted).mean() - truth
        errors.append(np.sqrt(np.mean(missed**2, axis=1)))
        if len(errors) == steps:
            return np.array(errors).T
        rest = np.array([np.setdiff1d(np.arange(size), row) for row in known])
        if criterion == "random":
            chosen = rng.permuted(np.tile(np.arange(rest.shape[1]), (splits, 1)), axis=1)[:, :batch]
        else:
            at = np.take_along_axis(features, rest[..., np.newaxis], axis=1)
            reference = wanted if criterion == "variance_reduction" else None
            chosen = ss.active.select(model, at, batch, criterion=criterion, reference=reference)
            chosen = chosen.indices.numpy()
        known = np.append(known, np.take_along_axis(rest, chosen, axis=1), axis=1)


def height(places):
    """Franke's surface, two hills and a hollow on the unit square."""
    x, y = 9 * places[..., 0], 9 * places[..., 1]
    return (
        0.75 * np.exp(-((x - 2) ** 2 + (y - 2) ** 2) / 4)
        + 0.75 * np.exp(-((x + 1) ** 2) / 49 - (y + 1) / 10)
        + 0.5 * np.exp(-((x - 7) ** 2 + (y - 3) ** 2) / 4)
        - 0.2 * np.exp(-((x - 4) ** 2) - (y - 7) ** 2)
    )


def bumps(places):
    """A hundred features of places in the unit square."""
    centres = np.stack(np.meshgrid(*[np.linspace(-0.1, 1.1, 10)] * 2), axis=-1).reshape(-1, 2)
    distance = np.linalg.norm(places[..., np.newaxis, :] - centres, axis=-1)
    return np.exp(-((distance / 0.2) ** 2))


splits, criteria = 20, ("random", "information_gain", "variance_reduction")
rng = np.random.default_rng(0)
pools = rng.beta(1.0, 4.0, size=(splits, 300, 2))
pools[:, ::5] = rng.uniform(size=(splits, 60, 2))
observed = height(pools) + 0.02 * rng.normal(size=pools.shape[:-1])
grid = np.stack(np.meshgrid(*[np.linspace(0, 1, 15)] * 2), axis=-1).reshape(1, -1, 2)
grid = np.repeat(grid, splits, axis=0)
survey = (bumps(pools), observed, bumps(grid), height(grid))

measurements, progress = load_diabetes(return_X_y=True)
measurements = StandardScaler().fit_transform(measurements)
products = PolynomialFeatures(2, include_bias=False).fit_transform(measurements)
order = np.array([rng.permutation(len(progress)) for _ in range(splits)])
pool, test = order[:, :300], order[:, 300:]
patients = (products[pool], progress[pool], products[test], progress[test])

instrument = ss.models.FixedPrior(noise_scale=0.02, weight_scale=0.5)
tasks = {"survey": (instrument, survey, 20, 10), "diabetes": ("evidence", patients, 30, 15)}
curves = {
    name: {c: learning_curve(c, prior, *data, start, batch) for c in criteria}
    for name, (prior, data, start, batch) in tasks.items()
}

# %%
# Bars are standard errors over the twenty pools.

fig, axes = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
for (name, (_, _, start, batch)), ax in zip(tasks.items(), axes, strict=True):
    for shift, (criterion, errors) in enumerate(curves[name].items()):
        labels = start + batch * np.arange(errors.shape[1])
        bar = np.std(errors, axis=0, ddof=1) / np.sqrt(splits)
        style = {"marker": "o", "ms": 4, "capsize": 2, "color": ["0.5", "C0", "C1"][shift]}
        label = criterion.replace("_", " ")
        ax.errorbar(labels + shift - 1, errors.mean(axis=0), bar, label=label, **style)
    ax.set_title(name, loc="left", fontsize="medium")
    ax.set_xlabel("labels")
axes[0].set_ylabel("root mean squared error")
legend = axes[0].legend(frameon=False)

# %%
# The mean errors at the end, and in how many of the twenty pools they are lower than with random
# labels. Choosing pays where labels differ in what they tell; noise that no label takes away is
# none of that.

for name, errors in curves.items():
    for criterion in criteria[1:]:
        last, random = errors[criterion][:, -1], errors["random"][:, -1]
        means = f"{last.mean():.4g} instead of {random.mean():.4g}"
        print(f"{name}, {criterion}: {means}, lower in {np.sum(last < random)}")
