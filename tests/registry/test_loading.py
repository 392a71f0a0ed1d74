import errno
import json
import os
import pickle
import re
import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import requests
from mlflow.exceptions import MlflowException
from tests.registry.loaded import load_version

from lockstep.audit.artifacts import check_stored
from lockstep.errors import (
    ArtifactError,
    RegistryError,
    UnusableHere,
    UsageError,
)
from lockstep.io import read_json, sha256_file, write_json
from lockstep.models.artifact import digest_of, write_artifact
from lockstep.models.golden_rows import golden_rows
from lockstep.problems.schema import load_schema
from lockstep.registry.artifact import files, locating, model_cache
from lockstep.registry.artifact.loading import open_version
from lockstep.registry.artifact.locating import find_version, locate
from lockstep.registry.artifact.model_cache import CACHE, SUSPECT, is_intact
from lockstep.registry.record.registered_models import get_model
from lockstep.registry.store import artifact_store, uris
from lockstep.registry.store.opening import open_to_read

NAME = "Accident_Prediction_Logistic_Regression"


def load(home, **which):
    return load_version(home.client, home.root, NAME, **which)


def cached(home):
    return [f for f in (home.root / CACHE).glob("*") if not f.name.startswith(".")]


def test_a_version_loads_as_it_was_registered(home, pipeline):
    number = home.register(NAME, pipeline, threshold=0.37, stage="Staging")
    model = load(home, version=number)
    rows = golden_rows(load_schema("accidents"), seed=9)
    assert np.allclose(model.score(rows), pipeline.predict_proba(rows)[:, 1], atol=1e-8, rtol=0)
    assert (model.name, model.version, model.stage, model.threshold) == (NAME, 1, "Staging", 0.37)
    assert model.schema == load_schema("accidents")


def test_the_store_is_the_clients_wherever_one_stands(home, pipeline, tmp_path, monkeypatch):
    number = home.register(NAME, pipeline)
    monkeypatch.chdir(tmp_path)
    assert load(home, version=number).version == number
    assert not (tmp_path / "mlflow.db").exists()


def test_what_is_refused_is_noted_until_it_is_found_whole(home, pipeline):
    from lockstep.registry.artifact.damage import suspect_damage

    home.register(NAME, pipeline)
    version = find_version(home.client, NAME, version=1)
    assert suspect_damage(home.client, version, home.root) == ""
    file = home.artifact(NAME, 1) / "model.skops"
    content = file.read_bytes()
    file.write_bytes(content[:-1])
    with pytest.raises(ArtifactError, match="changed or swapped"):
        load(home, version=1)
    assert "changed or swapped" in suspect_damage(home.client, version, home.root)
    file.write_bytes(content)
    assert suspect_damage(home.client, version, home.root) == ""
    assert list((home.root / SUSPECT).iterdir()) == []


def test_two_processes_may_find_the_same_suspect_whole(home, pipeline, monkeypatch):
    from lockstep.registry.artifact import damage

    home.register(NAME, pipeline)
    version = find_version(home.client, NAME, version=1)
    note = home.root / SUSPECT / version.tag("model_digest")
    note.parent.mkdir(parents=True)
    note.touch()
    fetched = damage.fetched

    def overtaken(*given):
        monkeypatch.setattr(damage, "fetched", fetched)
        assert damage.suspect_damage(home.client, version, home.root) == "", "the faster process"
        return fetched(*given)

    monkeypatch.setattr(damage, "fetched", overtaken)
    assert damage.suspect_damage(home.client, version, home.root) == ""
    assert not note.exists()


def test_by_stage_the_newest_and_by_run_its_own(home, pipeline, other_pipeline):
    for made in (pipeline, other_pipeline, pipeline):
        home.register(NAME, made, stage="Staging")
    assert load(home, stage="Staging").version == 3
    second = load(home, version=2)
    assert load_version(home.client, home.root, run_id=second.run_id).version == 2


def test_the_second_time_nothing_is_downloaded(home, pipeline, monkeypatch):
    home.register(NAME, pipeline)
    load(home, version=1)
    monkeypatch.setattr(locating, "_download", lambda *_: pytest.fail("downloaded again"))
    assert load(home, version=1).version == 1


def vouch(home, version):
    """Write the sums of a version's files as they are now, and tag it with their digest."""
    folder = home.artifact(NAME, version)
    write_json(folder / files.SUMS, files.sums_of(folder))
    digest = sha256_file(folder / files.SUMS)
    home.client.set_model_version_tag(NAME, str(version), "lockstep.sums_digest", digest)


def test_versions_of_one_model_keep_files_of_their_own(home, pipeline):
    for number, text in enumerate(("a", "b"), 1):
        home.register(NAME, pipeline)
        file = home.artifact(NAME, number) / "golden.json"
        file.write_text(json.dumps(read_json(file) | {"from": text}))
        vouch(home, number)
    found = [find_version(home.client, NAME, version=number) for number in (1, 2)]
    folders = [locate(home.client, version, home.root).folder for version in found]
    assert [read_json(folder / "golden.json")["from"] for folder in folders] == ["a", "b"]
    assert found[0].tag("model_digest") == found[1].tag("model_digest")


def test_a_model_that_packages_here_cannot_use_stays_and_is_no_suspect(home, pipeline, monkeypatch):
    home.register(NAME, pipeline)
    file = home.artifact(NAME, 1) / "golden.json"
    golden = json.loads(file.read_text())
    golden["outputs"][7] += 1e-5
    file.write_text(json.dumps(golden))
    vouch(home, 1)
    with pytest.raises(UnusableHere, match="does not repeat its golden rows"):
        load(home, version=1)
    assert len(cached(home)) == 1
    assert not list((home.root / SUSPECT).glob("*"))
    monkeypatch.setattr(locating, "_download", lambda *_: pytest.fail("downloaded again"))
    with pytest.raises(UnusableHere):
        load(home, version=1)


def test_a_file_that_is_not_as_registered_is_not_kept_and_a_repair_is_seen(home, pipeline):
    home.register(NAME, pipeline)
    vouch(home, 1)
    file = home.artifact(NAME, 1) / "golden.json"
    before = file.read_text()
    golden = json.loads(before)
    golden["outputs"][7] += 1e-5
    file.write_text(json.dumps(golden))
    with pytest.raises(ArtifactError, match="changed since it was registered: golden"):
        load(home, version=1)
    assert cached(home) == []
    file.write_text(before)
    (file.parent / "notes.txt").write_text("somebody's")
    assert load(home, version=1).version == 1


def test_without_sums_golden_rows_are_fetched_again(home, pipeline):
    home.register(NAME, pipeline)
    file = home.artifact(NAME, 1) / "golden.json"
    before = file.read_text()
    golden = json.loads(before)
    golden["outputs"][7] += 1e-5
    file.write_text(json.dumps(golden))
    with pytest.raises(UnusableHere, match="does not repeat its golden rows"):
        load(home, version=1)
    assert not list((home.root / SUSPECT).glob("*"))
    file.write_text(before)
    assert load(home, version=1).version == 1


def test_a_schema_that_was_stored_with_a_key_twice_is_read_as_before(home, pipeline):
    home.register(NAME, pipeline)
    file = home.artifact(NAME, 1) / "schema.yaml"
    file.write_text(file.read_text().replace("name: accidents", "name: other\nname: accidents", 1))
    assert load(home, version=1).schema.name == "accidents"


def test_files_that_this_user_may_not_read_are_no_damage(home, pipeline, monkeypatch):
    home.register(NAME, pipeline)
    tables = open_to_read(home.root)
    folder = home.artifact(NAME, 1)
    monkeypatch.setattr(type(tables), "folder_of", lambda *_: folder)

    def refused(source, target):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(source))

    monkeypatch.setattr(locating.shutil, "copyfile", refused)
    with pytest.raises(UnusableHere, match=f"may not read {re.escape(str(folder))}.*permission$"):
        load_version(tables, home.root, NAME, version=1)
    assert not list((home.root / SUSPECT).glob("*"))


def test_the_cache_drops_what_was_not_used_for_longest(home, pipeline, monkeypatch):
    cache = home.root / CACHE
    for name, age in (("old", 9e4), ("older", 1e5), ("in use", 60), (".a.12.part", 9e4)):
        (cache / name).mkdir(parents=True)
        (cache / name / "model").write_bytes(bytes(1000))
        used = time.time() - age
        os.utime(cache / name, (used, used))
    (cache / ".b.34.part").mkdir()
    monkeypatch.setattr(model_cache, "MOST_BYTES", 2500)
    model_cache.drop_unused(cache)
    assert {path.name for path in cache.iterdir()} == {"old", "in use", ".b.34.part"}
    home.register(NAME, pipeline)
    folder = locate(home.client, find_version(home.client, NAME, version=1), home.root).folder
    assert {path.name for path in cache.iterdir()} == {"in use", ".b.34.part", folder.name}


def test_a_use_is_noted(home, pipeline):
    home.register(NAME, pipeline)
    version = find_version(home.client, NAME, version=1)
    folder = locate(home.client, version, home.root).folder
    os.utime(folder, (1, 1))
    locate(home.client, version, home.root)
    assert folder.stat().st_mtime > time.time() - 60


def test_a_full_disk_that_mlflow_meets_is_no_fault_of_the_server(home, pipeline, monkeypatch):
    class Full:
        def download_artifacts(self, path, dst_path):
            raise MlflowException(f"failures: {dst_path}: [Errno 28] No space left on device")

    home.register(NAME, pipeline)
    with monkeypatch.context() as patch:
        patch.setattr(artifact_store, "get_artifact_repository", lambda *_, **__: Full())
        fault = r"a disk takes no files, here or where the server keeps them \(No space"
        with pytest.raises(RegistryError, match=f"{fault}.*; free some space"):
            load(home, version=1)
        version = find_version(home.client, NAME, version=1)
        with pytest.raises(RegistryError, match=fault):
            artifact_store.fetch_version(home.client, version, home.root / "out")
    assert not list((home.root / SUSPECT).glob("*"))


@pytest.mark.parametrize(
    ("place", "uri", "elsewhere"),
    [
        ("/nowhere/1/models/m-1/artifacts", "http://server:5000", True),
        ("file:///nowhere/1/models/m-1/artifacts", "https://server", True),
        ("/", "http://server:5000", False),
        ("/nowhere/1", "sqlite:////a/mlflow.db", False),
        ("mlflow-artifacts:/1/models", "http://server:5000", False),
        ("s3://bucket/1", "http://server:5000", False),
    ],
)
def test_files_on_the_disk_of_a_server_are_known(place, uri, elsewhere):
    assert uris.is_elsewhere(place, uri) == elsewhere


def test_a_folder_that_is_missing_where_its_store_is_here_is_not_elsewhere(tmp_path):
    missing = tmp_path / "1" / "models" / "m-1" / "artifacts"
    assert not uris.is_elsewhere(missing.as_uri(), "http://127.0.0.1:5000")


def test_a_local_address_may_be_quoted(tmp_path):
    folder = tmp_path / "with blanks"
    assert uris.local_folder(folder.as_uri()) == uris.local_folder(str(folder)) == folder


def test_files_on_the_disk_of_a_server_are_no_damage(home, pipeline, monkeypatch):
    home.register(NAME, pipeline)
    monkeypatch.setattr(uris, "is_elsewhere", lambda place, uri: place.startswith("/"))
    with pytest.raises(UnusableHere, match=r"on the server's own disk, in /.*--serve-artifacts"):
        load(home, version=1)
    assert not list((home.root / SUSPECT).glob("*"))
    version = find_version(home.client, NAME, version=1)
    model = get_model(home.client, NAME)
    (found,) = check_stored(home.client, model, version, home.root / "out")
    assert (found.name, found.verdict) == ("files", "not known")


@pytest.mark.parametrize("fault", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EMFILE])
def test_a_full_disk_here_is_no_damage_in_the_registry(home, pipeline, monkeypatch, fault):
    home.register(NAME, pipeline)
    tables = open_to_read(home.root)
    folder = home.artifact(NAME, 1)
    monkeypatch.setattr(type(tables), "folder_of", lambda *_: folder)

    def full(source, target):
        raise OSError(fault, os.strerror(fault), str(target))

    with monkeypatch.context() as patch:
        patch.setattr(locating.shutil, "copyfile", full)
        with pytest.raises(RegistryError, match=f"cannot be copied into .*{os.strerror(fault)}"):
            load_version(tables, home.root, NAME, version=1)
    assert not list((home.root / SUSPECT).glob("*"))
    assert load_version(tables, home.root, NAME, version=1).version == 1


def test_several_processes_fetch_a_version_at_once(home, pipeline, monkeypatch):
    home.register(NAME, pipeline)
    version = find_version(home.client, NAME, version=1)
    fetches, all_wait = [], threading.Barrier(4)

    def slow(*given):
        fetches.append(given)
        return original(*given)

    original = locating._download
    monkeypatch.setattr(locating, "_download", slow)

    def fetch(_):
        all_wait.wait(20)
        return is_intact(locating.fetched(home.client, version, home.root).folder)

    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(fetch, range(4))) == [True] * 4
    assert len(fetches) == 1


def test_a_server_that_does_not_answer_is_no_damaged_artifact(home, pipeline, monkeypatch):
    def unreachable(*_, **__):
        raise requests.ConnectionError("connection refused")

    home.register(NAME, pipeline)
    with monkeypatch.context() as patch:
        patch.setattr(artifact_store, "get_artifact_repository", unreachable)
        with pytest.raises(
            RegistryError, match=r"cannot be fetched .*connection refused.*run the command again"
        ):
            load(home, version=1)
    assert not list((home.root / SUSPECT).glob("*"))
    assert load(home, version=1).version == 1


@pytest.mark.parametrize("file", ["model.skops", "golden.json", "schema.yaml"])
def test_a_byte_changed_in_the_cache_is_downloaded_again(home, pipeline, file):
    home.register(NAME, pipeline)
    before = load(home, version=1)
    (folder,) = cached(home)
    content = bytearray((folder / file).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / file).write_bytes(content)
    assert load(home, version=1).digest == before.digest
    assert (folder / file).read_bytes() != content


def test_a_byte_changed_in_the_registry_is_refused_and_not_kept(home, pipeline):
    home.register(NAME, pipeline)
    file = home.artifact(NAME, 1) / "model.skops"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(
        ArtifactError, match=r"version 1: its artifact has digest .* changed or swapped"
    ):
        load(home, version=1)
    assert cached(home) == []


def test_an_artifact_swapped_for_another_models_is_refused(home, pipeline, other_pipeline):
    home.register(NAME, pipeline)
    home.register(NAME, other_pipeline)
    shutil.copy(home.artifact(NAME, 2) / "model.skops", home.artifact(NAME, 1) / "model.skops")
    with pytest.raises(ArtifactError, match="changed or swapped"):
        load(home, version=1)


class Bomb:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_a_pickle_beside_no_skops_is_named_and_not_opened(home, pipeline):
    home.register(NAME, pipeline)
    folder = home.artifact(NAME, 1)
    (folder / "model.skops").unlink()
    (folder / "model.pkl").write_bytes(pickle.dumps(Bomb(home.root / "exploded")))
    with pytest.raises(
        ArtifactError, match=r"holds a pickle \(model.pkl\) in place of model.skops"
    ):
        load(home, version=1)
    assert not (home.root / "exploded").exists()


def test_a_pickle_called_skops_with_a_matching_digest_is_not_opened(home, pipeline):
    content = pickle.dumps(Bomb(home.root / "exploded"))
    digest = digest_of(content, home.root / "none")
    home.register(NAME, pipeline, model_digest=digest)
    (home.artifact(NAME, 1) / "model.skops").write_bytes(content)
    with pytest.raises(ArtifactError, match="is a pickle"):
        load(home, version=1)
    assert not (home.root / "exploded").exists()


def test_a_type_that_is_not_allowed_is_named_even_with_a_matching_digest(home, pipeline, tmp_path):
    write_artifact(Bomb("x"), tmp_path / "bomb.skops")
    content = (tmp_path / "bomb.skops").read_bytes()
    home.register(NAME, pipeline, model_digest=digest_of(content, home.root / "none"))
    (home.artifact(NAME, 1) / "model.skops").write_bytes(content)
    with pytest.raises(ArtifactError, match=r"not allowed|no readable skops"):
        load(home, version=1)
    assert not (home.root / "x").exists()


def test_code_in_an_artifact_is_covered_by_the_digest_and_never_imported(home, pipeline):
    home.register(NAME, pipeline)
    code = home.artifact(NAME, 1) / files.SHIPPED_CODE
    code.parent.mkdir(parents=True)
    code.write_text("raise SystemExit('imported')\n")
    with pytest.raises(ArtifactError, match="changed or swapped"):
        load(home, version=1)
    digest = digest_of((home.artifact(NAME, 1) / "model.skops").read_bytes(), code)
    home.client.set_model_version_tag(NAME, "1", "lockstep.model_digest", digest)
    assert load(home, version=1).digest == digest


def test_golden_rows_that_are_not_repeated_are_refused(home, pipeline):
    home.register(NAME, pipeline)
    file = home.artifact(NAME, 1) / "golden.json"
    golden = json.loads(file.read_text())
    golden["outputs"][7] += 1e-5
    file.write_text(json.dumps(golden))
    with pytest.raises(ArtifactError, match="does not repeat its golden rows: 1 of"):
        load(home, version=1)


def test_golden_rows_that_were_taken_away_are_missed(home, pipeline):
    home.register(NAME, pipeline)
    file = home.artifact(NAME, 1) / "golden.json"
    golden = json.loads(file.read_text())
    file.write_text(
        json.dumps({**golden, "rows": golden["rows"][:1], "outputs": golden["outputs"][:1]})
    )
    with pytest.raises(ArtifactError, match="1 golden rows in place of 256"):
        load(home, version=1)


@pytest.mark.parametrize("file", ["model.skops", "golden.json", "schema.yaml"])
def test_a_file_that_is_missing_is_named(home, pipeline, file):
    home.register(NAME, pipeline)
    (home.artifact(NAME, 1) / file).unlink()
    with pytest.raises(ArtifactError, match=file):
        load(home, version=1)


def test_an_artifact_that_is_gone_says_how_to_get_it_back(home, pipeline):
    home.register(NAME, pipeline)
    shutil.rmtree(home.artifact(NAME, 1))
    with pytest.raises(
        (ArtifactError, RegistryError), match=r"Logistic_Regression version 1|refused"
    ):
        load(home, version=1)
    assert cached(home) == []


@pytest.mark.parametrize("digest", [None, "../../../precious", "ABC"])
def test_a_digest_that_is_none_is_refused_and_never_a_path(home, pipeline, digest):
    precious = home.root.parent / "precious"
    precious.mkdir()
    home.register(NAME, pipeline, model_digest=digest)
    with pytest.raises(ArtifactError, match=r"carries no valid digest"):
        load(home, version=1)
    assert precious.is_dir()


def test_runs_that_made_no_version_are_named(home, pipeline):
    home.register(NAME, pipeline)
    run = home.client.create_run("0", tags={"mlflow.runName": "parent"}).info.run_id
    with pytest.raises(RegistryError, match=rf"run {run} \(parent\) made no registered version"):
        load_version(home.client, home.root, run_id=run)
    with pytest.raises(RegistryError, match="no run 'abc' here"):
        load_version(home.client, home.root, run_id="abc")
    with pytest.raises(UsageError, match="is no run's id"):
        load_version(home.client, home.root, run_id="x' or '1'='1")


def test_an_empty_stage_says_how_to_fill_it(home, pipeline):
    home.register(NAME, pipeline)
    with pytest.raises(
        RegistryError, match=r"has no version in Production; versions: 1 \(None\); move one:"
    ):
        load(home)


def test_what_is_located_may_be_opened_elsewhere(home, pipeline):
    home.register(NAME, pipeline)
    found = find_version(home.client, NAME, version=1)
    located = pickle.loads(pickle.dumps(locate(home.client, found, home.root)))
    assert open_version(located).version == 1
