"""Gaussian process regression with learnt kernels, mean functions and features."""

import functools

import tensorflow as tf

from statespace.linalg_ops.arguments import check_choice, positive_int
from statespace.models.gaussian_process_arguments import Observations, observations
from statespace.models.gaussian_process_fit import Objectives, Problem
from statespace.models.gaussian_process_inference import condition, observed_covariance
from statespace.models.gaussian_process_parameters import (
    NOISE,
    checked_values,
    kernel_at,
    mean_at,
    parameters_of,
)
from statespace.models.gaussian_process_posterior import GaussianProcessPosterior
from statespace.models.gaussian_process_state_space import (
    StateSpacePosterior,
    log_marginal_likelihood,
    matern_of,
)
from statespace.models.gaussian_process_training import train

METHODS = ("auto", "dense", "state_space")
_OP = "GaussianProcess"
_LONG = 200  # observations from which on the Kalman filter is the faster one


class GaussianProcess:
    """y = f(x) + noise, where f is a Gaussian process.

    The model is immutable and holds no data; ``fit`` and ``condition`` return a posterior. The
    kernel is a function from its parameters to a kernel of ``tfp.math.psd_kernels``: the names of
    its arguments are the names of the parameters, each of them positive; an argument with a default
    is none. All of them, and ``noise_variance``, are learnt by maximum marginal likelihood.

    Args:
      kernel: the function, or a kernel as it is, in which nothing is learnt.
      mean: the prior mean: a function of inputs ``[..., n, d]`` and of further arguments, which are
        real parameters, with values ``[..., n]``. None is zero.
      feature_map: a Keras model from inputs ``[N, d]`` to features ``[N, k]``, on which the kernel
        works (a deep kernel). ``fit`` trains it in place; posteriors from before it no longer hold.
      method: "dense", the Cholesky factor of the covariance matrix, n^3 operations; "state_space",
        the Kalman filter, for a Matérn kernel (1/2, 3/2 or 5/2) of inputs on a line, in time and
        memory of the order of n; "auto", the latter where it can be and n is 200 or more. Both give
        the same numbers.
      parameters: replacements for the parameters of these names, for other shapes, domains or
        starting values: ``Positive("length_scale", (3,), x_power=1)`` is a length scale for each of
        three columns. Without one, a name with ``amplitude`` in it is measured in units of y, one
        with ``length_scale`` or ``period`` in units of x, and others are pure numbers.

    Raises:
      ValueError: two parameters have one name, ``parameters`` has a name of none, ``method`` is
        unknown, or ``kernel`` or ``mean`` is not what it must be.

    References:
      Rasmussen & Williams, Gaussian Processes for Machine Learning, MIT Press, 2006.
      Seeger et al., Auto-Differentiating Linear Algebra, arXiv:1710.08717, section 1.
      Wilson et al., Deep Kernel Learning, AISTATS 2016.

    Example:

      >>> import numpy as np, tensorflow_probability as tfp, statespace as ss
      >>> def kernel(amplitude, length_scale):
      ...     return tfp.math.psd_kernels.MaternFiveHalves(amplitude, length_scale)
      >>> gp = ss.models.GaussianProcess(kernel)
      >>> [parameter.name for parameter in gp.parameters]
      ['amplitude', 'length_scale', 'noise_variance']
      >>> rng = np.random.default_rng(2)
      >>> x = np.linspace(0, 10, 50)[:, np.newaxis]
      >>> post = gp.fit(x, np.sin(x[:, 0]) + 0.1 * rng.normal(size=50))
      >>> prediction = post.predict(np.array([[5.0]]), noise=False)
      >>> print(prediction.mean().numpy().round(2), prediction.stddev().numpy().round(2))
      [-0.94] [0.05]
    """

    def __init__(self, kernel, mean=None, feature_map=None, *, parameters=(), method="auto"):
        check_choice(_OP, "method", method, METHODS)
        self.kernel, self.mean, self.feature_map = kernel, mean, feature_map
        self.method = method
        self.parameters = parameters_of(kernel, mean, parameters)
        likelihoods = {"dense": self._dense, "state_space": self._state_space}
        self._objectives = {
            name: Objectives(self.parameters, function) for name, function in likelihoods.items()
        }

    def log_marginal_likelihood(
        self, params, x, y, *, error_variance=None, on_failure="raise"
    ) -> tf.Tensor:
        """log p(y) at given parameter values, ``[...]``.

        Differentiable twice in parameters and data, with memory for a few matrices ``[n, n]``.

        Args:
          params: dict from the name of each parameter to its value ``[..., *shape]``; leading axes
            broadcast with those of the data.
          x: inputs, ``[..., n, d]``, float32 or float64.
          y: observations, ``[..., n]``.
          error_variance: known variance of each observation's own error, beside the
            ``noise_variance`` that all have in common; broadcasts against ``[..., n]``.
          on_failure: "raise", or "nan": where the covariance matrix is not positive definite, or a
            parameter is out of its range.

        Raises:
          ValueError: an argument has the wrong names, shape or dtype, or a value that is not
            finite; or a covariance matrix is not positive definite (in a graph,
            ``tf.errors.InvalidArgumentError``).
        """
        check_choice(_OP, "on_failure", on_failure, ("raise", "nan"))
        data = observations(x, y, error_variance)
        params = checked_values(
            self.parameters,
            params,
            data.x.dtype,
            data.batch_shape,
            check_range=on_failure == "raise",
        )
        likelihood = {"dense": self._dense, "state_space": self._state_space}
        return likelihood[self._method_for(data, params)](params, data, on_failure)

    def condition(self, x, y, params, *, error_variance=None) -> GaussianProcessPosterior:
        """The posterior at given parameter values.

        Args:
          x, y, params, error_variance: as for ``log_marginal_likelihood``; without observations,
            n = 0, it is the prior.

        Raises:
          ValueError: as for ``log_marginal_likelihood``.
        """
        data = observations(x, y, error_variance)
        params = checked_values(self.parameters, params, data.x.dtype, data.batch_shape)
        return self._posterior(data, params)

    def fit(
        self,
        x,
        y,
        *,
        error_variance=None,
        fix=None,
        num_starts=3,
        optimizer=None,
        num_steps=500,
    ) -> GaussianProcessPosterior:
        """Learns the parameters by maximum marginal likelihood.

        L-BFGS over the parameters' free coordinates, in units of the data, from several starting
        points. All data sets of a batch and all starts run in step, each with parameters of its
        own. With a feature map, its weights, which all data sets share, and the parameters are
        trained together first, from one starting point.

        Args:
          x, y, error_variance: as for ``log_marginal_likelihood``.
          fix: dict from the names of parameters that are not learnt to their values
            ``[..., *shape]``.
          num_starts: how many starting points, a positive int.
          optimizer: a Keras optimiser for the training of the feature map, of which a copy is used;
            by default Adam with a learning rate of 0.01.
          num_steps: of the optimiser, a positive int.

        Returns:
          The posterior at the highest likelihood found. float32 data are fitted in float32, to
          about half of its digits.

        Raises:
          ValueError: as for ``log_marginal_likelihood``; ``fix`` has a name that is not a
            parameter's; there are no observations; or the training of the feature map failed.
        """
        data = observations(x, y, error_variance)
        num_starts = positive_int("GaussianProcess.fit", "num_starts", num_starts)
        num_steps = positive_int("GaussianProcess.fit", "num_steps", num_steps)
        ones = {p.name: tf.ones(p.shape, data.x.dtype) for p in self.parameters}
        objectives = self._objectives[self._method_for(data, ones)]
        problem = Problem(objectives, self, data, fix or {})
        starts = problem.starting_points(num_starts if self.feature_map is None else 1)
        if self.feature_map is not None:
            likelihood = functools.partial(self._dense, training=True)
            starts[0] = train(
                self.feature_map, likelihood, problem, starts[0], optimizer, num_steps
            )
        params, converged = problem.maximise(starts)
        return self._posterior(data, params, converged)

    def kernel_at(self, params, dtype):
        """The kernel, of ``tfp.math.psd_kernels``, at parameter values."""
        return kernel_at(self.kernel, params, dtype)

    def mean_at(self, params, x):
        """The prior mean at inputs ``[..., n, d]``: ``[..., n]``."""
        return mean_at(self.mean, params, self.parameters, x)

    def features(self, x, *, training=False):
        """What the kernel works on: ``[..., n, k]`` for inputs ``[..., n, d]``."""
        if self.feature_map is None:
            return x
        rows = tf.reshape(x, [-1, x.shape[-1]])
        features = tf.cast(self.feature_map(rows, training=training), x.dtype)
        if features.shape.rank != 2:
            raise ValueError(
                f"{_OP}: feature_map makes the shape {features.shape} of inputs {rows.shape}; it "
                "must be [N, k] for [N, d]."
            )
        shape = tf.concat([tf.shape(x)[:-1], tf.shape(features)[-1:]], axis=0)
        features = tf.reshape(features, shape)
        features.set_shape([*x.shape[:-1], features.shape[-1]])
        return features

    def _posterior(self, data, params, converged=None):
        state_space = self._method_for(data, params) == "state_space"
        kind = StateSpacePosterior if state_space else GaussianProcessPosterior
        return kind(self, data, params, converged)

    def _method_for(self, data: Observations, params) -> str:
        """What "auto" means for these data, or whether the method can be had.

        Raises:
          ValueError: it cannot.
        """
        if self.method == "dense":
            return "dense"
        on_a_line = self.feature_map is None and data.x.shape[-1] == 1
        kernel = self.kernel_at(params, data.x.dtype)
        if on_a_line and matern_of(kernel) is not None:
            long = (data.x.shape[-2] or 0) >= _LONG  # None: not known in this graph
            return "state_space" if long or self.method == "state_space" else "dense"
        if self.method == "state_space":
            raise ValueError(
                f"{_OP}: method is 'state_space'; that needs inputs [..., n, 1] without a "
                "feature_map and one of the kernels MaternOneHalf, MaternThreeHalves and "
                f"MaternFiveHalves. x has shape {data.x.shape} and the kernel is "
                f"{type(kernel).__name__}. Use method='auto'."
            )
        return "dense"

    def _residuals(self, params, data):
        """The observations less their mean, and the variances of their noise, [..., n] each."""
        noise = params[NOISE][..., tf.newaxis]
        if data.error_variance is not None:
            noise += data.error_variance
        return data.y - self.mean_at(params, data.x), noise

    def _dense(self, params, data, on_failure="nan", *, training=False):
        residual, noise = self._residuals(params, data)
        kernel = self.kernel_at(params, data.x.dtype)
        features = self.features(data.x, training=training)
        matrix = observed_covariance(kernel, features, noise)
        return condition(matrix, residual, on_failure=on_failure).log_marginal_likelihood

    def _state_space(self, params, data, on_failure="nan"):
        residual, noise = self._residuals(params, data)
        matern = matern_of(self.kernel_at(params, data.x.dtype))
        return log_marginal_likelihood(
            matern, data._replace(y=residual), noise, on_failure=on_failure
        )
