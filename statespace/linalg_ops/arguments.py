"""Checks that every operator makes on its arguments, before either implementation sees them."""

import tensorflow as tf


def to_matrices(op: str, **arguments) -> tuple[tf.Tensor, ...]:
    """Converts an operator's matrix arguments to tensors ``[..., rows, columns]`` of one dtype.

    Raises:
      ValueError: an argument has fewer than two axes, is neither float32 nor float64, or the
        dtypes differ; names the operator and the arguments.
    """
    tensors = {name: tf.convert_to_tensor(value, name=name) for name, value in arguments.items()}
    for name, tensor in tensors.items():
        if tensor.dtype not in (tf.float32, tf.float64):
            raise ValueError(f"{op}: {name} is {tensor.dtype.name}; it must be float32 or float64.")
        if tensor.shape.rank is not None and tensor.shape.rank < 2:
            raise ValueError(
                f"{op}: {name} has shape {tensor.shape}; it must be [..., rows, columns]."
            )
    if len({tensor.dtype for tensor in tensors.values()}) > 1:
        listing = ", ".join(f"{name} is {tensor.dtype.name}" for name, tensor in tensors.items())
        raise ValueError(f"{op}: mixed dtypes: {listing}. Cast them to one of them.")
    return tuple(tensors.values())


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


def check_choice(op: str, name: str, value, choices: tuple[str, ...]):
    """Raises ValueError where a keyword argument is not one of its choices."""
    if value not in choices:
        raise ValueError(f"{op}: {name} is {value!r}; it must be one of {', '.join(choices)}.")
