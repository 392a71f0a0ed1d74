# Every command of a user, by name. `make help` lists the targets.
# GNU make 3.81 and bash 3.2, which macOS has, must do for all of it (docs/platforms.md).
SHELL := /bin/bash
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
# Some images keep Python from writing compiled modules, which makes every start slower.
unexport PYTHONDONTWRITEBYTECODE
export PATH := $(CURDIR)/.venv/bin:$(PATH)

PYTHON ?= python3
PROBLEM ?= accidents
READY := .venv/.ready

.PHONY: help
help: ## list every target
	@grep -hE '^[a-z][a-z-]*:.*## ' $(MAKEFILE_LIST) | while IFS= read -r line; do printf '  make %-22s %s\n' "$${line%%:*}" "$${line#*## }"; done

# ---- set-up -------------------------------------------------------------------------------------
.PHONY: env
env: $(READY) ## build .venv from the locked requirements and install the package

# A moved folder breaks a venv, so the venv is rebuilt if its path has changed.
ifneq ($(shell cat $(READY) 2>/dev/null),$(shell cd .venv 2>/dev/null && pwd -P))
.PHONY: $(READY)
endif

$(READY): requirements.lock requirements-dev.lock pyproject.toml scripts/make_env.sh
	@scripts/make_env.sh "$(PYTHON)"

.PHONY: setup-spark
setup-spark: $(READY) ## add Spark to .venv and check Java (docs/spark.md)
	@scripts/setup_spark.sh

.PHONY: lock
lock: $(READY) ## update the locked requirements (changes every stage's inputs)
	uv pip compile --system-certs --universal --python-version 3.11 --generate-hashes --no-header -q pyproject.toml --extra serve --extra s3 -o requirements.lock
	uv pip compile --system-certs --universal --python-version 3.11 --generate-hashes --no-header -q pyproject.toml --extra serve --extra s3 --extra dev -c requirements.lock -o requirements-dev.lock
	@# The extra alone: what the other locks hold stays as it is.
	python -c "import tomllib; print(*tomllib.load(open('pyproject.toml', 'rb'))['project']['optional-dependencies']['spark'], sep='\n')" | \
		uv pip compile --system-certs --universal --python-version 3.11 --generate-hashes --no-header -q - -c requirements.lock -o requirements-spark.lock

.PHONY: chart-script
chart-script: $(READY) ## write the script that draws the pages' charts, from the pinned vl-convert
	@python scripts/bundle_charts.py

# ---- work ---------------------------------------------------------------------------------------
.PHONY: run-train
run-train: $(READY) ## train, compare and register one problem's models (PROBLEM=accidents)
	@python -m lockstep.commands.train --problem "$(PROBLEM)"

.PHONY: run-train-grid
run-train-grid: $(READY) ## search hyperparameters, write the winners into params.yaml, then do run-train
	@python -m lockstep.commands.search --problem "$(PROBLEM)"
	@python -m lockstep.commands.train --problem "$(PROBLEM)"

.PHONY: repro
repro: $(READY) ## bring everything up to date: dvc repro
	@python -m lockstep.commands.repro

.PHONY: exp-show
exp-show: $(READY) ## compare DVC's experiments: a table for each model that differs (PROBLEM=accidents: only its models)
	@python -m lockstep.commands.experiments --problem "$(SERVED)"

.PHONY: add-data
add-data: $(READY) ## copy your own data in and track them with DVC: PROBLEM=accidents FROM=folder-or-file (KIND=files or table)
	@python -m lockstep.commands.add_data --problem "$(PROBLEM)" --from "$(FROM)" --kind "$(KIND)"

.PHONY: new-problem
new-problem: $(READY) ## draft a problem from your own table: NAME=churn FILE=table.csv TARGET=column (TASK=…)
	@python -m lockstep.commands.new_problem --name "$(NAME)" --file "$(FILE)" --target "$(TARGET)" --task "$(TASK)"

.PHONY: dvc-remote
dvc-remote: $(READY) ## set the DVC remote for data and models: URL=folder or URL=s3://bucket/prefix (ENDPOINT=…)
	@python -m lockstep.commands.dvc_remote set "$(URL)" --endpoint-url "$(ENDPOINT)"

.PHONY: dvc-pull
dvc-pull: $(READY) ## download data and models from the DVC remote
	@python -m lockstep.commands.dvc_remote pull

.PHONY: dvc-push
dvc-push: $(READY) ## upload data and models to the DVC remote
	@dvc push

.PHONY: mlflow-ui
mlflow-ui: $(READY) ## start MLflow's web pages on the local store
	@MLFLOW_DISABLE_TELEMETRY=true mlflow ui --backend-store-uri sqlite:///mlflow.db

# The API's default is credit_risk; PROBLEM's default above is for training.
SERVED = $(if $(filter command% environment%,$(origin PROBLEM)),$(PROBLEM),)

.PHONY: serve
serve: $(READY) ## serve predictions over HTTP on loopback (PROBLEM=credit_risk, PORT=8000, MODEL_PATH=…; docs/api.md)
	@PROBLEM="$(SERVED)" python -m lockstep.serving

.PHONY: deploy
deploy: $(READY) ## write a folder with a Dockerfile that serves one version: OUTPUT=folder (MODEL=…, STAGE=Production)
	@PROBLEM="$(SERVED)" python -m lockstep.serving.deploy --output "$(OUTPUT)" --stage "$(or $(STAGE),Production)" $(if $(MODEL),--model-name "$(MODEL)")

.PHONY: deploy-check
deploy-check: $(READY) ## try a deployment: export, build its environment, start, predict, explain, stop (MODEL=…, STAGE=Production)
	@PROBLEM="$(SERVED)" python -m lockstep.serving.deploy --check --stage "$(or $(STAGE),Production)" $(if $(MODEL),--model-name "$(MODEL)")

.PHONY: bench
bench: $(READY) ## measure training, stages, a cold prediction and serving beside alternatives (40 minutes; docs/performance.md)
	@python benchmarks/governance.py --alternatives --output benchmarks/results
	@python benchmarks/stage_costs.py --output benchmarks/results
	@python benchmarks/cold_prediction.py --output benchmarks/results
	@LOCKSTEP_PUBLISH=0 dvc repro --quiet train_multi_model@credit_risk-xgboost
	@python benchmarks/serve.py --workers 2 --output benchmarks/results

.PHONY: bench-large
bench-large: $(READY) ## compare make run-train with one process at 450,000 persons, or UNITS=accidents (half an hour)
	@python benchmarks/governance.py --turns 1 --units $(or $(UNITS),200000) --output benchmarks/results

.PHONY: bench-check
bench-check: $(READY) ## fail if a ratio of processor times is a third worse than in benchmarks/expected.json (a minute)
	@python benchmarks/ratios.py

.PHONY: bench-serve
bench-serve: $(READY) ## compare the API's speed with `mlflow models serve`, BentoML and an empty route
	@python benchmarks/serve.py $(if $(SERVED),--problem "$(SERVED)")

.PHONY: soak-serve
soak-serve: $(READY) ## send 100,000 requests while versions 1 and 2 of MODEL alternate (MODEL=credit-risk-model)
	@python benchmarks/soak.py --model-name "$(or $(MODEL),credit-risk-model)" $(if $(SERVED),--problem "$(SERVED)")

.PHONY: bench-shadow
bench-shadow: $(READY) ## compare the API's speed with and without a challenger in the shadow (some minutes)
	@python benchmarks/shadow.py $(if $(SERVED),--problem "$(SERVED)") --output bench-shadow.json

.PHONY: soak-shadow
soak-shadow: $(READY) ## send 20,000 requests while a challenger scores them again and versions move (some minutes)
	@python benchmarks/shadow_soak.py $(if $(SERVED),--problem "$(SERVED)") --output soak-shadow.json

.PHONY: monitor
monitor: $(READY) ## compare the served model's answers with its reference: drift, performance, alarms (PROBLEM=credit_risk; docs/monitoring.md)
	@python scripts/monitor.py $(if $(SERVED),--problem "$(SERVED)")

.PHONY: monitor-demo
monitor-demo: $(READY) ## show monitoring in a temporary clone: a model degrades, alarm, retrain, shadow, promotion (2 minutes)
	@python scripts/monitor_demo.py

.PHONY: alarm-simulation
alarm-simulation: $(READY) ## simulate how often alarms find a known change, and how often they are false (some minutes)
	@python benchmarks/alarms.py --output alarm-simulation.json

.PHONY: bench-evidently
bench-evidently: $(READY) ## compare the distances of monitoring with evidently's, which gets an environment of its own
	@python benchmarks/evidently_side.py

.PHONY: bench-spark
bench-spark: $(READY) ## time both engines from raw files to four models at 50 k, 500 k and 2.6 M persons (half an hour)
	@python benchmarks/spark.py --output bench-spark.json

.PHONY: registry-demo
registry-demo: $(READY) ## show the registry in a temporary clone: stage, promote, refuse, roll back
	@scripts/registry_demo.sh

.PHONY: board
board: $(READY) ## write the registry's board: models by stage, verdicts, moves, next commands (OUTPUT=reports/board.html)
	@python -m lockstep.commands.board $(if $(OUTPUT),--output "$(OUTPUT)")

.PHONY: gate-simulation
gate-simulation: $(READY) ## measure how often the gates promote an equal model and a better one (15 minutes)
	@python benchmarks/gate_simulation.py

.PHONY: report
report: $(READY) ## write a problem's report, one HTML file: reports/PROBLEM.html (PROBLEM=accidents, OUTPUT=file)
	@python -m lockstep.commands.report --problem "$(PROBLEM)" $(if $(OUTPUT),--output "$(OUTPUT)")

.PHONY: report-diff
report-diff: $(READY) ## print what changes against BASE=main as Markdown: metrics, parameters, data, code (OUTPUT=file)
	@python -m lockstep.commands.report_diff --base "$(or $(BASE),main)" $(if $(SERVED),--problem "$(SERVED)") $(if $(OUTPUT),--output "$(OUTPUT)")

.PHONY: columns
columns: $(READY) ## write docs/columns.md: the columns of all problems, from their schemas
	@python -m lockstep.commands.columns_page

.PHONY: docs
docs: $(READY) ## build docs/ as a site into site/ (open site/index.html)
	@NO_MKDOCS_2_WARNING=1 mkdocs build --strict --quiet && echo "✓ site/index.html"

# ---- care ---------------------------------------------------------------------------------------
.PHONY: test
test: $(READY) ## run the test suite, about 20 minutes (COVERAGE=1 measures branch coverage)
	@python -m pytest -n 3 --dist loadfile --no-loadscope-reorder $(if $(COVERAGE),--cov --cov-report=)
	@$(if $(COVERAGE),python -m coverage report --precision=2 --skip-covered)

.PHONY: test-long
test-long: $(READY) ## run the tests that `make test` leaves out: kills, clusters, long walks (about 25 minutes)
	@python -m pytest -n 3 --dist loadfile --no-loadscope-reorder -m "long and not soak"

.PHONY: test-again
test-again: $(READY) ## run the tests that failed (at most 3) once more, alone, on a quieter machine
	@python -m tests.again

.PHONY: stress
stress: $(READY) ## stress the registry: 100 killed moves, 200 moves by 8 processes, 1,000 versions, sqlite and server (20 minutes)
	@python -W ignore -m tests.registry.stress all

.PHONY: check-spark-quality
check-spark-quality: $(READY) ## compare the test AUC of Spark's models with one machine's on the whole sample (some minutes)
	@python -m pytest -q -s -p no:xdist tests/engines/quality.py

.PHONY: soak-spark
soak-spark: $(READY) ## lose workers, the master, the disk and the command amid every step on Spark (10 minutes)
	@python -m pytest -m soak -p no:xdist tests/engines

.PHONY: lint
lint: $(READY) ## check style, types and import contracts
	@ruff check . && ruff format --check . && mypy && lint-imports --no-cache

.PHONY: check-reproducible
check-reproducible: $(READY) ## rebuild the last commit from nothing under two BLAS kernels and compare the results
	@scripts/check_reproducible.sh

.PHONY: check-reproduce-types
check-reproduce-types: $(READY) ## reproduce a version of every model type from fresh clones (PROBLEM=accidents; some minutes)
	@python scripts/check_reproduce_types.py "$(PROBLEM)"

.PHONY: format
format: $(READY) ## format the code
	@ruff check --fix -q . ; ruff format .

.PHONY: clean
clean: ## remove the environment and caches, but not data, models or the registry
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis site
