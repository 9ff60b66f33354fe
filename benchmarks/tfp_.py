"""TensorFlow Probability: ``tfd.LinearGaussianStateSpaceModel`` in graph mode and under XLA."""

import tensorflow as tf
import tensorflow_probability as tfp
from workloads import Workload

tfd = tfp.distributions

# Every case is a new tf.function, on purpose; TensorFlow would warn of retracing.
tf.get_logger().setLevel("ERROR")


def versions() -> dict[str, str]:
    return {"tensorflow": tf.__version__, "tensorflow-probability": tfp.__version__}


def cases(workload: Workload, job: str) -> dict:
    """Calls by column, each returning the job's results (see ``rivals.py``)."""
    if workload.has_gaps:
        return {}  # it masks whole steps, not components
    parameters = {name: tf.constant(value) for name, value in workload.parameters.items()}
    y = tf.constant(workload.y)
    graph = tf.function(_JOBS[job](workload))
    xla = tf.function(_JOBS[job](workload), jit_compile=True)
    return {"TFP graph": lambda: graph(parameters, y), "TFP XLA": lambda: xla(parameters, y)}


def _log_likelihood(workload):
    return lambda parameters, y: (_model(workload, parameters).log_prob(y),)


def _gradient(workload):
    def run(parameters, y):
        wanted = [parameters[name] for name in workload.gradient_of]
        with tf.GradientTape() as tape:
            tape.watch(wanted)
            total = tf.reduce_sum(_model(workload, parameters).log_prob(y))
        return total, *tape.gradient(total, wanted)

    return run


def _smooth(workload):
    return lambda parameters, y: tuple(_model(workload, parameters).posterior_marginals(y))


_JOBS = {"log-likelihood": _log_likelihood, "gradient": _gradient, "smooth": _smooth}


def _model(workload, parameters):
    return tfd.LinearGaussianStateSpaceModel(
        num_timesteps=workload.num_steps,
        transition_matrix=parameters["transition_matrix"],
        transition_noise=_noise(workload, parameters["transition_scale"]),
        observation_matrix=parameters["observation_matrix"],
        observation_noise=_noise(workload, parameters["observation_scale"]),
        initial_state_prior=tfd.MultivariateNormalTriL(
            parameters["initial_mean"], parameters["initial_scale"]
        ),
    )


def _noise(workload, scale):
    """Zero-mean noise; a function of the step where the scale varies in time."""
    if not workload.learned:
        return tfd.MultivariateNormalTriL(scale_tril=scale)
    time_major = tf.transpose(scale, [1, 0, 2, 3])
    return lambda t: tfd.MultivariateNormalTriL(scale_tril=tf.gather(time_major, t))
