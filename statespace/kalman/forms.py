"""The forms of the recursion, all of which give the same numbers, and the choice between them."""

from collections.abc import Callable
from typing import NamedTuple


class Form(NamedTuple):
    """One way to run filter and smoother.

    Every function takes y, with NaN at each missing component, and the model's parameters in the
    order of ``statespace.ssm.PARAMETERS``; those that know a diffuse start take one more, 1 for the
    states that have it and 0 for the others ``[n]``, and count the diffuse observations.
    """

    log_likelihood: Callable  # -> (log-likelihood [...], info [, diffuse observations [...]])
    per_step: Callable  # the same by step, [..., T]
    filter: Callable  # -> FilterResult
    smoother: Callable  # -> SmootherResult
    marginals: Callable | None = None  # the same without lag-one covariances, where that is faster
    moments: Callable | None = None  # the filter without scales, where its gradient is smaller then

    def run_filter(self, *inputs, scales: bool = True):
        """The filter; without ``scales`` they are None."""
        if not scales and self.moments is not None:
            return self.moments(*inputs)
        return self.filter(*inputs)

    def smooth(self, *inputs, lag_one: bool = True):
        """The smoother; without ``lag_one`` its lag-one covariances are None."""
        if not lag_one and self.marginals is not None:
            return self.marginals(*inputs)
        result = self.smoother(*inputs)
        return result if lag_one else result._replace(lag_one_covariance=None)
