"""Rows without their mean."""

import tensorflow as tf


def without_mean(centred):
    """N - 1 rows with the same products ``X' X`` as N rows that sum to zero, ``[..., N, D]``.

    A reflection takes the vector of ones to the first axis, where nothing is left. So rows that
    are independent but for their sum become independent rows, and independent noise of one scale
    in N rows becomes that in N - 1.
    """
    root = tf.sqrt(tf.cast(tf.shape(centred)[-2], centred.dtype))
    # H = I - v v' / (1 + 1 / root), v = e_1 + 1 / root, takes the vector of ones to -root e_1.
    return centred[..., 1:, :] - centred[..., :1, :] / (1 + root)
