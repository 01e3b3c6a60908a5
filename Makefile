PORT ?= 8000
MODEL ?=
ARGS ?=
TRACE ?=

BIN := .venv/bin
# Debian keeps nats-server in /usr/sbin, which is not on everybody's path.
export PATH := $(PATH):/usr/sbin
MAKEFLAGS += --no-print-directory

.PHONY: help setup run test check format docs acceptance bench bench-frontend bench-routing test-gpu test-kube test-kube-short acceptance-kube lock wheel test-wheel clean quiet-setup
.DEFAULT_GOAL := help

## List the targets.
help:
	@awk '/^## / { text = substr($$0, 4) } /^[a-z-]+:/ && text { sub(":.*", "", $$1); printf "  make %-14s %s\n", $$1, text; text = "" }' $(MAKEFILE_LIST)

## Install everything into .venv by the lock file; the second time installs nothing.
setup:
	@scripts/setup.sh

quiet-setup:
	@scripts/setup.sh --quiet

## Serve the demo on PORT (8000): two prefill workers, one decode worker, on this CPU. MODEL names another model.
run: quiet-setup
	@exec $(BIN)/tandem demo --port $(PORT) $(if $(MODEL),--model "$(MODEL)")

## Run every test that needs neither a GPU nor Kubernetes; installs nats-server and etcd where they are missing. ARGS go to pytest.
test: quiet-setup
	@scripts/test_servers.sh
	@$(BIN)/pytest -m "not acceptance and not gpu and not kube" $(ARGS)

## Check format, lint, types, import contracts, file sizes, docs and the version.
check: quiet-setup
	@scripts/check.sh

## Rewrite the sources the way `make check` wants them.
format: quiet-setup
	@$(BIN)/ruff check --fix-only --quiet
	@$(BIN)/ruff format --quiet

## Write the pages of the docs that are made from the code.
docs: quiet-setup
	@$(BIN)/python scripts/docs.py

## Run the long matrices.
acceptance: quiet-setup
	@scripts/test_servers.sh
	@scripts/clients.sh
	@$(BIN)/pytest -m "acceptance and not kube" $(ARGS)

## Measure this machine and print the figures.
bench: quiet-setup
	@exec $(BIN)/python -m bench.serving $(ARGS)

## Measure the front end beside Dynamo 1.6.1, installed into .run, or found in the environment DYNAMO; ARGS=--quick for a glance, ARGS="--requests 600" for shorter runs of everything.
bench-frontend: quiet-setup
	@exec $(BIN)/python -m bench.frontend $(if $(DYNAMO),--dynamo $(DYNAMO)) $(ARGS)

## Play TRACE (a file in Mooncake's format) on simulated engines under routing policies; the figures come last, as JSON.
bench-routing: quiet-setup
	@test -n "$(TRACE)" || { echo "make bench-routing TRACE=FILE: which trace?" >&2; exit 2; }
	@exec $(BIN)/python -m bench.routing "$(TRACE)" $(if $(DYNAMO),--dynamo $(DYNAMO)) $(ARGS)

## Run the tests that need a CUDA GPU.
test-gpu: quiet-setup
	@$(BIN)/pytest -m gpu $(ARGS)

## Run the tests against a Kubernetes API server: KUBECONFIG names one, or KUBEBUILDER_ASSETS holds its binaries.
test-kube: quiet-setup
	@$(BIN)/pytest -m "kube and not acceptance" -rs $(ARGS)

## Run those of them that continuous integration runs, in two minutes.
test-kube-short: quiet-setup
	@$(BIN)/pytest -m "kube and not acceptance" -rs tests/kube/test_groups.py tests/kube/test_deploy.py tests/kube/test_guide.py -k "not simulated" $(ARGS)

## Run the long ones: the guide on real engines, 500 groups.
acceptance-kube: quiet-setup
	@$(BIN)/pytest -m "acceptance and kube" -rs $(ARGS)

## Write the lock files anew, with the newest versions that fit together.
lock:
	@scripts/lock.sh

## Build the wheel into dist/.
wheel: quiet-setup
	@rm -rf dist
	@$(BIN)/python -m hatchling build -t wheel

## Install the wheel into an empty environment and run its commands.
test-wheel: wheel
	@scripts/test_wheel.sh

## Remove everything that the other targets made, .venv included.
clean:
	@rm -rf .venv .run dist build .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
