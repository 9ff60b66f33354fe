"""`python -m statespace.build`: what it says, what it leaves behind, two builds at once.

The compiler is a stand-in that takes no time; tests/native/test_bridge.py tests the real product.
"""

import os
import pathlib
import sys
import threading

import pytest

from statespace import build

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux only")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """An empty cache folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("CXX", raising=False)
    return tmp_path / "cache" / "statespace"


@pytest.fixture
def compiler(tmp_path, monkeypatch):
    """Puts a shell script in the compiler's place; returns the file with one line per call."""

    def install(body):
        log = tmp_path / "calls.log"
        script = tmp_path / "compiler"
        script.write_text(f'#!/bin/sh\necho "$@" >> {log}\n{body}\n')
        script.chmod(0o755)
        monkeypatch.setenv("CXX", str(script))
        return log

    return install


# Writes what it is told to write, in two pieces: a reader in between would see half a file.
WORKING = """
while [ $# -gt 0 ]; do
  if [ "$1" = -o ]; then printf 'first ' > "$2"; sleep 0.2; printf 'second' >> "$2"; fi
  shift
done
"""


def _left_behind(cache):
    return sorted(path.name for path in cache.iterdir() if path.name != "build.lock")


def test_builds_once_and_says_where(cache, compiler, capsys):
    log = compiler(WORKING)
    assert build.bridge_path() is None
    assert build.main(["--status"]) == 1
    assert "is not built" in capsys.readouterr().out

    assert build.main([]) == 0
    path = build.bridge_path()
    assert path.parent == cache
    assert path.read_text() == "first second"
    said = capsys.readouterr().out
    assert "one to two minutes" in said
    assert str(path) in said
    assert _left_behind(cache) == [path.name]

    calls = log.read_text()
    assert build.main([]) == 0
    assert f"Already built: {path}" in capsys.readouterr().out
    assert log.read_text() == calls
    assert build.main(["--status"]) == 0
    assert str(path) in capsys.readouterr().out

    assert build.main(["--force", "--quiet"]) == 0
    assert capsys.readouterr().out == ""
    assert log.read_text().count("\n") == 2 * calls.count("\n")


def test_two_builds_at_once(cache, compiler):
    """The second waits for the first; file locks part threads as they part processes."""
    log = compiler(WORKING)
    said, paths = [], []
    threads = [
        threading.Thread(target=lambda: paths.append(build.build(say=said.append)))
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert paths == [build.bridge_path()] * 2
    assert paths[0].read_text() == "first second"
    assert log.read_text().count("\n") == 4  # three sources and a link, once
    assert any("waiting" in text for text in said)
    assert _left_behind(cache) == [paths[0].name]


def _failure(capsys):
    assert build.main([]) == 1
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err
    assert captured.err.startswith("statespace.build: ")
    assert build.bridge_path() is None
    return captured.err


def test_no_compiler(monkeypatch, capsys):
    monkeypatch.setenv("PATH", "")
    message = _failure(capsys)
    assert "no C++ compiler found" in message
    assert "apt-get install g++" in message


def test_compiler_named_but_missing(monkeypatch, capsys):
    monkeypatch.setenv("CXX", "no-such-compiler -O2")
    assert "CXX names the compiler 'no-such-compiler'" in _failure(capsys)


def test_compiler_fails(cache, compiler, capsys):
    compiler("echo 'bridge.h:1:2: error: it does not like this' >&2; exit 3")
    message = _failure(capsys)
    assert "exit status 3" in message
    assert "error: it does not like this" in message
    (log,) = _left_behind(cache)
    assert str(cache / log) in message
    assert "bridge.h:1:2" in (cache / log).read_text()


def test_out_of_memory(compiler, capsys):
    compiler("kill -9 $$")
    assert "lack of memory" in _failure(capsys)


def test_no_headers(compiler, capsys, monkeypatch, tmp_path):
    compiler(WORKING)
    monkeypatch.setattr(build._tensorflow().sysconfig, "get_include", lambda: str(tmp_path))
    assert "without the C++ headers of XLA" in _failure(capsys)


def test_cache_folder_not_writable(cache, compiler, capsys):
    compiler(WORKING)
    cache.parent.mkdir()
    cache.write_text("a file where the folder should be")
    message = _failure(capsys)
    assert "cannot write to the cache folder" in message
    assert os.fspath(cache) in message


def test_no_home_folder(capsys, monkeypatch):
    def no_home():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(pathlib.Path, "home", no_home)
    monkeypatch.setenv("XDG_CACHE_HOME", "relative/is/ignored")
    assert build.main([]) == 1
    assert "set XDG_CACHE_HOME" in capsys.readouterr().err


def test_no_tensorflow(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    assert build.main([]) == 1
    assert "TensorFlow cannot be imported" in capsys.readouterr().err


def test_the_name_changes_with_the_sources(monkeypatch, tmp_path):
    before = build._target()
    for name in build._SOURCES + build._HEADERS:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes((build._NATIVE / name).read_bytes())
    monkeypatch.setattr(build, "_NATIVE", tmp_path)
    assert build._target() == before
    with (tmp_path / build._SOURCES[0]).open("a") as source:
        source.write("// changed\n")
    assert build._target() != before
