"""SavedModels of functions that contain the operators and their gradients."""

import numpy as np
import pytest
import tensorflow as tf
from contracts.operators import REPRESENTATIVES
from contracts.table import outputs


@pytest.mark.parametrize("operator", REPRESENTATIVES, ids=lambda op: op.name)
def test_round_trip(operator, tmp_path, native):
    """Values, the gradient inside the saved function, and that of the loaded one."""
    arguments = [tf.constant(x) for x in operator.make(np.random.default_rng(0), (3,), np.float64)]

    def value(*arguments):
        return tf.add_n([tf.reduce_sum(tf.sin(x)) for x in outputs(operator.apply(*arguments))])

    def gradient(function, arguments):
        with tf.GradientTape() as tape:
            tape.watch(arguments)
            result = function(*arguments)
        return tape.gradient(result, arguments)

    module = tf.Module()
    signature = [tf.TensorSpec([None, *x.shape[1:]], x.dtype) for x in arguments]
    module.value = tf.function(value, input_signature=signature)
    module.gradient = tf.function(lambda *x: gradient(value, x), input_signature=signature)
    options = tf.saved_model.SaveOptions(experimental_custom_gradients=True)
    tf.saved_model.save(module, str(tmp_path), options=options)
    loaded = tf.saved_model.load(str(tmp_path))
    np.testing.assert_allclose(loaded.value(*arguments), value(*arguments), rtol=1e-13)
    expected = gradient(value, arguments)
    for got in (loaded.gradient(*arguments), gradient(loaded.value, arguments)):
        for x, y in zip(got, expected, strict=True):
            np.testing.assert_allclose(x, y, rtol=1e-12, atol=1e-12)
