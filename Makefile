# Two commands on a fresh machine: `make demo` and `make test`. Both set up .venv first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# One BLAS thread a process: ranks and workers are processes here.
export OMP_NUM_THREADS ?= 1
export OPENBLAS_NUM_THREADS ?= 1

.PHONY: demo test lint types layers k8s bench model clean

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[dev]"
	# For the operator's schemas in tests/k8s (which skip without); installed, it would bring 29 packages.
	-$(BIN)/python -m pip download --quiet --no-deps -d $(VENV)/schemas dask-kubernetes==2026.3.0
	touch $@

demo: $(VENV)/.installed
	$(BIN)/fadae demo

test: lint types layers
	$(BIN)/python -m pytest

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.installed
	$(BIN)/mypy

layers: $(VENV)/.installed
	$(BIN)/lint-imports

k8s: $(VENV)/.installed
	$(BIN)/python -m pytest tests/k8s
	$(BIN)/python -m pytest tests/k8s/whole_job.py

bench: $(VENV)/.installed
	$(BIN)/python -m tests.benchmarks

# The packaged entropy model and its card: make model MUSIC=FOLDER [JUDGE=FOLDER] [LICENCE=...]
model: $(VENV)/.installed
	$(BIN)/python -m fadae.coding.making $(MUSIC) $(if $(JUDGE),--judge $(JUDGE)) --licence "$(LICENCE)"

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache build *.egg-info
