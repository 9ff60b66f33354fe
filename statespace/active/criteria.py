"""What one more observation would tell, or several: functions of a square root of a covariance.

What a model with normal posteriors knows of candidates is the covariance of f there. It is held as
a root R with the covariance R R': a row for each candidate, a column for each weight of a linear
regression, or for each candidate of a Gaussian process. All criteria are then sums of squares.
"""

import tensorflow as tf

from statespace.linalg_ops import gemm, lq, sum_log_diag
from statespace.linalg_ops.arguments import broadcast_batches, to_matrices, to_tensor
from statespace.models.arguments import as_tensor, check_broadcast, refuse_where

_OP = "active"


def variance(root) -> tf.Tensor:
    """The variance of f at each candidate, ``[..., M]``, for a root ``[..., M, K]``.

    Observing where it is highest is uncertainty sampling. It takes no account of noise.
    """
    (root,) = to_matrices(_OP, root=root)
    return tf.reduce_sum(root**2, axis=-1)


def information_gain(root, noise_variance) -> tf.Tensor:
    """What an observation of each candidate alone would tell of f, or of the weights, in nats.

        I(y_i; f) = 1/2 log(1 + var f_i / noise_variance_i)

    It is the fall in the entropy of the posterior, whatever is observed. Where the noise is unknown
    it is what is told of the weights given the noise, with both variances in its units.

    Args:
      root: R, ``[..., M, K]``, float32 or float64.
      noise_variance: of an observation there, positive; broadcasts against ``[..., M]``.

    Returns:
      ``[..., M]``.

    Raises:
      ValueError: shape or dtype of ``root`` is wrong, ``noise_variance`` does not broadcast, or,
        where values are known, that is eagerly, is not positive.

    References:
      MacKay, D. J. C. (1992). Information-based objective functions for active data selection.
      Neural Computation 4.

    Example:

      >>> import tensorflow as tf
      >>> from statespace import active
      >>> root = tf.constant([[1.0, 0.0], [1.0, 2.0]], tf.float64)
      >>> active.information_gain(root, 1.0).numpy().round(4)  # log(2) / 2, log(6) / 2
      array([0.3466, 0.8959])
    """
    before = variance(root)
    noise_variance = noise_of_candidates(noise_variance, before.shape, before.dtype)
    return 0.5 * tf.math.log1p(before / noise_variance)


def joint_information_gain(root, noise_variance) -> tf.Tensor:
    """What observations of all candidates together would tell, in nats.

        I(y; f) = 1/2 log det(I + A A'),    A = diag(noise_variance)^(-1/2) R

    computed as ``log det L`` of the LQ factorisation ``[A I] = L Q``, or that of ``[A' I]`` if it
    is smaller. Differentiable twice, so that a design can be improved along its gradient.

    Args:
      root, noise_variance: as for :func:`information_gain`.

    Returns:
      ``[...]``.

    Example:

      >>> import tensorflow as tf
      >>> from statespace import active
      >>> root = tf.constant([[1.0], [1.0], [1.0]], tf.float64)  # three times the same
      >>> print(f"{active.joint_information_gain(root, 1.0):.4f}")  # log(4) / 2
      0.6931
    """
    (root,) = to_matrices(_OP, root=root)
    noise_variance = noise_of_candidates(noise_variance, root.shape[:-1], root.dtype)
    a = root / tf.sqrt(noise_variance)[..., tf.newaxis]
    rows, columns = a.shape[-2:]
    if None not in (rows, columns) and columns < rows:
        a = tf.linalg.matrix_transpose(a)
    identity = tf.eye(tf.shape(a)[-2], dtype=a.dtype)
    array = tf.concat(broadcast_batches([a, identity], [2, 2]), axis=-1)
    return sum_log_diag(lq(array, mode="l"))


def variance_reduction(root, noise_variance, reference_root=None) -> tf.Tensor:
    """By how much an observation of each candidate alone lowers the average variance of f.

        1/P sum_p cov(f_p, f_i)^2 / (var f_i + noise_variance_i)

    over P reference points, where f is wanted in the end. Unlike the information gain, it spends
    nothing on places far from these.

    Args:
      root, noise_variance: as for :func:`information_gain`.
      reference_root: that of the reference points, ``[..., P, K]``, in the same columns; None: the
        candidates themselves.

    Returns:
      ``[..., M]``.

    Raises:
      ValueError: as there, or there are no reference points.

    References:
      Cohn, D. A., Ghahramani, Z. and Jordan, M. I. (1996). Active learning with statistical models.
      JAIR 4.

    Example:

      >>> import tensorflow as tf
      >>> from statespace import active
      >>> root = tf.constant([[1.0, 0.0], [0.0, 2.0]], tf.float64)
      >>> at = tf.constant([[1.0, 0.0]], tf.float64)  # the second candidate says nothing of it
      >>> active.variance_reduction(root, 1.0, at).numpy()
      array([0.5, 0. ])
    """
    reference = root if reference_root is None else reference_root
    root, reference = to_matrices(_OP, root=root, reference_root=reference)
    if reference.shape[-2] == 0:
        raise ValueError(f"{_OP}: reference_root has shape {reference.shape}; it must have rows.")
    before = variance(root)
    noise_variance = noise_of_candidates(noise_variance, before.shape, before.dtype)
    count = tf.cast(tf.shape(reference)[-2], root.dtype)
    # P rows have the same squares of covariances as the K, or fewer, of their triangle.
    triangle = lq(tf.linalg.matrix_transpose(reference), mode="l")
    squares = tf.reduce_sum(gemm(root, triangle) ** 2, axis=-1)
    return squares / (count * (before + noise_variance))


def observe(root, row, noise_variance) -> tf.Tensor:
    """The root after an observation of f where the root has a given row: one update of rank one.

        R (I - r r' / (d + s sqrt(d))),    d = r' r + s^2

    is a root of ``R R' - R r r' R' / d``. No variance is what is left of a difference.

    Args:
      root: R ``[..., M, K]``: of any points, in the columns of ``row``.
      row: r, ``[..., K]``.
      noise_variance: s^2, of this observation, positive, ``[...]``.

    Returns:
      ``[..., M, K]``.

    Raises:
      ValueError: as for :func:`information_gain`.

    References:
      Kaminski, P. G., Bryson, A. E. and Schmidt, S. F. (1971). Discrete square root filtering: a
      survey of current techniques. IEEE Transactions on Automatic Control 16 (Potter's update).

    Example:

      >>> import tensorflow as tf
      >>> from statespace import active
      >>> root = tf.constant([[3.0]], tf.float64)
      >>> active.variance(active.observe(root, root[0], 1.0)).numpy()  # 1 / (1 / 9 + 1)
      array([0.9])
    """
    column = to_tensor(_OP, "row", row)[..., tf.newaxis]
    root, column = to_matrices(_OP, root=root, row=column)
    before = tf.reduce_sum(column**2, axis=[-2, -1])
    noise_variance = noise_of_candidates(noise_variance, before.shape, before.dtype)
    total = before + noise_variance
    step = column / (total + tf.sqrt(noise_variance * total))[..., tf.newaxis, tf.newaxis]
    return root - gemm(gemm(root, column), step, transpose_b=True)


def noise_of_candidates(noise_variance, shape, dtype) -> tf.Tensor:
    """``noise_variance`` as a tensor that broadcasts against a value for each candidate.

    Raises:
      ValueError: it does not, or, where values are known, one is not positive.
    """
    noise_variance = as_tensor(_OP, "noise_variance", noise_variance, dtype)
    against = f"one value for each candidate, {shape}"
    check_broadcast(_OP, "noise_variance", noise_variance, shape, against)
    advice = "it must be positive. An observation without noise tells infinitely much"
    refuse_where(_OP, "noise_variance", noise_variance, lambda value: ~(value > 0), advice)
    return noise_variance
