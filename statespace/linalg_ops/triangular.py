"""Systems with a triangular matrix, and products."""

import functools

import tensorflow as tf

from statespace import native
from statespace.linalg_ops.arguments import (
    broadcast_matmul,
    check_sides,
    check_square,
    to_matrices,
)
from statespace.linalg_ops.differentiation import custom_rule, op_vjp, sum_to_shape
from statespace.linalg_ops.failure import all_zero, append_axes, not_finite, spoil, spoil_used


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
      X, with the core shape of ``b`` and the broadcast batch axes. An L with a zero on its
      diagonal, or a NaN or an infinity, gives NaN for its own item, and for no other.

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
    check_sides("triangular_solve", l, b, right_side)
    ops = native.ops()
    if ops is None:
        return _solve_by_reference(l, b, lower, adjoint, right_side)
    solve = ops.statespace_triangular_solve_right if right_side else ops.statespace_triangular_solve
    return solve(l, b, lower=lower, adjoint=adjoint)


def triangular_multiply(l, b, *, lower=True, adjoint=False, right_side=False):
    """op(L) B, or B op(L) with ``right_side``.

    op(L) is L, or its transpose with ``adjoint``. Batch axes broadcast by NumPy's rules.

    Args:
      l: triangular ``[..., n, n]``; the other triangle is never read.
      b: ``[..., n, k]``; ``[..., k, n]`` with ``right_side``. Same dtype as ``l``.
      lower: whether L is lower (True) or upper triangular.
      adjoint: multiply with the transpose.
      right_side: L stands on the right.

    Returns:
      The product, with the core shape of ``b`` and the broadcast batch axes.

    The gradient with respect to L lies in its triangle.

    Raises:
      ValueError: a shape or dtype is wrong, statically known.
      tf.errors.InvalidArgumentError: a shape is wrong, seen when the op runs.

    References:
      Seeger et al., Auto-Differentiating Linear Algebra, arXiv:1710.08717, section 3.2 (trmm).

    Example:

      >>> import tensorflow as tf
      >>> from statespace import linalg_ops
      >>> l = tf.constant([[2.0, 0.0], [1.0, 1.0]])
      >>> linalg_ops.triangular_multiply(l, tf.constant([[1.0], [2.0]])).numpy()
      array([[2.],
             [3.]], dtype=float32)
    """
    l, b = to_matrices("triangular_multiply", l=l, b=b)
    check_square("triangular_multiply", "l", l)
    check_sides("triangular_multiply", l, b, right_side)
    ops = native.ops()
    if ops is None:
        return _multiply_by_reference(l, b, lower, adjoint, right_side)
    left, right = ops.statespace_triangular_multiply, ops.statespace_triangular_multiply_right
    return (right if right_side else left)(l, b, lower=lower, adjoint=adjoint)


def _solve_by_reference(l, b, lower, adjoint, right_side):
    sides = {"lower": lower, "adjoint": adjoint}
    solve = solve_right_reference if right_side else solve_reference
    rule = adjoint_right_reference if right_side else adjoint_reference

    @custom_rule
    def apply(l, b):
        def gradient(x_bar):
            x = _solve_by_reference(l, b, lower, adjoint, right_side)
            l_bar, b_bar = rule(l, x, tf.convert_to_tensor(x_bar), **sides)
            return sum_to_shape(l_bar, l), sum_to_shape(b_bar, b)

        return solve(l, b, **sides), gradient

    return apply(l, b)


def _multiply_by_reference(l, b, lower, adjoint, right_side):
    sides = {"lower": lower, "adjoint": adjoint, "right_side": right_side}

    @custom_rule
    def apply(l, b):
        def gradient(x_bar):
            l_bar, b_bar = multiply_adjoint_reference(l, b, tf.convert_to_tensor(x_bar), **sides)
            return sum_to_shape(l_bar, l), sum_to_shape(b_bar, b)

        return multiply_reference(l, b, **sides), gradient

    return apply(l, b)


def solve_reference(l, b, *, lower, adjoint):
    """op(L)^-1 B by TensorFlow's own solver, kept from raising on a singular item."""
    diagonal = tf.linalg.diag_part(l)
    singular = tf.reduce_any(tf.equal(diagonal, 0), axis=-1) | not_finite(triangle(l, lower))
    safe = tf.where(singular[..., tf.newaxis], tf.ones_like(diagonal), diagonal)
    x = tf.linalg.triangular_solve(tf.linalg.set_diag(l, safe), b, lower=lower, adjoint=adjoint)
    failed = tf.broadcast_to(singular, tf.shape(x)[:-2])
    return spoil(x, failed)


def solve_right_reference(l, b, *, lower, adjoint):
    """B op(L)^-1, the transpose of op(L)^-T B'."""
    transposed = tf.linalg.matrix_transpose(b)
    x = solve_reference(l, transposed, lower=lower, adjoint=not adjoint)
    return tf.linalg.matrix_transpose(x)


def triangle(x, lower):
    """The lower or upper triangle, zero elsewhere."""
    return tf.linalg.band_part(x, *((-1, 0) if lower else (0, -1)))


def adjoint_reference(l, x, x_bar, *, lower, adjoint):
    """Cotangents of L and B from that of X, where op(L) X = B:

    1. d op(L) X + op(L) dX = dB, so dX = op(L)^-1 (dB - d op(L) X).
    2. B_bar = op(L)^-T X_bar.
    3. op(L)_bar = -B_bar X'; L_bar is that or its transpose, restricted to L's triangle.
    """
    failed = not_finite(x)
    l = tf.where(append_axes(failed, x), tf.eye(tf.shape(l)[-1], dtype=l.dtype), l)
    x = tf.where(append_axes(failed, x), tf.zeros_like(x), x)
    b_bar = solve_reference(l, x_bar, lower=lower, adjoint=not adjoint)
    l_bar = -tf.matmul(*((x, b_bar) if adjoint else (b_bar, x)), transpose_b=True)
    unused = all_zero(x_bar)
    return spoil_used(triangle(l_bar, lower), failed, unused), spoil_used(b_bar, failed, unused)


def adjoint_right_reference(l, x, x_bar, *, lower, adjoint):
    """The same for X op(L) = B, through op(L)' X' = B'."""
    transpose = tf.linalg.matrix_transpose
    l_bar, b_bar = adjoint_reference(
        l, transpose(x), transpose(x_bar), lower=lower, adjoint=not adjoint
    )
    return l_bar, transpose(b_bar)


def multiply_reference(l, b, *, lower, adjoint, right_side):
    """op(L) B or B op(L) by TensorFlow's product with the triangle alone."""
    l = triangle(l, lower)
    if right_side:
        return broadcast_matmul(b, l, transpose_b=adjoint)
    return broadcast_matmul(l, b, transpose_a=adjoint)


def multiply_adjoint_reference(l, b, x_bar, *, lower, adjoint, right_side):
    """Cotangents of L and B from that of X = op(L) B:

    1. dX = d op(L) B + op(L) dB, so B_bar = op(L)' X_bar and op(L)_bar = X_bar B'.
    2. L_bar is that or its transpose, restricted to L's triangle.
    3. On the right side, X' = op(L)' B' is the same with transposes throughout.
    """
    l = triangle(l, lower)
    bad_l, bad_b = not_finite(l), not_finite(b)
    l = tf.where(append_axes(bad_l, l), tf.zeros_like(l), l)
    b = tf.where(append_axes(bad_b, b), tf.zeros_like(b), b)
    b_bar = multiply_reference(l, x_bar, lower=lower, adjoint=not adjoint, right_side=right_side)
    first, second = (b, x_bar) if adjoint != right_side else (x_bar, b)
    if right_side:
        l_bar = broadcast_matmul(first, second, transpose_a=True)
    else:
        l_bar = broadcast_matmul(first, second, transpose_b=True)
    failed, unused = bad_l | bad_b, all_zero(x_bar)
    return spoil_used(triangle(l_bar, lower), failed, unused), spoil_used(b_bar, failed, unused)


def _register(name, native_gradient, reference, saved):
    """Registers the gradients of an op and of its gradient op.

    ``saved`` gives, of the op, the matrix that the gradient op takes beside L: B, or the result.
    """

    @tf.RegisterGradient(name)
    def _gradient(op, x_bar):
        l, b = op.inputs
        l_bar, b_bar = getattr(native.library(), native_gradient)(
            l, saved(op), x_bar, lower=op.get_attr("lower"), adjoint=op.get_attr("adjoint")
        )
        return sum_to_shape(l_bar, l), sum_to_shape(b_bar, b)

    @tf.RegisterGradient(f"{name}Grad")
    def _gradient_of_gradient(op, l_bar_bar, b_bar_bar):
        sides = {"lower": op.get_attr("lower"), "adjoint": op.get_attr("adjoint")}
        return op_vjp(op, functools.partial(reference, **sides), [l_bar_bar, b_bar_bar])


for _side, _solve, _right in (
    ("", adjoint_reference, False),
    ("Right", adjoint_right_reference, True),
):
    _suffix = "_right_grad" if _right else "_grad"
    _register(
        f"StatespaceTriangularSolve{_side}",
        f"statespace_triangular_solve{_suffix}",
        _solve,
        saved=lambda op: op.outputs[0],
    )
    _register(
        f"StatespaceTriangularMultiply{_side}",
        f"statespace_triangular_multiply{_suffix}",
        functools.partial(multiply_adjoint_reference, right_side=_right),
        saved=lambda op: op.inputs[1],
    )
