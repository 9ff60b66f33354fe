"""dynamax: ``lgssm_filter`` and ``lgssm_smoother`` in float64 under ``jax.jit``.

Its solves add 1e-9 to the diagonal (``psd_solve``), so that its gains, and with them gradients and
smoothed means, differ from the exact ones: hence the wider tolerance.
"""

import importlib.metadata

import jax
import jax.numpy as jnp
from dynamax.linear_gaussian_ssm import inference
from workloads import Workload

jax.config.update("jax_enable_x64", True)

TOLERANCE = 1e-5


def versions() -> dict[str, str]:
    return {name: importlib.metadata.version(name) for name in ("jax", "dynamax")}


def cases(workload: Workload, job: str) -> dict:
    """Calls by column, each returning the job's results (see ``rivals.py``)."""
    if workload.has_gaps:
        return {}  # it knows no missing data
    parameters = {name: jnp.asarray(value) for name, value in workload.parameters.items()}
    y = jnp.asarray(workload.y)
    run = jax.jit(_JOBS[job](workload))
    return {"dynamax": lambda: jax.block_until_ready(run(parameters, y))}


def _log_likelihood(workload):
    def one(model, y):
        return inference.lgssm_filter(model, y).marginal_loglik

    every = _over_series(workload, one, out_axes=0)
    return lambda parameters, y: (every(model(parameters), y),)


def _gradient(workload):
    log_likelihood = _log_likelihood(workload)

    def total(wanted, parameters, y):
        return jnp.sum(log_likelihood(parameters | wanted, y)[0])

    def run(parameters, y):
        wanted = {name: parameters[name] for name in workload.gradient_of}
        value, gradient = jax.value_and_grad(total)(wanted, parameters, y)
        return value, *(gradient[name] for name in workload.gradient_of)

    return run


def _smooth(workload):
    def one(model, y):
        result = inference.lgssm_smoother(model, y)
        return result.smoothed_means, result.smoothed_covariances

    # Series that share their parameters share their covariances: returned once.
    every = _over_series(workload, one, out_axes=(0, 0 if workload.learned else None))
    return lambda parameters, y: every(model(parameters), y)


_JOBS = {"log-likelihood": _log_likelihood, "gradient": _gradient, "smooth": _smooth}


def _over_series(workload, one, out_axes):
    """``one`` for every series: vmap shares whatever does not depend on the series."""
    if workload.batch == 1:
        return one
    own, shared = (0, None) if workload.learned else (None, None)
    model_axes = inference.ParamsLGSSM(
        initial=inference.ParamsLGSSMInitial(mean=None, cov=None),
        dynamics=inference.ParamsLGSSMDynamics(
            weights=shared, bias=shared, input_weights=shared, cov=own
        ),
        emissions=inference.ParamsLGSSMEmissions(
            weights=shared, bias=shared, input_weights=shared, cov=own
        ),
    )
    return jax.vmap(one, in_axes=(model_axes, 0), out_axes=out_axes)


def model(parameters):
    """dynamax's parameters; of one series where scales vary, or under ``vmap``, of many."""
    transition = covariance(parameters["transition_scale"])
    if transition.ndim > 2:
        # dynamax reads the noise of the step from t to t + 1 at index t + 1.
        transition = jnp.roll(transition, 1, axis=-3)
    return inference.ParamsLGSSM(
        initial=inference.ParamsLGSSMInitial(
            mean=parameters["initial_mean"], cov=covariance(parameters["initial_scale"])
        ),
        dynamics=inference.ParamsLGSSMDynamics(
            weights=parameters["transition_matrix"],
            bias=None,
            input_weights=None,
            cov=transition,
        ),
        emissions=inference.ParamsLGSSMEmissions(
            weights=parameters["observation_matrix"],
            bias=parameters.get("observation_offset"),
            input_weights=None,
            cov=covariance(parameters["observation_scale"]),
        ),
    )


def covariance(scale):
    return scale @ jnp.swapaxes(scale, -1, -2)
