"""Where in a box expected improvement is highest."""

import numpy as np
import tensorflow as tf

from statespace.active.improvement import log_expected_improvement
from statespace.linalg_ops.arguments import positive_int
from statespace.models.arguments import as_tensor, float_tensor, refuse_where
from statespace.optimise import minimise

_OP = "active.suggest"
# How far from the best point other candidates are tried, in units of the box.
_NEAR = (0.1, 0.01)


def suggest(
    predict, limits, x, y, *, seed, num_candidates=1000, num_starts=4, maximise=False
) -> tf.Tensor:
    """The point to evaluate next: that of the highest expected improvement found.

    Half of the candidates are spread over the box, half are near the best point so far. From the
    best of them the logarithm of expected improvement is followed along its gradient (L-BFGS in the
    box), which takes most of the time. All members of a batch and all starts run in step.

    Args:
      predict: function from points ``[..., M, d]`` to the distribution of f there, normal or
        Student's t, ``[..., M]``; such as ``lambda x: posterior.predict(x, noise=False)``. It may
        begin with a network, if that is differentiable.
      limits: lowest and highest value of each coordinate, ``[2, d]``.
      x: points evaluated so far, ``[..., N, d]``, float32 or float64.
      y: their values, ``[..., N]``.
      seed: int, or a sequence of them, none negative; the same seed gives the same candidates.
      num_candidates: how many are compared.
      num_starts: how many of them are improved; 0: the best candidate is taken as it is.
      maximise: whether high values are wanted.

    Returns:
      ``[..., d]``.

    Raises:
      ValueError: an argument has the wrong shape, dtype or value, or no points are given; the
        expected improvement is not a number, or zero or infinite wherever it is tried; or
        ``predict`` is not differentiable and ``num_starts`` asks for gradients.

    Example:

      >>> import numpy as np, tensorflow_probability as tfp
      >>> import statespace as ss
      >>> kernel = tfp.math.psd_kernels.MaternFiveHalves(np.float64(1.0), np.float64(1.0))
      >>> x = np.array([[0.0], [2.0], [4.0]])
      >>> y = np.cos(x[:, 0])
      >>> f = ss.models.GaussianProcess(kernel).condition(x, y, {"noise_variance": 1e-6})
      >>> predict = lambda x: f.predict(x, noise=False)
      >>> print(ss.active.suggest(predict, [[0.0], [6.0]], x, y, seed=1).numpy().round(2))
      [3.11]
    """
    x, y = _evaluated(x, y)
    low, high = _box(limits, x)
    num_candidates = positive_int(_OP, "num_candidates", num_candidates)
    if num_starts:
        num_starts = min(positive_int(_OP, "num_starts", num_starts), num_candidates)
    sign = -1.0 if maximise else 1.0
    best_index = np.argmin(sign * y, axis=-1)[..., np.newaxis]
    best = np.take_along_axis(y, best_index, axis=-1)
    best_point = np.take_along_axis(x, best_index[..., np.newaxis], axis=-2)

    def improvement(unit):
        """Its logarithm at points of the unit cube ``[..., M, d]``."""
        distribution = predict(low + unit * (high - low))
        return log_expected_improvement(distribution, best, maximise=maximise)

    candidates = _candidates((best_point - low) / (high - low), num_candidates, seed)
    value = improvement(tf.constant(candidates)).numpy()
    _check_improvement(value, candidates)
    order = np.argsort(-value, axis=-1)[..., : max(num_starts, 1)]
    # No search starts where f is certain not to be better.
    hopeless = np.isneginf(np.take_along_axis(value, order, axis=-1))
    order = np.where(hopeless, order[..., :1], order)
    starts = np.take_along_axis(candidates, order[..., np.newaxis], axis=-2)
    if num_starts == 0:
        return tf.constant(low + starts[..., 0, :] * (high - low))
    points = starts.reshape(-1, starts.shape[-1]).astype(np.float64)

    def objective(moved, members):
        """Minus the improvement, and its gradient, of the members that still move."""
        points[members] = moved
        unit = tf.constant(points.reshape(starts.shape), starts.dtype)
        with tf.GradientTape() as tape:
            tape.watch(unit)
            value = -improvement(unit)
        gradient = tape.gradient(value, unit)
        if gradient is None:
            raise ValueError(
                f"{_OP}: predict has no gradient by the points. Write it in TensorFlow, or take "
                "the best candidate as it is: num_starts=0."
            )
        gradient = np.asarray(gradient, np.float64).reshape(points.shape)
        return np.asarray(value, np.float64).reshape(-1)[members], gradient[members]

    found = minimise(
        objective,
        points.copy(),
        np.stack([np.zeros_like(low), np.ones_like(low)]),
        max_iterations=20,
        gradient_tolerance=1e-3,
        value_tolerance=1e-4,
    )
    winner = np.argmin(found.value.reshape(starts.shape[:-1]), axis=-1)[..., np.newaxis, np.newaxis]
    ends = found.x.reshape(starts.shape).astype(x.dtype)
    return tf.constant(low + np.take_along_axis(ends, winner, axis=-2)[..., 0, :] * (high - low))


def _candidates(best_point, count, seed):
    """Points of the unit cube, ``[..., count, d]``, for best points ``[..., 1, d]``."""
    rng = _generator(seed)
    *batch, _, dimension = best_point.shape
    points = rng.uniform(size=(*batch, count, dimension))
    for i, distance in enumerate(_NEAR):
        own = slice(count // 2 + i, None, len(_NEAR))
        near = best_point + distance * rng.normal(size=points[..., own, :].shape)
        points[..., own, :] = np.clip(near, 0.0, 1.0)
    return points.astype(best_point.dtype)


def _evaluated(x, y):
    """Points ``[..., N, d]`` and their values ``[..., N]`` as arrays of one dtype."""
    x = float_tensor(_OP, "x", np.asarray(x))
    y = as_tensor(_OP, "y", y, x.dtype)
    if x.shape.rank < 2 or x.shape[-2] == 0 or y.shape != x.shape[:-1]:
        raise ValueError(
            f"{_OP}: x has shape {x.shape} and y {y.shape}; they must be [..., N, d] and [..., N] "
            "with the same N, one at least."
        )
    for name, value in (("x", x), ("y", y)):
        refuse_where(_OP, name, value, lambda value: ~np.isfinite(value), "leave that point out")
    return x.numpy(), y.numpy()


def _generator(seed):
    try:
        if seed is not None:  # of which NumPy makes another generator each time
            return np.random.default_rng(seed)
    except (TypeError, ValueError):
        pass
    raise ValueError(
        f"{_OP}: seed is {seed!r}; it must be an int or a sequence of them, none negative."
    )


def _check_improvement(value, candidates):
    if value.shape != candidates.shape[:-1]:
        raise ValueError(
            f"{_OP}: predict makes a distribution of batch shape {value.shape} of points "
            f"{candidates.shape}; it must be [..., M] for [..., M, d]."
        )
    if np.isnan(value).any() or not np.isfinite(value.max(axis=-1)).all():
        raise ValueError(
            f"{_OP}: expected improvement is not finite at all candidates, or nowhere positive; "
            "see that predict returns finite means and positive deviations."
        )


def _box(limits, x):
    limits = as_tensor(_OP, "limits", limits, x.dtype).numpy()
    if limits.shape != (2, x.shape[-1]):
        raise ValueError(
            f"{_OP}: limits has shape {limits.shape}; it must be [2, d] with d = {x.shape[-1]}, as "
            "x says."
        )
    low, high = limits
    right = (low < high) & np.isfinite(high - low)
    if not right.all():
        index = int(np.argmin(right))
        raise ValueError(
            f"{_OP}: limits[0, {index}] is {low[index]} and limits[1, {index}] is {high[index]}; "
            "the first must be lower, and both finite."
        )
    return low, high
