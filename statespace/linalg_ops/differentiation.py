"""What gradients share: rules of our own, falling back on the reference, undoing broadcasts."""

import functools
from collections.abc import Callable, Sequence

import tensorflow as tf
from tensorflow.python.eager import record


def custom_rule(function: Callable) -> Callable:
    """``tf.custom_gradient`` for references, whose rule forward mode follows as well.

    ``tf.autodiff.ForwardAccumulator`` would push tangents through the operations by which the
    function computes its value, and these may be wrong where the rule is right: at singular
    matrices, say. So they are hidden from it. In a graph TensorFlow knows of nowhere to hide them.

    Args:
      function: as for ``tf.custom_gradient``: tensors -> (results, gradient function).
    """

    @tf.custom_gradient
    def hidden(*inputs):
        with record.stop_recording():
            return function(*inputs)

    @functools.wraps(function)
    def call(*inputs):
        rule = hidden if tf.executing_eagerly() else tf.custom_gradient(function)
        return rule(*(tf.convert_to_tensor(x) for x in inputs))

    return call


def reference_vjp(
    function: Callable, inputs: Sequence[tf.Tensor], cotangents: Sequence[tf.Tensor | None]
) -> list[tf.Tensor]:
    """Vector-Jacobian product of a function written in TensorFlow.

    It is the gradient of compiled ops that have no compiled gradient, above all of the gradient
    ops themselves: second derivatives, forward mode and ``jacobian`` go through it.

    Args:
      function: maps ``inputs`` to a tensor or a flat sequence of tensors.
      inputs: tensors to differentiate by.
      cotangents: one per output; None, and outputs that are not floating, count as zero.

    Returns:
      One gradient per input, zeros where the output does not depend on it.
    """
    inputs = [tf.identity(x) for x in inputs]
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        outputs = tf.nest.flatten(function(*inputs))
    used = [
        (y, cotangent)
        for y, cotangent in zip(outputs, cotangents, strict=True)
        if cotangent is not None and y.dtype.is_floating
    ]
    return tape.gradient(
        [y for y, _ in used],
        inputs,
        output_gradients=[cotangent for _, cotangent in used],
        unconnected_gradients=tf.UnconnectedGradients.ZERO,
    )


def sum_to_shape(x: tf.Tensor, like: tf.Tensor) -> tf.Tensor:
    """Sums ``x`` over the batch axes along which ``like`` was broadcast to give it."""
    if x.shape.is_fully_defined() and x.shape == like.shape:
        return x
    shape = tf.shape(like, tf.int64)
    axes, _ = tf.raw_ops.BroadcastGradientArgs(s0=shape, s1=tf.shape(x, tf.int64))
    # As int32, for TensorFlow's gradient of a sum.
    return tf.reshape(tf.reduce_sum(x, tf.cast(axes, tf.int32)), shape)
