"""
Bayesian optimisation with networks and Gaussian processes
==========================================================

A function whose every value is dear is to be minimised: an experiment, a simulation, the training
of another model. A surrogate is fitted to all values so far, and says where the next one promises
most. Twenty optimisations with starting points of their own run side by side here, on two functions
whose minima are known.
"""

# %%
# The functions
# -------------
# Branin's has three equal minima in the plane, Hartmann's of six variables a lowest one among
# several.

import os
import warnings

os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import keras
import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp
from matplotlib import pyplot as plt

import statespace as ss
from statespace.models.gaussian_process_parameters import Positive


def branin(x):
    a, b = x[..., 0], x[..., 1]
    valley = (b - 5.1 / (4 * np.pi**2) * a**2 + 5 / np.pi * a - 6) ** 2
    return valley + 10 * (1 - 1 / (8 * np.pi)) * np.cos(a) + 10


def hartmann(x):
    slopes = [[10, 3, 17, 3.5, 1.7, 8], [0.05, 10, 17, 0.1, 8, 14]]
    slopes += [[3, 3.5, 1.7, 10, 17, 8], [17, 8, 0.05, 10, 0.1, 14]]
    centres = [[1312, 1696, 5569, 124, 8283, 5886], [2329, 4135, 8307, 3736, 1004, 9991]]
    centres += [[2348, 1451, 3522, 2883, 3047, 6650], [4047, 8828, 8732, 5743, 1091, 381]]
    distance = np.array(slopes) * (x[..., np.newaxis, :] - 1e-4 * np.array(centres)) ** 2
    return -np.exp(-distance.sum(axis=-1)) @ [1.0, 1.2, 3.0, 3.2]


# Function, box, minimum, number of evaluations.
problems = {
    "Branin": (branin, np.array([[-5.0, 0.0], [10.0, 15.0]]), 0.397887, 40),
    "Hartmann-6": (hartmann, np.array([[0.0] * 6, [1.0] * 6]), -3.322368, 50),
}
runs, num_initial = 20, 10

# A network reproduces the first few values exactly, which the regression on it warns of.
warnings.filterwarnings("ignore", message=".*no maximum of the evidence")

# %%
# A Gaussian process
# ------------------
# With a length scale for each variable. All its parameters are estimated anew after each
# evaluation, those of all twenty runs at once. A thousandth of the spread of the values counts as
# error, so that points may come close to each other.


class Process:
    """A Gaussian process as a surrogate."""

    def __init__(self, limits):
        length_scale = Positive("length_scale", (limits.shape[1],), x_power=1)
        self.model = ss.models.GaussianProcess(
            self.kernel, lambda x, level: level, parameters=[length_scale]
        )

    @staticmethod
    def kernel(amplitude, length_scale):
        kernels = tfp.math.psd_kernels
        return kernels.FeatureScaled(kernels.MaternFiveHalves(amplitude), length_scale)

    def fit(self, x, y):
        error = 1e-6 * y.var(axis=-1, keepdims=True)
        self.posterior = self.model.fit(x, y, error_variance=error, num_starts=1)

    def predict(self, x):
        return self.posterior.predict(x, noise=False)


# %%
# A network with a Bayesian last layer
# ------------------------------------
# A Gaussian process takes time of the order of n^3. A network takes n, and so does a Bayesian
# linear regression on its last hidden layer, which adds what a network does not have: to know what
# it does not know. (Snoek et al., *Scalable Bayesian optimization using deep neural networks*, ICML
# 2015.) Each of the twenty runs has a network of its own; they are trained side by side, on squared
# errors, going on from where they were one evaluation earlier.


class Network:
    """Features of a network, and a Bayesian linear regression on them."""

    def __init__(self, limits, width=50, num_steps=100):
        keras.utils.set_random_seed(0)
        self.limits, self.num_steps = limits, num_steps

        def layer(units, activation=None):
            return keras.layers.EinsumDense(
                "rni,rij->rnj", (None, units), activation, bias_axes="rj", dtype="float64"
            )

        inputs = keras.Input((None, limits.shape[1]), batch_size=runs, dtype="float64")
        features = inputs
        for _ in range(3):
            features = layer(width, "tanh")(features)
        self.features = keras.Model(inputs, features)
        self.network = keras.Model(inputs, layer(1)(features))
        self.optimiser = keras.optimizers.AdamW(0.01, weight_decay=1e-4)
        self.optimiser.build(self.network.trainable_variables)
        values = [tf.TensorSpec([runs, None, limits.shape[1]], tf.float64)]
        values.append(tf.TensorSpec([runs, None], tf.float64))
        self.train = tf.function(self.train, input_signature=values, autograph=False)

    def train(self, x, y):
        variables = self.network.trainable_variables

        def step(i):
            with tf.GradientTape() as tape:
                missed = self.network(x)[..., 0] - y
                loss = tf.reduce_sum(tf.reduce_mean(missed**2, axis=-1))
            self.optimiser.apply(tape.gradient(loss, variables), variables)
            return i + 1

        tf.while_loop(lambda i: i < self.num_steps, step, [0])

    def at(self, x):
        """Features of points in the box."""
        low, high = self.limits
        return self.features(2 * (x - low) / (high - low) - 1)

    def fit(self, x, y):
        low, high = self.limits
        scaled = (y - y.mean(axis=-1, keepdims=True)) / y.std(axis=-1, keepdims=True)
        self.train(2 * (x - low) / (high - low) - 1, scaled)
        self.regression = ss.models.BayesianLinearRegression().fit(self.at(x), y)

    def predict(self, x):
        return self.regression.predict(self.at(x), noise=False)


# %%
# Optimisation
# ------------
# After ten random points, the next is that of the highest expected improvement, or that where a
# function drawn from the posterior is lowest (Thompson sampling), among points spread over the box
# and near the best one. ``suggest`` could go on from there along the gradient (``num_starts``),
# which is left out here for the sake of time.


def by_expected_improvement(surrogate, limits, x, y):
    return ss.active.suggest(
        surrogate.predict, limits, x, y, seed=x.shape[1], num_candidates=3000, num_starts=0
    ).numpy()


def by_thompson_sampling(surrogate, limits, x, y):
    rng = np.random.default_rng(x.shape[1])
    best = np.take_along_axis(x, np.argmin(y, axis=1)[:, np.newaxis, np.newaxis], axis=1)
    spread = rng.uniform(*limits, size=(runs, 1500, x.shape[2]))
    near = best + rng.normal(size=spread.shape) * 0.05 * (limits[1] - limits[0])
    points = np.append(spread, np.clip(near, *limits), axis=1)
    drawn = ss.active.thompson_sample(
        surrogate.regression, surrogate.at(points), 1, seed=x.shape[1]
    )
    return np.take_along_axis(points, drawn.numpy()[0][:, np.newaxis, np.newaxis], axis=1)[:, 0]


def regret(problem, surrogate_of, choose):
    """What the best value so far is above the minimum, ``[runs, evaluations]``."""
    function, limits, minimum, num_evaluations = problem
    rng = np.random.default_rng(0)
    x = rng.uniform(*limits, size=(runs, num_initial, limits.shape[1]))
    y = function(x)
    surrogate = surrogate_of(limits)
    while x.shape[1] < num_evaluations:
        surrogate.fit(x, y)
        following = choose(surrogate, limits, x, y)
        x = np.append(x, following[:, np.newaxis], axis=1)
        y = np.append(y, function(following)[:, np.newaxis], axis=1)
    return np.minimum.accumulate(y, axis=1) - minimum


def random_regret(problem):
    function, limits, minimum, num_evaluations = problem
    rng = np.random.default_rng(0)
    x = rng.uniform(*limits, size=(runs, num_initial, limits.shape[1]))
    more = rng.uniform(*limits, size=(runs, num_evaluations - num_initial, limits.shape[1]))
    return np.minimum.accumulate(function(np.append(x, more, axis=1)), axis=1) - minimum


regrets = {}
for name, problem in problems.items():
    regrets[name] = {
        "random points": random_regret(problem),
        "network, Thompson sampling": regret(problem, Network, by_thompson_sampling),
        "network, expected improvement": regret(problem, Network, by_expected_improvement),
        "Gaussian process, expected improvement": regret(problem, Process, by_expected_improvement),
    }

# %%
# Medians over the twenty runs, with quartiles. With so few evaluations of functions as smooth as
# its own draws, the Gaussian process is far ahead: it is what to use up to some thousands of them.
# A network has much to learn from so little, and yet does better than chance.

fig, axes = plt.subplots(1, 2, figsize=(10, 4.2), layout="constrained")
for (name, curves), ax in zip(regrets.items(), axes, strict=True):
    for (label, curve), color in zip(curves.items(), ("0.5", "C2", "C0", "C1"), strict=True):
        count = np.arange(num_initial, curve.shape[1] + 1)
        low, median, high = np.quantile(curve[:, num_initial - 1 :], [0.25, 0.5, 0.75], axis=0)
        ax.plot(count, median, color=color, label=label)
        ax.fill_between(count, low, high, color=color, alpha=0.15, lw=0)
    ax.set_yscale("log")
    ax.set_title(name, loc="left", fontsize="medium")
    ax.set_xlabel("evaluations")
axes[0].set_ylabel("best value so far, above the minimum")
legend = fig.legend(
    *axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False
)

# %%
# The medians at the end:

for name, curves in regrets.items():
    for label, curve in curves.items():
        print(f"{name}, {label}: {np.median(curve[:, -1]):.3g}")
