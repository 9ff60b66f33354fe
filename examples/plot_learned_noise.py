"""
Positions whose errors vary
===========================

Satellite positions are good in the open and bad among houses. The receiver reports how many
satellites it sees and how strong they are, not how wrong it is. A small network learns the
standard deviation of the error from that, together with the motion, by the likelihood of the
positions alone: nobody needs to know where the receiver was. It is compared with the Kalman
smoother that has one standard deviation for all, at its maximum likelihood.
"""

import keras
import matplotlib.pyplot as plt
import numpy as np

import statespace as ss

# %%
# Walks through a town
# --------------------
# Made up, so that there is a truth to compare with. Errors are between one metre and sixty; they
# depend on the number of satellites, and on their strength if there are few of them.

NUM_WALKS, NUM_STEPS = 80, 120
rng = np.random.default_rng(0)
velocity = rng.normal(0, 1, (NUM_WALKS, 1, 2)) + np.cumsum(
    0.15 * rng.normal(size=(NUM_WALKS, NUM_STEPS, 2)), axis=1
)
truth = np.cumsum(velocity, axis=1)
# How open the surroundings are drifts along the way.
openness = np.empty((NUM_WALKS, NUM_STEPS))
openness[:, 0] = rng.normal(size=NUM_WALKS)
for t in range(1, NUM_STEPS):
    openness[:, t] = 0.9 * openness[:, t - 1] + np.sqrt(1 - 0.9**2) * rng.normal(size=NUM_WALKS)
satellites = np.clip(np.round(8 + 3 * openness), 3, 14)
strength = rng.uniform(20, 45, (NUM_WALKS, NUM_STEPS))
deviation = np.exp(0.4 * (11 - satellites) + np.where(satellites < 6, 0.04 * (40 - strength), 0))
deviation = np.clip(deviation, 1.0, 60.0)
y = truth + deviation[..., np.newaxis] * rng.normal(size=truth.shape)
y[rng.random((NUM_WALKS, NUM_STEPS)) < 0.1] = np.nan  # no position at all
reported = np.stack([(satellites - 8) / 3, (strength - 32) / 7], axis=-1)
known, new = slice(0, 60), slice(60, None)

# %%
# One standard deviation for all
# ------------------------------

motion = ss.models.ConstantVelocity(2)
fixed = motion.fit(y[known], share=[p.name for p in motion.parameters], verbose=0)
shared = {name: value[0] for name, value in fixed.params.items()}
print({name: round(float(value), 3) for name, value in shared.items()})

# %%
# A network for the standard deviation
# ------------------------------------
# ``likelihood_weight`` makes minus the log-likelihood the loss. What the network emits is the
# noise of observations that are given, so the likelihood is a proper measure of it.

keras.utils.set_random_seed(0)
inputs = {
    "positions": keras.Input((NUM_STEPS, 2), name="positions"),
    "reported": keras.Input((NUM_STEPS, 2), name="reported"),
}
hidden = keras.layers.Dense(16, "tanh")(inputs["reported"])
log_scale = keras.layers.Dense(1)(keras.layers.Dense(16, "tanh")(hidden))
scale = keras.ops.repeat(keras.ops.exp(log_scale), 2, axis=-1)  # the same both ways
smoothed = ss.layers.KalmanSmoother(
    dynamics=motion,
    initial_values={"motion.scale": 0.5},
    diffuse_scale=100.0,
    likelihood_weight=1.0,
    join_standard_deviation=True,
)((inputs["positions"], scale))
network = keras.Model(inputs, smoothed)
noise = keras.Model(inputs["reported"], scale)
network.compile(keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(0.05, 3 * 80)))
data = {"positions": y, "reported": reported}
history = network.fit(
    {name: x[known] for name, x in data.items()}, batch_size=20, epochs=80, verbose=0
)

# %%
# On walks that neither has seen
# ------------------------------

columns = [motion.state_names.index(f"position_{axis}") for axis in (1, 2)]
result = ss.kalman_smoother(motion.build(shared), y[new])
spread = np.sqrt(np.diagonal(result.smoothed_covariance, axis1=-2, axis2=-1))
inputs_new = {name: x[new] for name, x in data.items()}
predictions = {
    "one noise scale": (result.smoothed_mean.numpy(), spread),
    "learned": np.split(network.predict(inputs_new, verbose=0), 2, axis=-1),
}
print(f"{'':16}{'error, m':>10}{'log score':>11}{'90 % intervals hold':>21}")
for name, (mean, spread) in predictions.items():
    joined = np.concatenate([mean[..., columns], spread[..., columns]], axis=-1)
    coverage = ss.layers.IntervalCoverage(0.9)
    coverage.update_state(truth[new], joined)
    score = float(ss.layers.GaussianLogScore()(truth[new], joined))
    error = np.sqrt(np.mean((mean[..., columns] - truth[new]) ** 2))
    print(f"{name:16}{error:10.2f}{score:11.2f}{float(coverage.result()):21.0%}")

# %%
# The network has found which positions to believe: the error is half, and the intervals are as
# reliable as the others while they are much shorter in the open. How wrong a position with so many
# satellites is it has learned from the positions alone, as the dots against the truth show.

walk = 3
fig, (left, right) = plt.subplots(1, 2, figsize=(10, 4.5), layout="constrained")
left.plot(*y[new][walk].T, ".", color="0.6", ms=4, label="reported")
left.plot(*truth[new][walk].T, "k--", lw=1, label="truth")
for (name, (mean, _)), color in zip(predictions.items(), ("C1", "C0"), strict=True):
    left.plot(*mean[walk][:, columns].T, color=color, label=name)
left.set(xlabel="east, m", ylabel="north, m", title="A walk", aspect="equal")
around = truth[new][walk]
low, high = around.min(axis=0) - 15, around.max(axis=0) + 15
left.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]))
left.legend()
learned = noise.predict(reported[new], verbose=0)[..., 0]
seen = (satellites[new] + rng.uniform(-0.3, 0.3, learned.shape)).ravel()
right.semilogy(seen, deviation[new].ravel(), ".", color="k", ms=2, label="truth")
right.semilogy(seen, learned.ravel(), ".", color="C0", ms=2, label="learned")
right.axhline(shared["irregular.scale"], color="C1", label="one for all")
right.set(xlabel="satellites, spread a little", title="Standard deviation of a position, m")
right.legend(markerscale=4)
plt.show()
