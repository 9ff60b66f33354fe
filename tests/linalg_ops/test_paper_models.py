"""The models of ``benchmarks/paper.py`` on our operators, against SciPy's multivariate normal.

Their other half, on MXNet, is compared with this one where the benchmark runs.
"""

import runpy
from pathlib import Path

import numpy as np
import pytest
import scipy.spatial.distance
import scipy.stats
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import finite_differences

FILE = Path(__file__).parents[2] / "benchmarks" / "paper_models" / "statespace_.py"
MODELS = runpy.run_path(str(FILE))


def _regression_covariance(x, log_noise_scale, log_prior_scale):
    scaled = x * np.exp(log_prior_scale)
    return np.exp(2 * log_noise_scale) * np.eye(len(x)) + scaled @ scaled.T


def _process_covariance(x, log_length_scale, log_amplitude, log_noise_scale):
    distances = scipy.spatial.distance.squareform(scipy.spatial.distance.pdist(x, "sqeuclidean"))
    kernel = np.exp(2 * log_amplitude - 0.5 * distances * np.exp(-2 * log_length_scale))
    return kernel + np.exp(2 * log_noise_scale) * np.eye(len(x))


COVARIANCES = {
    "log_evidence": _regression_covariance,
    "log_marginal_likelihood": _process_covariance,
}


def _log_density(model, x, y, *parameters):
    """The same number from the covariance of y, one item of a batch after the other."""
    batch = y.shape[:-1]
    densities = np.empty(batch)
    for i in np.ndindex(*batch):
        covariance = COVARIANCES[model](x[i], *(parameter[i] for parameter in parameters))
        densities[i] = scipy.stats.multivariate_normal(cov=covariance).logpdf(y[i])
    return densities


def _draw(model, batch, count, width, seed=0):
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=[*batch, count, width]), rng.normal(size=[*batch, count])
    shapes = [batch, (*batch, width)] if model == "log_evidence" else [batch] * 3
    return [x, y, *(0.3 * rng.normal(size=shape) for shape in shapes)]


@pytest.mark.parametrize("model", COVARIANCES)
@settings(deadline=None, max_examples=25)
@given(
    batch=st.lists(st.integers(1, 3), max_size=2).map(tuple),
    count=st.integers(1, 12),
    width=st.integers(1, 5),
    seed=st.integers(0, 1000),
)
def test_values(model, batch, count, width, seed):
    arguments = _draw(model, batch, count, width, seed)
    expected = _log_density(model, *arguments)
    for dtype, tolerance in (("float64", 1e-12), ("float32", 2e-5)):
        value = MODELS[model](*(tf.constant(array, dtype) for array in arguments))
        assert value.dtype == dtype
        assert value.shape == batch
        np.testing.assert_allclose(value, expected, rtol=tolerance, atol=tolerance * count)


@pytest.mark.parametrize("model", COVARIANCES)
@pytest.mark.parametrize(("count", "width"), [(7, 3), (2, 4)])
def test_gradients(model, count, width):
    arguments = _draw(model, (2,), count, width)
    expected = finite_differences.gradient(
        lambda *arrays: _log_density(model, *arrays).sum(), arguments, step=1e-3
    )

    @tf.function(input_signature=[tf.TensorSpec([None] * x.ndim, tf.float64) for x in arguments])
    def gradients(*tensors):
        with tf.GradientTape() as tape:
            tape.watch(tensors)
            value = MODELS[model](*tensors)
        return tape.gradient(value, tensors)

    for gradient, wanted in zip(gradients(*arguments), expected, strict=True):
        np.testing.assert_allclose(gradient, wanted, rtol=1e-7, atol=1e-8)
