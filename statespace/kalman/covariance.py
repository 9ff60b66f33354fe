"""The covariance form: the fused ops, their gradients, and the reference where there are no ops."""

import tensorflow as tf

from statespace import native
from statespace.kalman import reference
from statespace.kalman.forms import Form
from statespace.kalman.results import FilterResult, SmootherResult
from statespace.linalg_ops.differentiation import reference_vjp


def _log_likelihood(*inputs):
    ops = native.ops()
    if ops is None:
        return reference.FORM.log_likelihood(*inputs)
    return ops.statespace_kalman_log_likelihood(*inputs)


def _per_step(*inputs):
    ops = native.ops()
    if ops is None:
        return reference.FORM.per_step(*inputs)
    return ops.statespace_kalman_log_likelihood_per_step(*inputs)


def _filter(*inputs):
    ops = native.ops()
    if ops is None:
        return reference.FORM.filter(*inputs)
    return FilterResult(*ops.statespace_kalman_filter(*inputs))


def _smoother(*inputs):
    ops = native.ops()
    if ops is None:
        return reference.FORM.smoother(*inputs)
    return SmootherResult(*ops.statespace_kalman_smoother(*inputs))


FORM = Form(_log_likelihood, _per_step, _filter, _smoother)


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
    return reference_vjp(reference.filter_moments, op.inputs, cotangents)


@tf.RegisterGradient("StatespaceKalmanSmoother")
def _gradient_smoother(op, *cotangents):
    return reference_vjp(reference.smoother_reference, op.inputs, cotangents)
