"""Random calls in a process of their own: what aborts or hangs there names its case.

    python tests/fuzz/driver.py FIRST COUNT SUBJECT... [--reference]

A SUBJECT is a row of the operator table ("cholesky-3": calls of the public function, its gradient
and the gradient of that) or an op of the compiled library ("StatespaceCholesky": raw calls). Case i
is made from the numbers (SUBJECT, i) alone: to see one again, ask for it with COUNT 1.

Each case is announced on standard output before it runs. For each subject, a line "done" tells how
many calls gave a result; lines "WRONG" tell what is wrong, and the status is 1.
"""

import argparse
import contextlib
import faulthandler
import os
import resource
import sys
import time
import warnings
import zlib
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# TensorFlow's allocator doubles what it asks for each time, and crashes at the limit set below.
os.environ["TF_MKL_ALLOC_MAX_BYTES"] = str(2 * 2**30)
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import tensorflow as tf

from fuzz import cases, messages
from statespace import config

SECONDS_PER_CASE = 60
MEMORY = 4 * 2**30  # for a case, beyond what the process has when it begins


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("first", type=int)
    parser.add_argument("count", type=int)
    parser.add_argument("subjects", nargs="+")
    parser.add_argument("--reference", action="store_true")
    options = parser.parse_args()
    faulthandler.enable()
    config.use_native(not options.reference)
    warnings.simplefilter("ignore")
    tf.get_logger().setLevel("ERROR")
    numbers = range(options.first, options.first + options.count)
    wrong = 0
    for name in options.subjects:
        wrong += run(name, numbers, options.reference)
    faulthandler.cancel_dump_traceback_later()
    sys.exit(wrong > 0)


def _limit_memory():
    """Whatever asks for more than MEMORY is told at once that there is none.

    The product of [2^31, 0] and [0, 3] has a right to 51 GB, which Linux would promise, and only
    break its word while they are being filled: by killing the process.
    """
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))


def run(name, numbers, reference):
    """Makes the calls of these numbers; returns how many did what they should not."""
    subject = cases.subject(name)
    results = wrong = 0
    for number in numbers:
        rng = np.random.default_rng([zlib.crc32(name.encode()), number])
        case = cases.draw(rng, subject, cases.HUGE_FOR_REFERENCES if reference else cases.HUGE)
        print(f"{name} {number}: {case}", flush=True)
        faulthandler.dump_traceback_later(SECONDS_PER_CASE, exit=True)
        _limit_memory()
        started = time.monotonic()
        try:
            # A lost thread of TensorFlow's prints to stderr, which no one reads.
            with contextlib.redirect_stderr(None):
                case.run(subject)
            results += 1
        except Exception as error:
            complaint = messages.objection(error, case, subject, strict=not reference)
            if complaint:
                wrong += 1
                print(f"WRONG {complaint}\n{type(error).__name__}: {error}", flush=True)
        if time.monotonic() - started > SECONDS_PER_CASE / 2:
            wrong += 1
            print("WRONG takes too long", flush=True)
    print(f"done {name}: {results} of {len(numbers)} calls gave a result", flush=True)
    return wrong


if __name__ == "__main__":
    main()
