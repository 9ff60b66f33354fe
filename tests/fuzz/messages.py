"""Which exceptions a refused call may raise, and what they must say."""

import re

import numpy as np
import tensorflow as tf

COTANGENT = "cotangent"  # names the ones that begin a gradient

_OF_TENSORFLOW = (
    "32-bit|Dimension -|tensor used for shape: -|returned a result with an exception set"
)


def objection(error, case, subject, *, strict):
    """What is wrong with the way a call was refused, or None.

    Not strict: only the type of the exception counts. The reference implementations, and with them
    the derivatives of gradients, leave the words to TensorFlow where shapes are not known
    beforehand.
    """
    by_reference = case.derivative == 2 or (case.derivative == 1 and subject.is_gradient)
    strict = strict and not (by_reference and case.mode != "eager")
    nonsense = any(np.dtype(x).kind != "f" or x == "float16" for x in case.dtypes)
    allowed = (ValueError, tf.errors.InvalidArgumentError)
    if any(0 in shape for shape in case.shapes):
        allowed += (tf.errors.ResourceExhaustedError,)  # an outer product of nothing may be large
    if nonsense:
        allowed += (TypeError, tf.errors.NotFoundError, tf.errors.UnimplementedError)
    text = str(error)
    if max(max(shape, default=0) for shape in case.shapes) >= 2**31 - 1:
        # Sizes that TensorFlow itself makes, of zeros for unused outputs say: it refuses them in
        # words of its own, which sometimes get lost on their way through Python's C interface.
        if re.search(_OF_TENSORFLOW, text):
            return None
    if not isinstance(error, allowed):
        return "is refused by the wrong exception"
    if not strict or nonsense or isinstance(error, tf.errors.ResourceExhaustedError):
        return None
    if f"Detected at node {COTANGENT}" in text:
        return None  # no memory for the cotangent of a large result
    if not any(re.search(rf"\b{name}\b", text) for name in subject.op_names):
        return "is refused without the name of the op"
    arguments = "|".join(sorted({re.escape(x) for x in subject.argument_names}))
    naming = rf"\b({arguments}) (is|has|must)\b|(axes of|see|input) '?({arguments})\b"
    if not re.search(naming, text):
        return "is refused without the name of the argument"
    return None
