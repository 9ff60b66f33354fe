"""MXNet, the paper's own implementation, in a process of its own: it needs an older NumPy.

The process does what ``mxnet_worker.py`` says; it makes its calls, and times them by the same
protocol, whenever this side lets it take a turn, and sleeps in between.
"""

import json
import os
import subprocess
import sys
import tempfile
import weakref
from pathlib import Path

import numpy as np

LAYOUTS = {"lq": "ql", "eigh": "rows"}
# Those of mxnet_worker.py.
OPERATORS = (
    "cholesky",
    "lq",
    "eigh",
    "triangular_solve",
    "triangular_multiply",
    "cholesky_inverse",
    "inverse",
    "det",
)


def _interpreter() -> Path:
    beside = Path(sys.prefix).with_name(".venv-mxnet") / "bin" / "python"
    return Path(os.environ.get("MXNET_PYTHON", beside))


class _Worker:
    """The process and its two pipes: a request and its answer are one line of JSON each."""

    def __init__(self):
        if not _interpreter().exists():
            raise ImportError(f"no {_interpreter()} (see benchmarks/README.md)")
        folder = str(Path(__file__).parents[1])
        threads = os.environ.get("TF_NUM_INTEROP_THREADS", "1")  # see timing.limit_threads
        self._process = subprocess.Popen(
            [_interpreter(), "-m", "factorisations.mxnet_worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            # As TF_NUM_INTEROP_THREADS, its name for operators that run at once.
            env=os.environ | {"PYTHONPATH": folder, "MXNET_CPU_WORKER_NTHREADS": threads},
        )
        self.folder = tempfile.TemporaryDirectory(prefix="bench-mxnet-")
        self.version = self.ask("version")

    def ask(self, what: str, **details):
        self._process.stdin.write(json.dumps({"what": what, **details}) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise ImportError(f"the process ended with {self._process.wait()}")
        answer = json.loads(line)
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer["value"]


_WORKER = _Worker()


def versions() -> dict[str, str]:
    return {"mxnet": _WORKER.version}


def columns(name: str, n: int) -> dict:
    if name not in OPERATORS:
        return {}
    return {"MXNet": lambda arguments, cotangents: Case(name, arguments, cotangents)}


class Case:
    """A call in the other process: its own stopwatch runs there (see ``timing.measure``)."""

    def __init__(self, name, arguments, cotangents, module=""):
        self._key = id(self)
        self._path = f"{_WORKER.folder.name}/{self._key}.npz"
        np.savez(self._path, *arguments, *(cotangents or ()))
        _WORKER.ask(
            "prepare",
            key=self._key,
            name=name,
            path=self._path,
            num_arguments=len(arguments),
            module=module,
        )
        weakref.finalize(self, _WORKER.ask, "drop", key=self._key).atexit = False

    def __call__(self):
        _WORKER.ask("run", key=self._key, path=self._path)
        with np.load(self._path) as arrays:
            return [arrays[name] for name in arrays.files]

    def take_turn(self) -> list[float]:
        return _WORKER.ask("turn", key=self._key)
