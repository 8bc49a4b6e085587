# Each target makes what it needs; `make help` lists them.

PYTHON ?= python3
PORT ?= 8000
# A path, a hub name or a name of `midfill models`; empty: the default model.
MODEL ?=
# More options for `midfill serve` or pytest.
ARGS ?=

BIN := .venv/bin
PIP := $(BIN)/python -m pip install --disable-pip-version-check

.DEFAULT_GOAL := help
.PHONY: help install check test test-all test-portable bench docs serve clean

help:  ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 22

# The two stamps: what is installed is not installed again, and needs no network. What builds the
# extension lies in .venv too: in a temporary place of pip's, every change would compile everything.
.venv/.installed: pyproject.toml CMakeLists.txt $(wildcard src/midfill/*/native/*)
	@test -x $(BIN)/pip || $(PYTHON) -m venv .venv
	@echo "installing midfill and what it needs into .venv (at first torch, which is large: a minute or more) ..."
	@$(PIP) --quiet scikit-build-core nanobind
	@$(PIP) --quiet --no-build-isolation --editable .
	@$(BIN)/python -c 'from midfill.kernels.cpu import level, why_not; print("kernels:", level() or why_not)'
	touch $@

.venv/.installed-dev: .venv/.installed
	@echo "installing the tests' and the developers' tools ..."
	@$(PIP) --quiet --no-build-isolation --editable '.[test,dev]'
	touch $@

install: .venv/.installed-dev  ## make .venv with the package, the tests' and the developers' tools, or compile what changed

serve: .venv/.installed  ## serve MODEL (default: a small chat model) on PORT
	@$(BIN)/midfill serve $(MODEL) --port $(PORT) $(ARGS)

check: .venv/.installed-dev  ## style, types and layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports

# One thread: the same sums in the same order.
test test-all test-portable: export OMP_NUM_THREADS = 1

test: check  ## check, then the tests: the fast ones, two files at a time
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile $(ARGS)

test-all: check  ## check, then all tests, the slow ones too
	$(BIN)/python -m pytest -m 'not gpu' $(ARGS)

# What answers without the compiled kernels, where they would otherwise compute.
PORTABLE := tests/oracle tests/e2e tests/browser tests/property \
	$(addprefix tests/unit/test_,$(addsuffix .py,checkpoint describe foreign_settings generation \
	guesses lite_gguf load prefix scheduler source torch_runner))

test-portable: export MIDFILL_CPU_LEVEL = none
test-portable: .venv/.installed-dev  ## the tests of engine, server and models, on PyTorch alone
	$(BIN)/python -m pytest $(PORTABLE) $(ARGS)

bench: .venv/.installed-dev  ## measure speed against llama.cpp; the other scripts of bench/ say how
	$(BIN)/python bench/engine_speed.py $(ARGS)

docs: .venv/.installed-dev  ## write docs/cli.md and the list of flags from the program itself
	$(BIN)/python scripts/cli_reference.py

clean:  ## remove .venv and everything built
	rm -rf .venv build dist .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
