"""The iterated smoother: Gauss-Newton steps on the whole path of the states."""

import numpy as np
import tensorflow as tf

from statespace.kalman.step import is_observed
from statespace.linalg_ops.arguments import with_shape
from statespace.nonlinear.methods import ALONG_PATH
from statespace.nonlinear.misfit import Misfit, halvings, up_to_rounding
from statespace.nonlinear.recursion import Backward, Problem, backward, forward, inputs


def relinearised(problem: Problem, smoothed: Backward, failed) -> tuple[Backward, tf.Tensor]:
    """Lowers J, minimal at the mode of the path given all data, from the smoother's means on.

        J(x) = |S_0^-1 (x_0 - m_0)|^2 + sum_t |C_t^-1 (y_t - h(x_t))|^2
               + sum_t |G_t^-1 (x_{t+1} - f(x_t))|^2

    1. With f and h linearised along the path, J is quadratic, and minimal at the means that a
       linear smoother finds: the Gauss-Newton step leads there.
    2. Of that step as much is taken as lowers J most, by halves. Where noise is singular there is
       no J, and steps are whole.
    3. Covariances are those of the last linearisation: at the mode, Laplace's approximation.

    Args:
      problem: with the method's number of linearisations, of which the smoother's is the first.
      smoothed: what that has found.
      failed: bool ``[T, ...]``, steps at which a series has failed.

    Returns:
      Smoothed moments, and which steps have failed by now.

    References:
      Bell, B. M. (1994). The iterated Kalman smoother as a Gauss-Newton method. SIAM Journal on
      Optimization 4(3), 626-636.
    """
    if problem.method.linearisations == 1:
        return smoothed, failed
    path, distance = _elsewhere(problem, failed, smoothed.mean), _Distance(problem)
    failed |= ~tf.math.is_finite(distance.of_steps(path[tf.newaxis])[0])

    def step(failed, path, *rest):
        start = _elsewhere(problem, failed, path)
        varying = problem.varying | {"path": start}
        passed = forward(problem._replace(method=ALONG_PATH, varying=varying), smoothing=True)
        found = backward(passed)
        mean = start + distance.shortened(start, found.mean - start)
        result = (failed | passed.failed, *found._replace(mean=mean))
        before = (failed, path, *rest)
        return tuple(with_shape(x, old.shape) for x, old in zip(result, before, strict=True))

    # A loop, so that the graph does not grow with the iterations.
    failed, *found = tf.while_loop(
        lambda *_: True,
        step,
        (failed, *smoothed._replace(mean=path)),
        maximum_iterations=problem.method.linearisations - 1,
    )
    return Backward(*found), failed


def _elsewhere(problem, failed, path):
    """The path, with the first mean throughout for a series that has failed."""
    lost = tf.reduce_any(failed, axis=0)
    return tf.where(lost[..., tf.newaxis], problem.mean, path)


class _Distance:
    """J of paths ``[L, T, ..., n]``, L alternatives, and how far to go along a direction."""

    def __init__(self, problem):
        self._problem = problem
        named = problem.constant | problem.varying
        every = tf.ones_like(problem.mean, tf.bool)
        self._seen = Misfit(named["observation_scale"], is_observed(problem.y))
        at_steps = every | tf.zeros_like(problem.y[..., :1], tf.bool)
        self._moved = Misfit(named["transition_scale"], at_steps)
        self._start = Misfit(problem.scale, every)
        of_steps = self._seen.singular | self._moved.singular
        self._singular = tf.reduce_any(of_steps, axis=0) | self._start.singular

    def of_steps(self, paths):
        """What each step adds, ``[L, T, ...]``: by its observation, and by the way to the next."""
        observations, following = self._functions(paths)
        moved = tf.concat([paths[:, 1:] - following[:, :-1], tf.zeros_like(paths[:, :1])], axis=1)
        return self._seen(self._problem.y - observations) + self._moved(moved)

    def shortened(self, path, step):
        """As much of a step, both ``[T, ..., n]``, as lowers J most: by 1, 1/2, 1/4, ..., or 0."""
        lengths = halvings(path, 0.0)
        paths = path + lengths[..., tf.newaxis] * step
        values = tf.reduce_sum(self.of_steps(paths), axis=1)
        values += tf.reduce_sum(self._start(paths[:, :1] - self._problem.mean), axis=1)
        lengths, finite = lengths[:, 0], tf.math.is_finite(values)
        values = tf.where(finite, values, np.inf)
        lowest = up_to_rounding(tf.reduce_min(values, axis=0))
        enough = tf.where(self._singular, finite, values <= lowest)
        length = tf.reduce_max(tf.cast(enough, path.dtype) * lengths, axis=0)
        return tf.stop_gradient(length)[..., tf.newaxis] * step

    def _functions(self, paths):
        """h and f at each step of the paths."""
        problem = self._problem

        def of_step(elements):
            x, number, varying = elements
            extra = inputs(number, problem.constant | varying)
            return problem.model.observation(x, extra), problem.model.transition(x, extra)

        swapped = [1, 0, *range(2, paths.shape.rank)]
        elements = tf.transpose(paths, swapped), tf.range(tf.shape(paths)[1]), problem.varying
        lead = paths.shape[:1].concatenate(paths.shape[2:-1])
        specs = tuple(
            tf.TensorSpec(lead.concatenate([size]), paths.dtype)
            for size in (problem.model.observation_dim, problem.model.state_dim)
        )
        values = tf.map_fn(of_step, elements, fn_output_signature=specs)
        return tuple(tf.transpose(x, swapped) for x in values)
