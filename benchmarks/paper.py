"""The paper's own models, learned on MXNet's operators and on ours: how long does a step take?

Prints milliseconds per value and gradient of the log evidence of Bayesian linear regression, by LQ,
and of the log marginal likelihood of a Gaussian process, by Cholesky: the same mathematics on both
sides, after checking that the answers agree; and how many lines each model takes. Needs MXNet
1.9.1, the paper's own implementation. See README.md.

    python benchmarks/paper.py --model log_evidence --size 100x200x8
"""

import argparse
import json
import sys

import timing

TITLES = {
    "log_evidence": "Bayesian linear regression",
    "log_marginal_likelihood": "Gaussian process",
}
OURS, THEIRS = "statespace", ("MXNet eager", "MXNet graph")
# Of the largest entry of each array. How many digits float32 has is for the table to show.
TOLERANCES = {"float64": 1e-8, "float32": 1e-2}


def main(arguments=None) -> int:
    options = _parse(arguments)
    timing.limit_threads(options.threads)
    timing.keep_freed_memory()
    # Only now: these load TensorFlow, which reads the limits as it starts, and start MXNet.
    from factorisations import libraries, tables
    from paper_models import problems

    adapters, missing = libraries.load(("statespace_", "mxnet_"))
    if missing:
        sys.exit(f"Both libraries must be there: {missing}")
    header = {"machine": timing.describe_machine()}
    for adapter in adapters.values():
        header |= adapter.versions()
    print("\n".join(f"{key}: {value}" for key, value in header.items()), flush=True)

    rows = []
    for model in options.model or TITLES:
        for size in options.size or problems.SIZES[model]:
            rows += _run(model, size, adapters["mxnet_"], options.budget)
    print("\n" + tables.markdown(_cells(rows)) + "\n\n" + _NOTE)
    print("\n" + tables.markdown(_lines(problems)))
    if options.json:
        with open(options.json, "w") as file:
            json.dump({"header": header, "rows": rows}, file, indent=1)
    wrong = [row for row in rows if row["wrong"]]
    for row in wrong:
        print(f"\n{row['model']} {row['size']} {row['dtype']}: too far apart: {row['errors']}")
    return 1 if wrong else 0


def _parse(arguments):
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--model", action="append", choices=TITLES, help="may be repeated")
    parser.add_argument("--size", action="append", type=_size, help="batch x n x d, e.g. 64x50x5")
    parser.add_argument("--threads", type=int, default=2, help="cores for both sides (default 2)")
    parser.add_argument("--budget", type=float, default=3.0, help="seconds per time (default 3)")
    parser.add_argument("--json", metavar="FILE", help="write every number there as well")
    return parser.parse_args(arguments)


def _size(text):
    batch, count, width = map(int, text.split("x"))
    return batch, count, width


def _run(model, size, mxnet_, budget):
    """The rows of one problem: float64 first, whose answers those in float32 are held against."""
    import numpy as np
    from paper_models import problems

    rows, exact = [], None
    for dtype in ("float64", "float32"):
        arguments = [array.astype(dtype) for array in problems.draw(model, *size)]
        calls = _calls(model, arguments, mxnet_)
        answers = {label: [np.asarray(x) for x in call()] for label, call in calls.items()}
        exact = exact or answers[OURS]
        errors = {label: _error(answer, exact) for label, answer in answers.items()}
        times = timing.measure(calls, budget, most=400)
        rows.append(
            {
                "model": model,
                "size": "×".join(map(str, size)),
                "dtype": dtype,
                "errors": errors,
                "wrong": not all(error <= TOLERANCES[dtype] for error in errors.values()),
                "minimum": {label: 1e3 * taken.minimum for label, taken in times.items()},
                "median": {label: 1e3 * taken.median for label, taken in times.items()},
                "repeats": {label: taken.repeats for label, taken in times.items()},
            }
        )
    return rows


def _calls(model, arguments, mxnet_):
    """By label, calls that return the value and the gradients by all arguments."""
    import numpy as np
    import tensorflow as tf
    from factorisations import tensorflow_
    from paper_models import statespace_

    function = getattr(statespace_, model)
    cotangents = [np.ones_like(arguments[1][:, 0])]
    make = tensorflow_.maker(lambda *tensors: (function(*tensors),), tf.function)
    calls = {OURS: make(arguments, cotangents)}
    for label in THEIRS:
        name = f"{model} {label.split()[1]}"
        calls[label] = mxnet_.Case(name, arguments, cotangents, module="paper_models.mxnet_")
    return calls


def _error(answer, exact):
    """The largest, of value and gradients, relative to the largest entry of each; NaN if one is."""
    import numpy as np

    pairs = zip(answer, exact, strict=True)
    return float(np.max([np.max(np.abs(x - y)) / np.max(np.abs(y)) for x, y in pairs]))


def _cells(rows):
    labels = (OURS, *THEIRS)
    cells = [["model", "batch×n×d", "dtype", *labels, "MXNet / ours", "ours, MXNet's error"]]
    for row in rows:
        least, median = row["minimum"], row["median"]
        ratios = [min(x[label] for label in THEIRS) / x[OURS] for x in (least, median)]
        cells.append([TITLES[row["model"]], row["size"], row["dtype"]])
        cells[-1] += [f"{least[label]:.3g} ({median[label]:.3g})" for label in labels]
        cells[-1] += [f"**{ratios[0]:.2g}×** ({ratios[1]:.2g})"]
        errors = row["errors"][OURS], max(row["errors"][label] for label in THEIRS)
        cells[-1] += ["{:.0g}, {:.0g}".format(*errors)]
    return cells


_NOTE = (
    "Milliseconds per value and gradient: minimum over repeats, and in parentheses the median. The "
    "multiple is that of\nthe faster way of MXNet. Error: the largest difference from our answer "
    "in float64, of value and gradients, relative\nto the largest entry of each."
)


def _lines(problems):
    cells = [["lines of model code", "statespace", "MXNet"]]
    for model, title in TITLES.items():
        lines = [problems.num_lines(library, model) for library in ("statespace_", "mxnet_")]
        cells.append([title, *map(str, lines)])
    return cells


if __name__ == "__main__":
    sys.exit(main())
