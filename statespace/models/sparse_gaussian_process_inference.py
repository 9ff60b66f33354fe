"""Sparse Gaussian process regression as functions of tensors: the collapsed variational bound.

With values u = f(Z) at m inducing points, K_uu = L L' and the noise covariance S, all the data
enter through ``A = L^-1 K_uf S^-1/2``, of which ``A A'`` and ``A S^-1/2 (y - m)`` are summed over
blocks of observations: n m^2 operations, and memory for a few matrices of m rows.
"""

import math
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from statespace.linalg_ops import cholesky, gemm, psd_cholesky, sum_log_diag, syrk, triangular_solve
from statespace.models.gaussian_process_inference import covariance

_BLOCK = 2**18  # numbers in a block of K_uf, which so stays in the cache


class Statistics(NamedTuple):
    """Sums over the observations, scaled by their noise."""

    gram: tf.Tensor  # A A', [..., m, m]
    projected: tf.Tensor  # A S^-1/2 (y - m), [..., m, 1]
    squared: tf.Tensor  # (y - m)' S^-1 (y - m), [...]
    variance: tf.Tensor  # tr(S^-1 K_ff), [...]
    log_scale: tf.Tensor  # of the noise: log |S| / 2, [...]


class SparseConditioned(NamedTuple):
    """What the observations leave behind."""

    inducing: tf.Tensor  # Z, [..., m, d]
    factor: tf.Tensor  # L, [..., m, m]
    factor_b: tf.Tensor  # of B = I + A A', [..., m, m]
    whitened: tf.Tensor  # c, with B^1/2 c = A S^-1/2 (y - m), [..., m, 1]
    bound: tf.Tensor  # [...]


def condition(kernel_at, params, inducing, x, residual, noise_variance) -> SparseConditioned:
    """The collapsed bound and what predictions need.

        log N(y - m; 0, Q + S) - tr(S^-1 (K_ff - Q)) / 2,    Q = K_fu K_uu^-1 K_uf

    It is a lower bound of the log marginal likelihood, and equal to it where the inducing points
    determine f at all inputs. Differentiable once.

    Args:
      kernel_at: function from ``params`` to a kernel of ``tfp.math.psd_kernels``.
      params: dict of tensors ``[..., *shape]``.
      inducing: Z, ``[..., m, d]``.
      x: inputs, ``[n, d]``.
      residual: y - m, ``[..., n]``.
      noise_variance: the diagonal of S, ``[..., n]``.

    Returns:
      A :class:`SparseConditioned`, NaN where K_uu is not positive definite.

    References:
      Titsias, M. (2009). Variational learning of inducing variables in sparse Gaussian processes.
      AISTATS.
    """
    kernel = kernel_at(params)
    prior = covariance(kernel, inducing, inducing)
    diagonal = kernel.apply(inducing, inducing, example_ndims=1)
    # Inducing points may come close to each other; a bound it remains.
    diagonal *= 1 + relative_jitter(inducing.shape[-2], x.dtype)
    factor = cholesky(tf.linalg.set_diag(prior, diagonal))
    sums = _sum_over_blocks(kernel_at, params, inducing, factor, x, residual, noise_variance)
    factor_b = cholesky(tf.linalg.set_diag(sums.gram, 1 + tf.linalg.diag_part(sums.gram)))
    whitened = triangular_solve(factor_b, sums.projected)
    explained = tf.reduce_sum(whitened**2, axis=[-2, -1])
    count = tf.cast(tf.shape(residual)[-1], x.dtype)
    likelihood = -0.5 * (sums.squared - explained + math.log(2 * math.pi) * count)
    likelihood -= sum_log_diag(factor_b) + sums.log_scale
    bound = likelihood - 0.5 * (sums.variance - tf.linalg.trace(sums.gram))
    return SparseConditioned(inducing, factor, factor_b, whitened, bound)


def predict(given: SparseConditioned, kernel, x):
    """Mean (less the prior mean) and variance of f at inputs ``[..., M, d]``: ``[..., M]`` each."""
    by_prior, by_data = _solved(given, kernel, x)
    variance = kernel.apply(x, x, example_ndims=1) + tf.reduce_sum(
        by_data**2 - by_prior**2, axis=-2
    )
    tiny = np.finfo(x.dtype.as_numpy_dtype).tiny
    return gemm(by_data, given.whitened, transpose_a=True)[..., 0], tf.maximum(variance, tiny)


def predict_jointly(given: SparseConditioned, kernel, x):
    """Mean (less the prior mean) ``[..., M]`` and a square root of the covariance ``[..., M, M]``.

    Raises:
      tf.errors.InvalidArgumentError: the covariance is not positive semidefinite.
    """
    by_prior, by_data = _solved(given, kernel, x)
    matrix = covariance(kernel, x, x)
    left = matrix - syrk(by_prior, transpose=True) + syrk(by_data, transpose=True)
    rounding = relative_jitter(given.inducing.shape[-2], x.dtype) * tf.linalg.diag_part(matrix)
    left = tf.linalg.set_diag(left, tf.linalg.diag_part(left) + rounding)
    mean = gemm(by_data, given.whitened, transpose_a=True)[..., 0]
    return mean, psd_cholesky(left, on_failure="raise")


def relative_jitter(m, dtype):
    """The part of the diagonal of a covariance that rounding may take, with m inducing points."""
    return 32 * m * np.finfo(dtype.as_numpy_dtype).eps


def _solved(given, kernel, x):
    """L^-1 K_u* and B^-1/2 L^-1 K_u*, ``[..., m, M]``."""
    by_prior = triangular_solve(given.factor, covariance(kernel, given.inducing, x))
    return by_prior, triangular_solve(given.factor_b, by_prior)


def _sum_over_blocks(kernel_at, params, inducing, factor, x, residual, noise) -> Statistics:
    """The statistics, block by block, also in the gradient: nothing of a block is kept.

    The gradient computes each block once more, and its own gradient at once.
    """
    names = list(params)
    shared = [inducing, factor, *params.values()]
    residual, noise = residual + tf.zeros_like(noise), noise + tf.zeros_like(residual)
    size = max(1, _BLOCK // inducing.shape[-2])

    def statistics(shared, x, residual, noise):
        inducing, factor, *values = shared
        kernel = kernel_at(dict(zip(names, values, strict=True)))
        scale = tf.sqrt(noise)
        a = triangular_solve(factor, covariance(kernel, inducing, x)) / scale[..., tf.newaxis, :]
        scaled = residual / scale
        prior = kernel.apply(x, x, example_ndims=1)
        return Statistics(
            syrk(a),
            gemm(a, scaled[..., tf.newaxis]),
            tf.reduce_sum(scaled**2, axis=-1),
            tf.reduce_sum(prior / noise, axis=-1),
            tf.reduce_sum(tf.math.log(scale), axis=-1),
        )

    @tf.custom_gradient
    def total(*arguments):
        *shared, x, residual, noise = arguments
        n = tf.shape(x)[0]

        def block(start, size=size):
            end = tf.minimum(start + size, n)
            return x[start:end], residual[..., start:end], noise[..., start:end]

        def add(start, *sums):
            new = statistics(shared, *block(start))
            return start + size, *(s + value for s, value in zip(sums, new, strict=True))

        def gradient(*cotangents):
            def step(start, index, shared_bar, parts):
                rows = block(start)
                with tf.GradientTape() as tape:
                    tape.watch([*shared, *rows])
                    new = statistics(shared, *rows)
                gradients = tape.gradient(
                    list(new),
                    [*shared, *rows],
                    output_gradients=list(cotangents),
                    unconnected_gradients=tf.UnconnectedGradients.ZERO,
                )
                bars, rows_bar = gradients[: len(shared)], gradients[len(shared) :]
                shared_bar = [s + value for s, value in zip(shared_bar, bars, strict=True)]
                # The axis of the observations goes first, for the array to join them along.
                parts = [
                    part.write(index, value if i == 0 else _last_axis_first(value))
                    for i, (part, value) in enumerate(zip(parts, rows_bar, strict=True))
                ]
                return start + size, index + 1, shared_bar, parts

            arrays = [
                tf.TensorArray(x.dtype, 0, dynamic_size=True, infer_shape=False) for _ in range(3)
            ]
            start = (0, 0, [tf.zeros_like(value) for value in shared], arrays)
            _, _, shared_bar, parts = tf.while_loop(
                lambda start, *_: start < n, step, start, parallel_iterations=1
            )
            x_bar, residual_bar, noise_bar = (part.concat() for part in parts)
            rank = residual.shape.rank
            rows_bar = (
                x_bar,
                _first_axis_last(residual_bar, rank),
                _first_axis_last(noise_bar, rank),
            )
            return *shared_bar, *rows_bar

        nothing = statistics(shared, *block(0, size=0))
        _, *sums = tf.while_loop(
            lambda start, *_: start < n, add, (0, *nothing), parallel_iterations=1
        )
        return sums, gradient

    return Statistics(*total(*shared, x, residual, noise))


def _last_axis_first(x):
    rank = x.shape.rank
    return tf.transpose(x, [rank - 1, *range(rank - 1)])


def _first_axis_last(x, rank):
    return tf.transpose(x, [*range(1, rank), 0])
