"""What the Kalman filter and the Kalman smoother are as layers of Keras."""

import math
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from statespace.kalman.inference import ALGORITHMS
from statespace.layers import kalman_inputs
from statespace.layers.dynamics import Dynamics, model_of, plain, read, written
from statespace.linalg_ops import psd_cholesky
from statespace.linalg_ops.arguments import broadcast_matmul, check_choice, positive_int
from statespace.models.linear_dynamics import LinearDynamics
from statespace.ssm import LinearGaussianSSM


class Moments(NamedTuple):
    """Of states or observations at each step, float64."""

    mean: tf.Tensor  # [B, T, d]
    covariance: tf.Tensor  # [B, T, d, d]
    log_likelihood: tf.Tensor  # [B]


class KalmanLayer(keras.layers.Layer):
    """The part that KalmanFilter and KalmanSmoother share; see there.

    A subclass states ``outputs``, the choices of ``output``, and ``moments``.
    """

    outputs: tuple[str, ...] = ()

    def __init__(
        self,
        state_dim=None,
        *,
        dynamics=None,
        fix=None,
        initial_values=None,
        output="states",
        return_sequences=True,
        return_covariance=False,
        return_scale=False,
        return_log_likelihood=False,
        join_standard_deviation=False,
        likelihood_weight=0.0,
        diffuse_scale=1e3,
        algorithm="auto",
        **kwargs,
    ):
        super().__init__(autocast=False, **kwargs)
        op = self._op
        self._check_dtype()
        self.state_dim = None if state_dim is None else positive_int(op, "state_dim", state_dim)
        self.dynamics = model = model_of(op, self.state_dim, dynamics)
        check_choice(op, "output", output, self.outputs)
        check_choice(op, "algorithm", algorithm, ALGORITHMS)
        if not (isinstance(likelihood_weight, int | float) and 0 <= likelihood_weight < math.inf):
            raise ValueError(
                f"{op}: likelihood_weight is {likelihood_weight!r}; it must be a number, not "
                f"negative and finite."
            )
        if diffuse_scale is not None and not 0 < diffuse_scale < math.inf:
            raise ValueError(
                f"{op}: diffuse_scale is {diffuse_scale!r}; it must be positive and finite, or "
                f"None for an exact diffuse start."
            )
        self.fix, self.initial_values = dict(fix or {}), dict(initial_values or {})
        self.output_kind, self.algorithm = output, algorithm
        self.return_sequences = bool(return_sequences)
        self.return_covariance, self.return_scale = bool(return_covariance), bool(return_scale)
        self.return_log_likelihood = bool(return_log_likelihood)
        self.join_standard_deviation = bool(join_standard_deviation)
        self.likelihood_weight, self.diffuse_scale = float(likelihood_weight), diffuse_scale
        self.supports_masking = True
        self._dynamics: Any = None  # made by build
        if model is not None:
            Dynamics(op, model, self.fix, self.initial_values)  # says at once what is wrong

    # What a subclass says.

    def moments(self, ssm: LinearGaussianSSM, observations, mask) -> Moments:
        """The moments to return.

        Args:
          ssm: the model, float64.
          observations: float64 ``[B, T, m]``.
          mask: bool ``[B, T, 1]``, or None.
        """
        raise NotImplementedError

    # What Keras asks for.

    def build(self, input_shape):
        """Creates the weights that these inputs leave to learn."""
        shapes = self._shapes(input_shape)
        if shapes.observations[-1] is None:
            raise ValueError(f"{self._op}: the last axis of the observations must be known.")
        model = self._model(shapes.observations[-1])
        dynamics = Dynamics(self._op, model, self.fix, self.initial_values)
        dynamics.add_weights(self, shapes)
        self._dynamics = dynamics
        self._check(shapes)

    def call(self, inputs, mask=None):
        """Moments given the observations; adds to the losses if ``likelihood_weight`` says so."""
        given = self._given(inputs)
        mask = kalman_inputs.mask_of_observations(inputs, mask)
        mask = None if mask is None else tf.cast(mask, tf.bool)
        # With an axis of its own it cannot be taken for a mask of components.
        of_steps = None if mask is None else mask[..., tf.newaxis]
        ssm = self._dynamics.state_space_model(given, self.diffuse_scale)
        moments = self.moments(ssm, given.observations, of_steps)
        if self.likelihood_weight:
            loss = self._likelihood_loss(moments.log_likelihood, given.observations, of_steps)
            self.add_loss(self.likelihood_weight * loss)
        return self._returned(moments, mask)

    def compute_mask(self, inputs, previous_mask):
        """The mask of the observations for what has their steps, None for the rest."""
        mask = kalman_inputs.mask_of_observations(inputs, previous_mask)
        mask = mask if self.return_sequences else None
        masks = tuple(mask if steps else None for _, steps in self._output_parts)
        return _alone_or_all(masks)

    def compute_output_shape(self, input_shape):
        """A shape, or a tuple of them, in the order of what calls return."""
        shapes = self._shapes(input_shape)
        model = self._model(shapes.observations[-1] or 1)
        d = len(model.state_names) if self.output_kind == "states" else model.num_observed
        batch, steps = shapes.observations[:2]
        lead = (batch, steps) if self.return_sequences else (batch,)
        sizes = {
            "mean": (*lead, 2 * d if self.join_standard_deviation else d),
            "matrix": (*lead, d, d),
            "number": (batch,),
        }
        found = tuple(sizes[kind] for kind, _ in self._output_parts)
        return _alone_or_all(found)

    def get_config(self):
        """Everything that ``from_config`` needs.

        Raises:
          NotImplementedError: the dynamics are made of functions, as ``Custom`` models are.
        """
        return {
            **super().get_config(),
            "fix": plain(self.fix),
            "initial_values": plain(self.initial_values),
            "state_dim": self.state_dim,
            "dynamics": None if self.dynamics is None else written(self._op, self.dynamics),
            "output": self.output_kind,
            "return_sequences": self.return_sequences,
            "return_covariance": self.return_covariance,
            "return_scale": self.return_scale,
            "return_log_likelihood": self.return_log_likelihood,
            "join_standard_deviation": self.join_standard_deviation,
            "likelihood_weight": self.likelihood_weight,
            "diffuse_scale": self.diffuse_scale,
            "algorithm": self.algorithm,
        }

    @classmethod
    def from_config(cls, config):
        """The layer of a config."""
        return cls(**{**config, "dynamics": read(config["dynamics"])})

    # What users ask for.

    @property
    def parameters(self) -> dict[str, tf.Tensor]:
        """Every parameter of the dynamics by its name: learned ones and fixed ones, float64."""
        return self._dynamics.values()

    def state_space_model(self, inputs) -> LinearGaussianSSM:
        """The model that these inputs are filtered with, for the functions of ``statespace``.

        Args:
          inputs: what the layer is called with.

        Returns:
          A float64 :class:`statespace.LinearGaussianSSM`.
        """
        if not self.built:
            self.build(tf.nest.map_structure(np.shape, inputs))
        return self._dynamics.state_space_model(self._given(inputs), self.diffuse_scale)

    # The rest.

    @property
    def _op(self):
        return type(self).__name__

    def _model(self, num_observed):
        return self.dynamics or LinearDynamics(self.state_dim, num_observed)

    def _form(self, ssm):
        """The arguments that say how filter and smoother run.

        By default float32 layers take the square-root form, as float32 models do.
        """
        algorithm = self.algorithm
        if algorithm == "auto" and self.variable_dtype == "float32" and ssm.diffuse is None:
            algorithm = "square_root"
        constant = self._dynamics.model.diffuse_constant
        return {"algorithm": algorithm, "diffuse_constant": constant}

    @property
    def _output_parts(self):
        """Kind of each part of the output, and whether it has the axis of steps."""
        parts = [("mean", True)]
        parts += [("matrix", True)] * (self.return_covariance + self.return_scale)
        return parts + [("number", False)] * self.return_log_likelihood

    def _check_dtype(self):
        compute, variable = self.compute_dtype, self.variable_dtype
        if compute != variable or variable not in ("float32", "float64"):
            raise ValueError(
                f"{self._op}: dtype is {self.dtype_policy.name}; filters and smoothers run in full "
                f'precision alone. Give the layer dtype="float32" (or "float64"); the others may '
                f"be of half precision, what they emit is cast."
            )

    def _given(self, inputs):
        """The inputs by name, float64."""
        given = kalman_inputs.as_float64(kalman_inputs.named(self._op, inputs))
        self._check(kalman_inputs.shapes_of(given))
        return given

    def _shapes(self, input_shape):
        """The shapes of the inputs by name, as far as they can be checked before weights exist."""
        shapes = kalman_inputs.shapes_of(kalman_inputs.named(self._op, input_shape))
        model = self.dynamics
        num_observed = None if model is None else model.num_observed
        kalman_inputs.check_shapes(self._op, shapes, num_observed)
        if shapes.times is not None and not (model is not None and model.uses_times):
            raise ValueError(f"{self._op}: times are given, of which {model!r} make no use.")
        return shapes

    def _check(self, shapes):
        dynamics = self._dynamics
        sizes = (dynamics.model.num_observed, dynamics.num_disturbances, dynamics.num_controls)
        kalman_inputs.check_shapes(self._op, shapes, *sizes)

    def _likelihood_loss(self, log_likelihood, observations, mask):
        """Minus the log-likelihood of the batch per step at which anything is observed."""
        observed = tf.logical_not(tf.math.is_nan(observations))
        if mask is not None:
            observed &= mask
        count = tf.math.count_nonzero(tf.reduce_any(observed, axis=-1), dtype=tf.float64)
        loss = -tf.reduce_sum(log_likelihood) / tf.maximum(count, 1.0)
        return tf.cast(loss, self.variable_dtype)

    def _returned(self, moments, mask):
        """What calls return of the moments."""
        mean, covariance, log_likelihood = moments
        if not self.return_sequences:
            if mean.shape[1] == 0:
                raise ValueError(
                    f"{self._op}: the observations have no step; return_sequences=False needs one."
                )
            mean, covariance = (_last(x, mask) for x in (mean, covariance))
        if self.join_standard_deviation:
            mean = joined(mean, covariance)
        parts = [mean]
        if self.return_covariance:
            parts.append(covariance)
        if self.return_scale:
            parts.append(psd_cholesky(covariance))
        if self.return_log_likelihood:
            parts.append(log_likelihood)
        return _alone_or_all([tf.cast(x, self.variable_dtype) for x in parts])


def _alone_or_all(parts):
    """The only part, or the tuple of all."""
    return tuple(parts) if len(parts) > 1 else parts[0]


def _last(x, mask):
    """Of each series its last step, or its last one that is not masked: ``[B, ...]``."""
    if mask is None:
        return x[:, -1]
    steps = tf.shape(x)[1]
    back = tf.argmax(tf.cast(mask, tf.int32)[:, ::-1], axis=1, output_type=tf.int32)
    return tf.gather(x, steps - 1 - back, axis=1, batch_dims=1)


def joined(mean, covariance) -> tf.Tensor:
    """Means ``[..., d]`` and their standard deviations on one axis, ``[..., 2 d]``."""
    variance = tf.linalg.diag_part(covariance)
    positive = variance > 0
    deviation = tf.sqrt(tf.where(positive, variance, tf.ones_like(variance)))
    return tf.concat([mean, tf.where(positive, deviation, 0.0 * variance)], axis=-1)


def predicted_observations(ssm, result):
    """Mean ``[B, T, m]`` and covariance of each observation given those before, of a filter."""
    mean = tf.linalg.matvec(ssm.observation_matrix, result.predicted_mean)
    return mean + ssm.observation_offset, result.innovation_covariance


def signal_moments(ssm, mean, covariance):
    """Mean ``[B, T, m]`` and covariance of H x_t + d at given moments of the states."""
    h = ssm.observation_matrix
    moved = broadcast_matmul(h, broadcast_matmul(covariance, h, transpose_b=True))
    return tf.linalg.matvec(h, mean) + ssm.observation_offset, moved


def observed_moments(ssm, mean, covariance):
    """Mean ``[B, T, m]`` and covariance of an observation, noise included, at given states'."""
    mean, covariance = signal_moments(ssm, mean, covariance)
    c = ssm.observation_scale
    return mean, covariance + broadcast_matmul(c, c, transpose_b=True)
