"""Seasonal patterns: what repeats with a known period."""

import numbers

import numpy as np

from statespace.models.base import Component
from statespace.models.block import Block, block_diagonal, scaled_columns
from statespace.models.parameters import Scale

LONGEST_PERIOD = 2000  # the matrices of the states, one fewer, take 32 MB each


class Seasonal(Component):
    """A seasonal pattern in dummy form: the effects of a period sum to zero but for a disturbance.

        effect_{t+1} = -(effect_t + ... + effect_{t-period+2}) + N(0, seasonal.scale^2)

    The states are the present effect and the period - 2 before it. With a scale of zero the
    pattern never changes.

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
        self.period = _checked_period(period)
        self.name = name
        self.state_names = (name, *(f"{name}_lag_{lag}" for lag in range(1, self.period - 1)))
        self.own_parameters = (Scale(f"{name}.scale"),)

    def own_block(self, params, steps):
        """Each effect becomes the one before."""
        states = self.period - 1
        transition = np.eye(states, k=-1)
        transition[0] = -1.0
        return Block(
            transition_matrix=transition,
            transition_scale=scaled_columns(np.eye(states, 1), params[f"{self.name}.scale"]),
            observation_matrix=np.eye(1, states),
        )

    def distinguished(self):
        """The same pattern, named after its period unless it was given a name of its own."""
        return Seasonal(self.period, name=_with_period(self.name, self.period))

    def __repr__(self):
        return f"Seasonal({self.period}{_named(self.name)})"


class TrigonometricSeasonal(Component):
    """A seasonal pattern as a sum of waves, of which each may change in size and phase.

        [a_j; a*_j]_{t+1} = rotation by 2 pi j / period of [a_j; a*_j]_t + N(0, seasonal.scale^2 I)

    for the harmonics j = 1, 2, ..., of which the pattern is the sum of all a_j. Few harmonics make
    long periods cheap: two states each (the last of an even period takes one).

    Args:
      period: length of the pattern in steps; it need not be a whole number (365.25).
      harmonics: number of waves, at most period / 2, which is the default.
      name: as for :class:`Seasonal`.

    Raises:
      ValueError: ``period`` is not a number of at least 2, or there are too many harmonics.

    References:
      Durbin, J. and Koopman, S. J. (2012). Time Series Analysis by State Space Methods,
      2nd edition, section 3.2.2.

    Example:
      >>> TrigonometricSeasonal(7, harmonics=2).state_names
      ('seasonal_1', 'seasonal_1_star', 'seasonal_2', 'seasonal_2_star')
    """

    def __init__(self, period, harmonics=None, *, name="seasonal"):
        if not isinstance(period, numbers.Real) or not 2 <= period < float("inf"):
            raise ValueError(
                f"The period of a seasonal pattern is a number of steps, at least 2; given was "
                f"{period!r}."
            )
        period = int(period) if period == int(period) else float(period)
        most = int(min(period, LONGEST_PERIOD) // 2)
        harmonics = most if harmonics is None else harmonics
        if not isinstance(harmonics, numbers.Integral) or not 1 <= harmonics <= most:
            raise ValueError(
                f"A pattern of period {period} has from 1 to {most} harmonics; given was "
                f"{harmonics!r}."
            )
        self.period, self.harmonics, self.name = period, int(harmonics), name
        self.state_names = tuple(
            f"{name}_{j}{star}"
            for j in range(1, self.harmonics + 1)
            for star in ("", "_star")[: self._states(j)]
        )
        self.own_parameters = (Scale(f"{name}.scale"),)

    def own_block(self, params, steps):
        """A rotation for each harmonic."""
        rotations, rows = [], []
        for j in range(1, self.harmonics + 1):
            angle = 2 * np.pi * j / self.period
            rotation = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
            size = self._states(j)
            rotations.append(rotation[:size, :size])
            rows.append(np.eye(1, size))
        transition = block_diagonal(rotations)
        return Block(
            transition_matrix=transition,
            transition_scale=scaled_columns(np.eye(len(transition)), params[f"{self.name}.scale"]),
            observation_matrix=np.concatenate(rows, axis=1),
        )

    def distinguished(self):
        """The same pattern, named after its period unless it was given a name of its own."""
        name = _with_period(self.name, self.period)
        return TrigonometricSeasonal(self.period, self.harmonics, name=name)

    def _states(self, j):
        return 1 if 2 * j == self.period else 2  # the wave of alternating signs has no phase

    def __repr__(self):
        return f"TrigonometricSeasonal({self.period!r}, {self.harmonics}{_named(self.name)})"


def _checked_period(period):
    if not isinstance(period, numbers.Integral) or not 2 <= period <= LONGEST_PERIOD:
        raise ValueError(
            f"The period of a seasonal pattern is a whole number of steps, from 2 to "
            f"{LONGEST_PERIOD}, such as 12 for months; given was {period!r}."
        )
    return int(period)


def _with_period(name, period):
    return f"seasonal_{period}" if name == "seasonal" else name


def _named(name):
    return "" if name == "seasonal" else f", name={name!r}"
