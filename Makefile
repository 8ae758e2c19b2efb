# Everything a person or a build machine does here. `make help` lists it.
SHELL := /bin/sh
BIN := .venv/bin
PY_DIRS := services clients tests scripts bench examples
RUNTIME ?= auto
PYTEST_ARGS ?=
CLIENTS ?=

.DEFAULT_GOAL := help
.PHONY: help setup lock docker busybox registry client-languages clients protos protos-check settings metrics compatibility security fmt lint types imports test test-unit \
	test-pg test-ec2 test-docker sim acceptance demo bench check up status down dist clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:[^#]*## /\t/' | expand -t 16

.venv/.ready: requirements.lock pyproject.toml scripts/setup
	@scripts/setup

setup: .venv/.ready ## make .venv from requirements.lock (gets uv if it is not there)

lock: .venv/.ready ## resolve pyproject.toml into requirements.lock
	@scripts/setup --uv pip compile -q --universal --generate-hashes --no-annotate --no-header \
		--no-emit-index-url --extra server --extra otel --group dev pyproject.toml -o requirements.lock

docker: ## make sure that a Docker engine answers (exit code 3: none can be had)
	@scripts/ensure-docker

busybox: ## make sure that the image busybox:latest is there
	@scripts/ensure-busybox

registry: ## make sure that tests have an image registry
	@scripts/ensure-registry

client-languages: ## make sure that tests can make clients in other languages
	@scripts/ensure-clients

protos: .venv/.ready ## generate services/longshore/v1 from protos/
	@$(BIN)/python scripts/protos generate

protos-check: .venv/.ready ## lint the protos; fail if the generated code is not current
	@$(BIN)/python scripts/protos lint
	@$(BIN)/python scripts/protos check

settings: .venv/.ready ## write docs/settings.md anew, from the code that reads settings
	@$(BIN)/python scripts/settings > docs/settings.md.new
	@mv docs/settings.md.new docs/settings.md

metrics: .venv/.ready ## write docs/metrics.md anew, from the code that has them
	@$(BIN)/python scripts/metrics > docs/metrics.md.new
	@mv docs/metrics.md.new docs/metrics.md

compatibility: .venv/.ready ## write docs/compatibility.md anew, from the protos and AWS's service model
	@$(BIN)/python scripts/compatibility > docs/compatibility.md.new
	@mv docs/compatibility.md.new docs/compatibility.md

security: .venv/.ready ## write the table of docs/security.md anew, from the protos
	@$(BIN)/python scripts/security > docs/security.md.new
	@mv docs/security.md.new docs/security.md

fmt: .venv/.ready ## format, and mend what ruff can mend
	@$(BIN)/ruff format -q .
	@$(BIN)/ruff check -q --fix .

lint: .venv/.ready ## ruff: format and rules
	@$(BIN)/ruff format -q --check .
	@$(BIN)/ruff check -q .

types: .venv/.ready ## mypy, strict
	@$(BIN)/mypy

imports: .venv/.ready ## who may import what
	@$(BIN)/lint-imports --no-logo

test: .venv/.ready ## get everything that tests need, then run all tests
	@scripts/test $(PYTEST_ARGS)

test-unit: .venv/.ready ## tests without database, Docker or processes
	@$(BIN)/pytest tests/unit tests/protos $(PYTEST_ARGS)

test-pg: .venv/.ready ## tests on a real PostgreSQL
	@$(BIN)/pytest tests/postgres $(PYTEST_ARGS)

test-ec2: .venv/.ready ## tests of the EC2 provider on moto's server, with faults between
	@$(BIN)/pytest tests/ec2 $(PYTEST_ARGS)

test-docker: .venv/.ready ## tests of the agent on a real Docker engine
	@scripts/test tests/docker $(PYTEST_ARGS)

sim: .venv/.ready ## production loops in virtual time; SEED=n replays one, SEEDS=n tries so many new ones
	@LONGSHORE_TEST_SEED=$(SEED) LONGSHORE_TEST_SEEDS=$(SEEDS) $(BIN)/pytest -n auto tests/simulation $(PYTEST_ARGS)

acceptance: .venv/.ready ## the composed system through its command and boto3
	@scripts/test tests/acceptance $(PYTEST_ARGS)

clients: .venv/.ready ## run docs/clients.md with Airflow, Metaflow, ..., from PyPI (CLIENTS="luigi torchx": those)
	@scripts/clients $(CLIENTS)

demo: .venv/.ready ## price an option in 100 real containers (RUNTIME=process: without Docker)
	@scripts/demo --runtime $(RUNTIME)

bench: .venv/.ready ## measure, side by side with the bare parts
	@scripts/ensure-docker
	@scripts/ensure-busybox
	@$(BIN)/python -m bench

check: lint types imports protos-check test ## all that a change must pass

up: .venv/.ready ## start longshore on this machine, in the background
	@$(BIN)/longshore up --detach

status: .venv/.ready ## what runs
	@$(BIN)/longshore status

down: .venv/.ready ## stop it
	@$(BIN)/longshore down

dist: .venv/.ready ## build the wheel and the source archive into dist/
	@scripts/setup --uv build -q

clean: ## remove everything that was made here
	@rm -rf .venv .uv .registry .clients dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
