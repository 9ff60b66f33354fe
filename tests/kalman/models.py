"""Random models and data for the tests of inference."""

import numpy as np
import tensorflow as tf
from oracles.dense import Model

import statespace as ss
from statespace import native

NAMES = (
    "transition_matrix",
    "transition_scale",
    "observation_matrix",
    "observation_scale",
    "transition_offset",
    "observation_offset",
    "initial_mean",
    "initial_scale",
)


def random_parameters(rng, n, m, *, k=None, lead=(), batch=()):
    """Parameters by name; per-step ones get the leading axes ``lead``, initial ones ``batch``."""
    k = n if k is None else k

    def normal(*shape):
        return rng.normal(size=shape)

    return {
        "transition_matrix": 0.6 * np.eye(n) + 0.3 * normal(*lead, n, n) / np.sqrt(n),
        "transition_scale": 0.5 * normal(*lead, n, k),
        "observation_matrix": normal(*lead, m, n),
        "observation_scale": 0.7 * np.eye(m) + 0.2 * normal(*lead, m, m),
        "transition_offset": 0.3 * normal(*lead, n),
        "observation_offset": 0.3 * normal(*lead, m),
        "initial_mean": normal(*batch, n),
        "initial_scale": np.eye(n) + 0.2 * normal(*batch, n, n),
    }


def random_data(rng, batch, num_steps, m, missing=0.25):
    """y [*batch, T, m] with single components and one whole step missing."""
    y = rng.normal(size=(*batch, num_steps, m))
    y[rng.random(y.shape) < missing] = np.nan
    if missing and num_steps > 2:
        y[..., 1, :] = np.nan
    return y


def per_series(parameters, batch):
    """The same model with parameters of its own for every series."""
    own = {}
    for name in NAMES:
        x = parameters[name]
        core = 1 if name in ("transition_offset", "observation_offset", "initial_mean") else 2
        steps = () if name.startswith("initial") else (x.shape[-core - 1] if x.ndim > core else 1,)
        own[name] = np.broadcast_to(x, (batch, *steps, *x.shape[x.ndim - core :])).copy()
    return own


def per_step(parameters, num_steps):
    """The parameters repeated for every step: no covariance is taken for a settled one."""
    return {
        name: x if name.startswith("initial") else np.repeat(x[np.newaxis], num_steps, 0)
        for name, x in parameters.items()
    }


def slow_level(deviation):
    """A level that hardly moves: after thousands of steps its variance is still on its way."""
    return {
        "transition_matrix": np.eye(1),
        "transition_scale": np.array([[1e-4]]),
        "observation_matrix": np.eye(1),
        "observation_scale": np.eye(1),
        "transition_offset": np.zeros(1),
        "observation_offset": np.zeros(1),
        "initial_mean": np.zeros(1),
        "initial_scale": deviation * np.eye(1),
    }


def build(parameters, dtype=tf.float64):
    """The model of parameters by name."""
    return ss.LinearGaussianSSM(**{k: tf.cast(v, dtype) for k, v in parameters.items()})


def tensors(results):
    """The tensors of nested results: None stands where a form computes no scales."""
    return [x for x in tf.nest.flatten(results) if x is not None]


def floating(results):
    """Those of floating dtype: all but the status."""
    return [x for x in tensors(results) if x.dtype.is_floating]


def dense(parameters, item, batch, num_steps):
    """The oracle's model of one batch item."""
    arrays = []
    for name in NAMES:
        x = np.asarray(parameters[name])
        core = 1 if name in ("transition_offset", "observation_offset", "initial_mean") else 2
        steps = () if name.startswith("initial") else (num_steps,)
        arrays.append(np.broadcast_to(x, (*batch, *steps, *x.shape[x.ndim - core :]))[item])
    return Model(*arrays)


def on_threads(function):
    """What ``function()`` returns with one thread of the library's pool, and with three."""
    before = native.api().num_threads()
    try:
        for threads in (1, 3):
            native.api().set_num_threads(threads)
            yield function()
    finally:
        native.api().set_num_threads(before)
