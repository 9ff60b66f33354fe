"""The square-root form: factors of covariances, carried by orthogonal transformations.

The compiled ops compute in float64 whatever the tensors hold. The array algorithm in float32 was
tried on the 13 models of tests/kalman/test_square_root.py: four log-likelihoods were wrong, by 2e-4
to 41 %, since the mean of a state of size 1 that is observed to 1e-6 cannot be held in float32,
whatever is done to covariances. The reference formulas, which stand in for the ops and give the
derivatives that are not compiled, run in float64 for the same reason.
"""

import functools

import tensorflow as tf

from statespace import native
from statespace.kalman import covariance, reference
from statespace.kalman.forms import Form
from statespace.kalman.results import FilterResult, SmootherResult
from statespace.kalman.score import register_score
from statespace.linalg_ops.differentiation import custom_rule, vectorizable_vjp
from statespace.linalg_ops.failure import spoil


def _in_float64(function):
    """A function of tensors that computes in float64 and returns the dtype of its inputs."""

    @functools.wraps(function)
    def wide(*inputs):
        dtype = inputs[0].dtype
        outputs = function(*(tf.cast(x, tf.float64) for x in inputs))
        return tuple(tf.cast(x, dtype) if x.dtype.is_floating else x for x in outputs)

    return wide


@_in_float64
def _filter_reference(*inputs):
    *moments, info = reference.filter_moments(*inputs)
    scales = (spoil(x, info > 0) for x in reference.scales_reference(*inputs))
    return (*moments, info, *scales)


_moments_reference = _in_float64(reference.filter_moments)
_per_step_reference = _in_float64(reference.FORM.per_step)
_log_likelihood_reference = _in_float64(reference.FORM.log_likelihood)
_smoother_reference = _in_float64(reference.smoother_reference)
_gradient_reference = _in_float64(reference.log_likelihood_gradient_reference)


def _log_likelihood(*inputs, low_memory=False):
    ops = native.ops()
    if ops is None:
        return _log_likelihood_reference(*inputs)
    return ops.statespace_kalman_square_root_log_likelihood(*inputs, low_memory=low_memory)


def _per_step(*inputs, low_memory=False):
    ops = native.ops()
    if ops is None:
        return _per_step_reference(*inputs)
    return ops.statespace_kalman_square_root_log_likelihood_per_step(*inputs, low_memory=low_memory)


def _filter(*inputs):
    ops = native.ops()
    if ops is None:
        return FilterResult(*_filter_reference(*inputs))
    return FilterResult(*ops.statespace_kalman_square_root_filter(*inputs))


def _moments(*inputs):
    """The filter without scales: its gradient needs no reference, whose graph is large."""
    run = _moments_reference if native.ops() is None else _compiled_moments
    return FilterResult(*run(*inputs))


@custom_rule
def _compiled_moments(*inputs):
    outputs = native.library().statespace_kalman_square_root_filter(*inputs)

    def gradient(*cotangents):
        return _in_covariance_form(covariance.filter_gradient, cotangents[:7], inputs, outputs)

    return tuple(outputs[:8]), gradient


def _smoother(*inputs):
    ops = native.ops()
    if ops is None:
        return SmootherResult(*_smoother_reference(*inputs))
    return SmootherResult(*ops.statespace_kalman_square_root_smoother(*inputs))


FORM = Form(_log_likelihood, _per_step, _filter, _smoother, moments=_moments)

register_score(
    "StatespaceKalmanSquareRootLogLikelihood", "statespace_kalman_square_root_log_likelihood_grad"
)


@tf.RegisterGradient("StatespaceKalmanSquareRootLogLikelihoodGrad")
def _gradient_of_gradient(op, *cotangents):
    return vectorizable_vjp(op, _gradient_reference, cotangents)


@tf.RegisterGradient("StatespaceKalmanSquareRootFilter")
def _gradient_filter(op, *cotangents):
    """By the covariance form's adjoint where no factor is used, which only the reference knows."""
    *moments, _, filtered, predicted, innovation = cotangents
    scales = [x for x in (filtered, predicted, innovation) if x is not None]

    def adjoint():
        return _in_covariance_form(covariance.filter_gradient, moments, op.inputs, op.outputs)

    def reference_adjoint():
        return vectorizable_vjp(op, _filter_reference, cotangents)

    if not scales:
        return adjoint()
    # Backpropagation fills what is unused with zeros, so it shows at run time only.
    unused = tf.reduce_all([tf.reduce_all(tf.equal(x, 0)) for x in scales])
    return tf.cond(unused, adjoint, reference_adjoint)


@tf.RegisterGradient("StatespaceKalmanSquareRootSmoother")
def _gradient_smoother(op, *cotangents):
    return _in_covariance_form(covariance.smoother_gradient, cotangents[:-1], op.inputs, op.outputs)


def _in_covariance_form(gradient, cotangents, inputs, outputs):
    """An adjoint of the covariance form, in float64."""
    cotangents = covariance.filled(cotangents, outputs)
    wide = [[tf.cast(x, tf.float64) for x in xs] for xs in (cotangents, inputs)]
    return [tf.cast(x, y.dtype) for x, y in zip(gradient(*wide), inputs, strict=True)]
