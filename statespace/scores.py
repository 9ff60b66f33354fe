"""How good a probabilistic forecast was, outcome by outcome: the formulas, in TensorFlow.

Every function broadcasts its arguments, tensors of one dtype, and is differentiable in all of them.
"""

import math

import tensorflow as tf


def crps_normal(actual, mean, standard_deviation) -> tf.Tensor:
    """Continuous ranked probability score of normal distributions; less is better.

        CRPS(F, y) = integral (F(x) - 1{x >= y})^2 dx
                   = sigma (z (2 Phi(z) - 1) + 2 phi(z) - 1 / sqrt(pi)),    z = (y - mu) / sigma

    It is in units of the data and equals ``|y - mu|`` where sigma is zero.

    References:
      Gneiting, T. and Raftery, A. E. (2007). Strictly proper scoring rules, prediction, and
      estimation. Journal of the American Statistical Association 102(477), 359-378, section 4.2.

    Example:
      >>> print(f"{crps_normal(tf.constant(1.0), tf.constant(0.0), tf.constant(1.0)):.4f}")
      0.6024
    """
    error = actual - mean
    spread = standard_deviation > 0
    z = error / tf.where(spread, standard_deviation, tf.ones_like(standard_deviation))
    density = tf.exp(-0.5 * z**2) / math.sqrt(2 * math.pi)
    # 2 Phi(z) - 1 = erf(z / sqrt 2), and error (2 Phi(z) - 1) is sigma z (2 Phi(z) - 1).
    score = error * tf.math.erf(z / math.sqrt(2))
    score += standard_deviation * (2 * density - 1 / math.sqrt(math.pi))
    return tf.where(spread, score, tf.abs(error))


def log_score_normal(actual, mean, standard_deviation) -> tf.Tensor:
    """Minus the log-density of normal distributions; less is better.

        -log N(y; mu, sigma^2) = z^2 / 2 + log sigma + log(2 pi) / 2,    z = (y - mu) / sigma

    Infinite, or minus infinity, where sigma is zero.

    References:
      Gneiting, T. and Raftery, A. E. (2007), as above, section 4.1.

    Example:
      >>> print(f"{log_score_normal(tf.constant(1.0), tf.constant(0.0), tf.constant(1.0)):.4f}")
      1.4189
    """
    z = (actual - mean) / standard_deviation
    return 0.5 * z**2 + tf.math.log(standard_deviation) + 0.5 * math.log(2 * math.pi)


def inside(actual, lower, upper) -> tf.Tensor:
    """bool: whether outcomes lie in their intervals, whose ends belong to them.

    Example:
      >>> inside(tf.constant([1.0, 3.0]), tf.constant(0.0), tf.constant(1.0)).numpy()
      array([ True, False])
    """
    return tf.logical_and(lower <= actual, actual <= upper)
