"""Auxiliary residuals: where the noise of a model was larger than noise should be."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from statespace.forecasting.errors import InputError
from statespace.forecasting.intervention_features import step_names
from statespace.forecasting.parts import in_parts
from statespace.kalman.disturbance import disturbance_smoother

# Share of a disturbance's variance that the data must explain to say anything of it; less than this
# is rounding, as where an observation is missing.
_SILENT = 1e-12


@dataclass(frozen=True, eq=False)
class AuxiliaryResiduals:
    """Smoothed disturbances of N series, over their standard deviations.

    A large one says that the model needs an intervention there, and is the t-statistic that its
    coefficient would have; ``sizes`` are those coefficients. For the observation noise it is a
    pulse, an outlier; for the noise of a state, a shift of the state at the step of that date.
    Unlike innovations, auxiliary residuals are serially correlated in a right model too.

    Attributes:
      names: what has noise: "irregular" (for m > 1 "irregular[1]", ...) for the observations, and
        states, in the order of the model.
      noiseless: the others, such as a level whose scale was estimated as zero; they have no shocks.
      layout: how the data came in.
      standardised: [N, T, K]; NaN where the data say nothing of the disturbance, as at a missing
        observation or for a state before the first transition.
      sizes: what the shocks amount to, in units of the observation or the state, [N, T, K].

    References:
      Harvey, A. C. and Koopman, S. J. (1992). Diagnostic checking of unobserved-components time
      series models. Journal of Business & Economic Statistics 10(4), 377-389.
      de Jong, P. and Penzer, J. (1998). Diagnosing shocks in time series. Journal of the American
      Statistical Association 93(442), 796-806.
    """

    names: tuple[str, ...]
    noiseless: tuple[str, ...]
    layout: Any
    standardised: np.ndarray
    sizes: np.ndarray

    def shocks(self, names, threshold=3.0):
        """The steps at which auxiliary residuals exceed a threshold.

        Args:
          names: of states or observation noise.
          threshold: of the absolute value, positive.

        Returns:
          DataFrame with the columns (``series``, if there are several), ``name``, ``time``,
          ``size`` and ``statistic``: series by series, the largest statistics first.
        """
        import pandas as pd

        if not threshold > 0:
            raise InputError(f"threshold must be positive; given was {threshold!r}.")
        for name in names:
            if name not in self.names + self.noiseless:
                raise InputError(
                    f"The model has no {name!r}; what may have noise is "
                    f"{', '.join(self.names + self.noiseless)}."
                )
        columns = [self.names.index(name) for name in names if name in self.names]
        with np.errstate(invalid="ignore"):
            found = np.argwhere(np.abs(self.standardised[:, :, columns]) > threshold)
        rows = []
        for number, step, column in found:
            place = number, step, columns[column]
            time = self.times(number)[step]
            statistic = self.standardised[place]
            name = self.names[columns[column]]
            rows.append((number, name, time, self.sizes[place], statistic))
        rows.sort(key=lambda row: (row[0], -abs(row[-1])))
        table = pd.DataFrame(rows, columns=["series", "name", "time", "size", "statistic"])
        if len(self.standardised) == 1:
            return table.drop(columns="series")
        labels = self.layout.labels()
        return table.assign(series=[labels[number] for number in table["series"]])

    def times(self, number):
        """When the steps of one series are; padding before its start has no time, None."""
        layout, steps = self.layout, self.standardised.shape[1]
        if hasattr(layout, "columns"):
            _, layout = layout.selected(layout.columns[number])
        index = layout.index if hasattr(layout, "index") else layout.positions(steps)
        return [None] * (steps - len(index)) + list(index)

    def time_names(self, number):
        """Those times as short texts."""
        times = self.times(number)
        own = [time for time in times if time is not None]
        return [""] * (len(times) - len(own)) + step_names(own)


def auxiliary_residuals(model, ssm, layout, values, check_status) -> AuxiliaryResiduals:
    """Standardises the smoothed disturbances of a fitted model.

        u_t = C E[r_t | y],    Var u_t = C (I - Cov[r_t | y]) C'

    and likewise G E[q_t | y], which is dated t + 1, the step whose state it enters. An intervention
    there has the coefficient u_t Var(C r_t) / Var u_t, element by element, and its t-statistic is
    u_t over its standard deviation.

    Args:
      model: the model.
      ssm: its state-space form.
      layout: how the data came in.
      values: the N series, [N, T, m].
      check_status: told what the smoother says of each series.
    """
    info, standardised, sizes = in_parts(_standardised, ssm, values)
    check_status(info)
    m = values.shape[2]
    irregular = ("irregular",) if m == 1 else tuple(f"irregular[{i + 1}]" for i in range(m))
    names = np.array([*irregular, *model.state_names])
    scales = ssm.observation_scale.numpy(), ssm.transition_scale.numpy()
    # Rows of a scale that are zero in every series and step have no noise.
    noisy = np.concatenate([np.any(c, axis=(*range(c.ndim - 2), c.ndim - 1)) for c in scales])
    return AuxiliaryResiduals(
        names=tuple(names[noisy].tolist()),
        noiseless=tuple(names[~noisy].tolist()),
        layout=layout,
        standardised=standardised[..., noisy],
        sizes=sizes[..., noisy],
    )


def _standardised(ssm, values):
    """Status [N], residuals and sizes [N, T, m + n] of observation noise and states."""
    smoothed = disturbance_smoother(ssm, values)
    observations = _over_deviation(
        ssm.observation_scale, smoothed.observation_mean, smoothed.observation_covariance
    )
    states = _over_deviation(ssm.transition_scale, smoothed.state_mean, smoothed.state_covariance)
    first = np.full_like(states[0][:, :1], np.nan)  # no transition leads to the first step
    states = (np.concatenate([first, x[:, :-1]], axis=1) for x in states)
    pairs = zip(observations, states, strict=True)
    return smoothed.info.numpy(), *(np.concatenate(pair, axis=2) for pair in pairs)


def _over_deviation(scale, mean, covariance):
    """Residuals and sizes, [N, T, rows].

    Args:
      scale: C or G, [..., rows, k].
      mean, covariance: of the standard normal noise given the data, [N, T, k] and [N, T, k, k].
    """
    scale, mean, covariance = scale.numpy(), mean.numpy(), covariance.numpy()
    disturbance = np.einsum("...ik,...k->...i", scale, mean)
    prior = np.sum(scale**2, axis=-1)
    explained = np.eye(mean.shape[-1]) - covariance
    variance = np.sum((scale @ explained) * scale, axis=-1)
    variance = np.where(variance > _SILENT * prior, variance, np.nan)
    return disturbance / np.sqrt(variance), disturbance * prior / variance
