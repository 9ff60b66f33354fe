"""One table of models, each built by TensorFlow Probability's class or by ours."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from statespace.distributions import LinearGaussianStateSpaceModel

tfd = tfp.distributions
Theirs, Ours = tfd.LinearGaussianStateSpaceModel, LinearGaussianStateSpaceModel

DENSE = tf.linalg.LinearOperatorFullMatrix


class Case(NamedTuple):
    """Arguments of the constructor as a function of arrays, those arrays, data and masks."""

    arguments: Callable[[dict], dict]
    arrays: dict
    x: np.ndarray
    mask: np.ndarray | None = None

    def build(self, kind, dtype=tf.float64, **arrays):
        """The distribution, of the class ``kind``; some arrays may be given as tensors."""
        tensors = {k: tf.convert_to_tensor(v, dtype) for k, v in (self.arrays | arrays).items()}
        return kind(**self.arguments(tensors))


def arrays(rng, n, m, lead=(), prior_lead=None):
    """Random parameters; what moves from step to step has the axes ``lead``."""

    def triangular(lead, size):
        return np.tril(0.3 * rng.normal(size=(*lead, size, size))) + 0.8 * np.eye(size)

    prior_lead = lead if prior_lead is None else prior_lead
    return {
        "f": 0.6 * np.eye(n) + 0.3 * rng.normal(size=(*lead, n, n)) / np.sqrt(n),
        "b": 0.3 * rng.normal(size=(*lead, n)),
        "g": triangular(lead, n),
        "h": rng.normal(size=(*lead, m, n)),
        "d": 0.3 * rng.normal(size=(*lead, m)),
        "c": triangular(lead, m),
        "mean": rng.normal(size=(*prior_lead, n)),
        "scale": triangular(prior_lead, n),
    }


def fixed(num_timesteps, **options):
    """Every argument the same at all times."""

    def arguments(p):
        return {
            "num_timesteps": num_timesteps,
            "transition_matrix": p["f"],
            "transition_noise": tfd.MultivariateNormalTriL(p["b"], p["g"]),
            "observation_matrix": p["h"],
            "observation_noise": tfd.MultivariateNormalTriL(p["d"], p["c"]),
            "initial_state_prior": tfd.MultivariateNormalTriL(p["mean"], p["scale"]),
            **options,
        }

    return arguments


def moving(num_timesteps, initial_step=0, **options):
    """Four functions of time, of arrays whose first axis is time."""

    def arguments(p):
        def at(name, t):
            return tf.gather(p[name], t - initial_step)

        return fixed(num_timesteps, initial_step=initial_step, **options)(p) | {
            "transition_matrix": lambda t: DENSE(at("f", t)),
            "transition_noise": lambda t: tfd.MultivariateNormalTriL(at("b", t), at("g", t)),
            "observation_matrix": lambda t: DENSE(at("h", t)),
            "observation_noise": lambda t: tfd.MultivariateNormalTriL(at("d", t), at("c", t)),
        }

    return arguments


def _partly_moving(p):
    """One matrix and one noise are functions of time, of whole batches of models."""
    return fixed(5)(p) | {
        "transition_matrix": lambda t: DENSE(p["f"] * tf.cos(tf.cast(t, p["f"].dtype))),
        "observation_noise": lambda t: tfd.MultivariateNormalDiag(
            p["d"], tf.exp(0.1 * tf.cast(t, p["d"].dtype)) * tf.linalg.diag_part(p["c"])
        ),
    }


def _operators(p):
    """Structured operators, noises given by covariances, an unbatched noise without a mean."""
    return {
        "num_timesteps": 5,
        "transition_matrix": tf.linalg.LinearOperatorScaledIdentity(3, p["f"][..., 0, 0]),
        "transition_noise": tfd.MultivariateNormalFullCovariance(
            p["b"], tf.matmul(p["g"], p["g"], transpose_b=True)
        ),
        "observation_matrix": tf.linalg.LinearOperatorFullMatrix(p["h"]),
        "observation_noise": tfd.MultivariateNormalDiag(scale_diag=tf.linalg.diag_part(p["c"])),
        "initial_state_prior": tfd.MultivariateNormalDiagPlusLowRankCovariance(
            p["mean"],
            cov_diag_factor=tf.square(tf.linalg.diag_part(p["scale"])),
            cov_perturb_factor=p["scale"][..., :1],
        ),
    }


def _table():
    rng = np.random.default_rng(20)

    def x(*shape):
        return rng.normal(size=shape)

    steps = np.array([False, True, False, False, True])
    # Time is the first axis of what moves, but the prior does not move.
    time, batched_time = (5,), (5, 4)
    return {
        "shared": Case(fixed(5), arrays(rng, 3, 2), x(5, 2)),
        "one state": Case(fixed(6), arrays(rng, 1, 1), x(6, 1)),
        "more observations than states": Case(fixed(5), arrays(rng, 1, 3), x(5, 3)),
        "one step": Case(fixed(1), arrays(rng, 2, 2), x(1, 2)),
        "several series": Case(fixed(5), arrays(rng, 2, 1), x(3, 2, 5, 1)),
        "several models, one series": Case(fixed(5), arrays(rng, 2, 1, (4,)), x(5, 1)),
        "a series each": Case(fixed(5), arrays(rng, 2, 1, (4,)), x(4, 5, 1)),
        "several series each": Case(fixed(5), arrays(rng, 2, 2, (2, 3)), x(4, 2, 3, 5, 2)),
        "operators": Case(_operators, arrays(rng, 3, 2), x(5, 2)),
        "operators, several models": Case(_operators, arrays(rng, 3, 2, (4,)), x(2, 4, 5, 2)),
        "moving": Case(moving(5), arrays(rng, 3, 2, time, ()), x(5, 2)),
        "moving, later start": Case(moving(5, 7), arrays(rng, 2, 1, time, ()), x(3, 5, 1)),
        "moving models": Case(moving(5), arrays(rng, 2, 1, batched_time, ()), x(2, 4, 5, 1)),
        "partly moving models": Case(_partly_moving, arrays(rng, 2, 2, (3,)), x(2, 3, 5, 2)),
        "parallel": Case(fixed(5, experimental_parallelize=True), arrays(rng, 2, 1), x(5, 1)),
        "mask of the model": Case(fixed(5, mask=steps), arrays(rng, 2, 2), x(3, 5, 2)),
        "one mask": Case(fixed(5), arrays(rng, 3, 2), x(4, 5, 2), steps),
        "a mask each": Case(fixed(5), arrays(rng, 2, 1), x(4, 5, 1), rng.random((4, 5)) < 0.4),
        "more masks than series": Case(fixed(5), arrays(rng, 2, 1), x(5, 1), x(3, 5) < 0),
        "a mask for each model": Case(
            fixed(5), arrays(rng, 2, 2, (3,)), x(2, 3, 5, 2), rng.random((3, 5)) < 0.4
        ),
        "mask and moving": Case(moving(5), arrays(rng, 2, 2, time, ()), x(2, 5, 2), steps),
        "all masked": Case(fixed(5), arrays(rng, 2, 1), x(5, 1), np.ones(5, bool)),
    }


TABLE = _table()
