"""The matrices of a model or of one of its components, and how they are put together."""

from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf


class Steps(NamedTuple):
    """What a model knows of the steps besides the data."""

    features: Any = None  # [T, K] or [..., T, K]: columns of known numbers, float64
    times: Any = None  # [T] or [..., T]: increasing; None: one apart


class Block(NamedTuple):
    """A model's matrices, or the part of them that one component holds.

    Matrices are [n, n], ..., or have axes [..., T] (or [..., 1]) before that. What depends on no
    parameter stays an array of NumPy, which tells the filter where the zeros are.
    """

    transition_matrix: Any  # F, [n, n]
    transition_scale: Any  # G, [n, k]
    observation_matrix: Any  # H, [m, n]
    observation_scale: Any = None  # C, [m, r]; None: no noise
    transition_offset: Any = None  # b, [n]; None: zero
    observation_offset: Any = None  # d, [m]; None: zero
    initial_mean: Any = None  # [..., n]; None: zero
    initial_scale: Any = None  # [..., n, p]; None: zero
    diffuse: Any = None  # bool [n]; None: all where there is no initial scale, else none


def per_step(value, event_rank):
    """A value ``[..., *event]`` with an axis of one step where it has batch axes.

    A single model's matrices need no axes before their own; in a batch, time comes after the batch.
    """
    if value.shape.rank == event_rank:
        return value
    return tf.expand_dims(value, -event_rank - 1)


def scaled_columns(columns, scale):
    """G = columns times a scale (or one scale a column): ``[n, k]`` or ``[..., 1, n, k]``.

    Args:
      columns: which state each disturbance enters, NumPy array [n, k].
      scale: tensor ``[...]``.
    """
    return per_step(columns * scale[..., tf.newaxis, tf.newaxis], 2)


def joined(arrays, axis):
    """Concatenates along one of the last two axes, the others broadcast; NumPy where all are."""
    if not any(map(tf.is_tensor, arrays)):
        ranks = max(np.ndim(a) for a in arrays)
        shape = np.broadcast_shapes(*(np.shape(a)[: max(np.ndim(a) - 2, 0)] for a in arrays))
        arrays = [np.broadcast_to(a, (*shape, *np.shape(a)[-2:])) for a in arrays]
        return np.concatenate(arrays, axis=axis if ranks > 1 else -1)
    tensors = [tf.convert_to_tensor(a, tf.float64) for a in arrays]
    batch = tf.shape(tensors[0])[:-2]
    for tensor in tensors[1:]:
        batch = tf.broadcast_dynamic_shape(batch, tf.shape(tensor)[:-2])
    return tf.concat(
        [tf.broadcast_to(t, tf.concat([batch, tf.shape(t)[-2:]], axis=0)) for t in tensors],
        axis=axis,
    )


def block_diagonal(blocks):
    """One matrix with the given ones along its diagonal; NumPy where all are."""
    rows = sum(block.shape[-2] for block in blocks)
    columns = sum(block.shape[-1] for block in blocks)
    padded, row, column = [], 0, 0
    for block in blocks:
        height, width = block.shape[-2:]
        around = [(0, 0)] * (len(block.shape) - 2) + [
            (row, rows - row - height),
            (column, columns - column - width),
        ]
        padded.append((tf.pad if tf.is_tensor(block) else np.pad)(block, around))
        row, column = row + height, column + width
    fixed = [block for block in padded if not tf.is_tensor(block)]
    varying = [block for block in padded if tf.is_tensor(block)]
    total = sum(fixed) if fixed else 0.0
    return sum(varying, total) if varying else total
