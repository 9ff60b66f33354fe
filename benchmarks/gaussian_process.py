"""How long does a gradient of a Gaussian process's marginal likelihood take?

Prints, for n observations of three features and the squared-exponential and Matérn 5/2 kernels,
milliseconds for the log marginal likelihood and its gradient by three parameters: with this library
in a graph, TFP's GaussianProcess in a graph, scikit-learn, and GPflow's GPR in a graph where GPflow
is installed. Then the same of the collapsed bound of m inducing points, by these too, beside
GPflow's SGPR. All in one process, taking turns, after comparing their values; float64. Last, the
state-space form of a Matérn kernel on a line beside the dense one.

    make bench-gp
    python benchmarks/gaussian_process.py --threads 1
"""

import argparse
import sys

import timing

KERNELS = ("ExponentiatedQuadratic", "MaternFiveHalves")
SIZES = (500, 1000, 2000)
SPARSE_SIZES = ((10_000, 50), (10_000, 200), (100_000, 50))  # observations, inducing points
LINE_SIZES = (500, 2000, 20_000, 200_000)
DENSE_LIMIT = 2000
PARAMS = {"amplitude": 1.3, "length_scale": 0.9, "noise_variance": 0.05}


def main(arguments=None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--threads", type=int, default=2, help="default 2")
    parser.add_argument("--budget", type=float, default=10.0, help="seconds for each case")
    parser.add_argument("--quick", action="store_true", help="the smallest sizes")
    options = parser.parse_args(arguments)
    timing.limit_threads(options.threads)
    timing.keep_freed_memory()
    gpflow = timing.load_rival("gpflow_", "gpflow")
    print(f"machine: {timing.describe_machine()}", flush=True)
    budget = 0.5 if options.quick else options.budget
    sizes, sparse_sizes, line_sizes = (
        sizes[:1] if options.quick else sizes for sizes in (SIZES, SPARSE_SIZES, LINE_SIZES)
    )

    print("\n| kernel | n | statespace (ms) | rival | ms | × |\n|---|---|---|---|---|---|")
    for kernel in KERNELS:
        for n in sizes:
            x, y = data(n, 3)
            cases = {"statespace": statespace_case(kernel, x, y, "dense")}
            cases["TFP"] = tfp_case(kernel, x, y)
            cases["scikit-learn"] = scikit_learn_case(kernel, x, y)
            if gpflow:
                cases["GPflow"] = gpflow.exact(kernel, x, y, PARAMS)
            print_rows(f"{kernel} | {n}", measured(cases, budget))

    print("\n| kernel | n, m | statespace (ms) | rival | ms | × |\n|---|---|---|---|---|---|")
    for kernel in KERNELS:
        for n, m in sparse_sizes:
            x, y = data(n, 3)
            cases = {"statespace": sparse_case(kernel, x, y, m)}
            if gpflow:
                cases["GPflow"] = gpflow.sparse(kernel, x, y, PARAMS, x[:m], jitter(m))
            print_rows(f"{kernel} | {n}, {m}", measured(cases, budget))

    print("\n| MaternFiveHalves on a line, n | state space (ms) | dense (ms) |\n|---|---|---|")
    for n in line_sizes:
        x, y = data(n, 1)
        cases = {"state_space": statespace_case("MaternFiveHalves", x, y, "state_space")}
        if n <= DENSE_LIMIT:
            cases["dense"] = statespace_case("MaternFiveHalves", x, y, "dense")
        times = measured(cases, budget)
        dense = f"{times['dense']:.1f}" if "dense" in times else "-"
        print(f"| {n} | {times['state_space']:.1f} | {dense} |", flush=True)
    return 0


def print_rows(case, times):
    """A row for each rival, or one without."""
    ours = times.pop("statespace")
    rivals = [f"{name} | {theirs:.1f} | {theirs / ours:.1f}" for name, theirs in times.items()]
    for rival in rivals or ["- | - | -"]:
        print(f"| {case} | {ours:.1f} | {rival} |", flush=True)


def data(n, d):
    import numpy as np

    rng = np.random.default_rng(n)
    x = rng.uniform(0, 4 if d > 1 else n / 20, size=(n, d))
    return x, np.sin(x.sum(axis=1)) + 0.2 * rng.normal(size=n)


def measured(cases, budget):
    """Milliseconds of each call, the least of several; the values must agree."""
    values = {name: float(call()) for name, call in cases.items()}
    first = next(iter(values.values()))
    for name, value in values.items():
        if abs(value - first) > 1e-8 * abs(first):
            sys.exit(f"{name} gives {value!r}, the first {first!r}.")
    return {name: 1e3 * t.minimum for name, t in timing.measure(cases, budget).items()}


def in_a_graph(value_of, arguments):
    """A call that returns the value, after the gradient by the arguments is there too."""
    import tensorflow as tf

    @tf.function(autograph=False)
    def value_and_gradient(arguments):
        with tf.GradientTape() as tape:
            tape.watch(arguments)
            value = value_of(arguments)
        return value, tape.gradient(value, arguments)

    arguments = {name: tf.constant(value, tf.float64) for name, value in arguments.items()}

    def call():
        value, gradients = value_and_gradient(arguments)
        [gradient.numpy() for gradient in gradients.values()]
        return value.numpy()

    return call


def statespace_case(kernel, x, y, method):
    import tensorflow_probability as tfp

    import statespace as ss

    build = getattr(tfp.math.psd_kernels, kernel)
    gp = ss.models.GaussianProcess(
        lambda amplitude, length_scale: build(amplitude, length_scale), method=method
    )
    return in_a_graph(lambda params: gp.log_marginal_likelihood(params, x, y), PARAMS)


def sparse_case(kernel, x, y, m):
    """Of the first m inputs as inducing points."""
    import tensorflow_probability as tfp

    import statespace as ss

    build = getattr(tfp.math.psd_kernels, kernel)
    gp = ss.models.SparseGaussianProcess(
        lambda amplitude, length_scale: build(amplitude, length_scale), num_inducing=m
    )
    arguments = PARAMS | {"inducing_points": x[:m]}
    return in_a_graph(lambda params: gp.log_bound(params, x, y), arguments)


def jitter(m):
    """What our bound adds to the diagonal of K_uu, so that a rival can add the same."""
    import tensorflow as tf

    from statespace.models.sparse_gaussian_process_inference import relative_jitter

    return relative_jitter(m, tf.float64) * PARAMS["amplitude"] ** 2


def tfp_case(kernel, x, y):
    import tensorflow as tf
    import tensorflow_probability as tfp

    build = getattr(tfp.math.psd_kernels, kernel)

    def log_likelihood(params):
        process = tfp.distributions.GaussianProcess(
            build(params["amplitude"], params["length_scale"]),
            x,
            observation_noise_variance=params["noise_variance"],
            cholesky_fn=tf.linalg.cholesky,  # without jitter
        )
        return process.log_prob(y)

    return in_a_graph(log_likelihood, PARAMS)


def scikit_learn_case(kernel, x, y):
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import RBF, ConstantKernel, Matern, WhiteKernel

    length = PARAMS["length_scale"]
    shape = RBF(length) if kernel == "ExponentiatedQuadratic" else Matern(length, nu=2.5)
    whole = ConstantKernel(PARAMS["amplitude"] ** 2) * shape
    whole += WhiteKernel(PARAMS["noise_variance"])
    regressor = GaussianProcessRegressor(whole, alpha=0.0, optimizer=None).fit(x, y)
    theta = regressor.kernel_.theta
    return lambda: regressor.log_marginal_likelihood(theta, eval_gradient=True)[0]


if __name__ == "__main__":
    sys.exit(main())
