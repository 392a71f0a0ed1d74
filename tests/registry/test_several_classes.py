"""Models of several classes in the registry.

Tested are their tags, figures by class, scores on other data, and how they read.
"""

import csv
import io
import json
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from lockstep.commands import predict_records as command
from lockstep.decision.decision_rule import DecisionRule
from lockstep.errors import ArtifactError, DataError
from lockstep.evaluation.curves_multiclass import tables
from lockstep.evaluation.effects import effects_table
from lockstep.evaluation.metrics import Scored, evaluate
from lockstep.io import write_csv
from lockstep.models.scoring.prediction import Model, predict
from lockstep.problems.schema import Schema
from lockstep.promotion.scoring import scored_from
from lockstep.registry.artifact import loading
from lockstep.registry.publishing import run_content, run_files
from lockstep.registry.publishing.runs import param_names
from lockstep.registry.store.versions import Version
from lockstep.reports import plots

LABELS = ["à rénover", "None", "a/b", "a:b"]


@dataclass
class Steps:
    """A pipeline with labels where a real one has them, and a scorer of given probabilities."""

    chances: np.ndarray
    labels: list[Any]

    @property
    def named_steps(self) -> dict[str, Any]:
        return {"encoder": SimpleNamespace(target_classes_=self.labels)}

    def score(self, columns: dict[str, np.ndarray], rows: int) -> np.ndarray:
        return self.chances[:rows]


@pytest.fixture
def model() -> Model:
    codes = {label: f"it is {label}" for label in LABELS}
    columns = {"y": {"kind": "target", "codes": codes}, "a": {"kind": "numeric"}}
    content = {"name": "s", "title": "", "task": "multiclass", "unit": "row",
               "registered_name": "S", "experiment": "s", "columns": columns}  # fmt: skip
    chances = np.array([[0.5, 0.3, 0.1, 0.1], [0.1, 0.2, 0.3, 0.4]])
    steps = Steps(chances, LABELS)
    made = Model(steps, Schema.model_validate(content), None, "S_XGBoost", 3)
    vars(made)["scorer"] = steps
    return made


def test_a_prediction_names_each_class_and_decides_by_costs(model) -> None:
    records = [{"a": 1.0}, {"a": 2.0}]
    found = predict(model, records)
    assert found[0]["probabilities"] == dict(zip(LABELS, [0.5, 0.3, 0.1, 0.1], strict=True))
    assert [row["decision"] for row in found] == ["à rénover", "a:b"]
    assert found[1]["meaning"] == "it is a:b"
    careful = replace(model, costs={"None": {other: 50.0 for other in LABELS if other != "None"}})
    vars(careful)["scorer"] = model.scorer
    assert [row["decision"] for row in predict(careful, records)] == ["None", "None"]
    with pytest.raises(DataError, match="decides among 4 classes, not by a threshold"):
        predict(model, records, threshold=0.5)


def test_people_see_the_likeliest_classes_and_files_hold_all(model) -> None:
    rows = predict(model, [{"a": 1.0}])
    text = command._for_people(rows)
    assert "à rénover 0.5000, None 0.3000, a/b 0.1000, 1 more" in text
    cells = next(csv.DictReader(io.StringIO(command.WRITERS[".csv"](rows))))
    assert [float(cells[f"probability of {label}"]) for label in LABELS] == [0.5, 0.3, 0.1, 0.1]
    assert json.loads(command.WRITERS[".jsonl"](rows))["probabilities"]["None"] == 0.3


def test_a_model_of_other_classes_is_scored_on_this_workspace_s(model) -> None:
    chances, rule = model.scorer.chances, DecisionRule("multiclass", classes=LABELS)
    here = ["a:b", "à rénover", "new", "None", "a/b"]
    rows = scored_from(rule, chances, np.array([0, 1]), here)
    assert rows.score[0].tolist() == [0.1, 0.5, 0.0, 0.3, 0.1]
    assert rows.decision.tolist() == [1, 0]
    assert evaluate(rows)["accuracy"] == 0
    fewer = scored_from(rule, chances, np.array([0, 1]), ["a:b", "None"])
    assert fewer.score.shape == (2, 4)
    assert evaluate(fewer)["log_loss"] > 0


def test_figures_by_class_have_names_that_mlflow_takes(tmp_path: Path) -> None:
    from mlflow.utils.validation import _validate_metric_name

    rng = np.random.default_rng(0)
    score, target = rng.dirichlet(np.ones(4), 200), rng.integers(0, 3, 200)
    made = tables(Scored(target, score), LABELS)
    layout = SimpleNamespace(type_folder=lambda _: tmp_path)
    write_csv(tmp_path / "plots" / "classes.csv", made["classes"])
    found = run_content.class_metrics(SimpleNamespace(layout=layout, type="xgboost"))
    names = {name.partition("/")[2] for name in found}
    assert names == {"à rénover", "None", "a_b", "a_b-3"}
    assert "test_roc_auc/a_b-3" not in found  # a class without rows has no curve
    for name in found:
        _validate_metric_name(name)


def test_parameters_of_labels_have_names_that_mlflow_takes() -> None:
    from mlflow.utils.validation import _validate_param_name

    keys = ["seed", "costs.classé (rare).<=50K", "costs.classé [rare].<=50K", "a/b", "x" * 400]
    named = param_names(keys)
    assert list(named) == keys
    assert named["seed"] == "seed"
    for name in named.values():
        _validate_param_name(name)
    assert len(set(named.values())) == len(keys)


def test_labels_are_drawn_as_they_are_written(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    score, target = rng.dirichlet(np.ones(4), 200), rng.integers(0, 4, 200)
    for name, table in tables(Scored(target, score), LABELS).items():
        path = tmp_path / f"{name}.csv"
        write_csv(path, table)
        figure = plots.draw(
            name, run_files.read_points(path), "s", plots.Facts(metrics={"macro_roc_auc": 0.5})
        )
        shown = [text.get_text() for text in figure.axes[0].get_yticklabels()]
        if legend := figure.axes[0].get_legend():
            shown += [text.get_text() for text in legend.get_texts()]
            assert (legend.get_title().get_text() == "mean AUC 0.500") == (name == "roc")
        for label in LABELS:
            assert any(text.startswith(label) for text in shown), (name, label)
        plots.save(figure, tmp_path / f"{name}.png")


def test_effects_of_classes_and_categories_keep_their_texts(tmp_path: Path) -> None:
    names = {0.0: "", 1.0: "unknown", 2.0: "None", 3.0: "NA", 4.0: "07"}
    rows = pd.DataFrame({"light": [0.0, 2.0, 3.0, 4.0]})
    table = effects_table(
        rows,
        ["light"],
        {"light": names},
        lambda rows: np.full((len(rows), 4), 0.25),
        dict(enumerate(LABELS)),
    )
    write_csv(tmp_path / "effects.csv", table)
    found = run_files.read_points(tmp_path / "effects.csv")
    assert found["value"].tolist() == ["None", "NA", "07", ""] * 4
    assert found["class"].unique().tolist() == LABELS
    (axes,) = plots.draw("effects", found, "s").axes
    assert [text.get_text() for text in axes.get_legend().get_texts()] == LABELS
    shown = [text.get_text() for text in axes.get_yticklabels()]
    assert shown == ["None", "NA", "07", "missing"]


def test_costs_of_a_version_are_read_or_refused() -> None:
    def version(told: str | None) -> Version:
        tags = {} if told is None else {"lockstep.costs": told}
        return Version("S", 1, 0, None, "", "None", tags)

    assert loading.costs_of(version(None)) is None
    assert loading.costs_of(version('{"a": {"b": 2}}')) == {"a": {"b": 2.0}}
    for broken in ("[]", "{", '{"a": 1}', '{"a": {"b": "x"}}'):
        with pytest.raises(
            ArtifactError, match=r"S version 1: its tag lockstep\.costs holds no costs"
        ):
            loading.costs_of(version(broken))
