"""Autoregressive integrated moving averages as a component."""

import numbers
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from statespace.models.base import Component
from statespace.models.block import Block, block_diagonal, joined, per_step
from statespace.models.parameters import (
    InvertibleCoefficients,
    Location,
    Scale,
    StationaryCoefficients,
)
from statespace.models.polynomials import multiplied, padded
from statespace.models.seasonal import LONGEST_PERIOD
from statespace.models.stationary import stationary_scale


class ARIMA(Component):
    """A seasonal autoregressive integrated moving average, ARIMA(p, d, q)(P, D, Q)_s.

        (1 - B)^d (1 - B^s)^D u_t = mean + w_t
        phi(B) Phi(B^s) w_t = theta(B) Theta(B^s) e_t,    e_t ~ N(0, arima.scale^2)

    where B goes back one step, phi(B) = 1 - phi_1 B - ... - phi_p B^p,
    theta(B) = 1 + theta_1 B + ... + theta_q B^q, and Phi and Theta likewise: the signs of R, Stata
    and statsmodels. The parameters are ``arima.ar`` (phi), ``arima.ma`` (theta),
    ``arima.seasonal_ar`` (Phi), ``arima.seasonal_ma`` (Theta), ``arima.mean`` if asked for, and
    ``arima.scale``. Whatever the optimiser tries, the process w is stationary and invertible.

    The process leaves no noise to the observations; ``ARIMA(...) + Irregular()`` has measurement
    error as well. ``ARIMA(...) + Regression(k, as_states=False)`` is a regression with ARIMA
    errors, as Stata's ``arima`` and R's ``xreg`` have it.

    w starts from its stationary distribution; of u_{-1}, u_{-2}, ... nothing is known, an exact
    diffuse start. Its constant is left out, so without missing values the log-likelihood is that of
    the differenced series, as in R, Stata and statsmodels with ``simple_differencing``.

    The states are first the differences so far: of each factor (1 - B^k) of (1 - B)^d (1 - B^s)^D,
    the last k values of what it is applied to. Then comes w in Harvey's form, w_t itself and what
    the past has for w_{t+1}, w_{t+2}, ... apart from what goes through w_t.

    Args:
      order: (p, d, q), whole numbers from zero.
      seasonal_order: (P, D, Q, s) with the period s of at least two steps; None for no such part.
      mean: whether the mean of the differenced series (the drift, if d = 1) is estimated, or zero.
      name: what states, parameters and plots call it.

    Raises:
      ValueError: the orders make no sense, or describe white noise.

    References:
      Harvey, A. C. (1993). Time Series Models, 2nd edition, section 4.4.
      Durbin, J. and Koopman, S. J. (2012). Time Series Analysis by State Space Methods,
      2nd edition, section 3.4.

    Example:
      >>> model = ARIMA((0, 1, 1), (0, 1, 1, 12))
      >>> [p.name for p in model.parameters]
      ['arima.scale', 'arima.ma', 'arima.seasonal_ma']
      >>> import statespace as ss
      >>> result = ARIMA((0, 1, 1)).fit(ss.datasets.nile())
      >>> print(f"{result.log_likelihood:.4f}")
      -632.5456
    """

    explains_noise = True
    diffuse_constant = "exclude"

    def __init__(self, order, seasonal_order=None, *, mean=False, name="arima"):
        self.order = _checked_order(order)
        self.seasonal_order = _checked_seasonal_order(seasonal_order)
        self.mean, self.name = bool(mean), name
        p, d, q = self.order
        seasonal_p, seasonal_d, seasonal_q, self.period = self.seasonal_order or (0, 0, 0, 1)
        if not (any((*self.order, seasonal_p, seasonal_d, seasonal_q)) or self.mean):
            raise ValueError(
                "ARIMA of orders zero is white noise, which an Irregular() is already; raise "
                "one of the orders, or leave the ARIMA out."
            )
        self._lags = [1] * d + [self.period] * seasonal_d
        self._size = max(p + seasonal_p * self.period, q + seasonal_q * self.period + 1)
        self.state_names = (
            *(
                f"{name}_difference_{taken}_lag_{lag}"
                for taken, longest in enumerate(self._lags)
                for lag in range(1, longest + 1)
            ),
            *(f"{name}_{i + 1}" for i in range(self._size)),
        )
        own = (
            Scale(f"{name}.scale"),
            StationaryCoefficients(f"{name}.ar", shape=(p,)),
            InvertibleCoefficients(f"{name}.ma", shape=(q,)),
            StationaryCoefficients(f"{name}.seasonal_ar", shape=(seasonal_p,)),
            InvertibleCoefficients(f"{name}.seasonal_ma", shape=(seasonal_q,)),
            *((Location(f"{name}.mean"),) if self.mean else ()),
        )
        self.own_parameters = tuple(parameter for parameter in own if parameter.size)

    def own_block(self, params, steps):
        """What w is added up to, and w."""
        own = {name.removeprefix(f"{self.name}."): value for name, value in params.items()}
        past, entry, last = _differences(self._lags)
        process, scale, start = self._process(own)
        first, before = np.eye(1, self._size), len(past)
        return Block(
            transition_matrix=block_diagonal([past, process])
            + np.pad(entry @ first, [(0, self._size), (before, 0)]),
            transition_scale=joined([np.zeros((before, 1)), scale], axis=-2),
            observation_matrix=np.concatenate([last, first], axis=-1),
            initial_scale=block_diagonal([np.zeros((before, 0)), start]),
            diffuse=np.arange(len(self.state_names)) < before,
            **self._offsets(own, entry),
        )

    def own_start(self, values):
        """The mean of the differences for the mean."""
        if not self.mean:
            return {}
        for lag in self._lags:
            values = values[:, lag:] - values[:, :-lag]
        values = values[..., 0]
        known = ~np.isnan(values)
        total = np.sum(values, axis=1, where=known)
        return {f"{self.name}.mean": total / np.maximum(known.sum(axis=1), 1)}

    def _process(self, own):
        """The transition and scale of w, and the scale of its start."""
        shift = np.eye(self._size, k=1)
        theta = self._product(own, "ma", sign=1.0)
        scale = own["scale"][..., tf.newaxis] * padded(theta, 0, self._size - theta.shape[-1])
        scale = scale[..., tf.newaxis]
        if not ("ar" in own or "seasonal_ar" in own):
            start = stationary_scale(shift, scale, doublings=(self._size - 1).bit_length())
            return shift, per_step(scale, 2), start
        phi = -self._product(own, "ar", sign=-1.0)[..., 1:]
        column = padded(phi, 0, self._size - phi.shape[-1])[..., tf.newaxis]
        transition = shift + column * np.eye(1, self._size)
        start = stationary_scale(transition, scale)
        return per_step(transition, 2), per_step(scale, 2), start

    def _product(self, own, which, sign):
        """The coefficients of the polynomial and its seasonal factor multiplied, ``[..., k]``."""
        factors = (own.get(name, np.zeros(0)) for name in (which, f"seasonal_{which}"))
        return multiplied(*(sign * factor for factor in factors), self.period)

    def _offsets(self, own, entry):
        """The mean goes wherever w goes."""
        if not self.mean:
            return {}
        mean = own["mean"][..., tf.newaxis]
        enters = np.concatenate([entry[:, 0], np.zeros(self._size)])
        return {
            "observation_offset": per_step(mean, 1),
            "transition_offset": per_step(mean * enters, 1),
        }

    def __repr__(self):
        seasonal = f", {self.seasonal_order}" if self.seasonal_order else ""
        mean = ", mean=True" if self.mean else ""
        name = "" if self.name == "arima" else f", name={self.name!r}"
        return f"ARIMA({self.order}{seasonal}{mean}{name})"


def _differences(lags):
    """How x_0 = u is had again from w = x_K, where x_i(t) = x_{i-1}(t) - x_{i-1}(t - lags_i).

    The states are x_{i-1}(t-1), ..., x_{i-1}(t-lags_i) for i = 1, ..., K, one i after the other;
    x_{i-1}(t) is the sum of x_{j-1}(t - lags_j) over all j from i on, plus w(t).

    Args:
      lags: lags_1, ..., lags_K, of k in total.

    Returns:
      The transition of the states [k, k], where w enters them [k, 1], and what u has of them,
      [1, k].
    """
    total = sum(lags)
    ends = np.cumsum(lags, dtype=int)
    starts = ends - np.array(lags, int)
    transition, entry, last = np.eye(total, k=-1), np.zeros((total, 1)), np.zeros((1, total))
    last[0, ends - 1] = entry[starts, 0] = 1.0
    for start in starts:
        transition[start] = last[0] * (np.arange(total) >= start)
    return transition, entry, last


def _checked_order(order):
    if not _whole_numbers(order, 3):
        raise ValueError(
            f"The order of an ARIMA is (p, d, q), three whole numbers from zero; given was "
            f"{order!r}."
        )
    return tuple(map(int, order))


def _checked_seasonal_order(order):
    if order is None:
        return None
    if not _whole_numbers(order, 4) or not 2 <= order[3] <= LONGEST_PERIOD:
        raise ValueError(
            f"The seasonal order of an ARIMA is (P, D, Q, s), three whole numbers from zero and "
            f"the period, from 2 to {LONGEST_PERIOD} steps; given was {order!r}."
        )
    return tuple(map(int, order))


def _whole_numbers(order, count):
    return (
        isinstance(order, Sequence)
        and len(order) == count
        and all(isinstance(x, numbers.Integral) and x >= 0 for x in order)
    )
