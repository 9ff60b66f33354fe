# Each target is one command that makes the environment it needs. Bare Debian needs python3 (3.11 or
# newer), python3-venv, g++ and make; everything else comes with pip.

VENV := .venv
BIN := $(VENV)/bin
RIVALS := .venv-rivals
NATIVE_BUILD ?= build/native-tests
PYTEST_ARGS ?= -n auto --maxprocesses 4

# The package is installed, not linked to: what runs is what a user gets, its compiled library included.
# The tools are called as programs, and Python with -P, so that the checkout's statespace/, which
# has no library in it, does not come before the installed one.
SOURCES := pyproject.toml CMakeLists.txt README.md $(shell find statespace -type f \
  ! -name '*.pyc' ! -name '*.so')

# The caller's Python may be any; the environment wants the first of these that will do.
FIND_PYTHON = for python in $(PYTHON) python3.11 python3.12 python3.13 python3; do \
  $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && break; \
  python=; done; \
  test -n "$$python" || { echo "No Python 3.11 or newer found; name one: make PYTHON=..." >&2; exit 1; }

.PHONY: demo test test-native bench docs lint wheel clean
.NOTPARALLEL:

demo: $(VENV)/with-forecast
	$(BIN)/statespace demo

test: $(VENV)/with-dev
	$(BIN)/pytest $(PYTEST_ARGS)

# The C++ tests of the numerics, under the address and undefined-behaviour sanitizers.
test-native: $(VENV)/with-dev
	$(BIN)/cmake -S . -B $(NATIVE_BUILD) -G Ninja -DCMAKE_MAKE_PROGRAM=$(abspath $(BIN)/ninja) \
	  -DSTATESPACE_TESTS=ON -DSTATESPACE_SANITIZE=ON
	$(BIN)/cmake --build $(NATIVE_BUILD)
	$(BIN)/ctest --test-dir $(NATIVE_BUILD) --output-on-failure

bench: $(VENV)/with-bench $(RIVALS)/installed
	STATESPACE_RIVALS_PYTHON=$(abspath $(RIVALS)/bin/python) $(BIN)/python benchmarks/filter.py

docs: $(VENV)/with-docs
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
	rm -rf $(VENV) $(RIVALS) build dist docs/_build docs/gallery docs/generated

$(VENV)/created:
	@$(FIND_PYTHON); $$python -m venv $(VENV) || \
	  { echo "python3-venv is missing? (Debian: apt-get install python3-venv)" >&2; exit 1; }
	@touch $@

# Installs the package with one of its extras, and builds the bridge to XLA, which is optional. Every
# other extra includes [forecast].
$(VENV)/with-%: $(SOURCES) | $(VENV)/created
	$(BIN)/pip install --quiet '.[$*]'
	@$(BIN)/python -P -m statespace.build || \
	  echo "Going on without the XLA bridge: jit_compile=True will use the reference implementations."
	@touch $(VENV)/with-forecast $@

# Other libraries that the benchmark compares with and that cannot share an environment with ours.
$(RIVALS)/installed: Makefile
	@$(FIND_PYTHON); $$python -m venv $(RIVALS)
	$(RIVALS)/bin/pip install --quiet dynamax
	@touch $@
