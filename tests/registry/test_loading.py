import json
import os
import pickle
import shutil

import numpy as np
import pytest

from lockstep.errors import ArtifactError, RegistryError, UsageError
from lockstep.models.artifact import digest_of, write_artifact
from lockstep.models.golden import golden_rows
from lockstep.problems.schema import load_schema
from lockstep.registry import loading
from lockstep.registry.loading import load_version, locate, open_version

NAME = "Accident_Prediction_Logistic_Regression"


def load(workspace, **which):
    return load_version(workspace.client, workspace.root, NAME, **which)


def cached(workspace):
    return [f for f in (workspace.root / loading.CACHE).glob("*") if not f.name.startswith(".")]


def test_a_version_loads_as_it_was_registered(workspace, pipeline):
    number = workspace.register(NAME, pipeline, threshold=0.37, stage="Staging")
    model = load(workspace, version=number)
    rows = golden_rows(load_schema("accidents"), seed=9)
    assert np.allclose(model.score(rows), pipeline.predict_proba(rows)[:, 1], atol=1e-8, rtol=0)
    assert (model.name, model.version, model.stage, model.threshold) == (NAME, 1, "Staging", 0.37)
    assert model.schema == load_schema("accidents")


def test_by_stage_the_newest_and_by_run_its_own(workspace, pipeline, other_pipeline):
    for made in (pipeline, other_pipeline, pipeline):
        workspace.register(NAME, made, stage="Staging")
    assert load(workspace, stage="Staging").version == 3
    second = load(workspace, version=2)
    assert load_version(workspace.client, workspace.root, run_id=second.run_id).version == 2


def test_the_second_time_nothing_is_downloaded(workspace, pipeline, monkeypatch):
    workspace.register(NAME, pipeline)
    load(workspace, version=1)
    monkeypatch.setattr(loading, "_download", lambda *_: pytest.fail("downloaded again"))
    assert load(workspace, version=1).version == 1


@pytest.mark.parametrize("file", ["model.skops", "golden.json", "schema.yaml"])
def test_a_byte_changed_in_the_cache_is_downloaded_again(workspace, pipeline, file):
    workspace.register(NAME, pipeline)
    before = load(workspace, version=1)
    (folder,) = cached(workspace)
    content = bytearray((folder / file).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / file).write_bytes(content)
    assert load(workspace, version=1).digest == before.digest
    assert (folder / file).read_bytes() != content


def test_a_byte_changed_in_the_registry_is_refused_and_not_kept(workspace, pipeline):
    workspace.register(NAME, pipeline)
    file = workspace.artifact(NAME, 1) / "model.skops"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(ArtifactError, match=r"version 1: its artifact has digest .* changed or swapped"):
        load(workspace, version=1)
    assert cached(workspace) == []


def test_an_artifact_swapped_for_another_models_is_refused(workspace, pipeline, other_pipeline):
    workspace.register(NAME, pipeline)
    workspace.register(NAME, other_pipeline)
    shutil.copy(workspace.artifact(NAME, 2) / "model.skops", workspace.artifact(NAME, 1) / "model.skops")
    with pytest.raises(ArtifactError, match="changed or swapped"):
        load(workspace, version=1)


class Bomb:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_a_pickle_beside_no_skops_is_named_and_not_opened(workspace, pipeline):
    workspace.register(NAME, pipeline)
    folder = workspace.artifact(NAME, 1)
    (folder / "model.skops").unlink()
    (folder / "model.pkl").write_bytes(pickle.dumps(Bomb(workspace.root / "exploded")))
    with pytest.raises(ArtifactError, match=r"holds a pickle \(model.pkl\) in place of model.skops"):
        load(workspace, version=1)
    assert not (workspace.root / "exploded").exists()


def test_a_pickle_called_skops_with_a_matching_digest_is_not_opened(workspace, pipeline):
    content = pickle.dumps(Bomb(workspace.root / "exploded"))
    digest = digest_of(content, workspace.root / "none")
    workspace.register(NAME, pipeline, model_digest=digest)
    (workspace.artifact(NAME, 1) / "model.skops").write_bytes(content)
    with pytest.raises(ArtifactError, match="is a pickle"):
        load(workspace, version=1)
    assert not (workspace.root / "exploded").exists()


def test_a_type_that_is_not_allowed_is_named_even_with_a_matching_digest(workspace, pipeline, tmp_path):
    write_artifact(Bomb("x"), tmp_path / "bomb.skops")
    content = (tmp_path / "bomb.skops").read_bytes()
    workspace.register(NAME, pipeline, model_digest=digest_of(content, workspace.root / "none"))
    (workspace.artifact(NAME, 1) / "model.skops").write_bytes(content)
    with pytest.raises(ArtifactError, match=r"not allowed|no readable skops"):
        load(workspace, version=1)
    assert not (workspace.root / "x").exists()


def test_code_in_an_artifact_is_covered_by_the_digest_and_never_imported(workspace, pipeline):
    workspace.register(NAME, pipeline)
    code = workspace.artifact(NAME, 1) / loading.SHIPPED_CODE
    code.parent.mkdir(parents=True)
    code.write_text("raise SystemExit('imported')\n")
    with pytest.raises(ArtifactError, match="changed or swapped"):
        load(workspace, version=1)
    digest = digest_of((workspace.artifact(NAME, 1) / "model.skops").read_bytes(), code)
    workspace.client.set_model_version_tag(NAME, "1", "lockstep.model_digest", digest)
    assert load(workspace, version=1).digest == digest


def test_golden_rows_that_are_not_repeated_are_refused(workspace, pipeline):
    workspace.register(NAME, pipeline)
    file = workspace.artifact(NAME, 1) / "golden.json"
    golden = json.loads(file.read_text())
    golden["outputs"][7] += 1e-5
    file.write_text(json.dumps(golden))
    with pytest.raises(ArtifactError, match="does not repeat its golden rows: 1 of"):
        load(workspace, version=1)


def test_golden_rows_that_were_taken_away_are_missed(workspace, pipeline):
    workspace.register(NAME, pipeline)
    file = workspace.artifact(NAME, 1) / "golden.json"
    golden = json.loads(file.read_text())
    file.write_text(json.dumps({**golden, "rows": golden["rows"][:1], "outputs": golden["outputs"][:1]}))
    with pytest.raises(ArtifactError, match="1 golden rows in place of 256"):
        load(workspace, version=1)


@pytest.mark.parametrize("file", ["model.skops", "golden.json", "schema.yaml"])
def test_a_file_that_is_missing_is_named(workspace, pipeline, file):
    workspace.register(NAME, pipeline)
    (workspace.artifact(NAME, 1) / file).unlink()
    with pytest.raises(ArtifactError, match=file):
        load(workspace, version=1)


def test_an_artifact_that_is_gone_says_how_to_get_it_back(workspace, pipeline):
    workspace.register(NAME, pipeline)
    shutil.rmtree(workspace.artifact(NAME, 1))
    with pytest.raises((ArtifactError, RegistryError), match=r"Logistic_Regression version 1|refused"):
        load(workspace, version=1)
    assert cached(workspace) == []


@pytest.mark.parametrize("digest", [None, "../../../precious", "ABC"])
def test_a_digest_that_is_none_is_refused_and_never_a_path(workspace, pipeline, digest):
    precious = workspace.root.parent / "precious"
    precious.mkdir()
    workspace.register(NAME, pipeline, model_digest=digest)
    with pytest.raises(ArtifactError, match=r"carries no valid digest"):
        load(workspace, version=1)
    assert precious.is_dir()


def test_runs_that_made_no_version_are_named(workspace, pipeline):
    workspace.register(NAME, pipeline)
    run = workspace.client.create_run("0", tags={"mlflow.runName": "parent"}).info.run_id
    with pytest.raises(RegistryError, match=rf"run {run} \(parent\) made no registered version"):
        load_version(workspace.client, workspace.root, run_id=run)
    with pytest.raises(RegistryError, match="no run 'abc' here"):
        load_version(workspace.client, workspace.root, run_id="abc")
    with pytest.raises(UsageError, match="is no run's id"):
        load_version(workspace.client, workspace.root, run_id="x' or '1'='1")


def test_an_empty_stage_says_how_to_fill_it(workspace, pipeline):
    workspace.register(NAME, pipeline)
    with pytest.raises(RegistryError, match=r"has no version in Production; versions: 1 \(None\); move one:"):
        load(workspace)


def test_what_is_located_may_be_opened_elsewhere(workspace, pipeline):
    workspace.register(NAME, pipeline)
    found = loading.find_version(workspace.client, NAME, version=1)
    located = pickle.loads(pickle.dumps(locate(workspace.client, found, workspace.root)))
    assert open_version(located).version == 1
