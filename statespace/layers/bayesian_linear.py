"""Bayesian linear regression on the features of a network, as its last layer."""

import math

import keras
import numpy as np
import tensorflow as tf

from statespace.layers.regression_state import (
    RegressionState,
    condition,
    flat,
    predicted_mean,
    predicted_variance,
)
from statespace.linalg_ops.arguments import positive_int
from statespace.models.arguments import as_tensor, refuse_where
from statespace.models.bayesian_linear_regression import BayesianLinearRegression

_OP = "BayesianLinear"


@keras.saving.register_keras_serializable(package="statespace")
class BayesianLinear(keras.layers.Layer):
    """The last layer of a network: y = bias + features' w + noise, with the weights integrated out.

    For each unit w_j ~ N(0, weight_scale^2), noise ~ N(0, noise_scale^2), and nothing is known of
    the bias beforehand. Scales are the layer's trainable variables; the weights have a posterior
    distribution instead, which ``fit_posterior`` computes in closed form and which is saved with
    the model. So there are two ways to train.

    1. On *frozen features*: train a network in any way, take what its last but one layer gives, and
       call ``fit_posterior``.
    2. *End to end*, by the evidence: call the layer with ``targets``, an input of the model. It
       adds -log p(targets | features) / N of each batch to the loss, weights and bias integrated
       out, so that the network learns features for which the data are likely. The evidence of all
       data is not the sum over batches: with batches of all data it is exact, with smaller ones
       each counts by itself. Then call ``fit_posterior`` on the features of all data.

    Called without targets, the layer returns the mean of the posterior prediction, or the pair of
    mean and variance; before ``fit_posterior`` that of the prior, with the mean zero.

    Computations are in the type of the variables, float32 or float64, also under mixed precision.

    Args:
      units: number of targets U. They share features, and nothing else.
      use_bias: whether there is a bias.
      noise_scale, weight_scale: where the scales start, in units of the targets.
      return_variance: whether calls return mean and variance of an observation, noise included,
        instead of the mean.
      **kwargs: ``name``, ``dtype`` and so on, as for every layer.

    Inputs: features ``[..., N, D]``; ``targets``, with the same leading axes, ``[..., N, U]``.

    Outputs: mean ``[..., N, U]``, and the variance ``[..., N, U]`` if asked for. With targets,
    those given them.

    Raises:
      ValueError: an argument is wrong, or the variables are to be of half precision.

    References:
      Seeger et al., Auto-Differentiating Linear Algebra, arXiv:1710.08717, section 1.
      Snoek et al., Scalable Bayesian optimization using deep neural networks, ICML 2015.

    Example:

      >>> import numpy as np, statespace as ss
      >>> x = np.linspace(-1.0, 1.0, 21)[:, np.newaxis]
      >>> layer = ss.layers.BayesianLinear(1, dtype="float64")
      >>> layer.fit_posterior(x, 2 * x + 0.1 * np.cos(9 * x))
      >>> prediction = layer.predict_distribution([[0.5], [5.0]])
      >>> print(np.stack([prediction.mean(), prediction.stddev()])[..., 0].round(2))
      [[ 1.   10.  ]
       [ 0.08  0.15]]
    """

    def __init__(
        self,
        units,
        *,
        use_bias=True,
        noise_scale=1.0,
        weight_scale=1.0,
        return_variance=False,
        **kwargs,
    ):
        super().__init__(autocast=False, **kwargs)
        self.units = positive_int(_OP, "units", units)
        self.use_bias, self.return_variance = bool(use_bias), bool(return_variance)
        self.noise_scale_start = _positive("noise_scale", noise_scale)
        self.weight_scale_start = _positive("weight_scale", weight_scale)
        if self.variable_dtype not in ("float32", "float64"):
            raise ValueError(
                f"{_OP}: dtype is {self.variable_dtype}; variables must be float32 or float64. "
                'Take dtype="float32" or, with other layers in half precision, "mixed_float16".'
            )

    def build(self, features_shape, targets_shape=None):
        """Creates the variables, for features of a known number D."""
        size = features_shape[-1]
        if size is None:
            raise ValueError(f"{_OP}: the last axis of the features must be known.")

        def add(name, shape, start, trainable=False):
            start = np.broadcast_to(start, shape)
            return self.add_weight(
                shape=shape,
                initializer=lambda shape, dtype: tf.constant(start, dtype),
                trainable=trainable,
                autocast=False,  # mixed precision would hand it out in float16
                name=name,
            )

        units = self.units
        self.log_noise_scale = add(
            "log_noise_scale", (units,), math.log(self.noise_scale_start), True
        )
        self.log_weight_scale = add(
            "log_weight_scale", (units,), math.log(self.weight_scale_start), True
        )
        # Until there are data, the prior.
        self.feature_mean = add("feature_mean", (size,), 0.0)
        self.target_mean = add("target_mean", (units,), 0.0)
        self.target_mean_variance = add("target_mean_variance", (units,), 0.0)
        self.kernel = add("kernel", (units, size), 0.0)
        self.root = add("root", (units, size, size), self.weight_scale_start * np.eye(size))

    @property
    def noise_scale(self) -> tf.Tensor:
        """Standard deviation of the noise, ``[U]``, of a layer that is built."""
        return tf.exp(tf.convert_to_tensor(self._built("log_noise_scale")))

    @property
    def weight_scale(self) -> tf.Tensor:
        """Standard deviation of the weights a priori, ``[U]``, of a layer that is built."""
        return tf.exp(tf.convert_to_tensor(self._built("log_weight_scale")))

    def call(self, features, targets=None):
        """Mean, or mean and variance; with targets, adds minus their log evidence to the losses."""
        features = self._rows(features)
        if targets is None:
            state = self._state
        else:
            rows = self._target_rows(features, targets)
            state, evidence = self._condition(features, rows)
            self.add_loss(-tf.reduce_sum(evidence) / tf.cast(tf.shape(rows)[0], rows.dtype))
        mean = predicted_mean(state, features)
        if not self.return_variance:
            return mean
        return mean, predicted_variance(state, features) + self.noise_scale**2

    def log_evidence(self, features, targets) -> tf.Tensor:
        """log p(targets | features) of each unit at the layer's scales, ``[U]``.

        Differentiable in features, targets and scales, for training loops of one's own.

        Args:
          features: ``[..., N, D]``.
          targets: ``[..., N, U]``.

        Raises:
          ValueError: shapes do not fit, or there are no rows.
        """
        features = self._rows(features)
        rows = self._target_rows(features, targets)
        return self._condition(features, rows)[1]

    def fit_posterior(self, features, targets, *, learn_scales=True):
        """Computes the posterior of the weights given data, in float64.

        Args:
          features: array ``[..., N, D]``.
          targets: array ``[..., N, U]``, or without its last axis if there is one unit.
          learn_scales: whether scales are set to where the evidence is highest. It has to be that
            of all data: a layer trained by batches may be at others.

        Raises:
          ValueError: shapes do not fit, there are no rows, a value is not finite, or the targets
            are constant and scales to be learnt; or this is part of a graph.
        """
        op = f"{_OP}.fit_posterior"
        if not tf.executing_eagerly():
            raise ValueError(f"{op}: it cannot be part of a graph; call it outside tf.function.")
        features = self._rows(features, tf.float64)
        targets = as_tensor(op, "targets", targets, tf.float64)
        if self.units == 1 and targets.shape.rank == features.shape.rank - 1:
            targets = targets[..., tf.newaxis]
        self._check_targets(features, targets)
        for name, value in (("features", features), ("targets", targets)):
            refuse_where(op, name, value, lambda value: ~np.isfinite(value), "leave that row out")
        x, y = flat(features), flat(targets)
        if learn_scales:
            model = BayesianLinearRegression("evidence", intercept=self.use_bias)
            try:
                model.fit(x, tf.transpose(y))
            except ValueError as error:
                advice = "Or keep those of the layer: learn_scales=False."
                raise ValueError(f"{op}: scales cannot be learnt. {error} {advice}") from error
            self.log_noise_scale.assign(tf.math.log(model.noise_scale))
            self.log_weight_scale.assign(tf.math.log(model.weight_scale[..., 0]))
        scales = (tf.cast(x, tf.float64) for x in (self.noise_scale, self.weight_scale))
        state, _ = self._condition(x, y, *scales)
        for variable, value in zip(self._variables_of_state, state, strict=True):
            variable.assign(value)

    def predict_distribution(self, features, *, noise=True):
        """The posterior prediction at features ``[..., N, D]``, a normal distribution of TFP.

        Args:
          features: what the layer is called with.
          noise: whether of observations, or else of what they are without noise.

        Returns:
          A ``tfp.distributions.Normal`` with batch shape ``[..., N, U]``.

        Raises:
          ValueError: the shape is wrong, or a value, where it is known, is not finite.
        """
        import tensorflow_probability as tfp

        features = self._rows(features)
        advice = "leave that row out"
        refuse_where(_OP, "features", features, lambda value: ~np.isfinite(value), advice)
        state = self._state
        variance = predicted_variance(state, features)
        if noise:
            variance += self.noise_scale**2
        return tfp.distributions.Normal(predicted_mean(state, features), tf.sqrt(variance))

    def compute_output_shape(self, features_shape, targets_shape=None):
        """``[..., N, U]``, once or twice."""
        shape = (*features_shape[:-1], self.units)
        return (shape, shape) if self.return_variance else shape

    def get_config(self):
        """Everything that ``from_config`` needs."""
        return {
            **super().get_config(),
            "units": self.units,
            "use_bias": self.use_bias,
            "noise_scale": self.noise_scale_start,
            "weight_scale": self.weight_scale_start,
            "return_variance": self.return_variance,
        }

    @property
    def _variables_of_state(self):
        return RegressionState(*(getattr(self, name) for name in RegressionState._fields))

    @property
    def _state(self):
        return RegressionState(*(tf.convert_to_tensor(x) for x in self._variables_of_state))

    def _condition(self, features, targets, *scales):
        scales = scales or (self.noise_scale, self.weight_scale)
        return condition(flat(features), targets, *scales, self.use_bias)

    def _built(self, name):
        if not self.built:
            raise ValueError(f"{_OP}: it has no scales yet. Call it, or fit_posterior, first.")
        return getattr(self, name)

    def _rows(self, features, dtype=None):
        """The features ``[..., N, D]`` in a dtype, that of the variables; builds the layer."""
        features = as_tensor(_OP, "features", features, dtype or self.variable_dtype)
        if features.shape.rank is not None and features.shape.rank < 2:
            raise ValueError(
                f"{_OP}: features have shape {features.shape}; they must be [..., N, D]."
            )
        if not self.built:
            self.build(features.shape)
        size = self.kernel.shape[-1]
        if not features.shape[-1:].is_compatible_with([size]):
            raise ValueError(
                f"{_OP}: features have shape {features.shape}; they must be [..., N, D] with "
                f"D = {size}, as the layer was built for."
            )
        return features

    def _target_rows(self, features, targets):
        targets = as_tensor(_OP, "targets", targets, self.variable_dtype)
        self._check_targets(features, targets)
        return flat(targets)

    def _check_targets(self, features, targets):
        wanted = features.shape[:-1].concatenate([self.units])
        if not targets.shape.is_compatible_with(wanted):
            raise ValueError(
                f"{_OP}: features have shape {features.shape} and targets {targets.shape}; they "
                f"must be [..., N, {self.kernel.shape[-1]}] and [..., N, {self.units}] with the "
                "same leading axes."
            )
        if 0 in targets.shape:
            raise ValueError(f"{_OP}: targets have shape {targets.shape}; there are no rows.")


def _positive(name, value):
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not 0 < number < math.inf:
        raise ValueError(f"{_OP}: {name} is {value!r}; it must be positive and finite.")
    return number
