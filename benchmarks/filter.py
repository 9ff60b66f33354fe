"""How long does one step of a Kalman filter take, here and in other libraries?

Prints microseconds per time step per series, for the log-likelihood, the log-likelihood with its
gradient, and the smoother, of this library and of whichever of TensorFlow Probability, dynamax and
statsmodels are installed: all in one process, on the same arrays, in float64, after checking that
all agree. See README.md.

    python benchmarks/filter.py --workload learned-64 --job gradient
"""

import argparse
import json
import sys
import time

import timing

QUICK = ("trend-1", "track-64", "learned-64")


def main(arguments=None) -> int:
    options = _parse(arguments)
    timing.limit_threads(options.threads)
    timing.keep_freed_memory()
    # Only now: these load NumPy, TensorFlow and JAX, which read the limits as they start.
    import rivals
    import workloads

    names = options.workload or (QUICK if options.quick else workloads.NAMES)
    jobs = options.job or workloads.JOBS
    for given, known in ((names, workloads.NAMES), (jobs, workloads.JOBS)):
        if unknown := set(given) - set(known):
            sys.exit(f"unknown: {', '.join(sorted(unknown))}; known: {', '.join(known)}")
    adapters, missing = rivals.load()
    header = _header(adapters, missing)
    print("\n".join(f"{key}: {value}" for key, value in header.items()), flush=True)

    calls = _empty_calls(adapters, jobs)
    rows = []
    for name in names:
        workload = workloads.build(name)
        for job in jobs:
            rows.append(_run(workload, job, adapters, options) | {"call": calls.get(job)})
    print()
    print(_table(rows))
    if options.json:
        with open(options.json, "w") as file:
            json.dump({"header": header, "rows": rows}, file, indent=1)
    wrong = [f"{row['workload']} {row['job']}: {text}" for row in rows for text in row["wrong"]]
    if wrong:
        print("\nFailed, or answers differ (not timed):\n  " + "\n  ".join(wrong))
    return 1 if wrong else 0


def _parse(arguments):
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--workload", action="append", help="only this one; may be repeated")
    parser.add_argument("--job", action="append", help="log-likelihood, gradient or smooth")
    parser.add_argument("--column", action="append", help="only columns that start so, e.g. TFP")
    parser.add_argument("--quick", action="store_true", help="three workloads, few repeats")
    parser.add_argument("--threads", type=int, default=1, help="cores to use (default 1)")
    parser.add_argument("--no-check", dest="check", action="store_false", help="time unchecked")
    parser.add_argument("--json", metavar="FILE", help="write every number there as well")
    return parser.parse_args(arguments)


def _header(adapters, missing):
    header = {"machine": timing.describe_machine()}
    header["float64 matrix product (NumPy)"] = f"{timing.gemm_peak():.1f} GFLOP/s"
    header["memory"] = f"{timing.bandwidth(256 << 20):.1f} GB/s"
    for adapter in adapters.values():
        header |= adapter.versions()
    return header | {f"without {name.rstrip('_')}": reason for name, reason in missing.items()}


def _empty_calls(adapters, jobs):
    """Microseconds that our fastest call takes with one step of one series, by job."""
    import rivals
    import workloads

    if rivals.OURS not in adapters:
        return {}
    single = workloads.resized("trend-1", batch=1, num_steps=1)
    calls = {job: adapters[rivals.OURS].cases(single, job) for job in jobs}
    for case in (case for cases in calls.values() for case in cases.values()):
        case()
    times = {job: timing.measure(cases, budget=0.3) for job, cases in calls.items()}
    return {job: 1e6 * min(x.minimum for x in taken.values()) for job, taken in times.items()}


def _run(workload, job, adapters, options):
    """One row: warm up, check and time every column of one workload and job."""
    import flops
    import rivals

    start = time.perf_counter()
    calls, ours, wrong, expected = {}, [], [], None
    for name, adapter in adapters.items():
        for label, call in adapter.cases(workload, job).items():
            if options.column and not label.startswith(tuple(options.column)):
                continue
            try:
                outputs = call()  # compiles
            except Exception as error:  # a long run survives what one library cannot do
                wrong.append(f"{label}: {type(error).__name__}: {error}".split("\n")[0])
                continue
            if expected is None:
                expected = outputs
            tolerance = getattr(adapter, "TOLERANCE", rivals.TOLERANCE)
            if options.check and (
                problem := rivals.disagreement(workload, job, outputs, expected, tolerance)
            ):
                wrong.append(f"{label}: {problem}")
                continue
            calls[label] = call
            if name == rivals.OURS:
                ours.append(label)
    compiled = time.perf_counter()
    times = timing.measure(calls, budget=0.3 if options.quick else 1.5)
    print(
        f"{workload.name} {job}: prepared in {compiled - start:.1f} s, "
        f"timed in {time.perf_counter() - compiled:.1f} s",
        file=sys.stderr,
    )
    steps = workload.batch * workload.num_steps
    return {
        "workload": workload.name,
        "shape": [workload.batch, workload.num_steps, workload.state_dim, workload.observation_dim],
        "job": job,
        "gradient_of": list(workload.gradient_of) if job == "gradient" else [],
        "flops_per_step": flops.flops_per_step(workload, job),
        "bytes_per_step": flops.bytes_per_step(workload, job),
        "ours": ours,
        "microseconds": {label: 1e6 * taken.minimum / steps for label, taken in times.items()},
        "median_microseconds": {
            label: 1e6 * taken.median / steps for label, taken in times.items()
        },
        "repeats": {label: taken.repeats for label, taken in times.items()},
        "wrong": wrong,
    }


def _table(rows):
    """Markdown, also readable as it stands: times, and times as multiples of our fastest."""
    labels = list(dict.fromkeys(label for row in rows for label in row["microseconds"]))
    with_ours = any(row["ours"] for row in rows)
    heading = ["workload (B, T, n, m)", "job", *labels]
    if with_ours:
        heading += ["best TFP / ours", "best rival / ours", "GFLOP/s", "GB/s", "the call itself"]
    cells = [heading] + [_cells(row, labels, with_ours) for row in rows]
    widths = [max(len(line[i]) for line in cells) for i in range(len(heading))]
    lines = [
        "| "
        + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        + " |"
        for line in cells
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    note = (
        "Microseconds per time step per series, minimum over repeats; (x ...) is the multiple of "
        "our fastest.\nGFLOP/s, GB/s: estimated operations of the textbook recursion, and bytes of "
        "data, parameters and results, over our fastest time.\nThe call itself: what a call with "
        "one step takes, as a share of that time." + _gradient_note(rows)
    )
    return "\n".join(lines) + "\n\n" + note


def _cells(row, labels, with_ours):
    times = row["microseconds"]
    ours = min((times[label] for label in row["ours"]), default=None)

    def cell(label):
        if label not in times:
            return "failed" if any(w.startswith(label + ":") for w in row["wrong"]) else "–"
        if ours is None or label in row["ours"]:
            return f"{times[label]:.3g}"
        return f"{times[label]:.3g} (×{times[label] / ours:.3g})"

    def multiple(chosen):
        best = min((times[label] for label in chosen if label in times), default=None)
        return f"**{best / ours:.2g}×**" if best and ours else "–"

    shape = ", ".join(map(str, row["shape"]))
    cells = [f"{row['workload']} ({shape})", row["job"], *map(cell, labels)]
    if with_ours:
        cells += [
            multiple([label for label in labels if label.startswith("TFP")]),
            multiple([label for label in labels if label not in row["ours"]]),
            *_limits(row, ours),
        ]
    return cells


def _limits(row, ours):
    """What a time is to be read against: arithmetic, memory, and a call that has nothing to do."""
    if not ours:
        return ["–"] * 3
    whole = ours * row["shape"][0] * row["shape"][1]
    share = f"{min(1.0, row['call'] / whole):.0%}" if row["call"] else "–"
    return [f"{1e-3 * row[x] / ours:.2g}" for x in ("flops_per_step", "bytes_per_step")] + [share]


def _gradient_note(rows):
    chosen = {}
    for row in rows:
        if row["gradient_of"]:
            chosen.setdefault(", ".join(row["gradient_of"]), []).append(row["workload"])
    which = "; ".join(f"{by} ({', '.join(where)})" for by, where in chosen.items())
    return f"\nGradients are by {which}." if which else ""


if __name__ == "__main__":
    sys.exit(main())
