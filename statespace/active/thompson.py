"""Thompson sampling: the best candidate of functions drawn from the posterior."""

import tensorflow as tf

from statespace.active.posteriors import sample_functions


def thompson_sample(model, candidates, num, *, seed, maximise=False) -> tf.Tensor:
    """Draws functions from the posterior, and takes the best candidate of each.

    A candidate comes up as often as it is probable to be the best one. Several draws are a batch of
    candidates to be observed at once.

    Args:
      model: a fitted :class:`statespace.models.BayesianLinearRegression`, or the posterior of a
        :class:`statespace.models.GaussianProcess`.
      candidates: features or inputs, ``[..., M, D]``.
      num: number of draws.
      seed: an int, or two of them; the same seed gives the same functions.
      maximise: whether the best is the highest.

    Returns:
      Indices into the candidates, int32, ``[num, ...]``; they may be repeated.

    Raises:
      ValueError: as for :func:`statespace.active.sample_functions`, or there are no candidates.

    References:
      Thompson, W. R. (1933). On the likelihood that one unknown probability exceeds another in view
      of the evidence of two samples. Biometrika 25.

    Example:

      >>> import numpy as np
      >>> import statespace as ss
      >>> prior = ss.models.FixedPrior(noise_scale=0.1, weight_scale=1.0)
      >>> model = ss.models.BayesianLinearRegression(prior)
      >>> model = model.fit(np.array([[0.0], [0.1]]), np.array([0.0, 0.1]))
      >>> chosen = ss.active.thompson_sample(model, np.array([[-1.0], [0.0], [1.0]]), 1000, seed=1)
      >>> np.bincount(chosen, minlength=3)  # slope 0.3 +- 0.8
      array([675,   0, 325])
    """
    functions = sample_functions(model, candidates, num, seed=seed)
    if functions.shape[-1] == 0:
        raise ValueError("active.thompson_sample: there are no candidates.")
    best = tf.argmax if maximise else tf.argmin
    return best(functions, axis=-1, output_type=tf.int32)
