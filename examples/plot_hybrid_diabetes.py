"""
Calibrated intervals from a network
===================================

A network predicts how far diabetes has gone a year on, but says nothing of how far it may be off.
The usual answer, the spread of its residuals, comes out far too small. A last layer that is a
*Bayesian linear regression* on the network's features gives intervals that hold what they promise.

The data come with scikit-learn: ``pip install scikit-learn``.
"""

# %%
# A network
# ---------
# 442 patients, ten measurements each. 200 of them train the network, 100 more are kept from it, and
# the other 142 are to be predicted; all this is repeated for ten random splits. After 200 steps,
# two layers of fifty units have learned their patients by heart; after 30, not yet.

import keras
import matplotlib.pyplot as plt
import numpy as np
from scipy.stats import norm
from sklearn.datasets import load_diabetes

import statespace as ss

data = load_diabetes()
x = (data.data * np.sqrt(len(data.data))).astype(np.float32)
y = ((data.target - data.target.mean()) / data.target.std()).astype(np.float32)[:, np.newaxis]

keras.utils.set_random_seed(0)
inputs = keras.Input((10,))
hidden = keras.layers.Dense(50, activation="tanh")(inputs)
features = keras.layers.Dense(50, activation="tanh")(hidden)
network = keras.Model(inputs, keras.layers.Dense(1)(features))
network.compile(keras.optimizers.Adam(5e-3), "mse")
network.optimizer.build(network.trainable_variables)
variables = [*network.variables, *network.optimizer.variables]
start = [v.numpy() for v in variables]

# %%
# Three ways to an interval
# -------------------------
# The first two add normal noise to the network's own prediction, with the variance of its residuals
# on the patients it was trained on, or on those kept from it. The third takes the last but one
# layer's output for features, and fits :class:`statespace.layers.BayesianLinear` to the patients
# kept from the network: what it says of the noise is then not flattered by the training.

below = keras.Model(inputs, features)
head = ss.layers.BayesianLinear(1)
LEVELS = np.array([0.5, 0.8, 0.9, 0.95])
WAYS = ("network, residuals of its own", "network, residuals of others", "BayesianLinear")
coverage, width, error, density = (
    {(steps, way): [] for steps in (30, 200) for way in WAYS} for _ in range(4)
)


def train_network(rows, steps):
    """From the same start, with all rows in each step."""
    for variable, value in zip(variables, start, strict=True):
        variable.assign(value)
    again = np.tile(rows, steps)
    network.fit(x[again], y[again], batch_size=len(rows), shuffle=False, verbose=0)


def evaluate(steps, order):
    """Trains on the first 200 patients of an order, and predicts the last 142."""
    train, kept, test = order[:200], order[200:300], order[300:]
    train_network(train, steps)
    prediction = network(x).numpy()
    residual = y - prediction
    z = below(x).numpy()
    head.fit_posterior(z[kept], y[kept])
    bayesian = head.predict_distribution(z[test])
    intervals = (
        (prediction[test], residual[train].std()),
        (prediction[test], residual[kept].std()),
        (bayesian.mean().numpy(), bayesian.stddev().numpy()),
    )
    for way, (mean, deviation) in zip(WAYS, intervals, strict=True):
        off = np.abs(y[test] - mean)
        case = steps, way
        coverage[case].append(np.mean(off < norm.ppf(0.5 + LEVELS / 2) * deviation, axis=0))
        width[case].append(2 * norm.ppf(0.95) * np.mean(deviation))
        error[case].append(np.sqrt(np.mean(off**2)))
        density[case].append(np.mean(norm.logpdf(off, scale=deviation)))


for split in range(10):
    order = np.random.default_rng(split).permutation(len(x))
    for steps in (30, 200):
        evaluate(steps, order)

# %%
# What came of it
# ---------------
# Means over the splits, in standard deviations of the disease's progress:

print("steps                                 90 % covers   width   error   log density")
for steps, way in coverage:
    case = steps, way
    print(
        f"{steps:5} {way:30} {np.mean(coverage[case], axis=0)[2]:12.0%}"
        f" {np.mean(width[case]):7.2f} {np.mean(error[case]):7.2f} {np.mean(density[case]):13.2f}"
    )

# %%
# Intervals from the residuals that training left are too narrow. Those of other patients make them
# honest, but only as narrow as the network is good. The regression, which has these patients as
# well, forgets what was learned by heart and keeps the features: its intervals are honest too, and
# after too many steps much narrower. Where training was stopped in time there is little to gain;
# but one has to know when that is.

fig, axes = plt.subplots(2, 2, figsize=(9, 7), layout="constrained", sharex="col")
colours = ("#D55E00", "#E69F00", "#0072B2")
for (left, right), steps in zip(axes, (30, 200), strict=True):
    left.plot([0, 1], [0, 1], color="0.6", lw=1)
    for place, (way, colour) in enumerate(zip(WAYS, colours, strict=True)):
        covered = np.array(coverage[steps, way])
        left.errorbar(
            LEVELS + 0.006 * (place - 1),
            covered.mean(axis=0),
            covered.std(axis=0),
            fmt="o",
            color=colour,
            capsize=3,
            ms=4,
        )
        jitter = np.linspace(-0.12, 0.12, len(covered))
        right.plot(width[steps, way], 2 - place + jitter, "o", color=colour, alpha=0.7, mew=0)
    left.set(ylabel="part of patients in the interval", xlim=(0.45, 1), ylim=(0, 1))
    left.set_title(f"{steps} steps", loc="left")
    right.set(yticks=[2, 1, 0], yticklabels=WAYS, ylim=(-0.5, 2.5), xlim=(0, 4))
    for label, colour in zip(right.get_yticklabels(), colours, strict=True):
        label.set_color(colour)
left.set_xlabel("interval's probability")
right.set_xlabel("width of 90 % intervals, ten splits")
plt.show()
