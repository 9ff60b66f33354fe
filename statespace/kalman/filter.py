"""The Kalman filter and the log-likelihood it computes."""

import tensorflow as tf

from statespace import native
from statespace.kalman import reference
from statespace.kalman.inference import apply_on_failure, operands
from statespace.kalman.results import FilterResult
from statespace.linalg_ops.differentiation import reference_vjp


def log_likelihood(ssm, y, *, mask=None, algorithm="auto", per_step=False, on_failure="nan"):
    """log p(y) of a linear-Gaussian state-space model.

    One fused op runs the whole recursion; the gradient, for y and every parameter of the model, is
    a second one, the score recursion, derived in the guide "Filter, smoother and gradient".

    Args:
      ssm: a :class:`statespace.LinearGaussianSSM`.
      y: data ``[..., T, m]`` with the model's dtype. NaN marks a missing component.
      mask: bool ``[..., T]`` or ``[..., T, m]``, True = observed; None: all that is not NaN.
      algorithm: "covariance" (the fused op), "reference" (plain TensorFlow) or "auto", which is
        "covariance" wherever the compiled library can be used.
      per_step: return log p(y_t | y_0 .. y_{t-1}) instead of their sum.
      on_failure: "nan": a series whose innovation covariance is not positive definite, or whose
        numbers are not finite, becomes NaN and spoils no other; "raise": InvalidArgumentError
        with batch index and step (not inside XLA, which cannot raise).

    Returns:
      ``[...]``, or ``[..., T]`` with ``per_step``: the data's batch shape, broadcast with that of
      the parameters. A step, or a series, with nothing observed contributes 0.

    Raises:
      ValueError: shapes or dtypes do not fit; the message names the argument.
      tf.errors.InvalidArgumentError: a shape that was not known statically does not fit, or the
        filter failed and ``on_failure="raise"``.

    References:
      Durbin & Koopman, Time Series Analysis by State Space Methods, 2nd ed., sections 4.3, 7.2.

    Example:

      >>> import numpy as np, statespace as ss
      >>> ssm = ss.LinearGaussianSSM([[1.0]], [[1.0]], [[1.0]], [[1.0]], [0.0], [[1.0]])
      >>> y = np.array([[0.5], [np.nan], [1.0]])
      >>> print(f"{ss.log_likelihood(ssm, y):.6f}")
      -2.953689
    """
    inputs = operands("log_likelihood", ssm, y, mask, algorithm, on_failure)
    ops = native.ops() if algorithm != "reference" else None
    if ops is None:
        values, *_, info = reference.filter_reference(*inputs)
        values = values if per_step else tf.reduce_sum(values, axis=-1)
    elif per_step:
        values, info = ops.statespace_kalman_log_likelihood_per_step(*inputs)
    else:
        values, info = ops.statespace_kalman_log_likelihood(*inputs)
    return apply_on_failure("log_likelihood", on_failure, info, values)


def kalman_filter(ssm, y, *, mask=None, algorithm="auto", on_failure="nan") -> FilterResult:
    """Filtered and predicted moments of the states.

    Args:
      ssm, y, mask, algorithm, on_failure: as for :func:`statespace.log_likelihood`.

    Returns:
      A :class:`statespace.FilterResult`. ``predicted_mean[..., t, :]`` is E[x_t | y_0 .. y_{t-1}];
      t = 0 is the prior.

    Raises:
      ValueError, tf.errors.InvalidArgumentError: as :func:`statespace.log_likelihood`.

    References:
      Durbin & Koopman, Time Series Analysis by State Space Methods, 2nd ed., section 4.3.
    """
    inputs = operands("kalman_filter", ssm, y, mask, algorithm, on_failure)
    ops = native.ops() if algorithm != "reference" else None
    result = FilterResult(*(_filter if ops is None else ops.statespace_kalman_filter)(*inputs))
    return apply_on_failure("kalman_filter", on_failure, result.info, result)


def _filter(*inputs):
    per_step, *moments = reference.filter_reference(*inputs)
    return (tf.reduce_sum(per_step, axis=-1), *moments)


@tf.RegisterGradient("StatespaceKalmanLogLikelihood")
def _gradient(op, cotangent, _):
    weights = tf.expand_dims(cotangent, -1)
    return native.library().statespace_kalman_log_likelihood_grad(weights, *op.inputs)


@tf.RegisterGradient("StatespaceKalmanLogLikelihoodPerStep")
def _gradient_per_step(op, cotangent, _):
    return native.library().statespace_kalman_log_likelihood_grad(cotangent, *op.inputs)


@tf.RegisterGradient("StatespaceKalmanLogLikelihoodGrad")
def _gradient_of_gradient(op, *cotangents):
    return reference_vjp(reference.log_likelihood_gradient_reference, op.inputs, cotangents)


@tf.RegisterGradient("StatespaceKalmanFilter")
def _gradient_filter(op, *cotangents):
    return reference_vjp(_filter, op.inputs, cotangents)
