"""Locally linear dynamics: at each step a mixture of matrices, weighted by what was seen so far."""

import keras
import numpy as np
import tensorflow as tf


class TransitionMixture(keras.layers.Layer):
    """Transition matrices of each step, convex combinations of a few that are learned.

        F_t = sum_k alpha_tk F_k,    alpha_t = softmax(A g_t + a),    g_t = GRU(w_0, ..., w_t)

    F_t leads from step t to t + 1, and is a function of the pseudo-observations w up to step t
    alone, so that given those the model is linear and causal.

    Args:
      start: the matrix ``[n, n]`` around which the learned ones set out.
      num_matrices: number K of them.
      units: size of the recurrent network.
      **kwargs: ``name`` and ``dtype``.

    References:
      Fraccaro, M., Kamronn, S., Paquet, U. and Winther, O. (2017). A disentangled recognition and
      nonlinear dynamics model for unsupervised learning. Advances in Neural Information Processing
      Systems 30, section 3.2.
    """

    def __init__(self, start, num_matrices, units=32, **kwargs):
        super().__init__(**kwargs)
        self.start, self.num_matrices = np.asarray(start), num_matrices
        self.memory = keras.layers.GRU(units, return_sequences=True, dtype=self.dtype_policy)
        self.weigh = keras.layers.Dense(num_matrices, "softmax", dtype=self.dtype_policy)

    def build(self, input_shape):
        """Creates the weights for pseudo-observations ``[B, T, m]``."""
        batch, steps, size = input_shape
        self.memory.build((batch, steps, size + 1))
        self.weigh.build((batch, steps, self.memory.units))
        noise = keras.initializers.RandomNormal(0.1 / np.sqrt(len(self.start)))
        shape = self.num_matrices, *self.start.shape
        self.matrices = self.add_weight(
            shape=shape,
            # Not alike, so that there is something to choose between.
            initializer=lambda shape, dtype: tf.cast(self.start, dtype) + noise(shape, dtype),
            name="matrices",
        )

    def call(self, pseudo_observations):
        """``[B, T, n, n]``; a NaN is a missing component."""
        missing = tf.math.is_nan(pseudo_observations)
        known = tf.where(missing, tf.zeros_like(pseudo_observations), pseudo_observations)
        seen = tf.cast(tf.logical_not(missing[..., :1]), known.dtype)
        weights = self.weigh(self.memory(tf.concat([known, seen], axis=-1)))
        return tf.tensordot(weights, tf.convert_to_tensor(self.matrices), [[-1], [0]])
