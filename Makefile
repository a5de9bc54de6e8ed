# Two commands on a fresh machine: `make demo` and `make test`. Both set up .venv first.
PYTHON ?= python3
VENV := .venv
NEWEST := .venv-newest
TOOLS := .venv-tools
BIN := $(VENV)/bin
# Processes that the tests run in, two more than two cores because some tests wait; pytest's own way
# (`make test JOBS=0`) shows output as it comes.
JOBS ?= 4
PYTEST = -m pytest -n $(JOBS) --dist worksteal
# One BLAS thread a process: ranks and workers are processes here.
export OMP_NUM_THREADS ?= 1
export OPENBLAS_NUM_THREADS ?= 1
# The tests start some hundred processes: each would compile fadae anew.
unexport PYTHONDONTWRITEBYTECODE

# The exact releases that fadae is tested with: zarr, numpy and scipy go on without Python 3.11.
CONSTRAINTS ?= $(shell $(PYTHON) -c 'import sys; \
	print("constraints-3.13.txt" if sys.version_info >= (3, 13) else "constraints.txt")')

# Where PyTorch comes from. PyPI's build for Linux brings 4 GB of CUDA; without an NVIDIA device the
# build for processors (0.2 GB) does the same. `make TORCH_INDEX=` takes PyPI's, whatever the machine;
# a mirror's address takes that.
ifeq ($(shell uname -s)$(wildcard /dev/nvidia* /dev/dxg),Linux)
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
endif

.PHONY: demo test test-slow test-newest fuzz mutants simulate soak sbom audit lint types layers docs k8s slurm bench bench-gpu model compare clean notebooks

# $(call install,VENV,CONSTRAINT OPTIONS)
define install
	$(PYTHON) -m venv $(1)
	if [ -n "$(TORCH_INDEX)" ]; then $(1)/bin/python -m pip install --quiet --no-deps --retries 1 \
		--timeout 20 --index-url "$(TORCH_INDEX)" $(2) torch || \
		echo "No PyTorch from $(TORCH_INDEX): taking the one from PyPI (on Linux 4 GB of CUDA)."; fi
	$(1)/bin/python -m pip install --quiet $(2) -e ".[dev]"
	# For the operator's schemas in tests/k8s (which skip without); installed, it would bring 29 packages.
	-$(1)/bin/python -m pip download --quiet --no-deps -d $(1)/schemas dask-kubernetes==2026.3.0
	touch $(1)/.installed
endef

$(VENV)/.installed: pyproject.toml constraints.txt constraints-3.13.txt
	$(call install,$(VENV),-c $(CONSTRAINTS))

demo: $(VENV)/.installed
	$(BIN)/fadae demo

test: lint types layers
	$(BIN)/python $(PYTEST) -m "not slow"

# Whole clusters, ranks and servers that are killed, every kernel of the BLAS: what takes longest.
test-slow: $(VENV)/.installed
	$(BIN)/python $(PYTEST) -m slow

# The newest releases of everything, within pyproject.toml's bounds.
test-newest:
	rm -rf $(NEWEST)
	$(call install,$(NEWEST),)
	$(NEWEST)/bin/python $(PYTEST)

# New, random examples for the property tests, and many more of them: mutated media files, HTTP
# answers, codes and documents among them. Its last line says how many ran.
fuzz: $(VENV)/.installed
	$(BIN)/python $(PYTEST) -m hypothesis --hypothesis-profile=fuzz

# One line of fadae wrong at a time: do the nearest tests notice? WORDS="store/ bags" for some.
mutants: $(VENV)/.installed
	$(BIN)/python -m tests.mutants $(WORDS)

# All commands at once on an S3 server behind faults, their processes killed; then a quiet run, whose
# bytes it must have: make soak [MINUTES=10] [SEED=0] [KEEP=FOLDER]. Linux only.
MINUTES ?= 10
soak: $(VENV)/.installed
	$(BIN)/python -m tests.soak --minutes $(MINUTES) --seed $(or $(SEED),0) $(if $(KEEP),--keep $(KEEP))

# What is installed, tools for development included, as a CycloneDX document: build/sbom.json.
sbom: $(VENV)/.installed $(TOOLS)/.installed
	mkdir -p build
	$(TOOLS)/bin/cyclonedx-py environment --pyproject pyproject.toml --mc-type library \
		--output-reproducible --output-file build/sbom.json $(BIN)/python

# Every pinned package against PyPI's database of known holes: fails for one that it does not know.
audit: $(TOOLS)/.installed
	$(TOOLS)/bin/pip-audit --strict --no-deps --disable-pip --progress-spinner off -r $(CONSTRAINTS) \
		|| { echo "audit: a package has a hole, or no database answers for it: see above" >&2; exit 1; }

# The tools of the two in an environment of their own: fadae needs none of what they bring.
$(TOOLS)/.installed: constraints.txt constraints-3.13.txt
	$(PYTHON) -m venv $(TOOLS)
	$(TOOLS)/bin/python -m pip install --quiet -c $(CONSTRAINTS) cyclonedx-bom pip-audit
	touch $@

# Drivers, repairs, prunes and readers on one simulated bucket, interleaved request by request, with
# kills and all that a bucket does: 10,000 times, FIRST=10000 for others; SEED=123 shows one.
FIRST ?= 0
simulate: $(VENV)/.installed
	$(BIN)/python -m tests.simulation $(if $(SEED),$(SEED),--first $(FIRST))

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.installed
	$(BIN)/mypy

layers: $(VENV)/.installed
	$(BIN)/lint-imports

docs: $(VENV)/.installed
	$(BIN)/python -m sphinx -W -b html docs docs/_build

# Runs the notebooks of the documentation over demo/workspace; `make demo` writes that.
notebooks: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet -c $(CONSTRAINTS) -e ".[notebooks]"
	$(BIN)/python docs/notebooks.py

# Manifests, whole jobs by their commands, and the image, built and run: the last needs root and
# Debian's buildah, crun and debootstrap, and some minutes; without, it is skipped.
k8s: $(VENV)/.installed
	$(BIN)/python -m pytest tests/k8s
	$(BIN)/python -m pytest tests/k8s/whole_job.py
	$(BIN)/python -m pytest -s tests/k8s/image.py

# A job on a SLURM of one node, which it starts and ends: root and Debian's slurm-wlm.
slurm: $(VENV)/.installed
	$(BIN)/python -m pytest tests/cluster/slurm.py

# Whole commands, the transform, the trainer and reconstruct: about ten minutes where nothing else
# runs. Figures as JSON in build/bench; `make bench BENCH="compare A.json B.json"` compares two runs,
# BENCH="run scale --recordings 100000" runs another part. Linux only.
bench: $(VENV)/.installed
	$(BIN)/python -m tests.benchmarks $(BENCH)

# On a machine with CUDA: transform, trainer, NCCL and codes on its GPUs.
bench-gpu: $(VENV)/.installed
	$(BIN)/python -m tests.benchmarks.bench_gpu

# The packaged entropy model and its card: make model MUSIC=FOLDER [JUDGE=FOLDER] [LICENCE=...]
model: $(VENV)/.installed
	$(BIN)/python -m fadae.making $(MUSIC) $(if $(JUDGE),--judge $(JUDGE)) --licence "$(LICENCE)"

# Byte codes, tables, the dense model and PCA trained on half of a folder's recordings and compared
# over the other half, with everyday codecs: make compare MUSIC=FOLDER [TO=docs/results].
# Run it again if anything stops it. `all` compares whole recordings of up to ten minutes.
COMPARED ?= build/compare
TO ?= $(COMPARED)/results
compare: $(VENV)/.installed
	$(BIN)/fadae run --folder $(MUSIC) -w $(COMPARED) --recipe music --run music
	$(BIN)/fadae train -w $(COMPARED) --recipe music --model tables --run tables
	$(BIN)/fadae train -w $(COMPARED) --model pca --run pca
	$(BIN)/fadae compare -w $(COMPARED) --seconds 600 --limit 1000 --name recordings --to $(TO)

clean:
	rm -rf $(VENV) $(NEWEST) $(TOOLS) .mypy_cache .ruff_cache .pytest_cache build *.egg-info
