"""About what several series vary: their means, and the effects of features on them."""

import numpy as np
import tensorflow as tf

from statespace.models.block import per_step
from statespace.models.parameters import Location, Parameter

_MEAN, _EFFECTS = "mean", "regression.coefficients"


def level_parameters(num_series, mean, num_features) -> tuple[Parameter, ...]:
    """The means [m] if there are any, and the coefficients B of K features, [m, K]."""
    means = (Location(_MEAN, shape=(num_series,)),) if mean else ()
    return (*means, Parameter(_EFFECTS, shape=(num_series, num_features), power=1))


def level_units(scale, feature_scale) -> dict:
    """Means in units of their series, [N, m]; effects per unit of their feature, [N, m, K]."""
    return {_MEAN: scale, _EFFECTS: scale[:, :, np.newaxis] / feature_scale[:, np.newaxis]}


def level_start(mean, num_features) -> dict:
    """Given means [N, m], and no effects."""
    return {_MEAN: mean, _EFFECTS: np.zeros((*mean.shape, num_features))}


def level(params, steps):
    """mean + B z_t, with an axis of steps before that of the series; None if there is neither."""
    parts = [per_step(params[_MEAN], 1)] if _MEAN in params else []
    parts += [effects(params, steps)] if _EFFECTS in params else []
    return sum(parts[1:], parts[0]) if parts else None


def effects(params, steps) -> tf.Tensor:
    """B z_t, ``[..., T, m]``."""
    return tf.matmul(steps.features, params[_EFFECTS], transpose_b=True)
