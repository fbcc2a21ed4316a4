# The targets run in .venv (test-clients in .venv-clients). The first call makes it, and needs only
# Python and pip for that. On Linux, pip's usual PyTorch brings the CUDA libraries. A machine
# without a GPU does not need them. This leaves them out:
#   PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu make demo
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --constraint constraints.txt
CLIENTS_PIP := .venv-clients/bin/python -m pip
CLIENTS_PINS := --constraint tests/clients/constraints.txt
export PIP_DISABLE_PIP_VERSION_CHECK := 1

# One thread in each test process: the processes fill the cores.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/pytest --quiet --numprocesses auto --maxprocesses 4

.DEFAULT_GOAL := help
.PHONY: help demo pages test test-small test-slow test-clients test-web mutants check docs clean

# These settings limit PyTorch, oneDNN, MKL and numba, and so dreamgym, to AVX2 instructions, as on
# a processor that has no newer ones.
SMALL := ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 MKL_ENABLE_INSTRUCTIONS=AVX2 \
         NUMBA_CPU_NAME=haswell
# `make test-small` runs all quick tests. TESTS= may name some files. TESTS=quick chooses the tests
# that depend on the processor most: of V, M, the products, the kernels, the shipped dreams and the
# benchmark.
TESTS ?= tests
quick := tests/models tests/engines tests/test_golden.py \
         tests/training/test_demo.py

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: .venv/installed ## let a controller learn in the dream, then play the real game with it
	@$(BIN)/dreamgym demo

pages: .venv/installed ## write the playable dreams of both games, which need no server, to build/
	@mkdir -p build
	@$(BIN)/dreamgym export-web doom --out build/doom.html
	@$(BIN)/dreamgym export-web car_racing --out build/car_racing.html

test: check ## run check, then all quick tests
	@$(PYTEST) -m "not slow and not clients"

test-small: .venv/installed ## run the quick tests with AVX2 alone; TESTS=quick runs some
	@$(SMALL) $(PYTEST) -m "not slow and not clients" $(if $(filter quick,$(TESTS)),$(quick),$(TESTS))

test-slow: .venv/installed ## run the tests that take minutes
	@$(PYTEST) -m slow

test-clients: .venv-clients/installed ## run other libraries; GYMNASIUM= and CLEANRL= name clones
	@OMP_NUM_THREADS=1 STABLE_BASELINES3=$(CURDIR)/.venv-clients/stable-baselines3 \
	    .venv-clients/bin/python -m pytest --quiet -m clients tests/clients

test-web: .venv/installed ## run the page of the playable dream in Chromium, which must be installed
	@$(PIP) --editable '.[web]'
	@$(PYTEST) tests/web

mutants: .venv/installed ## put a fault into each of 200 lines; show those that no test notices
	@$(BIN)/python tests/mutants.py

check: .venv/installed ## check lint, format and types
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy

docs: .venv/docs ## build the pages and the API reference in build/docs; warnings are errors
	@$(BIN)/python -m sphinx --quiet --fail-on-warning --keep-going docs build/docs
	@echo "The documentation is in build/docs/index.html"

clean: ## remove .venv, caches and builds; keep runs/ and data/
	@rm -rf .venv .venv-clients build dist *.egg-info .pytest_cache .ruff_cache .mypy_cache
	@find dreamgym training tests examples -name __pycache__ -prune -exec rm -rf {} + 2>/dev/null || true

.venv/installed: pyproject.toml constraints.txt
	@test -x $(BIN)/pip || { echo "Making .venv with $(PYTHON)"; $(PYTHON) -m venv .venv; }
	@echo "Installing PyTorch, the largest part"
	@$(PIP) torch
	@echo "Installing dreamgym and the rest"
	@$(PIP) --editable '.[dev]'
	@touch $@

.venv/docs: .venv/installed
	@$(PIP) --editable '.[docs]'
	@touch $@

# The other libraries need versions that constraints.txt does not allow. So they have constraints,
# and a virtual environment, of their own. Only the source archive of Stable-Baselines3 contains its
# tests.
.venv-clients/installed: pyproject.toml tests/clients/constraints.txt
	@echo "Making .venv-clients with $(PYTHON)"
	@test -x .venv-clients/bin/pip || $(PYTHON) -m venv .venv-clients
	@$(CLIENTS_PIP) install --quiet $(CLIENTS_PINS) torch
	@$(CLIENTS_PIP) install --quiet $(CLIENTS_PINS) --editable '.[clients]'
	@$(CLIENTS_PIP) download --quiet $(CLIENTS_PINS) --no-deps --no-binary stable-baselines3 \
	    --dest .venv-clients/archive stable-baselines3
	@mkdir -p .venv-clients/stable-baselines3
	@tar -xzf .venv-clients/archive/stable_baselines3-*.tar.gz --strip-components 1 \
	    -C .venv-clients/stable-baselines3
	@touch $@
