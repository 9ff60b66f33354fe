"""The dynamics of a Kalman layer: a model of ``statespace.models`` whose parameters are weights."""

import functools

import keras
import numpy as np
import tensorflow as tf

from statespace.forecasting.expression import can_be_written, parse_model
from statespace.models.base import Model
from statespace.models.emitted import has_influence, scale_matrices, with_emitted
from statespace.models.linear_dynamics import FixedDynamics
from statespace.models.parameters import Parameter
from statespace.ssm import LinearGaussianSSM

_CONTROLS = "control_matrix"


class Dynamics:
    """A model, and for each of its parameters a weight of a layer or a fixed value.

    The weights are the parameters' free coordinates: an optimiser never leaves their domains, and
    the bijector is applied at every call.

    Args:
      op: name of the layer, for messages.
      model: a :class:`statespace.models.Model`.
      fix: dict from names to the values of parameters that are not learned.
      initial_values: dict from names to where the others set out.

    Raises:
      ValueError: a name is unknown, or a value has another shape or lies outside the domain.
    """

    def __init__(self, op, model, fix, initial_values):
        self.op, self.model = op, model
        self.fix, self.initial_values = dict(fix or {}), dict(initial_values or {})
        self.weights, self.constants, self._parameters = {}, {}, {}
        self.num_disturbances = self.num_controls = None
        names = [*(p.name for p in model.parameters), _CONTROLS]
        for argument, values in (("fix", self.fix), ("initial_values", self.initial_values)):
            for name in values:
                if name not in names:
                    raise ValueError(
                        f"{op}: {argument} has {name!r}; the parameters of {model!r} are "
                        f"{', '.join(names)}."
                    )
        with tf.init_scope():
            for parameter in model.parameters:
                self.start_value(parameter)  # checks what is given

    def add_weights(self, layer, shapes, without=()):
        """Creates the weights that the inputs leave to learn.

        Args:
          layer: the keras layer that is to own them.
          shapes: a KalmanInputs of shapes.
          without: names of fields of LinearGaussianSSM that the layer replaces.
        """
        with tf.init_scope():  # values are looked at, also where Keras builds inside a graph
            values = {p.name: self.start_value(p) for p in self.model.parameters}
            learned = self._learned(values, shapes, without)
        if shapes.transition_noise_scale is not None:
            for name in set(self.model.disturbance_scales) - set(self.fix):
                learned[name], values[name] = False, np.ones_like(values[name])
        parameters = list(self.model.parameters)
        if shapes.controls is not None:
            size = len(self.model.state_names), shapes.controls[-1]
            parameters.append(Parameter(_CONTROLS, size))
            values[_CONTROLS] = self.start_value(parameters[-1])
            learned[_CONTROLS] = _CONTROLS not in self.fix
            self.num_controls = shapes.controls[-1]
        for parameter in parameters:
            if learned[parameter.name]:
                self._add_weight(layer, parameter, values[parameter.name])
            else:
                self.constants[parameter.name] = values[parameter.name]

    def values(self) -> dict[str, tf.Tensor]:
        """Every parameter at the weights' values, float64."""
        learned = {
            name: self._parameters[name].bijector.forward(tf.cast(weight, tf.float64))
            for name, weight in self.weights.items()
        }
        constants = {name: tf.constant(x, tf.float64) for name, x in self.constants.items()}
        return constants | learned

    def start_value(self, parameter) -> np.ndarray:
        """A parameter's fixed or initial value."""
        name = parameter.name
        for argument in ("fix", "initial_values"):
            values = getattr(self, argument)
            if name in values:
                return self._checked(argument, parameter, values[name])
        # Controls have no effect until one is learned; what is drawn at random is drawn with the
        # weight.
        return self._start_values.get(name, np.zeros(parameter.shape))

    @functools.cached_property
    def _start_values(self):
        return self.model.start_values()

    def state_space_model(self, inputs, diffuse_scale) -> LinearGaussianSSM:
        """The model of given inputs, float64.

        Args:
          inputs: KalmanInputs of float64 tensors.
          diffuse_scale: standard deviation of states whose start is diffuse, or None.
        """
        values = self.values()
        control_matrix = values.pop(_CONTROLS, None)
        ssm = self.model.build(
            values,
            features=inputs.features,
            times=inputs.times,
            initial_variance=None if diffuse_scale is None else np.float64(diffuse_scale) ** 2,
        )
        rank = inputs.observations.shape.rank
        scales = {
            name: None if scale is None else scale_matrices(scale, rank)
            for name in ("observation_noise_scale", "transition_noise_scale")
            for scale in [getattr(inputs, name)]
        }
        offset = None
        if inputs.controls is not None:
            offset = tf.tensordot(inputs.controls, control_matrix, [[-1], [-1]])
        return with_emitted(ssm, transition_offset=offset, **scales)

    def _learned(self, values, shapes, without) -> dict[str, bool]:
        """Whether each parameter of the model is neither fixed nor made idle by what is emitted."""
        known = {}
        if shapes.features is not None:
            known["features"] = tf.ones([1, shapes.features[-1]], tf.float64)
        if shapes.times is not None:
            known["times"] = tf.zeros([1], tf.float64)
        self.num_disturbances = self.model.build(values, **known).transition_scale.shape[-1]
        emitted = shapes.observation_noise_scale is not None
        without = (*without, *(("observation_scale",) if emitted else ()))
        learned = has_influence(self.model, without=without, **known)
        return {name: reaches and name not in self.fix for name, reaches in learned.items()}

    def _add_weight(self, layer, parameter, value):
        """A weight for the free coordinates of a parameter."""
        name = parameter.name
        with tf.init_scope():
            start = parameter.bijector.inverse(tf.constant(value, tf.float64)).numpy()
        initializer = lambda shape, dtype: tf.constant(start, dtype)  # noqa: E731
        if name in self.model.drawn_at_random and name not in self.initial_values:
            initializer = keras.initializers.Orthogonal()  # rows of length one
        self._parameters[name] = parameter
        self.weights[name] = layer.add_weight(
            shape=parameter.shape, initializer=initializer, name=name, autocast=False
        )

    def _checked(self, argument, parameter, value) -> np.ndarray:
        value = np.asarray(value, np.float64)
        if value.shape != parameter.shape:
            raise ValueError(
                f"{self.op}: {argument}[{parameter.name!r}] has shape {value.shape}; it must be "
                f"{parameter.shape}."
            )
        learned = argument == "initial_values"
        place = parameter.bijector.inverse(tf.constant(value)).numpy() if learned else value
        if not np.isfinite(place).all():
            raise ValueError(
                f"{self.op}: {argument}[{parameter.name!r}] is {value.tolist()}; it must be "
                f"finite{' and within the domain of the parameter' if learned else ''}."
            )
        return value


def model_of(op, state_dim, dynamics) -> Model | None:
    """The model that a layer's ``dynamics`` are; None if they are to be learned without structure.

    Args:
      state_dim: number of states, or None where ``dynamics`` says it.
      dynamics: None, a model or a LinearGaussianSSM.

    Raises:
      ValueError: the arguments do not fit each other.
    """
    if dynamics is None:
        if state_dim is None:
            raise ValueError(f"{op}: give state_dim, the number of states, or dynamics.")
        return None
    if isinstance(dynamics, LinearGaussianSSM):
        dynamics = FixedDynamics(dynamics)
    if not isinstance(dynamics, Model):
        raise ValueError(
            f"{op}: dynamics is a {type(dynamics).__name__}; it must be a model of "
            f"statespace.models, a LinearGaussianSSM, or None to learn them."
        )
    if state_dim not in (None, len(dynamics.state_names)):
        raise ValueError(
            f"{op}: state_dim is {state_dim}, but dynamics {dynamics!r} have "
            f"{len(dynamics.state_names)} states. Leave state_dim out."
        )
    return dynamics


def written(op, model: Model):
    """What a layer's config holds of its dynamics."""
    if isinstance(model, FixedDynamics):
        return {name: array.tolist() for name, array in model.arrays.items()}
    if can_be_written(model):
        return repr(model)
    raise NotImplementedError(
        f"{op}: the dynamics {model!r} cannot be written to a config, as they are made of "
        "functions. Save weights alone, with model.save_weights, or derive a layer from this one "
        "whose constructor makes the dynamics and whose get_config has no need of them."
    )


def plain(values) -> dict:
    """Values of parameters as a config holds them."""
    return {name: np.asarray(value).tolist() for name, value in values.items()}


def read(dynamics):
    """The dynamics of a config."""
    if isinstance(dynamics, str):
        return parse_model(dynamics)
    if isinstance(dynamics, dict):
        diffuse = np.asarray(dynamics["diffuse"], bool)
        arrays = {k: np.asarray(x, np.float64) for k, x in dynamics.items() if k != "diffuse"}
        return LinearGaussianSSM(**arrays, diffuse=diffuse if diffuse.any() else None)
    return dynamics
