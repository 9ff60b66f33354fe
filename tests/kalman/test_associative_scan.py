"""The associative scan against a loop."""

from typing import NamedTuple

import numpy as np
import pytest
import tensorflow as tf

from statespace.kalman.associative_scan import associative_scan


class Affine(NamedTuple):
    matrix: tf.Tensor
    offset: tf.Tensor


def after(first, second):
    """x -> second(first(x)): associative, but not commutative."""
    offset = tf.matmul(second.matrix, first.offset) + second.offset
    return Affine(tf.matmul(second.matrix, first.matrix), offset)


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("num_steps", [*range(10), 31, 32, 33])
def test_prefixes(num_steps, known):
    rng = np.random.default_rng(num_steps)
    maps = Affine(rng.normal(size=(3, num_steps, 2, 2)), rng.normal(size=(3, num_steps, 2, 1)))
    signature = [tf.TensorSpec([3, num_steps if known else None, 2, k], tf.float64) for k in (2, 1)]
    scan = tf.function(lambda *x: associative_scan(after, Affine(*x)), input_signature=signature)
    got = scan(*maps)
    total = Affine(np.broadcast_to(np.eye(2), (3, 2, 2)), np.zeros((3, 2, 1)))
    for t in range(num_steps):
        total = after(total, Affine(maps.matrix[:, t], maps.offset[:, t]))
        np.testing.assert_allclose(got.matrix[:, t], total.matrix, rtol=1e-10, atol=1e-10)
        np.testing.assert_allclose(got.offset[:, t], total.offset, rtol=1e-10, atol=1e-10)
