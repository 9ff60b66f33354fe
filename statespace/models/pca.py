"""Principal component analysis, by variance and by likelihood."""

import tensorflow as tf

from statespace.linalg_ops import eigh, gemm, lq, syrk
from statespace.linalg_ops.arguments import (
    check_choice,
    positive_int,
    require,
    to_matrices,
    with_shape,
)
from statespace.linalg_ops.eigh import fix_signs
from statespace.linalg_ops.pseudo_inverse import singular_vectors
from statespace.models.centring import without_mean
from statespace.models.principal_components import PrincipalComponents


class PCA:
    """Principal components: the orthogonal directions along which data vary most.

    They are also where the likelihood of probabilistic PCA is highest,

        x = mean + W z + e,    z ~ N(0, I_K),    e ~ N(0, noise_variance I_D),

    in closed form (Tipping and Bishop). ``fit`` is a function of tensors: it can be differentiated,
    compiled, and stand inside a network. Gradients exist where the variances along the components
    are distinct; functions that do not tell components of one variance apart, such as a
    reconstruction or the likelihood, have theirs all the same.

    Args:
      num_components: how many, K.
      method: "eigh", from the eigenvalues of the covariance; "lq", from the singular values of the
        centred data through their LQ factorisation, which also gets standard deviations right that
        are below sqrt(eps) times the largest, and takes longer; "auto", which is "lq" in float32,
        where that bound is 3e-4, and "eigh" in float64.
      whiten: whether coordinates are divided by their standard deviation.
      ddof: variances are sums of squares over N - ddof. With 1, as scikit-learn has it, they are
        unbiased; with 0 the likelihood is highest.

    Raises:
      ValueError: an argument is not one of these.

    References:
      Tipping, M. E. and Bishop, C. M. (1999). Probabilistic principal component analysis. Journal
      of the Royal Statistical Society B 61(3), 611-622.
      Seeger et al., Auto-Differentiating Linear Algebra, arXiv:1710.08717.

    Example:

      >>> import numpy as np
      >>> import statespace as ss
      >>> x = np.array([[0.0, 0.0], [2.0, 1.0], [4.0, 2.0], [6.0, 3.1]])
      >>> pca = ss.models.PCA(1).fit(x)
      >>> print(pca.components.numpy().round(3), pca.explained_variance_ratio.numpy().round(4))
      [[0.889 0.458]] [0.9999]
      >>> print(pca.inverse_transform(pca.transform(x)).numpy().round(1)[-1])
      [6.  3.1]
    """

    def __init__(self, num_components, *, method="auto", whiten=False, ddof=1):
        self.num_components = positive_int("PCA", "num_components", num_components)
        check_choice("PCA", "method", method, ("auto", "eigh", "lq"))
        if ddof not in (0, 1):
            raise ValueError(f"PCA: ddof is {ddof!r}; it must be 0 or 1.")
        self.method, self.whiten, self.ddof = method, bool(whiten), int(ddof)

    def __repr__(self):
        return (
            f"PCA({self.num_components}, method={self.method!r}, whiten={self.whiten}, "
            f"ddof={self.ddof})"
        )

    def fit(self, x) -> PrincipalComponents:
        """The components of N rows.

        Args:
          x: ``[..., N, D]``, float32 or float64, each item with at least K + 1 rows. D must be
            known when a graph is built.

        Returns:
          A :class:`PrincipalComponents`. A data set with a NaN or an infinity gives NaN in all of
          it, and leaves the others alone. The gradient of N <= D rows asks for independent ones.

        Raises:
          ValueError: shape or dtype is wrong, or there are fewer than K features or K + 1 rows.
          tf.errors.InvalidArgumentError: there are fewer than K + 1 rows, seen when the graph runs.
        """
        x = self._checked(x)
        count = tf.cast(tf.shape(x)[-2], x.dtype)
        mean = tf.reduce_mean(x, axis=-2)
        centred = x - mean[..., tf.newaxis, :]
        variances, components = self._decompose(centred)
        variances = variances / (count - self.ddof)
        explained = variances[..., : self.num_components]
        total = tf.reduce_sum(centred**2, axis=[-2, -1]) / (count - self.ddof)
        # A sum of what is left, not a difference: it may be small beside the total.
        left = tf.reduce_sum(variances[..., self.num_components :], axis=-1)
        return PrincipalComponents(
            mean=mean,
            components=with_shape(components, [*x.shape[:-2], self.num_components, x.shape[-1]]),
            explained_variance=with_shape(explained, [*x.shape[:-2], self.num_components]),
            total_variance=total,
            noise_variance=left / max(int(x.shape[-1]) - self.num_components, 1),
            whiten=self.whiten,
        )

    def _checked(self, x):
        (x,) = to_matrices("PCA.fit", x=x)
        rows, columns = x.shape[-2:] if x.shape.rank is not None else (None, None)
        wanted = self.num_components
        if columns is None:
            raise ValueError(f"PCA.fit: x has shape {x.shape}; its last axis must be known.")
        if columns < wanted or (rows is not None and rows <= wanted):
            raise ValueError(
                f"PCA.fit: x has shape {x.shape}; {wanted} components need at least {wanted + 1} "
                f"rows and {wanted} features."
            )
        if rows is None:
            message = f"PCA.fit: {wanted} components need at least {wanted + 1} rows."
            x = require(tf.shape(x)[-2] > wanted, message, x)
        return x

    def _decompose(self, centred):
        """All variances times N - ddof, descending, and the first K components."""
        method = self.method
        if method == "auto":
            method = "lq" if centred.dtype == tf.float32 else "eigh"
        rows, columns = centred.shape[-2:]
        if rows is None or rows > columns:
            basis, spread = None, tf.linalg.matrix_transpose(centred)
        else:
            # The rows lie in N - 1 dimensions, in the basis Q of which the rest is done.
            l, basis = lq(without_mean(centred))
            spread = tf.linalg.matrix_transpose(l)
        if method == "eigh":
            squares, vectors = eigh(syrk(spread))
            squares = tf.maximum(tf.reverse(squares, axis=[-1]), 0)  # rounding takes some below
            vectors = tf.reverse(vectors, axis=[-1])[..., : self.num_components]
        else:
            l = spread if basis is not None else lq(spread, mode="l")
            vectors, sigma, _ = singular_vectors(l)
            squares = sigma**2
            # Makes up for what orthogonality small singular values lack.
            _, vectors = lq(tf.linalg.matrix_transpose(vectors[..., : self.num_components]))
            vectors = tf.linalg.matrix_transpose(vectors)
        if basis is not None:
            vectors = gemm(basis, vectors, transpose_a=True)
        return squares, tf.linalg.matrix_transpose(fix_signs(vectors))
