"""Trends: the slowly moving part of a series."""

import numpy as np
import tensorflow as tf

from statespace.models.base import Component
from statespace.models.block import Block, per_step, scaled_columns
from statespace.models.parameters import Bounded, Scale


class LocalLevel(Component):
    """A level that moves as a random walk.

        level_{t+1} = level_t + N(0, level.scale^2)

    Its forecast is flat. With a scale of zero the level is a constant.

    References:
      Durbin, J. and Koopman, S. J. (2012). Time Series Analysis by State Space Methods,
      2nd edition, chapter 2.

    Example:
      >>> [p.name for p in LocalLevel().parameters]
      ['irregular.scale', 'level.scale']
    """

    name = "level"
    state_names = ("level",)
    own_parameters = (Scale("level.scale"),)

    def own_block(self, params, steps):
        """A random walk."""
        return Block(
            transition_matrix=np.ones((1, 1)),
            transition_scale=scaled_columns(np.ones((1, 1)), params["level.scale"]),
            observation_matrix=np.ones((1, 1)),
        )

    def __repr__(self):
        return "LocalLevel()"


class _Trend(Component):
    """A level and its slope."""

    name = "trend"
    state_names = ("level", "slope")

    def __repr__(self):
        return f"{type(self).__name__}()"


class LocalLinearTrend(_Trend):
    """A level that grows by a slope, both moving as random walks.

        level_{t+1} = level_t + slope_t + N(0, level.scale^2)
        slope_{t+1} = slope_t + N(0, slope.scale^2)

    Its forecast is a straight line. With both scales zero the trend is one straight line all
    along; with ``slope.scale`` zero the level is a random walk with drift.

    References:
      Durbin, J. and Koopman, S. J. (2012). Time Series Analysis by State Space Methods,
      2nd edition, section 3.2.1.

    Example:
      >>> LocalLinearTrend().state_names
      ('level', 'slope')
    """

    own_parameters = (Scale("level.scale"), Scale("slope.scale"))

    def own_block(self, params, steps):
        """Level and slope, each with a disturbance."""
        scales = tf.stack([params["level.scale"], params["slope.scale"]], axis=-1)
        return Block(
            transition_matrix=np.array([[1.0, 1.0], [0.0, 1.0]]),
            transition_scale=per_step(np.eye(2) * scales[..., tf.newaxis, :], 2),
            observation_matrix=np.array([[1.0, 0.0]]),
        )


class SmoothTrend(_Trend):
    """A level that grows by a slope; the slope alone has shocks, so the level is smooth.

        level_{t+1} = level_t + slope_t
        slope_{t+1} = slope_t + N(0, slope.scale^2)

    The integrated random walk, whose smoothed level is a cubic spline.

    References:
      Durbin, J. and Koopman, S. J. (2012). Time Series Analysis by State Space Methods,
      2nd edition, sections 3.2.1 and 3.9.

    Example:
      >>> [p.name for p in SmoothTrend().parameters]
      ['irregular.scale', 'slope.scale']
    """

    own_parameters = (Scale("slope.scale"),)

    def own_block(self, params, steps):
        """Level and slope; the slope has a disturbance."""
        return Block(
            transition_matrix=np.array([[1.0, 1.0], [0.0, 1.0]]),
            transition_scale=scaled_columns(np.array([[0.0], [1.0]]), params["slope.scale"]),
            observation_matrix=np.array([[1.0, 0.0]]),
        )


class DampedTrend(_Trend):
    """A level that grows by a slope which dies away.

        level_{t+1} = level_t + slope_t + N(0, level.scale^2)
        slope_{t+1} = slope.damping slope_t + N(0, slope.scale^2)

    Its forecast levels off, which guards against trends that last for a while only. The damping
    lies between 0 and 1, so the slope is stationary: it starts from its stationary distribution,
    of variance slope.scale^2 / (1 - slope.damping^2), and the level diffuse.

    References:
      Harvey, A. C. (1989). Forecasting, Structural Time Series Models and the Kalman Filter,
      section 2.3.2.

    Example:
      >>> [p.name for p in DampedTrend().parameters]
      ['irregular.scale', 'level.scale', 'slope.scale', 'slope.damping']
    """

    own_parameters = (
        Scale("level.scale"),
        Scale("slope.scale"),
        Bounded("slope.damping", start=(0.0, 4.0)),
    )

    def own_block(self, params, steps):
        """Level and slope; what the slope keeps of itself is a parameter."""
        scales = tf.stack([params["level.scale"], params["slope.scale"]], axis=-1)
        damping = params["slope.damping"]
        deviation = params["slope.scale"] / tf.sqrt((1 - damping) * (1 + damping))
        slope = np.diag([0.0, 1.0])
        transition = [[1.0, 1.0], [0.0, 0.0]] + damping[..., tf.newaxis, tf.newaxis] * slope
        return Block(
            transition_matrix=per_step(transition, 2),
            transition_scale=per_step(np.eye(2) * scales[..., tf.newaxis, :], 2),
            observation_matrix=np.array([[1.0, 0.0]]),
            initial_scale=deviation[..., tf.newaxis, tf.newaxis] * slope,
            diffuse=np.array([True, False]),
        )
