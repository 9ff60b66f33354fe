"""What of a test's cases runs with ``make test-slow`` alone."""

import pytest


def some_slow(cases, slow):
    """The cases of a test, of which those in ``slow`` are marked so."""
    assert set(slow) <= set(cases)
    return [
        pytest.param(case, marks=[pytest.mark.slow] * (case in slow), id=case) for case in cases
    ]


# For the fixture `native`: the reference takes long over what is compared with it elsewhere.
slow_reference = pytest.mark.parametrize(
    "native",
    ["native", pytest.param("reference", marks=pytest.mark.slow)],
    indirect=True,
)
