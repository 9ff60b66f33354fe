"""Trends: the slowly moving part of a series."""

import numpy as np

from statespace.models.base import Component
from statespace.models.parameters import Variance


class LocalLevel(Component):
    """A level that moves as a random walk.

        level_{t+1} = level_t + N(0, level_variance)

    Its forecast is flat. With ``level_variance`` zero the level is a constant.

    References:
      Durbin, J. and Koopman, S. J. (2012). Time Series Analysis by State Space Methods,
      2nd edition, chapter 2.

    Example:
      >>> LocalLevel().parameters
      (Variance(name='observation_variance'), Variance(name='level_variance'))
    """

    name = "level"
    state_names = ("level",)
    disturbances = (Variance("level_variance"),)
    transition_matrix = np.ones((1, 1))
    disturbance_columns = np.ones((1, 1))
    observation_row = np.ones(1)

    def __repr__(self):
        return "LocalLevel()"


class LocalLinearTrend(Component):
    """A level that grows by a slope, both moving as random walks.

        level_{t+1} = level_t + slope_t + N(0, level_variance)
        slope_{t+1} = slope_t + N(0, slope_variance)

    Its forecast is a straight line. With both variances zero the trend is one straight line all
    along; with ``slope_variance`` zero the level is a random walk with drift.

    References:
      Durbin, J. and Koopman, S. J. (2012). Time Series Analysis by State Space Methods,
      2nd edition, section 3.2.1.

    Example:
      >>> LocalLinearTrend().state_names
      ('level', 'slope')
    """

    name = "trend"
    state_names = ("level", "slope")
    disturbances = (Variance("level_variance"), Variance("slope_variance"))
    transition_matrix = np.array([[1.0, 1.0], [0.0, 1.0]])
    disturbance_columns = np.eye(2)
    observation_row = np.array([1.0, 0.0])

    def __repr__(self):
        return "LocalLinearTrend()"
