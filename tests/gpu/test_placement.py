"""On a machine with a GPU: ops placed there run there and give the CPU's numbers.

The other suites run on the GPU too, with every op placed there: ``make test-gpu``.
"""

import numpy as np
import pytest
import tensorflow as tf
from contracts.operators import OPERATORS
from contracts.table import outputs
from kalman.models import random_data, random_parameters

import statespace as ss
from statespace import native

if not tf.config.list_physical_devices("GPU"):
    pytest.skip("there is no GPU", allow_module_level=True)

TOLERANCE = {np.float32: 1e-4, np.float64: 1e-11}
FORMS = [name for name in ss.kalman.ALGORITHMS if name not in ("auto", "reference", "parallel")]
dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def test_kernels_are_there():
    assert native.cuda_failure() is None


def on(device, function):
    """The results of a function on a device, and that they are there."""
    with tf.device(device):
        results = function()
    for x in results:
        assert x.device.endswith(device.removeprefix("/"))
    return [x.numpy() for x in results]


def assert_same(function, dtype):
    for x, y in zip(on("/GPU:0", function), on("/CPU:0", function), strict=True):
        size = np.max(np.abs(y[np.isfinite(y)]), initial=1.0)
        np.testing.assert_allclose(x, y, atol=TOLERANCE[dtype] * size, rtol=TOLERANCE[dtype])


@pytest.mark.parametrize("operator", OPERATORS, ids=lambda op: op.name)
@dtypes
@pytest.mark.parametrize("batch", [(), (1,), (300,), (2, 3)])
def test_operator(operator, dtype, batch):
    arguments = operator.make(np.random.default_rng(0), batch, dtype)
    if operator.spoil is not None and batch == (300,):
        arguments[0][7] = operator.spoil(arguments[0][7])

    def values_and_gradients():
        variables = [tf.identity(x) for x in arguments]
        with tf.GradientTape() as tape:
            tape.watch(variables)
            results = outputs(operator.apply(*variables))
        return results + tape.gradient(results, variables)

    assert_same(values_and_gradients, dtype)


@pytest.mark.parametrize("algorithm", FORMS)
@dtypes
@pytest.mark.parametrize("shared", [True, False])
def test_filter(algorithm, dtype, shared):
    """Moments and the gradient of all parameters, which series share or not."""
    rng = np.random.default_rng(1)
    batch = () if shared else (70,)
    lead = () if shared else (70, 1)
    parameters = random_parameters(rng, 3, 2, lead=lead, batch=batch)
    data = random_data(rng, (70,), 40, 2)

    def values_and_gradients():
        variables = {name: tf.identity(x.astype(dtype)) for name, x in parameters.items()}
        y = tf.identity(data.astype(dtype))
        with tf.GradientTape() as tape:
            tape.watch(variables)
            ssm = ss.LinearGaussianSSM(**variables)
            total = ss.log_likelihood(ssm, y, algorithm=algorithm)
        gradients = tape.gradient(total, variables)
        smoothed = ss.kalman_smoother(ssm, y, algorithm=algorithm)
        filtered = ss.kalman_filter(ssm, y, algorithm=algorithm)
        moments = [smoothed.smoothed_mean, smoothed.smoothed_covariance, filtered.filtered_mean]
        return [total, *moments, *gradients.values()]

    assert_same(values_and_gradients, dtype)
