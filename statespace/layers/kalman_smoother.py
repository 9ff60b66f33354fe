"""The Kalman smoother as a layer."""

import keras

from statespace.kalman.smoother import kalman_smoother
from statespace.layers.kalman_layer import KalmanLayer, Moments, observed_moments


@keras.saving.register_keras_serializable(package="statespace")
class KalmanSmoother(KalmanLayer):
    """The Kalman smoother as a layer: what the states were, given all observations of a series.

        y_t     = H x_t + d + C_t r_t,          r_t ~ N(0, I)
        x_{t+1} = F x_t + b + B u_t + G D_t q_t,     q_t ~ N(0, I)

    ``KalmanSmoother(4)(observations)`` is a smoother with four states of which everything is
    learned. It is differentiable in its inputs and weights, so it may stand on an encoder, which
    emits observations and how far each is to be trusted, and below a decoder. The guide "Kalman
    filters and smoothers in networks" shows how.

    Args:
      state_dim: number n of states; may be left out where ``dynamics`` says it.
      dynamics: where F, G, H, C and the start come from.

        - None: they are weights. States start out stable, each with a memory of its own between 2
          and 100 steps; noise is independent between states.
        - A model of ``statespace.models``, such as ``ConstantVelocity(2)`` or a sum of components:
          its parameters are weights, through its bijectors.
        - A :class:`statespace.LinearGaussianSSM`: all is fixed.
      fix: dict from names of parameters to the values that they keep. For dynamics None the
        parameters are ``transition_matrix`` [n, n], ``transition_scale`` [n],
        ``observation_matrix`` [m, n], ``observation_scale`` [m], ``observation_offset`` [m],
        ``initial_mean`` [n] and ``initial_scale`` [n], and for any ``control_matrix`` [n, c].
      initial_values: dict from names of other parameters to where learning starts.
      output: of what the moments are: ``"states"``, or ``"observations"``: H x_t + d + C_t r_t,
        an observation at that step, noise included, as if made once more; of a missing one,
        this is the imputation.
      return_sequences: every step, or each series' last, that is the last not masked.
      return_covariance: also return covariances.
      return_scale: also return their lower triangular Cholesky factors.
      return_log_likelihood: also return log p(y) of each series.
      join_standard_deviation: join standard deviations to the means, on the last axis: what
        :class:`GaussianLogScore` and its kin take.
      likelihood_weight: adds so many times the negative log-likelihood, per step of the batch at
        which anything is observed, to the losses. Of observations that a network emits it is no
        measure: it grows as they all become the same.
      diffuse_scale: standard deviation of states of whose start the model says nothing; None: an
        exact diffuse start, whose gradient is slow.
      algorithm: one of ``statespace.kalman.ALGORITHMS``. "auto" is the square-root form for
        float32, the covariance form for float64, the univariate form for an exact diffuse start.
      **kwargs: ``name``, ``dtype`` and so on, as for every layer.

    Inputs: observations ``[batch, time, m]``; or a tuple that begins with them, or a dict of

      - ``observations``;
      - ``observation_noise_scale``: C_t, the standard deviations ``[batch, time, m]``, or matrices
        ``[batch, time, m, m]``, such as lower triangular ones, in place of the dynamics' own;
      - ``transition_noise_scale``: D_t ``[batch, time, k]`` or ``[batch, time, k, k]``, the scale
        of the k disturbances. Of dynamics None G is then the identity, with k = n;
      - ``controls``: u_t ``[batch, time, c]``. What step t has leads to step t + 1;
      - ``features`` ``[batch, time, K]`` and ``times`` ``[batch, time]``, by dict alone, for models
        with regressions and in continuous time.

    What a network emits for noise should be positive, as ``softplus`` makes it. Parameters that
    this leaves without influence are no weights.

    A NaN is a missing component. A step that the mask leaves out is missing altogether, so what
    follows the end of a padded series changes nothing before it. The mask is passed on; to learn
    from smoothed values at missing steps, mark them with NaN instead.

    Outputs: the mean ``[batch, time, n]``, or the tuple of mean, covariance and scale
    ``[batch, time, n, n]`` and log-likelihood ``[batch]``, as far as they are asked for. With
    ``output="observations"`` m stands for n, without ``return_sequences`` there is no time.

    Computations run in float64, whatever the dtype of weights and outputs.

    Raises:
      ValueError: an argument is wrong, a shape does not fit, or the dtype is of half precision.

    References:
      Durbin, J. and Koopman, S. J. (2012). Time Series Analysis by State Space Methods, 2nd
      edition, chapter 4.
      Haarnoja, T. et al. (2016). Backprop KF: learning discriminative deterministic state
      estimators. NeurIPS.

    Example:

      >>> import numpy as np, statespace as ss
      >>> layer = ss.layers.KalmanSmoother(dynamics=ss.models.ConstantVelocity(2))
      >>> y = np.zeros((3, 10, 2), np.float32)
      >>> layer(y).shape
      TensorShape([3, 10, 4])
      >>> [weight.name for weight in layer.weights]
      ['irregular.scale', 'motion.scale']
    """

    outputs = ("states", "observations")

    def moments(self, ssm, observations, mask):
        """Smoothed moments; see ``KalmanLayer``."""
        result = kalman_smoother(ssm, observations, mask=mask, lag_one=False, **self._form(ssm))
        mean, covariance = result.smoothed_mean, result.smoothed_covariance
        if self.output_kind == "observations":
            mean, covariance = observed_moments(ssm, mean, covariance)
        return Moments(mean, covariance, result.log_likelihood)
