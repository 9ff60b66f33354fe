"""The compiled library: where it is, whether it is in use, and how to reach its ops.

The C++ sources live in this folder (``core/``: numerics, ``ops/``: registration with TensorFlow,
``cuda/``: GPUs, ``bridge/``: XLA and GPUs). The build puts ``_statespace.so`` beside this file;
without it everything runs on the reference implementations in plain TensorFlow.
"""

import ctypes
import functools
import os
import warnings
from pathlib import Path
from typing import Any

LIBRARY_PATH = Path(__file__).with_name("_statespace.so")

_CURE = (
    "statespace runs on its reference implementations, which give the same numbers, slowly. "
    "To get the compiled library, install g++ (Debian: apt-get install g++) and reinstall with "
    "'pip install --force-reinstall --no-deps statespace-tf'."
)
_API_VERSION = 3  # STATESPACE_API_VERSION in ops/api.h
_wanted = os.environ.get("STATESPACE_USE_NATIVE", "1") != "0"
_bridge_failure: str | None = "not loaded yet"
_cuda_failure: str | None = "not loaded yet"


def warn_if_missing():
    """Says once, at import, that the package was installed without its compiled library."""
    if _wanted and not LIBRARY_PATH.exists():
        warnings.warn(
            f"The compiled library is missing ({LIBRARY_PATH}); was there no C++ compiler when the "
            f"package was installed? {_CURE}",
            stacklevel=3,
        )


@functools.cache
def _load():
    """Loads the library once; returns (module of op wrappers, None) or (None, reason)."""
    if not LIBRARY_PATH.exists():
        return None, f"{LIBRARY_PATH} does not exist"
    import tensorflow as tf

    from statespace.native import lapack, vectorize

    try:
        ops = tf.load_op_library(str(LIBRARY_PATH))
    except (tf.errors.OpError, OSError) as error:
        reason = f"it does not load into TensorFlow {tf.__version__}: {error}"
        warnings.warn(f"The compiled library {LIBRARY_PATH}: {reason}. {_CURE}", stacklevel=2)
        return None, reason
    if not hasattr(ops, "statespace_cholesky"):
        return None, "it registered no ops (see standard error)"
    if _api().version != _API_VERSION:
        reason = "it was built from other sources: install or build it anew"
        warnings.warn(f"The compiled library {LIBRARY_PATH}: {reason}.", stacklevel=2)
        return None, reason
    lapack.hand_over(_api().set_lapack)
    _load_bridge()
    vectorize.register(_api(), ops)
    return ops, None


@functools.cache
def _set_threads():
    """Gives the kernels' own pool the size the user gave TensorFlow's intra-op pool.

    At the first use of an op: until then the user may still set it.
    """
    import tensorflow as tf

    wanted = tf.config.threading.get_intra_op_parallelism_threads()
    wanted = wanted or int(os.environ.get("TF_NUM_INTRAOP_THREADS") or 0)
    api().set_num_threads(wanted or len(os.sched_getaffinity(0)))


def _load_bridge():
    global _bridge_failure, _cuda_failure
    from statespace.native import cuda, xla

    _bridge_failure = xla.load(str(LIBRARY_PATH))
    _cuda_failure = cuda.load()


class _Op(ctypes.Structure):
    """``StatespaceOp`` in ops/api.h."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("num_inputs", ctypes.c_int32),
        ("num_outputs", ctypes.c_int32),
        ("num_attrs", ctypes.c_int32),
        ("input_names", ctypes.POINTER(ctypes.c_char_p)),
        ("output_names", ctypes.POINTER(ctypes.c_char_p)),
        ("attr_names", ctypes.POINTER(ctypes.c_char_p)),
        ("output_dtypes", ctypes.POINTER(ctypes.c_int32)),
        ("input_ranks", ctypes.POINTER(ctypes.c_int32)),
        ("output_likes", ctypes.POINTER(ctypes.c_int32)),
    )


class _Api(ctypes.Structure):
    """The head of ``StatespaceApi`` in ops/api.h."""

    _fields_ = (
        ("version", ctypes.c_int32),
        ("num_ops", ctypes.c_int32),
        ("ops", ctypes.POINTER(_Op)),
        ("infer", ctypes.c_void_p),
        ("run", ctypes.c_void_p),
        ("simd_level", ctypes.CFUNCTYPE(ctypes.c_char_p)),
        ("num_threads", ctypes.CFUNCTYPE(ctypes.c_int32)),
        ("set_num_threads", ctypes.CFUNCTYPE(None, ctypes.c_int32)),
        ("set_lapack", ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_char_p, ctypes.c_void_p)),
    )


def api() -> _Api:
    """The C interface of the library, which must be available (``failure()`` is None)."""
    library()  # into TensorFlow: whoever opens the file before leaves it without ops
    return _api()


def _api() -> _Api:
    library = ctypes.CDLL(str(LIBRARY_PATH))
    library.statespace_api.restype = ctypes.POINTER(_Api)
    return library.statespace_api().contents


@functools.cache
def input_ranks(op: str) -> tuple[int, ...]:
    """The number of core axes of each input of an op, by its name."""
    entry = _entry(op)
    return tuple(entry.input_ranks[: entry.num_inputs])


@functools.cache
def output_likes(op: str) -> tuple[int, ...]:
    """For each output of an op the input whose very shape it has, or -1."""
    entry = _entry(op)
    return tuple(entry.output_likes[: entry.num_outputs])


def _entry(op):
    table = api()
    return next(x for x in table.ops[: table.num_ops] if x.name.decode() == op)


def failure() -> str | None:
    """Why the compiled library cannot be used, or None if it can."""
    return _load()[1]


def bridge_failure() -> str | None:
    """Why the native kernels cannot run inside XLA, or None if they can."""
    return _load()[1] or _bridge_failure


def cuda_failure() -> str | None:
    """Why the compiled ops cannot run on GPUs, or None if they can where there is one."""
    return _load()[1] or _cuda_failure


def use(enabled: bool):
    """Backs ``statespace.config.use_native``."""
    global _wanted
    _wanted = bool(enabled)


def ops():
    """The op wrappers to call now, or None where the reference implementation is to run.

    That is: the library is missing or switched off, or the caller is being traced for XLA and XLA
    has no kernels: the bridge is not loaded, or the code may be for a GPU.
    """
    if not _wanted or library() is None or (traced_for_xla() and not _reaches_xla()):
        return None
    _set_threads()
    return library()


def library() -> Any:
    """The op wrappers, for the gradients of ops that exist; None if there is no library."""
    return _load()[0]


def _reaches_xla():
    import tensorflow as tf

    return _bridge_failure is None and not tf.config.get_visible_devices("GPU")


def traced_for_xla() -> bool:
    """True inside a function that is being traced for ``jit_compile=True``, where that shows."""
    import tensorflow as tf

    if tf.executing_eagerly():
        return False
    from tensorflow.python.ops import control_flow_util

    return control_flow_util.GraphOrParentsInXlaContext(tf.compat.v1.get_default_graph())
