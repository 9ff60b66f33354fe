"""Products of general matrices.

Compiled, because TensorFlow's product lacks what every operator here owes: bits that do not depend
on the rest of the batch, an exactly symmetric A A', and a gradient that a failed item does not
poison.
"""

import functools

import tensorflow as tf

from statespace import native
from statespace.linalg_ops.arguments import broadcast_matmul, broadcasting, require, to_matrices
from statespace.linalg_ops.cholesky import copyltu
from statespace.linalg_ops.differentiation import custom_rule, op_vjp, sum_to_shape
from statespace.linalg_ops.failure import all_zero


def gemm(a, b, c=None, *, transpose_a=False, transpose_b=False, alpha=1.0, beta=1.0):
    """alpha op(A) op(B) + beta C, where op is the transpose or nothing.

    Batch axes broadcast by NumPy's rules. As in BLAS, a factor of zero means that what it
    multiplies does not count, NaN or not.

    Args:
      a: ``[..., m, k]``; ``[..., k, m]`` with ``transpose_a``. float32 or float64.
      b: ``[..., k, n]``; ``[..., n, k]`` with ``transpose_b``.
      c: ``[..., m, n]``, or None for zero.
      transpose_a: multiply with A'.
      transpose_b: multiply with B'.
      alpha: number, or tensor ``[...]`` with one number per batch item; may be differentiated.
      beta: likewise.

    Returns:
      ``[..., m, n]``. A NaN stays within its batch item, and a zero cotangent into that item gives
      a zero gradient.

    Raises:
      ValueError: a shape or dtype is wrong.

    References:
      Dongarra et al., A set of level 3 basic linear algebra subprograms, ACM TOMS 16(1), 1990.

    Example:

      >>> import tensorflow as tf
      >>> from statespace import linalg_ops
      >>> a = tf.constant([[1.0, 2.0], [3.0, 4.0]])
      >>> linalg_ops.gemm(a, a, a, transpose_b=True, beta=10.0).numpy()
      array([[15., 31.],
             [41., 65.]], dtype=float32)
    """
    if c is None:
        a, b = to_matrices("gemm", a=a, b=b)
    else:
        a, b, c = to_matrices("gemm", a=a, b=b, c=c)
    _check_product(a, b, c, transpose_a, transpose_b)
    product = _scale("gemm", "alpha", _multiply(a, b, transpose_a, transpose_b), alpha)
    if c is None:
        return product
    if not c.shape[-2:].is_fully_defined() or not product.shape[-2:].is_fully_defined():
        same = tf.reduce_all(tf.equal(tf.shape(c)[-2:], tf.shape(product)[-2:]))
        c = require(same, "gemm: c must be [..., m, n], as the product of a and b is.", c)
    c = broadcasting("gemm", "c", c, "a and b", product)
    return product + _scale("gemm", "beta", c, beta)


def syrk(a, *, transpose=False, alpha=1.0):
    """alpha A A', or alpha A' A with ``transpose``, symmetric to the last bit.

    Args:
      a: ``[..., m, n]``, float32 or float64.
      transpose: form A' A.
      alpha: number, or tensor ``[...]`` with one number per batch item; may be differentiated. As
        in BLAS, with zero A does not count, NaN or not.

    Returns:
      ``[..., m, m]``, or ``[..., n, n]`` with ``transpose``. A NaN stays within its batch item, and
      a zero cotangent into that item gives a zero gradient.

    Raises:
      ValueError: shape or dtype is wrong.

    References:
      Seeger et al., Auto-Differentiating Linear Algebra, arXiv:1710.08717, section 3 (syrk).

    Example:

      >>> import tensorflow as tf
      >>> from statespace import linalg_ops
      >>> linalg_ops.syrk(tf.constant([[1.0, 2.0], [3.0, 4.0]])).numpy()
      array([[ 5., 11.],
             [11., 25.]], dtype=float32)
    """
    (a,) = to_matrices("syrk", a=a)
    return _scale("syrk", "alpha", _square(a, transpose), alpha)


def _check_product(a, b, c, transpose_a, transpose_b):
    if a.shape.rank is None or b.shape.rank is None:
        return
    m, inner = a.shape[-2:][::-1] if transpose_a else a.shape[-2:]
    inner_b, n = b.shape[-2:][::-1] if transpose_b else b.shape[-2:]
    if None not in (inner, inner_b) and inner != inner_b:
        wanted = "[..., n, k]" if transpose_b else "[..., k, n]"
        raise ValueError(
            f"gemm: b has shape {b.shape}; it must be {wanted} with k = {inner}, as a {a.shape} "
            "says."
        )
    if c is None or c.shape.rank is None:
        return
    if not c.shape[-2:].is_compatible_with([m, n]):
        raise ValueError(
            f"gemm: c has shape {c.shape}; it must be [..., {m}, {n}], as a {a.shape} and "
            f"b {b.shape} say."
        )


def _scale(op, name, x, factor):
    """``x`` ``[..., m, n]`` times ``factor`` ``[...]``; a factor of zero gives zero."""
    if isinstance(factor, int | float) and factor == 1:
        return x
    factor = tf.convert_to_tensor(factor, name=name, dtype_hint=x.dtype)
    if factor.dtype != x.dtype:
        raise ValueError(
            f"{op}: {name} is {factor.dtype.name}; it must be {x.dtype.name}, as the matrices are."
        )
    # multiply_no_nan, so that the gradient by a shared factor does not meet 0 * NaN either.
    return tf.math.multiply_no_nan(x, factor[..., tf.newaxis, tf.newaxis])


def _multiply(a, b, transpose_a, transpose_b, cotangent=None):
    """op(A) op(B); ``cotangent`` says which factor ("a" or "b") is one, if any.

    Where a cotangent is zero throughout, so is the product, even if the other factor is NaN.
    """
    ops = native.ops()
    if ops is None:
        return _multiply_reference(a, b, transpose_a, transpose_b, cotangent)
    op = getattr(ops, _GEMM[transpose_a, transpose_b])
    return op(a, b, cotangent_a=cotangent == "a", cotangent_b=cotangent == "b")


_GEMM = {
    (False, False): "statespace_gemm",
    (False, True): "statespace_gemm_nt",
    (True, False): "statespace_gemm_tn",
    (True, True): "statespace_gemm_tt",
}


def _multiply_reference(a, b, transpose_a, transpose_b, cotangent):
    @custom_rule
    def multiply(a, b):
        x = broadcast_matmul(a, b, transpose_a=transpose_a, transpose_b=transpose_b)
        if cotangent is not None:
            x = tf.where(all_zero(a if cotangent == "a" else b), tf.zeros_like(x), x)
        return x, lambda x_bar: _adjoint(a, b, x_bar, transpose_a, transpose_b)

    return multiply(a, b)


def _adjoint(a, b, x_bar, transpose_a, transpose_b):
    """Cotangents of A and B from that of X = op(A) op(B):

    1. dX = d op(A) op(B) + op(A) d op(B).
    2. op(A)_bar = X_bar op(B)' and op(B)_bar = op(A)' X_bar; transposed where op is.
    """
    x_bar = tf.convert_to_tensor(x_bar)  # it may come as slices
    if transpose_a:
        a_bar = _multiply(b, x_bar, transpose_b, True, cotangent="b")
    else:
        a_bar = _multiply(x_bar, b, False, not transpose_b, cotangent="a")
    if transpose_b:
        b_bar = _multiply(x_bar, a, True, transpose_a, cotangent="a")
    else:
        b_bar = _multiply(a, x_bar, not transpose_a, False, cotangent="b")
    return sum_to_shape(a_bar, a), sum_to_shape(b_bar, b)


def _square(a, transpose):
    """A A', or A' A with ``transpose``."""
    ops = native.ops()
    if ops is None:
        return copyltu(_multiply_reference(a, a, transpose, not transpose, None))
    return ops.statespace_syrk_tn(a) if transpose else ops.statespace_syrk(a)


def square_adjoint_reference(a, x_bar, *, transpose):
    """Cotangent of A from that of X = A A': dX = dA A' + A dA', so A_bar = (X_bar + X_bar') A."""
    total = x_bar + tf.linalg.matrix_transpose(x_bar)
    if transpose:
        return _multiply_reference(a, total, False, False, "b")
    return _multiply_reference(total, a, False, False, "a")


def _register_gemm(name, transpose_a, transpose_b):
    @tf.RegisterGradient(name)
    def _gradient(op, x_bar):
        return _adjoint(*op.inputs, x_bar, transpose_a, transpose_b)


def _register_syrk(name, native_gradient, transpose):
    @tf.RegisterGradient(name)
    def _gradient(op, x_bar):
        return getattr(native.library(), native_gradient)(op.inputs[0], x_bar)

    @tf.RegisterGradient(f"{name}Grad")
    def _gradient_of_gradient(op, a_bar_bar):
        return op_vjp(
            op, functools.partial(square_adjoint_reference, transpose=transpose), [a_bar_bar]
        )


_register_gemm("StatespaceGemm", False, False)
_register_gemm("StatespaceGemmNt", False, True)
_register_gemm("StatespaceGemmTn", True, False)
_register_gemm("StatespaceGemmTt", True, True)
_register_syrk("StatespaceSyrk", "statespace_syrk_grad", False)
_register_syrk("StatespaceSyrkTn", "statespace_syrk_tn_grad", True)
