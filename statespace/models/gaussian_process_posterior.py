"""A Gaussian process given data: predictions, draws, leave-one-out."""

import functools

import tensorflow as tf

from statespace.kalman.normal import seed_pair, standard_normal
from statespace.linalg_ops import triangular_multiply
from statespace.linalg_ops.arguments import positive_int
from statespace.models.gaussian_process_arguments import Observations, inputs
from statespace.models.gaussian_process_inference import (
    LeaveOneOut,
    condition,
    covariance,
    observed_covariance,
    predict,
    predict_jointly,
)
from statespace.models.gaussian_process_inference import leave_one_out as dense_leave_one_out
from statespace.models.gaussian_process_parameters import NOISE


class FunctionPosterior:
    """Predictions and draws of a function with a normal posterior.

    A subclass has ``params``, ``mean_and_variance``, ``joint``, and ``_inputs`` to check inputs.
    """

    def predict(self, x, *, noise=True):
        """The distribution of an observation at each input, or of f.

        Args:
          x: ``[..., M, d]``.
          noise: whether the variance has ``noise_variance`` in it.

        Returns:
          A TFP distribution ``Normal`` with the batch shape ``[..., M]``.
        """
        import tensorflow_probability as tfp

        mean, variance = self.mean_and_variance(x)
        if noise:
            variance += self.params[NOISE][..., tf.newaxis]
        return tfp.distributions.Normal(mean, tf.sqrt(variance))

    def sample(self, x, num_samples, *, seed, noise=False):
        """Draws of f, or of observations, jointly at inputs ``[..., M, d]``.

        Args:
          x: ``[..., M, d]``.
          num_samples: S, a positive int.
          seed: an int, or an integer tensor ``[2]``.
          noise: whether to add noise of variance ``noise_variance``.

        Returns:
          ``[S, ..., M]``.
        """
        num_samples = positive_int("GaussianProcess.sample", "num_samples", num_samples)
        seeds = tf.random.split(seed_pair("GaussianProcess.sample", seed), 2, alg="philox")
        draws = self._sample_function(self._inputs(x), num_samples, seeds[0])
        if noise:
            scale = tf.sqrt(self.params[NOISE])[..., tf.newaxis]
            draws += scale * standard_normal(tf.shape(draws), seeds[1], draws.dtype)
        return draws

    def _sample_function(self, x, num_samples, seed):
        joint = self.joint(x)
        shape = tf.concat([[num_samples], tf.shape(joint.loc)], axis=0)
        normal = standard_normal(shape, seed, joint.dtype)[..., tf.newaxis]
        return joint.loc + triangular_multiply(joint.scale_tril, normal)[..., 0]


class GaussianProcessPosterior(FunctionPosterior):
    """What ``fit`` and ``condition`` of :class:`statespace.models.GaussianProcess` return.

    All methods are functions of TensorFlow, differentiable in the inputs they are given. Leading
    axes are independent data sets.

    Attributes:
      params: dict from each parameter's name to its value ``[..., *shape]``.
      log_marginal_likelihood: log p(y), ``[...]``.
      converged: of a fit, whether the maximum was found, bool ``[...]``; None without a fit.

    Example:

      >>> import numpy as np, tensorflow_probability as tfp, statespace as ss
      >>> kernel = lambda amplitude, length_scale: tfp.math.psd_kernels.ExponentiatedQuadratic(
      ...     amplitude, length_scale)
      >>> gp = ss.models.GaussianProcess(kernel)
      >>> x = np.array([[0.0], [1.0], [3.0]])
      >>> post = gp.condition(x, np.array([0.0, 1.0, -1.0]), {
      ...     "amplitude": 1.0, "length_scale": 1.0, "noise_variance": 0.01})
      >>> prediction = post.predict(np.array([[1.0], [2.0]]))
      >>> print(prediction.mean().numpy().round(3), prediction.stddev().numpy().round(3))
      [0.982 0.204] [0.141 0.557]
      >>> print(post.leave_one_out().mean.numpy().round(3))
      [ 0.681 -0.127  0.199]
    """

    def __init__(self, model, data: Observations, params, converged=None):
        self._model, self._data = model, data
        self.params = params
        self.converged = converged
        self._kernel = model.kernel_at(params, data.x.dtype)
        self.log_marginal_likelihood = self._log_likelihood()

    def _log_likelihood(self):
        return self._given.log_marginal_likelihood

    @functools.cached_property
    def _given(self):
        return condition(
            observed_covariance(self._kernel, self._features, self._noise_variance),
            self._data.y - self._model.mean_at(self.params, self._data.x),
        )

    @functools.cached_property
    def _features(self):
        return self._model.features(self._data.x)

    @property
    def _noise_variance(self):
        """That of each observation, ``[..., n]``, or one that broadcasts with it."""
        common = self.params[NOISE][..., tf.newaxis]
        errors = self._data.error_variance
        return common if errors is None else common + errors

    def _inputs(self, x):
        return inputs("x", x, self._data.x, self.log_marginal_likelihood.shape)

    def mean_and_variance(self, x) -> tuple[tf.Tensor, tf.Tensor]:
        """Mean and variance of f at inputs ``[..., M, d]``, each by itself: ``[..., M]``."""
        x = self._inputs(x)
        features = self._model.features(x)
        mean, variance = predict(
            self._given,
            covariance(self._kernel, self._features, features),
            self._kernel.apply(features, features, example_ndims=1),
        )
        return mean + self._model.mean_at(self.params, x), variance

    def joint(self, x):
        """The joint distribution of f at inputs ``[..., M, d]``.

        Returns:
          A TFP distribution ``MultivariateNormalTriL`` over ``[..., M]``; it may be singular.

        Raises:
          ValueError: x has the wrong shape or dtype.
          tf.errors.InvalidArgumentError: a covariance is not positive semidefinite.
        """
        import tensorflow_probability as tfp

        x = self._inputs(x)
        features = self._model.features(x)
        mean, scale = predict_jointly(
            self._given,
            covariance(self._kernel, self._features, features),
            covariance(self._kernel, features, features),
        )
        mean += self._model.mean_at(self.params, x)
        return tfp.distributions.MultivariateNormalTriL(mean, scale)

    def leave_one_out(self) -> LeaveOneOut:
        """The prediction of each observation from all others, at these parameters.

        Returns:
          A :class:`LeaveOneOut`: mean, variance (noise included) and log density of what was
          observed, ``[..., n]`` each. The sum of the log densities is a score for comparing models.
        """
        result = dense_leave_one_out(self._given)
        return result._replace(mean=result.mean + self._model.mean_at(self.params, self._data.x))
