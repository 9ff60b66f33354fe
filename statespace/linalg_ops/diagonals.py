"""Diagonals and packed triangles of matrices, and what is read off them.

Moving numbers needs no kernel of ours: diagonals and triangles are TensorFlow's own slices and
gathers. Only the sum of logarithms is compiled. Triangles are packed by rows; semantics and names
of offsets are those of MXNet's ``linalg`` ops (extractdiag, makediag, extracttrian, maketrian,
sumlogdiag).
"""

import functools
import math

import numpy as np
import tensorflow as tf

from statespace import native
from statespace.linalg_ops.arguments import (
    check_square,
    require,
    to_matrices,
    with_rank,
    with_shape,
)
from statespace.linalg_ops.differentiation import custom_rule, op_vjp
from statespace.linalg_ops.failure import spoil


def extract_diag(a, *, offset=0):
    """Diagonal of a matrix.

    Args:
      a: ``[..., m, n]``, float32 or float64.
      offset: which diagonal: 0 the main one, k > 0 the k-th above it, k < 0 the k-th below.

    Returns:
      ``[..., length]``; for a square matrix, ``length`` is n - abs(offset).

    Raises:
      ValueError: shape or dtype is wrong, or the matrix has no such diagonal.

    References:
      MXNet, ``linalg_extractdiag``.

    Example:

      >>> import tensorflow as tf
      >>> from statespace import linalg_ops
      >>> linalg_ops.extract_diag(tf.constant([[1.0, 2.0], [3.0, 4.0]]), offset=-1).numpy()
      array([3.], dtype=float32)
    """
    (a,) = to_matrices("extract_diag", a=a)
    _check_offset("extract_diag", offset)
    a = _trimmed(_sized("extract_diag", "a", a, *_has_diagonal(offset)), abs(offset))
    return tf.linalg.diag_part(_sized("extract_diag", "a", a, *_COUNTABLE), k=offset)


def make_diag(diagonal, *, offset=0):
    """Square matrix with given numbers on a diagonal and zero elsewhere.

    Args:
      diagonal: ``[..., k]``, float32 or float64.
      offset: which diagonal: 0 the main one, above it if positive, below if negative.

    Returns:
      ``[..., n, n]`` with n = k + abs(offset).

    Raises:
      ValueError: shape or dtype is wrong, or n is larger than 46 340.
      tf.errors.InvalidArgumentError: the same of a shape, seen when the op runs.

    References:
      MXNet, ``linalg_makediag``.

    Example:

      >>> import tensorflow as tf
      >>> from statespace import linalg_ops
      >>> linalg_ops.make_diag(tf.constant([1.0, 2.0]), offset=1).numpy()
      array([[0., 1., 0.],
             [0., 0., 2.],
             [0., 0., 0.]], dtype=float32)
    """
    diagonal = _to_vectors("make_diag", "diagonal", diagonal)
    _check_offset("make_diag", offset)
    n = _packable("make_diag", "diagonal", diagonal, _size(diagonal) + abs(offset))
    if isinstance(n, int) and n > abs(offset):
        return tf.linalg.diag(diagonal, k=offset)
    # TensorFlow has no gradient where the diagonal is empty, and takes an unknown length for -1.
    return _unpack(diagonal, n, offset, "diagonal")


def extract_triangle(a, *, offset=0, lower=True):
    """Triangle of a square matrix, packed by rows into a vector.

    Args:
      a: ``[..., n, n]``, float32 or float64.
      offset: 0 for the triangle with the main diagonal. k > 0 asks for the upper triangle that
        begins with the k-th diagonal above it, k < 0 for the lower triangle that begins with the
        k-th below, whatever ``lower`` says.
      lower: with ``offset=0``, whether the lower triangle is meant (True) or the upper one.

    Returns:
      ``[..., k (k + 1) / 2]`` with k = n - abs(offset).

    Raises:
      ValueError: shape or dtype is wrong, the matrix has no such diagonal, or n is larger than
        46 340.
      tf.errors.InvalidArgumentError: the same of a shape, seen when the op runs.

    References:
      MXNet, ``linalg_extracttrian``.

    Example:

      >>> import tensorflow as tf
      >>> from statespace import linalg_ops
      >>> a = tf.constant([[1.0, 2.0], [3.0, 4.0]])
      >>> linalg_ops.extract_triangle(a).numpy()
      array([1., 3., 4.], dtype=float32)
      >>> linalg_ops.extract_triangle(a, offset=1).numpy()
      array([2.], dtype=float32)
    """
    (a,) = to_matrices("extract_triangle", a=a)
    check_square("extract_triangle", "a", a)
    _check_offset("extract_triangle", offset)
    for requirement in (_SQUARE, _has_diagonal(offset), _PACKABLE):
        a = _sized("extract_triangle", "a", a, *requirement)
    return _pack(a, _size(a), offset, _which(offset, lower))


def make_triangle(entries, *, offset=0, lower=True):
    """Triangular matrix from its entries packed by rows; the inverse of ``extract_triangle``.

    Args:
      entries: ``[..., k (k + 1) / 2]``, float32 or float64.
      offset: where the triangle begins: 0 at the main diagonal, k > 0 at the k-th above it (the
        triangle is then the upper one), k < 0 at the k-th below (the lower one).
      lower: with ``offset=0``, whether the triangle is the lower (True) or the upper one.

    Returns:
      ``[..., n, n]`` with n = k + abs(offset), zero outside the triangle.

    Raises:
      ValueError: shape or dtype is wrong, such as a length that is no k (k + 1) / 2, or n is larger
        than 46 340.
      tf.errors.InvalidArgumentError: the same, seen when the op runs.

    References:
      MXNet, ``linalg_maketrian``.

    Example:

      >>> import tensorflow as tf
      >>> from statespace import linalg_ops
      >>> linalg_ops.make_triangle(tf.constant([1.0, 2.0, 3.0])).numpy()
      array([[1., 0.],
             [2., 3.]], dtype=float32)
    """
    entries = _to_vectors("make_triangle", "entries", entries)
    _check_offset("make_triangle", offset)
    n = _packable("make_triangle", "entries", entries, _triangle_size(entries, offset))
    return _unpack(entries, n, offset, _which(offset, lower))


def sum_log_diag(l):
    """Sum of the logarithms of the diagonal: half the log-determinant of L L' for triangular L.

    Args:
      l: ``[..., n, n]``, float32 or float64. Only the diagonal is read.

    Returns:
      ``[...]``; NaN for the items whose diagonal is not positive and finite throughout.

    The cotangent of L has that of the sum over ``l[i, i]`` on its diagonal. Where a cotangent is
    zero, so is the gradient, whatever L.

    Raises:
      ValueError: shape or dtype is wrong.

    References:
      Seeger et al., Auto-Differentiating Linear Algebra, arXiv:1710.08717, section 3 (sumlogdiag).

    Example:

      >>> import tensorflow as tf
      >>> from statespace import linalg_ops
      >>> l = tf.constant([[2.0, 0.0], [5.0, 4.0]], tf.float64)
      >>> float(linalg_ops.sum_log_diag(l) / tf.math.log(tf.constant(2.0, tf.float64)))
      3.0
    """
    (l,) = to_matrices("sum_log_diag", l=l)
    check_square("sum_log_diag", "l", l)
    for requirement in (_SQUARE, _COUNTABLE):
        l = _sized("sum_log_diag", "l", l, *requirement)
    return _sum_log(tf.linalg.diag_part(l))


def _sum_log(x):
    ops = native.ops()
    return sum_log_reference(x) if ops is None else ops.statespace_sum_log(x)


def _failed(x):
    return tf.logical_not(tf.reduce_all((x > 0) & tf.math.is_finite(x), axis=-1))


@custom_rule
def sum_log_reference(x):
    """Sum of the logarithms of ``[..., n]``, with the gradient of ``sum_log_adjoint_reference``."""
    failed = _failed(x)
    safe = tf.where(failed[..., tf.newaxis], tf.ones_like(x), x)
    total = spoil(tf.reduce_sum(tf.math.log(safe), axis=-1), failed)
    return total, lambda total_bar: sum_log_adjoint_reference(x, total_bar)


def sum_log_adjoint_reference(x, total_bar):
    """Cotangent of x from that of the sum of its logarithms: total_bar / x."""
    failed = _failed(x)
    safe = tf.where(failed[..., tf.newaxis], tf.ones_like(x), x)
    total_bar = tf.convert_to_tensor(total_bar)  # it may come as slices
    return spoil(total_bar[..., tf.newaxis] / safe, failed & tf.not_equal(total_bar, 0))


@tf.RegisterGradient("StatespaceSumLog")
def _gradient(op, total_bar):
    return native.library().statespace_sum_log_grad(op.inputs[0], total_bar)


@tf.RegisterGradient("StatespaceSumLogGrad")
def _gradient_of_gradient(op, x_bar_bar):
    return op_vjp(op, sum_log_adjoint_reference, [x_bar_bar])


def _to_vectors(op, name, value):
    x = tf.convert_to_tensor(value, name=name)
    if x.dtype not in (tf.float32, tf.float64):
        raise ValueError(f"{op}: {name} is {x.dtype.name}; it must be float32 or float64.")
    return with_rank(op, name, x, 1, "[..., length]")


def _check_offset(op, offset):
    if isinstance(offset, bool) or not isinstance(offset, int | np.integer):
        raise ValueError(f"{op}: offset is {offset!r}; it must be a Python integer.")


_MOST_PACKED = 46_340  # TensorFlow counts the places of a matrix, packed or not, in 32 bits
# What may be required of a matrix: a condition on its numbers of rows and columns, and its words.
_SQUARE = (lambda m, n: m == n, "must be square.")
# tf.linalg.diag_part crashes beyond.
_COUNTABLE = (lambda m, n: (m < 2**31) & (n < 2**31), "must have fewer than 2^31 rows and columns.")
_PACKABLE = (lambda _, n: n <= _MOST_PACKED, f"must not be larger than {_MOST_PACKED}.")


def _has_diagonal(offset):
    def long_enough(m, n):
        return ((n if offset > 0 else m) > abs(offset)) | (offset == 0)

    return long_enough, f"must have a diagonal with offset {offset}."


def _sized(op, name, a, condition, requirement):
    """``a``, of which that is required; seen when it is computed, where its sizes are unknown."""
    if a.shape.rank is not None and None not in a.shape[-2:]:
        if not condition(*a.shape[-2:]):
            raise ValueError(f"{op}: {name} has shape {a.shape}; it {requirement}")
        return a
    sizes = tf.shape(a, tf.int64)
    return require(condition(sizes[-2], sizes[-1]), f"{op}: {name} {requirement}", a)


def _trimmed(a, offset):
    """``a`` without rows or columns that lie beyond every diagonal up to that offset, but for one.

    TensorFlow's gradient of a diagonal goes through all rows, even of a matrix without columns.
    """
    m, n = a.shape[-2:] if a.shape.rank is not None else (None, None)
    if m is not None and n is not None and abs(m - n) <= offset:
        return a
    if native.traced_for_xla():  # where the gradient of a slice cannot be vectorised
        return a
    sizes = tf.shape(a, tf.int64)
    most = tf.reduce_min(sizes[-2:]) + offset + 1
    sizes = tf.concat([sizes[:-2], tf.minimum(sizes[-2:], most)], 0)
    trimmed = tf.slice(a, tf.zeros_like(sizes), sizes)
    if m is None or n is None:
        return trimmed
    most = min(m, n) + offset + 1
    return with_shape(trimmed, [*a.shape[:-2], min(m, most), min(n, most)])


def _packable(op, name, entries, n):
    """n, the size of the matrix that entries make, not too large; checked as by ``_sized``."""
    requirement = f"must not make a matrix larger than {_MOST_PACKED}."
    if not isinstance(n, int):
        return require(n <= _MOST_PACKED, f"{op}: {name} {requirement}", n)
    if n > _MOST_PACKED:
        raise ValueError(f"{op}: {name} has shape {entries.shape}; it {requirement}")
    return n


def _which(offset, lower):
    return "lower" if offset < 0 or (offset == 0 and lower) else "upper"


def _mask(n, offset, part):
    """bool ``[n * n]``: a triangle or diagonal of a flat matrix; by NumPy if n is known."""
    if isinstance(n, int):
        row, column = np.divmod(np.arange(n * n), max(n, 1))
    else:
        row, column = tf.range(n * n) // tf.maximum(n, 1), tf.range(n * n) % tf.maximum(n, 1)
    if part == "diagonal":
        return (column - row >= offset) & (column - row <= offset)
    return column - row <= offset if part == "lower" else column - row >= offset


@functools.lru_cache(maxsize=256)
def _static_places(n, offset, part):
    """The places of a part in a flat matrix, and its entry at each place (or one beyond)."""
    mask = _mask(n, offset, part)
    inside = np.flatnonzero(mask).astype(np.int32)
    entry = np.where(mask, np.cumsum(mask) - 1, inside.size).astype(np.int32)
    return inside, entry


def _places(n, offset, part):
    if isinstance(n, int):
        return _static_places(n, offset, part)
    mask = _mask(n, offset, part)
    k = n - abs(offset)
    size = k if part == "diagonal" else k * (k + 1) // 2
    # A stable sort puts the places inside first and keeps their order; its shapes are known to XLA.
    inside = tf.argsort(tf.cast(~mask, tf.int32), stable=True)[:size]
    return inside, tf.where(mask, tf.cumsum(tf.cast(mask, tf.int32)) - 1, size)


def _size(a):
    """The last axis of ``a``: an int where it is known, else a tensor."""
    n = a.shape[-1] if a.shape.rank is not None else None
    return tf.shape(a)[-1] if n is None else n


def _pack(a, n, offset, part):
    """A triangle or diagonal of ``a`` as a vector; its adjoint is ``_unpack``."""

    @tf.custom_gradient
    def pack(a):
        inside, _ = _places(n, offset, part)
        flat = tf.reshape(a, tf.concat([tf.shape(a)[:-2], [n * n]], 0))
        return tf.gather(flat, inside, axis=-1), lambda x_bar: _unpack(
            tf.convert_to_tensor(x_bar), n, offset, part
        )

    return pack(a)


def _unpack(entries, n, offset, part):
    """The matrix ``[..., n, n]`` of a packed part; its adjoint is ``_pack``."""

    @tf.custom_gradient
    def unpack(entries):
        _, entry = _places(n, offset, part)
        batch = tf.shape(entries)[:-1]
        zero = tf.zeros(tf.concat([batch, [1]], 0), entries.dtype)
        flat = tf.gather(tf.concat([entries, zero], -1), entry, axis=-1)
        x = tf.reshape(flat, tf.concat([batch, [n, n]], 0))
        return x, lambda x_bar: _pack(tf.convert_to_tensor(x_bar), n, offset, part)

    return unpack(entries)


def _triangle_size(entries, offset):
    """n of the matrix whose triangle has as many entries as the last axis is long."""
    length = _size(entries)
    if isinstance(length, int):
        k = (math.isqrt(8 * length + 1) - 1) // 2
        if k * (k + 1) // 2 != length:
            raise ValueError(
                f"make_triangle: entries has shape {entries.shape}; its last axis must be "
                "k (k + 1) / 2 long for a whole k, such as 1, 3, 6 or 10."
            )
        return k + abs(offset)
    length = tf.cast(length, tf.int64)
    root = tf.sqrt(tf.cast(8 * length + 1, tf.float64))
    k = (tf.cast(tf.round(root), tf.int64) - 1) // 2
    text = "make_triangle: entries must have a last axis that is k (k + 1) / 2 long."
    k = require(tf.equal(k * (k + 1) // 2, length), text, k)
    return tf.cast(k, tf.int32) + abs(offset)
