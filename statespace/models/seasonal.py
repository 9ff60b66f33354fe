"""Seasonal patterns: what repeats with a known period."""

import numbers

import numpy as np

from statespace.models.base import Component
from statespace.models.parameters import Variance

_LONGEST_PERIOD = 2000  # the matrices of the states, one fewer, take 32 MB each


class Seasonal(Component):
    """A seasonal pattern in dummy form: the effects of a period sum to zero but for a disturbance.

        effect_{t+1} = -(effect_t + ... + effect_{t-period+2}) + N(0, seasonal_variance)

    The states are the present effect and the period - 2 before it. With ``seasonal_variance`` zero
    the pattern never changes.

    Args:
      period: number of steps after which the pattern repeats: 12 for months, 4 for quarters.
      name: what states, parameters and plots call it; "seasonal" by default. A model with several
        seasonal terms calls them "seasonal_12", "seasonal_7", ...

    Raises:
      ValueError: ``period`` is not a whole number from 2 to 2000.

    References:
      Durbin, J. and Koopman, S. J. (2012). Time Series Analysis by State Space Methods,
      2nd edition, section 3.2.2.

    Example:
      >>> Seasonal(4).state_names
      ('seasonal', 'seasonal_lag_1', 'seasonal_lag_2')
    """

    def __init__(self, period, *, name="seasonal"):
        if not isinstance(period, numbers.Integral) or not 2 <= period <= _LONGEST_PERIOD:
            raise ValueError(
                f"The period of a seasonal pattern is a whole number of steps, from 2 to "
                f"{_LONGEST_PERIOD}, such as 12 for months; given was {period!r}."
            )
        self.period = int(period)
        self.name = name
        self.state_names = (name, *(f"{name}_lag_{lag}" for lag in range(1, self.period - 1)))
        self.disturbances = (Variance(f"{name}_variance"),)
        states = self.period - 1
        self.transition_matrix = np.eye(states, k=-1)  # each effect becomes the one before
        self.transition_matrix[0] = -1.0
        self.disturbance_columns = np.eye(states, 1)
        self.observation_row = np.eye(1, states)[0]

    def distinguished(self):
        """The same pattern, named after its period unless it was given a name of its own."""
        return (
            self
            if self.name != "seasonal"
            else Seasonal(self.period, name=f"seasonal_{self.period}")
        )

    def __repr__(self):
        return f"Seasonal({self.period})"
