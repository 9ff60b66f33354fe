"""Random calls of every op, in processes of their own: no abort, no hang, clear refusals."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from contracts.operators import OPERATORS, REPRESENTATIVES

import statespace
from fuzz.cases import raw_op_names
from statespace import config

DRIVER = Path(__file__).with_name("driver.py")
pytestmark = pytest.mark.skipif(
    not config.native_available(), reason="the compiled library is not available"
)
RAW_OPS = raw_op_names() if config.native_available() else []


def run(first, count, subjects, seconds, *options):
    """Runs the driver; on failure, the last call it announced is the one to blame."""
    command = [sys.executable, str(DRIVER), str(first), str(count), *subjects, *options]
    # The package under test, installed or not, and not what lies beside the driver.
    path = os.pathsep.join([str(Path(statespace.__file__).parents[1]), str(DRIVER.parents[1])])
    try:
        process = subprocess.run(
            command,
            env=os.environ | {"PYTHONPATH": path},
            capture_output=True,
            text=True,
            timeout=seconds,
        )
    except subprocess.TimeoutExpired as error:
        pytest.fail(f"a hang: {_tail(error.stdout.decode() if error.stdout else '', 2)}")
    lines = process.stdout.splitlines()
    for i, line in enumerate(lines):
        if line.startswith("WRONG"):
            pytest.fail("\n".join(lines[max(i - 1, 0) : i + 30]))
    if process.returncode != 0:
        pytest.fail(f"an abort: {_tail(process.stdout, 2)}\n{_tail(process.stderr, 30)}")
    finished = [line for line in lines if line.startswith("done")]
    assert len(finished) == len(subjects)
    assert all(int(line.split()[2]) > 0 for line in finished), finished


def _tail(text, lines):
    return "\n".join(text.splitlines()[-lines:])


SHORT = [op.name for op in REPRESENTATIVES] + RAW_OPS


@pytest.mark.parametrize("shard", range(4))
def test_a_few_calls(shard):
    run(0, 12, SHORT[shard::4], 600)


@pytest.mark.fuzz
@pytest.mark.parametrize("subject", [op.name for op in OPERATORS] + RAW_OPS)
def test_two_thousand_calls(subject):
    run(100, 2000, [subject], 3600)


@pytest.mark.fuzz
@pytest.mark.parametrize("operator", REPRESENTATIVES, ids=lambda op: op.name)
def test_reference(operator):
    run(100, 500, [operator.name], 3600, "--reference")
