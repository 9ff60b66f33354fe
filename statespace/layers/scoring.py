"""Losses and metrics of normal predictions: mean and standard deviation in one tensor.

Predictions are ``[..., 2 m]``: m means, then as many standard deviations, as the Kalman layers give
them with ``join_standard_deviation=True``. Outcomes are ``[..., m]``; those that are NaN, and the
steps that the predictions' mask leaves out, do not count.
"""

import keras
import tensorflow as tf

from statespace import scores


class _Loss(keras.losses.Loss):
    """The mean of a score over what is known."""

    score = None
    default_name = ""

    def __init__(self, reduction="mean_with_sample_weight", name=None, dtype=None):
        super().__init__(name or self.default_name, reduction, dtype)

    def __call__(self, y_true, y_pred, sample_weight=None):
        """The mean, weighted if there are weights ``[batch]``, ``[batch, time]`` or more."""
        y_true, weight = _known(self.name, y_true, y_pred, sample_weight, self.dtype)
        return super().__call__(y_true, tf.identity(y_pred), sample_weight=weight)

    def call(self, y_true, y_pred):
        """The score of each outcome, ``[..., m]``."""
        return _scored(self.score, y_true, y_pred)


@keras.saving.register_keras_serializable(package="statespace")
class GaussianLogScore(_Loss):
    """Minus the mean log-density of outcomes under normal predictions.

        -log N(y; mu, sigma^2) = z^2 / 2 + log sigma + log(2 pi) / 2,    z = (y - mu) / sigma

    Of each variable by itself; the likelihood of a whole series, correlations and all, is what
    ``likelihood_weight`` of the layers adds.

    Args:
      reduction: as of other losses of Keras; the default is the mean over what is known.
      **kwargs: ``name`` and ``dtype``.

    It is called with outcomes ``[..., m]``, NaN where missing, and means and standard deviations
    ``[..., 2 m]``.

    Raises:
      ValueError: when called, the last axes do not fit each other.

    References:
      Gneiting, T. and Raftery, A. E. (2007). Strictly proper scoring rules, prediction, and
      estimation. Journal of the American Statistical Association 102(477), 359-378.

    Example:

      >>> import numpy as np, statespace as ss
      >>> loss = ss.layers.GaussianLogScore()
      >>> print(f"{loss(np.array([[1.0], [np.nan]]), np.array([[0.0, 1.0], [0.0, 1.0]])):.4f}")
      1.4189
    """

    score = staticmethod(scores.log_score_normal)
    default_name = "gaussian_log_score"


@keras.saving.register_keras_serializable(package="statespace")
class GaussianCRPS(_Loss):
    """Mean continuous ranked probability score of normal predictions, in units of the data.

        sigma (z (2 Phi(z) - 1) + 2 phi(z) - 1 / sqrt(pi)),    z = (y - mu) / sigma

    Unlike the log score it grows no faster than the error, so outliers weigh less.

    Arguments, calls and references are those of :class:`GaussianLogScore`.

    Example:

      >>> import numpy as np, statespace as ss
      >>> print(f"{ss.layers.GaussianCRPS()(np.array([[1.0]]), np.array([[0.0, 1.0]])):.4f}")
      0.6024
    """

    score = staticmethod(scores.crps_normal)
    default_name = "gaussian_crps"


class _Metric(keras.metrics.Mean):
    """The mean of a score over what is known in all batches."""

    score = None
    default_name = ""

    def __init__(self, name=None, dtype=None):
        super().__init__(name or self.default_name, dtype)

    def update_state(self, y_true, y_pred, sample_weight=None):
        """Takes a batch in."""
        y_true, weight = _known(self.name, y_true, y_pred, sample_weight, self.dtype)
        values = _scored(self.score, y_true, tf.cast(y_pred, self.dtype))
        super().update_state(tf.reshape(values, [-1]), tf.reshape(weight, [-1]))


@keras.saving.register_keras_serializable(package="statespace")
class MeanGaussianLogScore(_Metric):
    """:class:`GaussianLogScore` as a metric: the mean over all batches.

    Args:
      name, dtype: as of other metrics of Keras.

    Example:

      >>> import numpy as np, statespace as ss
      >>> metric = ss.layers.MeanGaussianLogScore()
      >>> metric.update_state(np.array([[1.0], [np.nan]]), np.array([[0.0, 1.0], [0.0, 1.0]]))
      >>> print(f"{metric.result():.4f}")
      1.4189
    """

    score = staticmethod(scores.log_score_normal)
    default_name = "gaussian_log_score"


@keras.saving.register_keras_serializable(package="statespace")
class MeanGaussianCRPS(_Metric):
    """:class:`GaussianCRPS` as a metric: the mean over all batches.

    Args:
      name, dtype: as of other metrics of Keras.

    Example:

      >>> import numpy as np, statespace as ss
      >>> metric = ss.layers.MeanGaussianCRPS()
      >>> metric.update_state(np.array([[1.0]]), np.array([[0.0, 1.0]]))
      >>> print(f"{metric.result():.4f}")
      0.6024
    """

    score = staticmethod(scores.crps_normal)
    default_name = "gaussian_crps"


@keras.saving.register_keras_serializable(package="statespace")
class IntervalCoverage(_Metric):
    """Share of the outcomes that lie in the central intervals of normal predictions.

    Calibrated predictions have a coverage of ``level``.

    Args:
      level: probability of the intervals, between 0 and 1.
      name, dtype: as of other metrics of Keras.

    Raises:
      ValueError: ``level`` is not between 0 and 1.

    Example:

      >>> import numpy as np, statespace as ss
      >>> metric = ss.layers.IntervalCoverage(0.9)
      >>> metric.update_state(np.array([[1.0], [2.0]]), np.array([[0.0, 1.0], [0.0, 1.0]]))
      >>> float(metric.result())
      0.5
    """

    default_name = "interval_coverage"

    def __init__(self, level=0.9, name=None, dtype=None):
        if not 0 < level < 1:
            raise ValueError(f"IntervalCoverage: level is {level!r}; it must be between 0 and 1.")
        super().__init__(name, dtype)
        self.level = float(level)

    def get_config(self):
        """Everything that ``from_config`` needs."""
        return {**super().get_config(), "level": self.level}

    def score(self, actual, mean, deviation):
        """1 for an outcome inside of its interval, 0 outside."""
        half = deviation * tf.math.ndtri(tf.constant((1 + self.level) / 2, mean.dtype))
        return tf.cast(scores.inside(actual, mean - half, mean + half), mean.dtype)


def _scored(score, y_true, y_pred):
    """A score of each outcome; what is missing counts as if it had been the mean."""
    mean, deviation = tf.split(y_pred, 2, axis=-1)
    return score(tf.where(tf.math.is_nan(y_true), mean, y_true), mean, deviation)


def _known(name, y_true, y_pred, sample_weight, dtype):
    """The outcomes, and the weight of each: zero where it is missing or masked, ``[..., m]``."""
    y_true = tf.cast(y_true, dtype)
    shape, predicted = y_true.shape, tf.convert_to_tensor(y_pred).shape
    if shape.rank is not None and predicted.rank is not None:
        wanted = [*shape[:-1], None if shape[-1] is None else 2 * shape[-1]]
        if not predicted.is_compatible_with(wanted):
            raise ValueError(
                f"{name}: y_true has shape {shape} and y_pred {predicted}; y_pred must be means "
                f"and standard deviations, {tf.TensorShape(wanted)}, as Kalman layers return them "
                f"with join_standard_deviation=True."
            )
    weight = tf.cast(tf.logical_not(tf.math.is_nan(y_true)), dtype)
    for factor in (getattr(y_pred, "_keras_mask", None), sample_weight):
        if factor is not None:
            factor = tf.cast(factor, dtype)
            weight *= tf.reshape(
                factor, tf.concat([tf.shape(factor), [1] * (shape.rank - factor.shape.rank)], 0)
            )
    return y_true, weight
