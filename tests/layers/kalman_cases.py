"""Kalman layers and inputs for their tests, by name."""

import keras
import numpy as np
from kalman.models import random_parameters

import statespace as ss

BATCH, STEPS, OBSERVED = 3, 7, 2


def observations(seed=0, missing=0.2):
    """``[BATCH, STEPS, OBSERVED]`` with a part missing."""
    rng = np.random.default_rng(seed)
    y = rng.normal(size=(BATCH, STEPS, OBSERVED))
    y[rng.random(y.shape) < missing] = np.nan
    return y


def scales(size, seed=1, full=False):
    """Positive diagonals ``[BATCH, STEPS, size]``, or lower triangular matrices."""
    rng = np.random.default_rng(seed)
    diagonal = np.exp(0.5 * rng.normal(size=(BATCH, STEPS, size)))
    if not full:
        return diagonal
    below = np.tril(0.3 * rng.normal(size=(BATCH, STEPS, size, size)), -1)
    return below + diagonal[..., np.newaxis] * np.eye(size)


def fixed_dynamics(seed=2, n=3):
    """A LinearGaussianSSM."""
    rng = np.random.default_rng(seed)
    return ss.LinearGaussianSSM(**random_parameters(rng, n, OBSERVED, k=2))


def emitted(num_disturbances, num_controls=2, full=False):
    """All inputs that an encoder may emit, a dict."""
    rng = np.random.default_rng(3)
    return {
        "observations": observations(),
        "observation_noise_scale": scales(OBSERVED, full=full),
        "transition_noise_scale": scales(num_disturbances, seed=4, full=full),
        "controls": rng.normal(size=(BATCH, STEPS, num_controls)),
    }


# Arguments of a layer, and what it is called with.
CASES = {
    "learned": ({"state_dim": 3}, observations()),
    "learned, scale emitted": ({"state_dim": 3}, (observations(), scales(OBSERVED))),
    "learned, all emitted": ({"state_dim": 3}, emitted(3, full=True)),
    "learned in part": (
        {"state_dim": 2, "fix": {"transition_matrix": [[1.0, 1.0], [0.0, 1.0]]}},
        observations(),
    ),
    "fixed": ({"dynamics": fixed_dynamics()}, observations()),
    "fixed, all emitted": ({"dynamics": fixed_dynamics()}, emitted(2)),
    "velocity": ({"dynamics": ss.models.ConstantVelocity(OBSERVED)}, observations()),
    "velocity, scale emitted": (
        {"dynamics": ss.models.ConstantVelocity(OBSERVED)},
        (observations(), scales(OBSERVED, full=True)),
    ),
    "velocity, all emitted": (
        {"dynamics": ss.models.ConstantVelocity(OBSERVED)},
        emitted(2 * OBSERVED),
    ),
    "sum of components": (
        {"dynamics": ss.models.DampedTrend() + ss.models.Seasonal(3)},
        observations()[..., :1],
    ),
    "autoregression": ({"dynamics": ss.models.Autoregressive(2)}, observations()[..., :1]),
    "regression": (
        {"dynamics": ss.models.LocalLevel() + ss.models.Regression(2)},
        {
            "observations": observations()[..., :1],
            "features": np.random.default_rng(6).normal(size=(BATCH, STEPS, 2)),
        },
    ),
    "irregular times": (
        {"dynamics": ss.models.ConstantVelocity(OBSERVED)},
        {
            "observations": observations(),
            "times": np.cumsum(np.random.default_rng(7).exponential(size=(BATCH, STEPS)), axis=1),
        },
    ),
}
LAYERS = {"filter": ss.layers.KalmanFilter, "smoother": ss.layers.KalmanSmoother}


def made(kind, case, dtype="float64", **options):
    """A layer of a case, always with the same weights, and its inputs in the layer's dtype."""
    arguments, inputs = CASES[case]
    keras.utils.set_random_seed(1)
    layer = LAYERS[kind](**arguments, dtype=dtype, **options)
    layer.build(keras.tree.map_structure(np.shape, inputs))
    return layer, keras.tree.map_structure(lambda x: x.astype(dtype), inputs)
