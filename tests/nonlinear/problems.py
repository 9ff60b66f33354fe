"""Benchmark problems of the literature, for TensorFlow and for the NumPy oracle."""

from typing import NamedTuple

import numpy as np
import tensorflow as tf
from oracles import nonlinear as oracle

import statespace as ss


class Problem(NamedTuple):
    """f and h take (library, states, step), so that one formula serves both."""

    f: object
    h: object
    g: np.ndarray
    c: np.ndarray
    m0: np.ndarray
    s0: np.ndarray

    def model(self, dtype=tf.float64, **changes):
        values = {
            "transition_scale": self.g,
            "observation_scale": self.c,
            "initial_mean": self.m0,
            "initial_scale": self.s0,
        }
        values = {name: tf.cast(x, dtype) for name, x in values.items()} | changes

        def transition(x, step):
            return self.f(tf, x, tf.cast(step, dtype))

        def observation(x):
            return self.h(tf, x)

        return ss.NonlinearGaussianSSM(transition, observation_fn=observation, **values)

    def textbook(self):
        return oracle.Model(
            lambda x, t: self.f(NumPy, x, t),
            lambda x, t: self.h(NumPy, x),
            self.g @ self.g.T,
            self.c @ self.c.T,
            self.m0,
            self.s0 @ self.s0.T,
        )

    def simulate(self, rng, batch, num_steps):
        """Observations [*batch, T, m]."""
        x = self.m0 + rng.normal(size=(*batch, len(self.m0))) @ self.s0.T
        y = []
        for t in range(num_steps):
            noise = rng.normal(size=(*batch, len(self.c))) @ self.c.T
            y.append(self.h(NumPy, x) + noise)
            x = self.f(NumPy, x, t) + rng.normal(size=(*batch, self.g.shape[1])) @ self.g.T
        return np.stack(y, axis=-2)


class NumPy:
    """The few functions of ``tf`` that the problems use, for complex numbers as well."""

    sin, cos, stack = np.sin, np.cos, np.stack

    @staticmethod
    def atan2(y, x):
        if np.iscomplexobj(y) or np.iscomplexobj(x):  # the complex step: first order only
            angle = np.arctan2(y.real, x.real)
            return angle + 1j * (y.imag * x.real - x.imag * y.real) / (x.real**2 + y.real**2)
        return np.arctan2(y, x)


def _swing(lib, x, t):
    """A pendulum, 0.05 s by Euler's rule (Särkkä & Svensson, example 3.7)."""
    angle, speed = x[..., 0], x[..., 1]
    return lib.stack([angle + 0.05 * speed, speed - 0.05 * 9.8 * lib.sin(angle)], -1)


def _seen_pendulum(lib, x):
    return lib.sin(x[..., :1])


def _move(lib, x, t):
    """Position and velocity in the plane."""
    return lib.stack([x[..., 0] + x[..., 2], x[..., 1] + x[..., 3], x[..., 2], x[..., 3]], -1)


def _bearings(lib, x):
    """From two sensors, at (-1, 0) and (1, 0.5)."""
    angles = [lib.atan2(x[..., 1] - b, x[..., 0] - a) for a, b in ((-1.0, 0.0), (1.0, 0.5))]
    return lib.stack(angles, -1)


def _grow(lib, x, t):
    """The univariate nonlinear growth model (Gordon, Salmond & Smith 1993)."""
    return 0.5 * x + 25.0 * x / (1.0 + x * x) + 8.0 * lib.cos(1.2 * t)


PROBLEMS = {
    "pendulum": Problem(
        _swing,
        _seen_pendulum,
        np.array([[0.01, 0.0], [0.002, 0.05]]),
        np.array([[0.3]]),
        np.array([1.2, 0.0]),
        np.array([[0.3, 0.0], [0.1, 0.2]]),
    ),
    "bearings": Problem(
        _move,
        _bearings,
        0.02 * np.eye(4) + 0.01 * np.eye(4, k=-2),
        np.array([[0.05, 0.0], [0.01, 0.04]]),
        np.array([0.0, 2.0, 0.1, 0.02]),
        np.diag([0.3, 0.3, 0.05, 0.05]),
    ),
    "growth": Problem(
        _grow,
        lambda lib, x: x * x / 20.0,
        np.array([[np.sqrt(10.0)]]),
        np.array([[1.0]]),
        np.array([5.0]),
        np.array([[1.0]]),
    ),
}
