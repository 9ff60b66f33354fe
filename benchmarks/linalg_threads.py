"""What do more cores give on large batches of matrices?

Prints, for each operator of this library, microseconds per matrix on one thread and on several, and
their ratio: in one process on as many cores, the two taking turns. See README.md.

    python benchmarks/linalg_threads.py --threads 2
"""

import argparse
import json
import sys

import timing

SIZES = ((100000, 4), (20000, 8), (5000, 16), (500, 64), (20, 256))
GOAL_PER_THREAD = 0.9  # 1.8 times the speed on two threads


def main(arguments=None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--threads", type=int, default=2, help="default 2")
    parser.add_argument("--quick", action="store_true", help="two sizes, float64")
    parser.add_argument("--json", metavar="FILE", help="write every number there as well")
    options = parser.parse_args(arguments)
    timing.limit_threads(options.threads)
    timing.keep_freed_memory()
    from factorisations import libraries, problems, statespace_, tables
    from factorisations.operators import OPERATORS

    print(f"machine: {timing.describe_machine()}", flush=True)
    rows = []
    for dtype in ("float64",) if options.quick else ("float64", "float32"):
        for name, operator in OPERATORS.items():
            columns = statespace_.columns(name, n=1)
            if not operator.usual or not columns:
                continue
            for batch, n in SIZES[1:3] if options.quick else SIZES:
                problem = problems.build(name, batch, n, dtype)
                prepared = libraries.prepare(
                    statespace_, columns["eager"], problem, problems.JOBS, check=True
                )
                for job, call in prepared.calls.items():
                    rows.append(_row(problem, job, call, options))
                if prepared.wrong:
                    sys.exit(f"{name} {batch}x{n} {dtype}: {'; '.join(prepared.wrong)}")
                print(f"{name} {batch}x{n} {dtype}", file=sys.stderr)
    print("\n" + tables.threads(rows, options.threads, GOAL_PER_THREAD * options.threads))
    if options.json:
        with open(options.json, "w") as file:
            json.dump(rows, file, indent=1)
    return 0


def _row(problem, job, call, options):
    times = timing.measure(
        {count: _OnThreads(call, count) for count in (1, options.threads)},
        budget=0.05 if options.quick else 0.3,
    )
    moved = problem.bytes_moved(job)
    return {
        "operator": problem.name,
        "batch": problem.batch,
        "n": problem.n,
        "dtype": problem.dtype,
        "job": job,
        "copy_microseconds": 1e-3
        * moved
        / timing.bandwidth(moved, options.threads)
        / problem.batch,
        "microseconds": {k: 1e6 * taken.minimum / problem.batch for k, taken in times.items()},
    }


class _OnThreads:
    """A call with that many threads of the library's own pool (see ``timing.measure``)."""

    def __init__(self, call, count):
        self._call, self._count = call, count

    def take_turn(self):
        from statespace import native

        native.api().set_num_threads(self._count)
        return timing.take_turn(self._call)


if __name__ == "__main__":
    sys.exit(main())
