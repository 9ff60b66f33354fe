"""
Filling gaps in a film
======================

Films of a ball on a string, of which stretches are missing. Nobody says that there is a ball, or
where: ``ss.models.NeuralObservationModel`` learns to read two numbers off each frame, to draw a
frame from two numbers, and how these move, so that the frames become likely. Then it draws the
frames that are missing, and some that come after the end.
"""

import keras
import matplotlib.pyplot as plt
import numpy as np

import statespace as ss

SIZE, STEPS, GAP, AHEAD, EPOCHS = 16, 40, 8, 8, 120

# %%
# Films
# -----
# A ball swings on an arc, 16 x 16 pixels, with a period of 18 frames; how far differs between the
# films. Of each film two stretches of eight frames are missing; of the new films we also keep what
# follows.


def simulate(num_films, num_steps, rng):
    """Films, [B, T, 256]."""
    phase = rng.uniform(0, 2 * np.pi, (num_films, 1)) + 0.35 * np.arange(num_steps)
    angle = rng.uniform(0.3, 1.2, (num_films, 1)) * np.sin(phase)
    grid = np.linspace(-1.3, 1.3, SIZE)
    across = np.exp(-((grid - np.sin(angle)[..., np.newaxis]) ** 2) / 0.1)
    down = np.exp(-((grid - 1.0 + np.cos(angle)[..., np.newaxis]) ** 2) / 0.1)
    films = down[..., :, np.newaxis] * across[..., np.newaxis, :]
    films += 0.05 * rng.normal(size=films.shape)
    return films.reshape(num_films, num_steps, -1).astype("float32")


def with_gaps(films, rng):
    """The films with two stretches of NaN each."""
    films = films.copy()
    for film in films:
        for start in rng.integers([4, 22], [12, 30]):
            film[start : start + GAP] = np.nan
    return films


rng = np.random.default_rng(0)
films = with_gaps(simulate(200, STEPS, rng), rng)
whole = simulate(40, STEPS + AHEAD, rng)
new = with_gaps(whole[:, :STEPS], rng)
print(f"{np.isnan(films).mean():.0%} of all frames are missing")

# %%
# Training
# --------
# Two signals, of four states. The loss is minus a lower bound of the log-likelihood per frame.
# The encoder sees one frame at a time, so it is for the dynamics to know which way the ball moves.

keras.utils.set_random_seed(0)
model = ss.models.NeuralObservationModel(
    encoder=keras.Sequential([keras.layers.Dense(64, "relu"), keras.layers.Dense(32, "relu")]),
    dynamics=4,
    decoder=keras.Sequential(
        [keras.layers.Dense(32, "relu"), keras.layers.Dense(64, "relu"), keras.layers.Dense(256)]
    ),
    signal_dim=2,
)
schedule = keras.optimizers.schedules.CosineDecay(0.01, 8 * EPOCHS)
model.compile(keras.optimizers.Adam(schedule))
history = model.fit(films, batch_size=25, epochs=EPOCHS, verbose=0)
print([round(history.history["loss"][epoch]) for epoch in (0, EPOCHS // 4, EPOCHS - 1)])

# %%
# Films that the model has not seen
# ---------------------------------
# The noise in the frames, which nothing can foresee, is 0.05. Frames that are there come back
# without it. Of those missing, more than half of what the mean frame gets wrong is explained; the
# frame halfway between the two ends of a gap, faded from one to the other, does worse than the
# mean. Steps ahead are as good as gaps.

found = model.reconstruct(new, AHEAD).numpy()


def faded(film):
    """The film with its gaps filled by linear interpolation over time, pixel by pixel."""
    t = np.arange(len(film))
    there = ~np.isnan(film[:, 0])
    return np.stack([np.interp(t, t[there], pixel[there]) for pixel in film.T], axis=-1)


def error(filled, where):
    """Root mean squared error over some frames [B, T]."""
    return np.sqrt(np.mean((filled - whole[:, : filled.shape[1]])[where] ** 2))


missing = np.isnan(new[..., 0])
after = np.zeros(whole.shape[:2], bool)
after[:, STEPS:] = True
mean_frame = np.broadcast_to(np.nanmean(films, axis=(0, 1)), whole.shape)
fading = np.stack([faded(film) for film in new])
print(f"{'':14}{'seen':>8}{'missing':>9}{'ahead':>8}")
print(
    f"{'model':14}{error(found[:, :STEPS], ~missing):8.3f}"
    f"{error(found[:, :STEPS], missing):9.3f}{error(found, after):8.3f}"
)
print(f"{'fading':14}{'':8}{error(fading, missing):9.3f}")
print(
    f"{'mean frame':14}{error(mean_frame[:, :STEPS], ~missing):8.3f}"
    f"{error(mean_frame[:, :STEPS], missing):9.3f}{error(mean_frame, after):8.3f}"
)

# %%
# One of the films: what happened, what was seen of it, and what the model draws.

film = int(np.argmax(np.nanstd(new, axis=(1, 2))))
shown = np.arange(0, STEPS + AHEAD, 2)
seen = np.full(whole[film].shape, np.nan)
seen[:STEPS] = new[film]
fig, axes = plt.subplots(3, 1, figsize=(10, 3), layout="constrained")
for ax, (title, frames) in zip(
    axes,
    {"truth": whole[film], "seen": seen, "drawn": found[film]}.items(),
    strict=True,
):
    strip = np.concatenate([frames[t].reshape(SIZE, SIZE)[::-1] for t in shown], axis=1)
    ax.imshow(strip, cmap="gray", vmin=-0.1, vmax=1)
    ax.set_facecolor("C0")  # shows where frames are missing
    ax.axvline(STEPS / 2 * SIZE - 0.5, color="C1")
    ax.set(xticks=[], yticks=[], ylabel=title)
plt.show()
