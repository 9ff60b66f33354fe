"""A structural model of which a network emits the noise and the start."""

from typing import Any

import numpy as np
import tensorflow as tf

from statespace.layers.dynamics import Dynamics
from statespace.layers.kalman_inputs import KalmanInputs
from statespace.models.base import Model
from statespace.models.emitted import noise_columns, with_noise_factors
from statespace.networks.emitter import Emitted
from statespace.ssm import LinearGaussianSSM, replaced


class Structure:
    """A base model: scales that are emitted, and parameters that are weights or fixed.

    Args:
      op: name of the network, for messages.
      model: a :class:`statespace.models.Model`.
      fix, initial_values: dicts from parameters' names to values.

    Raises:
      ValueError: the model is none, a name or value does not fit it, or nothing can be emitted.
    """

    def __init__(self, op, model, fix, initial_values):
        if not isinstance(model, Model):
            raise ValueError(
                f"{op}: base_model is a {type(model).__name__}; it must be a model of "
                f"statespace.models, such as LocalLevel() + Seasonal(12)."
            )
        self.op, self.model = op, model
        self.fix, self.initial_values = dict(fix or {}), dict(initial_values or {})
        self._dynamics: Any = None  # made with the weights
        values = Dynamics(op, model, self.fix, self.initial_values)
        with tf.init_scope():  # values are looked at
            starts = {p.name: values.start_value(p) for p in model.parameters}
            names = [p.name for p in model.parameters if p.name not in self.fix]
            features = tf.ones([1, model.num_features], tf.float64) if model.num_features else None
            self._columns = noise_columns(model, starts, names=names, features=features)
        if not self._columns.names:
            raise ValueError(
                f"{op}: the base model {model!r} has no scale that a network could emit: none of "
                f"its parameters {', '.join(p.name for p in model.parameters)} is a standard "
                f"deviation of its noise and nothing else, and not fixed."
            )
        self.starts = np.concatenate([np.ravel(starts[name]) for name in self._columns.names])

    @property
    def emitted(self):
        """The parameters that are emitted, in the order of the scales."""
        return [p for p in self.model.parameters if p.name in self._columns.names]

    def add_weights(self, layer, num_features):
        """Creates weights for the parameters that are neither emitted nor fixed."""
        fix = self.fix | {p.name: np.ones(p.shape) for p in self.emitted}
        start = {name: x for name, x in self.initial_values.items() if name not in fix}
        dynamics = Dynamics(self.op, self.model, fix, start)
        inputs = KalmanInputs(
            observations=(None, None, self.model.num_observed),
            features=(None, None, num_features) if num_features else None,
        )
        dynamics.add_weights(layer, inputs, without=("initial_mean", "initial_scale"))
        self._dynamics = dynamics

    def parameters(self) -> dict[str, tf.Tensor]:
        """The parameters that all series share, float64; none before there are weights."""
        values = {} if self._dynamics is None else self._dynamics.values()
        return {name: x for name, x in values.items() if name not in self._columns.names}

    def by_name(self, scales) -> dict[str, tf.Tensor]:
        """Scales ``[B, T, p]`` by the parameters' names, ``[B, T, *shape]``."""
        values = {}
        parts = tf.split(scales, [p.size for p in self.emitted], axis=-1)
        for parameter, part in zip(self.emitted, parts, strict=True):
            shape = tf.concat([tf.shape(part)[:2], tf.constant(parameter.shape, tf.int32)], 0)
            values[parameter.name] = tf.reshape(part, shape)
        return values

    def state_space_model(self, panel, emitted: Emitted) -> LinearGaussianSSM:
        """The models of the series of a panel of tensors, float64."""
        inputs = KalmanInputs(observations=panel.y, features=panel.features)
        ssm = replaced(
            self._dynamics.state_space_model(inputs, diffuse_scale=1.0),
            initial_mean=emitted.initial_mean,
            initial_scale=tf.linalg.diag(emitted.initial_scale),
            diffuse=None,
        )
        return with_noise_factors(
            ssm,
            self._columns.transition_factors(emitted.scales),
            self._columns.observation_factors(emitted.scales),
        )
