"""A network that reads films below a Kalman smoother, trained here and on TFP's smoother."""

import timing

FILMS, FRAMES, PIXELS, STATES, SIGNALS = 30, 60, 256, 6, 2


def measured(budget):
    """Numbers of states and steps, and seconds of a training step by the form of its smoother.

    Sizes are those of the gallery's pendulum; the loss is the log score of known signals.
    """
    import numpy as np

    rng = np.random.default_rng(0)
    films = rng.normal(size=(FILMS, FRAMES, PIXELS)).astype("float32")
    signals = rng.normal(size=(FILMS, FRAMES, SIGNALS)).astype("float32")
    forms = {
        "graph": (None, False),
        "XLA": (None, True),
        "TFP graph": (_tfp_moments, False),
        "TFP XLA": (_tfp_moments, True),
        "without filter": (_no_smoother, False),
    }
    models = {name: _network(moments) for name, (moments, _) in forms.items()}
    for model in models.values():
        model.build(films.shape)
        model.set_weights(models["graph"].get_weights())
    expected, got = (models[name](films).numpy() for name in ("graph", "TFP graph"))
    if abs(got - expected).max() > 1e-5 * abs(expected).max():
        raise SystemExit(f"TFP's moments differ by {abs(got - expected).max()}.")
    cases = {
        name: _step_of(models[name], (films, signals), jit) for name, (_, jit) in forms.items()
    }
    times = {name: x.minimum for name, x in timing.measure(cases, budget).items()}
    return f"{STATES}, {FRAMES}", times


def _step_of(model, batch, jit_compile):
    """A call that makes one training step."""
    import statespace as ss

    model.compile("adam", ss.layers.GaussianLogScore(), jit_compile=jit_compile)
    return timing.training_step(model, batch)


def _network(moments=None):
    """A NeuralObservationModel; with other moments, if they are given, than the smoother's."""
    import keras
    import tensorflow as tf

    import statespace as ss

    class Other(ss.models.NeuralObservationModel):
        def _moments(self, potentials):
            ssm = self.smoother.state_space_model(tuple(potentials))
            mean, covariance = moments(ssm, potentials.mean)
            h = ssm.observation_matrix
            signal = (
                tf.linalg.matvec(h, mean) + ssm.observation_offset,
                h @ tf.matmul(covariance, h, transpose_b=True),
            )
            return (mean, covariance), signal, tf.zeros(tf.shape(mean)[:1], mean.dtype)

    keras.utils.set_random_seed(0)
    encoder = keras.Sequential([keras.layers.Dense(64, "relu"), keras.layers.Dense(32, "relu")])
    kind = ss.models.NeuralObservationModel if moments is None else Other
    return kind(encoder, STATES, signal_dim=SIGNALS)


def _tfp_moments(ssm, y):
    """Smoothed means and covariances of TFP's model."""
    import tensorflow as tf
    import tensorflow_probability as tfp

    tfd = tfp.distributions
    deviations = tf.transpose(tf.linalg.diag_part(ssm.observation_scale), [1, 0, 2])  # of each step
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
            ssm.initial_mean,
            tf.linalg.cholesky(tf.matmul(ssm.initial_scale, ssm.initial_scale, transpose_b=True)),
        ),
    ).posterior_marginals(y)


def _no_smoother(ssm, y):
    """Of the right shapes, of all that the network emits, and next to nothing to compute."""
    import tensorflow as tf

    total = tf.add_n([tf.reduce_sum(x**2) for x in ssm.parameters()])
    mean = tf.zeros([FILMS, FRAMES, STATES], y.dtype) + tf.reduce_sum(y, -1, keepdims=True)
    return mean, tf.eye(STATES, batch_shape=[FILMS, FRAMES], dtype=y.dtype) * (1 + total)
