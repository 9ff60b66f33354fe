"""The libraries that can take part, and the check that all of them give the same answers.

An adapter is a module with ``versions()`` and ``cases(workload, job)``; the latter gives, for each
of its columns, a call that returns a tuple of arrays, once the work is done:

  log-likelihood  (log-likelihood of each series [B],)
  gradient        (their sum, its gradient by each of ``workload.gradient_of`` in that order)
  smooth          (smoothed means [B, T, n], covariances broadcastable to [B, T, n, n])

``cases`` leaves out a job that its library cannot do. ``TOLERANCE``, where an adapter has one, says
how exact its answers can be expected to be.
"""

import importlib
from types import ModuleType

import numpy as np
from workloads import Workload

OURS = "statespace_"
ADAPTERS = (OURS, "tfp_", "dynamax_", "statsmodels_")
TOLERANCE = 1e-8


def load() -> tuple[dict[str, ModuleType], dict[str, str]]:
    """The adapters whose libraries are installed, and why the others are not here."""
    found, missing = {}, {}
    for name in ADAPTERS:
        try:
            found[name] = importlib.import_module(name)
        except (ImportError, AttributeError) as error:
            # AttributeError: what an installed library says to a version it does not fit.
            missing[name] = f"{type(error).__name__}: {error}"
    return found, missing


def disagreement(
    workload: Workload, job: str, outputs: tuple, expected: tuple, tolerance: float
) -> str | None:
    """Compares the results of one job with those of another library.

    Errors are relative to the largest entry of each result. Of gradients by scale factors only the
    lower triangle counts: some libraries read no more of them.

    Returns:
      None, or what differs and by how much.
    """
    names = {
        "log-likelihood": ["log-likelihood"],
        "gradient": ["log-likelihood", *(f"gradient by {name}" for name in workload.gradient_of)],
        "smooth": ["smoothed mean", "smoothed covariance"],
    }[job]
    for name, output, reference in zip(names, outputs, expected, strict=True):
        if output is None:
            return f"{name} is None"
        output, reference = np.asarray(output), np.asarray(reference)
        if name.endswith("scale"):
            output, reference = np.tril(output), np.tril(reference)
        error = np.max(np.abs(output - reference)) / np.max(np.abs(reference))
        if not error <= tolerance:
            return f"{name} differs by {error:.1e} relative"
    return None
