"""The inputs of a network as tensors, checked against what the network takes."""

import math
from typing import NamedTuple

import tensorflow as tf

from statespace.linalg_ops.arguments import require
from statespace.networks.panel import Panel

_AXES = {
    "y": ("batch", "time", "m"),
    "covariates": ("batch", "time", "columns"),
    "static": ("batch", "columns"),
    "category": ("batch",),
    "features": ("batch", "time", "columns"),
    "lengths": ("batch",),
}


class Sizes(NamedTuple):
    """Numbers of columns of the inputs, zero for what is not given."""

    covariates: int
    static: int
    category: int  # one if it is given
    features: int


def sizes_of(op, shapes: Panel, num_observed, num_features, has_categories) -> Sizes:
    """The numbers of columns of inputs that fit the network.

    Args:
      op: name of the network, for messages.
      shapes: of the inputs.
      num_observed, num_features: of the base model, m and K.
      has_categories: whether there is an embedding.

    Raises:
      ValueError: a shape does not fit, or an input is missing or of no use; the message names it.
    """
    y = shapes.y
    if not (len(y) == 2 and num_observed == 1):
        _check(op, "y", y, (None, None, num_observed))
    if y[1] == 0:
        raise ValueError(f"{op}: y has shape {y}; there must be a step at least.")
    for name, axes in _AXES.items():
        if name != "y" and getattr(shapes, name) is not None:
            sizes = {"batch": y[0], "time": y[1]}
            _check(op, name, getattr(shapes, name), tuple(sizes.get(axis) for axis in axes))
    columns = Sizes(
        *(_columns(getattr(shapes, name)) for name in ("covariates", "static")),
        int(shapes.category is not None),
        _columns(shapes.features),
    )
    if columns.features != num_features:
        raise ValueError(
            f"{op}: features have {columns.features or 'no'} columns; the regressions of the base "
            f"model need {num_features or 'none'}."
        )
    if columns.category != has_categories:
        raise ValueError(
            f"{op}: category is {'missing' if has_categories else 'given'}; it goes with "
            f"num_categories, which the model has {'been' if has_categories else 'not been'} given."
        )
    return columns


def specs_of(sizes: Sizes, num_observed) -> dict[str, tf.TensorSpec]:
    """Of the inputs, by name, with lengths, for any numbers of series and steps."""
    specs = {
        "y": tf.TensorSpec([None, None, num_observed], tf.float64),
        "lengths": tf.TensorSpec([None], tf.int32),
    }
    for name, size in sizes._asdict().items():
        if size and name == "category":
            specs[name] = tf.TensorSpec([None], tf.int32)
        elif size:
            specs[name] = tf.TensorSpec([None] * (len(_AXES[name]) - 1) + [size], tf.float64)
    return specs


def check_built(op, sizes: Sizes, built: Sizes):
    """Raises ValueError where inputs have other columns than those that made the weights."""
    for name, size in sizes._asdict().items():
        if size != getattr(built, name):
            raise ValueError(
                f"{op}: {name} have {size or 'no'} columns; the model was built for "
                f"{getattr(built, name) or 'none'}."
            )


def to_tensors(panel: Panel) -> Panel:
    """The parts of a panel as tensors of whatever type they are."""
    return Panel(*(None if x is None else tf.convert_to_tensor(x) for x in panel))


def prepared(op, panel: Panel, dtype, num_categories) -> Panel:
    """Tensors as the network computes with them: what lies after a series' end is cleared.

    Args:
      op: name of the network, for messages.
      panel: tensors.
      dtype: of the encoder's inputs.
      num_categories: number of categories, or None.

    Returns:
      A Panel without lengths: y float64 ``[B, T, m]``.

    Raises:
      tf.errors.InvalidArgumentError: an input is not finite, or a category is not there.
    """
    y = tf.cast(panel.y, tf.float64)
    y = y[..., tf.newaxis] if y.shape.rank == 2 else y
    types = {"covariates": dtype, "static": dtype, "features": tf.float64}
    parts = {
        name: None if getattr(panel, name) is None else tf.cast(getattr(panel, name), kind)
        for name, kind in types.items()
    }
    if panel.lengths is not None:
        own = tf.sequence_mask(tf.cast(panel.lengths, tf.int32), tf.shape(y)[1])[..., tf.newaxis]
        y = tf.where(own, y, tf.constant(math.nan, y.dtype))
        for name in ("covariates", "features"):
            x = parts[name]
            parts[name] = None if x is None else tf.where(own, x, tf.zeros_like(x))
    for name, x in parts.items():
        if x is not None:
            message = f"{op}: {name} must be finite, also at steps at which y is missing."
            parts[name] = require(tf.reduce_all(tf.math.is_finite(x)), message, x)
    category = panel.category
    if category is not None:
        message = f"{op}: category must be from 0 to {num_categories - 1}, by num_categories."
        category = tf.cast(category, tf.int32)
        there = (category >= 0) & (category < num_categories)
        category = require(tf.reduce_all(there), message, category)
    return Panel(y, category=category, **parts)


def _columns(shape):
    return 0 if shape is None else shape[-1]


def _check(op, name, shape, wanted):
    fits = len(shape) == len(wanted) and all(
        None in (size, want) or size == want for size, want in zip(shape, wanted, strict=True)
    )
    if not fits or (len(shape) > 1 and shape[-1] is None):
        sizes = (
            axis if size is None else f"{axis} = {size}"
            for axis, size in zip(_AXES[name], wanted, strict=True)
        )
        raise ValueError(f"{op}: {name} has shape {tuple(shape)}; it must be [{', '.join(sizes)}].")
