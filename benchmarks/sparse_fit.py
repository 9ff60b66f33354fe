"""How long does a fit with inducing points to many observations take, and how much memory?

Prints, for n observations of d features and m inducing points, the seconds of
``SparseGaussianProcess.fit`` with its defaults, tracing included, how often it evaluated the bound
on all observations, whether it converged, and by how much the process grew, one of its own for each
case. See README.md.

    python benchmarks/sparse_fit.py --threads 2
"""

import argparse
import concurrent.futures
import multiprocessing
import resource
import sys
import time

import timing

# Kernel, observations, features, inducing points.
CASES = (
    ("ExponentiatedQuadratic", 100_000, 3, 50),
    ("MaternFiveHalves", 100_000, 3, 50),
)


def main(arguments=None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--threads", type=int, default=2, help="default 2")
    parser.add_argument("--quick", action="store_true", help="a tenth of the observations")
    options = parser.parse_args(arguments)
    timing.limit_threads(options.threads)
    print(f"machine: {timing.describe_machine()}\n", flush=True)
    print("| kernel | n | features | m | seconds | evaluations | converged | bound | MB |")
    print("|---|---|---|---|---|---|---|---|---|")
    spawn = multiprocessing.get_context("spawn")
    for kernel, n, d, m in CASES:
        n //= 10 if options.quick else 1
        with concurrent.futures.ProcessPoolExecutor(1, spawn) as pool:
            seconds, evaluations, converged, bound, growth = pool.submit(
                fit, kernel, n, d, m
            ).result()
        print(
            f"| {kernel} | {n} | {d} | {m} | {seconds:.0f} | {evaluations} | {converged} | "
            f"{bound:.1f} | {growth:.0f} |",
            flush=True,
        )
    return 0


def fit(kernel, n, d, m):
    """Seconds, evaluations of the last search, whether it converged, the bound, and megabytes."""
    import tensorflow_probability as tfp
    from gaussian_process import data

    import statespace as ss
    from statespace.models import gaussian_process_fit

    build = getattr(tfp.math.psd_kernels, kernel)
    gp = ss.models.SparseGaussianProcess(
        lambda amplitude, length_scale: build(amplitude, length_scale), num_inducing=m
    )
    x, y = data(n, d)
    calls, minimise = [], gaussian_process_fit.minimise

    def counting(objective, *arguments, **options):
        calls.append(0)

        def counted(*point):
            calls[-1] += 1
            return objective(*point)

        return minimise(counted, *arguments, **options)

    gaussian_process_fit.minimise = counting
    before, start = _peak(), time.perf_counter()
    posterior = gp.fit(x, y)
    seconds = time.perf_counter() - start
    result = bool(posterior.converged), float(posterior.log_bound)
    return seconds, calls[-1], *result, _peak() - before


def _peak():
    """Of the memory of this process so far, in megabytes (Linux)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    sys.exit(main())
