"""The univariate form, with an exact diffuse start: the fused ops and their gradients."""

import tensorflow as tf

from statespace import native
from statespace.kalman import covariance, univariate_reference
from statespace.kalman.forms import Form
from statespace.kalman.results import FilterResult, SmootherResult
from statespace.kalman.score import register_score
from statespace.linalg_ops.differentiation import vectorizable_vjp
from statespace.ssm import PARAMETERS


def _log_likelihood(*inputs, low_memory=False):
    ops, inputs = native.ops(), _with_diffuse(inputs)
    if ops is None:
        return univariate_reference.FORM.log_likelihood(*inputs)
    return ops.statespace_kalman_univariate_log_likelihood(*inputs, low_memory=low_memory)


def _per_step(*inputs, low_memory=False):
    ops, inputs = native.ops(), _with_diffuse(inputs)
    if ops is None:
        return univariate_reference.FORM.per_step(*inputs)
    return ops.statespace_kalman_univariate_log_likelihood_per_step(*inputs, low_memory=low_memory)


def _filter(*inputs):
    ops, inputs = native.ops(), _with_diffuse(inputs)
    if ops is None:
        return univariate_reference.FORM.filter(*inputs)
    *results, count = ops.statespace_kalman_univariate_filter(*inputs)
    return FilterResult(*results, diffuse_observations=count)


def _smoother(*inputs):
    ops, inputs = native.ops(), _with_diffuse(inputs)
    if ops is None:
        return univariate_reference.FORM.smoother(*inputs)
    *results, count = ops.statespace_kalman_univariate_smoother(*inputs)
    return SmootherResult(*results, diffuse_observations=count)


FORM = Form(_log_likelihood, _per_step, _filter, _smoother)


def _with_diffuse(inputs):
    """y and the parameters, and the diffuse states: none where they are not given."""
    y, transition_matrix, *_ = inputs
    if len(inputs) > 1 + len(PARAMETERS):
        return inputs
    state_dim = transition_matrix.shape[-1]
    shape = tf.shape(transition_matrix)[-1:] if state_dim is None else [state_dim]
    return (*inputs, tf.zeros(shape, y.dtype))


register_score(
    "StatespaceKalmanUnivariateLogLikelihood", "statespace_kalman_univariate_log_likelihood_grad"
)


@tf.RegisterGradient("StatespaceKalmanUnivariateLogLikelihoodGrad")
def _gradient_of_gradient(op, *cotangents):
    return _through_reference(op, univariate_reference.log_likelihood_gradient, cotangents)


@tf.RegisterGradient("StatespaceKalmanUnivariateFilter")
def _gradient_filter(op, *cotangents):
    return _gradient(
        covariance.filter_gradient, univariate_reference.filter_moments, op, cotangents
    )


@tf.RegisterGradient("StatespaceKalmanUnivariateSmoother")
def _gradient_smoother(op, *cotangents):
    return _gradient(
        covariance.smoother_gradient, univariate_reference.smoother_moments, op, cotangents
    )


def _gradient(proper_start, reference, op, cotangents):
    """By the compiled adjoint of the covariance form where no state is known to start diffuse.

    The moments are the same functions of the inputs. Else through the reference.
    """
    *inputs, diffuse = op.inputs
    flags = tf.get_static_value(diffuse)
    if flags is not None and not flags.any():
        *moments, _, _ = covariance.filled(cotangents, op.outputs)  # info, diffuse observations
        return [*proper_start(moments, inputs), None]
    return _through_reference(op, reference, cotangents)


def _through_reference(op, reference, cotangents):
    def function(*inputs):
        *inputs, diffuse = inputs
        return reference(*inputs, tf.stop_gradient(diffuse))

    return [*vectorizable_vjp(op, function, cotangents)[:-1], None]
