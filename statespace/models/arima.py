"""Autoregressive integrated moving averages as a component."""

import numbers
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from statespace.models.base import Component
from statespace.models.block import Block, block_diagonal, joined, per_step
from statespace.models.guesses import made_stationary, regress_on_past, standardise
from statespace.models.parameters import (
    InvertibleCoefficients,
    Location,
    Scale,
    StationaryCoefficients,
)
from statespace.models.polynomials import at_lags, multiplied, padded
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

    In place of p, q, P or Q there may be a sequence of lags, increasing, those that have a
    coefficient: ``ARIMA((1, 1, (1, 4)))`` is Stata's ``ar(1) ma(1 4)`` of the differences.

    Args:
      order: (p, d, q), whole numbers from zero, or lags for p and q.
      seasonal_order: (P, D, Q, s) with the period s of at least two steps, and lags of P and Q in
        periods; None for no such part.
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
        orders = {"ar": p, "ma": q, "seasonal_ar": seasonal_p, "seasonal_ma": seasonal_q}
        self._lags = {which: _lags(order) for which, order in orders.items()}
        if not (any((d, seasonal_d, *self._lags.values())) or self.mean):
            raise ValueError(
                "ARIMA of orders zero is white noise, which an Irregular() is already; raise "
                "one of the orders, or leave the ARIMA out."
            )
        self._differences = [1] * d + [self.period] * seasonal_d
        self._size = max(self._longest("ar"), self._longest("ma") + 1)
        self.state_names = (
            *(
                f"{name}_difference_{taken}_lag_{lag}"
                for taken, longest in enumerate(self._differences)
                for lag in range(1, longest + 1)
            ),
            *(f"{name}_{i + 1}" for i in range(self._size)),
        )
        kinds = {"ar": StationaryCoefficients, "ma": InvertibleCoefficients}
        self.own_parameters = (
            Scale(f"{name}.scale"),
            *(
                kinds[which.removeprefix("seasonal_")](
                    f"{name}.{which}",
                    shape=(len(lags),),
                    lags=None if isinstance(orders[which], int) else lags,
                )
                for which, lags in self._lags.items()
                if lags
            ),
            *((Location(f"{name}.mean"),) if self.mean else ()),
        )

    def own_block(self, params, steps):
        """What w is added up to, and w."""
        own = {name.removeprefix(f"{self.name}."): value for name, value in params.items()}
        past, entry, last = _differences(self._differences)
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

    def own_start(self, values, features):
        """The mean of the differences, an autoregression by least squares, no moving average."""
        process = values
        for lag in self._differences:
            process = process[:, lag:] - process[:, :-lag]
        mean, spread, standardised = standardise(process, self.mean)
        # Those of the two factors, without those of their product.
        lags = sorted(
            {*self._lags["ar"], *(self.period * lag for lag in self._lags["seasonal_ar"])}
        )
        found, variance, _ = regress_on_past(standardised, lags)
        found = dict(zip(lags, np.moveaxis(found, 1, 0), strict=True))
        own = {p.name: np.zeros((len(values), *p.shape)) for p in self.own_parameters}
        own[f"{self.name}.scale"] = spread[:, 0] * np.sqrt(variance[:, 0, 0])
        if self.mean:
            own[f"{self.name}.mean"] = mean[:, 0]
        for which, period in (("ar", 1), ("seasonal_ar", self.period)):
            if own_lags := self._lags[which]:
                # A lag that both factors have is the first one's.
                part = [found.pop(period * lag, np.zeros((len(values), 1, 1))) for lag in own_lags]
                part = made_stationary(np.stack(part, axis=1), own_lags)
                own[f"{self.name}.{which}"] = part[..., 0, 0]
        return own, values

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
        factors = (
            at_lags(sign * own[name], self._lags[name]) if name in own else np.zeros(0)
            for name in (which, f"seasonal_{which}")
        )
        return multiplied(*factors, self.period)

    def _longest(self, which):
        """The longest lag of the polynomial multiplied with its seasonal factor."""
        lags, seasonal = self._lags[which], self._lags[f"seasonal_{which}"]
        return max(lags, default=0) + self.period * max(seasonal, default=0)

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
    if not _is_order(order, 3):
        raise ValueError(
            f"The order of an ARIMA is (p, d, q), three whole numbers from zero; given was "
            f"{order!r}. In place of p or q there may be lags, increasing from one."
        )
    p, d, q = order
    return _as_order(p), int(d), _as_order(q)


def _checked_seasonal_order(order):
    if order is None:
        return None
    if not _is_order(order, 4) or not 2 <= order[3] <= LONGEST_PERIOD:
        raise ValueError(
            f"The seasonal order of an ARIMA is (P, D, Q, s), three whole numbers from zero and "
            f"the period, from 2 to {LONGEST_PERIOD} steps; given was {order!r}. In place of P or "
            f"Q there may be lags in periods, increasing from one."
        )
    p, d, q, period = order
    return _as_order(p), int(d), _as_order(q), int(period)


def _is_order(order, count):
    """Whether it is (p, d, q) or (P, D, Q, s), with p and q numbers or lags."""
    if not isinstance(order, Sequence) or isinstance(order, str) or len(order) != count:
        return False
    return all(_is_whole(x) or (i in (0, 2) and _are_lags(x)) for i, x in enumerate(order))


def _is_whole(x):
    return isinstance(x, numbers.Integral) and x >= 0


def _are_lags(x):
    return (
        isinstance(x, Sequence)
        and all(map(_is_whole, x))
        and all(earlier < later for earlier, later in zip((0, *x), x, strict=False))
    )


def _as_order(x):
    """A number, wherever the lags are all from one on."""
    if isinstance(x, numbers.Integral):
        return int(x)
    lags = tuple(map(int, x))
    return len(lags) if lags == _lags(len(lags)) else lags


def _lags(order):
    return tuple(range(1, order + 1)) if isinstance(order, int) else order
