"""Large batches a few series at a time, so that covariances need not exist for all at once."""

import numpy as np

from statespace.ssm import PARAMETERS, LinearGaussianSSM

NUMBERS_AT_ONCE = 2**26  # in the moments of one call: 512 MB
_MOMENTS = 4  # matrices that a filter and smoother hold of each step


def some_of(known, part):
    """Features or times [1 or N, ...] of some of N series; one for all, and None, stay so."""
    return known if known is None or len(known) == 1 else known[part]


def in_parts(function, ssm, values):
    """Applies a function of models and data to some series at a time.

    Args:
      function: takes models and data of any number of series; returns a tuple of arrays with a
        leading axis over these.
      ssm: the models of N series, or one for all.
      values: [N, T, m].

    Returns:
      The tuple of arrays for all series.
    """
    size = sum(
        x.shape[-1] for x in (ssm.transition_matrix, ssm.transition_scale, ssm.observation_scale)
    )
    at_once = series_at_once(values.shape[1], size)
    parts = []
    for first in range(0, len(values), at_once):
        part = slice(first, first + at_once)
        parts.append(function(models_of(ssm, part), values[part]))
    return tuple(np.concatenate(column) for column in zip(*parts, strict=True))


def series_at_once(num_steps, size) -> int:
    """Of how many series the moments of all steps may exist at once, one at least.

    Args:
      num_steps: T.
      size: rows of the matrices that hold them.
    """
    return max(1, NUMBERS_AT_ONCE // (_MOMENTS * num_steps * size**2))


def models_of(ssm, part):
    """The models of some of the series; what all share stays as it is."""

    def own(spec):
        tensor = getattr(ssm, spec.name)
        shared = len(spec.core) + spec.per_step  # axes without one over series
        return tensor[part] if tensor.shape.rank > shared and tensor.shape[0] > 1 else tensor

    return LinearGaussianSSM(**{spec.name: own(spec) for spec in PARAMETERS}, diffuse=ssm.diffuse)
