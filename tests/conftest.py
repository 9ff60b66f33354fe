"""What all tests share: a quiet TensorFlow, the switch to the reference, Hypothesis."""

import os

# Before TensorFlow is imported. 3: its C++ side logs fatal errors only; all others also come as
# Python exceptions, and a machine without a GPU logs one error for that alone.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# Before NumPy is. Its BLAS waits for its threads by turning, so that workers of pytest-xdist, each
# with as many threads as there are cores, take up to a hundred times as long for a product.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import hypothesis
import pytest

from statespace import config

hypothesis.settings.register_profile("default", deadline=None)
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "default")


def pytest_report_header():
    """Says which package, library and TensorFlow are being tested."""
    return config.describe().splitlines()


def pytest_sessionstart():
    """Stops at once where the compiled library is demanded and missing."""
    if os.environ.get("STATESPACE_REQUIRE_NATIVE") == "1" and not config.native_available():
        pytest.exit(f"The compiled library is required.\n{config.describe()}", returncode=1)


@pytest.fixture(autouse=True)
def _device():
    """Places the ops of every test on the device that STATESPACE_TEST_DEVICE names, if any."""
    device = os.environ.get("STATESPACE_TEST_DEVICE")
    if device is None:
        yield
        return
    import tensorflow as tf

    with tf.device(device):
        yield


@pytest.fixture(params=["native", "reference"])
def native(request):
    """Runs the test twice: with the compiled operations (True) and the reference ones (False)."""
    compiled = request.param == "native"
    if compiled and not config.native_available():
        pytest.skip("the compiled library is not available")
    config.use_native(compiled)
    yield compiled
    config.use_native(True)
