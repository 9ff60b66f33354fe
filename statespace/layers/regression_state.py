"""The posterior of several regressions on the same features, in arrays of fixed shapes."""

from typing import NamedTuple

import tensorflow as tf

from statespace.linalg_ops import gemm, lq
from statespace.models import linear_gaussian_regression as regression
from statespace.models.centring import without_mean


class RegressionState(NamedTuple):
    """Weights of unit u ~ N(kernel_u, root_u root_u'), and the regression where features are mean.

    Of variables of a layer, or of tensors.
    """

    feature_mean: tf.Tensor  # [D]
    target_mean: tf.Tensor  # [U]
    target_mean_variance: tf.Tensor  # [U]
    kernel: tf.Tensor  # [U, D]
    root: tf.Tensor  # [U, D, D]


def condition(features, targets, noise_scale, weight_scale, use_bias):
    """The posterior given data, and the log evidence.

    With a bias of which nothing is known, data without their mean are independent of it. It is
    integrated out: a factor (2 pi noise_scale^2)^((1 - N) / 2) / sqrt(N) of the evidence.

    Args:
      features: ``[N, D]``.
      targets: ``[N, U]``.
      noise_scale, weight_scale: ``[U]``.
      use_bias: whether there is a bias.

    Returns:
      A :class:`RegressionState`, and ``[U]``.
    """
    centres = [tf.zeros_like(x[0]) for x in (features, targets)]
    variance, constant = tf.zeros_like(noise_scale), 0.0
    if use_bias:
        count = tf.cast(tf.shape(features)[0], features.dtype)
        centres = [tf.reduce_mean(x, axis=0) for x in (features, targets)]
        features, targets = (
            without_mean(x - centre) for x, centre in zip((features, targets), centres, strict=True)
        )
        variance, constant = noise_scale**2 / count, -0.5 * tf.math.log(count)
    post = regression.posterior(
        features[tf.newaxis],
        tf.transpose(targets),
        noise_scale[:, tf.newaxis],
        weight_scale[:, tf.newaxis],
    )
    root = lq(regression.weight_root(post), mode="l")
    return RegressionState(*centres, variance, post.mean, root), post.log_evidence + constant


def predicted_mean(state: RegressionState, features):
    """``[..., U]`` at features ``[..., D]``."""
    moved = features - state.feature_mean
    return state.target_mean + tf.linalg.matmul(moved, state.kernel, transpose_b=True)


def predicted_variance(state: RegressionState, features):
    """Of what ``predicted_mean`` estimates: |root' x|^2 and so not negative, ``[..., U]``."""
    x = flat(features - state.feature_mean)
    spread = gemm(state.root, x[tf.newaxis], transpose_a=True, transpose_b=True)
    variance = tf.transpose(tf.reduce_sum(spread**2, axis=-2)) + state.target_mean_variance
    return tf.reshape(variance, tf.concat([tf.shape(features)[:-1], tf.shape(variance)[1:]], 0))


def flat(x):
    """All leading axes in one, ``[N, D]``."""
    return tf.reshape(x, [-1, x.shape[-1]])
