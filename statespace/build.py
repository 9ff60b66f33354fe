"""Build the bridge for the installed TensorFlow: ``python -m statespace.build``.

The compiled library runs on every supported TensorFlow, but XLA, which compiles functions with
jit_compile=True, and GPUs can only be reached through C++ headers that change with every minor
version. The bridge is therefore compiled on the user's machine, once per TensorFlow, against the
headers inside the TensorFlow wheel. It goes into the user's cache folder, under a name that holds
TensorFlow's version and a hash of everything that shaped it, so that an outdated bridge is never
loaded.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

_NATIVE = Path(__file__).resolve().parent / "native"
_SOURCES = ("bridge/ffi_handler.cc", "bridge/gpu_kernels.cc", "bridge/xla_kernels.cc")
_STUBS = "bridge/stubs"
_HEADERS = (
    "bridge/bridge.h",
    f"{_STUBS}/llvm/ADT/ArrayRef.h",
    f"{_STUBS}/llvm/ADT/SmallVector.h",
    "cuda/api.h",
    "ops/api.h",
)

# Hidden symbols keep the bridge from meddling with TensorFlow's own. NDEBUG as in TensorFlow's
# build: some of its classes are laid out differently without. -O1: the bridge does no arithmetic.
_FLAGS = ("-O1", "-DNDEBUG", "-fPIC", "-fvisibility=hidden", "-w")
# Headers of two libraries that TensorFlow's headers include by their bare names.
_VENDORED = ("external/highwayhash", "external/farmhash_archive/src")
_LIBRARIES = ("-l:libtensorflow_cc.so.2", "-l:libtensorflow_framework.so.2")
# A symbol missing from this TensorFlow shall fail the build, which can explain it, not the import.
_LINK_FLAGS = ("-shared", "-Wl,-z,defs", "-Wl,-z,now")

_TIMEOUT_SECONDS = 1800


class BuildError(RuntimeError):
    """The bridge cannot be built; the message says why and what would help."""


def cache_folder() -> Path:
    """The folder for built libraries: ``$XDG_CACHE_HOME/statespace`` or ``~/.cache/statespace``.

    Raises:
      BuildError: the user has no home folder.
    """
    configured = os.environ.get("XDG_CACHE_HOME", "")
    if os.path.isabs(configured):  # the XDG specification asks to ignore relative paths
        return Path(configured) / "statespace"
    try:
        return Path.home() / ".cache" / "statespace"
    except RuntimeError as error:
        raise BuildError("this user has no home folder: set XDG_CACHE_HOME to a folder.") from error


def bridge_path() -> Path | None:
    """The bridge built from these sources for the running TensorFlow, or None if there is none.

    Imports TensorFlow, whose version decides, and looks for one file.

    Raises:
      BuildError: TensorFlow cannot be imported, or there is no cache folder.
    """
    target = _target()
    # Path.is_file() raises where a folder on the way may not be entered.
    return target if os.path.isfile(target) else None


def build(*, force: bool = False, say: Callable[[str], None] = lambda text: None) -> Path:
    """Builds the bridge for the running TensorFlow unless it is there already.

    Two processes may call this at once: the second waits and uses what the first has built.

    Args:
      force: build even if the library is in the cache.
      say: called with lines of text on what happens.

    Returns:
      The path of the library.

    Raises:
      BuildError: there is no TensorFlow, compiler, header or room, or the compiler failed.
    """
    if not sys.platform.startswith("linux"):
        raise BuildError(f"the bridge is supported on Linux only, this is {sys.platform}.")
    target = _target()
    if os.path.isfile(target) and not force:
        say(f"Already built: {target}")
        return target
    compiler = _find_compiler()
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _lock(target.parent / "build.lock", say):
            if force or not os.path.isfile(target):
                _compile(compiler, target, say)
            else:
                say(f"Built by another process: {target}")
    except OSError as error:
        raise BuildError(f"cannot write to the cache folder {target.parent}: {error}") from error
    return target


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line and returns its exit status: 0 if the bridge is there, else 1."""
    parser = argparse.ArgumentParser(prog="python -m statespace.build", description=__doc__)
    parser.add_argument("--force", action="store_true", help="build even if it is built already")
    parser.add_argument("--quiet", action="store_true", help="print nothing but failures")
    parser.add_argument("--status", action="store_true", help="say what is there and build nothing")
    options = parser.parse_args(arguments)
    say = (lambda text: None) if options.quiet else (lambda text: print(text, flush=True))
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        if options.status:
            return _report_status(say)
        build(force=options.force, say=say)
    except BuildError as error:
        print(f"statespace.build: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("statespace.build: interrupted; nothing was changed.", file=sys.stderr)
        return 130
    return 0


def _report_status(say: Callable[[str], None]) -> int:
    target = _target()
    tensorflow_version = _tensorflow().__version__
    if os.path.isfile(target):
        say(f"The XLA bridge for TensorFlow {tensorflow_version} is built: {target}")
        return 0
    say(
        f"The XLA bridge for TensorFlow {tensorflow_version} is not built. Run "
        f"`python -m statespace.build`; it would go to {target}"
    )
    return 1


def _tensorflow():
    """TensorFlow, imported here and not above so that the command line can explain its absence."""
    try:
        import tensorflow
    except ImportError as error:
        raise BuildError(f"TensorFlow cannot be imported: {error}") from error
    return tensorflow


def _abi_flags() -> list[str]:
    """The compiler flags that TensorFlow demands of extensions, without its include folder."""
    flags = _tensorflow().sysconfig.get_compile_flags()
    return [flag for flag in flags if not flag.startswith("-I")]


def _target() -> Path:
    """Where the bridge for the running TensorFlow belongs."""
    tensorflow = _tensorflow()
    digest = hashlib.sha256()
    for name in _SOURCES + _HEADERS:
        digest.update((_NATIVE / name).read_bytes())
    flags = (*_FLAGS, *_LINK_FLAGS, *_abi_flags())
    wheel = (tensorflow.version.GIT_VERSION, tensorflow.version.COMPILER_VERSION)
    digest.update(repr((platform.machine(), flags, wheel)).encode())
    name = f"_statespace_bridge-tf{tensorflow.__version__}-{digest.hexdigest()[:16]}.so"
    return cache_folder() / name


def _find_compiler() -> list[str]:
    """The C++ compiler as a command: ``$CXX`` if set, else the first one on the path."""
    configured = shlex.split(os.environ.get("CXX", ""))
    if configured:
        if shutil.which(configured[0]) is None:
            raise BuildError(f"CXX names the compiler {configured[0]!r}, which cannot be found.")
        return configured
    for name in ("g++", "clang++", "c++"):
        if shutil.which(name):
            return [name]
    raise BuildError(
        "no C++ compiler found (looked for g++, clang++ and c++ on the path). Install one, for "
        "instance with `apt-get install g++`, or name one in the environment variable CXX. Without "
        "the bridge everything works but compiled operations inside jit_compile=True."
    )


@contextlib.contextmanager
def _lock(path: Path, say: Callable[[str], None]) -> Iterator[None]:
    """Holds a file lock, which the system frees even if this process is killed."""
    import fcntl  # exists on Unix alone

    with open(path, "w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("Another process is building a bridge; waiting for it.")
            fcntl.flock(handle, fcntl.LOCK_EX)
        except OSError:
            pass  # No locks on this file system: work may be done twice, but the rename is atomic.
        yield


def _compile(compiler: list[str], target: Path, say: Callable[[str], None]) -> None:
    """Compiles and links in a folder of its own and moves the finished library to ``target``."""
    tensorflow = _tensorflow()
    include = Path(tensorflow.sysconfig.get_include())
    if not (include / "tensorflow/compiler/tf2xla/xla_op_kernel.h").is_file():
        raise BuildError(
            f"TensorFlow {tensorflow.__version__} came without the C++ headers of XLA (looked in "
            f"{include}). The wheels on PyPI have them: pip install --force-reinstall tensorflow"
        )
    say(
        f"Building the XLA bridge for TensorFlow {tensorflow.__version__} with {compiler[0]}: "
        "usually one to two minutes, and 1.7 GB of memory ..."
    )
    started = time.monotonic()
    log = target.with_suffix(".log")
    folders = [include, *(include / name for name in _VENDORED)]
    system_includes = [part for folder in folders for part in ("-isystem", str(folder))]
    system_includes += ["-idirafter", str(_NATIVE / _STUBS)]
    with tempfile.TemporaryDirectory(prefix="build-", dir=target.parent) as scratch:
        objects = []
        for source in _SOURCES:
            objects.append(f"{scratch}/{Path(source).stem}.o")
            command = [*compiler, *_FLAGS, *_abi_flags(), *system_includes]
            _execute([*command, "-c", str(_NATIVE / source), "-o", objects[-1]], log)
        library = f"{scratch}/{target.name}"
        libraries = [f"-L{tensorflow.sysconfig.get_lib()}", *_LIBRARIES]
        _execute([*compiler, *_LINK_FLAGS, *objects, *libraries, "-o", library], log)
        os.replace(library, target)
    log.unlink(missing_ok=True)
    say(f"Built in {time.monotonic() - started:.0f} s: {target}")


def _execute(command: list[str], log: Path) -> None:
    """Runs a compiler command; on failure leaves its output in ``log`` and raises the essence."""
    try:
        result = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=_TIMEOUT_SECONDS,
        )
    except subprocess.TimeoutExpired as error:
        minutes = _TIMEOUT_SECONDS // 60
        raise BuildError(f"{command[0]} did not finish in {minutes} minutes.") from error
    except OSError as error:
        raise BuildError(f"{command[0]} cannot be run: {error}") from error
    if result.returncode == 0:
        return
    log.write_text(f"{shlex.join(command)}\n{result.stdout}")
    lines = result.stdout.splitlines()
    if result.returncode < 0 or any("Killed" in line for line in lines):
        raise BuildError(
            f"{command[0]} was killed, most likely for lack of memory: the build needs 1.7 GB. "
            f"Its output is in {log}"
        )
    errors = [line for line in lines if "error" in line.lower() or "undefined" in line] or lines
    headline = f"{command[0]} failed with exit status {result.returncode}:"
    raise BuildError("\n  ".join([headline, *errors[:5], f"The whole output is in {log}"]))


if __name__ == "__main__":
    sys.exit(main())
