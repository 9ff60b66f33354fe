"""What gradients share: rules of our own, falling back on the reference, undoing broadcasts."""

import functools
from collections.abc import Callable, Sequence

import tensorflow as tf
from tensorflow.python.eager import record

from statespace import native
from statespace.linalg_ops.arguments import broadcast_batches
from statespace.native import vectorize


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


def vectorizable_vjp(
    op, function: Callable, cotangents: Sequence[tf.Tensor | None]
) -> list[tf.Tensor]:
    """``reference_vjp`` for a compiled op, which ``tf.vectorized_map`` converts as it does the op.

    So ``jacobian`` of a gradient takes all rows of a Hessian at once, and the same goes for any
    further derivative, however the reference computes it.

    Args:
      op: the op, as the function registered for its gradient gets it; the ranks are known.
      function: the same computation in TensorFlow, for inputs with any batch axes.
      cotangents: as for ``reference_vjp``.
    """
    core_ranks = native.input_ranks(op.type)
    ranks = [x.shape.rank for x in op.inputs]
    batch_rank = max(0, *(x - core for x, core in zip(ranks, core_ranks, strict=True)))
    used, used_ranks = [], []
    for x, y, like in zip(cotangents, op.outputs, native.output_likes(op.type), strict=True):
        if y.dtype.is_floating:
            used.append(tf.zeros_like(y) if x is None else x)
            used_ranks.append(core_ranks[like] if like >= 0 else y.shape.rank - batch_rank)

    def floating(*inputs):
        return [x for x in tf.nest.flatten(function(*inputs)) if x.dtype.is_floating]

    return _vectorizable_vjp(floating, op.inputs, used, [*core_ranks, *used_ranks])


def _vectorizable_vjp(function, inputs, cotangents, core_ranks):
    """``core_ranks``: of the inputs, then of the cotangents."""
    if tf.executing_eagerly():
        return reference_vjp(function, inputs, cotangents)
    count = len(inputs)

    def vjp(*operands):
        return reference_vjp(function, operands[:count], operands[count:])

    @tf.custom_gradient
    def rule(*operands):
        def gradient(*further):
            return _vectorizable_vjp(vjp, operands, further, [*core_ranks, *core_ranks[:count]])

        likes = range(count)
        return vectorize.call_as_op(vjp, operands, core_ranks, likes, batched=rule), gradient

    return rule(*inputs, *cotangents)


def op_vjp(op, function: Callable, cotangents: Sequence[tf.Tensor | None]) -> list[tf.Tensor]:
    """``reference_vjp`` for a compiled op, whatever the shapes that the op takes.

    TensorFlow's own operations do not take all of these, so before ``function`` gets the inputs,

    1. their batch axes are broadcast;
    2. if one of them has no elements, all axes are cut to a length of at most one: TensorFlow
       crashes on axes of 2^31 (``tf.linalg.diag_part``) and makes identity matrices of any size.
       What depends on nothing is constant, so that its derivatives are zero all the same.

    Args:
      op: the op, as the function registered for its gradient gets it.
      function: the same computation in TensorFlow, for inputs with the same batch axes.
      cotangents: as for ``reference_vjp``.
    """
    if any(0 in x.shape.as_list() for x in op.inputs if x.shape.rank is not None):
        return [tf.zeros_like(x) for x in op.inputs]
    core_ranks = native.input_ranks(op.type)
    longest = _longest_axis(op.inputs, core_ranks)

    def broadcasting(*inputs):
        return function(*broadcast_batches([_cut(x, longest) for x in inputs], core_ranks))

    cotangents = [x if x is None else _cut(tf.convert_to_tensor(x), longest) for x in cotangents]
    return reference_vjp(broadcasting, op.inputs, cotangents)


_HARMLESS = 2**14  # a matrix of this size fits into memory


def _longest_axis(tensors, core_ranks):
    """How long an axis may be: 1 if a tensor has no elements; None if no core can be too large."""
    if native.traced_for_xla():  # where the gradient of a slice cannot be vectorised
        return None
    for x, rank in zip(tensors, core_ranks, strict=True):
        if x.shape.rank is None or any(
            size is None or size > _HARMLESS for size in x.shape[x.shape.rank - rank :]
        ):
            break
    else:
        return None
    empty = tf.reduce_any([tf.reduce_any(tf.equal(tf.shape(x, tf.int64), 0)) for x in tensors])
    return tf.where(empty, tf.constant(1, tf.int64), tf.int64.max)


def _cut(x, longest):
    if longest is None:
        return x
    shape = tf.shape(x, tf.int64)
    return tf.slice(x, tf.zeros_like(shape), tf.minimum(shape, longest))


def sum_to_shape(x: tf.Tensor, like: tf.Tensor) -> tf.Tensor:
    """Sums ``x`` over the batch axes along which ``like`` was broadcast to give it."""
    if x.shape.is_fully_defined() and x.shape == like.shape:
        return x
    shape = tf.shape(like, tf.int64)
    axes, _ = tf.raw_ops.BroadcastGradientArgs(s0=shape, s1=tf.shape(x, tf.int64))
    # As int32, for TensorFlow's gradient of a sum.
    return tf.reshape(tf.reduce_sum(x, tf.cast(axes, tf.int32)), shape)
