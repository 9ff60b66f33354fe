"""
Filling gaps in a film
======================

Films of a ball on a string, of which stretches are missing. Nobody says that there is a ball, or
where: ``ss.models.NeuralObservationModel`` learns to read two numbers off each frame, to draw a
frame of two numbers, and how these move, so that the frames become likely. Then it draws the frames
that are missing, and some that come after the end.
"""

import keras
import matplotlib.pyplot as plt
import numpy as np

import statespace as ss

SIZE, STEPS, GAP, AHEAD = 16, 40, 8, 8

# %%
# Films
# -----
# A ball swings in the plane, 16 x 16 pixels, at a speed that is the same in all films. Of each
# film two stretches of eight frames are missing; of the new films we also keep what follows.


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

keras.utils.set_random_seed(0)
model = ss.models.NeuralObservationModel(
    encoder=keras.Sequential(
        [keras.layers.Dense(64, "relu"), keras.layers.Dense(32, "relu")]
    ),
    dynamics=3,
    decoder=keras.Sequential(
        [keras.layers.Dense(32, "relu"), keras.layers.Dense(64, "relu"), keras.layers.Dense(256)]
    ),
    signal_dim=1,
)
EPOCHS = 80
schedule = keras.optimizers.schedules.CosineDecay(0.005, 8 * EPOCHS)
model.compile(keras.optimizers.Adam(schedule))
history = model.fit(films, batch_size=25, epochs=EPOCHS, verbose=0)
print([round(history.history["loss"][epoch]) for epoch in (0, EPOCHS // 4, EPOCHS - 1)])
