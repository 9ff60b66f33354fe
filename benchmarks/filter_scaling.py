"""Does the cost of a filter grow in proportion to steps and series, and fall with threads?

Prints microseconds per time step per series of this library's log-likelihood, its gradient and the
smoother, for longer and longer series, for more and more of them, and on one thread and two. See
README.md.

    python benchmarks/filter_scaling.py
"""

import argparse
import sys

import timing

LENGTHS = (1_000, 10_000, 100_000, 1_000_000)
BATCHES = (10, 100, 1_000, 10_000, 100_000)
NUM_STEPS = 100  # of each series of a batch
THREADED = ("track-1024", "learned-64", "gaps-64", "learned-32", "seasonal-32", "dense-32")


def main(arguments=None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--quick", action="store_true", help="without the largest sizes")
    options = parser.parse_args(arguments)
    timing.limit_threads(2)
    timing.keep_freed_memory()
    # Only now: these load TensorFlow, which reads the limits as it starts.
    import statespace_
    import workloads

    from statespace import native

    print(f"machine: {timing.describe_machine()}\n")
    last = -1 if options.quick else None
    native.ops()  # whose first call sets the number of threads itself
    native.api().set_num_threads(1)
    for title, parts in (
        ("one series of T steps", [(1, steps) for steps in LENGTHS[:last]]),
        (f"B series of {NUM_STEPS} steps", [(batch, NUM_STEPS) for batch in BATCHES[:last]]),
    ):
        print(f"| {title} (4 states, 2 components) | log-likelihood | gradient | smoother |")
        print("|---|---|---|---|")
        for batch, num_steps in parts:
            workload = workloads.resized("track-64", batch, num_steps)
            times = [_microseconds(statespace_, workload, job) for job in workloads.JOBS]
            size = num_steps if batch == 1 else batch
            print(f"| {size} | " + " | ".join(f"{x:.3g}" for x in times) + " |", flush=True)
        print()

    print("| two threads against one | log-likelihood | gradient | smoother |")
    print("|---|---|---|---|")
    for name in THREADED:
        workload = workloads.build(name)
        gains = [_gain(native, statespace_, workload, job) for job in workloads.JOBS]
        print(f"| {name} | " + " | ".join(f"{x:.2f}×" for x in gains) + " |", flush=True)
    return 0


def _calls(adapter, workload, job):
    """Eagerly and inside ``tf.function``: the faster one counts, as in ``filter.py``."""
    cases = adapter.cases(workload, job)
    return {name: cases[name] for name in ("eager", "function")}


def _microseconds(adapter, workload, job):
    times = timing.measure(_calls(adapter, workload, job), budget=1.0)
    fastest = min(taken.minimum for taken in times.values())
    return 1e6 * fastest / (workload.batch * workload.num_steps)


def _gain(native, adapter, workload, job):
    """How many times as fast two threads are as one, the two taking turns."""

    def on(threads, call):
        def run():
            native.api().set_num_threads(threads)
            return call()

        return run

    calls = _calls(adapter, workload, job)
    on_threads = {(i, name): on(i, call) for i in (1, 2) for name, call in calls.items()}
    times = timing.measure(on_threads, budget=2.0)
    one, two = (min(times[i, name].minimum for name in calls) for i in (1, 2))
    return one / two


if __name__ == "__main__":
    sys.exit(main())
