"""A drop-in for TensorFlow Probability's ``LinearGaussianStateSpaceModel``."""

import functools
from typing import NamedTuple

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from statespace.distributions import masking
from statespace.distributions.arguments import OWNER, ModelArguments, to_ssm
from statespace.distributions.smoothing import backward_pass
from statespace.kalman.filter import kalman_filter, log_likelihood
from statespace.kalman.sampling import sample, sample_posterior
from statespace.kalman.smoother import kalman_smoother
from statespace.linalg_ops.arguments import broadcast_matmul, positive_int, require, with_shape
from statespace.ssm import LinearGaussianSSM

tfd = tfp.distributions


class ForwardFilterResult(NamedTuple):
    """Output of :meth:`LinearGaussianStateSpaceModel.forward_filter`.

    ``[...]`` are the axes of x, mask and model together; for covariances, which do not depend on
    x, those of mask and model. With ``final_step_only`` the axis ``T`` is absent.
    """

    log_likelihoods: tf.Tensor  # log p(x_t | x_0 .. x_{t-1}), [..., T]; their sum at the final step
    filtered_means: tf.Tensor  # E[z_t | x_0 .. x_t], [..., T, n]
    filtered_covs: tf.Tensor  # [..., T, n, n]
    predicted_means: tf.Tensor  # E[z_{t+1} | x_0 .. x_t], [..., T, n]
    predicted_covs: tf.Tensor  # [..., T, n, n]
    observation_means: tf.Tensor  # E[x_t | x_0 .. x_{t-1}], [..., T, m]
    observation_covs: tf.Tensor  # [..., T, m, m]


class LinearGaussianStateSpaceModel(tfd.AutoCompositeTensorDistribution):
    """The distribution of a series that a linear-Gaussian state-space model emits.

    A drop-in for ``tfp.distributions.LinearGaussianStateSpaceModel``: the same arguments, methods,
    shapes and numbers, computed by the fused operations of this library. For t = 0 ... T-1:

        z_0     ~ initial_state_prior
        x_t     = H_t z_t + observation noise
        z_{t+1} = F_t z_t + transition noise

    The event shape is ``[T, m]``. Samples and data are ``[..., T, m]``, where ``[...]`` is a sample
    shape followed by the batch shape, or anything that broadcasts against the batch shape.

    Args:
      num_timesteps: T, int or int Tensor.
      transition_matrix: F, ``[..., n, n]``: a Tensor, a LinearOperator, or a function of time that
        returns one. F of time t leads from z_t to z_{t+1}.
      transition_noise: a multivariate normal distribution of event shape ``[n]``, or a function of
        time that returns one. Of a distribution that is not a ``MultivariateNormalLinearOperator``
        (or of a class derived from it), mean and covariance are used.
      observation_matrix: H, ``[..., m, n]``, as transition_matrix.
      observation_noise: as transition_noise, with event shape ``[m]``.
      initial_state_prior: as transition_noise; a function is called with ``initial_step``.
      initial_step: the time of z_0. Functions of time are called with scalar int32 Tensors,
        ``initial_step`` ... ``initial_step + T - 1``, by every method that needs them, and with
        the first by the constructor, which looks at the shapes they return.
      mask: default of the argument of that name of ``log_prob``, ``forward_filter``,
        ``posterior_marginals`` and ``posterior_sample``. bool, *True = missing*:
        ``[..., T]`` hides whole steps. Beyond TensorFlow Probability, ``[..., T, m]`` hides single
        components, and NaN in the data is missing too. A mask that fits both ways is one of steps
        if it has fewer axes than the data, and refused if it has not.
      experimental_parallelize: run filter and smoother by associative scans over time,
        ``algorithm="parallel"`` of :func:`statespace.kalman_filter`, for long series on GPUs. It
        asks for noise in every component that is observed; a series without it is NaN.
      validate_args: raise where the filter fails (a covariance of observations that is not positive
        definite, numbers that are not finite) instead of returning NaN; not inside XLA, which
        cannot raise.
      allow_nan_stats: as for every distribution of TensorFlow Probability.
      name: of the operations.

    Variables are read whenever a method is called, so gradients flow to them. A model is a
    composite tensor: ``tf.function`` and ``tf.while_loop`` take and return it.

    Raises:
      ValueError: an argument has the wrong type, or shapes or dtypes do not fit.

    References:
      Durbin & Koopman, Time Series Analysis by State Space Methods, 2nd ed., chapter 4.

    Example:

      >>> import tensorflow_probability as tfp
      >>> from statespace.distributions import LinearGaussianStateSpaceModel
      >>> tfd = tfp.distributions
      >>> walk = LinearGaussianStateSpaceModel(
      ...     num_timesteps=3,
      ...     transition_matrix=[[1.0]],
      ...     transition_noise=tfd.MultivariateNormalDiag(scale_diag=[1.0]),
      ...     observation_matrix=[[1.0]],
      ...     observation_noise=tfd.MultivariateNormalDiag(scale_diag=[1.0]),
      ...     initial_state_prior=tfd.MultivariateNormalDiag(scale_diag=[1.0]))
      >>> x = [[0.5], [0.0], [1.0]]
      >>> print(f"{walk.log_prob(x, mask=[False, True, False]):.4f}")
      -2.9537
    """

    def __init__(
        self,
        num_timesteps,
        transition_matrix,
        transition_noise,
        observation_matrix,
        observation_noise,
        initial_state_prior,
        initial_step=0,
        mask=None,
        experimental_parallelize=False,
        validate_args=False,
        allow_nan_stats=True,
        name=OWNER,
    ):
        parameters = dict(locals())
        with tf.name_scope(name) as name:
            self._num_timesteps = num_timesteps
            self._initial_step = initial_step
            self._mask = masking.to_mask(mask)
            self._experimental_parallelize = experimental_parallelize
            self._model = ModelArguments(
                transition_matrix,
                transition_noise,
                observation_matrix,
                observation_noise,
                initial_state_prior,
            )
            first = self._first_step()
            first.check_shapes()
            self._static_batch_shape = first.batch_shape()
            self._static_event_shape = _static_event_shape(num_timesteps, first)
            super().__init__(
                dtype=first.initial_state_prior.dtype,
                reparameterization_type=tfd.FULLY_REPARAMETERIZED,
                validate_args=validate_args,
                allow_nan_stats=allow_nan_stats,
                parameters=parameters,
                name=name,
            )

    @classmethod
    def _parameter_properties(cls, dtype, num_classes=None):
        component = tfp.util.BatchedComponentProperties

        def matrix_axes(name):
            return lambda self: 0 if hasattr(self.parameters[name], "batch_shape") else 2

        return {
            "num_timesteps": tfp.util.ParameterProperties(
                event_ndims=None, shape_fn=lambda _: [], specifies_shape=True
            ),
            "transition_matrix": component(event_ndims=matrix_axes("transition_matrix")),
            "transition_noise": component(),
            "observation_matrix": component(event_ndims=matrix_axes("observation_matrix")),
            "observation_noise": component(),
            "initial_state_prior": component(),
        }

    def __getitem__(self, slices):
        if self.mask is not None or any(callable(x) for x in self._model):
            raise ValueError(
                f"{OWNER}: a model with functions of time or a mask cannot be sliced. Slice what "
                f"they return, and the mask, and build the model from them."
            )
        return super().__getitem__(slices)

    @property
    def num_timesteps(self):
        """T, as given."""
        return self._num_timesteps

    @property
    def transition_matrix(self):
        """F, as given."""
        return self._model.transition_matrix

    @property
    def transition_noise(self):
        """The transition noise, as given."""
        return self._model.transition_noise

    @property
    def observation_matrix(self):
        """H, as given."""
        return self._model.observation_matrix

    @property
    def observation_noise(self):
        """The observation noise, as given."""
        return self._model.observation_noise

    @property
    def initial_state_prior(self):
        """The distribution of z_0, as given."""
        return self._model.initial_state_prior

    @property
    def initial_step(self):
        """The time of z_0, as given."""
        return self._initial_step

    @property
    def mask(self):
        """The default mask, True = missing, or None."""
        return self._mask

    @property
    def experimental_parallelize(self):
        """Whether filter and smoother are scans over time, as given."""
        return self._experimental_parallelize

    def latent_size_tensor(self):
        """n."""
        return self._prior().event_shape_tensor()[0]

    def observation_size_tensor(self):
        """m."""
        if self.event_shape[-1] is not None:
            return self.event_shape[-1]
        return self._first_step().observation_noise.event_shape_tensor()[0]

    def to_ssm(self) -> LinearGaussianSSM:
        """The model as a :class:`statespace.LinearGaussianSSM`, for all that takes one."""
        times = self.initial_step + tf.range(self.num_timesteps)
        return to_ssm(self._model._replace(initial_state_prior=self._prior()), times, self.dtype)

    def forward_filter(self, x, mask=None, final_step_only=False) -> ForwardFilterResult:
        """Runs the filter over x.

        Args:
          x: data ``[..., T, m]``, whose axes ``[...]`` broadcast against the batch shape.
          mask: bool, True = missing; see the class. None: the model's mask.
          final_step_only: return the last step alone, and the sum of the log-likelihoods.

        Returns:
          A :class:`ForwardFilterResult`.

        Raises:
          ValueError: shapes or dtypes do not fit.
          tf.errors.InvalidArgumentError: the filter failed and ``validate_args`` is set; or
            components are NaN without being masked and x has axes that covariances lack.
        """
        ssm, y, pattern = self._prepare(x, mask)
        means, covariances = self._moments(kalman_filter, ssm, y, pattern)
        filtered_means, filtered_covs = means.filtered_mean, covariances.filtered_covariance
        f, g, b = ssm.transition_matrix, ssm.transition_scale, ssm.transition_offset
        h, d = ssm.observation_matrix, ssm.observation_offset
        moments = {
            "filtered_means": filtered_means,
            "filtered_covs": filtered_covs,
            "predicted_means": _mean_through(f, filtered_means, b),
            "predicted_covs": _covariance_through(f, filtered_covs, g),
            "observation_means": _mean_through(h, means.predicted_mean, d),
            "observation_covs": covariances.innovation_covariance,
        }
        if final_step_only:
            last = {
                name: x[..., -1, :] if name.endswith("_means") else x[..., -1, :, :]
                for name, x in moments.items()
            }
            return ForwardFilterResult(means.log_likelihood, **last)
        return ForwardFilterResult(self._run(log_likelihood, ssm, y, per_step=True), **moments)

    def backward_smoothing_pass(
        self, filtered_means, filtered_covs, predicted_means, predicted_covs
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Smoothed moments from what :meth:`forward_filter` returned.

        :meth:`posterior_marginals` does both passes in one operation, faster and without solving
        for predicted covariances.

        Args:
          filtered_means: E[z_t | x_0 .. x_t], ``[..., T, n]``.
          filtered_covs: ``[..., T, n, n]``.
          predicted_means: E[z_{t+1} | x_0 .. x_t], ``[..., T, n]``.
          predicted_covs: ``[..., T, n, n]``.

        Returns:
          The means ``[..., T, n]`` and covariances ``[..., T, n, n]`` of z_t given all of x.

        Raises:
          tf.errors.InvalidArgumentError: a predicted covariance is not positive semidefinite.
        """
        moments = (filtered_means, filtered_covs, predicted_means, predicted_covs)
        moments = (tf.convert_to_tensor(x, dtype_hint=self.dtype) for x in moments)
        return backward_pass(self.to_ssm().transition_matrix, *moments)

    def posterior_marginals(self, x, mask=None) -> tuple[tf.Tensor, tf.Tensor]:
        """Moments of every state given all of x: the Kalman smoother.

        Args:
          x, mask: as for :meth:`forward_filter`.

        Returns:
          The means, with the axes of x, mask and model, ``[..., T, n]``; and the covariances, which
          do not depend on x, with those of mask and model, ``[..., T, n, n]``.

        Raises:
          ValueError, tf.errors.InvalidArgumentError: as :meth:`forward_filter`.
        """
        smoother = functools.partial(kalman_smoother, lag_one=False)
        means, covariances = self._moments(smoother, *self._prepare(x, mask))
        return means.smoothed_mean, covariances.smoothed_covariance

    def posterior_sample(self, x, sample_shape=(), mask=None, seed=None, name=None) -> tf.Tensor:
        """Draws trajectories of the states given x.

        Args:
          x, mask: as for :meth:`forward_filter`.
          sample_shape: int or ints.
          seed: as for every distribution of TensorFlow Probability.
          name: of the operations.

        Returns:
          ``[*sample_shape, ..., T, n]``, with the axes of x, mask and model.

        Raises:
          ValueError: shapes or dtypes do not fit.
        """
        with tf.name_scope(name or "posterior_sample"):
            ssm, y, _ = self._prepare(x, mask)
            sample_shape = np.reshape(_static("sample_shape", sample_shape), [-1])
            number = int(np.prod(sample_shape))
            seed = tfp.random.sanitize_seed(seed, salt="posterior_sample")
            draws = self._run(sample_posterior, ssm, y, num_samples=number, seed=seed)
            return tf.reshape(draws, tf.concat([sample_shape, tf.shape(draws)[1:]], 0))

    def latents_to_observations(self, latent_means, latent_covs) -> tuple[tf.Tensor, tf.Tensor]:
        """Moments of observations from moments of the states: H m + d and H P H' + R.

        Args:
          latent_means: ``[..., T, n]``.
          latent_covs: ``[..., T, n, n]``.

        Returns:
          The means ``[..., T, m]`` and covariances ``[..., T, m, m]``.
        """
        latent_means = tf.convert_to_tensor(latent_means, dtype_hint=self.dtype)
        latent_covs = tf.convert_to_tensor(latent_covs, dtype_hint=self.dtype)
        ssm = self.to_ssm()
        h = ssm.observation_matrix
        return (
            _mean_through(h, latent_means, ssm.observation_offset),
            _covariance_through(h, latent_covs, ssm.observation_scale),
        )

    def _log_prob(self, x, mask=None):
        ssm, y, _ = self._prepare(x, mask)
        return self._run(log_likelihood, ssm, y)

    def _sample_n(self, n, seed=None):
        seed = tfp.random.sanitize_seed(seed, salt="sample")
        n, num_steps = _static("sample_shape", n), _static("num_timesteps", self.num_timesteps)
        return sample(self.to_ssm(), num_steps, sample_shape=n, seed=seed).observations

    def _mean(self):
        ssm, prior = self._prior_moments()
        return _mean_through(ssm.observation_matrix, prior.predicted_mean, ssm.observation_offset)

    def _variance(self):
        return tf.linalg.diag_part(self._prior_moments()[1].innovation_covariance)

    def _batch_shape(self):
        return self._static_batch_shape

    def _batch_shape_tensor(self):
        return self._first_step().batch_shape_tensor()

    def _event_shape(self):
        return self._static_event_shape

    def _event_shape_tensor(self):
        return tf.stack([self.num_timesteps, self.observation_size_tensor()])

    def _default_event_space_bijector(self):
        return tfp.bijectors.Identity(validate_args=self.validate_args)

    def _prior(self):
        prior = self.initial_state_prior
        return prior(tf.convert_to_tensor(self.initial_step)) if callable(prior) else prior

    def _first_step(self):
        return self._model.at(tf.convert_to_tensor(self.initial_step))

    def _prior_moments(self):
        """The model, and the filter's moments with nothing observed, which are the prior's."""
        ssm = self.to_ssm()
        nan = tf.constant(float("nan"), self.dtype)
        return ssm, self._run(kalman_filter, ssm, tf.fill(self._unit_shape(), nan))

    def _unit_shape(self):
        return tf.concat([self.batch_shape_tensor(), self.event_shape_tensor()], 0)

    def _prepare(self, x, mask):
        """The model, x with NaN at what is missing, and data that lack what the mask hides."""
        mask = self.mask if mask is None else masking.to_mask(mask)
        x = self._data(x)
        missing = masking.missing_components(mask, x, self.batch_shape)
        pattern = masking.hide(tf.zeros(self._unit_shape(), x.dtype), missing)
        return self.to_ssm(), masking.hide(x, missing), pattern

    def _data(self, x):
        x = tf.convert_to_tensor(x, dtype_hint=self.dtype, name="x")
        if x.dtype != self.dtype:
            raise ValueError(
                f"{OWNER}: mixed dtypes: x is {x.dtype.name}, the model is {self.dtype.name}. Cast "
                f"one of them."
            )
        event, message = self.event_shape, f"{OWNER}: x must end in the event shape"
        if x.shape.rank is None:
            raise ValueError(f"{message} {event}, with a known number of axes.")
        if x.shape.rank < 2 or not x.shape[-2:].is_compatible_with(event):
            raise ValueError(f"{message} {event}; it has shape {x.shape}.")
        try:
            tf.broadcast_static_shape(x.shape[:-2], self.batch_shape)
        except ValueError:
            raise ValueError(
                f"{OWNER}: x has shape {x.shape}, whose axes before the event shape {event} do "
                f"not broadcast against the batch shape {self.batch_shape}."
            ) from None
        if x.shape[-2:].is_fully_defined() and event.is_fully_defined():
            return x
        same = tf.reduce_all(tf.shape(x)[-2:] == self.event_shape_tensor())
        checked = require(same, f"{message}.", x)
        return with_shape(checked, x.shape[:-2].concatenate(event))

    def _run(self, function, ssm, y, **options):
        return function(
            ssm,
            y,
            algorithm="parallel" if self.experimental_parallelize else "auto",
            on_failure="raise" if self.validate_args else "nan",
            **options,
        )

    def _moments(self, function, ssm, y, pattern):
        """Results to take means from, and covariances: those do not depend on the values of y."""
        means = self._run(function, ssm, y)
        shape = tf.broadcast_static_shape(y.shape, pattern.shape)
        if shape.is_fully_defined() and shape == pattern.shape:
            return means, means
        return means, self._run(function, ssm, masking.agreeing(pattern, y))


def _static_event_shape(num_timesteps, step):
    num_timesteps = tf.get_static_value(num_timesteps)
    if num_timesteps is not None:
        num_timesteps = positive_int(OWNER, "num_timesteps", num_timesteps)
    return tf.TensorShape([num_timesteps]) + step.observation_noise.event_shape


def _static(name, value):
    """Whole numbers, as NumPy has them."""
    tensor = tf.convert_to_tensor(value, dtype_hint=tf.int32)
    static = tf.get_static_value(tensor)
    if static is None or not tensor.dtype.is_integer:
        raise ValueError(
            f"{OWNER}: {name} is {value!r}; it must be whole numbers that are known before samples "
            f"are drawn."
        )
    return static


def _mean_through(a, mean, offset):
    """A m + b, a ``[..., T, p, n]`` or without T, mean ``[..., T, n]``."""
    return broadcast_matmul(a, mean[..., tf.newaxis])[..., 0] + offset


def _covariance_through(a, covariance, scale):
    """A P A' + S S', all ``[..., T, rows, columns]`` or, of a and scale, without T."""
    through = broadcast_matmul(broadcast_matmul(a, covariance), a, transpose_b=True)
    return through + tf.matmul(scale, scale, transpose_b=True)
