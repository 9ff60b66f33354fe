"""How long does a factorisation of many small matrices take, here and in other libraries?

Prints microseconds per matrix of Cholesky, LQ, symmetric eigenvalues and triangular solve, alone
and with the gradient, of this library and of whichever of NumPy, TensorFlow, JAX, PyTorch and MXNet
are installed: on the same arrays, after checking that all agree. See README.md.

    python benchmarks/linalg.py --operator cholesky --size 10000x4
"""

import argparse
import json
import sys
import time

import timing

QUICK_SIZES = ((10000, 4), (500, 16), (100, 64))
MEMORY = 256 << 20  # bytes, more than any cache holds


def main(arguments=None) -> int:
    options = _parse(arguments)
    timing.limit_threads(options.threads)
    timing.keep_freed_memory()
    # Only now: these load NumPy, TensorFlow and JAX, which read the limits as they start.
    from factorisations import libraries, tables

    _fill_in(options)
    adapters, missing = libraries.load()
    names = _operators(options, adapters, missing)
    header = _header(adapters, missing)
    print("\n".join(f"{key}: {value}" for key, value in header.items()), flush=True)

    limits = {"memory": timing.bandwidth(MEMORY)}
    for dtype in options.dtype:
        limits[dtype] = timing.gemm_peak(dtype)
        print(f"{dtype} matrix product (NumPy): {limits[dtype]:.1f} GFLOP/s")
    print(f"memory: {limits['memory']:.1f} GB/s, copy of {MEMORY >> 20} MB in all", flush=True)

    rows = []
    for dtype in options.dtype:
        for name in names:
            for batch, n in options.size:
                rows += _run(name, batch, n, dtype, adapters, options)
    print()
    print(tables.speed(rows, limits))
    if compiled := tables.compiled(rows, limits):
        print("\n" + compiled)
    if options.json:
        with open(options.json, "w") as file:
            json.dump({"header": header, "limits": limits, "rows": rows}, file, indent=1)
    wrong = [f"{tables.title(row)}: {text}" for row in rows for text in row["wrong"]]
    if wrong:
        print("\nFailed, or answers differ (not timed):\n  " + "\n  ".join(wrong))
    return 1 if wrong else 0


def _parse(arguments):
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--operator", action="append", help="only this one; may be repeated")
    parser.add_argument("--all", action="store_true", help="also inverse, det, potri and others")
    parser.add_argument("--size", action="append", type=_size, help="batch x n, e.g. 10000x4")
    parser.add_argument("--dtype", action="append", choices=("float64", "float32"))
    parser.add_argument("--job", action="append", choices=("forward", "gradient"))
    parser.add_argument("--column", action="append", help="only columns that start so, e.g. TF")
    parser.add_argument("--quick", action="store_true", help="three sizes, float64, few repeats")
    parser.add_argument("--threads", type=int, default=1, help="cores to use (default 1)")
    parser.add_argument("--no-check", dest="check", action="store_false", help="time unchecked")
    parser.add_argument("--json", metavar="FILE", help="write every number there as well")
    return parser.parse_args(arguments)


def _fill_in(options):
    from factorisations.problems import JOBS, SIZES

    options.size = options.size or (QUICK_SIZES if options.quick else SIZES)
    options.dtype = options.dtype or (["float64"] if options.quick else ["float64", "float32"])
    options.job = options.job or JOBS


def _size(text):
    batch, n = map(int, text.split("x"))
    return batch, n


def _operators(options, adapters, missing):
    """Those asked for, less those that this library does not have (yet): reported as missing."""
    from factorisations import libraries
    from factorisations.operators import OPERATORS

    if unknown := set(options.operator or ()) - set(OPERATORS):
        sys.exit(f"unknown: {', '.join(sorted(unknown))}; known: {', '.join(OPERATORS)}")
    wanted = options.operator or [
        name for name, operator in OPERATORS.items() if operator.usual or options.all
    ]
    ours = adapters.get(libraries.OURS)
    absent = [name for name in wanted if ours and not ours.columns(name, 1)]
    for name in absent:
        missing[name] = "statespace.linalg_ops has no such operator"
    return [name for name in wanted if name not in absent]


def _header(adapters, missing):
    header = {"machine": timing.describe_machine()}
    for adapter in adapters.values():
        header |= adapter.versions()
    return header | {f"without {name.rstrip('_')}": reason for name, reason in missing.items()}


def _run(name, batch, n, dtype, adapters, options):
    """The rows of one problem: prepares every column, then times them job by job."""
    import flops
    from factorisations import libraries, problems, tensorflow_

    start = time.perf_counter()
    problem = problems.build(name, batch, n, dtype)
    columns, wrong = {}, []
    for library, adapter in adapters.items():
        for label, make in adapter.columns(name, n).items():
            if options.column and not label.startswith(tuple(options.column)):
                continue
            prepared = libraries.prepare(adapter, make, problem, options.job, options.check)
            columns[label] = library, prepared.calls
            wrong += [f"{label} {text}" for text in prepared.wrong]
    ready = time.perf_counter()
    rows = []
    for job in options.job:
        calls = {label: calls[job] for label, (_, calls) in columns.items() if job in calls}
        times = timing.measure(calls, budget=0.03 if options.quick else 0.1)
        bare = timing.measure(tensorflow_.bare_calls(problem, job), budget=0.03)
        moved = problem.bytes_moved(job)
        rows.append(
            {
                "operator": name,
                "batch": batch,
                "n": n,
                "dtype": dtype,
                "job": job,
                "ours": [label for label in calls if columns[label][0] == libraries.OURS],
                "flops": flops.operator_flops(name, n, job),
                "bytes": moved / batch,
                "bare_call": {k: 1e6 * taken.minimum / batch for k, taken in bare.items()},
                # To a power of two, so that few sizes are measured.
                "cached_bandwidth": timing.bandwidth(1 << (moved - 1).bit_length()),
                "microseconds": {k: 1e6 * taken.minimum / batch for k, taken in times.items()},
                "median_microseconds": {
                    k: 1e6 * taken.median / batch for k, taken in times.items()
                },
                "repeats": {label: taken.repeats for label, taken in times.items()},
                "wrong": wrong if job == options.job[0] else [],
            }
        )
    print(
        f"{name} {batch}x{n} {dtype}: prepared in {ready - start:.1f} s, "
        f"timed in {time.perf_counter() - ready:.1f} s",
        file=sys.stderr,
    )
    return rows


if __name__ == "__main__":
    sys.exit(main())
