"""States and components of a fit given all its data, a few series at a time."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from statespace.forecasting.moments import Moments, contribution_names, contributions, not_negative
from statespace.forecasting.parts import in_parts
from statespace.kalman.smoother import kalman_smoother


@dataclass(frozen=True)
class SmoothedStates(Moments):
    """The states given all the data: means, variances and the full covariance matrices.

    Attributes:
      result: the fit whose states they are.
    """

    result: Any

    @property
    def covariance(self):
        """Covariance matrices of the states, an array [..., T, n, n]."""
        batch = getattr(self.layout, "batch_shape", None)
        if batch is None:
            batch = () if len(self.covariances) == 1 else (len(self.covariances),)
        return self.covariances.reshape(*batch, *self.covariances.shape[1:])

    @cached_property
    def covariances(self) -> np.ndarray:
        """[N, T, n, n], n times as large as the means: smoothed again when first asked for."""
        [covariances] = _in_parts(self.result, lambda _, __, means, covariances: (covariances,))
        return covariances


def smoothed_states(result) -> SmoothedStates:
    """Means and variances of the states of a fit; see :meth:`FitResult.smooth`."""

    def moments(ssm, values, means, covariances):
        return means, not_negative(np.diagonal(covariances, axis1=-2, axis2=-1))

    means, variances = _in_parts(result, moments)
    return SmoothedStates(result.model.state_names, result.layout, means, variances, result)


def smoothed_components(result) -> Moments:
    """What the components of a fit contribute; see :meth:`FitResult.components`."""
    model = result.model
    names = contribution_names(model, result._ssm, known=True)

    def moments(ssm, values, means, covariances):
        return contributions(model, ssm, names, means, covariances, values)

    means, variances = _in_parts(result, moments)
    means[np.ravel(result.skipped)] = np.nan  # where the noise of a gap would have mean zero
    return Moments.of_variables(names, result.layout, means, variances)


def _in_parts(result, function):
    """A function of models, data and their smoothed states, applied to some series at a time.

    Args:
      result: a fit.
      function: takes models and data of any number of series, means [N, T, n] and covariances
        [N, T, n, n] of their states; returns a tuple of arrays with a leading axis over these.

    Returns:
      The tuple of arrays for all series.
    """

    def part(ssm, values):
        smoothed = kalman_smoother(ssm, values, lag_one=False)
        moments = smoothed.smoothed_mean.numpy(), smoothed.smoothed_covariance.numpy()
        return smoothed.info.numpy(), *function(ssm, values, *moments)

    info, *arrays = in_parts(part, result._ssm, result.values)
    result.check_status(info)
    return arrays
