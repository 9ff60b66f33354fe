"""Teaches ``tf.vectorized_map``, and with it ``jacobian`` and ``batch_jacobian``, the compiled ops.

An op takes any number of batch axes, so the iterations of a loop are one batch axis more, left of
all others.
"""

import functools
import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

import tensorflow as tf
from tensorflow.python.eager import record
from tensorflow.python.ops.parallel_for import pfor


class _Description(NamedTuple):
    """What the table of ops says of one of them."""

    name: str
    wrapper: str  # its function in the module of op wrappers
    input_ranks: tuple[int, ...]  # numbers of core axes
    likes: tuple[int, ...]  # for each output the input whose very shape it has, or -1
    attrs: tuple[str, ...]


def register(api, ops):
    """Registers a converter for every op of the compiled library.

    Args:
      api: the library's table of ops.
      ops: the module of op wrappers that TensorFlow made.
    """
    for entry in api.ops[: api.num_ops]:
        _register(_describe(entry), ops)


def _describe(entry):
    name = entry.name.decode()
    return _Description(
        name=name,
        wrapper=re.sub("(?<!^)(?=[A-Z])", "_", name).lower(),
        input_ranks=tuple(entry.input_ranks[: entry.num_inputs]),
        likes=tuple(entry.output_likes[: entry.num_outputs]),
        attrs=tuple(name.decode() for name in entry.attr_names[: entry.num_attrs]),
    )


def _register(description, ops):
    @pfor.RegisterPFor(description.name)
    def _convert_op(pfor_input):
        # Such an output is summed over the batch axes its input lacks. The loop's is no such axis.
        pfor_input.stack_inputs([like for like in description.likes if like >= 0])
        attrs = {name: pfor_input.get_attr(name) for name in description.attrs}
        run = functools.partial(getattr(ops, description.wrapper), **attrs)
        return _convert(pfor_input, run, description.input_ranks, description.likes)


def call_as_op(
    function: Callable[..., list[tf.Tensor]],
    inputs: Sequence[tf.Tensor],
    input_ranks: Sequence[int],
    likes: Sequence[int],
    batched: Callable[..., list[tf.Tensor]],
) -> list[tf.Tensor]:
    """``function(*inputs)`` as one op of the graph being built, converted as compiled ops are.

    TensorFlow, which cannot vectorise the second derivative of a loop, then need not look at what
    the function does: it runs once, with a batch axis more. No tape sees the op.

    Args:
      function: maps tensors to a list of tensors, for any number of batch axes.
      inputs: its arguments.
      input_ranks: for each input its number of core axes, as in the table of ops.
      likes: for each output the input whose very shape it has, or -1.
      batched: what to call for all iterations at once: the function, with its gradient.
    """
    specs = [tf.TensorSpec(x.shape, x.dtype) for x in inputs]
    concrete = tf.function(function, autograph=False).get_concrete_function(*specs)
    with record.stop_recording():  # else it has what its gradient needs for further outputs
        outputs = concrete(*inputs)

    def convert(pfor_input):
        pfor_input.stack_inputs()  # cotangents must have the very shapes of what they belong to
        return _convert(pfor_input, batched, input_ranks, likes)

    outputs[0].op.pfor_converter = convert  # takes precedence over that of its type
    return outputs


def _convert(pfor_input, function, input_ranks, likes):
    """Runs ``function`` on the inputs of all iterations, with their axis left of the batch axes."""
    added = _axes_to_add(pfor_input, input_ranks)
    inputs = [
        _insert_ones(x.t, count) if x.is_stacked else x.t
        for x, count in zip(pfor_input.inputs, added, strict=True)
    ]
    outputs = function(*inputs)
    outputs = outputs if isinstance(outputs, list | tuple) else [outputs]  # a lone one comes bare
    return [
        pfor.wrap(x if like < 0 else _remove_ones(x, added[like]), True)
        for x, like in zip(outputs, likes, strict=True)
    ]


def _axes_to_add(pfor_input, core_ranks):
    """For each input: the axes of length 1 that bring the loop's axis left of all batch axes.

    As many as the most batch axes of any input, less its own; and one more where the input leaves
    out its optional first core axis, which the loop's axis must not be taken for.
    """
    ranks = [_rank(x.t) - int(x.is_stacked) for x in pfor_input.inputs]
    batch_ranks = [rank - core for rank, core in zip(ranks, core_ranks, strict=True)]
    if all(isinstance(rank, int) for rank in batch_ranks):
        most = max(0, *batch_ranks)
    else:
        most = tf.reduce_max(tf.stack([0, *batch_ranks]))
    return [most - rank for rank in batch_ranks]


def _rank(x):
    return tf.rank(x) if x.shape.rank is None else x.shape.rank


def _insert_ones(x, count):
    """Gives ``x`` axes of length 1 after its first axis."""
    if isinstance(count, int) and count == 0:
        return x
    shape = tf.shape(x, out_type=tf.int64)
    ones = tf.ones(tf.reshape(count, [1]), tf.int64)
    longer = tf.reshape(x, tf.concat([shape[:1], ones, shape[1:]], 0))
    if isinstance(count, int) and x.shape.rank is not None:
        longer.set_shape([x.shape[0], *[1] * count, *x.shape[1:]])
    return longer


def _remove_ones(x, count):
    """Undoes ``_insert_ones``."""
    if isinstance(count, int) and count == 0:
        return x
    shape = tf.shape(x, out_type=tf.int64)
    shorter = tf.reshape(x, tf.concat([shape[:1], shape[1 + count :]], 0))
    if isinstance(count, int) and x.shape.rank is not None:
        shorter.set_shape([x.shape[0], *x.shape[1 + count :]])
    return shorter
