"""dynamax: ``extended_kalman_filter`` and ``unscented_kalman_filter``, float64, under ``jax.jit``.

It has no cubature filter by that name: that is its unscented one with alpha 1, beta 0 and kappa 0.
"""

import jax
import jax.numpy as jnp
from dynamax.nonlinear_gaussian_ssm import inference_ekf, inference_ukf
from dynamax.nonlinear_gaussian_ssm.models import ParamsNLGSSM
from dynamax_ import covariance, versions

__all__ = ["case", "versions"]

_WANTED = ["filtered_means", "filtered_covariances"]


def case(problem, y, method, options, job):
    """A call that returns the results of a job (see ``nonlinear.py``)."""
    if method == "cubature":
        options = {"alpha": 1.0, "beta": 0.0, "kappa": 0.0}

    def filtered(scales, y):
        model = ParamsNLGSSM(
            initial_mean=jnp.asarray(problem.initial_mean),
            initial_covariance=covariance(jnp.asarray(problem.initial_scale)),
            dynamics_function=lambda x: problem.transition(jnp, x),
            dynamics_covariance=covariance(scales[0]),
            emission_function=lambda x: problem.observation(jnp, x),
            emission_covariance=covariance(scales[1]),
        )
        if method == "extended":
            return inference_ekf.extended_kalman_filter(model, y, output_fields=_WANTED)
        rule = inference_ukf.UKFHyperParams(**options)
        return inference_ukf.unscented_kalman_filter(model, y, rule, output_fields=_WANTED)

    every = jax.vmap(filtered, in_axes=(None, 0))

    def total(scales, y):
        return jnp.sum(every(scales, y).marginal_loglik)

    @jax.jit
    def run(scales, y):
        if job == "filter":
            result = every(scales, y)
            return result.marginal_loglik, result.filtered_means, result.filtered_covariances
        value, slopes = jax.value_and_grad(total)(scales, y)
        return value, *slopes

    y = jnp.asarray(y)
    scales = [jnp.asarray(x) for x in (problem.transition_scale, problem.observation_scale)]
    return lambda: jax.block_until_ready(run(scales, y))
