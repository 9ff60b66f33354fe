"""The Kalman smoother."""

from statespace.kalman.inference import finish_result, prepare
from statespace.kalman.results import SmootherResult


def kalman_smoother(
    ssm,
    y,
    *,
    mask=None,
    lengths=None,
    lag_one=True,
    algorithm="auto",
    diffuse_constant="include",
    on_failure="nan",
) -> SmootherResult:
    """Moments of the states given all data, before and after.

    The backward recursion is that of the disturbance smoother, which inverts no predicted
    covariance: states without noise and a singular initial covariance are fine. See the guide
    "Kalman filters and smoothers" for the other forms, and for what a vague start costs.

    Args:
      ssm, y, mask, lengths, algorithm, diffuse_constant, on_failure: as for
        :func:`statespace.log_likelihood`.
      lag_one: bool, whether to compute the lag-one covariances. Without them, where means and
        covariances are all that is wanted, the smoother takes about half the time.

    Returns:
      A :class:`statespace.SmootherResult`: log-likelihood ``[...]``, smoothed mean ``[..., T, n]``
      and covariance ``[..., T, n, n]``, and the lag-one covariances Cov[x_{t+1}, x_t | y]
      ``[..., T-1, n, n]``, None if not asked for.

    Raises:
      ValueError, tf.errors.InvalidArgumentError: as :func:`statespace.log_likelihood`.

    References:
      Durbin & Koopman, Time Series Analysis by State Space Methods, 2nd ed., sections 4.4 and 4.7.

    Example:

      >>> import numpy as np, statespace as ss
      >>> ssm = ss.LinearGaussianSSM([[1.0]], [[0.5]], [[1.0]], [[1.0]], [0.0], [[10.0]])
      >>> result = ss.kalman_smoother(ssm, np.array([[1.0], [1.2], [np.nan], [0.7]]))
      >>> print(np.round(result.smoothed_mean[:, 0], 2))
      [1.   1.   0.95 0.9 ]
    """
    form, inputs = prepare("kalman_smoother", ssm, y, mask, lengths, algorithm, on_failure)
    result = form.smooth(*inputs, lag_one=lag_one)
    return finish_result("kalman_smoother", diffuse_constant, on_failure, result)
