"""The models and data that the filtering benchmarks run, as NumPy arrays shared by all rivals.

A workload is named after its model and the number of series. "learned" workloads have noise
scales of their own for every series and step, as a neural encoder emits them; in all others the
series share the model's parameters. "gaps" has a missing pattern of its own for every series.
"""

from dataclasses import dataclass, field

import numpy as np

JOBS = ("log-likelihood", "gradient", "smooth")


@dataclass(frozen=True)
class Workload:
    """One model with its data; float64 throughout.

    Attributes:
      name: as in the tables.
      batch: number of series B; with one series the batch axis is left out everywhere.
      num_steps: T.
      parameters: transition_matrix F [n, n], transition_scale G [n, n] or [B, T, n, n] (lower
        triangular), observation_matrix H [m, n], observation_scale C [m, m] or [B, T, m, m] (lower
        triangular), initial_mean [n], initial_scale [n, n].
      y: data [B, T, m], or [T, m] for one series; NaN is missing.
      gradient_of: names of the parameters by which the total log-likelihood is differentiated.
    """

    name: str
    batch: int
    num_steps: int
    parameters: dict[str, np.ndarray] = field(repr=False)
    y: np.ndarray = field(repr=False)
    gradient_of: tuple[str, ...]

    @property
    def state_dim(self) -> int:
        return self.parameters["transition_matrix"].shape[-1]

    @property
    def observation_dim(self) -> int:
        return self.parameters["observation_matrix"].shape[-2]

    @property
    def has_gaps(self) -> bool:
        return bool(np.isnan(self.y).any())

    @property
    def learned(self) -> bool:
        """True where every series and step has its own noise."""
        return self.parameters["transition_scale"].ndim > 2


NOISE = ("transition_scale", "observation_scale")
ALL_MATRICES = ("transition_matrix", "transition_scale", "observation_matrix", "observation_scale")


def _trend():
    """Local linear trend: level and slope."""
    return {
        "transition_matrix": np.array([[1.0, 1.0], [0.0, 1.0]]),
        "transition_scale": np.diag([0.5, 0.1]),
        "observation_matrix": np.array([[1.0, 0.0]]),
        "observation_scale": np.array([[1.0]]),
    }


def _track():
    """Constant velocity in the plane, both coordinates observed with correlated errors."""
    step = 0.5
    acceleration = np.array([[step**3 / 3, step**2 / 2], [step**2 / 2, step]])
    return {
        "transition_matrix": np.kron(np.eye(2), [[1.0, step], [0.0, 1.0]]),
        "transition_scale": np.kron(np.eye(2), np.linalg.cholesky(acceleration)),
        "observation_matrix": np.kron(np.eye(2), [[1.0, 0.0]]),
        "observation_scale": np.array([[0.6, 0.0], [0.2, 0.5]]),
    }


def _seasonal(period=12):
    """Local linear trend plus dummy seasonal of the given period: period + 1 states."""
    n = period + 1
    transition = np.zeros([n, n])
    transition[:2, :2] = [[1.0, 1.0], [0.0, 1.0]]
    transition[2, 2:] = -1.0
    transition[np.arange(3, n), np.arange(2, n - 1)] = 1.0
    observation = np.zeros([1, n])
    observation[0, [0, 2]] = 1.0
    return {
        "transition_matrix": transition,
        "transition_scale": np.diag([0.5, 0.1, 0.3] + [0.0] * (n - 3)),
        "observation_matrix": observation,
        "observation_scale": np.array([[1.0]]),
    }


def _dense(rng, n, m):
    """Random dense matrices; F has spectral radius 0.95."""
    transition = rng.normal(size=[n, n])
    transition *= 0.95 / np.abs(np.linalg.eigvals(transition)).max()
    return {
        "transition_matrix": transition,
        "transition_scale": _random_scale(rng, [n]),
        "observation_matrix": rng.normal(size=[m, n]) / np.sqrt(n),
        "observation_scale": _random_scale(rng, [m]),
    }


def _random_scale(rng, shape):
    """Random lower-triangular factors [..., n, n], diagonals in [0.3, 0.8]; shape is [..., n]."""
    n = shape[-1]
    below = np.tril(rng.normal(size=[*shape, n]), -1) * 0.2 / np.sqrt(n)
    diagonal = rng.uniform(0.3, 0.8, size=shape)
    return below + diagonal[..., np.newaxis] * np.eye(n)


def _with_learned_noise(rng, model, batch, num_steps):
    n, m = model["transition_matrix"].shape[-1], model["observation_matrix"].shape[-2]
    return model | {
        "transition_scale": _random_scale(rng, [batch, num_steps, n]),
        "observation_scale": _random_scale(rng, [batch, num_steps, m]),
    }


def _simulate(rng, parameters, batch, num_steps):
    """One draw of the data [B, T, m]."""
    f, h = parameters["transition_matrix"], parameters["observation_matrix"]
    (m, n) = h.shape
    g = np.broadcast_to(parameters["transition_scale"], [batch, num_steps, n, n])
    c = np.broadcast_to(parameters["observation_scale"], [batch, num_steps, m, m])
    x = parameters["initial_mean"] + rng.normal(size=[batch, n]) @ parameters["initial_scale"].T
    y = np.empty([batch, num_steps, m])
    for t in range(num_steps):
        y[:, t] = x @ h.T + np.einsum("bij,bj->bi", c[:, t], rng.normal(size=[batch, m]))
        x = x @ f.T + np.einsum("bij,bj->bi", g[:, t], rng.normal(size=[batch, n]))
    return y


# name: (series B, steps T, model, gradient by). Structural models have known F and H, so only
# their noise is estimated; of the others every matrix is.
_TABLE = {
    "trend-1": (1, 1000, lambda rng: _trend(), NOISE),
    "trend-64": (64, 200, lambda rng: _trend(), NOISE),
    "track-64": (64, 200, lambda rng: _track(), ALL_MATRICES),
    "track-1024": (1024, 100, lambda rng: _track(), ALL_MATRICES),
    "seasonal-1": (1, 500, lambda rng: _seasonal(), NOISE),
    "seasonal-32": (32, 200, lambda rng: _seasonal(), NOISE),
    "dense-32": (32, 100, lambda rng: _dense(rng, 16, 8), ALL_MATRICES),
    "dense-1": (1, 100, lambda rng: _dense(rng, 64, 16), ALL_MATRICES),
    "learned-64": (64, 200, lambda rng: _with_learned_noise(rng, _track(), 64, 200), NOISE),
    "learned-32": (32, 200, lambda rng: _with_learned_noise(rng, _seasonal(), 32, 200), NOISE),
    "gaps-64": (64, 200, lambda rng: _track(), ALL_MATRICES),
    "trend-long": (1, 10000, lambda rng: _trend(), NOISE),
    "seasonal-long": (1, 10000, lambda rng: _seasonal(), NOISE),
}
# Of which every component of every step is missing with this probability, else nothing is.
_MISSING = {"gaps-64": 0.2}

NAMES = tuple(_TABLE)


def build(name: str, seed: int = 0) -> Workload:
    """The workload of that name; always the same numbers for the same seed."""
    batch, num_steps, _, _ = _TABLE[name]
    return resized(name, batch, num_steps, seed)


def resized(name: str, batch: int, num_steps: int, seed: int = 0) -> Workload:
    """The same with other numbers of series and steps, of a model that all series share."""
    _, _, model, gradient_of = _TABLE[name]
    rng = np.random.default_rng([seed, *name.encode()])
    parameters = model(rng)
    n = parameters["transition_matrix"].shape[-1]
    parameters["initial_mean"] = np.zeros(n)
    parameters["initial_scale"] = 2.0 * np.eye(n)
    y = _simulate(rng, parameters, batch, num_steps)
    y[rng.random(y.shape) < _MISSING.get(name, 0.0)] = np.nan
    return Workload(name, batch, num_steps, parameters, y[0] if batch == 1 else y, gradient_of)
