"""Credit risk, typed as the docs have it.

It is trained, retrained, checked, promoted, served and explained.
"""

import json
import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from tests.journey.conftest import CREDIT, Project, clone
from tests.journey.documented_commands import commands, page, section, shown, uncommented
from tests.journey.served import answers_while_served
from tests.journey.test_readme import elsewhere

pytestmark = pytest.mark.timeout(600)
RETRAIN, PAGE, VERIFY = map(page, ("retrain", "credit-risk", "registry-verify"))
MANY = """
import shlex, sys
from lockstep.commands import manage_registry as manage
for line in sys.argv[1:]:
    words = shlex.split(line)
    assert words[:2] == ["python", "scripts/manage_model_registry.py"], line
    assert not manage.main(words[2:]), line
"""
SMALL = {"n_estimators": 40, "learning_rate": 0.15}
LENDING, LINEAR, ROWS = "credit_lendingclub", "logistic_regression", 600
PURPOSES = ("debt_consolidation", "credit_card", "all_other")
HEADER = (
    *(
        "credit.policy",
        "purpose",
        "int.rate",
        "installment",
        "log.annual.inc",
        "dti",
        "fico",
        "days.with.cr.line",
    ),
    *("revol.bal", "revol.util", "inq.last.6mths", "delinq.2yrs", "pub.rec", "not.fully.paid"),
)


@pytest.fixture
def credit(tmp_path: Path, empty_store: Path) -> Project:
    """A fresh clone with four small credit models, and a store, as making one takes seconds."""
    project = clone(tmp_path / "a clone", tmp_path / "home")
    shutil.copyfile(empty_store, project.folder / "mlflow.db")
    path = project.folder / "params.yaml"
    content = yaml.safe_load(path.read_text())
    problem = content["problems"][CREDIT]
    problem["source"]["sample"]["units"], problem["compare"]["resamples"] = 4800, 100
    train = {
        f"{CREDIT}-{kind}": content["train"][f"{CREDIT}-{kind}"] for kind in problem["model_types"]
    }
    for training in train.values():
        training["cv_folds"] = 2
        training["params"] |= {key: SMALL[key] for key in SMALL if key in training["params"]}
    path.write_text(
        yaml.safe_dump({"problems": {CREDIT: problem}, "train": train}, sort_keys=False)
    )
    project.run("git commit -qam 'a small sample of applications'")
    return project


def test_the_commands_of_credit_risk_work_as_typed(credit: Project) -> None:
    train, listed, predict, retrain, check, promote, serve, *asked = commands(
        section(PAGE, "Train, retrain, serve")
    )
    *asked, monitor, deploy, deploy_check = asked
    assert "credit-risk-model  version 4" in credit.run(train)
    assert "random_forest" in credit.run(listed)
    assert "PROBABILITY" in credit.run(predict)
    best = re.search(r"--version (\d+) ", promote)[1]
    told = credit.run(retrain)
    assert f"promote_model.py --version {best} --archive-current" in told
    assert f"promotion checklist of credit-risk-model version {best}\n✓" in credit.run(check)
    assert f"credit-risk-model version {best}" in credit.run(promote)
    answers = answers_while_served(credit, serve, asked)
    assert {"probability", "decision", "threshold"} <= set(answers[0])
    assert {"contributions", "base", "margin", "reasons"} <= set(answers[1])
    assert answers[0]["probability"] == answers[1]["probability"]
    assert answers[0]["version"] == int(best)
    assert f"credit-risk-model version {best}, " in (said := credit.run(monitor))
    assert "1 rows, 0 labels\nno alarm" in said
    assert "bundle, package, requirements and Dockerfile" in credit.run(deploy)
    assert f"version {best}:" in (credit.folder.parent / "deployment" / "Dockerfile").read_text()
    assert elsewhere(deploy_check)
    *typed, back = shown(RETRAIN)
    assert typed == [uncommented(command) for command in (retrain, check, promote)]
    put_back(credit, back)
    verify_export_and_prune(credit, best)


def put_back(project: Project, command: str) -> None:
    """Point what is served to another release; here the only one there is."""
    pointer = project.folder / "models" / CREDIT / "production.pkl"
    before = pointer.resolve()
    pointer.unlink()
    project.run(command.replace("DIGEST", before.stem))
    assert pointer.resolve() == before


def verify_export_and_prune(project: Project, version: str) -> None:
    """Do what the page shows, optional words too, in one process: starts would cost 20 seconds."""
    verify, of_one, of_folder, *exports, prune, pruned = shown(VERIFY)
    of_one, prune, pruned = (re.sub(r"[][]", "", line) for line in (of_one, prune, pruned))
    exports = [line.replace("DIR", f"../bundle{place}") for place, line in enumerate(exports)]
    lines = [verify, of_one, *exports, of_folder.replace("DIR", "../bundle1"), prune, pruned]
    values = {"NAME": "credit-risk-model", r"\bN\b": version, "DAYS": "30"}
    for name, value in values.items():
        lines = [re.sub(name, value, line) for line in lines]
    (project.folder.parent / "many.py").write_text(MANY)
    told = project.run(f"python ../many.py {shlex.join(lines)}")
    assert told.count("none failed") == 3


@pytest.mark.long
def test_a_public_table_starts_as_the_page_has_it_typed(credit: Project, tmp_path: Path) -> None:
    add, train = shown(section(PAGE, "Public tables"))
    credit.run(add.replace("FILE", f"'{lending(tmp_path / 'loans.csv')}'"))
    path = credit.folder / "params.yaml"
    content = yaml.safe_load(path.read_text())
    problem, key = content["problems"][LENDING] | {"model_types": [LINEAR]}, f"{LENDING}-{LINEAR}"
    small = {"problems": {LENDING: problem}, "train": {key: content["train"][key]}}
    path.write_text(yaml.safe_dump(small, sort_keys=False))
    assert "Credit_LendingClub" in credit.run(train)
    quality = json.loads((credit.folder / "metrics" / LENDING / "data_quality.json").read_text())
    assert quality["rows"]["in"] == ROWS
    assert quality["dropped"] == {"duplicate": 1}


def lending(path: Path) -> Path:
    """Write a small table as published: dotted names, and bare carriage returns for line ends."""
    rng = np.random.default_rng(0)
    rows = [",".join(HEADER)]
    for _ in range(ROWS - 1):
        score, late = rng.integers(620, 820), rng.random()
        rest = f"0.11,300,10.9,14,{score},3000,{rng.integers(1, 50000)},50,0,0,0"
        rows.append(f"1,{rng.choice(PURPOSES)},{rest},{int(late < (0.1 if score > 700 else 0.4))}")
    path.write_text("\r".join([*rows, rows[-1]]))
    return path
