"""docs/your-own-problem.md as typed: a table with everything amiss becomes registered models.

It is the one journey whose commands are all processes of their own, as a user's are.
"""

import re

import pytest
from tests.journey.conftest import ROOT, clone
from tests.journey.documented_commands import commands

pytestmark = pytest.mark.timeout(600)
DOC = ROOT / "docs" / "your-own-problem.md"


def keep_two_types(path):
    """Train two of four types: the others differ in nothing tried here and cost half a minute."""
    text = path.read_text()
    for section in ("train", "search"):
        for name in ("random_forest", "lightgbm"):
            start = text.index(f"  churn-{name}:\n", text.index(f"\n{section}:"))
            stop = next(
                m.start()
                for m in re.finditer(r"^(?! {3})", text[start:], re.MULTILINE)
                if m.start()
            )
            text = text[:start] + text[start + stop :]
    head, churn = text.split("\n  churn:\n")
    types = "[logistic_regression, random_forest, xgboost, lightgbm]"
    path.write_text(
        f"{head}\n  churn:\n{churn.replace(types, '[logistic_regression, xgboost]', 1)}"
    )


@pytest.mark.long
def test_the_walk_through_runs_as_typed_and_says_what_it_says(tmp_path):
    project = clone(tmp_path / "a clone", tmp_path / "home", cold=True)
    make_table, new_problem, train, predict, versions, file, *back = commands(DOC.read_text())
    project.run(make_table)
    told = project.run(new_problem)
    shown = re.search(r"^```\n(drafted .*?)^```", DOC.read_text(), re.MULTILINE | re.DOTALL)[1]
    assert [line for line in shown.splitlines() if line not in told] == []
    keep_two_types(project.folder / "params.yaml")
    trained = project.run(train)
    assert "* champion by roc_auc" in trained
    assert "src/lockstep/problems/churn/example.json" in trained
    assert "left" in project.run(predict) or "stayed" in project.run(predict)
    assert "ROC_AUC" in project.run(versions)
    assert "customer id (" in project.run(f"{file} 2>&1")
    assert len((project.folder / "predictions.csv").read_text().splitlines()) == 3021
    for command in back:
        project.run(command)
    assert "churn" not in project.run(
        "git status --short --untracked-files=all | grep -v '^??.*data/' || true"
    )
