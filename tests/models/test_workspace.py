import json
import os
import pickle
from pathlib import Path

import joblib
import pytest

from lockstep.errors import ArtifactError
from lockstep.io import sha256_file
from lockstep.models.scoring.prediction import predict
from lockstep.models.workspace import NEEDED, load_file
from lockstep.problems.schema import load_schema

RECORD = json.loads((Path(__file__).parents[2] / "src/models/test_features.json").read_text())


@pytest.fixture
def file(tmp_path, pipeline):
    path = tmp_path / "models" / "accidents" / "xgboost_model.joblib"
    path.parent.mkdir(parents=True)
    joblib.dump(pipeline, path)
    write_card(path)
    return path


def write_card(path, **changes):
    card = {
        "problem": "accidents",
        "type": "xgboost",
        "file_sha256": sha256_file(path),
        "model_digest": "d" * 64,
        "schema_digest": load_schema("accidents").digest,
        "threshold": 0.25,
    }
    kept = {key: value for key, value in {**card, **changes}.items() if value is not None}
    path.with_suffix(".json").write_text(json.dumps(kept))


def test_a_file_and_its_card_are_a_model(file, tmp_path):
    (row,) = predict(load_file(file, tmp_path), [RECORD])
    assert (row["model"], row["threshold"], row["version"]) == (str(file), 0.25, None)


def test_a_link_finds_the_card_beside_the_file_it_points_at(file, tmp_path):
    link = tmp_path / "models" / "xgboost_model.joblib"
    link.symlink_to(Path("accidents") / "xgboost_model.joblib")
    assert load_file(link, tmp_path).threshold == 0.25


def test_a_path_may_be_relative_to_the_project(file, tmp_path, monkeypatch):
    monkeypatch.chdir("/")
    assert load_file(Path("models/accidents/xgboost_model.joblib"), tmp_path).type == "xgboost"


class Bomb:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_a_file_that_is_not_the_cards_is_not_opened(file, tmp_path):
    file.write_bytes(pickle.dumps(Bomb(tmp_path / "exploded")))
    with pytest.raises(
        ArtifactError, match=r"is not the file its card xgboost_model.json describes"
    ):
        load_file(file, tmp_path)
    assert not (tmp_path / "exploded").exists()


def test_a_file_without_a_card_is_not_opened(tmp_path):
    file = tmp_path / "found.joblib"
    file.write_bytes(pickle.dumps(Bomb(tmp_path / "exploded")))
    with pytest.raises(ArtifactError, match=r"found.joblib has no card found.json beside it"):
        load_file(file, tmp_path)
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize("key", NEEDED)
def test_a_card_that_lacks_something_says_what(file, tmp_path, key):
    write_card(file, **{key: None})
    with pytest.raises(ArtifactError, match=f"lacks {key}"):
        load_file(file, tmp_path)


def test_a_model_of_another_schema_is_refused(file, tmp_path):
    write_card(file, schema_digest="0" * 64)
    with pytest.raises(
        ArtifactError, match="trained with another schema of accidents; run `dvc repro`"
    ):
        load_file(file, tmp_path)


def test_a_missing_file_says_how_to_make_it(tmp_path):
    with pytest.raises(ArtifactError, match=r"x.joblib is missing; run `dvc repro`"):
        load_file(Path("x.joblib"), tmp_path)
