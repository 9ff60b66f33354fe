"""Bayesian linear regression as pure functions of tensors: posterior, evidence, predictions.

    y_i = x_i' w + e_i,    e_i ~ N(0, noise_scale_i^2),    w_j ~ N(prior_mean_j, prior_scale_j^2)

With ``A = diag(1 / noise_scale) X diag(prior_scale)`` and ``u`` the weights less their prior mean
over their prior scale, this is ``A u`` plus standard noise with ``u ~ N(0, I)`` beforehand. All
follows from one LQ factorisation of A beside an identity; ``A' A``, whose condition number is the
square of that of A, is never formed.
"""

from typing import NamedTuple

import tensorflow as tf

from statespace.linalg_ops import gemm, lq, sum_log_diag, triangular_solve
from statespace.linalg_ops.arguments import broadcast_batches, to_matrices
from statespace.models.whitened_regression import OP, Whitened, whitened


class WeightPosterior(NamedTuple):
    """The normal distribution of the weights given the data, ``u`` in the scale of the prior.

    One of ``factor`` and ``directions`` is None. With S = diag(scale), the covariance of the
    weights is S (L L')^-1 S, or S (I - Q_1' Q_1) S where Q_1 has the first D columns of Q.
    """

    mean: tf.Tensor  # of the weights, [..., D]
    scale: tf.Tensor  # that of the prior; 1 where it is flat, [..., D]
    factor: tf.Tensor | None  # L, [..., D, D]
    directions: tf.Tensor | None  # Q, orthonormal rows, [..., N, D + N]
    log_evidence: tf.Tensor  # [...]
    squared_distance: tf.Tensor  # (y - X m)' C^-1 (y - X m), C the covariance of y, [...]
    log_determinant: tf.Tensor  # of the precision of u; of C over that of the noise, [...]


def posterior(x, y, noise_scale, prior_scale, *, prior_mean=0.0, weights=None) -> WeightPosterior:
    """The distribution of the weights given the data, and the log evidence.

    With N >= D, ``[A' I; y' 0] = [L 0; z' rho] [Q_1 Q_2]`` gives the precision L L' of u, its mean
    L^-T z and the distance rho^2. With fewer observations than weights, ``[A I] = L Q`` gives the
    covariance I + A A' = L L' of the observations, and the mean of u in the first D rows of
    Q' L^-1 y: N^2 D operations, not D^3. Which of the two it is, is decided by static shapes; where
    they are not known, it is the first, which is right for all.

    Everything is differentiable twice in all arguments, for designs of any rank.

    Args:
      x: features, ``[..., N, D]``, float32 or float64.
      y: observations, ``[..., N]``, same dtype.
      noise_scale: standard deviation of the noise, positive; broadcasts against ``[..., N]``.
      prior_scale: standard deviations of the weights a priori; broadcasts against ``[..., D]``.
        Zero fixes a weight at its prior mean. Infinity is a flat prior: it asks for columns of x
        that the data tell apart, and with N < D it must be known when the graph is built.
      prior_mean: of the weights; broadcasts against ``[..., D]``.
      weights: precision of each observation relative to ``noise_scale^-2``, not negative;
        broadcasts against ``[..., N]``. An observation of weight zero does not exist.

    Returns:
      A :class:`WeightPosterior`. Under flat priors, the evidence is the integral over those weights
      (the restricted likelihood).

    Raises:
      ValueError: a shape or dtype is wrong, or, where values are known, a weight is negative; names
        the argument. In a graph, a data set with such a weight becomes NaN.

    References:
      Seeger et al., Auto-Differentiating Linear Algebra, arXiv:1710.08717, section 1.
      Bishop, Pattern Recognition and Machine Learning, 2006, sections 3.3 and 3.5.

    Example:

      >>> import tensorflow as tf
      >>> from statespace.models import linear_gaussian_regression as regression
      >>> x = tf.constant([[1.0], [2.0]], tf.float64)
      >>> post = regression.posterior(x, tf.constant([1.0, 3.0], tf.float64), 1.0, 10.0)
      >>> post.mean.numpy().round(4), post.log_evidence.numpy().round(4)
      (array([1.3972]), np.float64(-5.056))
    """
    problem = whitened(x, y, noise_scale, prior_scale, prior_mean, weights)
    return (_by_observations if problem.wide else _by_weights)(problem)


def log_evidence(x, y, noise_scale, prior_scale, *, prior_mean=0.0, weights=None) -> tf.Tensor:
    """``posterior(...).log_evidence``, ``[...]``, for less where there are fewer rows than columns.

    Example:

      >>> import tensorflow as tf
      >>> from statespace.models import linear_gaussian_regression as regression
      >>> x, y = tf.constant([[1.0, 2.0]], tf.float64), tf.constant([3.0], tf.float64)
      >>> print(f"{regression.log_evidence(x, y, 1.0, 1.0):.6f}")  # N(3; 0, 1 + 1 + 4)
      -2.564818
    """
    problem = whitened(x, y, noise_scale, prior_scale, prior_mean, weights)
    if not problem.wide:
        return _by_weights(problem).log_evidence
    return _evidence_of_observations(problem, lq(problem.array(), mode="l"))[0]


def predict(post: WeightPosterior, x) -> tuple[tf.Tensor, tf.Tensor]:
    """Mean and variance of x' w at given features; the noise of an observation is not in it.

    Both forms are sums of squares, so that no variance comes out negative or as what is left of a
    difference: ``|L^-1 S x|^2``, or the squared distance of [S x; 0] from the rows of Q.

    Args:
      post: what ``posterior`` gave.
      x: features, ``[..., M, D]``; batch axes broadcast.

    Returns:
      Mean and variance, ``[..., M]`` each.

    Raises:
      ValueError: shape or dtype of x is wrong.
    """
    (x,) = to_matrices(f"{OP}.predict", x=x)
    _check_features(x, post.mean)
    mean = gemm(x, post.mean[..., tf.newaxis])[..., 0]
    scaled = tf.linalg.matrix_transpose(x * post.scale[..., tf.newaxis, :])
    if post.factor is not None:
        solved = triangular_solve(post.factor, scaled)
        return mean, tf.reduce_sum(solved**2, axis=-2)
    return mean, tf.reduce_sum(_off_rows(post.directions, scaled) ** 2, axis=-2)


def leave_one_out(y, mean, variance, precision):
    """Mean and variance of what is observed, given all observations but this one.

    ``precision * variance`` is the part h that an observation has in its own fit. Without it, its
    mean is ``y - (y - mean) / (1 - h)`` and the variance ``variance / (1 - h)``.

    Args:
      y: observations, ``[..., N]``.
      mean, variance: at their features, given all of them; what ``predict`` gives.
      precision: one over the variance of the noise, ``[..., N]``; zero for an observation that
        was not there.

    Returns:
      Mean and variance, ``[..., N]``, the noise not included.

    References:
      Rasmussen & Williams, Gaussian Processes for Machine Learning, 2006, section 5.4.2.

    Example:

      >>> leave_one_out(3.0, 2.0, 0.5, 1.0)  # of the mean of two observations, 1 and 3
      (1.0, 1.0)
    """
    left = 1 - precision * variance
    return y - (y - mean) / left, variance / left


def weight_covariance(post: WeightPosterior) -> tf.Tensor:
    """The covariance of the weights, ``[..., D, D]``."""
    root = weight_root(post)
    return gemm(root, root, transpose_b=True)


def weight_root(post: WeightPosterior) -> tf.Tensor:
    """K ``[..., D, D or D + N]`` with the covariance K K' of the weights.

    S L^-T, or S times the first D rows of I - Q' Q.
    """
    size = tf.shape(post.factor if post.directions is None else post.directions)[-1]
    return weight_deviations(post, tf.eye(size, dtype=post.scale.dtype))


def weight_deviations(post: WeightPosterior, variates) -> tf.Tensor:
    """K times given columns; of standard normal ones, draws of the weights less their mean.

    Args:
      post: what ``posterior`` gave.
      variates: ``[..., D or D + N, M]``; as many rows as ``factor`` or ``directions`` has columns.

    Returns:
      ``[..., D, M]``, computed without K, which is large where there are many weights.
    """
    q = post.directions
    if q is None:
        deviations = triangular_solve(post.factor, variates, adjoint=True)
    else:
        columns = tf.shape(post.scale)[-1]
        projected = gemm(q[..., :columns], gemm(q, variates), transpose_a=True)
        deviations = variates[..., :columns, :] - projected
    return post.scale[..., tf.newaxis] * deviations


def _by_weights(problem: Whitened) -> WeightPosterior:
    array = problem.array()
    zeros = tf.zeros_like(problem.identity)
    last = tf.concat(
        broadcast_batches([problem.y[..., tf.newaxis, :], zeros[..., tf.newaxis, :]], [2, 2]), -1
    )
    l = lq(tf.concat([array, last], axis=-2), mode="l")
    columns = tf.shape(problem.a)[-1]
    factor, z = l[..., :columns, :columns], l[..., columns, :columns]
    u = triangular_solve(factor, z[..., tf.newaxis], adjoint=True)[..., 0]
    distance = tf.reduce_sum(l[..., columns, columns:] ** 2, axis=-1)
    log_determinant = 2 * sum_log_diag(factor)
    return WeightPosterior(
        mean=problem.prior_mean + problem.scale * u,
        scale=problem.scale,
        factor=factor,
        directions=None,
        log_evidence=problem.constant - 0.5 * (log_determinant + distance),
        squared_distance=distance,
        log_determinant=log_determinant,
    )


def _by_observations(problem: Whitened) -> WeightPosterior:
    l, q = lq(problem.array())
    evidence, distance, log_determinant, solved = _evidence_of_observations(problem, l)
    columns = tf.shape(problem.a)[-1]
    u = gemm(q[..., :columns], solved, transpose_a=True)[..., 0]
    return WeightPosterior(
        mean=problem.prior_mean + problem.scale * u,
        scale=problem.scale,
        factor=None,
        directions=q,
        log_evidence=evidence,
        squared_distance=distance,
        log_determinant=log_determinant,
    )


def _evidence_of_observations(problem, l):
    solved = triangular_solve(l, problem.y[..., tf.newaxis])
    distance = tf.reduce_sum(solved**2, axis=[-2, -1])
    log_determinant = 2 * sum_log_diag(l)
    evidence = problem.constant - 0.5 * (log_determinant + distance)
    return evidence, distance, log_determinant, solved


def _check_features(x, mean):
    if x.dtype != mean.dtype:
        raise ValueError(
            f"{OP}.predict: x is {x.dtype.name}; the posterior is {mean.dtype.name}. Cast x."
        )
    columns = None if mean.shape.rank is None else mean.shape[-1]
    if x.shape.rank is not None and None not in (x.shape[-1], columns) and x.shape[-1] != columns:
        raise ValueError(
            f"{OP}.predict: x has shape {x.shape}; it must be [..., M, D] with D = {columns} "
            "features, as the posterior has."
        )


def _off_rows(q, x):
    """What is left of [X; 0] off the rows of Q, ``[..., D + N, M]``."""
    columns = tf.shape(x)[-2]
    projected = gemm(q, gemm(q[..., :columns], x), transpose_a=True)
    below = tf.zeros_like(projected[..., columns:, :])
    x, below = broadcast_batches([x, below], [2, 2])
    return tf.concat([x, below], axis=-2) - projected
