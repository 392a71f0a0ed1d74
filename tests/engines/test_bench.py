"""The short form of `make bench-spark`: both engines from raw files to one model."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.warm import COLD

ROOT = Path(__file__).parents[2]
LINEAR = "logistic_regression"
MOST_GB = 2.5
"""Of all processes of one stage together, with a Java of 1 GB at most."""


@pytest.mark.soak
def test_both_engines_find_the_same_model_within_little_memory(tmp_path: Path) -> None:
    file = tmp_path / "figures.json"
    words = f"--persons 4000 --types {LINEAR} --output {file}".split()
    # Without COLD, commands are children of the tests' own warm process, not of the benchmark.
    command = [sys.executable, ROOT / "benchmarks/spark.py", *words]
    subprocess.run(command, check=True, timeout=200, env={**os.environ, **COLD})
    figures = json.loads(file.read_text())["sizes"][0]
    here, there = figures["sklearn"], figures["spark"]
    assert here["rows"] == there["rows"] > 3500
    assert here["auc"] == there["auc"]
    assert {*there["stages"]} == {"prepare", LINEAR}
    assert 0.1 < here["gb"] < there["gb"] < MOST_GB
