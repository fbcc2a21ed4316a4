# Everything runs in .venv, made here from nothing but Python and pip. torch comes from
# pip's usual index; to spare a GPU-less machine the CUDA libraries:
#   PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu make demo
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --constraint constraints.txt
export PIP_DISABLE_PIP_VERSION_CHECK := 1

# One thread in each test process: the processes fill the cores.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/pytest --quiet --numprocesses auto --maxprocesses 4

.DEFAULT_GOAL := help
.PHONY: help demo test test-slow mutants check clean

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: .venv/installed ## evolve a controller in the dream, then play the real game with it
	@$(BIN)/dreamgym demo

test: check ## check, then every quick test
	@$(PYTEST) -m "not slow"

test-slow: .venv/installed ## the tests that take minutes
	@$(PYTEST) -m slow

mutants: .venv/installed ## put faults into 200 lines, one at a time; the tests should notice
	@$(BIN)/python tests/mutants.py

check: .venv/installed ## lint, format and types
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy

clean: ## remove .venv, caches and builds; keep runs/ and data/
	@rm -rf .venv build dist *.egg-info .pytest_cache .ruff_cache .mypy_cache
	@find dreamgym training tests examples -name __pycache__ -prune -exec rm -rf {} + 2>/dev/null || true

.venv/installed: pyproject.toml constraints.txt
	@test -x $(BIN)/pip || { echo "Making .venv with $(PYTHON)"; $(PYTHON) -m venv .venv; }
	@echo "Installing PyTorch, the largest part"
	@$(PIP) torch
	@echo "Installing dreamgym and the rest"
	@$(PIP) --editable '.[dev]'
	@touch $@
