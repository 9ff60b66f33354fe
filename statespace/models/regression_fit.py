"""What priors of a Bayesian linear regression have in common: the problem, its answer, checks."""

import math
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from statespace.linalg_ops.lq import dependent_rows
from statespace.models.arguments import as_tensor, check_broadcast
from statespace.models.linear_gaussian_regression import WeightPosterior
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


def with_unknown_noise(post, count, constant, shape, rate, weight_scale):
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


def for_each_weight(name, value, data):
    """The value ``[..., D]`` for each weight of each data set."""
    like = tf.zeros_like(data.x_mean)
    against = f"one value for each feature, {like.shape}"
    check_broadcast(_OP, name, value, like.shape, against)
    return value + like


def is_flat(scale):
    """1 for an infinite scale, 0 for others."""
    return tf.cast(tf.math.is_inf(scale), scale.dtype)


def finite(name, value, dtype):
    """The value as a tensor; raises ValueError where it is not finite."""
    value = as_tensor(_OP, name, value, dtype)
    _require(name, value, np.isfinite(value), "finite")
    return value


def positive(name, value, dtype):
    """The value as a tensor; raises ValueError where it is not positive and finite."""
    value = as_tensor(_OP, name, value, dtype)
    _require(name, value, (value > 0) & np.isfinite(value), "positive and finite")
    return value


def not_negative(name, value, dtype):
    """The value as a tensor; raises ValueError where it is negative."""
    value = as_tensor(_OP, name, value, dtype)
    _require(name, value, value >= 0, "zero or positive")
    return value


def _require(name, value, right, what):
    wrong = np.asarray(value)[~np.asarray(right)]
    if wrong.size:
        raise ValueError(f"{_OP}: {name} is {wrong[0]}; it must be {what}.")
