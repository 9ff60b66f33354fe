"""How much memory and time does the gradient of one long series take?

Prints, for the log-likelihood's gradient by all four matrices, the peak of the memory that a
process takes beyond what it had when the data was ready, and the time. Needs Linux. See README.md.

    python benchmarks/filter_memory.py
"""

import argparse
import json
import resource
import subprocess
import sys
import time

import timing

STEPS = (10_000, 100_000, 1_000_000)
STATE_DIM, OBSERVATION_DIM = 4, 2


def main(arguments=None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--quick", action="store_true", help="without the longest series")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    timing.limit_threads(1)
    if options.child:
        memory, steps = options.child
        print(json.dumps(_measure(memory, int(steps))))
        return 0
    print(f"machine: {timing.describe_machine()}\n")
    print(f"| steps ({STATE_DIM} states, {OBSERVATION_DIM} components) | memory | MB | seconds |")
    print("|---|---|---|---|")
    for steps in STEPS[:-1] if options.quick else STEPS:
        for memory in ("auto", "low"):
            command = [sys.executable, __file__, "--child", memory, str(steps)]
            child = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            megabytes, seconds = json.loads(child.stdout.splitlines()[-1])
            print(f"| {steps} | {memory} | {megabytes:.0f} | {seconds:.2f} |", flush=True)
    return 0


def _measure(memory, steps):
    import tensorflow as tf
    import workloads

    import statespace as ss

    workload = workloads.build("track-64")
    y = tf.tile(workload.y[0], [steps // workload.num_steps, 1])
    names = workload.gradient_of
    parameters = {name: tf.constant(x) for name, x in workload.parameters.items()}

    def gradient(y):
        with tf.GradientTape() as tape:
            tape.watch([parameters[name] for name in names])
            value = ss.log_likelihood(ss.LinearGaussianSSM(**parameters), y, memory=memory)
        return tape.gradient(value, [parameters[name] for name in names])

    gradient(y[:200])  # brings in the library's code
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    gradient(y)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return (peak - before) / 1024, seconds


if __name__ == "__main__":
    sys.exit(main())
