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
	@grep -hE '^[a-z][a-z-]*:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | while IFS=$$'\t' read -r name text; do printf '  make %-22s %s\n' "$$name" "$$text"; done

# ---- set-up -------------------------------------------------------------------------------------
.PHONY: env
env: $(READY) ## build .venv from the locked requirements and install the package

# A moved folder breaks a venv, so where it was built is part of what makes it ready.
ifneq ($(shell cat $(READY) 2>/dev/null),$(shell cd .venv 2>/dev/null && pwd -P))
.PHONY: $(READY)
endif

$(READY): requirements.lock requirements-dev.lock pyproject.toml scripts/make_env.sh
	@scripts/make_env.sh "$(PYTHON)"

.PHONY: lock
lock: $(READY) ## resolve the requirements anew (changes every stage's inputs)
	uv pip compile --system-certs --universal --python-version 3.11 --generate-hashes --no-header -q pyproject.toml -o requirements.lock
	uv pip compile --system-certs --universal --python-version 3.11 --generate-hashes --no-header -q pyproject.toml --extra dev -c requirements.lock -o requirements-dev.lock

# ---- work ---------------------------------------------------------------------------------------
.PHONY: run-train
run-train: $(READY) ## train, compare and register one problem's models (PROBLEM=accidents)
	@python -m lockstep.commands.train --problem "$(PROBLEM)"

.PHONY: run-train-grid
run-train-grid: $(READY) ## the same after a hyperparameter search; winners go into params.yaml
	@python -m lockstep.commands.search --problem "$(PROBLEM)"
	@python -m lockstep.commands.train --problem "$(PROBLEM)"

.PHONY: repro
repro: $(READY) ## dvc repro: bring everything up to date
	@dvc repro

.PHONY: add-data
add-data: $(READY) ## track your own data with DVC: PROBLEM=accidents FROM=folder-or-file (KIND=files or table)
	@python -m lockstep.commands.add_data --problem "$(PROBLEM)" --from "$(FROM)" --kind "$(KIND)"

.PHONY: new-problem
new-problem: $(READY) ## draft a problem from a table of your own: NAME=churn FILE=table.csv TARGET=column (TASK=…)
	@python -m lockstep.commands.new_problem --name "$(NAME)" --file "$(FILE)" --target "$(TARGET)" --task "$(TASK)"

.PHONY: dvc-remote
dvc-remote: $(READY) ## set where DVC keeps data and models: URL=folder or URL=s3://bucket/prefix (ENDPOINT=…)
	@python -m lockstep.commands.dvc_remote set "$(URL)" --endpoint-url "$(ENDPOINT)"

.PHONY: dvc-pull
dvc-pull: $(READY) ## fetch data and development artifacts from the DVC remote
	@python -m lockstep.commands.dvc_remote pull

.PHONY: dvc-push
dvc-push: $(READY) ## send data and development artifacts to the DVC remote
	@dvc push

.PHONY: mlflow-ui
mlflow-ui: $(READY) ## open MLflow's own pages on the local store
	@mlflow ui --backend-store-uri sqlite:///mlflow.db

# credit_risk unless PROBLEM is given: the Makefile's own default is for training.
SERVED = $(if $(filter command% environment%,$(origin PROBLEM)),$(PROBLEM),)

.PHONY: serve
serve: $(READY) ## answer predictions over HTTP on loopback (PROBLEM=credit_risk, PORT=8000, MODEL_PATH=…; docs/api.md)
	@PROBLEM="$(SERVED)" python -m lockstep.serving

.PHONY: deploy
deploy: $(READY) ## write a folder with a Dockerfile that serves one version by itself: OUTPUT=folder (MODEL=…, STAGE=Production)
	@PROBLEM="$(SERVED)" python -m lockstep.serving.deploy --output "$(OUTPUT)" --stage "$(or $(STAGE),Production)" $(if $(MODEL),--model-name "$(MODEL)")

.PHONY: deploy-check
deploy-check: $(READY) ## export, build the API's environment from that alone, start it, predict, explain, stop (MODEL=…, STAGE=Production)
	@PROBLEM="$(SERVED)" python -m lockstep.serving.deploy --check --stage "$(or $(STAGE),Production)" $(if $(MODEL),--model-name "$(MODEL)")

.PHONY: bench-serve
bench-serve: $(READY) ## requests a second beside `mlflow models serve` and an empty route, same model, same machine
	@python benchmarks/serve.py $(if $(SERVED),--problem "$(SERVED)")

.PHONY: soak-serve
soak-serve: $(READY) ## 100,000 requests while versions 1 and 2 of MODEL take turns (MODEL=credit-risk-model)
	@python benchmarks/soak.py --model-name "$(or $(MODEL),credit-risk-model)" $(if $(SERVED),--problem "$(SERVED)")

.PHONY: registry-demo
registry-demo: $(READY) ## see a registry's life in a temporary clone: staged, promoted, refused, rolled back
	@scripts/registry_demo.sh

.PHONY: gate-simulation
gate-simulation: $(READY) ## how often the gate's statistics promote an equal model, and a better one (a quarter of an hour)
	@python benchmarks/gate_simulation.py

# ---- care ---------------------------------------------------------------------------------------
.PHONY: test
test: $(READY) ## run the whole test suite
	@python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

.PHONY: stress
stress: $(READY) ## 100 killed moves, 8 processes with 200 moves, 1,000 versions, on sqlite and on a server (20 minutes)
	@python -W ignore -m tests.registry.stress all

.PHONY: lint
lint: $(READY) ## check style, types, import contracts and the stages' declared code
	@ruff check . && ruff format --check . && mypy && lint-imports --no-cache && python scripts/stage_code.py

.PHONY: check-reproducible
check-reproducible: $(READY) ## rebuild the last commit from nothing under two BLAS kernels and compare
	@scripts/check_reproducible.sh

.PHONY: check-reproduce-types
check-reproduce-types: $(READY) ## reproduce a version of every model type from fresh clones (PROBLEM=accidents; minutes)
	@python scripts/check_reproduce_types.py "$(PROBLEM)"

.PHONY: format
format: $(READY) ## format the code and put the stages' code into dvc.yaml
	@ruff check --fix -q . ; ruff format . && python scripts/stage_code.py --write

.PHONY: clean
clean: ## remove the environment and caches; data, models and the registry stay
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis
