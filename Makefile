# Every target sets itself up: it needs Python 3.10 or newer and nothing else (`make stack` needs Go too).
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
.DELETE_ON_ERROR:
.PHONY: help demo test stack lint check grafana-check bench docs revision clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

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
	$(BIN)/python -m backspan.dialects --check
	$(BIN)/python docs/generate.py --check
	$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec docker-compose.yml docker-compose.postgres.yml
	$(BIN)/python benchmarks/run.py --check
	$(BIN)/python benchmarks/spc/compare.py --check
	$(BIN)/python benchmarks/overhead/peers.py --check
	$(BIN)/python benchmarks/capacity/run.py --check

grafana-check: $(VENV)/.test ## Open every dashboard in the Grafana at GRAFANA_URL and take its picture
	$(BIN)/python -m tests.support.grafana.check

bench: $(VENV)/.test ## Measure what we promise; writes docs/benchmarks.md, fails on a miss
	$(BIN)/python benchmarks/run.py $(ARGS)

docs: $(VENV)/.test ## Write the generated pages, rules, dashboards and dialects
	$(BIN)/python docs/generate.py
	$(BIN)/backspan rules generate
	$(BIN)/backspan dashboards generate
	$(BIN)/python -m backspan.dialects

revision: $(VENV)/.test ## Write the revision of the tables that is missing: make revision NAME="what it is for"
	$(BIN)/python -m tests.support.revise "$(NAME)"

clean: ## Remove the environment and what the tools have left
	rm -rf $(VENV) dist .pytest_cache .ruff_cache .import_linter_cache

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip

$(VENV)/.%: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable '.[all]' --group $*
	touch $@
