"""Expected improvement in closed form, for normal and Student's t predictions."""

import math

import numpy as np
import tensorflow as tf

from statespace.models.arguments import as_tensor, refuse_where

_OP = "active.expected_improvement"


def expected_improvement(distribution, best, *, maximise=False) -> tf.Tensor:
    """How far f is expected to fall below the best value so far; no improvement counts as zero.

        E max(best - f, 0) = s (u Phi(u) + phi(u)),    u = (best - m) / s

    for a normal f with mean m and standard deviation s. For Student's t with v degrees of freedom,
    location m and scale s it is ``s (u T(u) + (v + u^2) / (v - 1) t(u))``, and infinite if v <= 1.
    Differentiable in all arguments, but for the degrees of freedom.

    Args:
      distribution: of f at each candidate, without noise: ``tfd.Normal`` or ``tfd.StudentT``, as
        ``predict(candidates, noise=False)`` of a model returns it.
      best: the lowest value so far, the highest if ``maximise``; broadcasts against the batch
        shape. With noisy observations, take the lowest predicted mean instead.
      maximise: whether an improvement is a higher value.

    Returns:
      A value for each member of the distribution's batch.

    Raises:
      ValueError: the distribution is neither normal nor Student's t, or ``best`` is NaN.

    References:
      Jones, D. R., Schonlau, M. and Welch, W. J. (1998). Efficient global optimization of expensive
      black-box functions. Journal of Global Optimization 13.
      Tracey, B. and Wolpert, D. (2018). Upgrading from Gaussian processes to Student's-t processes.
      AIAA Non-Deterministic Approaches Conference.

    Example:

      >>> import tensorflow_probability as tfp
      >>> from statespace import active
      >>> f = tfp.distributions.Normal([0.0, 1.0], [1.0, 2.0])
      >>> active.expected_improvement(f, 0.0).numpy().round(4)
      array([0.3989, 0.3956], dtype=float32)
    """
    return tf.exp(log_expected_improvement(distribution, best, maximise=maximise))


def log_expected_improvement(distribution, best, *, maximise=False) -> tf.Tensor:
    """The logarithm of :func:`expected_improvement`, where that itself has long become zero.

    Far from the best points expected improvement is exp(-u^2 / 2) and less, zero to the last bit,
    and has no slope. Its logarithm has one, to be followed by an optimiser. (For Student's t,
    whose tails are heavier, it ends at that of the smallest number of the dtype.)

    Args:
      distribution, best, maximise: as there.

    References:
      Ament, S. et al. (2023). Unexpected improvements to expected improvement for Bayesian
      optimization. NeurIPS 36.

    Example:

      >>> import numpy as np, tensorflow_probability as tfp
      >>> from statespace import active
      >>> f = tfp.distributions.Normal(np.float64(100.0), 1.0)
      >>> print(f"{active.log_expected_improvement(f, 0.0):.4f}")
      -5010.1296
    """
    import tensorflow_probability as tfp

    is_student = isinstance(distribution, tfp.distributions.StudentT)
    if not is_student and not isinstance(distribution, tfp.distributions.Normal):
        raise ValueError(
            f"{_OP}: distribution is a {type(distribution).__name__}; it must be a Normal or a "
            "StudentT of TensorFlow Probability."
        )
    best = as_tensor(_OP, "best", best, distribution.dtype)
    refuse_where(_OP, "best", best, np.isnan, "leave that value out")
    gap = distribution.loc - best if maximise else best - distribution.loc
    # Where f is certain, the improvement is the gap itself.
    certain = tf.equal(distribution.scale, 0)
    scale = tf.where(certain, tf.ones_like(distribution.scale), distribution.scale)
    u = gap / scale
    log_ratio = _log_student(u, distribution.df) if is_student else _log_normal(u)
    return tf.where(certain, _log_positive(gap), tf.math.log(scale) + log_ratio)


def _log_positive(gap):
    """log(gap), minus infinity where it is not positive."""
    positive = gap > 0
    log = tf.math.log(tf.where(positive, gap, tf.ones_like(gap)))
    return tf.where(positive, log, tf.constant(-np.inf, gap.dtype))


def _log_normal(u):
    """log(u Phi(u) + phi(u)), in three ranges.

    Below -1 the two terms cancel. With x = -u and Mills' ratio r(x) = (1 - Phi(x)) / phi(x), it is
    log phi(x) + log(1 - x r(x)), which loses x^2 epsilon. The series
    1 - x r(x) ~ 1/x^2 - 3/x^4 + 15/x^6 - 105/x^8 takes over where its loss, 945/x^8, is no more.
    """
    import tensorflow_probability as tfp

    far = (945 / np.finfo(u.dtype.as_numpy_dtype).eps) ** 0.1
    one = tf.ones_like(u)
    # Each range gets arguments of its own only, so that no gradient is infinity times zero.
    high = tf.maximum(u, -one)
    direct = 0.5 * high * tf.math.erfc(-high / math.sqrt(2)) + tf.exp(_log_density(high))
    x = tf.clip_by_value(-u, 1.0, far)
    mills = math.sqrt(0.5 * math.pi) * tfp.math.erfcx(x / math.sqrt(2))
    inverse = 1 / tf.maximum(-u, far * one) ** 2
    series = inverse * (1 - inverse * (3 - inverse * (15 - 105 * inverse)))
    tail = tf.where(u > -far, tf.math.log1p(-x * mills), tf.math.log(series))
    return tf.where(u > -1, tf.math.log(direct), _log_density(tf.minimum(u, -one)) + tail)


def _log_density(u):
    return -0.5 * u**2 - 0.5 * math.log(2 * math.pi)


def _log_student(u, degrees):
    """log(u T(u) + (v + u^2) / (v - 1) t(u)); infinite for v <= 1."""
    import tensorflow_probability as tfp

    finite = degrees > 1
    degrees = tf.where(finite, degrees, 2 * tf.ones_like(degrees))
    standard = tfp.distributions.StudentT(degrees, tf.zeros_like(u), tf.ones_like(u))
    density = (degrees + u**2) / (degrees - 1) * standard.prob(u)
    least = tf.constant(np.finfo(u.dtype.as_numpy_dtype).tiny, u.dtype)
    value = tf.math.log(tf.maximum(u * standard.cdf(u) + density, least))
    return tf.where(finite, value, tf.constant(np.inf, value.dtype))
