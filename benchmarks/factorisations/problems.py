"""One operator on one batch of matrices, with cotangents, and what a library must answer."""

import functools
from dataclasses import dataclass, field

import numpy as np

from factorisations.operators import OPERATORS, Operator

JOBS = ("forward", "gradient")
# Batch and size of the matrices.
SIZES = ((10000, 2), (10000, 4), (2000, 8), (500, 16), (100, 64), (10, 256), (1, 1024))

# Largest error allowed, in units of n and of the rounding error of the largest entry. Arguments are
# well conditioned, but eigenvectors depend on gaps of 1 / n, and their gradients on the square.
TOLERANCE = 100.0


@dataclass(frozen=True)
class Problem:
    """Arguments [batch, n, n] and a fixed random cotangent for each result, as NumPy arrays."""

    name: str
    batch: int
    n: int
    dtype: str
    arguments: tuple[np.ndarray, ...] = field(repr=False)
    cotangents: tuple[np.ndarray, ...] = field(repr=False)

    @property
    def operator(self) -> Operator:
        return OPERATORS[self.name]

    @functools.cached_property
    def results(self) -> tuple[np.ndarray, ...]:
        return self.operator.forward(*_exact(self.arguments))

    @functools.cached_property
    def gradients(self) -> tuple[np.ndarray, ...]:
        return self.operator.adjoint(_exact(self.arguments), self.results, _exact(self.cotangents))

    def bytes_moved(self, job: str) -> int:
        """By the whole batch if each array is read or written once: arguments and results, and for
        the gradient as many again."""
        arrays = (*self.arguments, *self.cotangents)
        return sum(array.nbytes for array in arrays) * (2 if job == "gradient" else 1)

    def signs(self, results) -> np.ndarray | None:
        """Of the vectors whose sign is free in ``results``, +-1 each to make them ours."""
        axis = self.operator.sign_axes[-1]
        if axis is None:
            return None
        other = -1 if axis == -2 else -2
        signs = np.where(np.sum(results[-1] * self.results[-1], axis=other) < 0, -1, 1)
        return signs.astype("int8")  # so that products keep their type

    def turned(self, arrays, signs) -> tuple[np.ndarray, ...]:
        """Results, or cotangents of results, with those vectors turned round."""
        return tuple(
            array if axis is None else array * np.expand_dims(signs, -2 if axis == -1 else -1)
            for array, axis in zip(arrays, self.operator.sign_axes, strict=True)
        )

    def disagreement(self, results, gradients=()) -> str | None:
        """None, or which result or gradient is wrong and by how much. Signs are turned already."""
        named = [
            (f"result {i}", *pair) for i, pair in enumerate(zip(results, self.results, strict=True))
        ]
        for i, gradient in enumerate(gradients):
            structure = self.operator.structure[i]
            pair = (_determined(array, structure) for array in (gradient, self.gradients[i]))
            named.append((f"gradient {i}", *pair))
        tolerance = TOLERANCE * self.n * np.finfo(self.dtype).eps
        for what, array, expected in named:
            if array.dtype != self.dtype or array.shape != expected.shape:
                return f"{what} is {array.dtype}{array.shape}"
            error = np.max(np.abs(array - expected)) / np.max(np.abs(expected))
            if not error <= tolerance:
                return f"{what} differs by {error:.1e} relative"
        return None


def build(name: str, batch: int, n: int, dtype: str) -> Problem:
    """The problem of that name and size: always the same numbers."""
    rng = np.random.default_rng([batch, n, *name.encode()])
    arguments = tuple(array.astype(dtype) for array in OPERATORS[name].draw(rng, batch, n))
    results = OPERATORS[name].forward(*(argument[:1] for argument in _exact(arguments)))
    cotangents = tuple(
        rng.normal(size=[batch, *result.shape[1:]]).astype(dtype) for result in results
    )
    return Problem(name, batch, n, dtype, arguments, cotangents)


def _exact(arrays):
    return tuple(array.astype("float64") for array in arrays)


def _determined(gradient, structure):
    if structure == "symmetric":
        return (gradient + np.swapaxes(gradient, -1, -2)) / 2
    return np.tril(gradient) if structure == "lower" else gradient
