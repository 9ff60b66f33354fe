"""Gaussian processes with a Matérn covariance on a line, in time linear in the observations.

Such a process is the first state of a linear stochastic differential equation, so the Kalman filter
gives its likelihood and the smoother its predictions, for inputs in any order and repeated ones.
"""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from statespace.kalman import kalman_smoother, log_likelihood, sample_posterior
from statespace.linalg_ops.arguments import broadcast_batches
from statespace.linalg_ops.failure import raise_where_failed, spoil
from statespace.models.block import Steps
from statespace.models.gaussian_process_arguments import Observations
from statespace.models.gaussian_process_inference import LeaveOneOut, normal_log_density
from statespace.models.gaussian_process_posterior import GaussianProcessPosterior
from statespace.models.linear_gaussian_regression import leave_one_out
from statespace.models.matern import MaternProcess
from statespace.ssm import LinearGaussianSSM


class Matern(NamedTuple):
    """A Matérn covariance of half-integer order, float64."""

    nu: float
    amplitude: tf.Tensor  # [...]
    length_scale: tf.Tensor  # [...]


def matern_of(kernel) -> Matern | None:
    """What a kernel of ``tfp.math.psd_kernels`` is, if it is a Matérn kernel that has states."""
    from tensorflow_probability import math as tfp_math

    kernels = tfp_math.psd_kernels
    orders = {
        kernels.MaternOneHalf: 0.5,
        kernels.MaternThreeHalves: 1.5,
        kernels.MaternFiveHalves: 2.5,
    }
    nu = orders.get(type(kernel))
    if nu is None or kernel.feature_ndims != 1:
        return None
    one = tf.ones([], tf.float64)
    amplitude = one if kernel.amplitude is None else tf.cast(kernel.amplitude, tf.float64)
    if kernel.inverse_length_scale is not None:
        return Matern(nu, amplitude, 1 / tf.cast(kernel.inverse_length_scale, tf.float64))
    length_scale = one if kernel.length_scale is None else tf.cast(kernel.length_scale, tf.float64)
    return Matern(nu, amplitude, length_scale)


def state_space_model(matern: Matern, times, noise_variance) -> LinearGaussianSSM:
    """The process at times in ascending order, observed with noise.

    Args:
      matern: the covariance.
      times: ``[..., T]``, float64.
      noise_variance: ``[..., T]``.

    References:
      Hartikainen, J. and Särkkä, S. (2010). Kalman filtering and smoothing solutions to temporal
      Gaussian process regression models. IEEE MLSP 2010.
    """
    # In units of the length scale: the states have derivatives among them, powers of its inverse.
    params = {
        "matern.scale": matern.amplitude,
        "matern.length_scale": tf.ones_like(matern.length_scale),
    }
    length_scale = tf.where(_is_usable(matern), matern.length_scale, 1.0)
    times = times / length_scale[..., tf.newaxis]
    block = MaternProcess(matern.nu).own_block(params, Steps(times=times))
    return LinearGaussianSSM(
        transition_matrix=block.transition_matrix,
        transition_scale=block.transition_scale,
        observation_matrix=block.observation_matrix,
        observation_scale=tf.sqrt(noise_variance)[..., tf.newaxis, tf.newaxis],
        initial_mean=tf.zeros(block.initial_scale.shape[-1:], tf.float64),
        initial_scale=block.initial_scale,
    )


def _is_usable(matern):
    """Whether there is a process with such a length scale, bool ``[...]``."""
    return (matern.length_scale > 0) & tf.math.is_finite(matern.length_scale)


def log_marginal_likelihood(
    matern: Matern, data: Observations, noise_variance, *, on_failure="raise"
) -> tf.Tensor:
    """log p(y), ``[...]``.

    Args:
      matern: the covariance.
      data: inputs ``[..., n, 1]`` in any order, and ``y`` less its mean.
      noise_variance: broadcasts against ``[..., n]``.
      on_failure: "raise", or "nan": where an observation without noise repeats another.

    Raises:
      ValueError: there is such an observation, or the likelihood is not finite for another reason;
        in a graph, ``tf.errors.InvalidArgumentError``.
    """
    line = _Line(matern, data, noise_variance, data.x[..., :0, :])
    failed = line.repeats | ~_is_usable(matern)
    value = spoil(log_likelihood(line.ssm, line.y), failed)
    if on_failure == "raise":
        failed = tf.cast(tf.math.is_nan(value), tf.int32)
        if tf.executing_eagerly() and np.any(failed):
            index = np.argwhere(failed)[0].tolist()
            reason = (
                "two observations without noise have one input. A noise_variance above zero allows "
                "for that."
                if np.broadcast_to(line.repeats, failed.shape)[tuple(index)]
                else "the likelihood is not finite: a parameter of the kernel is out of its range, "
                "or an input or observation overflows."
            )
            item = f"batch item {index}" if index else "the data"
            raise ValueError(f"GaussianProcess: {item} cannot be explained: {reason}")
        value = raise_where_failed("GaussianProcess", failed, "has no likelihood; status", value)
    return tf.cast(value, data.x.dtype)


class StateSpacePosterior(GaussianProcessPosterior):
    """The posterior whose means, variances and draws come from the Kalman smoother.

    ``joint`` asks for a matrix of covariances, and factorises that of the observations as well.
    """

    def _log_likelihood(self):
        self._matern = matern_of(self._kernel)
        mean = self._model.mean_at(self.params, self._data.x)
        self._residuals = self._data._replace(y=self._data.y - mean)
        return log_marginal_likelihood(self._matern, self._residuals, self._noise_variance)

    def mean_and_variance(self, x):
        """Mean and variance of f at inputs ``[..., M, 1]``, each by itself: ``[..., M]``."""
        x = self._inputs(x)
        mean, variance = (value[..., self._count :] for value in self._smoothed(x))
        return mean + self._model.mean_at(self.params, x), variance

    def leave_one_out(self) -> LeaveOneOut:
        """The prediction of each observation from all others, at these parameters.

        Raises:
          ValueError: the noise is so small that fewer than eight digits would be right; the dense
            method needs no noise.
        """
        noise = self._noise_variance
        mean, variance = self._smoothed(self._data.x[..., :0, :])
        if tf.executing_eagerly() and not np.all(noise - variance > 1e-8 * noise):
            index = np.argwhere(~(noise - variance > 1e-8 * noise))[0].tolist()
            raise ValueError(
                f"GaussianProcess.leave_one_out: the noise of observation {index} is too small "
                "beside what the others say of it. Use method='dense'."
            )
        y = self._residuals.y
        mean, variance = leave_one_out(y, mean, variance, 1 / noise)
        variance += noise
        prior_mean = self._model.mean_at(self.params, self._data.x)
        return LeaveOneOut(mean + prior_mean, variance, normal_log_density(y - mean, variance))

    @property
    def _count(self):
        return tf.shape(self._data.x)[-2]

    def _smoothed(self, new):
        """Moments of f less its mean, ``[..., n + M]``, at the inputs of the data and new ones."""
        line = _Line(self._matern, self._residuals, self._noise_variance, new)
        # Small variances to all of their digits, where the noise is small beside the process.
        result = kalman_smoother(line.ssm, line.y, lag_one=False, algorithm="square_root")
        mean = line.undo(result.smoothed_mean[..., 0])
        variance = line.undo(result.smoothed_covariance[..., 0, 0])
        tiny = np.finfo(new.dtype.as_numpy_dtype).tiny
        return tf.cast(mean, new.dtype), tf.maximum(tf.cast(variance, new.dtype), tiny)

    def _sample_function(self, x, num_samples, seed):
        line = _Line(self._matern, self._residuals, self._noise_variance, x)
        paths = line.undo(sample_posterior(line.ssm, line.y, num_samples, seed=seed)[..., 0])
        mean = self._model.mean_at(self.params, x)
        return tf.cast(paths[..., self._count :], x.dtype) + mean


class _Line:
    """Observations and unobserved new inputs, in the order of the line, in float64."""

    def __init__(self, matern, data, noise_variance, new):
        x, new, y, noise = (
            tf.cast(value, tf.float64) for value in (data.x, new, data.y, noise_variance)
        )
        times = tf.concat(broadcast_batches([x[..., 0], new[..., 0]], [1, 1]), axis=-1)
        y, noise = y + tf.zeros_like(noise), noise + tf.zeros_like(y)
        later = tf.zeros(tf.concat([tf.shape(y)[:-1], tf.shape(new)[-2:-1]], 0), tf.float64)
        y = tf.concat([y, later + np.nan], axis=-1)
        noise = tf.concat([noise, later + 1.0], axis=-1)
        if times.shape.rank > 1:
            times, y, noise = broadcast_batches([times, y, noise], [1, 1, 1])
        self._order = tf.argsort(times, axis=-1, stable=True)
        times, y, noise = (self._take(value, self._order) for value in (times, y, noise))
        # bool [...]: the filter would divide by what rounding makes of no variance at all.
        rounding = np.finfo(np.float64).eps * matern.amplitude[..., tf.newaxis] ** 2
        certain = noise[..., 1:] + noise[..., :-1] <= rounding
        self.repeats = tf.reduce_any(certain & (times[..., 1:] == times[..., :-1]), axis=-1)
        self.y = y[..., tf.newaxis]
        self.ssm = state_space_model(matern, times, noise)

    def undo(self, values):
        """Values along the line, ``[..., T]``, in the order of the observations and new inputs."""
        return self._take(values, tf.argsort(self._order, axis=-1))

    def _take(self, values, order):
        """Entries of ``[..., T]``, in the same order for all where the inputs have no batch."""
        if order.shape.rank == 1:
            return tf.gather(values, order, axis=-1)
        _, order = broadcast_batches([values, order], [1, 1])
        return tf.gather(values, order, axis=-1, batch_dims=values.shape.rank - 1)
