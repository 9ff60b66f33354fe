"""Forecasts averaged over draws of the parameters."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.special import ndtr, ndtri

from statespace.forecasting.forecast import Forecast
from statespace.forecasting.moments import check_probability


@dataclass(frozen=True, eq=False)
class MixtureForecast(Forecast):
    """A forecast that is a mixture of normals, one for each draw of the parameters.

    Means, variances, quantiles and paths are those of the mixture.

    Attributes:
      parts: the forecasts of the draws.
    """

    parts: Any = ()

    @classmethod
    def of(cls, result, parts):
        """The mixture of forecasts with equal weights."""
        means = np.stack([part.means for part in parts])
        variances = np.stack([part.variances for part in parts])
        state_means = np.stack([part.state_means for part in parts])
        spread = state_means - state_means.mean(axis=0)
        covariance = np.mean([part.state_covariances for part in parts], axis=0)
        covariance += np.einsum("s...i,s...j->...ij", spread, spread) / len(parts)
        return cls(
            result=result,
            layout=parts[0].layout,
            ssm=result._built(*parts[0].known),
            means=means.mean(axis=0),
            variances=variances.mean(axis=0) + means.var(axis=0),
            state_means=state_means.mean(axis=0),
            state_covariances=covariance,
            known=parts[0].known,
            parts=tuple(parts),
        )

    def __getitem__(self, key):
        return replace(super().__getitem__(key), parts=tuple(part[key] for part in self.parts))

    def quantiles(self, q):
        """The ``q``-quantiles, [N, h, m], by bisection on the mixture's distribution function."""
        check_probability("A quantile", q)
        means = np.stack([part.means for part in self.parts])
        deviations = np.sqrt([part.variances for part in self.parts])
        each = means + ndtri(q) * deviations  # the mixture's lies between those of its parts
        low, high = each.min(axis=0), each.max(axis=0)
        for _ in range(60):
            middle = (low + high) / 2
            with np.errstate(invalid="ignore", divide="ignore"):
                below = np.mean(ndtr((middle - means) / deviations), axis=0) < q
            low, high = np.where(below, middle, low), np.where(below, high, middle)
        return (low + high) / 2

    def sample(self, n, seed=None):
        """Draws ``n`` paths, each from the model of one draw of the parameters, in turn."""
        generator = np.random.default_rng(seed)
        which = np.arange(n) % len(self.parts)
        paths = np.empty((n, *self.means.shape))
        for s in np.unique(which):
            mine = which == s
            paths[mine] = self.parts[s].paths(int(mine.sum()), int(generator.integers(2**31)))
        return self._as_paths(paths)
