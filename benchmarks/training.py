"""How long does a training step of a network over a Kalman filter take?

Prints training steps per second of ``DeepStateSpace``, and of the same network, optimiser and data
with TFP's ``tfd.LinearGaussianStateSpaceModel`` as its likelihood, each in a graph and under XLA;
likewise of a ``NeuralObservationModel`` over films, with TFP's smoother; and what share of a step
the model's matrices, the filter or smoother and their gradients take. One process, taking turns,
after comparing likelihoods or moments.

    python benchmarks/training.py
    python benchmarks/training.py --memory  # the peak of a step's memory instead, of long seasons
"""

import argparse
import json
import resource
import subprocess
import sys
import time

import film_
import timing

BATCH = 32
# Name, base model, steps of a series. Noise and start of each series and step are emitted.
WORKLOADS = (
    ("monthly", "LocalLinearTrend() + Seasonal(12)", 120),
    ("hourly", "LocalLevel() + TrigonometricSeasonal(24, 3) + TrigonometricSeasonal(168, 4)", 336),
)
ENCODERS = ("convolution", "lstm")
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
    budget = 1.0 if options.quick else options.budget
    print(f"\nSteps per second on batches of {BATCH} series.\n")
    print("| panel, encoder | states, steps | graph | filter's | XLA | TFP graph | TFP XLA | × |")
    print("|---|---|---|---|---|---|---|---|")
    for name, base, steps in WORKLOADS[:1] if options.quick else WORKLOADS:
        for encoder in ENCODERS[:1] if options.quick else ENCODERS:
            print_row(f"{name}, {encoder}", *measured(base, steps, encoder, budget))
    print_row("films, dense", *film_.measured(budget))
    return 0


def print_row(name, sizes, times):
    """Steps per second of the forms of one workload."""
    best = min(times["graph"], times["XLA"])
    rival = min(times["TFP graph"], times["TFP XLA"])
    share = 1 - times["without filter"] / times["graph"]
    print(
        f"| {name} | {sizes} | {1 / times['graph']:.3g} | {share:.0%} | "
        f"{1 / times['XLA']:.3g} | {1 / times['TFP graph']:.3g} | {1 / times['TFP XLA']:.3g} | "
        f"{rival / best:.1f} |",
        flush=True,
    )


def measured(base, steps, encoder, budget):
    """Numbers of states and steps, and seconds of a training step by the form of its likelihood."""
    forms = {
        "graph": (None, False),
        "XLA": (None, True),
        "TFP graph": (tfp_log_likelihood, False),
        "TFP XLA": (tfp_log_likelihood, True),
        "without filter": (no_filter, False),
    }
    data = panel(steps)
    models = {name: network(base, encoder, likelihood) for name, (likelihood, _) in forms.items()}
    expected = models["graph"].log_likelihood(data).numpy()
    got = models["TFP graph"].log_likelihood(data).numpy()
    if abs(got - expected).max() > 1e-6 * abs(expected).max():
        sys.exit(f"TFP gives {got}, statespace {expected}.")
    cases = {name: step_of(models[name], data, jit) for name, (_, jit) in forms.items()}
    times = timing.measure(cases, budget)
    states = len(models["graph"].base_model.state_names)
    return f"{states}, {steps}", {name: x.minimum for name, x in times.items()}


def panel(steps):
    """Seasonal series without gaps, of which TFP knows only whole rows, and two covariates."""
    import numpy as np

    rng = np.random.default_rng(0)
    wave = np.sin(2 * np.pi * np.arange(steps) / 12)
    y = 10 + wave + 0.2 * rng.normal(size=(BATCH, steps)).cumsum(axis=1)
    return {"y": y, "covariates": rng.normal(size=(BATCH, steps, 2))}


def network(base, encoder, likelihood=None):
    """A DeepStateSpace; with a likelihood, if one is given, in place of the filter's.

    Args:
      likelihood: function of what the network emits, of the model that this makes, which is built
        when it is called, and of the scaled series.
    """
    import keras

    import statespace as ss
    from statespace.forecasting.expression import parse_model

    class Other(ss.models.DeepStateSpace):
        def _log_likelihood(self, panel, scaled, training):
            emitted = self._emitter(panel, training=training)
            build = lambda: self._structure.state_space_model(panel, emitted)  # noqa: E731
            return likelihood(emitted, build, scaled)

    keras.utils.set_random_seed(0)
    return (Other if likelihood else ss.models.DeepStateSpace)(parse_model(base), encoder)


def step_of(model, data, jit_compile):
    """A call that makes one training step."""
    model.compile("adam", jit_compile=jit_compile)
    return timing.training_step(model, model.panel(data))


def tfp_log_likelihood(emitted, build, y):
    """Of TFP's model. The noise of these models is independent between the states."""
    import tensorflow as tf
    import tensorflow_probability as tfp

    tfd, ssm = tfp.distributions, build()

    def noise(scale):
        deviations = tf.transpose(tf.reduce_sum(scale, axis=-1), [1, 0, 2])  # of each step
        return lambda t: tfd.MultivariateNormalDiag(scale_diag=tf.gather(deviations, t))

    return tfd.LinearGaussianStateSpaceModel(
        num_timesteps=y.shape[1],
        transition_matrix=ssm.transition_matrix,
        transition_noise=noise(ssm.transition_scale),
        observation_matrix=ssm.observation_matrix,
        observation_noise=noise(ssm.observation_scale),
        initial_state_prior=tfd.MultivariateNormalDiag(
            ssm.initial_mean, tf.linalg.diag_part(ssm.initial_scale)
        ),
    ).log_prob(y)


def no_filter(emitted, build, y):
    """A function of all that the network emits that costs next to nothing."""
    import tensorflow as tf

    parts = [tf.reduce_sum(x**2, axis=list(range(1, x.shape.rank))) for x in emitted]
    return tf.add_n(parts) + tf.reduce_sum(y, axis=[1, 2])


def print_memory(bases):
    """The peak of the memory that training takes beyond what the process had, and its time."""
    print(f"\nBatches of {BATCH} series of {LONG_STEPS} steps, convolution.\n")
    print("| base model | states | MB | seconds a step |\n|---|---|---|---|")
    for base in bases:
        command = [sys.executable, __file__, "--child", base]
        child = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        states, megabytes, seconds = json.loads(child.stdout.splitlines()[-1])
        print(f"| `{base}` | {states} | {megabytes:.0f} | {seconds:.2f} |", flush=True)
    return 0


def memory_of_a_step(base):
    """States, MB and seconds. The network has made a step on short series before."""
    model = network(base, "convolution")
    step_of(model, panel(24), False)()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    step = step_of(model, panel(LONG_STEPS), False)
    start = time.perf_counter()
    step()
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return len(model.base_model.state_names), (peak - before) / 1024, seconds


if __name__ == "__main__":
    sys.exit(main())
