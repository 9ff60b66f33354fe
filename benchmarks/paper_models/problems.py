"""Data for the two models, sizes, and how many lines each takes."""

import ast
from pathlib import Path

import numpy as np

# Batch, observations, features or inputs of each.
SIZES = {
    "log_evidence": ((1, 1000, 10), (1, 10000, 50), (100, 200, 8)),
    "log_marginal_likelihood": ((1, 100, 5), (1, 500, 5), (1, 1000, 5), (64, 50, 5)),
}


def draw(model: str, batch: int, count: int, width: int) -> list[np.ndarray]:
    """Arguments of a model, always the same numbers, all of which float32 can hold.

    The parameters are near those that the data were made with, as in the midst of learning.
    """
    rng = np.random.default_rng([batch, count, width])
    x = rng.normal(size=[batch, count, width])
    noise = 0.3 * rng.normal(size=[batch, count])
    if model == "log_evidence":
        y = np.einsum("bnd,bd->bn", x, rng.normal(size=[batch, width])) + noise
        centres = np.full([batch], -1.0), np.zeros([batch, width])
    else:
        y = np.sin(x.sum(axis=-1)) + noise
        centres = [np.full([batch], value) for value in (0.5, 0.0, -1.0)]
    logarithms = [centre + 0.1 * rng.normal(size=centre.shape) for centre in centres]
    return [array.astype("float32") for array in (x, y, *logarithms)]


def num_lines(library: str, model: str) -> int:
    """Of the body of a model, one a statement however long, without its docstring and comments."""
    source = (Path(__file__).parent / f"{library}.py").read_text(encoding="utf-8")
    (function,) = (
        node
        for node in ast.parse(source).body
        if isinstance(node, ast.FunctionDef) and node.name == model
    )
    body = function.body[1:] if ast.get_docstring(function) else function.body
    return len(ast.unparse(ast.Module(body, type_ignores=[])).splitlines())
