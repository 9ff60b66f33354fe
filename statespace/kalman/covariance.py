"""The covariance form: the fused ops, their gradients, and the reference where there are no ops."""

import tensorflow as tf

from statespace import native
from statespace.kalman import reference
from statespace.kalman.forms import Form
from statespace.kalman.results import FilterResult, SmootherResult
from statespace.kalman.score import register_score
from statespace.linalg_ops.differentiation import reference_vjp, vectorizable_vjp


def _log_likelihood(*inputs, low_memory=False):
    ops = native.ops()
    if ops is None:
        return reference.FORM.log_likelihood(*inputs)
    return ops.statespace_kalman_log_likelihood(*inputs, low_memory=low_memory)


def _per_step(*inputs, low_memory=False):
    ops = native.ops()
    if ops is None:
        return reference.FORM.per_step(*inputs)
    return ops.statespace_kalman_log_likelihood_per_step(*inputs, low_memory=low_memory)


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


def _marginals(*inputs):
    ops = native.ops()
    if ops is None:
        return reference.FORM.smooth(*inputs, lag_one=False)
    *moments, info = ops.statespace_kalman_smoother_marginals(*inputs)
    return SmootherResult(*moments, lag_one_covariance=None, info=info)


FORM = Form(_log_likelihood, _per_step, _filter, _smoother, _marginals)

register_score("StatespaceKalmanLogLikelihood", "statespace_kalman_log_likelihood_grad")


@tf.RegisterGradient("StatespaceKalmanLogLikelihoodGrad")
def _gradient_of_gradient(op, *cotangents):
    return vectorizable_vjp(op, reference.log_likelihood_gradient_reference, cotangents)


@tf.RegisterGradient("StatespaceKalmanFilter")
def _gradient_filter(op, *cotangents):
    return filter_gradient(filled(cotangents[:-1], op.outputs), op.inputs)


def filter_gradient(cotangents, inputs):
    """The compiled adjoint of the filter, for cotangents of its outputs but ``info``."""
    return native.library().statespace_kalman_filter_grad(*cotangents, *inputs)


@tf.RegisterGradient("StatespaceKalmanSmoother")
def _gradient_smoother(op, *cotangents):
    return smoother_gradient(filled(cotangents[:-1], op.outputs), op.inputs)


@tf.RegisterGradient("StatespaceKalmanSmootherMarginals")
def _gradient_marginals(op, *cotangents):
    cotangents = filled(cotangents[:-1], op.outputs)
    lag_one = tf.zeros_like(op.outputs[2])
    return native.library().statespace_kalman_smoother_grad(*cotangents, lag_one, *op.inputs)


def smoother_gradient(cotangents, inputs):
    """The compiled adjoint of the smoother, for cotangents of its outputs but ``info``."""
    *others, covariance, lag_one = cotangents
    steps_more = tf.shape(covariance)[-3] - tf.shape(lag_one)[-3]
    rank = lag_one.shape.rank
    paddings = [[0, 0]] * (rank - 3) + [[0, steps_more], [0, 0], [0, 0]]
    cotangents = (*others, covariance, tf.pad(lag_one, paddings))
    return native.library().statespace_kalman_smoother_grad(*cotangents, *inputs)


def filled(cotangents, outputs):
    """Zeros for the cotangents that are None."""
    return [
        tf.zeros_like(output) if cotangent is None else cotangent
        for cotangent, output in zip(cotangents, outputs, strict=False)
    ]


@tf.RegisterGradient("StatespaceKalmanFilterGrad")
def _gradient_of_filter_gradient(op, *cotangents):
    return _second_derivative(reference.filter_moments, 7, op, cotangents)


@tf.RegisterGradient("StatespaceKalmanSmootherGrad")
def _gradient_of_smoother_gradient(op, *cotangents):
    def moments(*inputs):
        total, mean, covariance, lag_one, _ = reference.smoother_reference(*inputs)
        unused = tf.zeros_like(covariance[..., :1, :, :])
        return total, mean, covariance, tf.concat([lag_one, unused], axis=-3)

    return _second_derivative(moments, 4, op, cotangents)


def _second_derivative(moments, count, op, cotangents):
    """Gradient of the gradient of the first ``count`` results of ``moments``."""

    def gradient(*inputs):
        def results(*operands):
            return moments(*operands)[:count]

        return reference_vjp(results, inputs[count:], inputs[:count])

    return vectorizable_vjp(op, gradient, cotangents)
