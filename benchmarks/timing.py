"""Timing on a shared machine: one core, rivals interleaved, minimum over repeats.

Imports nothing that starts threads: ``limit_threads`` must run before NumPy, TensorFlow and JAX
load.
"""

import concurrent.futures
import ctypes
import functools
import importlib
import os
import platform
import statistics
import time
from collections.abc import Callable
from typing import NamedTuple


class Timing(NamedTuple):
    """Seconds a call took."""

    minimum: float
    median: float
    repeats: int


def limit_threads(threads: int) -> None:
    """Confines this process to ``threads`` cores and tells every library in it to use as many.

    Call it before importing numpy, tensorflow, jax or statespace. The last of the allowed cores
    are taken: the first ones serve interrupts.
    """
    for name in (
        "OMP_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "MKL_NUM_THREADS",
        "TF_NUM_INTRAOP_THREADS",
        "TF_NUM_INTEROP_THREADS",
    ):
        os.environ[name] = str(threads)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-threads:])


def keep_freed_memory() -> None:
    """Has glibc's allocator keep what is freed, in this process, instead of returning it.

    With several libraries in one process their large results otherwise go back to the system at
    each turn, and the page faults of fetching them again hit whoever comes next: alone in a
    process, as users run it, none of them has any.
    """
    trim_threshold, mmap_threshold, huge = -1, -3, 1 << 30
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):  # another C library
        return
    mallopt(trim_threshold, huge)
    mallopt(mmap_threshold, huge)


def measure(
    cases: dict[str, Callable[[], object]], budget: float, fewest: int = 2, most: int = 50
) -> dict[str, Timing]:
    """Times each case several times, taking turns, so that disturbances hit all alike.

    Args:
      cases: calls by label. Each must have run before (compilation is not timed) and must return
        only when its work is done. A case that runs in another process has a ``take_turn``
        method, which gives the seconds by the clock over there.
      budget: seconds to spend on each case. A fast case takes as many turns as fit, a slow one
        ``fewest``, spread over the same stretch.
      fewest, most: bounds on the number of turns of a case, besides a first one.

    Returns:
      A ``Timing`` per label.
    """
    turns = {
        label: getattr(call, "take_turn", functools.partial(take_turn, call))
        for label, call in cases.items()
    }
    samples = {label: turn() for label, turn in turns.items()}
    wanted = {
        label: min(most, max(fewest, int(budget / sum(first)))) for label, first in samples.items()
    }
    rounds = max(wanted.values(), default=0)
    for number in range(1, rounds + 1):
        for label, turn in turns.items():
            # A case with fewer turns than rounds takes them evenly spaced.
            if number * wanted[label] // rounds > (number - 1) * wanted[label] // rounds:
                samples[label] += turn()
    return {
        label: Timing(min(times), statistics.median(times), len(times))
        for label, times in samples.items()
    }


def take_turn(call: Callable[[], object]) -> list[float]:
    """Seconds of one call, or of as many as fit into 3 ms: short ones would else always find cold
    caches."""
    samples, end = [], time.perf_counter() + 3e-3
    while not samples or time.perf_counter() < end:
        start = time.perf_counter()
        call()
        samples.append(time.perf_counter() - start)
    return samples


def gemm_peak(dtype: str = "float64", size: int = 768, repeats: int = 12) -> float:
    """GFLOP/s of NumPy's matrix product: what this machine gives the best of kernels."""
    import numpy as np

    a = np.random.default_rng(0).normal(size=[size, size]).astype(dtype)
    timing = measure({"gemm": lambda: a @ a}, budget=1.0, most=repeats)["gemm"]
    return 2e-9 * size**3 / timing.minimum


@functools.cache
def bandwidth(working_set: int, threads: int = 1) -> float:
    """GB/s, read and written, of the better of a copy and a sum of two arrays.

    Args:
      working_set: bytes of all arrays together. Small ones stay in a cache; 256 MB are more than
        any cache holds.
      threads: how many share the work.
    """
    import numpy as np

    halves = [np.ones([2, working_set // 16 // threads]) for _ in range(threads)]
    thirds = [np.ones([3, working_set // 24 // threads]) for _ in range(threads)]
    with concurrent.futures.ThreadPoolExecutor(threads) as pool:

        def on_all(task, arrays):  # NumPy lets go of the interpreter while it copies
            return list(pool.map(task, arrays)) if threads > 1 else task(arrays[0])

        cases = {
            "copy": lambda: on_all(lambda x: np.copyto(x[0], x[1]), halves),
            "sum": lambda: on_all(lambda x: np.add(x[0], x[1], out=x[2]), thirds),
        }
        times = measure(cases, budget=0.1, fewest=3)
    return 1e-9 * working_set / min(timing.minimum for timing in times.values())


def describe_machine() -> str:
    """Processor, cores in use, operating system and present load."""
    model = platform.processor() or platform.machine()
    if os.path.exists("/proc/cpuinfo"):
        with open("/proc/cpuinfo") as lines:
            names = [
                line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")
            ]
        model = names[0] if names else model
    in_use = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    load = os.getloadavg()[0]
    return f"{model}, {in_use} of {os.cpu_count()} cores, {platform.system()}, load {load:.1f}"


def load_rival(module, library):
    """The adapter of another library, or None where that is not installed; says which."""
    try:
        adapter = importlib.import_module(module)
    except (ImportError, AttributeError) as error:
        # AttributeError: what an installed library says to a version it does not fit.
        print(f"without {library}: {type(error).__name__}: {error}")
        return None
    print(", ".join(f"{name} {version}" for name, version in adapter.versions().items()))
    return adapter


def training_step(model, batch):
    """A call that makes a training step of a compiled Keras model; returns the mean loss so far."""
    import tensorflow as tf

    batches = iter(tf.data.Dataset.from_tensors(batch).repeat())
    model.make_train_function()

    return lambda: float(model.train_function(batches)["loss"])
