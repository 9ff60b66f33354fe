"""The Kalman filter as a layer, also of streams."""

import keras
import tensorflow as tf

from statespace.kalman.filter import kalman_filter
from statespace.layers.kalman_layer import (
    KalmanLayer,
    Moments,
    observed_moments,
    predicted_observations,
)
from statespace.linalg_ops import psd_cholesky
from statespace.ssm import PARAMETERS, replaced


@keras.saving.register_keras_serializable(package="statespace")
class KalmanFilter(KalmanLayer):
    """The Kalman filter as a layer: what the states are, given the observations so far.

    It takes the arguments of :class:`statespace.layers.KalmanSmoother`, which mean the same but for
    ``output``, and one more.

    Args:
      state_dim: number n of states; may be left out where ``dynamics`` says it.
      output: ``"states"``: moments of x_t given y_0 ... y_t; ``"observations"``: of an observation
        at that step, noise included, given the same; ``"predictions"``: of y_t given
        y_0 ... y_{t-1}, forecasts one step ahead.
      stateful: a call goes on where the one before ended, so that a stream may come in pieces, and
        gives what one call on all of it would. Series keep their places in the batch, whose size
        must be known (``keras.Input(batch_shape=...)``), and their states are saved with the
        model. ``reset_state`` starts anew. No gradient passes from one call to the one before.
      **kwargs: the other arguments of the smoother.

    Raises:
      ValueError: as the smoother; or a stateful layer does not know the size of the batch, gets
        another, has an exact diffuse start or is given times.

    Example:

      >>> import numpy as np, statespace as ss
      >>> layer = ss.layers.KalmanFilter(
      ...     dynamics=ss.models.LocalLevel(), output="predictions", join_standard_deviation=True)
      >>> layer(np.array([[[1.0], [3.0], [2.0]]], np.float32)).shape  # mean and standard deviation
      TensorShape([1, 3, 2])
    """

    outputs = ("states", "observations", "predictions")

    def __init__(self, state_dim=None, *, stateful=False, **kwargs):
        super().__init__(state_dim, **kwargs)
        self.stateful = bool(stateful)

    def build(self, input_shape):
        """Creates the weights, and the state that a stateful layer carries on."""
        super().build(input_shape)
        if not self.stateful:
            return
        shapes = self._shapes(input_shape)
        if shapes.times is not None:
            raise ValueError(
                f"{self._op}: stateful layers take no times: how long it is from one call to the "
                f"next is not known. Filter such series as a whole."
            )
        batch = shapes.observations[0]
        if batch is None:
            raise ValueError(
                f"{self._op}: stateful needs a known batch size; give the input one, as "
                f"keras.Input(batch_shape=(batch, None, m))."
            )
        n = len(self._dynamics.model.state_names)

        def add(name, *shape):
            return self.add_weight(
                shape=shape,
                initializer="zeros",
                dtype="float64",  # as computations are: to go on changes no digit
                trainable=False,
                autocast=False,
                name=name,
            )

        self.carried_mean = add("carried_mean", batch, n)
        self.carried_scale = add("carried_scale", batch, n, n)
        self.goes_on = add("goes_on")  # 0 at the start of a stream, then 1

    def reset_state(self):
        """The next call is the start of a stream."""
        if self.stateful and self.built:
            self.goes_on.assign(0.0)

    def moments(self, ssm, observations, mask):
        """Filtered or predicted moments; see ``KalmanLayer``."""
        if self.stateful:
            given, held = observations.shape[0], self.carried_mean.shape[0]
            if given not in (None, held):
                raise ValueError(
                    f"{self._op}: the observations are of {given} series; the layer is stateful "
                    f"and was built for {held}, which keep their places in the batch."
                )
            ssm = self._going_on(ssm)
            ssm, observations, mask = _one_step_more(ssm, observations, mask)
        form = self._form(ssm)
        result = kalman_filter(ssm, observations, mask=mask, scales=self.stateful, **form)
        if self.output_kind == "predictions":
            moments = predicted_observations(ssm, result)
        else:
            moments = result.filtered_mean, result.filtered_covariance
            if self.output_kind == "observations":
                moments = observed_moments(ssm, *moments)
        if self.stateful:
            self._carry(result)
            moments = tuple(x[:, :-1] for x in moments)
        return Moments(*moments, result.log_likelihood)

    def get_config(self):
        """Everything that ``from_config`` needs."""
        return {**super().get_config(), "stateful": self.stateful}

    def _going_on(self, ssm):
        """The model with the start that the call before has left, if there was one."""
        if ssm.diffuse is not None:
            raise ValueError(
                f"{self._op}: stateful needs a proper start, and the dynamics "
                f"{self._dynamics.model!r} start diffuse; give diffuse_scale a number."
            )
        goes_on = tf.convert_to_tensor(self.goes_on) > 0
        mean, scale = (tf.convert_to_tensor(x) for x in (self.carried_mean, self.carried_scale))
        own = ssm.initial_scale
        extra = tf.maximum(tf.shape(own)[-1] - tf.shape(scale)[-1], 0)
        return replaced(
            ssm,
            initial_mean=tf.where(goes_on, mean, ssm.initial_mean),
            initial_scale=tf.cond(
                goes_on,
                lambda: tf.pad(scale, [[0, 0], [0, 0], [0, extra]]),
                lambda: tf.broadcast_to(
                    own, tf.concat([tf.shape(scale)[:1], tf.shape(own)[-2:]], 0)
                ),
            ),
        )

    def _carry(self, result):
        scale = result.predicted_scale
        last = psd_cholesky(result.predicted_covariance[:, -1]) if scale is None else scale[:, -1]
        self.carried_mean.assign(tf.stop_gradient(result.predicted_mean[:, -1]))
        self.carried_scale.assign(tf.stop_gradient(last))
        self.goes_on.assign(1.0)


def _one_step_more(ssm, observations, mask):
    """Data and model with a step at which nothing is observed: its prediction is the next start."""
    observations = tf.pad(observations, [[0, 0], [0, 1], [0, 0]], constant_values=float("nan"))
    if mask is not None:
        mask = tf.pad(mask, [[0, 0], [0, 1], [0, 0]])
    longer = {}
    for spec in PARAMETERS:
        value = getattr(ssm, spec.name)
        axis = value.shape.rank - len(spec.core) - 1
        if spec.per_step and axis >= 0 and value.shape[axis] != 1:
            last = tf.gather(value, [tf.shape(value)[axis] - 1], axis=axis)
            longer[spec.name] = tf.concat([value, last], axis=axis)
    return replaced(ssm, **longer), observations, mask
