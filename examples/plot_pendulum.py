"""
A pendulum on film: which frames to trust
=========================================

A camera films a pendulum, and now and then something passes before it. A network that reads the
position off each frame is lost there. ``ss.models.NeuralObservationModel`` lets the network say how
far each frame is to be trusted, and a Kalman smoother, whose dynamics are learned with it, put the
frames together. Nobody tells the network which frames are covered.

It is compared with the network that one would take otherwise: the same encoder below an LSTM that
reads the film in both directions. Both emit a mean and a standard deviation for the position of
the bob, and both are trained by the logarithmic score.
"""

import keras
import matplotlib.pyplot as plt
import numpy as np

import statespace as ss

SIZE, STEPS, EPOCHS = 16, 60, 30

# %%
# Films
# -----
# The pendulum swings freely, with friction, from a random start: theta'' = -9 sin(theta) - 0.1
# theta'. A frame shows the bob as a blur of 16 x 16 pixels. Covered frames, a quarter of all in
# runs of up to ten, show noise of the same brightness.


def simulate(num_films, rng, dt=0.1):
    """Films [B, T, 16, 16, 1], positions of the bob [B, T, 2], which frames are covered [B, T]."""
    angle, speed = rng.uniform(-1.2, 1.2, num_films), rng.normal(0.0, 1.0, num_films)
    angles = np.empty((num_films, STEPS))
    for t in range(STEPS):
        angles[:, t] = angle
        for _ in range(10):
            speed += dt / 10 * (-9 * np.sin(angle) - 0.1 * speed)
            angle = angle + dt / 10 * speed
    position = np.stack([np.sin(angles), -np.cos(angles)], axis=-1)
    grid = np.linspace(-1.3, 1.3, SIZE)
    across = np.exp(-((grid - position[..., :1]) ** 2) / 0.08)
    down = np.exp(-((grid - position[..., 1:]) ** 2) / 0.08)
    films = down[..., :, np.newaxis] * across[..., np.newaxis, :]
    films = films + 0.05 * rng.normal(size=films.shape)
    covered = np.zeros((num_films, STEPS), bool)
    for film in range(num_films):
        t = rng.integers(3, 20)
        while t < STEPS:
            length = rng.integers(2, 11)
            covered[film, t : t + length] = True
            t += length + rng.integers(8, 28)
    noise = rng.uniform(size=films.shape) ** 8
    films = np.where(covered[..., np.newaxis, np.newaxis], noise, films)
    return films[..., np.newaxis].astype("float32"), position.astype("float32"), covered


rng = np.random.default_rng(0)
films, position, _ = simulate(240, rng)
test_films, test_position, test_covered = simulate(60, rng)
print(f"{test_covered.mean():.0%} of the frames are covered")


# %%
# Two networks
# ------------
# The smoother's state has six components, of which the position is a linear function; how they
# move is learned. The LSTM has 32 units in each direction, and twice as many weights in all.


def encoder():
    """From frames to features."""
    return keras.Sequential(
        [
            keras.layers.Flatten(),
            keras.layers.Dense(64, "relu"),
            keras.layers.Dense(32, "relu"),
        ]
    )


def trained(network):
    """The network after training on the films, by the logarithmic score."""
    network.compile(
        keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(0.01, 8 * EPOCHS)),
        loss=ss.layers.GaussianLogScore(),
    )
    network.fit(films, position, batch_size=30, epochs=EPOCHS, verbose=0)
    return network


keras.utils.set_random_seed(1)
smoother = trained(ss.models.NeuralObservationModel(encoder(), 6, signal_dim=2))

inputs = keras.Input((STEPS, SIZE, SIZE, 1))
hidden = keras.layers.TimeDistributed(encoder())(inputs)
hidden = keras.layers.Bidirectional(keras.layers.LSTM(32, return_sequences=True))(hidden)
mean, scale = keras.layers.Dense(2)(hidden), keras.layers.Dense(2, "softplus")(hidden)
lstm = trained(keras.Model(inputs, keras.layers.Concatenate()([mean, scale + 1e-3])))


# %%
# On films that neither has seen
# ------------------------------
# Where the bob is in view there is little between them; the LSTM is a bit more exact. While it is
# hidden, the smoother's error is about a quarter of the LSTM's. The 90 % intervals of both hold
# somewhat less than that then: a pendulum is no linear system, and what the smoother knows of its
# dynamics is not exact, which its covariances take no account of. Training the LSTM four times as
# long brings its error nearer to the smoother's, and makes its intervals much too narrow: set
# ``EPOCHS`` to 120.

predictions = {
    name: np.split(network.predict(test_films, verbose=0), 2, axis=-1)
    for name, network in (("smoother", smoother), ("LSTM", lstm))
}
print(f"{'':18}{'error':>8}{'log score':>11}{'90 % interval':>15}")
for name, (mean, deviation) in predictions.items():
    for kind, which in (("in view", ~test_covered), ("hidden", test_covered)):
        joined = np.concatenate([mean, deviation], axis=-1)[which]
        score = ss.layers.GaussianLogScore()(test_position[which], joined)
        coverage = ss.layers.IntervalCoverage(0.9)
        coverage.update_state(test_position[which], joined)
        error = np.sqrt(np.mean((mean - test_position)[which] ** 2))
        print(f"{name:9} {kind:8}{error:8.3f}{float(score):11.2f}{float(coverage.result()):15.0%}")

# %%
# What the encoder says of its own reading, frame by frame: a standard deviation near 0.01 in view,
# and a hundred times that when something is before the lens. It was never told so.

noise = smoother.smoothed(test_films).noise_scale.numpy()
film = int(np.argmax(test_covered.sum(axis=1)))
shown = np.arange(0, STEPS, 5)
fig, axes = plt.subplots(3, 1, figsize=(8, 7), height_ratios=[1, 3, 2], layout="constrained")
strip = np.concatenate([test_films[film, t, ..., 0] for t in shown], axis=1)
axes[0].imshow(strip, cmap="gray", extent=(-2.5, STEPS - 2.5, 0, 5), aspect="auto")
axes[0].set(yticks=[], xticks=shown, title="Every fifth frame")
steps = np.arange(STEPS)
for (name, (mean, deviation)), color in zip(predictions.items(), ("C0", "C1"), strict=True):
    m, s = mean[film, :, 0], deviation[film, :, 0]
    axes[1].plot(steps, m, color=color, label=name)
    axes[1].fill_between(steps, m - 1.645 * s, m + 1.645 * s, color=color, alpha=0.25, lw=0)
axes[1].plot(steps, test_position[film, :, 0], "k--", lw=1, label="truth")
axes[1].set(ylabel="across", title="Position, with 90 % intervals (shaded: covered frames)")
axes[1].legend(loc="upper right", ncols=3)
axes[2].semilogy(steps, noise[film, :, 0], color="C0")
axes[2].set(xlabel="frame", ylabel="noise scale", title="Learned noise of the encoder's reading")
for ax in axes[1:]:
    ax.fill_between(
        steps,
        0,
        1,
        where=test_covered[film],
        step="mid",
        color="0.85",
        transform=ax.get_xaxis_transform(),
        zorder=0,
    )
    ax.set_xlim(-2.5, STEPS - 2.5)
plt.show()
