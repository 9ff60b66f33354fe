"""Which candidates to observe next, one or several at once."""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from statespace.active.criteria import (
    information_gain,
    noise_of_candidates,
    observe,
    variance,
    variance_reduction,
)
from statespace.active.posteriors import covariance_roots, observation_variance
from statespace.linalg_ops.arguments import (
    broadcasts_to,
    check_choice,
    positive_int,
    require,
    to_matrices,
)
from statespace.models.arguments import refuse_where

_OP = "active.select"
CRITERIA = {
    "information_gain": lambda root, noise_variance, _: information_gain(root, noise_variance),
    "variance": lambda root, noise_variance, _: variance(root),
    "variance_reduction": variance_reduction,
}


class Selection(NamedTuple):
    """Candidates in the order in which they were chosen."""

    indices: tf.Tensor  # into the candidates, int32, [..., num]
    gains: tf.Tensor  # the criterion of each, given those before it, [..., num]


def select(
    model,
    candidates,
    num,
    *,
    criterion="information_gain",
    reference=None,
    noise_variance=None,
    replace=False,
) -> Selection:
    """Chooses candidates to observe, each given those chosen before it.

    Which values will be observed does not matter to variances of normal posteriors, so a batch can
    be chosen in advance. That is exact for given hyperparameters; these are not estimated anew.

    Args:
      model: a fitted :class:`statespace.models.BayesianLinearRegression`, or the posterior of a
        :class:`statespace.models.GaussianProcess`, sparse or not (with a sparse one, exact for what
        its inducing points make of f).
      candidates: features or inputs, ``[..., M, D]``.
      num: how many to choose.
      criterion: one of

        * "information_gain": what is told of f or the weights (:func:`information_gain`). A batch
          chosen so has 1 - 1/e = 63 % at least of the information of the best one.
        * "variance": where f is known least (:func:`variance`); differs from the former only where
          the noise does.
        * "variance_reduction": what lowers the average variance most (:func:`variance_reduction`).

      reference: for "variance_reduction", where the variance is averaged, ``[..., P, D]``; None: at
        the candidates.
      noise_variance: of an observation of each candidate, broadcasts against ``[..., M]``; None:
        that of the model.
      replace: whether a candidate may be chosen more than once.

    Returns:
      A :class:`Selection`.

    Raises:
      ValueError: an argument has the wrong shape, dtype or value; the model is not fitted or of
        another kind; or there are fewer candidates than are to be chosen (where that is not known
        in a graph, ``tf.errors.InvalidArgumentError``).

    References:
      Krause, A., Singh, A. and Guestrin, C. (2008). Near-optimal sensor placements in Gaussian
      processes. JMLR 9.

    Example:

      >>> import numpy as np
      >>> import statespace as ss
      >>> prior = ss.models.FixedPrior(noise_scale=0.1, weight_scale=1.0)
      >>> model = ss.models.BayesianLinearRegression(prior)
      >>> model = model.fit(np.array([[0.0], [0.5], [0.6]]), np.array([0.0, 0.4, 0.7]))
      >>> ss.active.select(model, np.array([[0.0], [1.0], [2.0], [-2.0]]), 2).indices.numpy()
      array([3, 2], dtype=int32)
    """
    _check_criterion(criterion, "reference", reference)
    root, reference_root = covariance_roots(_OP, model, candidates, reference)
    if noise_variance is None:
        noise_variance = observation_variance(model)
    return greedy(
        root,
        noise_variance,
        num,
        criterion=criterion,
        reference_root=reference_root,
        replace=replace,
    )


def greedy(
    root, noise_variance, num, *, criterion="information_gain", reference_root=None, replace=False
) -> Selection:
    """:func:`select`, as a function of the root of the covariance of f.

    Each step costs M K operations for a root ``[..., M, K]``, K times that by "variance_reduction".

    Args:
      root: ``[..., M, K]``, float32 or float64, finite.
      noise_variance: positive; broadcasts against ``[..., M]``.
      num, criterion, replace: as for ``select``.
      reference_root: that of the reference points, ``[..., P, K]``, in the same columns.

    Returns:
      A :class:`Selection`; the gains are differentiable.

    Raises:
      ValueError: as for ``select``.

    Example:

      >>> import tensorflow as tf
      >>> from statespace import active
      >>> root = tf.constant([[3.0, 0.0], [2.9, 0.1], [0.0, 1.0]])
      >>> active.greedy(root, 1.0, 2).indices.numpy()  # the second is much like the first
      array([0, 2], dtype=int32)
    """
    _check_criterion(criterion, "reference_root", reference_root)
    (root,) = to_matrices(_OP, root=root)
    refuse_where(_OP, "root", root, lambda value: ~np.isfinite(value), "leave the candidate out")
    num = positive_int(_OP, "num", num)
    root = _with_candidates(root, 1 if replace else num)
    noise_variance = _noise(noise_variance, root)
    gain_of, taken = CRITERIA[criterion], tf.zeros(tf.shape(root)[:-1], bool)
    indices, gains = [], []
    for _ in range(num):
        gain = gain_of(root, noise_variance, reference_root)
        left = tf.where(taken, tf.constant(-np.inf, gain.dtype), gain)
        index = tf.argmax(left, axis=-1, output_type=tf.int32)
        indices.append(index)
        gains.append(_take(gain, index))
        row, noise = _take(root, index), _take(noise_variance, index)
        root = observe(root, row, noise)
        if reference_root is not None:
            reference_root = observe(reference_root, row, noise)
        if not replace:
            taken |= tf.one_hot(index, tf.shape(root)[-2], True, False, dtype=tf.bool)
    return Selection(tf.stack(indices, axis=-1), tf.stack(gains, axis=-1))


def _take(values, index):
    """The values ``[..., M, *event]`` at indices ``[...]``."""
    return tf.gather(values, index, axis=index.shape.rank, batch_dims=index.shape.rank)


def _check_criterion(criterion, name, reference):
    check_choice(_OP, "criterion", criterion, tuple(CRITERIA))
    if reference is not None and criterion != "variance_reduction":
        raise ValueError(f"{_OP}: {name} goes with criterion='variance_reduction' only.")


def _with_candidates(root, least):
    """The root, which must have so many rows at least."""
    count = root.shape[-2]
    advice = "Choose fewer, or allow candidates to be chosen again: replace=True."
    if count is None:
        message = f"{_OP}: num is {least}, and there are fewer candidates. {advice}"
        return require(tf.shape(root)[-2] >= least, message, root)
    if count < least:
        raise ValueError(f"{_OP}: num is {least}, and there are {count} candidates. {advice}")
    return root


def _noise(noise_variance, root):
    """``noise_variance`` for each candidate, ``[..., M]``."""
    shape = root.shape[:-1]
    noise_variance = noise_of_candidates(noise_variance, shape, root.dtype)
    if not broadcasts_to(noise_variance.shape, shape):
        raise ValueError(
            f"{_OP}: noise_variance has shape {noise_variance.shape}; candidates have {shape}, and "
            "it must not have batch axes beyond theirs."
        )
    return tf.broadcast_to(noise_variance, tf.shape(root)[:-1])
