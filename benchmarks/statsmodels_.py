"""statsmodels: its compiled Kalman filter and smoother, one series at a time.

It has no gradients but numerical ones, so that job is left out.
"""

import numpy as np
import statsmodels
from statsmodels.tsa.statespace.kalman_smoother import (
    SMOOTHER_STATE,
    SMOOTHER_STATE_COV,
    KalmanSmoother,
)
from workloads import Workload


def versions() -> dict[str, str]:
    return {"statsmodels": statsmodels.__version__}


def cases(workload: Workload, job: str) -> dict:
    """Calls by column, each returning the job's results (see ``rivals.py``)."""
    if job == "gradient":
        return {}
    representations = [_representation(workload, series) for series in range(workload.batch)]
    run = {"log-likelihood": _log_likelihood, "smooth": _smooth}[job]
    return {"statsmodels": lambda: run(workload, representations)}


def _log_likelihood(workload, representations):
    values = np.array([representation.loglike() for representation in representations])
    return (values.reshape(workload.y.shape[:-2]),)


def _smooth(workload, representations):
    results = [
        representation.smooth(smoother_output=SMOOTHER_STATE | SMOOTHER_STATE_COV)
        for representation in representations
    ]
    mean = np.stack([result.smoothed_state.T for result in results])
    covariance = np.stack([result.smoothed_state_cov.transpose(2, 0, 1) for result in results])
    batch = workload.y.shape[:-2]
    return mean.reshape(*batch, *mean.shape[1:]), covariance.reshape(*batch, *covariance.shape[1:])


def _representation(workload, series):
    parameters = workload.parameters
    n, m = workload.state_dim, workload.observation_dim
    model = KalmanSmoother(k_endog=m, k_states=n, k_posdef=n)
    model.bind(np.ascontiguousarray(workload.y.reshape(workload.batch, -1, m)[series]))
    model["transition"] = parameters["transition_matrix"]
    model["design"] = parameters["observation_matrix"]
    model["selection"] = np.eye(n)
    for name, parameter in (("state_cov", "transition_scale"), ("obs_cov", "observation_scale")):
        scale = parameters[parameter][series] if workload.learned else parameters[parameter]
        covariance = scale @ np.swapaxes(scale, -1, -2)
        # The time axis, if any, comes last.
        model[name] = np.moveaxis(covariance, 0, -1) if workload.learned else covariance
    scale = parameters["initial_scale"]
    model.initialize_known(parameters["initial_mean"], scale @ scale.T)
    return model
