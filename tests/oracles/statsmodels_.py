"""statsmodels' Kalman smoother for a model of ours: an implementation written by others."""

import itertools
import warnings

import numpy as np
from statsmodels.tools.sm_exceptions import OutputWarning
from statsmodels.tsa.statespace.initialization import Initialization
from statsmodels.tsa.statespace.kalman_smoother import KalmanSmoother


def smoother(model, y, diffuse=None):
    """The results of statsmodels' filter and smoother.

    Args:
      model: ``oracles.dense.Model``.
      y: data ``[T, m]``, NaN where missing.
      diffuse: bool ``[n]``, the states with an exact diffuse start. The others are independent of
        one another at the start wherever a diffuse one stands between them.

    Returns:
      statsmodels' ``SmootherResults``, whose arrays have time for their last axis.
    """
    m, n = model.h.shape[1:]
    ssm = KalmanSmoother(k_endog=m, k_states=n, k_posdef=model.g.shape[2], nobs=len(y))
    ssm.bind(y.copy())
    ssm["transition"], ssm["selection"], ssm["design"] = map(_time_last, model[:3])
    ssm["state_cov"] = np.eye(model.g.shape[2])
    ssm["obs_cov"] = _time_last(model.c @ np.swapaxes(model.c, 1, 2))
    ssm["state_intercept"], ssm["obs_intercept"] = map(_time_last, (model.b, model.d))
    start = Initialization(n)
    flags = np.zeros(n, bool) if diffuse is None else np.asarray(diffuse)
    covariance = model.s0 @ model.s0.T
    for is_diffuse, run in itertools.groupby(range(n), flags.__getitem__):
        states = list(run)
        block = slice(states[0], states[-1] + 1)
        if is_diffuse:
            start.set((block.start, block.stop), "diffuse")
        else:
            moments = {"constant": model.m0[block], "stationary_cov": covariance[block, block]}
            start.set((block.start, block.stop), "known", **moments)
    ssm.initialize(start)
    with warnings.catch_warnings():
        # That disturbances of a correlated observation noise are those of its diagonal form.
        warnings.simplefilter("ignore", OutputWarning)
        return ssm.smooth()


def time_first(x):
    """statsmodels' ``[..., T]`` as ``[T, ...]``."""
    return np.moveaxis(x, -1, 0)


def _time_last(x):
    return np.moveaxis(x, 0, -1)
