"""How long does a filter of many series take on a GPU, here, in other libraries, and on the CPU?

Prints microseconds per time step and series of the log-likelihood, its gradient and the smoother,
after checking that all agree: this library on the GPU and on all cores of the CPU, and TensorFlow
Probability in a graph and under XLA on the GPU. Without a GPU it says so and ends.

    python benchmarks/gpu.py --workload track-1024 --batch 100000
"""

import argparse
import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import rivals
import tensorflow as tf
import timing
import workloads

import statespace as ss
from statespace import native


def main(arguments=None) -> int:
    options = _parse(arguments)
    if not tf.config.list_physical_devices("GPU"):
        print("no GPU: nothing to measure")
        return 0
    print(ss.config.describe())
    if native.cuda_failure() is not None:
        print(f"the compiled ops would run on the CPU: {native.cuda_failure()}")
        return 1
    status = 0
    for name in options.workload:
        for batch in options.batch:
            workload = workloads.resized(name, batch, options.steps)
            for job in workloads.JOBS:
                status |= _run(workload, job, options.budget)
    return status


def _parse(arguments):
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument(
        "--workload", action="append", choices=workloads.NAMES, help="may be repeated"
    )
    parser.add_argument("--batch", action="append", type=int, help="series; may be repeated")
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--budget", type=float, default=2.0, help="seconds for each case")
    options = parser.parse_args(arguments)
    options.workload = options.workload or ["trend-64", "track-64", "seasonal-32"]
    options.batch = options.batch or [1_000, 100_000]
    return options


def _run(workload, job, budget):
    """Times one job on one workload and prints a line; returns 1 where answers differ."""
    import statespace_
    import tfp_

    calls = {}
    for device, adapter in (("/CPU:0", statespace_), ("/GPU:0", statespace_), ("/GPU:0", tfp_)):
        with tf.device(device):
            cases = adapter.cases(workload, job)
        for label, call in cases.items():
            # XLA reaches the compiled ops on the CPU alone: "jit" would be the reference.
            if adapter is tfp_ or label == "function":
                calls[f"{label} {device[1:4]}"] = _finished(device, call)
    expected = calls["function CPU"]()
    for label, call in calls.items():
        text = rivals.disagreement(workload, job, call(), expected, rivals.TOLERANCE)
        if text is not None:
            print(f"{workload.name} {workload.batch} {job}: {label}: {text}")
            return 1
    scale = 1e6 / (workload.batch * workload.num_steps)
    times = timing.measure(calls, budget)
    cells = [f"{label} {scale * time.minimum:.4g}" for label, time in times.items()]
    print(f"{workload.name} {workload.batch} x {workload.num_steps} {job}: {', '.join(cells)}")
    return 0


def _finished(device, call):
    """The call on a device, which returns when its work is done: results are on the host then."""

    def run():
        with tf.device(device):
            return tuple(None if x is None else x.numpy() for x in call())

    return run


if __name__ == "__main__":
    sys.exit(main())
