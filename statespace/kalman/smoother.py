"""The Kalman smoother."""

from statespace.kalman.inference import apply_on_failure, prepare, with_constant
from statespace.kalman.results import SmootherResult


def kalman_smoother(
    ssm,
    y,
    *,
    mask=None,
    lengths=None,
    algorithm="auto",
    diffuse_constant="include",
    on_failure="nan",
) -> SmootherResult:
    """Moments of the states given all data, before and after.

    The backward recursion is that of the disturbance smoother, which inverts no predicted
    covariance: states without noise and a singular initial covariance are fine.

    Args:
      ssm, y, mask, lengths, algorithm, diffuse_constant, on_failure: as for
        :func:`statespace.log_likelihood`.

    Returns:
      A :class:`statespace.SmootherResult`: log-likelihood ``[...]``, smoothed mean ``[..., T, n]``
      and covariance ``[..., T, n, n]``, and the lag-one covariances Cov[x_{t+1}, x_t | y]
      ``[..., T-1, n, n]``.

    Raises:
      ValueError, tf.errors.InvalidArgumentError: as :func:`statespace.log_likelihood`.

    References:
      Durbin & Koopman, Time Series Analysis by State Space Methods, 2nd ed., sections 4.4 and 4.7.
    """
    form, inputs = prepare("kalman_smoother", ssm, y, mask, lengths, algorithm, on_failure)
    result = form.smoother(*inputs)
    total, count = result.log_likelihood, result.diffuse_observations
    total = with_constant("kalman_smoother", diffuse_constant, total, count)
    result = result._replace(log_likelihood=total)
    return apply_on_failure("kalman_smoother", on_failure, result.info, result)
