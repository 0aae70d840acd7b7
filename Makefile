# The commands one has to know. Each sets up what it needs on a machine that has Python 3.11+ and make.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready

.DEFAULT_GOAL := help

help: ## Show what can be made
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  \033[1m%-10s\033[0m %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Arbora needs Python 3.11 or newer: make PYTHON=python3.12"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "setting up $(VENV) (once)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -r requirements-dev.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt --no-build-isolation -e '.[hub,agent]'
	@touch $(READY)

setup: $(READY) ## Make the virtual environment (every other target does it by itself)

demo: $(READY) ## Tell the whole story live; KUBECONFIGS="a b" does it on real clusters
	@$(BIN)/python -m bench.demo $(if $(KUBECONFIGS),--kubeconfigs "$(KUBECONFIGS)")

demo-tree: $(READY) ## Tell the story of a tree: four hubs, twelve simulated members, a hub killed and back
	@$(BIN)/python -m bench.demo_tree

test: $(READY) ## Run every test that this machine can run
	@$(BIN)/python -m pytest $(ARGS)

lint: $(READY) ## Check style, types, layers, the wire contract and that generated code is current
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/python -m proto.generate --check

proto: $(READY) ## Generate pkg/arbora/v1 from proto/
	@$(BIN)/python -m proto.generate

envtest: $(READY) ## Build the Kubernetes control plane for the tests, once (needs Go)
	@$(BIN)/python -m tests.envtest.build

envtest-kueue: $(READY) ## The same and Kueue, so that its tests run, too (4 more minutes)
	@$(BIN)/python -m tests.envtest.build --kueue

bench: $(READY) ## Measure the claims of docs/benchmarks.md; ONLY=foundation for one topic
	@$(BIN)/python -m bench $(if $(ONLY),--only $(ONLY))

clean: ## Remove what make has made here
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache dist

.PHONY: help setup demo demo-tree test lint proto envtest envtest-kueue bench clean
