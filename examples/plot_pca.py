"""
How many principal components?
==============================

The share of variance that components explain only grows with their number. Probabilistic PCA is a
density, so data that were left out say where to stop.
"""

# %%
# The data
# --------
# Handwritten digits of 8 x 8 pixels, which scikit-learn ships: a thousand of them, with noise on
# top, as from a bad camera. What they were without it is only looked at in the end. Each item of
# the batch below leaves out another fifth; ``PCA.fit`` takes all five training sets at once.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

import statespace as ss

FOLDS = 5
rng = np.random.default_rng(0)
clean = rng.permutation(load_digits().data)[:1000]
noisy = clean + 4.0 * rng.normal(size=clean.shape)
left_out = noisy.reshape(FOLDS, -1, noisy.shape[1])
train = np.stack([np.concatenate(np.delete(left_out, i, axis=0)) for i in range(FOLDS)])
print(f"training sets {train.shape}, left out {left_out.shape}")

# %%
# Likelihood of what was left out
# -------------------------------
# The model is ``x = mean + W z + noise`` with K coordinates ``z`` and one variance of the noise for
# all pixels.

counts = np.arange(1, 64)
explained, seen, others = [], [], []
for count in counts:
    pca = ss.models.PCA(int(count), ddof=0).fit(train)
    explained.append(np.mean(np.sum(pca.explained_variance_ratio, axis=-1)))
    seen.append(np.mean(pca.log_likelihood(train)))
    others.append(np.mean(pca.log_likelihood(left_out), axis=-1))
others = np.array(others)
average = others.mean(axis=1)
best = int(counts[np.argmax(average)])

fig, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
left.plot(counts, explained)
left.set_xlabel("components")
left.set_ylabel("explained share of the variance")
right.plot(counts, seen, color="grey", ls="--", label="training digits")
right.plot(counts, average, label="digits left out")
right.fill_between(counts, others.min(axis=1), others.max(axis=1), alpha=0.2)
right.axvline(best, color="black", lw=0.8, label=f"highest at {best}")
right.set_xlabel("components")
right.set_ylabel("log likelihood of a digit")
_ = right.legend()

# %%
# The band is the range over the five folds. On the left nothing says where to stop; nor does the
# likelihood of the training digits, and that of the others does.

pca = ss.models.PCA(best, ddof=0).fit(noisy)
print(f"{best} components, {np.sum(pca.explained_variance_ratio):.0%} of the variance")
print(f"noise of a pixel: {np.sqrt(pca.noise_variance):.2f}, as put on top: 4")

# %%
# Taking the noise away
# ---------------------
# Given a noisy digit, the mean of ``mean + W z`` is a ridge regression on the loadings. How far is
# it from the digit that nobody has seen?


def restored(pca):
    """The mean of all noisy digits without their noise."""
    scale = np.sqrt(pca.noise_variance)
    z = ss.linalg_ops.least_squares(
        pca.loadings / scale, ((noisy - pca.mean) / scale).numpy().T, ridge=1.0
    )
    return pca.mean.numpy() + (pca.loadings @ z).numpy().T


def error(images):
    return np.sqrt(np.mean((images - clean) ** 2))


print(f"error of a pixel: noisy {error(noisy):.2f}, restored {error(restored(pca)):.2f}")
for count in (2, 60):
    other = ss.models.PCA(count, ddof=0).fit(noisy)
    print(f"with {count:2} components {error(restored(other)):.2f}")

fig, axes = plt.subplots(3, 8, figsize=(9, 3.6), layout="constrained")
rows = {"clean": clean, "noisy": noisy, "restored": restored(pca)}
for row, (name, images) in zip(axes, rows.items(), strict=True):
    for ax, image in zip(row, images, strict=False):
        ax.imshow(image.reshape(8, 8), cmap="gray_r", vmin=0, vmax=16)
        ax.set(xticks=[], yticks=[])
    row[0].set_ylabel(name)
