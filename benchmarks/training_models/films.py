"""A network that reads films below a Kalman smoother, this library's or TFP's."""

import keras
import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

import statespace as ss
from statespace.layers.kalman_layer import signal_moments

tfd = tfp.distributions

FILMS, FRAMES, PIXELS, STATES, SIGNALS = 30, 60, 256, 6, 2  # as the gallery's pendulum


class Films:
    """A workload (see ``__init__.py``); the loss is the log score of known signals."""

    name, sizes = "films, dense", f"{STATES}, {FRAMES}"

    def __init__(self):
        rng = np.random.default_rng(0)
        shapes = (FILMS, FRAMES, PIXELS), (FILMS, FRAMES, SIGNALS)
        self.batch = tuple(rng.normal(size=shape).astype("float32") for shape in shapes)

    def network(self, form):
        keras.utils.set_random_seed(0)
        encoder = keras.Sequential([keras.layers.Dense(64, "relu"), keras.layers.Dense(32, "relu")])
        network = _FORMS[form](encoder, STATES, signal_dim=SIGNALS)
        network.build(self.batch[0].shape)
        return network

    def compile(self, network, jit_compile):
        network.compile("adam", ss.layers.GaussianLogScore(), jit_compile=jit_compile)


class OnOthers(ss.models.NeuralObservationModel):
    """With other smoothed means and covariances, those of ``smoothed_by``."""

    def _moments(self, potentials):
        ssm = self.smoother.state_space_model(tuple(potentials))
        moments = self.smoothed_by(ssm, potentials.mean)
        total = tf.zeros(tf.shape(moments[0])[:1], moments[0].dtype)
        return moments, signal_moments(ssm, *moments), total


class OnTFP(OnOthers):
    def smoothed_by(self, ssm, y):
        deviations = tf.transpose(tf.linalg.diag_part(ssm.observation_scale), [1, 0, 2])
        start = tf.matmul(ssm.initial_scale, ssm.initial_scale, transpose_b=True)
        return tfd.LinearGaussianStateSpaceModel(
            num_timesteps=y.shape[1],
            transition_matrix=ssm.transition_matrix,
            transition_noise=tfd.MultivariateNormalDiag(
                scale_diag=tf.linalg.diag_part(ssm.transition_scale)
            ),
            observation_matrix=ssm.observation_matrix,
            observation_noise=lambda t: tfd.MultivariateNormalDiag(
                ssm.observation_offset, tf.gather(deviations, t)
            ),
            initial_state_prior=tfd.MultivariateNormalTriL(
                ssm.initial_mean, tf.linalg.cholesky(start)
            ),
        ).posterior_marginals(y)


class OnNothing(OnOthers):
    def smoothed_by(self, ssm, y):
        """Of the right shapes, of all that the network emits, and next to nothing to compute."""
        total = tf.add_n([tf.reduce_sum(x**2) for x in ssm.parameters()])
        mean = tf.zeros([FILMS, FRAMES, STATES], y.dtype) + tf.reduce_sum(y, -1, keepdims=True)
        return mean, tf.eye(STATES, batch_shape=[FILMS, FRAMES], dtype=y.dtype) * (1 + total)


_FORMS = {"statespace": ss.models.NeuralObservationModel, "TFP": OnTFP, "nothing": OnNothing}
