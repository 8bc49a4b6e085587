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
.PHONY: help install check test test-all bench docs serve clean

help:  ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 18

# The two stamps: what is installed is not installed again, and needs no network.
.venv/.installed: pyproject.toml
	@test -x $(BIN)/pip || $(PYTHON) -m venv .venv
	@echo "installing midfill and what it needs into .venv (torch is large; a minute or more) ..."
	@$(PIP) --quiet --editable .
	touch $@

.venv/.installed-dev: .venv/.installed
	@echo "installing the tests' and the developers' tools ..."
	@$(PIP) --quiet --editable '.[test,dev]'
	touch $@

install: .venv/.installed-dev  ## make .venv with the package, the tests' and the developers' tools

serve: .venv/.installed  ## serve MODEL (default: a small chat model) on PORT
	@$(BIN)/midfill serve $(MODEL) --port $(PORT) $(ARGS)

check: .venv/.installed-dev  ## style, types and layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports

test test-all: export OMP_NUM_THREADS = 1  # one thread: the same sums in the same order

test: check  ## check, then the tests: the fast ones
	$(BIN)/python -m pytest $(ARGS)

test-all: check  ## check, then all tests, the slow ones too
	$(BIN)/python -m pytest -m 'not gpu' $(ARGS)

bench: .venv/.installed-dev  ## run every script under bench/, one JSON line per case
	@for script in bench/*.py; do $(BIN)/python $$script || exit 1; done

docs: .venv/.installed-dev  ## write docs/cli.md and the list of flags from the program itself
	$(BIN)/python scripts/cli_reference.py

clean:  ## remove .venv and everything built
	rm -rf .venv build dist .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
