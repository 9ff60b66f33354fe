"""What every operator asks of its arguments, and how their batch axes are made alike."""

import functools
import operator

import tensorflow as tf


def to_matrices(op: str, **arguments) -> tuple[tf.Tensor, ...]:
    """Converts an operator's matrix arguments to tensors ``[..., rows, columns]`` of one dtype.

    Raises:
      ValueError: an argument is no array, has fewer than two axes, is neither float32 nor float64,
        or the dtypes differ; names the operator and the arguments.
      tf.errors.InvalidArgumentError: fewer than two axes, seen when the tensor is computed.
    """
    tensors = {name: to_tensor(op, name, value) for name, value in arguments.items()}
    for name, tensor in tensors.items():
        if tensor.dtype not in (tf.float32, tf.float64):
            raise ValueError(f"{op}: {name} is {tensor.dtype.name}; it must be float32 or float64.")
    if len({tensor.dtype for tensor in tensors.values()}) > 1:
        listing = ", ".join(f"{name} is {tensor.dtype.name}" for name, tensor in tensors.items())
        raise ValueError(f"{op}: mixed dtypes: {listing}. Cast them to one of them.")
    for name, tensor in tensors.items():
        tensors[name] = with_rank(op, name, tensor, 2, "[..., rows, columns]")
    return tuple(tensors.values())


def to_tensor(op: str, name: str, value, dtype: tf.DType | None = None) -> tf.Tensor:
    """The value as a tensor; ValueError, with the argument's name, where it is none (so typed)."""
    try:
        return tf.convert_to_tensor(value, dtype, name=name)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{op}: {name} is no array of numbers: {error}") from error


def with_rank(op: str, name: str, tensor: tf.Tensor, least: int, wanted: str) -> tf.Tensor:
    """Returns ``tensor``, which must have so many axes at least.

    Raises:
      ValueError: it is known to have fewer; says what shape is ``wanted``.
      tf.errors.InvalidArgumentError: it has fewer, seen when it is computed, before any slice of
        its shape complains in words of its own.
    """
    rank = tensor.shape.rank
    if rank is None:
        return require(tf.rank(tensor) >= least, f"{op}: {name} must be {wanted}.", tensor)
    if rank < least:
        raise ValueError(f"{op}: {name} has shape {tensor.shape}; it must be {wanted}.")
    return tensor


def check_square(op: str, name: str, tensor: tf.Tensor):
    """Raises ValueError where the last two axes are known statically and differ."""
    if tensor.shape.rank is None:
        return
    rows, columns = tensor.shape[-2:]
    if None not in (rows, columns) and rows != columns:
        raise ValueError(f"{op}: {name} has shape {tensor.shape}; it must be square, [..., n, n].")


def check_sides(op: str, l: tf.Tensor, b: tf.Tensor, right_side: bool = False):
    """Raises ValueError where b, ``[..., n, k]``, is known not to fit the square l beside it."""
    if l.shape.rank is None or b.shape.rank is None:
        return
    n, size = l.shape[-1], b.shape[-1 if right_side else -2]
    if None not in (n, size) and n != size:
        wanted = "[..., k, n]" if right_side else "[..., n, k]"
        raise ValueError(
            f"{op}: b has shape {b.shape}; it must be {wanted} with n = {n}, as l {l.shape} says."
        )


def require(condition: tf.Tensor, message: str, tensor: tf.Tensor) -> tf.Tensor:
    """Returns ``tensor``; where it is computed, the condition must hold.

    For sizes that are not known before. Inside XLA, which cannot raise, nothing happens.

    Raises:
      tf.errors.InvalidArgumentError: with the message, if the condition is false.
    """
    with tf.control_dependencies([tf.debugging.Assert(condition, [message])]):
        return tf.identity(tensor)


def broadcasting(op: str, name: str, tensor: tf.Tensor, other_name: str, other: tf.Tensor):
    """Returns ``tensor``, whose batch axes must broadcast with those of another argument.

    The compiled ops check that themselves; this is for operators composed of TensorFlow's own.

    Raises:
      ValueError: they are known not to; names the operator and the arguments.
      tf.errors.InvalidArgumentError: they do not, seen when the tensor is computed.
    """
    text = f"{op}: {name} has batch axes that do not broadcast with those of {other_name}"
    if tensor.shape.rank is not None and other.shape.rank is not None:
        try:
            tf.broadcast_static_shape(tensor.shape[:-2], other.shape[:-2])
        except ValueError as error:
            shapes = f"shapes {tensor.shape} and {other.shape}"
            raise ValueError(f"{text}: {shapes}.") from error
        if tensor.shape[:-2].is_fully_defined() and other.shape[:-2].is_fully_defined():
            return tensor
    sizes = [tf.shape(x, tf.int64)[:-2] for x in (tensor, other)]
    rank = tf.reduce_max([tf.size(x) for x in sizes])
    x, y = (tf.concat([tf.ones([rank - tf.size(x)], tf.int64), x], 0) for x in sizes)
    return require(tf.reduce_all((x == y) | (x == 1) | (y == 1)), text + ".", tensor)


def broadcasts_to(shape: tf.TensorShape, target: tf.TensorShape) -> bool:
    """Whether ``shape``, as far as it is known, broadcasts to ``target`` without changing it."""
    try:
        broadcast = tf.broadcast_static_shape(shape, target)
    except ValueError:
        return False
    return broadcast.rank == target.rank and broadcast.is_compatible_with(target)


def with_shape(x: tf.Tensor, shape) -> tf.Tensor:
    """``x``, of which this static shape is known. (``tf.ensure_shape`` has no forward mode.)"""
    x.set_shape(shape)
    return x


def check_choice(op: str, name: str, value, choices: tuple[str, ...]):
    """Raises ValueError where a keyword argument is not one of its choices."""
    if value not in choices:
        raise ValueError(f"{op}: {name} is {value!r}; it must be one of {', '.join(choices)}.")


def positive_int(op: str, name: str, value) -> int:
    """``value`` as an int; raises ValueError where it is not a positive whole number."""
    try:
        number = 0 if isinstance(value, bool) else operator.index(value)
    except TypeError:
        number = 0
    if number < 1:
        raise ValueError(f"{op}: {name} is {value!r}; it must be a positive int.")
    return number


def positive_size(op: str, name: str, value) -> int | tf.Tensor:
    """``positive_int`` that also takes an integer tensor ``[]``: an int, or int32 if not known yet.

    Raises:
      ValueError: it is not a positive whole number, or a tensor of which that is known.
      tf.errors.InvalidArgumentError: it is not, seen when the tensor is computed.
    """
    if not tf.is_tensor(value):
        return positive_int(op, name, value)
    value = tf.convert_to_tensor(value)
    message = f"{op}: {name} must be a positive int, or an integer tensor of shape []"
    if not value.dtype.is_integer or value.shape.rank not in (None, 0):
        raise ValueError(f"{message}; it is {value.dtype.name} with shape {value.shape}.")
    known = tf.get_static_value(value)
    if known is not None:
        return positive_int(op, name, int(known))
    wide = tf.cast(value, tf.int64)
    fits = tf.equal(tf.rank(wide), 0) & tf.reduce_all((wide > 0) & (wide <= tf.int32.max))
    return tf.reshape(tf.cast(require(fits, f"{message}.", wide), tf.int32), [])


def broadcast_batches(tensors, core_ranks):
    """The tensors, each with so many core axes, with the batch axes that theirs broadcast to."""
    known = all(x.shape.rank is not None for x in tensors)
    if known:
        cores = [x.shape[x.shape.rank - r :] for x, r in zip(tensors, core_ranks, strict=True)]
        batches = [x.shape[: x.shape.rank - r] for x, r in zip(tensors, core_ranks, strict=True)]
        batch = functools.reduce(tf.broadcast_static_shape, batches)
        if batch.is_fully_defined() and all(x == batch for x in batches):
            return list(tensors)
    sizes = [tf.shape(x) for x in tensors]
    ends = [tf.size(size) - r for size, r in zip(sizes, core_ranks, strict=True)]
    wanted = functools.reduce(
        tf.broadcast_dynamic_shape, [size[:end] for size, end in zip(sizes, ends, strict=True)]
    )
    results = [
        tf.broadcast_to(x, tf.concat([wanted, size[end:]], 0))
        for x, size, end in zip(tensors, sizes, ends, strict=True)
    ]
    if known:
        results = [with_shape(x, batch + core) for x, core in zip(results, cores, strict=True)]
    return results


def broadcast_matmul(a, b, **transposes):
    """``tf.matmul`` after broadcasting the batch axes.

    With oneDNN, TensorFlow 2.21 corrupts its heap in float32 products of unlike batch shapes, such
    as ``[17, 1, 2, 17]`` and ``[1, 1, 17, 17]``.
    """
    return tf.matmul(*broadcast_batches([a, b], [2, 2]), **transposes)


@tf.custom_gradient
def matrix_transpose(a):
    """``tf.linalg.matrix_transpose`` whose derivatives XLA can compile inside loops.

    TensorFlow's own computes the axes' order for each further derivative, and XLA refuses an order
    that it has to look up.
    """
    return tf.linalg.matrix_transpose(a), matrix_transpose
