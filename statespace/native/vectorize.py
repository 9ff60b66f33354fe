"""Teaches ``tf.vectorized_map``, and with it ``jacobian`` and ``batch_jacobian``, the compiled ops.

An op takes any number of batch axes, so the iterations of a loop are one batch axis more, left of
all others.
"""

import re
from typing import NamedTuple

import tensorflow as tf
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
    def _convert(pfor_input):
        # Such an output is summed over the batch axes its input lacks. The loop's is no such axis.
        pfor_input.stack_inputs([like for like in description.likes if like >= 0])
        added = _axes_to_add(pfor_input, description.input_ranks)
        inputs = [
            _insert_ones(x.t, count) if x.is_stacked else x.t
            for x, count in zip(pfor_input.inputs, added, strict=True)
        ]
        attrs = {name: pfor_input.get_attr(name) for name in description.attrs}
        outputs = getattr(ops, description.wrapper)(*inputs, **attrs)
        outputs = outputs if isinstance(outputs, tuple) else (outputs,)  # a lone one comes bare
        return [
            pfor.wrap(x if like < 0 else _remove_ones(x, added[like]), True)
            for x, like in zip(outputs, description.likes, strict=True)
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
