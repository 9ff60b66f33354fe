"""What the rows of the operator table are made of."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf


class Operator(NamedTuple):
    """One operator in one of its forms."""

    name: str
    apply: Callable  # tensors -> tensor or tuple of tensors
    make: Callable  # (rng, batch, dtype) -> list of arrays, well conditioned
    oracle: Callable  # arrays of one item -> arrays, by NumPy in float64
    spoil: Callable | None  # array (first argument of one item) -> array the operator must fail on
    core_dims: tuple[tuple[int, int], ...]  # of the arguments that `make` makes
    symmetric: bool = False  # the first argument is a symmetric matrix, and so are its directions
    representative: bool = False  # stands for its operator in tests too dear for every form


def positive_definite(rng, batch, n, dtype):
    a = rng.normal(size=(*batch, n, n))
    return (a @ np.swapaxes(a, -1, -2) + n * np.eye(n)).astype(dtype)


def lower(rng, batch, n, dtype):
    return (np.tril(rng.normal(size=(*batch, n, n))) + 3.0 * np.eye(n)).astype(dtype)


def general(rng, batch, m, n, dtype):
    # Rows far from dependent, so that finite differences of the factors are meaningful.
    return (rng.normal(size=(*batch, m, n)) + 2.0 * np.eye(m, n)).astype(dtype)


def with_nan(a):
    a = a.copy()
    a[-1, 0] = np.nan
    return a


def directions(operator: Operator, rng, arguments) -> list[np.ndarray]:
    """A random direction for each argument, one the operator's derivative is meant for."""
    result = [rng.normal(size=x.shape) for x in arguments]
    if operator.symmetric:
        result[0] = result[0] + np.swapaxes(result[0], -1, -2)
    return result


def outputs(result) -> list[tf.Tensor]:
    """An operator's result as a list."""
    return list(result) if isinstance(result, tuple) else [result]


def loss(operator: Operator, weights):
    """A scalar function of the operator's arguments: its outputs against fixed weights."""

    def function(*arguments):
        results = outputs(operator.apply(*arguments))
        return tf.add_n([tf.reduce_sum(w * x) for w, x in zip(weights, results, strict=True)])

    return function
