"""Load the XLA bridge, which makes the compiled ops work under ``tf.function(jit_compile=True)``.

The bridge is built by ``python -m statespace.build``. It may be loaded at any time, also after
TensorFlow has compiled other functions: XLA looks its kernels up whenever it compiles a function.
"""

from __future__ import annotations

import ctypes
import os

from statespace import build

_loaded: ctypes.CDLL | None = None


def load(core_library_path: str | os.PathLike[str]) -> str | None:
    """Connects XLA to the ops of the compiled library; further calls do nothing.

    Args:
      core_library_path: the compiled library, already loaded with ``tf.load_op_library``.

    Returns:
      None on success, otherwise why the compiled ops cannot run inside XLA, in words.
    """
    global _loaded
    if _loaded is not None:
        return None
    try:
        path = build.bridge_path()
    except build.BuildError as error:
        return str(error)
    if path is None:
        return (
            "the XLA bridge is not built for this TensorFlow: run `python -m statespace.build` "
            "(one to two minutes)"
        )
    try:
        core = ctypes.CDLL(os.fspath(core_library_path))
        core.statespace_api.restype = ctypes.c_void_p
        bridge = ctypes.CDLL(os.fspath(path))
        register = bridge.statespace_bridge_register
    except (OSError, AttributeError) as error:
        return (
            f"the XLA bridge {path} cannot be loaded ({error}): build it anew with "
            "`python -m statespace.build --force`"
        )
    register.argtypes = [ctypes.c_void_p]
    register.restype = ctypes.c_char_p
    reason = register(core.statespace_api())
    if reason is not None:
        return f"the XLA bridge {path} was refused: {reason.decode(errors='replace')}"
    _loaded = bridge
    return None


def loaded_bridge() -> ctypes.CDLL | None:
    """The bridge, or None where `load` has not succeeded."""
    return _loaded
