"""
A sensor that knows when it is bad
==================================

A receiver reports positions, and beside each the strength of the signal. How far a report may be
off depends on that, but nobody knows how. A small network learns it, below a Kalman smoother: both
are trained together by the likelihood of the reports, without any true position. The same
smoother with one noise for all reports is what it has to beat.
"""

# %%
# The reports
# -----------
# All is made up, so that there is a truth: vehicles that wander at a speed that changes slowly,
# seen once a second. Where the signal is good a report is off by a third of a metre, where it is
# bad by five; in between lies a steep step. The temperature, which is reported too, means nothing.
# Some reports are lost.

import keras
import numpy as np
from matplotlib import pyplot as plt
from scipy.signal import lfilter
from scipy.stats import norm

import statespace as ss

STEPS = 120


def wander(rng, shape, memory):
    """Processes of variance one that forget within ``memory`` steps."""
    decay = np.exp(-1 / memory)
    start = rng.normal(size=(*shape[:-1], 1))
    noise = np.sqrt(1 - decay**2) * rng.normal(size=shape)
    return lfilter([1.0], [1.0, -decay], noise, axis=-1, zi=decay * start)[0]


def true_noise(signal):
    """Standard deviation of a report, in metres."""
    return 0.3 + 5.0 / (1 + np.exp(4 * (signal + 0.6)))


def simulate(seed, vehicles):
    """Reports and what comes with them, and the true positions."""
    rng = np.random.default_rng(seed)
    velocity = wander(rng, (vehicles, 2, STEPS), memory=40.0)
    position = np.cumsum(velocity, axis=-1).swapaxes(1, 2)
    signal, temperature = np.moveaxis(wander(rng, (vehicles, 2, STEPS), memory=8.0), 1, 0)
    scale = true_noise(signal)[..., np.newaxis]
    reports = position + scale * rng.normal(size=position.shape)
    reports[rng.random((vehicles, STEPS)) < 0.1] = np.nan
    beside = np.stack([signal, temperature], axis=-1)
    return reports.astype(np.float32), beside.astype(np.float32), position


reports, beside, position = simulate(0, 200)
test_reports, test_beside, test_position = simulate(1, 200)

# %%
# The models
# ----------
# ``ConstantVelocity`` gives the smoother its dynamics; how much the velocity wanders is a weight of
# the layer. The encoder emits the standard deviation of each report, for which the layer then has
# no weight of its own. Both models have the negative log-likelihood per report for their loss, and
# no other: ``likelihood_weight=1``.

keras.utils.set_random_seed(0)


def smoother():
    return ss.layers.KalmanSmoother(
        dynamics=ss.models.ConstantVelocity(2), likelihood_weight=1.0, join_standard_deviation=True
    )


y = keras.Input((None, 2))
fixed = keras.Model(y, smoother()(y))

seen = keras.Input((None, 2))
hidden = keras.layers.Dense(16, activation="tanh")(seen)
scale = keras.layers.Dense(1, activation="softplus")(hidden)
encoder = keras.Model(seen, scale)
learned = keras.Model([y, seen], smoother()((y, keras.layers.Concatenate()([scale, scale]))))

for model, inputs in ((fixed, reports), (learned, [reports, beside])):
    model.compile(keras.optimizers.Adam(0.02))
    history = model.fit(inputs, batch_size=50, epochs=40, verbose=0).history["loss"]
    print(f"Loss from {history[0]:.2f} to {history[-1]:.2f}")

# %%
# What it is worth
# ----------------
# On vehicles that neither has seen, against their true positions. The third row is the smoother
# that is told the true noise, as good as any can get.

told = smoother()
told.build([(None, STEPS, 2), (None, STEPS, 2)])
told.set_weights([w.numpy() for w in learned.layers[-1].weights])
scales = np.repeat(true_noise(test_beside[..., :1]), 2, axis=-1).astype(np.float32)
predictions = {
    "one noise for all": fixed.predict(test_reports, verbose=0),
    "noise learned": learned.predict([test_reports, test_beside], verbose=0),
    "noise known": told((test_reports, scales)).numpy(),
}
good = test_beside[..., 0] > 0
half = norm.ppf(0.95)

print("                     error (m)            90 % intervals hold    CRPS (m)")
print("                     all   good   bad      all   good    bad")
for name, predicted in predictions.items():
    # States are position and velocity of one axis, then of the other; standard deviations follow.
    mean, deviation = predicted[..., [0, 2]], predicted[..., [4, 6]]
    error = mean - test_position
    inside = np.abs(error) < half * deviation
    parts = (good | True, good, ~good)
    off = " ".join(f"{np.sqrt(np.mean(error[part] ** 2)):6.2f}" for part in parts)
    held = " ".join(f"{np.mean(inside[part]):6.0%}" for part in parts)
    loss = ss.layers.GaussianCRPS()(test_position, np.concatenate([mean, deviation], axis=-1))
    print(f"{name:18} {off}   {held} {loss:10.3f}")

# %%
# To one noise for all, a bad report weighs as much as a good one. Its intervals hold what they
# promise on average only: too wide where the signal is good, too narrow where it is bad. The
# smoother with the learned noise is as good as the one that was told.

fig, axes = plt.subplots(1, 2, figsize=(10, 4.2), layout="constrained")
strength = np.linspace(-2.5, 2.5, 200, dtype=np.float32)
emitted = encoder.predict(np.stack([strength, 0 * strength], axis=-1)[np.newaxis], verbose=0)
axes[0].plot(strength, true_noise(strength), color="black", lw=0.8, label="truth")
axes[0].plot(strength, emitted[0, :, 0], color="#0072B2", lw=1.8, label="learned")
one = float(fixed.layers[-1].parameters["irregular.scale"])
axes[0].axhline(one, color="#D55E00", lw=1.8, label="one for all")
axes[0].set(xlabel="signal", ylabel="standard deviation of a report (m)", ylim=(0, None))
axes[0].legend(frameon=False)

levels = np.linspace(0.05, 0.95, 19)
axes[1].plot([0, 1], [0, 1], color="0.6", lw=0.8)
for name, colour in (("one noise for all", "#D55E00"), ("noise learned", "#0072B2")):
    mean, deviation = predictions[name][..., [0, 2]], predictions[name][..., [4, 6]]
    z = np.abs(mean - test_position) / deviation
    for part, style, word in ((good, "-", "good"), (~good, "--", "bad")):
        held = [np.mean(z[part] < norm.ppf(0.5 + level / 2)) for level in levels]
        axes[1].plot(levels, held, style, color=colour, label=f"{name}, {word} signal")
axes[1].set(xlabel="interval's probability", ylabel="part of true positions in it")
axes[1].legend(frameon=False)
for ax in axes:
    ax.spines[["top", "right"]].set_visible(False)

# %%
# One vehicle. Where the signal fades, the smoother with one noise follows reports that are wide of
# the mark; the other carries on as the motion says.

which = int(np.argmin(np.mean(test_beside[..., 0], axis=1)))
fig, ax = plt.subplots(figsize=(9, 4.5), layout="constrained")
steps = np.arange(STEPS)
ax.plot(steps, test_reports[which, :, 0], ".", color="#4d4d4d", ms=4, label="Reports")
ax.plot(steps, test_position[which, :, 0], color="black", lw=0.8, label="Truth")
for name, colour in (("one noise for all", "#D55E00"), ("noise learned", "#0072B2")):
    mean, deviation = (predictions[name][which, :, column] for column in (0, 4))
    ax.plot(steps, mean, color=colour, lw=1.8, label=name.capitalize())
    ax.fill_between(
        steps, mean - half * deviation, mean + half * deviation, color=colour, alpha=0.2, lw=0
    )
ax.set(xlabel="Time (s)", ylabel="East (m)")
fig.legend(frameon=False, loc="outside upper center", ncols=4)
ax.spines[["top", "right"]].set_visible(False)
plt.show()
