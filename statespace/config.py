"""Which implementation runs, and on what."""

import importlib.metadata
import platform

from statespace import native


def native_available() -> bool:
    """True if the compiled library is installed and loads into the running TensorFlow."""
    return native.failure() is None


def use_native(enabled: bool) -> None:
    """Selects the compiled ops (True, the default) or the reference implementations (False).

    Applies to calls made, and functions traced, from now on; a ``tf.function`` traced before keeps
    what it was traced with. The environment variable ``STATESPACE_USE_NATIVE=0`` sets the default.
    """
    native.use(enabled)


def describe() -> str:
    """What this installation runs on, in a few lines: for bug reports and benchmark headers.

    Returns:
      Versions of statespace, TensorFlow and TensorFlow Probability, the state of the compiled
      library (instruction set, threads), of the XLA bridge and of CUDA, each with its reason.
    """
    versions = {
        name: _version(name)
        for name in ("statespace-tf", "tensorflow", "tensorflow-probability", "keras", "numpy")
    }
    if native_available():
        native.ops()  # the first use sets the number of threads
        library = native.api()
        level, threads = library.simd_level().decode(), library.num_threads()
        compiled = f"yes ({level}, {threads} thread{'s' if threads != 1 else ''})"
    else:
        compiled = f"no ({native.failure()})"
    bridge, cuda = native.bridge_failure(), native.cuda_failure()
    lines = {
        "versions": ", ".join(f"{name} {version}" for name, version in versions.items()),
        "python": f"{platform.python_version()} on {platform.machine()} {platform.system()}",
        "native": compiled,
        "native inside XLA": "yes" if bridge is None else f"no ({bridge})",
        "CUDA": f"yes ({_gpus()})" if cuda is None else f"no ({cuda})",
    }
    return "\n".join(f"{key + ':':<19}{value}" for key, value in lines.items())


def _gpus():
    import tensorflow as tf

    count = len(tf.config.list_physical_devices("GPU"))
    return f"{count or 'no'} GPU{'s' if count != 1 else ''} here"


def _version(distribution):
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
