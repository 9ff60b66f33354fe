"""The process behind ``mxnet_.py``, in MXNet's environment: reads requests, answers, until the end.

prepare  takes arrays from a file and makes the call of a key, of an operator of this module or of
         another one that has OPERATORS
run      makes the call once and puts its results into a file
turn     makes it as ``timing.take_turn`` does, and answers with the seconds
drop     forgets it
"""

import importlib
import json
import os
import sys

import mxnet
import numpy as np
import timing
from mxnet import autograd

linalg = mxnet.nd.linalg

OPERATORS = {
    "cholesky": linalg.potrf,
    "lq": linalg.gelqf,
    "eigh": linalg.syevd,
    "triangular_solve": linalg.trsm,
    "triangular_multiply": linalg.trmm,
    "cholesky_inverse": linalg.potri,
    "inverse": linalg.inverse,
    "det": linalg.det,
}

_calls = {}


def version() -> str:
    return f"{mxnet.__version__} (NumPy {np.__version__})"


def prepare(key: int, name: str, path: str, num_arguments: int, module: str = "") -> None:
    with np.load(path) as file:
        arrays = [mxnet.nd.array(file[key], dtype=file[key].dtype) for key in file.files]
    arguments, cotangents = arrays[:num_arguments], arrays[num_arguments:]
    operator = (importlib.import_module(module).OPERATORS if module else OPERATORS)[name]
    if not cotangents:
        _calls[key] = lambda: _wait(_as_list(operator(*arguments)))
        return
    for argument in arguments:
        argument.attach_grad()

    def gradient():
        with autograd.record():
            results = _as_list(operator(*arguments))
        return _wait(results + autograd.grad(results, arguments, head_grads=cotangents))

    _calls[key] = gradient


def run(key: int, path: str) -> None:
    np.savez(path, *(array.asnumpy() for array in _calls[key]()))


def turn(key: int) -> list:
    return timing.take_turn(_calls[key])


def drop(key: int) -> None:
    del _calls[key]


def _as_list(results):
    return list(results) if isinstance(results, (list, tuple)) else [results]


def _wait(arrays):
    """MXNet computes behind the caller's back."""
    for array in arrays:
        array.wait_to_read()
    return arrays


def main():
    # Answers have the pipe to themselves: whatever else is printed goes to standard error.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    timing.keep_freed_memory()
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = {"value": globals()[request.pop("what")](**request)}
        except Exception as error:  # told to the other side, which goes on without this column
            answer = {"error": str(error).split("\n")[0] or type(error).__name__}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
