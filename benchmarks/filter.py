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

    rows = []
    for name in names:
        workload = workloads.build(name)
        for job in jobs:
            rows.append(_run(workload, job, adapters, options))
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
    for adapter in adapters.values():
        header |= adapter.versions()
    return header | {f"without {name.rstrip('_')}": reason for name, reason in missing.items()}


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
    heading += ["best TFP / ours", "best rival / ours", "GFLOP/s"] if with_ours else []
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
        "our fastest.\nGFLOP/s: estimated operations of the textbook recursion over our fastest "
        "time." + _gradient_note(rows)
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
            f"{1e-3 * row['flops_per_step'] / ours:.2g}" if ours else "–",
        ]
    return cells


def _gradient_note(rows):
    chosen = {}
    for row in rows:
        if row["gradient_of"]:
            chosen.setdefault(", ".join(row["gradient_of"]), []).append(row["workload"])
    which = "; ".join(f"{by} ({', '.join(where)})" for by, where in chosen.items())
    return f"\nGradients are by {which}." if which else ""


if __name__ == "__main__":
    sys.exit(main())
