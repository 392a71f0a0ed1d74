"""What is kept of an earlier version of several classes says the same as the model itself."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from lockstep.errors import RegistryError
from lockstep.models.scoring.prediction import Model
from lockstep.problems.schema import Schema
from lockstep.promotion import previous_versions
from lockstep.promotion.holdout import Holdout
from lockstep.promotion.previous_versions import CACHE, distinct, scores_of, unfit
from lockstep.promotion.scoring import inputs_of
from lockstep.registry.store.versions import Version

CHANCES = np.array([[0.5, 0.3, 0.2], [0.1, 0.5, 0.4], [0.3, 0.3, 0.4]])


class Steps:
    """A pipeline with three classes, in an order of its own, and its scorer."""

    def __init__(self, labels: list[Any]):
        self.named_steps = {"encoder": SimpleNamespace(target_classes_=labels)}

    def score(self, columns: dict[str, np.ndarray], rows: int) -> np.ndarray:
        return CHANCES[:rows]


def model_of(labels: list[Any], costs: dict[str, dict[str, float]]) -> Model:
    columns = {"y": {"kind": "target"}, "a": {"kind": "numeric"}}
    content = {"name": "s", "title": "", "task": "multiclass", "unit": "row",
               "registered_name": "S", "experiment": "s", "columns": columns}  # fmt: skip
    steps = Steps(labels)
    made = Model(steps, Schema.model_validate(content), None, "S", 1, digest="m", costs=costs)
    vars(made)["scorer"] = steps
    return made


def version_of(number: int = 1, **tags: str) -> Version:
    told = {f"lockstep.{key}": value for key, value in tags.items()}
    return Version("S", number, 0, None, "", "None", told)


@pytest.mark.parametrize("labels", [["c", "a", "b"], [3, 1, 2], ["c", "a", "gone"]])
@pytest.mark.parametrize("dear", [0.0, 50.0])
def test_kept_scores_mean_what_the_models_own_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, labels: list[Any], dear: float
) -> None:
    costs = {str(labels[1]): {str(labels[0]): dear, str(labels[2]): dear}} if dear else {}
    version = version_of(model_digest="m", **({"costs": json.dumps(costs)} if costs else {}))
    classes = [*sorted(labels[:2]), "b" if labels[0] == "c" else 2]
    rows = Holdout(
        pd.DataFrame({"a": [1.0, 2.0, 3.0]}), np.array([0, 1, 2]), np.arange(3), classes, "rows"
    )
    monkeypatch.setattr(previous_versions, "locate", lambda *_: None)
    monkeypatch.setattr(
        previous_versions, "open_version", lambda _: model_of(labels, costs or None)
    )
    opened = scores_of(None, tmp_path, version, rows)
    monkeypatch.setattr(previous_versions, "open_version", None)
    kept = scores_of(None, tmp_path, version, rows)
    assert kept.score.tolist() == opened.score.tolist()
    assert kept.decision.tolist() == opened.decision.tolist()
    assert kept.task == "multiclass"


@pytest.mark.parametrize("content", ["", "[1]", "{", '{"task": "multiclass"}', '{"other": 1}'])
def test_damaged_facts_are_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str
) -> None:
    rows = Holdout(
        pd.DataFrame({"a": [1.0, 2.0]}), np.array([0, 1]), np.arange(2), ["a", "b", "c"], "rows"
    )
    monkeypatch.setattr(previous_versions, "locate", lambda *_: None)
    monkeypatch.setattr(
        previous_versions, "open_version", lambda _: model_of(["a", "b", "c"], None)
    )
    first = scores_of(None, tmp_path, version_of(model_digest="m"), rows)
    (path,) = (tmp_path / CACHE).iterdir()
    whole = path.read_bytes()
    path.write_text(content)
    again = scores_of(None, tmp_path, version_of(model_digest="m"), rows)
    assert again.score.tolist() == first.score.tolist()
    assert path.read_bytes() == whole


def test_of_versions_with_the_same_model_the_newest_counts() -> None:
    versions = [
        version_of(1, model_digest="a"),
        version_of(2, model_digest="b"),
        version_of(3, model_digest="a"),
    ]
    assert sorted(v.version for v in distinct([*versions, version_of(4), version_of(5)])) == [
        2,
        3,
        4,
        5,
    ]


@pytest.mark.parametrize(("pruned", "counts"), [((3,), 1), ((1,), 3), ((1, 3), 3), ((), 3)])
def test_a_pruned_twin_hides_no_version_that_has_its_files(pruned: tuple, counts: int) -> None:
    versions = [
        version_of(number, model_digest="a", **({"pruned": "9"} if number in pruned else {}))
        for number in (1, 3)
    ]
    assert [v.version for v in distinct(versions)] == [counts]


def test_a_column_that_was_a_number_and_is_text_now_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    earlier = model_of(["a", "b", "c"], {})
    texts = pd.DataFrame({"a": ["1", "2"]})
    with pytest.raises(RegistryError, match=r"S 1 reads numbers in a, and .* holds texts there"):
        inputs_of(earlier, texts)
    assert inputs_of(earlier, pd.DataFrame({"a": [1.0], "b": [2.0]})).columns.tolist() == ["a"]
    monkeypatch.setattr(previous_versions, "locate", lambda *_: None)
    monkeypatch.setattr(previous_versions, "schema_of", lambda _: earlier.schema)
    assert unfit(None, tmp_path, version_of(), earlier.schema) == ""
    columns = {"y": {"kind": "target"}, "a": {"kind": "categorical"}}
    now = Schema.model_validate({**earlier.schema.model_dump(), "columns": columns})
    told = "it reads numbers in a, which holds texts now"
    assert unfit(None, tmp_path, version_of(), now) == told
