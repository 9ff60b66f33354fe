"""Linear least squares through orthogonal factors."""

import tensorflow as tf

from statespace.linalg_ops.arguments import (
    broadcast_batches,
    broadcasting,
    check_choice,
    require,
    to_matrices,
    to_tensor,
    with_rank,
    with_shape,
)
from statespace.linalg_ops.failure import (
    ON_FAILURE,
    not_finite,
    raise_where_failed,
    spoil,
    stand_in,
)
from statespace.linalg_ops.lq import dependent_rows, lq
from statespace.linalg_ops.products import gemm
from statespace.linalg_ops.pseudo_inverse import pseudo_inverse
from statespace.linalg_ops.triangular import triangular_solve

NO_SOLUTION = (
    "has no unique solution: not of full rank, or not finite; first dependent row or column:"
)


def least_squares(
    a,
    b,
    *,
    weights=None,
    ridge=0.0,
    minimum_norm=False,
    on_failure="nan",
    return_info=False,
):
    """The X that minimises ``|A X - B|^2 + ridge |X|^2``, column by column of B.

    With weights, the first term is the sum over rows of ``weight_i |a_i X - b_i|^2``. Where A has
    fewer rows than columns and ``ridge`` is zero, the X of least norm with A X = B. The
    normal equations, which square the condition number, are formed neither here nor in the
    gradient. Batch axes of all arguments broadcast by NumPy's rules; right sides that share an A
    cost least as columns of B.

    Args:
      a: ``[..., m, n]``, float32 or float64, of full rank unless ``ridge`` is positive or
        ``minimum_norm`` true.
      b: ``[..., m, k]``, same dtype.
      weights: non-negative, ``[..., m]``, same dtype. A row of weight zero does not exist, whatever
        it holds, and its weight is a constant to the gradient.
      ridge: non-negative number, or tensor ``[...]`` with the batch axes alone. Its gradient needs
        a positive value.
      minimum_norm: let A have any rank: of all X that are equally good, the one of least norm, as
        ``numpy.linalg.lstsq`` has it. Singular values up to max(m, n) eps times the largest count
        as zero. Derivatives are those for changes of A that keep its rank: for others, X jumps.
        Takes several times as long, and an error in X is not as small where rows of A differ
        greatly in size.
      on_failure: what an item without a unique solution does. "nan": it becomes NaN throughout, its
        neighbours are untouched, and a zero cotangent into it gives a zero gradient. "raise":
        ``InvalidArgumentError``; inside XLA, which cannot raise, as "nan".
      return_info: also return the status.

    Returns:
      X ``[..., n, k]``. An item is NaN if a or b has a NaN or an infinity there, if its ridge or a
      weight is negative, or if the columns of A (rows, where it has fewer) are dependent up to
      rounding in the sense of ``lq``, unless ``minimum_norm``. With ``return_info``, the pair of X
      and an int32 ``[...]``: 0, or the (1-based) first column (row) that depends on those before
      it, one more than there are where something is not finite or negative.

    Two derivatives exist, also where A X = B is solved exactly.

    Raises:
      ValueError: a shape or dtype is wrong, or the number ``ridge`` is negative.
      tf.errors.InvalidArgumentError: a shape is wrong, seen when the op runs; or an item failed and
        ``on_failure="raise"``.

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
    check_choice("least_squares", "on_failure", on_failure, ON_FAILURE)
    b = _with_rows_of(a, "b", b, -2, "[..., m, k]")
    b = broadcasting("least_squares", "b", b, "a", a)
    if weights is not None:
        a, b = _weighted(a, b, weights)
    scale = _root(ridge, a.dtype)
    # A positive number makes every A one of full rank.
    any_rank = minimum_norm and (scale is None or not isinstance(ridge, (int, float)))
    x, info = (_solve_any_rank if any_rank else _solve)(a, b, scale)
    if on_failure == "raise":
        x, info = raise_where_failed("least_squares", info, NO_SOLUTION, (x, info))
    return (x, info) if return_info else x


def _root(ridge, dtype):
    """s with s^2 = ridge, or None for zero; NaN for a negative entry of a tensor."""
    if isinstance(ridge, (int, float)):
        if not 0 <= ridge < float("inf"):
            raise ValueError(
                f"least_squares: ridge is {ridge}; it must not be negative, nor infinite."
            )
        return None if ridge == 0 else tf.constant(ridge**0.5, dtype)
    ridge = to_tensor("least_squares", "ridge", ridge)
    if ridge.dtype != dtype:
        raise ValueError(
            f"least_squares: ridge is {ridge.dtype.name} and a is {dtype.name}; they must be of "
            "one dtype."
        )
    nan = tf.constant(float("nan"), dtype)
    return tf.where(ridge < 0, nan, tf.sqrt(tf.where(ridge < 0, tf.ones_like(ridge), ridge)))


def _weighted(a, b, weights):
    """Both with the roots of the weights as factors of their rows."""
    weights = to_tensor("least_squares", "weights", weights)
    if weights.dtype != a.dtype:
        raise ValueError(
            f"least_squares: weights is {weights.dtype.name} and a is {a.dtype.name}; they must be "
            "of one dtype."
        )
    weights = with_rank("least_squares", "weights", weights, 1, "[..., m]")
    weights = _with_rows_of(a, "weights", weights, -1, "[..., m]")
    weights = broadcasting("least_squares", "weights", weights[..., tf.newaxis], "a", a)
    positive, zero = weights > 0, tf.equal(weights, 0)
    root = tf.sqrt(tf.where(positive, weights, tf.ones_like(weights)))
    root = tf.where(positive | zero, root, tf.constant(float("nan"), a.dtype))
    return tuple(tf.where(zero, tf.zeros([], a.dtype), root * x) for x in (a, b))


def _with_rows_of(a, name, value, axis, form):
    """The value, checked to have one entry for each row of a, at the latest when it is computed."""
    known = a.shape.rank is not None and value.shape.rank is not None
    rows = (a.shape[-2], value.shape[axis]) if known else (None, None)
    if None in rows:
        fits = tf.equal(tf.shape(a)[-2], tf.shape(value)[axis])
        return require(fits, f"least_squares: {name} must have as many rows as a.", value)
    if rows[0] != rows[1]:
        raise ValueError(
            f"least_squares: {name} has shape {value.shape}; it must be {form} with m = {rows[0]}, "
            f"as a {a.shape} says."
        )
    return value


def _solve(a, b, scale):
    """X and its status, where [A s I] = L Q or, with at least as many rows as columns, [A' s I].

    1. With at least as many rows as columns, X minimises |[A; s I] X - [B; 0]|. As [A' s I] =
       L [Q_1 Q_2], that is |L' X - Q_1 B| and a rest without X.
    2. Otherwise [X; Z] = Q' L^-1 B is the shortest with A X + s Z = B, where |X|^2 + |Z|^2 =
       |X|^2 + |A X - B|^2 / s^2.
    """
    rows, columns = a.shape[-2:] if a.shape.rank is not None else (None, None)
    if rows is None or columns is None:
        rows, columns = tf.unstack(tf.shape(a)[-2:], num=2)
    tall = rows >= columns
    l, q, b, info = _factor(_transposed_if(tall, a), b, scale)
    if tall is True:
        x = triangular_solve(l, gemm(q[..., :rows], b), adjoint=True)
    elif tall is False:
        x = gemm(q[..., :columns], triangular_solve(l, b), transpose_a=True)
    else:
        x = _either(tall, l, q, b, rows, columns)
    return spoil(x, info > 0), info


def _solve_any_rank(a, b, scale):
    """X of least norm and its status: what there is of the inverse of [A; s I], times [B; 0]."""
    rows = tf.shape(a)[-2]
    if scale is not None:
        diagonal = tf.linalg.diag(scale[..., tf.newaxis] + tf.zeros_like(tf.reduce_sum(a, axis=-2)))
        a = tf.concat(broadcast_batches([a, diagonal], [2, 2]), axis=-2)
    failed, failed_b = not_finite(a), not_finite(b)
    a = stand_in(a, failed, tf.zeros_like(a))
    b = stand_in(b, failed_b, tf.zeros_like(b))
    x = gemm(pseudo_inverse(a)[..., :rows], b)
    failed = tf.broadcast_to(failed | failed_b, tf.shape(x)[:-2])
    count = 1 + tf.minimum(rows, tf.shape(x)[-2])
    return spoil(x, failed), tf.where(failed, count, 0)


def _transposed_if(condition, a):
    if isinstance(condition, bool):
        return tf.linalg.matrix_transpose(a) if condition else a
    rank = tf.rank(a)
    last = tf.where(condition, [rank - 1, rank - 2], [rank - 2, rank - 1])
    return with_shape(
        tf.transpose(a, tf.concat([tf.range(rank - 2), last], 0)),
        None if a.shape.rank is None else [*a.shape[:-2], None, None],
    )


def _either(tall, l, q, b, rows, columns):
    """The solution for shapes that are known when the graph runs.

    Without tf.cond, which has no forward mode in a graph and loses second derivatives: Q stands
    before the substitution or after it, and an identity in the other place.
    """
    factors = tf.concat([q, _identity_like(l)], axis=-1)
    width = tf.shape(q)[-1]
    before = tf.where(tall, 0, width)
    after = width - before
    c = gemm(factors[..., before : before + rows], b)
    y = tf.where(tall, triangular_solve(l, c, adjoint=True), triangular_solve(l, c))
    return gemm(factors[..., after : after + columns], y, transpose_a=True)


def _factor(a, b, scale):
    """L and Q of [A s I], B, and the status; in place of what failed, something harmless."""
    if scale is not None:
        # In the batch of A from the start: in an empty one, the identity takes no memory.
        diagonal = scale[..., tf.newaxis] + tf.zeros_like(tf.reduce_sum(a, axis=-1))
        a = tf.concat(broadcast_batches([a, tf.linalg.diag(diagonal)], [2, 2]), axis=-1)
    failed, failed_b = not_finite(a), not_finite(b)
    a = stand_in(a, failed, tf.zeros_like(a))
    b = stand_in(b, failed_b, tf.zeros_like(b))
    l, q = lq(a)
    dependent = tf.cast(dependent_rows(l, tf.shape(a)[-1]), tf.int32)
    first = 1 + tf.reduce_sum(tf.math.cumprod(1 - dependent, axis=-1), axis=-1)
    rank = tf.shape(l)[-1]
    info = tf.where(failed, rank + 1, tf.where(first > rank, 0, first))
    l = stand_in(l, info > 0, _identity_like(l))
    return l, q, b, tf.where(failed_b, rank + 1, info)


def _identity_like(l):
    return tf.linalg.diag(tf.ones_like(tf.linalg.diag_part(l)))
