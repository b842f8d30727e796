# Every target sets itself up: it needs Python 3.10 or newer and nothing else (`make stack` needs Go too).
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
.DELETE_ON_ERROR:
.PHONY: help demo test stack lint check bench docs clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(VENV)/.demo ## A quality regression and its alarm on this machine, in under a minute
	$(BIN)/backspan demo $(ARGS)

test: $(VENV)/.test ## The tests that need nothing but Python
	$(BIN)/python -m pytest $(ARGS)

stack: $(VENV)/.test ## Build Collector, Tempo, Prometheus and Alertmanager from Go modules, outside the tree
	$(BIN)/backspan stack build $(ARGS)

lint: $(VENV)/.dev ## Style, layers and types
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/pyright --pythonpath $(BIN)/python

check: $(VENV)/.dev ## Generated files are what their sources say; configuration fits its schema
	$(BIN)/backspan rules check
	$(BIN)/backspan dashboards check
	$(BIN)/python docs/generate.py --check
	$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec docker-compose.yml
	$(BIN)/python benchmarks/run.py --check

bench: $(VENV)/.test ## Measure what we promise; writes docs/benchmarks.md, fails on a miss
	$(BIN)/python benchmarks/run.py $(ARGS)

docs: $(VENV)/.test ## Write the generated pages, rules and dashboards
	$(BIN)/python docs/generate.py
	$(BIN)/backspan rules generate
	$(BIN)/backspan dashboards generate

clean: ## Remove the environment and what the tools have left
	rm -rf $(VENV) dist .pytest_cache .ruff_cache .import_linter_cache

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip

$(VENV)/.%: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable '.[all]' --group $*
	touch $@
