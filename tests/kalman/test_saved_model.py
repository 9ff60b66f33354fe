"""Models and ops in a SavedModel, loaded by another process."""

import subprocess
import sys

import numpy as np
import tensorflow as tf
from kalman.models import build, random_data, random_parameters

import statespace as ss

LOAD = """
import sys
import numpy as np, tensorflow as tf
import statespace.kalman  # registers the ops
folder = sys.argv[1]
data = np.load(folder + "/data.npz")
module = tf.saved_model.load(folder)
y = tf.constant(data["y"])
with tf.GradientTape() as tape:
    tape.watch(y)
    value = module.log_likelihood(y)
np.testing.assert_allclose(value, data["value"], rtol=1e-12)
np.testing.assert_allclose(tape.gradient(value, y), data["gradient"], rtol=1e-9)
np.testing.assert_allclose(module.of_model(module.model(), y), data["value"], rtol=1e-12)
print("loaded")
"""


def test_saved_model_loads_in_a_fresh_process(tmp_path):
    parameters = random_parameters(np.random.default_rng(0), 2, 1)
    y = tf.constant(random_data(np.random.default_rng(1), (3,), 6, 1, missing=0.0))
    module = tf.Module()
    signature = tf.TensorSpec([None, None, 1], tf.float64)
    module.log_likelihood = tf.function(
        lambda y: ss.log_likelihood(build(parameters), y), input_signature=[signature]
    )
    module.model = tf.function(lambda: build(parameters), input_signature=[])
    spec = tf.type_spec_from_value(build(parameters))
    module.of_model = tf.function(ss.log_likelihood, input_signature=[spec, signature])
    with tf.GradientTape() as tape:
        tape.watch(y)
        value = module.log_likelihood(y)
    tf.saved_model.save(
        module,
        str(tmp_path),
        options=tf.saved_model.SaveOptions(experimental_custom_gradients=True),
    )
    np.savez(tmp_path / "data.npz", y=y, value=value, gradient=tape.gradient(value, y))
    command = [sys.executable, "-c", LOAD, str(tmp_path)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert "loaded" in run.stdout, run.stderr
