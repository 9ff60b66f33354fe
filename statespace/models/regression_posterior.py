"""What a fitted Bayesian linear regression says: weights, predictions, draws, leave-one-out."""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from statespace.kalman.normal import seed_pair, standard_normal
from statespace.linalg_ops import gemm
from statespace.linalg_ops.arguments import broadcast_batches, positive_int
from statespace.models.linear_gaussian_regression import (
    leave_one_out,
    predict,
    weight_covariance,
    weight_deviations,
    weight_root,
)
from statespace.models.regression_arguments import (
    features,
    future_weights,
    observations,
)
from statespace.models.regression_array import CentredData, RegressionArray
from statespace.models.regression_fit import Fit

_OP = "BayesianLinearRegression"


class FittedState(NamedTuple):
    """What a fit leaves behind."""

    array: RegressionArray
    data: CentredData
    fit: Fit
    intercept: tf.Tensor  # posterior mean, [...]

    @property
    def features(self) -> tf.Tensor:
        """A tensor ``[..., D]`` of the data's batch axes, which those of the prior may exceed."""
        return self.array.origin[..., :-1]


class RegressionSample(NamedTuple):
    """Draws from the posterior."""

    weights: tf.Tensor  # [S, ..., D]
    intercept: tf.Tensor  # [S, ...]
    noise_scale: tf.Tensor  # [S, ...]


class RegressionPosterior:
    """The part of :class:`BayesianLinearRegression` that asks nothing of the data any more."""

    _state: FittedState | None = None

    @property
    def _fitted(self) -> FittedState:
        if self._state is None:
            raise ValueError(f"{_OP}: nothing is fitted yet. Call fit(x, y) first.")
        return self._state

    @property
    def coefficients(self) -> tf.Tensor:
        """Posterior mean of the weights, ``[..., D]``."""
        return self._fitted.fit.posterior.mean

    @property
    def intercept(self) -> tf.Tensor:
        """Posterior mean of the constant, ``[...]``; zero where there is none."""
        return self._fitted.intercept

    @property
    def coefficient_covariance(self) -> tf.Tensor:
        """Covariance of the weights, ``[..., D, D]``; infinite below three degrees of freedom."""
        variance = self._fitted.fit.noise_scale**2
        degrees = self._fitted.fit.degrees_of_freedom
        if degrees is not None:
            infinite = tf.constant(np.inf, degrees.dtype)
            safe = tf.where(degrees > 2, degrees, 3 * tf.ones_like(degrees))
            variance *= tf.where(degrees > 2, safe / (safe - 2), infinite)
        return variance[..., tf.newaxis, tf.newaxis] * weight_covariance(self._fitted.fit.posterior)

    @property
    def noise_scale(self) -> tf.Tensor:
        """Standard deviation of the noise at weight 1, ``[...]``; known, or estimated.

        Where the prior makes it unknown, the scale of the t distributions: for a flat prior the
        root of the residual sum of squares over its degrees of freedom.
        """
        return self._fitted.fit.noise_scale

    @property
    def weight_scale(self) -> tf.Tensor:
        """Standard deviations of the weights a priori, ``[..., D]``; known, or estimated.

        In units of the noise where the prior is (normal-inverse-gamma and Zellner's g).
        """
        return self._fitted.fit.weight_scale

    @property
    def degrees_of_freedom(self) -> tf.Tensor | None:
        """Of the t distributions, ``[...]``; None where the noise counts as known."""
        return self._fitted.fit.degrees_of_freedom

    @property
    def log_evidence(self) -> tf.Tensor:
        """Log density of y with the weights integrated out, ``[...]``.

        Flat priors, the intercept's among them, are integrated over with density one, so the
        evidences of models compare if they have the same ones. To differentiate it, take
        :func:`statespace.models.linear_gaussian_regression.log_evidence`.
        """
        return self._fitted.fit.log_evidence

    @property
    def converged(self) -> np.ndarray | None:
        """Whether the scales are at a maximum of the evidence, bool ``[...]``.

        False too where the noise tends to zero. None where none are estimated.
        """
        return self._fitted.fit.converged

    @property
    def num_observations(self) -> tf.Tensor:
        """Observations of positive weight, repetitions counted, ``[...]``."""
        return self._fitted.array.count

    def predict(self, x, *, weights=None, noise=True):
        """The distribution of observations at given features.

        Args:
          x: features, ``[..., M, D]``; batch axes broadcast with those of the data.
          weights: of the observations to come, positive; broadcasts against ``[..., M]``.
          noise: False for the distribution of intercept + x' w alone.

        Returns:
          ``tfd.Normal``, or ``tfd.StudentT`` where the noise is unknown, of batch shape
          ``[..., M]``: each point by itself.
        """
        mean, variance = self._moments(x)
        if noise:
            variance += 1.0 if weights is None else 1 / future_weights(weights, variance)
        return self._distribution(mean, variance)

    def covariance_root(self, x) -> tf.Tensor:
        """R with the joint covariance R R' of intercept + x' w at given features.

        Where the noise is unknown, R R' is the scale matrix of their t distribution.

        Args:
          x: features, ``[..., M, D]``, with the batch axes of the data.

        Returns:
          ``[..., M, K]``: a column for each weight, or for each weight and observation if there are
          fewer of these, and one for the intercept.
        """
        state = self._fitted
        x = features(x, state.fit.posterior.mean)
        root = gemm(x - state.data.x_mean[..., tf.newaxis, :], weight_root(state.fit.posterior))
        if state.data.total_weight is not None:
            own = 1 / tf.sqrt(state.data.total_weight)[..., tf.newaxis, tf.newaxis]
            own, root = broadcast_batches([own + tf.zeros_like(x[..., :1]), root], [2, 2])
            root = tf.concat([root, own], axis=-1)
        return state.fit.noise_scale[..., tf.newaxis, tf.newaxis] * root

    def coefficient_distribution(self):
        """The distribution of each weight by itself, normal or Student's t, ``[..., D]``.

        Under a flat prior, ``loc`` and ``scale`` are estimates and standard errors of regression.
        """
        root = weight_root(self._fitted.fit.posterior)
        return self._distribution(self.coefficients, tf.reduce_sum(root**2, axis=-1))

    def sample_weights(self, num_samples, *, seed) -> RegressionSample:
        """Draws weights, intercept and noise together from the posterior.

        Args:
          num_samples: S.
          seed: int, or two of them; the same seed gives the same draws.

        Returns:
          A :class:`RegressionSample`.
        """
        lead = [positive_int(f"{_OP}.sample_weights", "num_samples", num_samples)]
        seeds = tf.unstack(tf.random.split(seed_pair(_OP, seed), 3, alg="philox"))
        state = self._fitted
        fit, data = state.fit, state.data
        dtype, batch = fit.noise_scale.dtype, lead + fit.posterior.mean.shape[:-1].as_list()
        noise_scale = tf.broadcast_to(fit.noise_scale, batch)
        if fit.degrees_of_freedom is not None:
            # sigma^2 is (rate / shape) over a gamma variable of mean 1.
            shape = tf.broadcast_to(0.5 * fit.degrees_of_freedom, batch)
            gamma = tf.random.stateless_gamma(batch, seeds[0], shape, dtype=dtype)
            noise_scale *= tf.sqrt(shape / gamma)
        post = fit.posterior
        size = tf.shape(post.factor if post.directions is None else post.directions)[-1]
        variates = standard_normal(tf.concat([batch, [size]], 0), seeds[1], dtype)
        deviations = weight_deviations(post, variates[..., tf.newaxis])[..., 0]
        weights = fit.posterior.mean + noise_scale[..., tf.newaxis] * deviations
        intercept = state.intercept - tf.reduce_sum(
            data.x_mean * (weights - fit.posterior.mean), axis=-1
        )
        if data.total_weight is not None:
            own = noise_scale / tf.sqrt(data.total_weight)
            intercept += own * standard_normal(batch, seeds[2], dtype)
        return RegressionSample(weights, intercept, noise_scale)

    def leave_one_out(self, x, y, *, weights=None):
        """The distribution of each observation given all others, in closed form.

        The prior, and scales that were estimated, stay those of the fit to all. One of weight zero
        has the distribution of one of weight 1 that was not there.

        Args:
          x, y, weights: what was fitted.

        Returns:
          ``tfd.Normal`` or ``tfd.StudentT`` of batch shape ``[..., N]``; ``log_prob(y)`` is the log
          predictive density.

        Raises:
          ValueError: an observation alone determines a weight of flat prior; or, where the noise
            is unknown, x and y cannot be what was fitted, since one residual is larger than all.
        """
        data = observations("leave_one_out", x, y, weights, like=self._fitted.features)
        x, y, precision = data.x, data.y, data.precision()
        mean, variance = self._moments(x)
        left = 1 - precision * variance
        if np.any(left <= 8 * np.finfo(y.dtype.as_numpy_dtype).eps):
            index = [int(i) for i in np.argwhere(left <= np.min(left))[0]]
            raise ValueError(
                f"{_OP}: leave_one_out: observation {index} alone determines a weight, so that the "
                "others say nothing about it. Give that weight a prior of finite scale."
            )
        others = leave_one_out(y, mean, variance, precision)
        noise = 1 / tf.where(precision > 0, precision, tf.ones_like(precision))
        fit = self._fitted.fit
        degrees, scale = fit.degrees_of_freedom, fit.noise_scale[..., tf.newaxis]
        if degrees is not None:
            degrees = degrees[..., tf.newaxis]
            fewer = degrees - tf.cast(precision > 0, y.dtype)
            all_squares = scale**2 * degrees
            without = all_squares - precision * (y - mean) ** 2 / left
            _check_residuals(without, all_squares, precision * y**2)
            degrees, scale = fewer, tf.sqrt(tf.maximum(without, 0.0) / fewer)
        return _distribution(others[0], scale * tf.sqrt(others[1] + noise), degrees)

    def _moments(self, x):
        """Mean and variance of intercept + x' w, the latter in units of the noise."""
        state = self._fitted
        x = features(x, state.fit.posterior.mean)
        _, variance = predict(state.fit.posterior, x - state.data.x_mean[..., tf.newaxis, :])
        if state.data.total_weight is not None:
            variance += 1 / state.data.total_weight[..., tf.newaxis]
        mean = gemm(x, state.fit.posterior.mean[..., tf.newaxis])[..., 0]
        return state.intercept[..., tf.newaxis] + mean, variance

    def _distribution(self, mean, variance):
        """Normal or Student's t; the variance ``[..., K]`` in units of the noise."""
        fit = self._fitted.fit
        degrees = fit.degrees_of_freedom
        scale = fit.noise_scale[..., tf.newaxis] * tf.sqrt(variance)
        return _distribution(mean, scale, None if degrees is None else degrees[..., tf.newaxis])


def _check_residuals(without, all_squares, sizes):
    """No residual is larger than all of them together, but for rounding."""
    rounding = 1e3 * np.finfo(without.dtype.as_numpy_dtype).eps
    foreign = without < -(rounding * all_squares + rounding**2 * sizes)
    if np.any(foreign):
        index = [int(i) for i in np.argwhere(foreign)[0]]
        raise ValueError(
            f"{_OP}: leave_one_out: observation {index} is further off than all that were fitted "
            "together. Pass the same x, y and weights as were fitted."
        )


def _distribution(mean, scale, degrees):
    import tensorflow_probability as tfp

    if degrees is None:
        return tfp.distributions.Normal(mean, scale)
    return tfp.distributions.StudentT(degrees, mean, scale)
