"""How long does a step of a nonlinear Kalman filter take, here and in dynamax?

Prints microseconds per step and series of the extended, unscented and cubature filters: moments
and log-likelihood of every series, and the log-likelihood with its gradient by the scales of the
noise; with this library in a graph and under XLA, and with dynamax under ``jax.jit``. Of the
iterated filter, which is not the same in dynamax, ours alone. One process, float64, taking turns,
after comparing the results. See README.md.

    python benchmarks/nonlinear.py
    python benchmarks/nonlinear.py --problem bearings --method unscented --quick
"""

import argparse
import sys
from typing import NamedTuple

import timing

OURS = ("graph", "XLA")
JOBS = ("filter", "gradient")
SIZES = ((1, 500), (64, 200), (1024, 100))  # series, steps
UNSCENTED = {"alpha": 1.0, "beta": 0.0, "kappa": 1.0}
METHODS = {"extended": {}, "iterated": {}, "unscented": UNSCENTED, "cubature": {}}
TOLERANCE = 1e-5  # dynamax adds 1e-9 to the diagonals of the matrices it solves with


def main(arguments=None) -> int:
    options = _parse(arguments)
    timing.limit_threads(options.threads)
    timing.keep_freed_memory()
    rival = timing.load_rival("dynamax_nonlinear_", "dynamax")
    print(f"machine: {timing.describe_machine()}\n\nMicroseconds per step and series.\n")
    columns = ("problem", "method", "series × steps", "job", *OURS, "dynamax", "×")
    print(f"| {' | '.join(columns)} |\n{'|---' * len(columns)}|", flush=True)
    for name in options.problem or PROBLEMS:
        for batch, steps in SIZES[:1] if options.quick else SIZES:
            y = PROBLEMS[name].simulate(batch, steps)
            for method in options.method or METHODS:
                for job in JOBS:
                    calls = cases(PROBLEMS[name], y, method, job, rival)
                    times = timing.measure(calls, 1.0 if options.quick else options.budget)
                    print_row((name, method, f"{batch} × {steps}", job), times, batch * steps)
    return 0


def _parse(arguments):
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--problem", action="append", choices=PROBLEMS, help="may be repeated")
    parser.add_argument("--method", action="append", choices=METHODS, help="may be repeated")
    parser.add_argument("--threads", type=int, default=1, help="default 1")
    parser.add_argument("--budget", type=float, default=3.0, help="seconds for each case")
    parser.add_argument("--quick", action="store_true", help="one series, few repeats")
    return parser.parse_args(arguments)


def cases(problem, y, method, job, rival):
    """Calls by column, whose results agree."""
    calls = {form: ours(problem, y, method, job, form == "XLA") for form in OURS}
    if rival and method != "iterated":
        calls["dynamax"] = rival.case(problem, y, method, METHODS[method], job)
    results = {form: call() for form, call in calls.items()}
    for form, result in results.items():
        for got, expected in zip(result, results["graph"], strict=True):
            error = abs(got - expected).max() / abs(expected).max()
            if not error < TOLERANCE:
                sys.exit(
                    f"{method}, {job}: results of {form} differ by {error:.1e} of the largest."
                )
    return calls


def ours(problem, y, method, job, jit_compile):
    """A call that returns the results of a job, as arrays.

    "filter": log-likelihood of each series, filtered means and covariances; "gradient": the sum of
    the log-likelihoods, and its gradient by G and C.
    """
    import tensorflow as tf

    import statespace as ss

    def filtered(scales):
        model = ss.NonlinearGaussianSSM(
            lambda x: problem.transition(tf, x),
            scales[0],
            lambda x: problem.observation(tf, x),
            scales[1],
            problem.initial_mean,
            problem.initial_scale,
        )
        return ss.nonlinear_filter(model, y, method=method, **METHODS[method])

    @tf.function(autograph=False, jit_compile=jit_compile)
    def run(scales):
        if job == "filter":
            result = filtered(scales)
            return result.log_likelihood, result.filtered_mean, result.filtered_covariance
        with tf.GradientTape() as tape:
            tape.watch(scales)
            total = tf.reduce_sum(filtered(scales).log_likelihood)
        return total, *tape.gradient(total, scales)

    y = tf.constant(y)
    scales = (problem.transition_scale, problem.observation_scale)
    scales = [tf.constant(x, tf.float64) for x in scales]
    return lambda: [x.numpy() for x in run(scales)]


def print_row(cells, times, count):
    best = min(times[form].minimum for form in OURS)
    cells = [*cells, *(f"{1e6 * times[form].minimum / count:.3g}" for form in OURS)]
    rival = times.get("dynamax")
    cells += (
        [f"{1e6 * rival.minimum / count:.3g}", f"{rival.minimum / best:.1f}"] if rival else "––"
    )
    print(f"| {' | '.join(cells)} |", flush=True)


class Problem(NamedTuple):
    """Functions take a library, which has NumPy's names, and states ``[..., n]``."""

    transition: object
    observation: object
    transition_scale: object
    observation_scale: object
    initial_mean: object
    initial_scale: object

    def simulate(self, batch, steps):
        """Observations [batch, steps, m]."""
        import numpy as np

        rng = np.random.default_rng(0)

        def noise(scale):
            scale = np.asarray(scale)
            return rng.normal(size=(batch, scale.shape[1])) @ scale.T

        x, y = self.initial_mean + noise(self.initial_scale), []
        for _ in range(steps):
            y.append(self.observation(np, x) + noise(self.observation_scale))
            x = self.transition(np, x) + noise(self.transition_scale)
        return np.stack(y, axis=1)


def _swing(lib, x):
    """A pendulum, 0.05 s by Euler's rule."""
    angle, speed = x[..., 0], x[..., 1]
    return lib.stack([angle + 0.05 * speed, speed - 0.05 * 9.8 * lib.sin(angle)], -1)


def _move(lib, x):
    """Position and velocity in the plane, held back so that long series stay near."""
    place, speed = x[..., :2], x[..., 2:]
    return lib.concat([0.99 * place + speed, 0.95 * speed], -1)


def _bearings(lib, x):
    """From two sensors, at (-9, -8) and (9, -8)."""
    return lib.stack([lib.atan2(x[..., 1] + 8.0, x[..., 0] - a) for a in (-9.0, 9.0)], -1)


PROBLEMS = {
    "pendulum": Problem(
        _swing,
        lambda lib, x: lib.sin(x[..., :1]),
        [[0.01, 0.0], [0.0, 0.05]],
        [[0.3]],
        [1.2, 0.0],
        [[0.3, 0.0], [0.0, 0.2]],
    ),
    "bearings": Problem(
        _move,
        _bearings,
        [
            [0.02, 0.0, 0.0, 0.0],
            [0.0, 0.02, 0.0, 0.0],
            [0.0, 0.0, 0.02, 0.0],
            [0.0, 0.0, 0.0, 0.02],
        ],
        [[0.05, 0.0], [0.0, 0.05]],
        [0.0, 2.0, 0.1, 0.0],
        [[0.3, 0.0, 0.0, 0.0], [0.0, 0.3, 0.0, 0.0], [0.0, 0.0, 0.05, 0.0], [0.0, 0.0, 0.0, 0.05]],
    ),
}


if __name__ == "__main__":
    sys.exit(main())
