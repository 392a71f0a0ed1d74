"""DVC's experiments: each trains its own parameters and code, and leaves the workspace alone."""

import csv
import hashlib
import json
import re
import shutil
import time
from dataclasses import replace

import pytest
from tests.journey.conftest import ROOT, Project
from tests.journey.documented_commands import shown

PAGE = ROOT / "docs" / "experiments.md"
STAGE = "train_multi_model@accidents-logistic_regression"
KEY = "train.accidents-logistic_regression.params.C"


def sums(project: Project) -> dict[str, str]:
    """Return the SHA-256 of all that a training reads and writes in the workspace."""
    names = ["params.yaml", "dvc.lock", "dvc.yaml"]
    folders = ("models", "metrics", "data")
    files = [p for name in folders for p in (project.folder / name).rglob("*") if p.is_file()]
    files += [project.folder / name for name in names]
    return {str(p): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def experiments(project: Project) -> dict[str, dict[str, str]]:
    """Return DVC's table of experiments by name; the workspace has no name."""
    listed = project.run("dvc exp show --csv 2>/dev/null")
    rows = csv.DictReader(listed.splitlines())
    return {row["Experiment"] or row["rev"]: row for row in rows}


def validation(row: dict[str, str]) -> str:
    """Return an experiment's area under the ROC curve of the trained type; "" without one."""
    ends = "logistic_regression/metrics.json:val_roc_auc"
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


@pytest.mark.long
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
    compared = own.run("make exp-show").splitlines()
    assert compared[0] == "accidents-logistic_regression", "only this model differs"
    assert compared[2].split()[0] == "trunk"
    assert {line.split()[0]: line.split()[-1] for line in compared[3:]} == {
        name: f"C={value}" for name, value in asked.items()
    }
    assert max(map(len, compared)) <= 160

    documented = next(c for c in shown(PAGE.read_text()) if c.startswith("dvc exp show "))
    table = own.run(f"{documented} --no-pager", COLUMNS="160")
    assert "logistic_regression/metrics.json:val_roc_auc" in table
    assert KEY in table
    assert all(name in table for name in asked)
    assert "…" not in table
    assert max(map(len, table.splitlines())) <= 160

    own.run("dvc exp apply one")
    changes = own.run("dvc metrics diff").splitlines()
    assert len(changes) == 1 + 4, "the headline figures of the trained type"
    assert max(map(len, changes)) <= 160
    assert KEY in own.run("dvc params diff")
    own.run("dvc plots diff")
    assert "C: 0.001" in (own.folder / "params.yaml").read_text()
    assert validation(experiments(own)["workspace"]) == scores["one"]
    assert "version 2" in own.run(f"dvc repro {STAGE} register")
    own.run("git checkout -q . && dvc checkout -q && dvc exp branch two of-two")
    assert "C: 5.0" in own.run("git show of-two:params.yaml")
    own.run("dvc exp remove strong")
    assert sorted(asked.keys() & experiments(own).keys()) == ["one", "two"]
    assert sums(own) == before


@pytest.mark.long
@pytest.mark.parametrize("dvc", ["sub", "."], ids=["own .dvc", ".dvc above, beside a pipeline"])
def test_a_project_in_a_subfolder_of_its_repository(own, tmp_path, dvc):
    top = tmp_path / "a repository"
    project = replace(own, folder=top / "sub")
    shutil.rmtree(own.folder / ".git")
    top.mkdir()
    own.folder.rename(project.folder)
    if dvc == ".":
        (project.folder / ".dvc").rename(top / ".dvc")
        (top / "dvc.yaml").write_text("stages:\n  top:\n    cmd: echo top\n")
        (top / "params.yaml").write_text("a: 1\n")
    commit = "git init -q -b trunk && git add -A && git commit -q -m 'all of it'"
    project.run(commit, folder=top)
    before, registered = sums(project), versions(project)
    project.run(f"dvc exp run --temp -n strong -S {KEY}=0.0001 {STAGE}")
    assert sums(project) == before
    assert versions(project) == registered
    found = experiments(project)
    assert validation(found["strong"]) not in ("", validation(found["workspace"]))
    assert [p.parent for p in top.rglob("mlflow.db")] == [project.folder]


@pytest.mark.long
def test_a_worktree_trains_its_own_parameters_and_code_into_the_main_store(own, tmp_path):
    tree = replace(own, folder=tmp_path / "other tree")
    own.run(f"git worktree add -q --detach '{tree.folder}'")
    before = sums(own)
    tree.edit("params.yaml", r"params: \{C: 0\.1, bins", "params: {C: 0.0001, bins")
    code = "src/lockstep/models/train_multi_model.py"
    tree.edit(code, r"^def run\(", 'print("the code of the worktree")\n\n\ndef run(')
    # The environment, and the path of the source, are the main tree's.
    source = str(own.folder / "src")
    told = tree.run(f"dvc repro {STAGE}", PYTHONPATH=source)
    assert "the code of the worktree" in told
    assert "version 2" in told
    assert sums(own) == before
    assert versions(own) == [2, 1]
    assert not (tree.folder / "mlflow.db").exists()
