"""What PCA finds: components, coordinates and the likelihood of the probabilistic model."""

import math

import tensorflow as tf

from statespace.linalg_ops import gemm
from statespace.linalg_ops.arguments import to_matrices

_OP = "PrincipalComponents"


class PrincipalComponents(tf.experimental.ExtensionType):
    """Components of data, from :meth:`statespace.models.PCA.fit`.

    A value, as a tensor is: it passes through ``tf.function``, and all methods are differentiable
    for data and components. Leading axes are independent data sets; they broadcast against those
    of ``x`` in the methods.

    Attributes:
      mean: of the data, ``[..., D]``.
      components: orthonormal rows in descending order of variance, ``[..., K, D]``. Of each, the
        first entry whose magnitude is within 0.1 % of the largest is positive.
      explained_variance: along each component, ``[..., K]``.
      total_variance: of all D features together, ``[...]``.
      noise_variance: the mean variance in the D - K directions that are left, ``[...]``; zero if
        there are none.
      whiten: whether ``transform`` scales coordinates to variance one.
    """

    mean: tf.Tensor
    components: tf.Tensor
    explained_variance: tf.Tensor
    total_variance: tf.Tensor
    noise_variance: tf.Tensor
    whiten: bool

    @property
    def explained_variance_ratio(self) -> tf.Tensor:
        """Part of the total variance that each component has, ``[..., K]``."""
        return self.explained_variance / self.total_variance[..., tf.newaxis]

    @property
    def loadings(self) -> tf.Tensor:
        """W ``[..., D, K]`` of the model x = W z + mean + noise: components times their roots.

        W_k = u_k sqrt(explained_variance_k - noise_variance), where the likelihood is highest.
        """
        above = tf.maximum(self.explained_variance - self.noise_variance[..., tf.newaxis], 0)
        return tf.linalg.matrix_transpose(self.components * tf.sqrt(above)[..., tf.newaxis])

    def covariance(self) -> tf.Tensor:
        """W W' + noise_variance I, the covariance that the model gives x, ``[..., D, D]``."""
        noise = self.noise_variance[..., tf.newaxis] * tf.ones_like(self.mean)
        loadings = self.loadings
        return gemm(loadings, loadings, transpose_b=True) + tf.linalg.diag(noise)

    def transform(self, x) -> tf.Tensor:
        """Coordinates in the components, ``[..., N, K]``, of data ``[..., N, D]``.

        Raises:
          ValueError: shape or dtype of x is wrong.
        """
        z = gemm(self._centred(x), self.components, transpose_b=True)
        return z / self._deviation if self.whiten else z

    def inverse_transform(self, z) -> tf.Tensor:
        """The points ``[..., N, D]`` with coordinates ``[..., N, K]``.

        Raises:
          ValueError: shape or dtype of z is wrong.
        """
        (z,) = to_matrices(_OP, z=z)
        self._check("z", z, self.components.shape[-2], "coordinates")
        if self.whiten:
            z = z * self._deviation
        return self.mean[..., tf.newaxis, :] + gemm(z, self.components)

    def log_likelihood(self, x) -> tf.Tensor:
        """log N(x_i; mean, W W' + noise_variance I) of each row of ``[..., N, D]``, ``[..., N]``.

        Without a matrix of size D: along the components the variance is theirs, and that of the
        noise across. Where all variance is explained although K < D, data have no density, and the
        result is infinite or NaN.

        Raises:
          ValueError: shape or dtype of x is wrong.
        """
        centred = self._centred(x)
        z = gemm(centred, self.components, transpose_b=True)
        count, size = (int(axis) for axis in self.components.shape[-2:])
        variance = self.explained_variance[..., tf.newaxis, :]
        log_determinant = tf.reduce_sum(tf.math.log(variance), axis=-1)
        distance = tf.reduce_sum(z**2 / variance, axis=-1)
        if count < size:
            noise = self.noise_variance[..., tf.newaxis]
            across = tf.reduce_sum((centred - gemm(z, self.components)) ** 2, axis=-1)
            log_determinant += (size - count) * tf.math.log(noise)
            distance += across / noise
        return -0.5 * (size * math.log(2 * math.pi) + log_determinant + distance)

    @property
    def _deviation(self):
        return tf.sqrt(self.explained_variance)[..., tf.newaxis, :]

    def _centred(self, x):
        (x,) = to_matrices(_OP, x=x)
        self._check("x", x, self.components.shape[-1], "features")
        return x - self.mean[..., tf.newaxis, :]

    def _check(self, name, value, columns, what):
        if value.dtype != self.components.dtype:
            raise ValueError(
                f"{_OP}: {name} is {value.dtype.name}; the components are "
                f"{self.components.dtype.name}. Cast it."
            )
        if value.shape.rank is not None and value.shape[-1] not in (None, columns):
            raise ValueError(
                f"{_OP}: {name} has shape {value.shape}; its last axis must be the {columns} "
                f"{what}."
            )
