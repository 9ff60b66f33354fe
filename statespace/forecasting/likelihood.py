"""The log-likelihood of a structural model as a compiled function of its free coordinates."""

import math

import tensorflow as tf

from statespace.forecasting.diffuse import DIFFUSE_VARIANCE
from statespace.kalman.filter import log_likelihood
from statespace.models.parameters import constrain


class DiffuseLikelihood:
    """log p(y | parameters) with an approximately diffuse start, and its gradient.

    An initial variance kappa stands in for the diffuse start. The log-likelihood falls without
    bound as kappa grows, by half its logarithm for each of the d initial states; what is left when
    that is added back is the diffuse log-likelihood (the convention of Stata and statsmodels),

        log L_diffuse = lim_{kappa -> infinity} log L(kappa) + (d / 2) log kappa,

    here without the limit, at kappa = ``DIFFUSE_VARIANCE``; see ``diffuse.py`` for the error.

    Both methods take many points at once, in one op, and are traced once for all series that are
    fitted with the same model.

    References:
      Durbin, J. and Koopman, S. J. (2012). Time Series Analysis by State Space Methods,
      2nd edition, section 7.2.2.
    """

    def __init__(self, model):
        self.model = model
        states, parameters = len(model.state_names), len(model.parameters)
        self._correction = 0.5 * states * math.log(DIFFUSE_VARIANCE)
        signature = [
            tf.TensorSpec([None, parameters], tf.float64),
            tf.TensorSpec([None, 1], tf.float64),
            tf.TensorSpec([states], tf.float64),
        ]
        self._value = tf.function(self._evaluate, input_signature=signature, autograph=False)
        self._value_and_gradient = tf.function(
            self._differentiate, input_signature=signature, autograph=False
        )

    def value(self, free, y, initial_mean):
        """Log-likelihoods at many points.

        Args:
          free: free coordinates of S points, [S, p].
          y: the series in standardised units, [T].
          initial_mean: mean of the first state, [n].

        Returns:
          Array [S]; NaN where the filter failed.
        """
        return self._value(free, y[:, None], initial_mean).numpy()

    def value_and_gradient(self, free, y, initial_mean):
        """As ``value``, with the gradients: arrays [S] and [S, p]."""
        value, gradient = self._value_and_gradient(free, y[:, None], initial_mean)
        return value.numpy(), gradient.numpy()

    def _evaluate(self, free, y, initial_mean):
        ssm = self.model.build(
            constrain(self.model.parameters, free),
            initial_mean=initial_mean,
            initial_variance=DIFFUSE_VARIANCE,
        )
        return log_likelihood(ssm, y) + self._correction

    def _differentiate(self, free, y, initial_mean):
        with tf.GradientTape() as tape:
            tape.watch(free)
            value = self._evaluate(free, y, initial_mean)
        return value, tape.gradient(value, free)
