PYTHON ?= python3
BIN := .venv/bin

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 12

.venv/installed: requirements.txt pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $@

setup: .venv/installed ## make .venv and install the project into it

demo: setup ## learn, measure and draw people: about 10 minutes on 2 cores, results in demo_out/
	$(BIN)/inspose demo --out demo_out

test: setup ## all tests that need neither torch nor a GPU
	$(BIN)/python -m pytest -m "not gpu and not torch" -rs

check: setup ## lint, format and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python

.PHONY: help setup demo test check
