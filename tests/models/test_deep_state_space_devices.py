"""DeepStateSpace trained on several devices, and by several processes, as by one."""

import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

WORKER = Path(__file__).with_name("deep_state_space_worker.py")


def started(file, *strategy):
    command = [sys.executable, str(WORKER), str(file), *map(str, strategy)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def free_ports(count):
    with_ports = [socket.socket() for _ in range(count)]
    for one in with_ports:
        one.bind(("localhost", 0))
    ports = [one.getsockname()[1] for one in with_ports]
    for one in with_ports:
        one.close()
    return ports


def finished(process):
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output[-3000:]


def weights(file):
    with np.load(file) as found:
        return [found[name] for name in found.files]


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The weights that one process ends with."""
    file = tmp_path_factory.mktemp("alone") / "weights.npz"
    finished(started(file, "alone"))
    return weights(file)


def test_mirrored(alone, tmp_path):
    file = tmp_path / "weights.npz"
    finished(started(file, "mirrored"))
    for got, expected in zip(weights(file), alone, strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-12)


def test_two_workers(alone, tmp_path):
    ports = free_ports(2)
    files = [tmp_path / f"{index}.npz" for index in range(2)]
    workers = [started(file, "workers", i, *ports) for i, file in enumerate(files)]
    try:
        for worker in workers:
            finished(worker)
    finally:
        for worker in workers:
            worker.kill()
    for file in files:
        for got, expected in zip(weights(file), alone, strict=True):
            np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-12)
