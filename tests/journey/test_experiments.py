"""DVC's experiments: each trains its own parameters and code, and leaves the workspace alone."""

import csv
import hashlib
import json
import re
import time

from tests.journey.conftest import Project

STAGE = "train_multi_model@accidents-logistic_regression"
KEY = "train.accidents-logistic_regression.params.C"
MODEL = "models/accidents/logistic_regression_model.joblib"


def sums(project: Project) -> dict[str, str]:
    """Return the SHA-256 of all that a training reads and writes in the workspace."""
    names = ["params.yaml", "dvc.lock", "dvc.yaml"]
    folders = ("models", "metrics", "data")
    files = [p for name in folders for p in (project.folder / name).rglob("*") if p.is_file()]
    files += [project.folder / name for name in names]
    return {str(p): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def experiments(project: Project) -> dict[str, dict[str, str]]:
    """Return DVC's table of experiments by name; the workspace has no name."""
    rows = csv.DictReader(project.run("dvc exp show --csv 2>/dev/null").splitlines())
    return {row["Experiment"] or row["rev"]: row for row in rows}


def validation(row: dict[str, str]) -> str:
    """Return an experiment's area under the ROC curve of the trained type; "" without one."""
    ends = "logistic_regression/metrics.json:validation.roc_auc"
    return next((value for name, value in row.items() if name.endswith(ends)), "")


def versions(project: Project) -> list[int]:
    command = "python scripts/manage_model_registry.py list-versions --json --model-name"
    listed = json.loads(project.run(f"{command} Accident_Prediction_Logistic_Regression"))
    return [version["version"] for version in listed]


def finish(project: Project) -> None:
    """Wait until DVC's queue is empty."""
    for _ in range(200):
        if not re.search(r"Queued|Running", project.run("dvc queue status")):
            return
        time.sleep(1)
    raise AssertionError("the queue did not end")


def test_experiments_in_trees_of_their_own(own):
    before, registered = sums(own), versions(own)
    own.run(f"dvc exp run --temp -n strong -S {KEY}=0.0001 {STAGE}")
    for name, value in (("one", "0.001"), ("two", "5.0")):
        own.run(f"dvc exp run --queue -n {name} -S {KEY}={value} {STAGE}")
    code = own.folder / "src/lockstep/models/train_multi_model.py"
    text = code.read_text()
    code.write_text(f"{text}\nraise SystemExit('edited after the experiments were queued')\n")
    own.run("dvc queue start -j 2")
    finish(own)
    code.write_text(text)
    assert sums(own) == before
    assert versions(own) == registered, "an experiment registers nothing"
    found = experiments(own)
    asked = {"strong": "0.0001", "one": "0.001", "two": "5.0"}
    assert {name: found[name][KEY] for name in asked} == asked
    scores = {name: validation(found[name]) for name in (*asked, "workspace")}
    assert "" not in scores.values()
    assert len(set(scores.values())) == 4, scores
    assert not list((own.folder / ".dvc/tmp/exps").rglob("mlflow.db"))

    own.run("dvc exp apply one")
    assert "C: 0.001" in (own.folder / "params.yaml").read_text()
    assert validation(experiments(own)["workspace"]) == scores["one"]
    assert "version 2" in own.run(f"dvc repro {STAGE} register")
    own.run("git checkout -q . && dvc checkout -q && dvc exp branch two of-two")
    assert "C: 5.0" in own.run("git show of-two:params.yaml")
    own.run("dvc exp remove strong")
    assert sorted(asked.keys() & experiments(own).keys()) == ["one", "two"]
    assert sums(own) == before
