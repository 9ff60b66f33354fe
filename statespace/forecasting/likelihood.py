"""The log-likelihood of a structural model as a compiled function of its free coordinates."""

import tensorflow as tf

from statespace.kalman.filter import log_likelihood
from statespace.models.parameters import constrain


class DiffuseLikelihood:
    """log p(y | parameters) with a diffuse start, and its gradient.

    Both methods take many points at once, in one op, and are traced once for all series that are
    fitted with the same model.

    References:
      Durbin, J. and Koopman, S. J. (2012). Time Series Analysis by State Space Methods,
      2nd edition, section 7.2.2.
    """

    def __init__(self, model):
        self.model = model
        signature = [
            tf.TensorSpec([None, len(model.parameters)], tf.float64),
            tf.TensorSpec([None, 1], tf.float64),
        ]
        self._value = tf.function(self._evaluate, input_signature=signature, autograph=False)
        self._value_and_gradient = tf.function(
            self._differentiate, input_signature=signature, autograph=False
        )

    def value(self, free, y):
        """Log-likelihoods at many points.

        Args:
          free: free coordinates of S points, [S, p].
          y: the series in standardised units, [T].

        Returns:
          Array [S]; NaN where the filter failed.
        """
        return self._value(free, y[:, None]).numpy()

    def value_and_gradient(self, free, y):
        """As ``value``, with the gradients: arrays [S] and [S, p]."""
        value, gradient = self._value_and_gradient(free, y[:, None])
        return value.numpy(), gradient.numpy()

    def _evaluate(self, free, y):
        return log_likelihood(self.model.build(constrain(self.model.parameters, free)), y)

    def _differentiate(self, free, y):
        with tf.GradientTape() as tape:
            tape.watch(free)
            value = self._evaluate(free, y)
        return value, tape.gradient(value, free)
