"""A Kalman smoother between an encoder and a decoder."""

import math
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from statespace.kalman.normal import seed_pair
from statespace.layers.dynamics import plain, read, written
from statespace.layers.kalman_layer import joined, signal_moments
from statespace.layers.kalman_smoother import KalmanSmoother
from statespace.linalg_ops.arguments import check_choice, positive_int, require
from statespace.models.linear_dynamics import LinearDynamics
from statespace.networks.emitter import before_softplus
from statespace.networks.evidence_bound import Potentials, divergence, draw
from statespace.networks.transition_mixture import TransitionMixture
from statespace.scores import log_score_normal
from statespace.ssm import replaced

_OP = "NeuralObservationModel"


class SmoothedFrames(NamedTuple):
    """What is known of each step of B series given all their frames, float64."""

    state_mean: tf.Tensor  # [B, T, n]
    state_covariance: tf.Tensor  # [B, T, n, n]
    signal_mean: tf.Tensor  # [B, T, m]
    signal_covariance: tf.Tensor  # [B, T, m, m]
    pseudo_observation: tf.Tensor  # [B, T, m], what the encoder sees; NaN where there is no frame
    noise_scale: tf.Tensor  # [B, T, m], standard deviation of its errors, by its own account
    log_likelihood: tf.Tensor  # [B], of the pseudo-observations


@keras.saving.register_keras_serializable(package="statespace")
class NeuralObservationModel(keras.Model):
    """Series of images, or of other frames, whose states move linearly: encoder, smoother, decoder.

        w_t, r_t = encoder(frame_t)                         pseudo-observation and noise scale
        w_t      = s_t + diag(r_t) e_t,    s_t = H x_t + d     the signal
        x_{t+1}  = F x_t + b + G q_t
        frame_t ~ decoder(s_t)

    The encoder sees one frame at a time, and says what it sees and how far that is to be trusted;
    the Kalman smoother puts this together over time. A frame that tells nothing, being dark or
    covered, gets a large noise scale if training rewards it, and the dynamics bridge it.

    There are two ways to train, which may be combined.

    1. *Supervised*, where signals or states are known: compile with a loss such as
       :class:`statespace.layers.GaussianLogScore` and call ``fit(frames, targets)``. Calls and
       ``predict`` return means and standard deviations of the target, ``[B, T, 2 d]``. Targets that
       are NaN do not count.
    2. *Unsupervised*, with a decoder: minus the evidence lower bound, per frame, is added to the
       losses; compile without a loss and call ``fit(frames)``. The posterior is that of the prior
       with the encoder's Gaussian potentials, so all of the bound but the reconstruction is in
       closed form, and it is tight where decoder and encoder are linear.

    Frames are ``[B, T, *frame]``. Entries that are NaN are missing: the encoder sees zeros for
    them, and a frame without any other is missing altogether. So one appends frames of NaN to
    predict further steps; ``horizon`` of the methods does.

    Args:
      encoder: a layer or model of Keras from frames ``[N, *frame]`` to features ``[N, units]``.
      dynamics: a model of :mod:`statespace.models`, such as ``ConstantVelocity(2)``, whose
        parameters are weights; a :class:`statespace.LinearGaussianSSM`, which is fixed; or the
        number n of states of dynamics of which everything is learned.
      decoder: None, or a layer or model from signals ``[N, m]`` to ``[N, *frame]``.
      signal_dim: number m of signals; to be left out where ``dynamics`` says it.
      likelihood: ``"gaussian"``: the decoder's output is the mean, and one standard deviation is
        learned; or ``"bernoulli"``: frames are within [0, 1], the decoder's output are logits.
      target: what calls return the moments of, ``"signal"`` or ``"states"``.
      num_transition_matrices: number K of transition matrices, for learned dynamics. Those of each
        step are then mixtures of them, with weights from a recurrent network over the
        pseudo-observations so far; further ahead than there are frames, these change no more than
        that network does of itself.
      evidence_weight: factor of minus the evidence bound in the losses.
      noise_scale: where the noise scales of the encoder set out.
      frame_scale: where the standard deviation of Gaussian frames sets out. Far larger than what
        the frames differ by, it lets training begin with giving the signals up.
      smallest_scale: what no noise scale goes below.
      diffuse_scale: standard deviation of states of whose start the dynamics say nothing.
      fix, initial_values: dicts from names of parameters of the dynamics to values, as of
        :class:`statespace.layers.KalmanSmoother`.
      **kwargs: ``name`` and ``dtype``. Networks compute in their dtype, the smoother in float64.

    Raises:
      ValueError: an argument is of another kind or out of its range, or does not fit the others.

    References:
      Haarnoja, T., Ajay, A., Levine, S. and Abbeel, P. (2016). Backprop KF: learning discriminative
      deterministic state estimators. Advances in Neural Information Processing Systems 29.

      Fraccaro, M., Kamronn, S., Paquet, U. and Winther, O. (2017). A disentangled recognition and
      nonlinear dynamics model for unsupervised learning. Advances in Neural Information Processing
      Systems 30.

      Johnson, M. J. et al. (2016). Composing graphical models with neural networks for structured
      representations and fast inference. Advances in Neural Information Processing Systems 29.

    Example:

      >>> import keras, numpy as np, statespace as ss
      >>> keras.utils.set_random_seed(0)
      >>> frames = np.random.default_rng(0).normal(size=(4, 10, 6)).astype("float32")
      >>> model = ss.models.NeuralObservationModel(
      ...     keras.layers.Dense(8, "tanh"), 3, keras.layers.Dense(6), signal_dim=2
      ... )
      >>> model.compile("adam")
      >>> history = model.fit(frames, epochs=2, verbose=0)
      >>> model.smoothed(frames, horizon=5).signal_mean.shape
      TensorShape([4, 15, 2])
    """

    def __init__(
        self,
        encoder,
        dynamics,
        decoder=None,
        *,
        signal_dim=None,
        likelihood="gaussian",
        target="signal",
        num_transition_matrices=1,
        evidence_weight=1.0,
        noise_scale=0.1,
        frame_scale=0.1,
        smallest_scale=1e-3,
        diffuse_scale=100.0,
        fix=None,
        initial_values=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        for name, network in (("encoder", encoder), ("decoder", decoder)):
            if not isinstance(network, keras.layers.Layer) and (name, network) != ("decoder", None):
                raise ValueError(
                    f"{_OP}: {name} is a {type(network).__name__}; it must be a layer or a model "
                    f"of Keras."
                )
        check_choice(_OP, "likelihood", likelihood, ("gaussian", "bernoulli"))
        check_choice(_OP, "target", target, ("signal", "states"))
        for name, value, least in (
            ("evidence_weight", evidence_weight, 0),
            ("smallest_scale", smallest_scale, math.ulp(0)),
            ("frame_scale", frame_scale, math.ulp(0)),
            ("noise_scale", noise_scale, math.ulp(0)),
        ):
            if not (isinstance(value, float | int) and least <= value < math.inf):
                kind = "positive" if least else "not negative"
                raise ValueError(f"{_OP}: {name} is {value!r}; it must be finite and {kind}.")
        self.encoder: Any = encoder
        self.decoder: Any = decoder
        self.dynamics = dynamics
        self.likelihood, self.target = likelihood, target
        self.evidence_weight, self.smallest_scale = float(evidence_weight), float(smallest_scale)
        self.noise_scale, self.frame_scale = float(noise_scale), float(frame_scale)
        self.diffuse_scale, self.fix = diffuse_scale, dict(fix or {})
        self.initial_values = dict(initial_values or {})
        self.num_transition_matrices = positive_int(
            _OP, "num_transition_matrices", num_transition_matrices
        )
        learned = isinstance(dynamics, int | np.integer)
        if self.num_transition_matrices > 1 and not learned:
            raise ValueError(
                f"{_OP}: num_transition_matrices is {num_transition_matrices}, but dynamics is a "
                f"{type(dynamics).__name__}; only learned dynamics are mixtures: give the number "
                f"of states."
            )
        mixed = self.num_transition_matrices > 1
        start = LinearDynamics(dynamics, 1).start_values()["transition_matrix"] if mixed else None
        self.smoother = KalmanSmoother(
            dynamics if learned else None,
            dynamics=None if learned else dynamics,
            fix=self.fix | ({"transition_matrix": start} if mixed else {}),
            initial_values=self.initial_values,
            diffuse_scale=diffuse_scale,
            dtype=self.variable_dtype,
            name="smoother",
        )
        self.signal_dim = self._signal_dim(signal_dim)
        self.transitions = None
        if mixed:
            self.transitions = TransitionMixture(
                start, self.num_transition_matrices, dtype=self.dtype_policy, name="transitions"
            )
        self.pseudo_observation = keras.layers.Dense(
            self.signal_dim, dtype=self.dtype_policy, name="pseudo_observation"
        )
        self.pseudo_observation_noise = keras.layers.Dense(
            self.signal_dim,
            "softplus",
            bias_initializer=keras.initializers.Constant(before_softplus(self.noise_scale)),
            dtype=self.dtype_policy,
            name="pseudo_observation_noise",
        )
        self._seeds = keras.random.SeedGenerator()
        self._frame_shape: Any = None  # a tuple, known by build
        self._run_smoothed = tf.function(self._smoothed, autograph=False, reduce_retracing=True)
        self._run_decoded = tf.function(self._decoded, autograph=False, reduce_retracing=True)

    # What Keras asks for.

    def build(self, input_shape):
        """Creates the weights for frames ``[B, T, *frame]``."""
        batch, steps, *frame = input_shape
        if not frame or None in frame:
            raise ValueError(
                f"{_OP}: the frames have shape {tuple(input_shape)}; it must be [batch, time, "
                f"*frame], and all but batch and time known. Of series of numbers a frame is [1]: "
                f"frames[..., None]."
            )
        self._frame_shape = tuple(frame)
        features = self._built("encoder", (None, *frame))
        if len(features) != 2:
            raise ValueError(
                f"{_OP}: the encoder makes {features} of frames {(None, *frame)}; it must make "
                f"features [batch, units]. keras.layers.Flatten at its end does."
            )
        self.pseudo_observation.build(features)
        self.pseudo_observation_noise.build(features)
        seen = (batch, steps, self.signal_dim)
        if self.transitions is not None:
            self.transitions.build(seen)
        self.smoother.build((seen, seen))
        if self.decoder is None:
            return
        decoded = self._built("decoder", (None, self.signal_dim))
        if decoded[1:] != self._frame_shape:
            raise ValueError(
                f"{_OP}: the decoder makes {decoded} of signals {(None, self.signal_dim)}; it must "
                f"make frames {(None, *frame)}."
            )
        if self.likelihood == "gaussian":
            self.log_frame_scale = self.add_weight(
                shape=(),
                initializer=keras.initializers.Constant(math.log(self.frame_scale)),
                name="log_frame_scale",
                autocast=False,
            )

    def call(self, frames, training=False):
        """Mean and standard deviation of the target at each step, ``[B, T, 2 d]``."""
        frames = self._frames(frames)
        potentials = self._potentials(frames, training)
        states, signal, log_likelihood = self._moments(potentials)
        if self.decoder is not None and self.evidence_weight:
            bound = self._reconstruction(frames, signal, training)
            bound -= divergence(potentials, *signal, log_likelihood)
            count = tf.math.count_nonzero(potentials.seen, dtype=tf.float64)
            loss = -tf.reduce_sum(bound) / tf.maximum(count, 1.0)
            self.add_loss(tf.cast(self.evidence_weight * loss, self.variable_dtype))
        moments = states if self.target == "states" else signal
        return tf.cast(joined(*moments), self.variable_dtype)

    def compute_output_shape(self, input_shape):
        """``(B, T, 2 d)``."""
        size = self.signal_dim
        if self.target == "states":
            model = self.smoother.dynamics
            size = self.smoother.state_dim if model is None else len(model.state_names)
        return (*input_shape[:2], 2 * size)

    def get_config(self):
        """Everything that ``from_config`` needs.

        Raises:
          NotImplementedError: the dynamics are made of functions, as ``Custom`` models are.
        """
        model = self.smoother.dynamics
        return {
            **super().get_config(),
            "fix": plain(self.fix),
            "initial_values": plain(self.initial_values),
            "encoder": keras.saving.serialize_keras_object(self.encoder),
            "dynamics": int(self.dynamics) if model is None else written(_OP, model),
            "decoder": keras.saving.serialize_keras_object(self.decoder),
            "signal_dim": self.signal_dim,
            "likelihood": self.likelihood,
            "target": self.target,
            "num_transition_matrices": self.num_transition_matrices,
            "evidence_weight": self.evidence_weight,
            "noise_scale": self.noise_scale,
            "frame_scale": self.frame_scale,
            "smallest_scale": self.smallest_scale,
            "diffuse_scale": self.diffuse_scale,
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        """The model of a config, without weights."""
        networks = {
            name: keras.saving.deserialize_keras_object(config[name], custom_objects)
            for name in ("encoder", "decoder")
        }
        return cls(**{**config, **networks, "dynamics": read(config["dynamics"])})

    # What users ask for.

    def smoothed(self, frames, horizon=0) -> SmoothedFrames:
        """States and signals given all frames, and what the encoder makes of each.

        Args:
          frames: ``[B, T, *frame]``.
          horizon: number of steps to go on beyond the last, 0 or more.

        Returns:
          A :class:`SmoothedFrames` of T + horizon steps.

        Raises:
          ValueError: the frames have another shape than those of the training, or ``horizon`` is
            not a whole number from 0.
        """
        return SmoothedFrames(*self._run_smoothed(self._longer(frames, horizon)))

    def reconstruct(self, frames, horizon=0, *, num_samples=16, seed=0) -> tf.Tensor:
        """Expected frames given all that were seen, by the decoder.

        Args:
          frames: ``[B, T, *frame]``.
          horizon: number of steps to go on beyond the last, 0 or more.
          num_samples: number of draws of the signals, over which the decoder's frames are averaged.
          seed: int; the same gives the same draws.

        Returns:
          ``[B, T + horizon, *frame]``: missing frames and those to come as well as the others.

        Raises:
          ValueError: there is no decoder, or as :meth:`smoothed`.
        """
        if self.decoder is None:
            raise ValueError(f"{_OP}: reconstruct needs a decoder, and there is none.")
        num_samples = positive_int(_OP, "num_samples", num_samples)
        first = seed_pair(_OP, seed)
        found = self.smoothed(frames, horizon)
        signal = found.signal_mean, found.signal_covariance
        total = 0.0
        for sample in tf.unstack(tf.random.split(first, num_samples, alg="philox")):
            total += self._run_decoded(*signal, sample)
        return total / num_samples

    def impute(self, frames, **options) -> tf.Tensor:
        """The frames with their missing entries filled in.

        Args:
          frames: ``[B, T, *frame]``, NaN where missing.
          **options: ``num_samples`` and ``seed`` of :meth:`reconstruct`, whose frames these are.
        """
        frames = tf.convert_to_tensor(frames)
        found = tf.cast(self.reconstruct(frames, **options), frames.dtype)
        return tf.where(tf.math.is_nan(frames), found, frames)

    # The rest.

    def _signal_dim(self, given):
        model = self.smoother.dynamics
        if model is None:
            if given is None:
                raise ValueError(
                    f"{_OP}: give signal_dim, the number of signals that {self.dynamics} learned "
                    f"states have."
                )
            return positive_int(_OP, "signal_dim", given)
        if given not in (None, model.num_observed):
            raise ValueError(
                f"{_OP}: signal_dim is {given}, but dynamics {model!r} have "
                f"{model.num_observed} signals. Leave signal_dim out."
            )
        return model.num_observed

    def _built(self, name, shape):
        """Builds a network for inputs of a shape, and returns that of its outputs."""
        network = getattr(self, name)
        if not network.built:
            network.build(shape)
        return tuple(network.compute_output_shape(shape))

    def _frames(self, frames):
        frames = tf.convert_to_tensor(frames)
        if not self.built:
            self.build(frames.shape)
        if not frames.shape.is_compatible_with((None, None, *self._frame_shape)):
            raise ValueError(
                f"{_OP}: the frames have shape {frames.shape}; it must be [batch, time"
                f"{''.join(f', {size}' for size in self._frame_shape)}]."
            )
        return tf.cast(frames, self.compute_dtype)

    def _longer(self, frames, horizon):
        """The frames, with ``horizon`` missing ones at the end."""
        if horizon != 0:
            horizon = positive_int(_OP, "horizon", horizon)
        frames = self._frames(frames)
        none = tf.fill([len(frames), horizon, *self._frame_shape], np.nan)
        return tf.concat([frames, tf.cast(none, frames.dtype)], axis=1)

    def _potentials(self, frames, training) -> Potentials:
        known, missing = _filled(frames)
        flat = tf.reshape(known, [-1, *self._frame_shape])
        features = self.encoder(flat, training=training)
        shape = [*tf.unstack(tf.shape(frames)[:2]), self.signal_dim]
        mean, scale = (
            tf.cast(tf.reshape(head(features), shape), tf.float64)
            for head in (self.pseudo_observation, self.pseudo_observation_noise)
        )
        axes = list(range(2, 2 + len(self._frame_shape)))
        seen = tf.logical_not(tf.reduce_all(missing, axis=axes))[..., tf.newaxis]
        return Potentials(tf.where(seen, mean, np.nan), self.smallest_scale + scale)

    def _moments(self, potentials):
        """Moments of states and signals, each a pair, and the log-likelihood."""
        ssm = self.smoother.state_space_model(tuple(potentials))
        if self.transitions is not None:
            matrices = self.transitions(tf.cast(potentials.mean, self.compute_dtype))
            ssm = replaced(ssm, transition_matrix=tf.cast(matrices, tf.float64))
        mean, covariance, log_likelihood = self.smoother.moments(ssm, potentials.mean, None)
        return (mean, covariance), signal_moments(ssm, mean, covariance), log_likelihood

    def _reconstruction(self, frames, signal, training):
        """E log p(frames | signals) by one draw of each signal, ``[B]``."""
        decoded = self._decode(draw(*signal, tf.cast(self._seeds.next(), tf.int64)), training)
        known, missing = _filled(frames)
        known, decoded = (tf.cast(x, self.variable_dtype) for x in (known, decoded))
        if self.likelihood == "bernoulli":
            inside = tf.reduce_all((known >= 0) & (known <= 1))
            message = f'{_OP}: frames must be from 0 to 1 for likelihood="bernoulli".'
            known = require(inside, message, known)
            density = -tf.nn.sigmoid_cross_entropy_with_logits(labels=known, logits=decoded)
        else:
            scale = tf.exp(tf.cast(self.log_frame_scale, decoded.dtype))
            density = -log_score_normal(known, decoded, scale)
        density = tf.where(missing, tf.zeros_like(density), density)
        return tf.cast(tf.reduce_sum(density, axis=list(range(1, frames.shape.rank))), tf.float64)

    def _decode(self, signals, training):
        """The decoder's output for signals ``[B, T, m]``."""
        flat = tf.reshape(tf.cast(signals, self.compute_dtype), [-1, self.signal_dim])
        shape = [*tf.unstack(tf.shape(signals)[:2]), *self._frame_shape]
        return tf.reshape(self.decoder(flat, training=training), shape)

    def _smoothed(self, frames):
        """The fields of SmoothedFrames, in a graph."""
        potentials = self._potentials(frames, training=False)
        states, signal, log_likelihood = self._moments(potentials)
        return (*states, *signal, *potentials, log_likelihood)

    def _decoded(self, mean, covariance, seed):
        """Frames of one draw of the signals, in a graph."""
        decoded = self._decode(draw(mean, covariance, seed), training=False)
        return tf.sigmoid(decoded) if self.likelihood == "bernoulli" else decoded


def _filled(frames):
    """The frames with zeros for what is missing, and where that is."""
    missing = tf.math.is_nan(frames)
    return tf.where(missing, tf.zeros_like(frames), frames), missing
