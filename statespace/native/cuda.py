"""Load the library for NVIDIA GPUs, where it has been built, and give its kernels to TensorFlow.

TensorFlow then runs the ops on whatever device they are placed on. The kernels are registered
through the bridge (`statespace.build`), and lie idle where there is no GPU.
"""

from __future__ import annotations

import ctypes
from pathlib import Path

from statespace.native import xla

LIBRARY_PATH = Path(__file__).with_name("_statespace_cuda.so")


def load() -> str | None:
    """Gives the kernels for GPUs to TensorFlow, once the bridge has been loaded.

    Returns:
      None on success, otherwise why the compiled ops cannot run on GPUs, in words.
    """
    if not LIBRARY_PATH.exists():
        return (
            "beside a GPU the compiled ops run on the CPU: the library for GPUs was not built; "
            "install with nvcc and `pip install --config-settings=cmake.define.STATESPACE_CUDA=ON`"
        )
    bridge = xla.loaded_bridge()
    if bridge is None:
        return "the kernels for GPUs need the bridge: run `python -m statespace.build`"
    try:
        table = ctypes.CDLL(str(LIBRARY_PATH)).statespace_cuda_api
        register = bridge.statespace_bridge_register_cuda
    except (OSError, AttributeError) as error:
        return f"the library for GPUs, {LIBRARY_PATH}, cannot be loaded ({error})"
    table.restype = ctypes.c_void_p
    register.argtypes = [ctypes.c_void_p]
    register.restype = ctypes.c_char_p
    reason = register(table())
    if reason is not None:
        return f"{LIBRARY_PATH} was refused: {reason.decode(errors='replace')}"
    return None
