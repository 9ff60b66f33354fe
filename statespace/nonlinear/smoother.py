"""The smoothers that belong to the nonlinear filters."""

import tensorflow as tf

from statespace.kalman.inference import apply_on_failure
from statespace.kalman.results import SmootherResult
from statespace.nonlinear.filter import finishing, prepare, square
from statespace.nonlinear.path import relinearised
from statespace.nonlinear.recursion import backward, forward


def nonlinear_smoother(
    model,
    y,
    *,
    method="extended",
    mask=None,
    lengths=None,
    controls=None,
    iterations=None,
    alpha=None,
    beta=None,
    kappa=None,
    on_failure="nan",
) -> SmootherResult:
    """Moments of the states of a nonlinear model given all data, before and after.

    The filter of the same method, then Rauch, Tung and Striebel's recursion back through the
    moments that it matched. No predicted covariance is inverted: states without noise are fine.

    "iterated" then linearises both functions anew along the whole smoothed path, as often as
    ``iterations`` says: Gauss-Newton steps, no longer than what lowers the distance, to the path
    that is most probable given all data.

    Args:
      model, y, method, mask, lengths, controls, iterations, alpha, beta, kappa, on_failure: as for
        :func:`statespace.nonlinear_filter`.

    Returns:
      A :class:`statespace.SmootherResult` with the filter's log-likelihood and the lag-one
      covariances Cov[x_{t+1}, x_t | y], ``[..., T-1, n, n]``. For "iterated", covariances are those
      of the last linearisation.

    Raises:
      ValueError, tf.errors.InvalidArgumentError: as :func:`statespace.nonlinear_filter`.

    References:
      Bell, The iterated Kalman smoother as a Gauss-Newton method, SIAM J. Optimization 4(3), 1994.
      Särkkä, Unscented Rauch-Tung-Striebel smoother, IEEE TAC 53(3), 2008. Särkkä & Svensson,
      Bayesian Filtering and Smoothing, 2nd ed., chapters 13 and 14.

    Example:

      >>> import numpy as np, tensorflow as tf, statespace as ss
      >>> model = ss.NonlinearGaussianSSM(
      ...     transition_fn=tf.sin, transition_scale=[[0.1]], observation_fn=tf.exp,
      ...     observation_scale=[[0.5]], initial_mean=[0.5], initial_scale=[[0.3]])
      >>> result = ss.nonlinear_smoother(model, np.array([[1.9], [np.nan], [1.4]]))
      >>> print(np.round(result.smoothed_mean[:, 0], 3))
      [0.534 0.498 0.466]
    """
    options = {"iterations": iterations, "alpha": alpha, "beta": beta, "kappa": kappa}
    problem = prepare(
        "nonlinear_smoother", model, y, method, mask, lengths, controls, options, on_failure
    )
    passed = forward(problem, smoothing=True)
    smoothed, failed = relinearised(problem, backward(passed), passed.failed)
    info, finished = finishing(passed._replace(failed=failed))
    result = SmootherResult(
        log_likelihood=tf.reduce_sum(finished(passed.log_density, 0), axis=-1),
        smoothed_mean=finished(smoothed.mean, 1),
        smoothed_covariance=finished(square(smoothed.factor), 2),
        lag_one_covariance=finished(smoothed.lag_one, 2)[..., :-1, :, :],
        info=info,
    )
    return apply_on_failure("nonlinear_smoother", on_failure, info, result)
