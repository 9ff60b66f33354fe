"""The same networks in JAX, on dynamax's filter and smoother: same weights, optimiser and data.

The few layers are written out, so that weights can be those of the Keras models as they are;
optax, which dynamax brings, optimises. Networks are float32, filter and smoother float64, as there.
A step is one program of XLA.
"""

import importlib.metadata

import dynamax_
import jax
import jax.numpy as jnp
import optax
from dynamax.linear_gaussian_ssm import inference

from .films import Films
from .panels import Panels


def versions():
    return dynamax_.versions() | {"optax": importlib.metadata.version("optax")}


def training_step(workload):
    """A call that makes one training step and returns the mean loss so far, as Keras does."""
    start, data, loss = _PARTS[type(workload)](workload)
    optimiser = optax.adam(1e-3, eps=1e-7)  # as Keras has it

    @jax.jit
    def step(weights, state, data):
        value, slopes = jax.value_and_grad(loss)(weights, data)
        changes, state = optimiser.update(slopes, state)
        return value, optax.apply_updates(weights, changes), state

    weights, data = jax.tree.map(jnp.asarray, (start, data))
    held, losses = (weights, optimiser.init(weights)), []

    def call():
        nonlocal held
        value, *held = jax.block_until_ready(step(*held, data))
        losses.append(float(value))
        return sum(losses) / len(losses)

    return call


def _panels(workload):
    """Weights, data, and the loss as a function of both."""
    model = workload.network("statespace")
    panel = model._tensors(workload.batch)
    emitter, structure = model._emitter, model._structure
    layers = emitter.encoder.layers if workload.encoder == "convolution" else [emitter.encoder]
    weights = {
        "encoder": [layer.get_weights() for layer in layers],
        "scales": emitter._to_scales.get_weights(),
        "start": emitter._to_start.get_weights(),
    }
    data = {"covariates": panel.covariates.numpy(), "y": model._scaled(panel.y)[0].numpy()}
    encode, columns = _ENCODERS[workload.encoder], structure._columns
    ssm = structure.state_space_model(panel, emitter(panel))
    shared = {k: getattr(ssm, k).numpy() for k in ("transition_matrix", "observation_matrix")}
    # Noise enters by matrices of ones and zeros, of which each column has a scale of its own.
    ones = workload.base.build({p.name: 1.0 for p in workload.base.parameters})
    noise = {
        "transition_scale": (ones.transition_scale.numpy(), columns.transition),
        "observation_scale": (ones.observation_scale.numpy(), columns.observation),
    }

    def positive(x):
        return model.smallest_scale + jax.nn.softplus(x.astype(jnp.float64))

    def log_likelihood(own, y):
        return inference.lgssm_filter(dynamax_.model(shared | own), y).marginal_loglik

    def loss(weights, data):
        hidden = encode(weights["encoder"], data["covariates"])
        scales = positive(_affine(weights["scales"], hidden))
        mean, deviation = jnp.split(_affine(weights["start"], hidden[:, 0]), 2, axis=-1)
        own = {k: matrix * (scales @ place)[..., None, :] for k, (matrix, place) in noise.items()}
        own["initial_mean"] = mean.astype(jnp.float64)
        own["initial_scale"] = jax.vmap(jnp.diag)(positive(deviation))
        return -jnp.mean(jax.vmap(log_likelihood)(own, data["y"])) / data["y"].shape[1]

    return weights, data, loss


def _films(workload):
    """Weights, data, and the loss as a function of both."""
    model = workload.network("statespace")
    smoother = model.smoother._dynamics
    weights = {
        "encoder": [layer.get_weights() for layer in model.encoder.layers],
        "mean": model.pseudo_observation.get_weights(),
        "noise": model.pseudo_observation_noise.get_weights(),
        "smoother": {name: weight.numpy() for name, weight in smoother.weights.items()},
    }

    def smoothed(parameters, noise, y):
        own = {"observation_scale": jax.vmap(jnp.diag)(noise)}
        result = inference.lgssm_smoother(dynamax_.model(parameters | own), y)
        return result.smoothed_means, result.smoothed_covariances

    def loss(weights, data):
        frames, signals = data
        hidden = frames
        for layer in weights["encoder"]:
            hidden = jax.nn.relu(_affine(layer, hidden))
        mean = _affine(weights["mean"], hidden).astype(jnp.float64)
        noise = jax.nn.softplus(_affine(weights["noise"], hidden)).astype(jnp.float64)
        p = {name: x.astype(jnp.float64) for name, x in weights["smoother"].items()}
        for name in ("transition_scale", "initial_scale"):
            p[name] = jnp.diag(jnp.exp(p[name]))
        moments = jax.vmap(smoothed, in_axes=(None, 0, 0))
        means, covariances = moments(p, model.smallest_scale + noise, mean)
        h = p["observation_matrix"]
        centre = means @ h.T + p["observation_offset"]
        deviation = jnp.sqrt(jnp.einsum("mi,btij,mj->btm", h, covariances, h))
        centre, deviation = (x.astype(jnp.float32) for x in (centre, deviation))
        return -jnp.mean(jax.scipy.stats.norm.logpdf(signals, centre, deviation))

    return weights, workload.batch, loss


_PARTS = {Panels: _panels, Films: _films}


def _affine(weights, x):
    matrix, offset = weights
    return x @ matrix + offset


def _convolution(weights, x):
    """Causal, each layer reaching twice as far back as the one before."""
    for number, (kernel, offset) in enumerate(weights):
        apart = 2**number
        x = jax.lax.conv_general_dilated(
            x,
            kernel,
            window_strides=(1,),
            padding=[((kernel.shape[0] - 1) * apart, 0)],
            rhs_dilation=(apart,),
            dimension_numbers=("NWC", "WIO", "NWC"),
        )
        x = jax.nn.gelu(x + offset, approximate=False)
    return x


def _lstm(weights, x):
    """With the gates in Keras's order: input, forget, cell, output."""
    [[kernel, recurrent, offset]] = weights

    def step(carry, now):
        hidden, cell = carry
        put, keep, new, show = jnp.split(now + hidden @ recurrent, 4, axis=-1)
        cell = jax.nn.sigmoid(keep) * cell + jax.nn.sigmoid(put) * jnp.tanh(new)
        hidden = jax.nn.sigmoid(show) * jnp.tanh(cell)
        return (hidden, cell), hidden

    zeros = jnp.zeros((len(x), recurrent.shape[0]), x.dtype)
    _, hidden = jax.lax.scan(step, (zeros, zeros), jnp.swapaxes(x @ kernel + offset, 0, 1))
    return jnp.swapaxes(hidden, 0, 1)


_ENCODERS = {"convolution": _convolution, "lstm": _lstm}
