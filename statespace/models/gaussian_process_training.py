"""Deep kernels: a network and the parameters of a Gaussian process on its output, together."""

import tensorflow as tf

_LEARNING_RATE = 1e-2


def train(feature_map, log_likelihood, problem, point, optimizer, num_steps):
    """Maximises the marginal likelihood over weights and parameters by full-batch gradient steps.

    What is maximised is its mean over the observations, less the losses that the network's layers
    add. The gradient by the weights is that by the features, through the covariance matrix and its
    Cholesky factor. It trains the network in place.

    Args:
      feature_map: a Keras model.
      log_likelihood: function of parameter values and data, ``[R]``, with the features that the
        network gives in training.
      problem: the :class:`statespace.models.gaussian_process_fit.Problem`.
      point: free coordinates ``[R, P]`` from which to set out.
      optimizer: a Keras optimiser, whose settings are taken and whose state is left alone; None is
        Adam.
      num_steps: number of steps.

    Returns:
      Free coordinates ``[R, P]``.

    Raises:
      ValueError: the likelihood is not finite at a step, which the message names. The weights are
        those before it.

    References:
      Wilson et al., Deep Kernel Learning, AISTATS 2016.
    """
    import keras

    free = keras.Variable(point, dtype="float64", name="free_coordinates")
    variables = [*feature_map.trainable_variables, *([free] if point.size else [])]
    if optimizer is None:
        optimizer = keras.optimizers.Adam(_LEARNING_RATE)
    elif not isinstance(optimizer, keras.optimizers.Optimizer):
        raise ValueError(
            f"GaussianProcess.fit: optimizer is {optimizer!r}; it must be a Keras optimiser."
        )
    else:
        optimizer = optimizer.from_config(optimizer.get_config())
    optimizer.build(variables)
    observations = tf.cast(tf.size(problem.data.y), tf.float64)

    @tf.function(autograph=False)
    def step():
        with tf.GradientTape() as tape:
            values = log_likelihood(problem.values(free.value), problem.data)
            loss = -tf.reduce_sum(tf.cast(values, tf.float64)) / observations
            # What regularisers of its layers add, as in Keras's own training.
            loss += sum(tf.cast(value, tf.float64) for value in feature_map.losses)
        gradients = tape.gradient(
            loss,
            [variable.value for variable in variables],
            unconnected_gradients=tf.UnconnectedGradients.ZERO,
        )
        fine = tf.math.is_finite(loss)
        optimizer.apply([tf.where(fine, g, tf.zeros_like(g)) for g in gradients], variables)
        return fine

    for number in range(num_steps):
        if not step():
            raise ValueError(
                f"GaussianProcess.fit: the marginal likelihood is not finite at step {number} of "
                "the training. Give an optimiser with a smaller learning rate, or an "
                "error_variance, which keeps the covariance matrix from being singular."
            )
    return free.numpy()
