"""Linear least squares through orthogonal factors."""

import tensorflow as tf

from statespace.linalg_ops.arguments import broadcasting, require, to_matrices
from statespace.linalg_ops.failure import spoil, stand_in
from statespace.linalg_ops.lq import dependent_rows, lq
from statespace.linalg_ops.triangular import triangular_solve


def least_squares(a, b, *, ridge=0.0):
    """The X that minimises ``|A X - B|^2 + ridge |X|^2``, column by column of B.

    Where A has fewer rows than columns and ``ridge`` is zero, the X of least norm with A X = B. The
    normal equations, which square the condition number, are formed neither here nor in the
    gradient. Batch axes of all arguments broadcast by NumPy's rules; right sides that share an A
    cost least as columns of B.

    Args:
      a: ``[..., m, n]``, float32 or float64, of full rank unless ``ridge`` is positive.
      b: ``[..., m, k]``, same dtype.
      ridge: non-negative number, or tensor ``[...]`` with the batch axes alone. Its gradient needs
        a positive value.

    Returns:
      X ``[..., n, k]``. An item is NaN throughout, and no other, if a or b has a NaN or an infinity
      there, if its ridge is negative, or if the columns of A (rows, where it has fewer) are
      dependent up to rounding in the sense of ``lq``.

    Raises:
      ValueError: a shape or dtype is wrong, or the number ``ridge`` is negative.
      tf.errors.InvalidArgumentError: a shape is wrong, seen when the op runs.

    References:
      Golub & Van Loan, Matrix Computations, 4th ed., sections 5.3 and 6.1.4.

    Example:

      >>> import tensorflow as tf
      >>> from statespace import linalg_ops
      >>> a = tf.constant([[1.0, 0.0], [1.0, 1.0], [1.0, 2.0]], tf.float64)
      >>> b = tf.constant([[1.0], [3.0], [5.0]], tf.float64)
      >>> linalg_ops.least_squares(a, b).numpy().round(6)
      array([[1.],
             [2.]])
    """
    a, b = to_matrices("least_squares", a=a, b=b)
    _check_rows(a, b)
    b = broadcasting("least_squares", "b", b, "a", a)
    if isinstance(ridge, (int, float)):
        if not ridge >= 0:
            raise ValueError(f"least_squares: ridge is {ridge}; it must not be negative.")
        scale = None if ridge == 0 else tf.constant(ridge**0.5, a.dtype)
    else:
        ridge = tf.convert_to_tensor(ridge, name="ridge")
        if ridge.dtype != a.dtype:
            raise ValueError(
                f"least_squares: ridge is {ridge.dtype.name} and a is {a.dtype.name}; they must be "
                "of one dtype."
            )
        nan = tf.constant(float("nan"), ridge.dtype)
        scale = tf.where(ridge < 0, nan, tf.sqrt(tf.where(ridge < 0, tf.ones_like(ridge), ridge)))
    rows, columns = a.shape[-2:] if a.shape.rank is not None else (None, None)
    if None not in (rows, columns):
        return _determined(a, b, scale) if rows >= columns else _underdetermined(a, b, scale)
    same = tf.equal(tf.shape(a)[-2], tf.shape(b)[-2])
    b = require(same, "least_squares: b must have as many rows as a.", b)
    return tf.cond(
        tf.shape(a)[-2] >= tf.shape(a)[-1],
        lambda: _determined(a, b, scale),
        lambda: _underdetermined(a, b, scale),
    )


def _check_rows(a, b):
    if a.shape.rank is None or b.shape.rank is None:
        return
    rows = a.shape[-2], b.shape[-2]
    if None not in rows and rows[0] != rows[1]:
        raise ValueError(
            f"least_squares: b has shape {b.shape}; it must be [..., m, k] with m = {rows[0]}, as "
            f"a {a.shape} says."
        )


def _determined(a, b, scale):
    """No more columns than rows: X minimises |[A; s I] X - [B; 0]|.

    With [A' s I; B' 0] = [L 0; M N] Q, the problem's matrix is Q' [L'; 0] and its right side
    Q' [M'; N'], so that L' X = M'. Q itself is not needed.
    """
    a, failed_a = _finite(_augmented(tf.linalg.matrix_transpose(a), scale))
    b, failed_b = _finite(tf.linalg.matrix_transpose(b))
    size = tf.shape(a)[-2]
    if scale is not None:
        zeros = tf.zeros(tf.concat([tf.shape(b)[:-1], [size]], 0), b.dtype)
        b = tf.concat([b, zeros], axis=-1)
    l = lq(tf.concat(_broadcast(a, b), axis=-2), mode="l")
    failed = _any_dependent(l, size, a) | failed_a | failed_b
    identity = tf.eye(tf.shape(l)[-2], tf.shape(l)[-1], dtype=l.dtype)
    l = stand_in(l, failed, identity)
    m = tf.linalg.matrix_transpose(l[..., size:, :size])
    return spoil(triangular_solve(l[..., :size, :size], m, adjoint=True), failed)


def _underdetermined(a, b, scale):
    """Fewer rows than columns: with [A s I] = L Q, [X; Z] = Q' L^-1 B is shortest.

    Among all with A X + s Z = B, that is; and |X|^2 + |Z|^2 = |X|^2 + |A X - B|^2 / s^2.
    """
    columns = tf.shape(a)[-1]
    a, failed = _finite(_augmented(a, scale))
    b, failed_b = _finite(b)
    l, q = lq(a)
    failed |= _any_dependent(l, tf.shape(l)[-1], a)
    l = stand_in(l, failed, tf.eye(tf.shape(l)[-1], dtype=l.dtype))
    x = tf.matmul(q[..., :columns], triangular_solve(l, b), transpose_a=True)
    return spoil(x, tf.broadcast_to(failed | failed_b, tf.shape(x)[:-2]))


def _any_dependent(l, count, a):
    return tf.reduce_any(dependent_rows(l, tf.shape(a)[-1])[..., :count], axis=-1)


def _finite(x):
    """Zeros in place of the items with a NaN or an infinity, and which these are."""
    failed = tf.logical_not(tf.reduce_all(tf.math.is_finite(x), axis=[-2, -1]))
    return stand_in(x, failed, tf.zeros_like(x)), failed


def _broadcast(a, b):
    batch = tf.broadcast_dynamic_shape(tf.shape(a)[:-2], tf.shape(b)[:-2])
    return [tf.broadcast_to(x, tf.concat([batch, tf.shape(x)[-2:]], 0)) for x in (a, b)]


def _augmented(a, scale):
    """[A s I]."""
    if scale is None:
        return a
    multiple = scale[..., tf.newaxis, tf.newaxis] * tf.eye(tf.shape(a)[-2], dtype=a.dtype)
    return tf.concat(_broadcast(a, multiple), axis=-1)
