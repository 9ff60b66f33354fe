"""Standard normals: those of TensorFlow's kernels, and no others inside XLA."""

import numpy as np
import pytest
import tensorflow as tf

from statespace.kalman.normal import standard_normal

SHAPES = ((1,), (2,), (5, 3), (0, 2), (2, 3, 1000))
TOLERANCE = {tf.float32: 1e-5, tf.float64: 1e-14}


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("shape", SHAPES)
def test_numbers_are_those_of_the_kernels(shape, dtype):
    seed = tf.constant([3, 2**40 + 4], tf.int64)
    expected = tf.random.stateless_normal(shape, seed, dtype=dtype, alg="philox")
    got = standard_normal(tf.constant(shape), seed, dtype)
    assert got.shape == shape
    assert got.dtype == dtype
    np.testing.assert_allclose(got, expected, atol=TOLERANCE[dtype], rtol=TOLERANCE[dtype])


@pytest.mark.parametrize("jit", [False, True])
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_seed_and_shape_need_not_be_known(dtype, jit):
    """What is known, TensorFlow computes before XLA sees it, and hides how that would differ."""
    seed, shape = tf.constant([7, -1], tf.int64), tf.constant([3, 5])
    compiled = tf.function(lambda *x: standard_normal(*x, dtype), jit_compile=jit)
    tolerance = TOLERANCE[dtype]
    np.testing.assert_allclose(
        compiled(shape, seed), standard_normal(shape, seed, dtype), atol=tolerance, rtol=tolerance
    )
