"""Seeds, and standard normals that are the same numbers eagerly, in a graph and inside XLA."""

import math

import numpy as np
import tensorflow as tf


def seed_pair(op, seed):
    """A seed as TensorFlow's stateless generators take it, int64 ``[2]``."""
    try:
        tensor = tf.convert_to_tensor(seed if tf.is_tensor(seed) else np.asarray(seed))
    except (TypeError, ValueError):
        tensor = None
    if tensor is None or not tensor.dtype.is_integer or tensor.shape not in ([], [2]):
        raise ValueError(f"{op}: seed is {seed!r}; it must be an int or two of them.")
    tensor = tf.cast(tensor, tf.int64)
    return tf.stack([0, tensor]) if tensor.shape.rank == 0 else tensor


def standard_normal(shape, seed, dtype):
    """The numbers of ``tf.random.stateless_normal(shape, seed, dtype=dtype, alg="philox")``.

    That is, of its kernels: what it draws inside XLA are others, which XLA makes by another formula
    of the same random bits. So only the bits come from TensorFlow here, and the formula, Box &
    Muller's of two uniform numbers each, is written out. float32 agrees to a few ulps.

    Args:
      shape: integer tensor ``[rank]``.
      seed: integer tensor ``[2]``.
    """
    return (_compiled if tf.executing_eagerly() else _normal)(shape, seed, dtype)


def _normal(shape, seed, dtype):
    count = tf.reduce_prod(tf.cast(shape, tf.int64))
    first, second = tf.unstack(_uniform((count + 1) // 2, seed, dtype), axis=-1)
    # The least that the kernels take the logarithm of.
    radius = tf.sqrt(-2.0 * tf.math.log(tf.maximum(first, tf.constant(1e-7, dtype))))
    angle = 2.0 * math.pi * second
    pairs = tf.stack([radius * tf.sin(angle), radius * tf.cos(angle)], axis=-1)
    return tf.reshape(tf.reshape(pairs, [-1])[:count], shape)


# One call of a graph takes half the time of so many eager operations where the draw is small.
_compiled = tf.function(_normal)


def _uniform(count, seed, dtype):
    """Numbers in [0, 1), ``[count, 2]``, of as many random bits as the dtype's fraction has."""
    unsigned, fraction = (tf.uint32, 23) if dtype == tf.float32 else (tf.uint64, 52)
    bits = tf.random.stateless_uniform([count, 2], seed, None, None, unsigned, alg="philox")
    if dtype == tf.float64:  # the kernels take the 32 bits that were drawn first for the upper half
        half = tf.constant(32, unsigned)
        upper, lower = tf.bitwise.left_shift(bits, half), tf.bitwise.right_shift(bits, half)
        bits = tf.bitwise.bitwise_or(upper, lower)
    bits = tf.bitwise.bitwise_and(bits, tf.constant(2**fraction - 1, unsigned))
    return tf.cast(bits, dtype) * 2.0**-fraction
