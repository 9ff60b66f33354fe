"""Exponential smoothing with additive errors as a component."""

import numpy as np
import tensorflow as tf

from statespace.models.base import Component
from statespace.models.block import Block, per_step, scaled_columns
from statespace.models.parameters import Bounded, Scale
from statespace.models.seasonal import Seasonal


class ExponentialSmoothing(Component):
    """Exponential smoothing in innovations form: ETS(A,N,N), (A,A,N), (A,Ad,N), (A,N,A), ...

        y_t = l_{t-1} + phi b_{t-1} + s_{t-m} + e_t,    e_t ~ N(0, smoothing.scale^2)
        l_t = l_{t-1} + phi b_{t-1} + alpha e_t
        b_t = phi b_{t-1} + beta e_t
        s_t = s_{t-m} + gamma e_t

    One error moves level, trend and seasonal effects. Estimated are the smoothing parameters of the
    recursions of Holt and Winters, each free between 0 and 1:

        smoothing.level     alpha
        smoothing.trend     beta / alpha,          so 0 < beta < alpha
        smoothing.seasonal  gamma / (1 - alpha),   so 0 < gamma < 1 - alpha

    and ``smoothing.damping``, phi between 0.8 and 0.98 (it is 1 without damping). Of level, trend
    and seasonal effects nothing is known at the start, an exact diffuse start.

    The states at t are l_{t-1}, b_{t-1}, the effect s_{t-m} of the season at hand, those of the
    m - 2 steps before, and e_t, which is a state so that the noise of the filter's model may be
    independent. Effects are normalised: at each step their mean goes over to the level, so that
    those of a period always sum to zero. No forecast changes by that.

    ``result.components()`` has the terms of the first equation: "level", "slope" (which is
    phi b_{t-1}), "seasonal" and, for e_t, "irregular".

    Args:
      trend: "add" for a trend, or None.
      damped: whether the trend dies away.
      seasonal: "add" for seasonal effects, or None.
      period: number m of steps after which they recur.

    Raises:
      ValueError: an argument has another value, or goes with one that is not given.

    References:
      Hyndman, R. J., Koehler, A. B., Ord, J. K. and Snyder, R. D. (2008). Forecasting with
      Exponential Smoothing, chapters 2 and 3; chapter 8 on normalisation.

    Example:
      >>> [p.name for p in ExponentialSmoothing(trend="add", damped=True).parameters]
      ['smoothing.scale', 'smoothing.level', 'smoothing.trend', 'smoothing.damping']
    """

    name = "smoothing"
    explains_noise = True

    def __init__(self, trend=None, damped=False, seasonal=None, period=None):
        for argument, value in (("trend", trend), ("seasonal", seasonal)):
            if value not in (None, "add"):
                raise ValueError(
                    f"ExponentialSmoothing: {argument} is 'add' or None; given was {value!r}."
                )
        if damped and trend is None:
            raise ValueError(
                "ExponentialSmoothing: damped=True without a trend to damp; give trend='add' too."
            )
        if (seasonal is None) != (period is None):
            raise ValueError(
                f"ExponentialSmoothing: seasonal='add' and period go together; given were "
                f"seasonal={seasonal!r} and period={period!r}."
            )
        self.trend, self.damped, self.seasonal = trend, bool(damped), seasonal
        effects = Seasonal(period) if seasonal else None  # for its check and its names
        self.period = effects.period if seasonal else 1
        self.state_names = (
            "level",
            *(("slope",) if trend else ()),
            *(effects.state_names if seasonal else ()),
            "error",
        )
        self.own_parameters = (
            Scale("smoothing.scale"),
            Bounded("smoothing.level"),
            *((Bounded("smoothing.trend", start=(-5.0, 0.0)),) if trend else ()),
            *((Bounded("smoothing.seasonal", start=(-4.0, 1.0)),) if seasonal else ()),
            *((Bounded("smoothing.damping", low=0.8, high=0.98),) if damped else ()),
        )

    def own_states(self):
        """Level, slope and seasonal effects, and the error for the irregular."""
        last = len(self.state_names) - 1
        states = {"level": slice(0, 1)} | ({"slope": slice(1, 2)} if self.trend else {})
        if self.seasonal:
            states["seasonal"] = slice(len(states), last)
        return states | {"irregular": slice(last, last + 1)}

    def own_block(self, params, steps):
        """The error of a step goes into the states of the next."""
        own = {name.removeprefix("smoothing."): value for name, value in params.items()}
        error, scale = self._unit("error"), own["scale"]
        transition, row = self._without_errors(own)
        transition = transition + self._gain(own)[..., tf.newaxis] * error
        return Block(
            transition_matrix=per_step(transition, 2),
            transition_scale=scaled_columns(error[:, np.newaxis], scale),
            observation_matrix=per_step(row, 2) if self.damped else row,
            initial_scale=error[:, np.newaxis] * scale[..., tf.newaxis, tf.newaxis],
            diffuse=error == 0,
        )

    def _without_errors(self, own):
        """How the states go on without errors, ``[..., n, n]``, and what is observed of them."""
        level = self._unit("level")
        transition, row = np.outer(level, level), (level + self._unit("error"))[np.newaxis]
        if self.seasonal:
            row = row + self._unit("seasonal")
            # The season at hand is the one whose effect makes the sum zero, as in Seasonal.
            first = self.state_names.index("seasonal")
            transition[first:-1, first:-1] = np.eye(self.period - 1, k=-1)
            transition[first, first:-1] = -1.0
        if self.trend:
            slope = self._unit("slope")
            phi = own["damping"][..., tf.newaxis, tf.newaxis] if self.damped else 1.0
            transition, row = transition + phi * np.outer(level + slope, slope), row + phi * slope
        return transition, row

    def _gain(self, own):
        """What an error of one adds to each state, ``[..., n]``."""
        alpha = own["level"][..., tf.newaxis]
        gain = alpha * self._unit("level")
        if self.trend:
            gain += alpha * own["trend"][..., tf.newaxis] * self._unit("slope")
        if self.seasonal:
            # The latest of the m effects moves by gamma, then all give their mean to the level.
            effects = np.full(self.period, -1.0 / self.period)
            effects[1] += 1.0
            moved = self._unit("level") / self.period
            moved[self.state_names.index("seasonal") : -1] = effects[:-1]
            gain += (1 - alpha) * own["seasonal"][..., tf.newaxis] * moved
        return gain

    def _unit(self, state):
        """One for a state, zero for the others, [n]."""
        return np.eye(len(self.state_names))[self.state_names.index(state)]

    def __repr__(self):
        given = {"trend": self.trend, "damped": self.damped or None, "seasonal": self.seasonal}
        if self.seasonal:
            given["period"] = self.period
        arguments = ", ".join(f"{name}={value!r}" for name, value in given.items() if value)
        return f"ExponentialSmoothing({arguments})"
