PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=
# Modules are compiled when they are first imported: to compile all takes longer than all the rest.
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile \
	--constraint constraints.txt --editable
# The longest files first, and many short ones last, so that all workers end together.
TESTS ?= tests/e2e tests/contract tests/integration tests/unit

.DEFAULT_GOAL := help
.PHONY: help install dev demo check mypy ruff imports doctests test kafka audit clean

help: ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) '.[report]'
	@touch $@

# In one go: to install twice is to build and to look everything up twice.
$(VENV)/.dev: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) '.[dev,report,benchmarks]'
	@touch $(VENV)/.installed $@

install: $(VENV)/.installed ## install Weir into .venv

dev: $(VENV)/.dev ## install what the checks and tests need besides

demo: install ## generator, worker and live view on the embedded bus; ARGS= passes flags on
	@$(BIN)/weir demo $(ARGS)

check: mypy ruff imports doctests ## ruff, mypy, import contracts, doctests; changes nothing

mypy: dev
	$(BIN)/mypy

ruff: dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

imports: dev
	$(BIN)/lint-imports

doctests: dev
	$(BIN)/python -m pytest --quiet --doctest-modules stream producers

kafka: .cache/kafka/.complete ## fetch Apache Kafka's jars (Java 17 and Maven) for the integration tests

# Fetched beside its place and renamed: what is there is whole, and of one version.
.cache/kafka/.complete: tests/servers/pom.xml
	rm -rf .cache/kafka.partial
	mvn --quiet --batch-mode --file tests/servers/pom.xml dependency:copy-dependencies -DoutputDirectory=$(CURDIR)/.cache/kafka.partial
	rm -rf .cache/kafka
	mv .cache/kafka.partial .cache/kafka
	touch $@

# In an environment of its own: what the tool itself needs is no part of Weir.
.cache/audit/bin/pip-audit:
	$(PYTHON) -m venv .cache/audit
	.cache/audit/bin/python -m pip install --quiet --disable-pip-version-check 'pip-audit>=2.10'

audit: .cache/audit/bin/pip-audit ## known vulnerabilities of the pinned dependencies; asks the network
	.cache/audit/bin/pip-audit --strict --disable-pip --no-deps --requirement constraints.txt

test: dev ## all tests, on all cores; those that need a server skip where there is none
	$(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder $(TESTS) $(ARGS)

clean: ## remove what the commands above made
	rm -rf $(VENV) .cache .weir build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
