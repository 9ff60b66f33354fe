"""Priors of a Bayesian linear regression, and what the data make of each."""

import dataclasses
import math
import warnings
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from statespace.linalg_ops import lq, triangular_solve
from statespace.linalg_ops.lq import dependent_rows
from statespace.models.evidence_maximisation import maximise
from statespace.models.linear_gaussian_regression import WeightPosterior, posterior
from statespace.models.refined_least_squares import refined_weights
from statespace.models.regression_arguments import Observations
from statespace.models.regression_array import CentredData

_OP = "BayesianLinearRegression"


class Problem(NamedTuple):
    """What a prior meets: data without intercept, and what is left of the likelihood."""

    data: CentredData
    count: tf.Tensor  # observations, the intercept's deducted, [...]
    constant: tf.Tensor  # of the log evidence: weights and intercept, [...]
    refine: Observations | None = None  # the data as given, where weights are to be refined


class Fit(NamedTuple):
    """Weights and noise given the data."""

    posterior: WeightPosterior  # its covariances in units of noise_scale^2
    noise_scale: tf.Tensor  # [...]
    degrees_of_freedom: tf.Tensor | None  # of Student's t; None: normal, noise known; [...]
    weight_scale: tf.Tensor  # standard deviations a priori, [..., D]
    log_evidence: tf.Tensor  # [...]
    refined_intercept: tf.Tensor | None = None  # where it was asked for, [...]
    converged: np.ndarray | None = None  # of an estimate of scales, bool [...]


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
        noise_scale = _positive("noise_scale", self.noise_scale, dtype)
        weight_scale = _not_negative("weight_scale", self.weight_scale, dtype)
        weight_scale = _for_each_weight("weight_scale", weight_scale, problem.data)
        relative = weight_scale / noise_scale[..., tf.newaxis]
        post, intercept = _posterior(problem, self.weight_mean, relative)
        count = problem.count - tf.reduce_sum(_is_flat(relative), axis=-1)
        log_likelihood = count * tf.math.log(2 * math.pi * noise_scale**2)
        log_likelihood += post.log_determinant + post.squared_distance / noise_scale**2
        evidence = problem.constant - 0.5 * log_likelihood
        return Fit(post, noise_scale, None, weight_scale, evidence, intercept)


@dataclasses.dataclass(frozen=True)
class EvidencePrior:
    """Scales of noise and weights at the maximum of the evidence, one for all weights or for each.

    With a scale for each (``per_feature``, automatic relevance determination), those of irrelevant
    features are zero at the maximum.
    """

    per_feature: bool = False

    def fit(self, problem: Problem) -> Fit:
        """The posterior at the scales that maximise the evidence."""
        scales = maximise(problem.data, problem.count, per_feature=self.per_feature)
        if not scales.converged.all():
            warnings.warn(
                f"{_OP}: no maximum of the evidence within reach in {np.sum(~scales.converged)} of "
                f"{scales.converged.size} data sets (see converged). Mostly, the weights then "
                "reproduce y exactly and the noise tends to zero: take fewer features, or fix the "
                "scales.",
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
        shape = _not_negative("shape", self.shape, dtype)
        rate = _not_negative("rate", self.rate, dtype)
        weight_scale = _not_negative("weight_scale", self.weight_scale, dtype)
        weight_scale = _for_each_weight("weight_scale", weight_scale, problem.data)
        post, intercept = _posterior(problem, self.weight_mean, weight_scale)
        count = problem.count - tf.reduce_sum(_is_flat(weight_scale), axis=-1)
        fitted = _unknown_noise(post, count, problem.constant, shape, rate, weight_scale)
        return fitted._replace(refined_intercept=intercept)


@dataclasses.dataclass(frozen=True)
class ZellnerG:
    """Zellner's g-prior: w | sigma^2 ~ N(0, g sigma^2 (X' X)^-1), flat in log sigma and intercept.

    The prior looks like the data would, with 1 / g of their weight: it does not depend on units, or
    on how the features are combined. The posterior is that of least squares, shrunk by g / (1 + g).

    Args:
      g: a positive number; None: the number of observations (unit information); "evidence": where
        the evidence is highest, zero for features that explain no more than chance.

    References:
      Liang et al., Mixtures of g Priors for Bayesian Variable Selection, JASA 103 (2008).

    Example:

      >>> import numpy as np
      >>> import statespace as ss
      >>> x, y = np.array([[0.0], [1.0], [2.0]]), np.array([0.0, 1.0, 3.0])
      >>> model = ss.models.BayesianLinearRegression(ss.models.ZellnerG(g=3.0)).fit(x, y)
      >>> print(model.coefficients.numpy())  # 1.5 by least squares
      [1.125]
    """

    g: float | str | None = None

    def fit(self, problem: Problem) -> Fit:
        """The posterior, from X = Q_x L_x' and y = Q_x z + a rest of length rho."""
        if problem.refine is not None:
            raise ValueError(f"{_OP}: refine=True does not go with Zellner's g-prior.")
        data, dtype = problem.data, problem.data.x.dtype
        rows = tf.concat([data.x, data.y[..., tf.newaxis]], axis=-1)
        columns = rows.shape[-1] - 1
        l = lq(tf.linalg.matrix_transpose(rows), mode="l")
        if rows.shape[-2] < columns:
            raise ValueError(
                f"{_OP}: Zellner's g-prior needs at least as many observations as features "
                f"({columns}), the intercept's not counted. Use prior='evidence'."
            )
        factor, z = l[..., :columns, :columns], l[..., columns, :columns]
        refuse_dependent(factor, tf.ones_like(z), rows.shape[-2])
        explained = tf.reduce_sum(z**2, axis=-1)
        rest = tf.reduce_sum(l[..., columns, columns:] ** 2, axis=-1)
        g = self._value(problem.count, explained, rest, columns)
        g = tf.cast(g, dtype) + tf.zeros_like(rest)
        shrinkage = g / (1 + g)
        solution = triangular_solve(factor, z[..., tf.newaxis], adjoint=True)[..., 0]
        post = WeightPosterior(
            mean=shrinkage[..., tf.newaxis] * solution,
            scale=tf.sqrt(shrinkage)[..., tf.newaxis] + tf.zeros_like(z),
            factor=factor,
            directions=None,
            log_evidence=tf.zeros_like(rest),
            squared_distance=rest + explained / (1 + g),
            log_determinant=columns * tf.math.log1p(g),
        )
        zero = tf.zeros([], dtype)
        inverse = triangular_solve(factor, tf.linalg.diag(tf.ones_like(z)))
        scale = tf.sqrt(g[..., tf.newaxis]) * tf.norm(inverse, axis=-2)
        return _unknown_noise(post, problem.count, problem.constant, zero, zero, scale)

    def _value(self, count, explained, rest, columns):
        if self.g is None:
            return count
        if self.g == "evidence":  # Liang et al., equation 9
            free = count - columns
            return tf.maximum(explained / columns / (rest / free) - 1, tf.zeros_like(rest))
        return _positive("g", self.g, rest.dtype)


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
        "FixedPrior, NormalInverseGamma or ZellnerG."
    )


def refuse_dependent(factor, flat, num_rows):
    """Raises ValueError where a weight of flat prior is not told apart from those before it."""
    dependent = dependent_rows(factor, num_rows + factor.shape[-1]).numpy() & (flat.numpy() > 0)
    if dependent.any():
        *batch, column = (int(i) for i in np.argwhere(dependent)[0])
        where = f", batch index {batch}" if batch else ""
        raise ValueError(
            f"{_OP}: column {column} of x{where} is a combination of the columns before it (and "
            "the intercept), and the prior says nothing about its weight. Leave it out, or give it "
            "a prior of finite scale."
        )


def _posterior(problem, weight_mean, relative):
    """The posterior in units of the noise, and the intercept if that is refined too."""
    data = problem.data
    weight_mean = _for_each_weight("weight_mean", _tensor(weight_mean, data.x.dtype), data)
    post = posterior(data.x, data.y, 1.0, relative, prior_mean=weight_mean)
    flat = _is_flat(relative)
    if post.factor is not None and np.any(flat):
        refuse_dependent(post.factor, flat, data.x.shape[-2])
    if problem.refine is None:
        return post, None
    mean, intercept, square = refined_weights(
        problem.refine, data.total_weight is not None, weight_mean, relative
    )
    return post._replace(mean=mean, squared_distance=square), intercept


def _unknown_noise(post, count, constant, shape, rate, weight_scale):
    """Normal-inverse-gamma from the distance of y; improper priors leave their constant out."""
    posterior_shape, posterior_rate = shape + 0.5 * count, rate + 0.5 * post.squared_distance
    if not np.all(posterior_shape > 0):
        raise ValueError(
            f"{_OP}: as many weights as observations, or more, and a prior that says nothing about "
            "the noise: it cannot be estimated. Give weight_scale, or shape and rate."
        )
    log_2pi = math.log(2 * math.pi)
    evidence = constant - 0.5 * (count * log_2pi + post.log_determinant)
    evidence += tf.math.lgamma(posterior_shape) - posterior_shape * tf.math.log(posterior_rate)
    proper = (shape > 0) & (rate > 0)
    safe_shape, safe_rate = (tf.where(proper, v, tf.ones_like(v)) for v in (shape, rate))
    evidence += safe_shape * tf.math.log(safe_rate) - tf.math.lgamma(safe_shape)
    noise_scale = tf.sqrt(posterior_rate / posterior_shape)
    return Fit(post, noise_scale, 2 * posterior_shape, weight_scale, evidence)


def _for_each_weight(name, value, data):
    """The value ``[..., D]`` for each weight of each data set."""
    like = tf.zeros_like(data.x_mean)
    try:
        tf.broadcast_static_shape(value.shape, like.shape)
    except ValueError as error:
        raise ValueError(
            f"{_OP}: {name} has shape {value.shape}; it must broadcast against one value for each "
            f"feature, {like.shape}."
        ) from error
    return value + like


def _is_flat(scale):
    return tf.cast(tf.math.is_inf(scale), scale.dtype)


def _tensor(value, dtype):
    # By NumPy, for TensorFlow alone would take Python's numbers for float32 first.
    return tf.cast(value if tf.is_tensor(value) else np.asarray(value), dtype)


def _positive(name, value, dtype):
    value = _tensor(value, dtype)
    if not np.all(value > 0):
        raise ValueError(f"{_OP}: {name} is {np.min(value)}; it must be positive.")
    return value


def _not_negative(name, value, dtype):
    value = _tensor(value, dtype)
    if not np.all(value >= 0):
        raise ValueError(f"{_OP}: {name} is {np.min(value)}; it must not be negative.")
    return value
