# howdah: `make help` lists the targets.
SHELL := /bin/bash
.DEFAULT_GOAL := help

# The first Python ≥ 3.11 with venv; the system's own first, because one under a private home cannot be shared.
PYTHON ?= $(shell for p in /usr/bin/python3 python3 python3.13 python3.12 python3.11; do \
	"$$p" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; done)
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: help
help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

$(VENV)/.local: requirements/local.txt pyproject.toml
	@test -n "$(PYTHON)" || { echo "howdah needs python3 >= 3.11 with venv (Debian: apt-get install python3 python3-venv)"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing pinned dependencies (once) ..."
	@$(BIN)/pip install --quiet --quiet --disable-pip-version-check --require-hashes -r requirements/local.txt
	@echo "$(CURDIR)/src" > $$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/howdah-src.pth
	@printf '#!%s\nfrom howdah.cli.main import run\nrun()\n' "$(abspath $(BIN)/python)" > $(BIN)/howdah
	@chmod +x $(BIN)/howdah && ln -sf howdah $(BIN)/kubectl-pg
	@touch $@

$(VENV)/.dev: requirements/dev.txt $(VENV)/.local
	@echo "installing pinned development tools (once) ..."
	@$(BIN)/pip install --quiet --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	@touch $@

.PHONY: setup
setup: $(VENV)/.dev ## install everything that development needs into .venv

.PHONY: requirements
requirements: $(VENV)/.dev ## pin the dependencies of pyproject.toml again, with hashes
	@for set in operator: pooler:pooler instance:instance backup:backup local:local dev:dev; do \
	  uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --quiet pyproject.toml \
	    $$(e=$${set#*:}; test -z "$$e" || echo --extra $$e) -o requirements/$${set%%:*}.txt; done

# --- using it ---------------------------------------------------------------------------------------------------

# With a name of its own: `make demo-down` removes all data, and the clusters of `howdah local` may be somebody's own.
.PHONY: demo
demo: $(VENV)/.local ## a highly available cluster on this machine, from examples/minimal.yaml
	@$(BIN)/howdah local up --name demo examples/minimal.yaml

.PHONY: demo-down
demo-down: $(VENV)/.local ## remove all that the demo made
	@$(BIN)/howdah local down --name demo --remove

# --- working on it ----------------------------------------------------------------------------------------------

PYTEST ?= $(BIN)/python -m pytest
TESTS ?= tests
E2E ?= tests/e2e
# For two cores. The end-to-end tests mostly wait, and measure times: two processes, a file at a time, beside all others and before them.
JOBS ?= 3
FIRST = $(PYTEST) -q -n $(JOBS) -m "not e2e" $(TESTS)
END_TO_END = $(PYTEST) -q -n 2 --dist loadfile --no-loadscope-reorder -p no:cacheprovider -m e2e $(E2E)

.PHONY: test
test: $(VENV)/.dev ## all tests (TESTS=path for some)
	@$(if $(filter tests,$(TESTS)),$(BIN)/python tests/both.py build/e2e.log $(FIRST) -- $(END_TO_END),$(FIRST))

.PHONY: format lint types imports
format: $(VENV)/.dev ## format the code
	@$(BIN)/ruff format --quiet . && $(BIN)/ruff check --quiet --fix .
lint: $(VENV)/.dev
	@$(BIN)/ruff format --check --quiet . && $(BIN)/ruff check --quiet .
types: $(VENV)/.dev
	@$(BIN)/mypy
imports: $(VENV)/.dev
	@$(BIN)/lint-imports

.PHONY: check
check: lint types imports docs-check test ## what CI runs

.PHONY: golden
golden: $(VENV)/.dev ## write the golden files anew; read the diff
	@PYTHONPATH=src:tests $(BIN)/python -m golden.rewrite

.PHONY: docs docs-check
docs: $(VENV)/.dev ## write the generated reference pages anew
	@$(BIN)/python docs/generate.py
docs-check: $(VENV)/.dev
	@$(BIN)/python docs/generate.py --check
	@HELM= $(BIN)/python charts/generate.py --check

.PHONY: chart
chart: $(VENV)/.dev kube-build-tools ## write the generated parts of the chart and the kustomize base anew
	@HELM=$$($(KUBE_SCRIPTS)/tool.sh helm) $(BIN)/python charts/generate.py

.PHONY: compat
compat: $(VENV)/.dev ## compare with the reference's recorded cases (CASES=DIR for others of that format)
	@PYTHONPATH=src:tests $(BIN)/python -m compat $(CASES)

.PHONY: bench
bench: $(VENV)/.dev ## the figures of docs/performance.md (minutes)
	@$(BIN)/python -m bench

.PHONY: bench-kube
bench-kube: $(VENV)/.dev kube-build kube-build-reference ## howdah beside the reference on one control plane (root; an hour): docs/performance-kube.md
	@PYTHONPATH=src $(BIN)/python -m bench.side --json build/bench-kube.json

.PHONY: chaos
chaos: $(VENV)/.dev ## 100 rounds of random faults under a writing client (SEED=n to repeat)
	@PYTHONPATH=src:tests $(BIN)/python -m e2e.chaos --rounds 100 $(if $(SEED),--seed $(SEED))

.PHONY: defects
defects: $(VENV)/.dev ## every seeded defect must be caught by its test
	@PYTHONPATH=src:tests $(BIN)/python -m defects

include images/images.mk
include e2e/kubernetes/kube.mk
