"""A ``DeepStateSpace`` over a panel of series, on this library's filter and on TFP's."""

import keras
import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

import statespace as ss
from statespace.forecasting.expression import parse_model

tfd = tfp.distributions

BATCH = 32
# Name, base model, steps of a series. Noise and start of each series and step are emitted.
PANELS = (
    ("monthly", "LocalLinearTrend() + Seasonal(12)", 120),
    ("hourly", "LocalLevel() + TrigonometricSeasonal(24, 3) + TrigonometricSeasonal(168, 4)", 336),
)
ENCODERS = ("convolution", "lstm")


class Panels:
    """A workload (see ``__init__.py``) of one base model and encoder."""

    def __init__(self, name, base, steps, encoder):
        self.name, self.encoder, self.base = f"{name}, {encoder}", encoder, parse_model(base)
        self.sizes = f"{len(self.base.state_names)}, {steps}"
        self.batch = self.network("statespace").panel(series(steps))

    def network(self, form):
        keras.utils.set_random_seed(0)
        return _FORMS[form](self.base, self.encoder)

    def compile(self, network, jit_compile):
        network.compile("adam", jit_compile=jit_compile)


def series(steps):
    """Seasonal series without gaps, of which TFP knows only whole rows, and two covariates."""
    rng = np.random.default_rng(0)
    wave = np.sin(2 * np.pi * np.arange(steps) / 12)
    y = 10 + wave + 0.2 * rng.normal(size=(BATCH, steps)).cumsum(axis=1)
    return {"y": y, "covariates": rng.normal(size=(BATCH, steps, 2))}


class OnTFP(ss.models.DeepStateSpace):
    """With TFP's likelihood. The noise of these models is independent between the states."""

    def _log_likelihood(self, panel, scaled, training):
        ssm = self._structure.state_space_model(panel, self._emitter(panel, training=training))

        def noise(scale):
            deviations = tf.transpose(tf.reduce_sum(scale, axis=-1), [1, 0, 2])  # of each step
            return lambda t: tfd.MultivariateNormalDiag(scale_diag=tf.gather(deviations, t))

        return tfd.LinearGaussianStateSpaceModel(
            num_timesteps=scaled.shape[1],
            transition_matrix=ssm.transition_matrix,
            transition_noise=noise(ssm.transition_scale),
            observation_matrix=ssm.observation_matrix,
            observation_noise=noise(ssm.observation_scale),
            initial_state_prior=tfd.MultivariateNormalDiag(
                ssm.initial_mean, tf.linalg.diag_part(ssm.initial_scale)
            ),
        ).log_prob(scaled)


class OnNothing(ss.models.DeepStateSpace):
    """With a function of all that the network emits that costs next to nothing."""

    def _log_likelihood(self, panel, scaled, training):
        emitted = self._emitter(panel, training=training)
        parts = [tf.reduce_sum(x**2, axis=list(range(1, x.shape.rank))) for x in emitted]
        return tf.add_n(parts) + tf.reduce_sum(scaled, axis=[1, 2])


_FORMS = {"statespace": ss.models.DeepStateSpace, "TFP": OnTFP, "nothing": OnNothing}
