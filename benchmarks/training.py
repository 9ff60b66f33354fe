"""How long does a training step of a network over a Kalman filter take?

Prints training steps per second of ``DeepStateSpace`` and of a ``NeuralObservationModel`` over
films, in a graph and under XLA; of the same networks, optimiser and data with the likelihood or the
smoother of TFP's ``tfd.LinearGaussianStateSpaceModel``, likewise; of the same in JAX on dynamax's,
where it is installed; and what share of a step in a graph the model's matrices, the filter or
smoother and their gradients take. One process, taking turns, after comparing the losses of the
first steps.

    make bench-training
    python benchmarks/training.py --memory  # the peak of a step's memory instead, of long seasons
"""

import argparse
import itertools
import json
import resource
import subprocess
import sys
import time

import timing

FORMS = {  # by column: whose filter or smoother, and whether under XLA
    "graph": ("statespace", False),
    "XLA": ("statespace", True),
    "TFP graph": ("TFP", False),
    "TFP XLA": ("TFP", True),
    "without filter": ("nothing", False),
}
FIRST_STEPS, TOLERANCE = 5, 1e-4  # of the losses that must agree; the networks are float32
LONG_SEASONS = (
    "LocalLevel() + TrigonometricSeasonal(168, 6)",
    "LocalLevel() + TrigonometricSeasonal(24, 3) + TrigonometricSeasonal(168, 6)",
    "LocalLevel() + Seasonal(168)",
)
LONG_STEPS = 1000


def main(arguments=None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--threads", type=int, default=2, help="default 2")
    parser.add_argument("--budget", type=float, default=20.0, help="seconds for each case")
    parser.add_argument("--quick", action="store_true", help="the first workload, few repeats")
    parser.add_argument("--memory", action="store_true", help="memory of long seasons")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    timing.limit_threads(options.threads)
    if options.child:
        print(json.dumps(memory_of_a_step(options.child)))
        return 0
    print(f"machine: {timing.describe_machine()}", flush=True)
    if options.memory:
        return print_memory(LONG_SEASONS[:1] if options.quick else LONG_SEASONS)
    rival = timing.load_rival("training_models.jax_", "JAX")
    print("\nSteps per second.\n")
    columns = ["network", "states, steps", "graph", "filter's", "XLA"]
    columns += ["TFP graph", "TFP XLA", "×", "JAX", "×"]
    print(f"| {' | '.join(columns)} |\n{'|---' * len(columns)}|")
    for workload in itertools.islice(workloads(), 1 if options.quick else None):
        print_row(workload, measured(workload, rival, 1.0 if options.quick else options.budget))
    return 0


def workloads():
    """What there is to train; see ``training_models``."""
    from training_models import films, panels

    for panel in panels.PANELS:
        for encoder in panels.ENCODERS:
            yield panels.Panels(*panel, encoder)
    yield films.Films()


def measured(workload, rival, budget):
    """Seconds of a training step by form."""
    steps = {}
    for form, (inference, jit_compile) in FORMS.items():
        network = workload.network(inference)
        workload.compile(network, jit_compile)
        steps[form] = timing.training_step(network, workload.batch)
    if rival:
        steps["JAX"] = rival.training_step(workload)
    losses = {form: [step() for _ in range(FIRST_STEPS)] for form, step in steps.items()}
    expected = losses["graph"]
    for form in losses.keys() - {"without filter"}:
        if any(abs(x - y) > TOLERANCE for x, y in zip(losses[form], expected, strict=True)):
            sys.exit(f"{workload.name}: losses of {form} are {losses[form]}, ours {expected}.")
    return {form: x.minimum for form, x in timing.measure(steps, budget).items()}


def print_row(workload, times):
    """Steps per second of the forms of one workload, and multiples of the rivals' best times."""
    ours = min(times["graph"], times["XLA"])
    share = 1 - times["without filter"] / times["graph"]
    cells = [workload.name, workload.sizes, f"{1 / times['graph']:.3g}", f"{share:.0%}"]
    cells += [f"{1 / times[form]:.3g}" for form in ("XLA", "TFP graph", "TFP XLA")]
    cells.append(f"{min(times['TFP graph'], times['TFP XLA']) / ours:.1f}")
    jax = times.get("JAX")
    cells += [f"{1 / jax:.3g}", f"{jax / ours:.1f}"] if jax else ["–", "–"]
    print(f"| {' | '.join(cells)} |", flush=True)


def print_memory(bases):
    """The peak of the memory that training takes beyond what the process had, and its time."""
    from training_models import panels

    print(f"\nBatches of {panels.BATCH} series of {LONG_STEPS} steps, convolution.\n")
    print("| base model | states | MB | seconds a step |\n|---|---|---|---|")
    for base in bases:
        command = [sys.executable, __file__, "--child", base]
        child = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        states, megabytes, seconds = json.loads(child.stdout.splitlines()[-1])
        print(f"| `{base}` | {states} | {megabytes:.0f} | {seconds:.2f} |", flush=True)
    return 0


def memory_of_a_step(base):
    """States, MB and seconds. The network has made a step on short series before."""
    from training_models.panels import Panels

    def step_of(num_steps):
        workload = Panels("long", base, num_steps, "convolution")
        network = workload.network("statespace")
        workload.compile(network, jit_compile=False)
        return network, timing.training_step(network, workload.batch)

    network, step = step_of(24)
    step()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    network, step = step_of(LONG_STEPS)
    step()  # traced
    start = time.perf_counter()
    step()
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return len(network.base_model.state_names), (peak - before) / 1024, seconds


if __name__ == "__main__":
    sys.exit(main())
