"""What acquisition asks of the models it knows: joint covariances, noise and draws of functions."""

import tensorflow as tf

from statespace.linalg_ops import gemm
from statespace.models.arguments import float_tensor
from statespace.models.gaussian_process_parameters import NOISE
from statespace.models.gaussian_process_posterior import FunctionPosterior
from statespace.models.regression_arguments import features
from statespace.models.regression_posterior import RegressionPosterior


def covariance_roots(op, model, x, reference=None):
    """Roots ``[..., M, K]`` and ``[..., P, K]`` of the joint covariance of f at x and reference.

    The second is None where ``reference`` is.
    """
    if reference is None:
        return _root(op, model, x), None
    x, reference = float_tensor(op, "candidates", x), float_tensor(op, "reference", reference)
    sides = [(v.dtype, v.shape[:-2], v.shape[-1:]) for v in (x, reference)]
    if not all(a.is_compatible_with(b) for a, b in zip(*sides, strict=True)):
        raise ValueError(
            f"{op}: candidates are {x.dtype.name} with shape {x.shape} and reference "
            f"{reference.dtype.name} with shape {reference.shape}; they must have the same batch "
            "axes, features and dtype."
        )
    root, count = _root(op, model, tf.concat([x, reference], axis=-2)), tf.shape(x)[-2]
    return root[..., :count, :], root[..., count:, :]


def _root(op, model, x):
    if isinstance(model, RegressionPosterior):
        return model.covariance_root(x)
    return _gaussian_process(op, model).joint(x).scale_tril


def observation_variance(model):
    """The variance of the noise of an observation, of weight 1 in a regression: ``[..., 1]``."""
    if isinstance(model, RegressionPosterior):
        return model.noise_scale[..., tf.newaxis] ** 2
    return model.params[NOISE][..., tf.newaxis]


def sample_functions(model, x, num_samples, *, seed) -> tf.Tensor:
    """Draws of f jointly at given inputs, ``[S, ..., M]``; those of one seed are the same function.

    Args:
      model: a fitted :class:`statespace.models.BayesianLinearRegression`, or the posterior of a
        :class:`statespace.models.GaussianProcess`, sparse or not.
      x: ``[..., M, D]``.
      num_samples: S.
      seed: an int, or two of them.

    Raises:
      ValueError: x has the wrong shape or dtype or a value that is not finite, or the model is not
        fitted or of another kind.
    """
    if isinstance(model, RegressionPosterior):
        draws = model.sample_weights(num_samples, seed=seed)
        x = features(x, model.coefficients)
        return draws.intercept[..., tf.newaxis] + gemm(x, draws.weights[..., tf.newaxis])[..., 0]
    return _gaussian_process("active.sample_functions", model).sample(x, num_samples, seed=seed)


def _gaussian_process(op, model) -> FunctionPosterior:
    if isinstance(model, FunctionPosterior):
        return model
    raise ValueError(
        f"{op}: model is a {type(model).__name__}; it must be a fitted BayesianLinearRegression, "
        "or what fit or condition of a GaussianProcess returned."
    )
