"""Zellner's g-prior."""

import dataclasses

import numpy as np
import tensorflow as tf

from statespace.linalg_ops import lq, triangular_solve
from statespace.models.arguments import check_broadcast
from statespace.models.linear_gaussian_regression import WeightPosterior
from statespace.models.refined_least_squares import refined_weights
from statespace.models.regression_fit import (
    Fit,
    Problem,
    positive,
    refuse_dependent,
    with_unknown_noise,
)

_OP = "BayesianLinearRegression"


@dataclasses.dataclass(frozen=True)
class ZellnerG:
    """Zellner's g-prior: w | sigma^2 ~ N(0, g sigma^2 (X' X)^-1), flat in log sigma and intercept.

    The prior looks like the data would, with 1 / g of their weight: it does not depend on units, or
    on how the features are combined. The posterior is that of least squares, shrunk by g / (1 + g).

    Args:
      g: a positive number, or one for each data set, ``[...]``; None: the number of observations
        (unit information); "evidence": where the evidence is highest, zero for features that
        explain no more than chance.

    References:
      Liang et al., Mixtures of g Priors for Bayesian Variable Selection, JASA 103 (2008).

    Example:

      >>> import numpy as np
      >>> import statespace as ss
      >>> x, y = np.array([[0.0], [1.0], [2.0]]), np.array([0.0, 1.0, 3.0])
      >>> model = ss.models.BayesianLinearRegression(ss.models.ZellnerG(g=3.0)).fit(x, y)
      >>> print(model.coefficients.numpy())  # 1.5 by least squares
      [1.125]
    """

    g: float | str | np.ndarray | tf.Tensor | None = None

    def fit(self, problem: Problem) -> Fit:
        """The posterior, from X = Q_x L_x' and y = Q_x z + a rest of length rho."""
        data, dtype = problem.data, problem.data.x.dtype
        num_rows, columns = np.shape(data.x)[-2:]
        if num_rows < columns:
            raise ValueError(
                f"{_OP}: Zellner's g-prior needs at least as many observations as features "
                f"({columns}), the intercept's not counted. Use prior='evidence'."
            )
        rows = tf.concat([data.x, data.y[..., tf.newaxis]], axis=-1)
        l = lq(tf.linalg.matrix_transpose(rows), mode="l")
        factor, z = l[..., :columns, :columns], l[..., columns, :columns]
        refuse_dependent(factor, tf.ones_like(z), num_rows)
        explained = tf.reduce_sum(z**2, axis=-1)
        rest = tf.reduce_sum(l[..., columns, columns:] ** 2, axis=-1)
        solution = triangular_solve(factor, z[..., tf.newaxis], adjoint=True)[..., 0]
        intercept = None
        if problem.refine is not None:
            flat = tf.fill(z.shape, tf.constant(np.inf, dtype))
            has_intercept = data.total_weight is not None
            solution, intercept, rest = refined_weights(
                problem.refine, has_intercept, tf.zeros_like(z), flat
            )
        g = self._value(problem.count, explained, rest, columns)
        g = tf.cast(g, dtype) + tf.zeros_like(rest)
        shrinkage = g / (1 + g)
        if intercept is not None:  # the features' part in it is shrunk, as they are
            intercept = shrinkage * intercept + (1 - shrinkage) * data.y_mean
        post = WeightPosterior(
            mean=shrinkage[..., tf.newaxis] * solution,
            scale=tf.sqrt(shrinkage)[..., tf.newaxis] + tf.zeros_like(z),
            factor=factor,
            directions=None,
            log_evidence=tf.zeros_like(rest),
            squared_distance=rest + explained / (1 + g),
            log_determinant=columns * tf.math.log1p(g),
        )
        zero = tf.zeros([], dtype)
        inverse = triangular_solve(factor, tf.linalg.diag(tf.ones_like(z)))
        scale = tf.sqrt(g[..., tf.newaxis]) * tf.norm(inverse, axis=-2)
        fitted = with_unknown_noise(post, problem.count, problem.constant, zero, zero, scale)
        return fitted._replace(refined_intercept=intercept)

    def _value(self, count, explained, rest, columns):
        if self.g is None:
            return count
        if isinstance(self.g, str) and self.g == "evidence":  # Liang et al., equation 9
            rounding = 16 * np.finfo(rest.dtype.as_numpy_dtype).eps
            if np.any(rest <= rounding**2 * explained):
                raise ValueError(
                    f"{_OP}: the features reproduce y exactly, so that no g has the highest "
                    "evidence. Give a number."
                )
            g = explained * (count - columns) / (rest * max(columns, 1)) - 1
            return tf.maximum(g, tf.zeros_like(rest))
        g = positive("g", self.g, rest.dtype)
        check_broadcast(_OP, "g", g, rest.shape, f"one value a data set, {rest.shape}")
        return g
