# Everything a user does, by name. `make help` lists the targets.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
# Some images forbid Python to keep its compiled modules, which makes every start slower.
unexport PYTHONDONTWRITEBYTECODE
export PATH := $(CURDIR)/.venv/bin:$(PATH)

PYTHON ?= python3
PROBLEM ?= accidents
READY := .venv/.ready

.PHONY: help
help: ## list every target
	@grep -hE '^[a-z][a-z-]*:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | while IFS=$$'\t' read -r name text; do printf '  make %-18s %s\n' "$$name" "$$text"; done

# ---- set-up -------------------------------------------------------------------------------------
.PHONY: env
env: $(READY) ## build .venv from the locked requirements and install the package

$(READY): requirements.lock requirements-dev.lock pyproject.toml scripts/make_env.sh
	@scripts/make_env.sh "$(PYTHON)"

.PHONY: lock
lock: $(READY) ## resolve the requirements anew (changes every stage's inputs)
	uv pip compile --system-certs --universal --python-version 3.11 --generate-hashes --no-header -q pyproject.toml -o requirements.lock
	uv pip compile --system-certs --universal --python-version 3.11 --generate-hashes --no-header -q pyproject.toml --extra dev -c requirements.lock -o requirements-dev.lock
