"""Systems with a triangular matrix."""

import tensorflow as tf

from statespace import native
from statespace.linalg_ops.arguments import check_square, to_matrices
from statespace.linalg_ops.differentiation import reference_vjp, sum_to_shape
from statespace.linalg_ops.failure import spoil


def triangular_solve(l, b, *, lower=True, adjoint=False, right_side=False):
    """Solves op(L) X = B, or X op(L) = B with ``right_side``.

    op(L) is L, or its transpose with ``adjoint``. Batch axes broadcast by NumPy's rules.

    Args:
      l: triangular ``[..., n, n]``; the other triangle is never read.
      b: ``[..., n, k]``; ``[..., k, n]`` with ``right_side``. Same dtype as ``l``.
      lower: whether L is lower (True) or upper triangular.
      adjoint: solve with the transpose.
      right_side: L stands on the right of X.

    Returns:
      X, with the core shape of ``b`` and the broadcast batch axes. An L with a zero on its diagonal
      gives NaN for its own item, and for no other.

    The gradient with respect to L lies in its triangle.

    Raises:
      ValueError: a shape or dtype is wrong, statically known.
      tf.errors.InvalidArgumentError: a shape is wrong, seen when the op runs.

    References:
      Seeger et al., Auto-Differentiating Linear Algebra, arXiv:1710.08717, section 3.2 (trsm).

    Example:

      >>> import tensorflow as tf
      >>> from statespace import linalg_ops
      >>> l = tf.constant([[2.0, 0.0], [1.0, 1.0]])
      >>> linalg_ops.triangular_solve(l, tf.constant([[2.0], [3.0]])).numpy()
      array([[1.],
             [2.]], dtype=float32)
    """
    l, b = to_matrices("triangular_solve", l=l, b=b)
    check_square("triangular_solve", "l", l)
    _check_sides(l, b, right_side)
    ops = native.ops()
    if ops is None:
        solve = solve_right_reference if right_side else solve_reference
        return solve(l, b, lower=lower, adjoint=adjoint)
    solve = ops.statespace_triangular_solve_right if right_side else ops.statespace_triangular_solve
    return solve(l, b, lower=lower, adjoint=adjoint)


def _check_sides(l, b, right_side):
    if l.shape.rank is None or b.shape.rank is None:
        return
    n, size = l.shape[-1], b.shape[-1 if right_side else -2]
    if None not in (n, size) and n != size:
        wanted = "[..., k, n]" if right_side else "[..., n, k]"
        raise ValueError(
            f"triangular_solve: b has shape {b.shape}; it must be {wanted} with n = {n}, as l "
            f"{l.shape} says."
        )


def solve_reference(l, b, *, lower, adjoint):
    """op(L)^-1 B by TensorFlow's own solver, kept from raising on a singular item."""
    diagonal = tf.linalg.diag_part(l)
    singular = tf.reduce_any(tf.equal(diagonal, 0), axis=-1)
    safe = tf.where(singular[..., tf.newaxis], tf.ones_like(diagonal), diagonal)
    x = tf.linalg.triangular_solve(tf.linalg.set_diag(l, safe), b, lower=lower, adjoint=adjoint)
    failed = tf.broadcast_to(singular, tf.shape(x)[:-2])
    return spoil(x, failed)


def solve_right_reference(l, b, *, lower, adjoint):
    """B op(L)^-1, the transpose of op(L)^-T B'."""
    transposed = tf.linalg.matrix_transpose(b)
    x = solve_reference(l, transposed, lower=lower, adjoint=not adjoint)
    return tf.linalg.matrix_transpose(x)


def adjoint_reference(l, x, x_bar, *, lower, adjoint):
    """Cotangents of L and B from that of X, where op(L) X = B:

    1. d op(L) X + op(L) dX = dB, so dX = op(L)^-1 (dB - d op(L) X).
    2. B_bar = op(L)^-T X_bar.
    3. op(L)_bar = -B_bar X'; L_bar is that or its transpose, restricted to L's triangle.
    """
    b_bar = solve_reference(l, x_bar, lower=lower, adjoint=not adjoint)
    l_bar = (
        -tf.matmul(x, b_bar, transpose_b=True)
        if adjoint
        else -tf.matmul(b_bar, x, transpose_b=True)
    )
    below, above = (-1, 0) if lower else (0, -1)
    return tf.linalg.band_part(l_bar, below, above), b_bar


def adjoint_right_reference(l, x, x_bar, *, lower, adjoint):
    """The same for X op(L) = B, through op(L)' X' = B'."""
    transpose = tf.linalg.matrix_transpose
    l_bar, b_bar = adjoint_reference(
        l, transpose(x), transpose(x_bar), lower=lower, adjoint=not adjoint
    )
    return l_bar, transpose(b_bar)


def _register(name, native_gradient, reference):
    @tf.RegisterGradient(name)
    def _gradient(op, x_bar):
        l, b = op.inputs
        l_bar, b_bar = getattr(native.library(), native_gradient)(
            l, op.outputs[0], x_bar, lower=op.get_attr("lower"), adjoint=op.get_attr("adjoint")
        )
        return sum_to_shape(l_bar, l), sum_to_shape(b_bar, b)

    @tf.RegisterGradient(f"{name}Grad")
    def _gradient_of_gradient(op, l_bar_bar, b_bar_bar):
        sides = {"lower": op.get_attr("lower"), "adjoint": op.get_attr("adjoint")}
        return reference_vjp(
            lambda l, x, x_bar: reference(l, x, x_bar, **sides),
            op.inputs,
            [l_bar_bar, b_bar_bar],
        )


_register("StatespaceTriangularSolve", "statespace_triangular_solve_grad", adjoint_reference)
_register(
    "StatespaceTriangularSolveRight",
    "statespace_triangular_solve_right_grad",
    adjoint_right_reference,
)
