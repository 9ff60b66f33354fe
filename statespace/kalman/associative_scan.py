"""All prefixes of a product of many factors, in a logarithmic number of rounds.

TensorFlow Probability's ``scan_associative`` does the same by 48 nested conditionals where T is not
known, for which tracing takes long, and their gradients longer.
"""

import tensorflow as tf

from statespace.linalg_ops.arguments import with_shape


def associative_scan(combine, elements):
    """combine(... combine(combine(e_0, e_1), e_2) ..., e_t) for every step t.

    Args:
      combine: associative function of two elements, which works on many of them side by side.
      elements: named tuple of tensors ``[..., T, rows, columns]``. With T known, 2 log2 T rounds
        make 2 T combinations at most; where it is not, log2 T rounds make T each.

    Returns:
      Named tuple of the same shapes.

    References:
      Blelloch, Prefix sums and their applications, Carnegie Mellon University, CMU-CS-90-190, 1990.
      Hillis & Steele, Data parallel algorithms, Communications of the ACM 29(12), 1986.
    """
    known = elements[0].shape[-3] is not None
    return (_by_pairs if known else _by_doubling)(combine, elements)


def _by_pairs(combine, elements):
    """Combines neighbours, finds the prefixes of the pairs by recursion, and those between."""
    steps = elements[0].shape[-3]
    if steps < 2:
        return elements
    pairs = combine(
        _map(lambda x: x[..., 0:-1:2, :, :], elements), _map(lambda x: x[..., 1::2, :, :], elements)
    )
    odd = _by_pairs(combine, pairs)
    even = _map(lambda x: x[..., :1, :, :], elements)
    if steps > 2:
        before = _map(lambda x: x[..., : (steps - 1) // 2, :, :], odd)
        between = combine(before, _map(lambda x: x[..., 2::2, :, :], elements))
        even = _map(lambda x, y: tf.concat([x, y], axis=-3), even, between)
    return _map(_interleave, even, odd)


def _interleave(even, odd):
    """x_0 y_0 x_1 y_1 ...; there may be one more x than y."""
    pairs, shape = odd.shape[-3], tf.shape(odd)
    both = tf.stack([even[..., :pairs, :, :], odd], axis=-3)
    both = tf.reshape(both, tf.concat([shape[:-3], [2 * pairs], shape[-2:]], 0))
    if even.shape[-3] > pairs:
        both = tf.concat([both, even[..., pairs:, :, :]], axis=-3)
    return with_shape(both, [*odd.shape[:-3], pairs + even.shape[-3], *odd.shape[-2:]])


def _by_doubling(combine, elements):
    """Combines every stretch with the one before it, all of which reach twice as far each round."""
    steps = tf.shape(elements[0])[-3]
    index = tf.range(steps)
    rounds = tf.reduce_sum(tf.cast(tf.bitwise.left_shift(1, tf.range(31)) < steps, tf.int32))

    def double(level, stretches):
        reach = tf.bitwise.left_shift(1, level)
        source = tf.maximum(index - reach, 0)
        longer = combine(_map(lambda x: tf.gather(x, source, axis=-3), stretches), stretches)
        complete = (index < reach)[:, tf.newaxis, tf.newaxis]
        longer = _map(lambda x, y: tf.where(complete, x, y), stretches, longer)
        return level + 1, _map(lambda x, y: with_shape(y, x.shape), stretches, longer)

    return tf.while_loop(
        lambda level, _: level < rounds, double, (0, elements), maximum_iterations=rounds
    )[1]


def _map(function, *elements):
    return type(elements[0])(*map(function, *elements))
