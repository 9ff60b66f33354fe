"""The libraries that can take part, and how a problem is put to one of their columns.

An adapter is a module with ``versions()`` and ``columns(name, n)``. The latter gives, by label, for
each way that the library offers to run that operator on n x n matrices, a function

    make(arguments, cotangents) -> call

of NumPy arrays. ``call()`` returns, once the work is done, the results; if there are cotangents
(otherwise they are None), the results and then the gradients by the arguments. ``make`` is None for
a job that the library cannot do. ``LAYOUTS``, where an adapter has one, names the operators that it
knows in another layout.
"""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType

import numpy as np

from factorisations.problems import Problem

OURS = "statespace_"
ADAPTERS = (OURS, "numpy_", "tensorflow_", "jax_", "torch_", "mxnet_")


def load(names=ADAPTERS) -> tuple[dict[str, ModuleType], dict[str, str]]:
    """The adapters whose libraries are installed, and why the others are not here."""
    found, missing = {}, {}
    for name in names:
        try:
            found[name] = importlib.import_module(f"factorisations.{name}")
        except (ImportError, AttributeError, OSError) as error:
            # AttributeError: what an installed library says to a version it does not fit.
            missing[name] = f"{type(error).__name__}: {error}"
    return found, missing


def _same(arrays):
    return tuple(arrays)


def _transposed(arrays):
    return tuple(np.ascontiguousarray(np.swapaxes(array, -1, -2)) for array in arrays)


def _qr(arrays):
    return _transposed(reversed(arrays))


def _reversed(arrays):
    return tuple(reversed(arrays))


def _rows(arrays):
    return tuple(
        np.ascontiguousarray(np.swapaxes(array, -1, -2)) if array.ndim > 2 else array
        for array in reversed(arrays)
    )


# Arrays of arguments, and of results, in another layout: each function also leads back.
LAYOUTS = {
    # A = L Q as the QR factorisation of A', which the library is given as it is.
    "qr": (_transposed, _qr),
    # Q before L.
    "ql": (_same, _reversed),
    # Eigenvectors in rows, before the eigenvalues.
    "rows": (_same, _rows),
    "same": (_same, _same),
}


@dataclass(frozen=True)
class Prepared:
    """Calls of one column by job, compiled and checked, and what was wrong with the others."""

    calls: dict[str, Callable]
    wrong: list[str]


def prepare(adapter: ModuleType, make: Callable, problem: Problem, jobs, check: bool) -> Prepared:
    """Runs each job once, and compares the answers with NumPy's.

    Vectors of free sign get whichever the library gives them; its cotangents are turned to match,
    so that all libraries answer the same question.
    """
    layout = getattr(adapter, "LAYOUTS", {}).get(problem.name, "same")
    lay_arguments, lay_results = LAYOUTS[layout]
    arguments = lay_arguments(problem.arguments)
    count = len(problem.cotangents)
    prepared = Prepared({}, [])
    signs = cotangents = None
    for job in ("forward", "gradient") if "gradient" in jobs else ("forward",):
        try:
            if job == "gradient":
                cotangents = lay_results(problem.turned(problem.cotangents, signs))
            call = make(arguments, cotangents)
            if call is None:
                continue
            outputs = tuple(np.asarray(output) for output in call())  # compiles
        except Exception as error:  # a long run survives what one library cannot do
            prepared.wrong.append(f"{job}: {type(error).__name__}: {error}".split("\n")[0][:200])
            break
        results = lay_results(outputs[:count])
        if job == "forward":
            signs = problem.signs(results)
        gradients = lay_arguments(outputs[count:])
        mistake = check and problem.disagreement(problem.turned(results, signs), gradients)
        if mistake:
            prepared.wrong.append(f"{job}: {mistake}")
        elif job in jobs:
            prepared.calls[job] = call
    return prepared
