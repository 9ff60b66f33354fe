"""Priors of a Bayesian linear regression, and what the data make of each."""

import dataclasses
import math
import warnings

import numpy as np
import tensorflow as tf

from statespace.models.evidence_maximisation import maximise
from statespace.models.linear_gaussian_regression import posterior
from statespace.models.refined_least_squares import refined_weights
from statespace.models.regression_arguments import broadcast_against
from statespace.models.regression_fit import (
    Fit,
    Problem,
    finite,
    for_each_weight,
    is_flat,
    not_negative,
    positive,
    refuse_dependent,
    with_unknown_noise,
)
from statespace.models.zellner_prior import ZellnerG

_OP = "BayesianLinearRegression"


@dataclasses.dataclass(frozen=True)
class FixedPrior:
    """Known noise and weights that are normal a priori: w_j ~ N(weight_mean_j, weight_scale_j^2).

    Args:
      noise_scale: standard deviation of the noise of an observation of weight 1; ``[...]``.
      weight_scale: broadcasts against ``[..., D]``; infinite for a flat prior, zero for a weight
        that is known.
      weight_mean: broadcasts against ``[..., D]``.

    Example:

      >>> import numpy as np
      >>> import statespace as ss
      >>> prior = ss.models.FixedPrior(noise_scale=1.0, weight_scale=1.0)
      >>> model = ss.models.BayesianLinearRegression(prior, intercept=False)
      >>> model.fit(np.array([[1.0], [1.0]]), np.array([1.0, 2.0])).coefficients.numpy()
      array([1.])
    """

    noise_scale: float | np.ndarray | tf.Tensor
    weight_scale: float | np.ndarray | tf.Tensor
    weight_mean: float | np.ndarray | tf.Tensor = 0.0

    def fit(self, problem: Problem) -> Fit:
        """The posterior at these values."""
        dtype = problem.data.x.dtype
        noise_scale = positive("noise_scale", self.noise_scale, dtype)
        weight_scale = not_negative("weight_scale", self.weight_scale, dtype)
        weight_scale = for_each_weight("weight_scale", weight_scale, problem.data)
        relative = weight_scale / noise_scale[..., tf.newaxis]
        post, intercept = _posterior(problem, self.weight_mean, relative)
        count = problem.count - tf.reduce_sum(is_flat(relative), axis=-1)
        log_likelihood = count * tf.math.log(2 * math.pi * noise_scale**2)
        log_likelihood += post.log_determinant + post.squared_distance / noise_scale**2
        evidence = problem.constant - 0.5 * log_likelihood
        return Fit(post, noise_scale, None, weight_scale, evidence, intercept)


@dataclasses.dataclass(frozen=True)
class EvidencePrior:
    """Scales of noise and weights at the maximum of the evidence, one for all weights or for each.

    With a scale for each (automatic relevance determination), those of irrelevant features are zero
    at the maximum.

    With a scale for each of as many features as observations or more, mostly no maximum exists: as
    the noise tends to zero, ever more features come in and the evidence grows, up to weights that
    reproduce y. Where ``noise_scale`` is given, the maximum exists however many features there are.
    That of a fit with one scale for all (``"evidence"``) may do.

    Args:
      per_feature: a scale for each weight, or one for all.
      noise_scale: standard deviation of the noise of an observation of weight 1, ``[...]``; None:
        estimated.

    References:
      MacKay, D. J. C. (1992). Bayesian interpolation. Neural Computation 4.
      Tipping, M. E. (2001). Sparse Bayesian learning and the relevance vector machine. JMLR 1.

    Example:

      >>> import numpy as np
      >>> import statespace as ss
      >>> x = np.random.default_rng(0).normal(size=(20, 40))
      >>> y = 3.0 * x[:, 0] - 2.0 * x[:, 1]
      >>> prior = ss.models.EvidencePrior(per_feature=True, noise_scale=0.5)
      >>> weights = ss.models.BayesianLinearRegression(prior).fit(x, y).coefficients.numpy()
      >>> print(np.flatnonzero(weights), weights[:2].round(1))
      [0 1] [ 3. -2.]
    """

    per_feature: bool = False
    noise_scale: float | np.ndarray | tf.Tensor | None = None

    def fit(self, problem: Problem) -> Fit:
        """The posterior at the scales that maximise the evidence."""
        noise_scale = self.noise_scale
        if noise_scale is not None:
            noise_scale = positive("noise_scale", noise_scale, problem.data.x.dtype)
            # One value a data set.
            noise_scale = broadcast_against(_OP, "noise_scale", noise_scale, problem.data.y_mean)
        scales = maximise(
            problem.data, problem.count, per_feature=self.per_feature, noise_scale=noise_scale
        )
        if not scales.converged.all():
            warnings.warn(
                f"{_OP}: no maximum of the evidence within reach in {np.sum(~scales.converged)} of "
                f"{scales.converged.size} data sets (see converged). Mostly, the weights then "
                "reproduce y exactly and the noise tends to zero: take fewer features, or give the "
                "noise: prior=EvidencePrior(per_feature, noise_scale).",
                stacklevel=4,
            )
        fitted = FixedPrior(scales.noise_scale, scales.weight_scale).fit(problem)
        return fitted._replace(converged=scales.converged)


@dataclasses.dataclass(frozen=True)
class NormalInverseGamma:
    """Unknown noise: sigma^2 ~ InverseGamma(shape, rate), w | sigma^2 ~ N(mean, sigma^2 scale^2).

    Weights and predictions follow Student's t. By default the prior is flat in the weights and in
    log sigma, which gives least squares and its classical intervals.

    Args:
      weight_scale: in units of sigma; broadcasts against ``[..., D]``; infinite for a flat prior.
      shape: of the inverse gamma distribution, ``[...]``; with ``rate`` zero for a prior that is
        flat in log sigma.
      rate: its mean is ``rate / (shape - 1)``.
      weight_mean: broadcasts against ``[..., D]``.

    References:
      Gelman et al., Bayesian Data Analysis, 3rd ed., sections 3.3 and 14.2.

    Example:

      >>> import numpy as np
      >>> import statespace as ss
      >>> x, y = np.array([[0.0], [1.0], [2.0]]), np.array([0.0, 1.0, 3.0])
      >>> model = ss.models.BayesianLinearRegression(ss.models.NormalInverseGamma()).fit(x, y)
      >>> print(np.round(model.coefficient_distribution().scale, 4))  # standard error
      [0.2887]
    """

    weight_scale: float | np.ndarray | tf.Tensor = math.inf
    shape: float | np.ndarray | tf.Tensor = 0.0
    rate: float | np.ndarray | tf.Tensor = 0.0
    weight_mean: float | np.ndarray | tf.Tensor = 0.0

    def fit(self, problem: Problem) -> Fit:
        """The normal-inverse-gamma posterior."""
        dtype = problem.data.x.dtype
        shape = not_negative("shape", finite("shape", self.shape, dtype), dtype)
        rate = not_negative("rate", finite("rate", self.rate, dtype), dtype)
        weight_scale = not_negative("weight_scale", self.weight_scale, dtype)
        weight_scale = for_each_weight("weight_scale", weight_scale, problem.data)
        post, intercept = _posterior(problem, self.weight_mean, weight_scale)
        count = problem.count - tf.reduce_sum(is_flat(weight_scale), axis=-1)
        fitted = with_unknown_noise(post, count, problem.constant, shape, rate, weight_scale)
        return fitted._replace(refined_intercept=intercept)


_NAMED = {
    "evidence": EvidencePrior(),
    "ard": EvidencePrior(per_feature=True),
    "flat": NormalInverseGamma(),
}


def prior_of(prior):
    """The prior that a name or an object stands for; raises ValueError if it is none."""
    if isinstance(prior, (FixedPrior, EvidencePrior, NormalInverseGamma, ZellnerG)):
        return prior
    if isinstance(prior, str) and prior in _NAMED:
        return _NAMED[prior]
    raise ValueError(
        f"{_OP}: prior is {prior!r}; it must be one of {', '.join(map(repr, _NAMED))}, or a "
        "FixedPrior, EvidencePrior, NormalInverseGamma or ZellnerG."
    )


def _posterior(problem, weight_mean, relative):
    """The posterior in units of the noise, and the intercept if that is refined too."""
    data = problem.data
    weight_mean = for_each_weight(
        "weight_mean", finite("weight_mean", weight_mean, data.x.dtype), data
    )
    post = posterior(data.x, data.y, 1.0, relative, prior_mean=weight_mean)
    flat = is_flat(relative)
    if post.factor is not None and np.any(flat):
        refuse_dependent(post.factor, flat, data.x.shape[-2])
    if problem.refine is None:
        return post, None
    mean, intercept, square = refined_weights(
        problem.refine, data.total_weight is not None, weight_mean, relative
    )
    return post._replace(mean=mean, squared_distance=square), intercept
