"""The network that says what the noise of each step and the start of each series are."""

from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from statespace.linalg_ops.arguments import positive_int
from statespace.networks.encoders import encoder_of, units_of

_START = 1.0  # scale of the first state before training
_SPREAD = 0.01  # of the weights of the affine maps before training
_LONGEST = 16  # embedding by default


class Emitted(NamedTuple):
    """What the network says of B series, float64."""

    scales: tf.Tensor  # of the noise, [B, T, p]
    initial_mean: tf.Tensor  # [B, n]
    initial_scale: tf.Tensor  # [B, n]


class Emitter(keras.layers.Layer):
    """An encoder, and affine maps from what it emits.

        scales        = smallest + softplus(A h_t + a)
        initial_mean  = B [h_0, own] + b
        initial_scale = smallest + softplus(D [h_0, own] + d)

    where "own" is what is known of the series as a whole.

    Args:
      op: name of the model, for messages.
      encoder: as of :func:`statespace.networks.encoders.encoder_of`.
      scales: about what the scales are before training, [p].
      num_states: n.
      smallest: what no scale goes below.
      num_categories, embedding_dim: of the embedding; None where there is none, or for the default.
      **kwargs: ``dtype``.

    Raises:
      ValueError: an argument is of another kind or out of its range.
    """

    def __init__(
        self, op, encoder, scales, num_states, smallest, num_categories, embedding_dim, **kwargs
    ):
        super().__init__(autocast=False, name="emitter", **kwargs)
        self._op, self.smallest, self.embedding = op, smallest, None
        self.encoder = encoder_of(op, encoder, dtype=self.dtype_policy)
        if num_categories is not None:
            number = positive_int(op, "num_categories", num_categories)
            size = min(_LONGEST, (number + 1) // 2) if embedding_dim is None else embedding_dim
            size = positive_int(op, "embedding_dim", size)
            self.embedding = keras.layers.Embedding(number, size, dtype=self.variable_dtype)
        elif embedding_dim is not None:
            raise ValueError(f"{op}: embedding_dim goes with num_categories; give both.")
        start = np.repeat([0.0, before_softplus(_START)], num_states)
        self._to_scales = self._affine("scales", before_softplus(scales - smallest))
        self._to_start = self._affine("start", start)

    def build(self, num_covariates, num_static):
        """Creates the weights for so many columns of covariates (zero for none) and static."""
        own = num_static
        if self.embedding is not None:
            self.embedding.build((None,))
            own += self.embedding.output_dim
        inputs = (num_covariates or 1) + own
        units = units_of(self._op, self.encoder, inputs)
        if not self.encoder.built:
            self.encoder.build((None, None, inputs))
        self._to_scales.build((None, None, units))
        self._to_start.build((None, units + own))

    def call(self, panel, training=False) -> Emitted:
        """What the network says of the series of a Panel of tensors."""
        batch, steps = tf.shape(panel.y)[0], tf.shape(panel.y)[1]
        seen = panel.covariates
        if seen is None:
            age = tf.math.log1p(tf.cast(tf.range(steps), self.compute_dtype))
            seen = tf.broadcast_to(age[:, tf.newaxis], [batch, steps, 1])
        own = [] if panel.static is None else [panel.static]
        if self.embedding is not None:
            own.append(tf.cast(self.embedding(panel.category), self.compute_dtype))
        everywhere = [tf.repeat(x[:, tf.newaxis], steps, axis=1) for x in own]
        hidden = self.encoder(tf.concat([seen, *everywhere], axis=-1), training=training)
        hidden, *own = (tf.cast(x, self.variable_dtype) for x in (hidden, *own))
        start = self._to_start(tf.concat([hidden[:, 0], *own], axis=-1))
        mean, deviation = tf.split(tf.cast(start, tf.float64), 2, axis=-1)
        return Emitted(self._positive(self._to_scales(hidden)), mean, self._positive(deviation))

    def _affine(self, name, bias):
        return keras.layers.Dense(
            len(bias),
            kernel_initializer=keras.initializers.RandomNormal(stddev=_SPREAD),
            bias_initializer=lambda shape, dtype: tf.constant(bias, dtype),
            dtype=self.variable_dtype,
            name=name,
        )

    def _positive(self, x):
        return self.smallest + tf.nn.softplus(tf.cast(x, tf.float64))


def before_softplus(x):
    """What the softplus takes to x; of x that are not positive, to next to nothing."""
    x = np.maximum(x, 1e-8)
    return x + np.log(-np.expm1(-x))
