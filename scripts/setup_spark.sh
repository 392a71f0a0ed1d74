#!/usr/bin/env bash
# Add Spark to .venv from its hashed lock: with uv where it can reach the index, else with pip. Spark brings its own jars.
set -eu
cd "$(dirname "$0")/.."
lock=requirements-spark.lock
export PIP_DISABLE_PIP_VERSION_CHECK=1
.venv/bin/uv pip install --no-cache --system-certs --python .venv/bin/python --require-hashes --no-deps -q -r $lock ||
    .venv/bin/python -m pip install -q --require-hashes --no-deps -r $lock
.venv/bin/python -m lockstep.engines.class_archive
.venv/bin/python -m lockstep.engines.java
