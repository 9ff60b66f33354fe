"""The extended, iterated, unscented and cubature Kalman filters."""

import tensorflow as tf

from statespace.kalman.inference import apply_on_failure, missing_as_nan
from statespace.kalman.reference import time_after_batch
from statespace.kalman.results import FilterResult
from statespace.kalman.step import first_failure
from statespace.linalg_ops.arguments import check_choice
from statespace.linalg_ops.failure import ON_FAILURE, spoil
from statespace.linalg_ops.lq import lq
from statespace.nonlinear.methods import choose
from statespace.nonlinear.model import NonlinearGaussianSSM
from statespace.nonlinear.recursion import Problem, forward, pose


def nonlinear_filter(
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
) -> FilterResult:
    """Filtered and predicted moments of the states of a nonlinear model, and its log-likelihood.

    Each method replaces the model's functions by linear ones with Gaussian errors, at every step
    anew; of a linear model all give the Kalman filter's numbers. All carry triangular factors of
    covariances, and can be differentiated by whatever the functions close over. The guide
    "Nonlinear filters" says when to take which.

    Args:
      model: a :class:`statespace.NonlinearGaussianSSM`.
      y: data ``[..., T, m]`` with the model's dtype. NaN marks a missing component.
      method: "extended": tangents at the mean; "iterated": the observation's tangent at the mode of
        the state given the observation, by Gauss-Newton steps that lower the distance;
        "unscented" and "cubature": moments by sigma points, without derivatives.
      mask, lengths: as for :func:`statespace.log_likelihood`.
      controls: ``[..., T, c]``, broadcast as a per-step parameter; for functions that take them.
      iterations: of method "iterated", number of linearisations, 5 by default; one is the extended
        filter.
      alpha, beta, kappa: of method "unscented", by default 1, 0 and max(3 - n, 0): the points lie
        sqrt(3) deviations from the mean, sqrt(n) if n > 3, and no weight is negative. The tuple
        1e-3, 2, 0 is common elsewhere; it asks for float64.
      on_failure: "nan": a series whose innovation covariance is not positive definite, or whose
        numbers are not finite, becomes NaN and spoils no other; "raise": InvalidArgumentError
        with batch index and step (not inside XLA, which cannot raise).

    Returns:
      A :class:`statespace.FilterResult` with scales. Its innovations are those whose density the
      log-likelihood sums up: y less the predicted mean of the method. For "iterated" both are of
      the last linearisation, and the density is Laplace's approximation at the mode.

    Raises:
      ValueError: shapes or dtypes do not fit, or a function returns the wrong shape; the message
        names the argument or the function.
      tf.errors.InvalidArgumentError: the filter failed and ``on_failure="raise"``.

    References:
      Särkkä & Svensson, Bayesian Filtering and Smoothing, 2nd ed., chapters 7-9. Bell & Cathey,
      The iterated Kalman filter update as a Gauss-Newton method, IEEE TAC 38(2), 1993. Julier &
      Uhlmann, Unscented filtering and nonlinear estimation, Proc. IEEE 92(3), 2004. Wan & van der
      Merwe, The unscented Kalman filter for nonlinear estimation, AS-SPCC 2000. Arasaratnam &
      Haykin, Cubature Kalman filters, IEEE TAC 54(6), 2009.

    Example:

      >>> import numpy as np, tensorflow as tf, statespace as ss
      >>> model = ss.NonlinearGaussianSSM(
      ...     transition_fn=tf.sin, transition_scale=[[0.1]], observation_fn=tf.exp,
      ...     observation_scale=[[0.5]], initial_mean=[0.5], initial_scale=[[0.3]])
      >>> y = np.array([[1.9], [np.nan], [1.4]])
      >>> for method in ("extended", "iterated", "unscented", "cubature"):
      ...     result = ss.nonlinear_filter(model, y, method=method)
      ...     print(np.round(result.filtered_mean[:, 0], 3))
      [0.575 0.544 0.466]
      [0.577 0.545 0.469]
      [0.551 0.512 0.435]
      [0.553 0.513 0.434]
    """
    options = {"iterations": iterations, "alpha": alpha, "beta": beta, "kappa": kappa}
    problem = prepare(
        "nonlinear_filter", model, y, method, mask, lengths, controls, options, on_failure
    )
    passed = forward(problem, smoothing=False)
    info, finished = finishing(passed)
    # Outside the loop, where all steps are one batch.
    scale = lq(passed.spread, mode="l")
    result = FilterResult(
        log_likelihood=tf.reduce_sum(finished(passed.log_density, 0), axis=-1),
        filtered_mean=finished(passed.filtered_mean, 1),
        filtered_covariance=finished(square(passed.filtered_scale), 2),
        predicted_mean=finished(passed.predicted_mean, 1),
        predicted_covariance=finished(square(passed.predicted_scale), 2),
        innovation=finished(passed.innovation, 1),
        innovation_covariance=finished(square(passed.spread), 2),
        info=info,
        filtered_scale=finished(passed.filtered_scale, 2),
        predicted_scale=finished(passed.predicted_scale, 2),
        innovation_scale=finished(scale, 2),
    )
    return apply_on_failure("nonlinear_filter", on_failure, info, result)


def prepare(op, model, y, method, mask, lengths, controls, options, on_failure) -> Problem:
    """Checks the arguments of filter and smoother."""
    if not isinstance(model, NonlinearGaussianSSM):
        raise ValueError(
            f"{op}: model is a {type(model).__name__}; it must be a NonlinearGaussianSSM."
        )
    check_choice(op, "on_failure", on_failure, ON_FAILURE)
    chosen = choose(op, method, model.state_dim, options)
    y = missing_as_nan(op, model.dtype, y, mask, lengths)
    return pose(op, model, chosen, y, controls)


def finishing(passed):
    """The status of each series, and what finishes results: batch first, NaN where it failed."""
    info = first_failure(time_after_batch(passed.failed, 0))

    def finished(x, core_rank):
        return spoil(time_after_batch(x, core_rank), info > 0)

    return info, finished


def square(x):
    """X X'."""
    return tf.matmul(x, x, transpose_b=True)
