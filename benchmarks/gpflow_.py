"""GPflow: ``GPR`` and ``SGPR`` in float64, value and gradient inside ``tf.function``."""

import importlib.metadata

import gpflow
import tensorflow as tf

_SHAPES = {
    "ExponentiatedQuadratic": gpflow.kernels.SquaredExponential,
    "MaternFiveHalves": gpflow.kernels.Matern52,
}


def versions() -> dict[str, str]:
    return {"GPflow": importlib.metadata.version("gpflow")}


def exact(kernel, x, y, params):
    """A call that returns the log marginal likelihood, after its gradient is there too."""
    model = gpflow.models.GPR(
        (x, y[:, None]), _kernel(kernel, params), noise_variance=params["noise_variance"]
    )
    return _with_gradient(model, model.log_marginal_likelihood)


def sparse(kernel, x, y, params, inducing, jitter):
    """The same of the collapsed bound, with ``jitter`` added to the diagonal of K_uu."""
    gpflow.config.set_default_jitter(jitter)
    model = gpflow.models.SGPR(
        (x, y[:, None]),
        _kernel(kernel, params),
        inducing,
        noise_variance=params["noise_variance"],
    )
    return _with_gradient(model, model.elbo)


def _kernel(name, params):
    return _SHAPES[name](params["amplitude"] ** 2, params["length_scale"])


def _with_gradient(model, value_of):
    @tf.function(autograph=False)
    def value_and_gradient():
        with tf.GradientTape() as tape:
            value = value_of()
        return value, tape.gradient(value, model.trainable_variables)

    def call():
        value, gradients = value_and_gradient()
        [gradient.numpy() for gradient in gradients]
        return value.numpy()

    return call
