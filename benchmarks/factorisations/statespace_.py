"""This library: eager, inside ``tf.function``, and inside ``tf.function(jit_compile=True)``."""

import textwrap

import tensorflow as tf

import statespace as ss
from factorisations import tensorflow_
from statespace import native


def versions() -> dict[str, str]:
    return {"statespace": "\n" + textwrap.indent(ss.config.describe(), "  ")}


def columns(name: str, n: int) -> dict:
    if not hasattr(ss.linalg_ops, name):
        return {}
    operator = getattr(ss.linalg_ops, name)

    def function(*arguments):
        results = operator(*arguments)
        return tuple(results) if isinstance(results, (tuple, list)) else (results,)

    ways = {"eager": tensorflow_.maker(function, lambda call: call)}
    ways["function"] = tensorflow_.maker(function, tf.function)
    # Without the bridge XLA would compile the reference implementation.
    if n in tensorflow_.XLA_SIZES and native.bridge_failure() is None:
        ways["jit"] = tensorflow_.maker(function, tensorflow_.jitted)
    return ways
