PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
REQUIREMENTS := requirements.txt
CONSTRAINTS := constraints.txt
TORCH ?= torch==2.13.0
WITH_TORCH := onnx onnxscript onnxruntime huggingface_hub
EXTRA :=
PYTEST := $(BIN)/python -m pytest --numprocesses auto --maxprocesses 8 --dist loadfile --no-loadscope-reorder

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 12

$(VENV)/installed: $(REQUIREMENTS) $(CONSTRAINTS) pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r $(REQUIREMENTS) $(EXTRA) $(CONSTRAINTS:%=--constraint %)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $@

setup: $(VENV)/installed ## make .venv and install the project into it

demo: setup ## learn, measure and draw people: about 10 minutes on 2 cores, results in demo_out/
	@# large pages for what a step computes; without glibc it means nothing (experiments/benchmarks/train_step)
	GLIBC_TUNABLES=glibc.malloc.hugetlb=1 $(BIN)/inspose demo --out demo_out

test: setup ## the tests that need neither torch nor a GPU, but for the slow ones: some minutes on 2 cores
	$(PYTEST) -m "not slow and not gpu and not torch" -rs

test-slow: setup ## the tests that stop, kill and resume runs, compare devices and processes, learn from real images
	$(PYTEST) -m "slow and not gpu and not torch" -rs

test-torch: ## the tests that need torch or ONNX, in .venv-torch with $(TORCH), Python 3.11: up to 10 minutes on 2 cores
	@$(PYTHON) -c "import sys; sys.exit(sys.version_info[:2] != (3, 11) and 'test-torch needs PYTHON=python3.11')"
	@$(MAKE) --no-print-directory run-torch VENV=.venv-torch EXTRA="$(TORCH) $(WITH_TORCH)"

run-torch: setup
	$(PYTEST) -m "torch and not gpu" -rs

check: setup ## lint, format and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python

.PHONY: help setup demo test test-slow test-torch run-torch check
