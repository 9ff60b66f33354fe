"""How much memory does a gradient need beyond its arguments?

Prints the peak of the memory that each library takes in addition while it computes an operator and
its gradient, and that our adjoint takes by itself: in multiples of one argument, the batch of
matrices [batch, n, n]. Needs Linux. See README.md.

    python benchmarks/linalg_memory.py
"""

import argparse
import json
import os
import subprocess
import sys

import timing

# 32 MB an argument, so that what a library keeps for itself hardly shows; ascending, so that the
# scratch memory that one size leaves behind does not hide that of the next.
SIZES = ((262144, 4), (16384, 16), (1024, 64), (4, 1024))
OURS, OUR_ADJOINT = "statespace_", "adjoint alone"
LEAST = "results and gradients"
LIBRARIES = {OURS: "function", "tensorflow_": "TF graph", "jax_": "JAX", "torch_": "torch"}


def main(arguments=None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--quick", action="store_true", help="two sizes")
    parser.add_argument("--json", metavar="FILE", help="write every number there as well")
    parser.add_argument("--library", choices=LIBRARIES, help=argparse.SUPPRESS)  # a child
    options = parser.parse_args(arguments)
    sizes = SIZES[1:3] if options.quick else SIZES
    timing.limit_threads(1)
    if options.library:
        return _child(options.library, sizes)

    print(f"machine: {timing.describe_machine()}", flush=True)
    rows = {}
    for library in LIBRARIES:
        # glibc would keep what is freed for later; so it goes back, and what is taken shows.
        environment = os.environ | {"MALLOC_MMAP_THRESHOLD_": "65536"}
        command = [sys.executable, __file__, "--library", library]
        command += ["--quick"] if options.quick else []
        child = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True)
        for line in child.stdout.splitlines():
            operator, batch, n, label, multiple = json.loads(line)
            row = {"operator": operator, "batch": batch, "n": n, "dtype": "float64"}
            row = rows.setdefault((operator, batch, n), row | {"multiples": {}})
            row["multiples"][label] = multiple
    from factorisations import tables

    print("\n" + tables.memory(list(rows.values())))
    if options.json:
        with open(options.json, "w") as file:
            json.dump(list(rows.values()), file, indent=1)
    return 0


def _child(library, sizes):
    """Prints one line of JSON per measurement."""
    from factorisations import libraries, problems
    from factorisations.operators import OPERATORS

    found, missing = libraries.load([library])
    if missing:
        print(f"without {missing}", file=sys.stderr)
        return 0
    (adapter,) = found.values()
    for batch, n in sizes:
        for name, operator in OPERATORS.items():
            label = LIBRARIES[library]
            make = adapter.columns(name, n).get(label)
            if make is None or not operator.usual:
                continue
            problem = problems.build(name, batch, n, "float64")
            call = _prepared(libraries, adapter, make, problem)
            # Brings in the library's code and its buffers of fixed size. After the call is
            # prepared: the next conversion is where TensorFlow frees what it has copied.
            _prepared(libraries, adapter, make, problems.build(name, 2, 2, "float64"))()
            outputs = (*problem.cotangents, *problem.arguments)  # of their sizes
            extra = {LEAST: sum(array.nbytes for array in outputs), label: _peak_of(call)}
            if library == OURS:
                extra[OUR_ADJOINT] = _adjoint_alone(name, problem)
            for label, peak in extra.items():
                multiple = peak / problem.arguments[0].nbytes
                print(json.dumps([name, batch, n, label, multiple]), flush=True)
    return 0


def _prepared(libraries, adapter, make, problem):
    """The call of the job gradient, not run yet; signs do not matter here."""
    layout = getattr(adapter, "LAYOUTS", {}).get(problem.name, "same")
    lay_arguments, lay_results = libraries.LAYOUTS[layout]
    return make(lay_arguments(problem.arguments), lay_results(problem.cotangents))


def _adjoint_alone(name, problem):
    """Peak of the backward pass, the results of the forward pass being there."""
    import tensorflow as tf

    import statespace as ss

    arguments = [tf.constant(array) for array in problem.arguments]
    cotangents = [tf.constant(array) for array in problem.cotangents]
    tf.constant(problem.arguments[0][:1])  # a further conversion: see above
    with tf.GradientTape() as tape:
        tape.watch(arguments)
        results = getattr(ss.linalg_ops, name)(*arguments)
    results = list(results) if len(cotangents) > 1 else [results]
    return _peak_of(lambda: tape.gradient(results, arguments, output_gradients=cotangents))


def _peak_of(call):
    """Bytes by which resident memory rises during a call, at its highest."""
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")  # the peak begins anew
    before = _resident("VmRSS")
    outputs = call()
    peak = _resident("VmHWM")
    del outputs
    return peak - before


def _resident(which):
    with open("/proc/self/status") as lines:
        return next(1024 * int(line.split()[1]) for line in lines if line.startswith(which + ":"))


if __name__ == "__main__":
    sys.exit(main())
