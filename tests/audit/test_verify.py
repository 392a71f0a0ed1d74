import json
import os
import pickle
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.registry.loaded import load_version
from tests.registry.populated_registry import NAME, VERSIONS, files, flip, stock

from lockstep.audit.artifacts import check_artifact
from lockstep.audit.bundle import export
from lockstep.audit.bundle_checks import verify_folder
from lockstep.audit.findings import compared, healthy, report
from lockstep.audit.verify import verify
from lockstep.commands import manage_registry as manage
from lockstep.errors import ArtifactError, RegistryError, UsageError
from lockstep.io import sha256_file, write_json
from lockstep.models.artifact import digest_of, write_artifact
from lockstep.promotion.gate_report import gate_of
from lockstep.registry.artifact.files import SHIPPED_CODE, SUMS, sums_of
from lockstep.registry.lifecycle import moves as lifecycle
from lockstep.registry.train_stage import publish_training


@pytest.fixture
def filled(request, monkeypatch):
    made = stock(request)
    monkeypatch.chdir(made.root)
    return made


def tag(filled, key, value, version=1):
    filled.client.set_model_version_tag(NAME, str(version), f"lockstep.{key}", value)


def accept(filled, version=1):
    """Make tags, sums and record agree with an artifact as it lies: only its inside can tell."""
    folder = filled.folder(version)
    write_json(folder / SUMS, sums_of(folder))
    tag(filled, "sums_digest", sha256_file(folder / SUMS), version)
    tag(
        filled,
        "model_digest",
        digest_of((folder / "model.skops").read_bytes(), folder / SHIPPED_CODE),
        version,
    )


def test_what_was_published_is_well(filled):
    found = filled.found()
    checks = [
        "record",
        "aliases",
        "files",
        "digest",
        "types",
        "schema",
        "card",
        "golden rows",
        "closure",
    ]
    assert list(found) == [*checks, "inputs", "commit", "gates", "stage"]
    assert found.pop("commit").verdict == "not recorded", "the workspace is no git repository"
    assert {finding.verdict for finding in found.values()} == {"ok"}
    assert found["files"].message == f"{len(files(filled.folder(1)))} files"


def test_everything_is_checked_where_nothing_is_named(filled):
    found = verify(filled.client, filled.root)
    assert {f.version for f in found} == {None, *range(1, VERSIONS + 1)}
    assert healthy(found)
    flip(filled.folder(3) / "conda.yaml")
    assert [
        (f.version, f.name) for f in verify(filled.client, filled.root) if f.verdict == "failed"
    ] == [(3, "files")]


def test_a_byte_changed_in_any_file_is_found_and_the_file_named(filled):
    folder = filled.folder(1)
    names = files(folder)
    assert {"MLmodel", "model.skops", "golden.json", "schema.yaml", "model_card.json", SUMS} <= set(
        names
    )
    assert {"requirements.txt", "code/lockstep/__init__.py", str(SHIPPED_CODE)} <= set(names)
    for name in names:
        before = (folder / name).read_bytes()
        flip(folder / name)
        told = filled.failed()
        assert name in told["files"], name
        (folder / name).write_bytes(before)
    assert filled.failed() == {}


def test_a_file_that_is_missing_or_came_on_top_is_found(filled):
    folder = filled.folder(1)
    for name in ("model.skops", "MLmodel", SUMS, "requirements.txt", str(SHIPPED_CODE)):
        before = (folder / name).read_bytes()
        (folder / name).unlink()
        assert name in filled.failed()["files"], name
        (folder / name).write_bytes(before)
    for name in (
        "notes.txt",
        "code/lockstep/__pycache__/columns_v1.cpython-311.pyc",
        "code/sitecustomize.py",
    ):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("print('hello')")
        assert looked_at(filled, folder) == f"added: {name}"
        (folder / name).unlink()


def looked_at(filled, folder):
    """Return what the check of the files says of an artifact's folder."""
    return next(
        f.message for f in check_artifact(filled.model.version(1), folder) if f.name == "files"
    )


def test_files_that_are_gone_altogether_are_one_finding(filled):
    shutil.rmtree(filled.folder(1))
    assert set(filled.failed()) == {"files"}
    assert filled.failed(2) == {}


def test_damage_in_the_store_is_found_past_an_intact_cache(filled):
    load_version(filled.client, filled.root, NAME, version=1)
    flip(filled.folder(1) / "golden.json")
    assert load_version(filled.client, filled.root, NAME, version=1).version == 1
    assert "files" in filled.failed()


def test_a_model_swapped_for_another_versions_is_found(filled):
    shutil.copy(filled.folder(2) / "model.skops", filled.folder(1) / "model.skops")
    assert set(filled.failed()) == {"files", "digest"}
    shutil.rmtree(filled.folder(1))
    shutil.copytree(filled.folder(2), filled.folder(1))
    assert filled.failed().keys() >= {"files", "digest"}


class Bomb:
    """Leaves a folder behind when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("name", ["model.pkl", "model.skops", "extra", "python_model.joblib"])
def test_a_pickle_is_named_and_not_opened_even_where_tags_and_sums_agree(filled, name):
    (filled.folder(1) / name).write_bytes(pickle.dumps(Bomb(filled.root / "exploded")))
    accept(filled)
    found = filled.found()
    assert found["types"].verdict == "failed"
    assert f"{name}: a pickle" in found["types"].message
    assert found["golden rows"].verdict == "not checked"
    assert not (filled.root / "exploded").exists()


def test_a_type_that_is_not_allowed_is_named_and_nothing_is_loaded(filled):
    write_artifact(Bomb("exploded"), filled.folder(1) / "model.skops")
    accept(filled)
    found = filled.found()
    assert "not allowed" in found["types"].message
    assert found["digest"].verdict == found["files"].verdict == "ok"
    assert found["golden rows"].verdict == "not checked"
    assert not (filled.root / "exploded").exists()


def test_shipped_code_is_never_imported(filled):
    code = filled.folder(1) / SHIPPED_CODE
    code.write_text("import os; os.mkdir('exploded')\n" + code.read_text())
    accept(filled)
    assert set(filled.failed()) == {"card", "stage"}, "only card and record know better"
    assert not (filled.root / "exploded").exists()


def test_golden_rows_that_are_not_repeated_are_found_where_sums_agree(filled):
    path = filled.folder(1) / "golden.json"
    content = json.loads(path.read_text())
    content["outputs"][3] += 1e-3
    path.write_text(json.dumps(content))
    accept(filled)
    assert "does not repeat its golden rows: 1 of" in filled.failed()["golden rows"]


def test_the_record_holds_the_digests_that_tags_may_lose(filled):
    tag(filled, "model_digest", "0" * 64)
    told = filled.failed()
    assert "the version says 000000000000…" in told["digest"]
    assert "tag lockstep.model_digest is not the one of event 1" in told["stage"]


def test_a_version_of_before_has_no_sums_and_that_is_no_fault_but_losing_them_is(filled):
    filled.client.delete_model_version_tag(NAME, "1", "lockstep.sums_digest")
    assert "lost its tag lockstep.sums_digest" in filled.failed()["files"]
    (filled.folder(1) / SUMS).unlink()
    assert filled.found()["files"].verdict == "not recorded"


def test_a_threshold_that_is_not_the_cards_is_found(filled):
    tag(filled, "threshold", "0.9")
    assert filled.failed() == {"card": "tag lockstep.threshold is 0.9, model_card.json says 0.4"}


def test_a_schema_tag_of_another_schema_is_found(filled):
    tag(filled, "schema_digest", "0" * 64)
    assert filled.failed().keys() == {"schema", "card", "golden rows"}


def test_tags_aliases_and_stages_written_past_the_record_are_found(filled):
    lifecycle.promote(filled.client, NAME, 1)
    assert filled.failed() == {}
    filled.client.set_registered_model_alias(NAME, "production", "2")
    assert filled.failed() == {
        "aliases": "alias production names version 2, the stages say version 1"
    }
    filled.client.set_registered_model_alias(NAME, "production", "1")
    tag(filled, "stage", "Staging")
    assert filled.failed() == {"stage": "tag lockstep.stage is Staging, the record says Production"}
    tag(filled, "stage", "Production")
    with pytest.warns(FutureWarning):
        filled.client.transition_model_version_stage(NAME, "1", "Archived")
    assert filled.failed() == {
        "stage": "MLflow's own stage is Archived, the record says Production"
    }


def test_an_event_that_was_altered_or_taken_out_is_found(filled):
    lifecycle.promote(filled.client, NAME, 1)
    key = "lockstep.event.000002"
    content = filled.client.get_registered_model(NAME).tags[key]
    filled.client.set_registered_model_tag(NAME, key, content.replace('"actor":"', '"actor":"not '))
    assert "event 2 was altered" in filled.failed()["record"]
    filled.client.delete_registered_model_tag(NAME, key)
    assert "event 2 is missing from the record" in filled.failed()["record"]


def test_a_move_half_done_and_a_version_that_is_gone_are_told(filled):
    lifecycle.archive(filled.client, NAME, 4)
    filled.client.delete_registered_model_tag(NAME, "lockstep.ended.000005")
    assert "event 5 (archive) has no end" in filled.failed()["record"]
    filled.client.delete_model_version(NAME, "3")
    assert "version 3 is on record and not in the registry" in filled.failed()["record"]


def test_a_version_that_the_record_does_not_know_is_told_as_that(filled):
    made = filled.client.get_model_version(NAME, "1")
    filled.client.create_model_version(NAME, made.source, made.run_id, tags=made.tags)
    assert filled.found(VERSIONS + 1)["stage"].verdict == "not recorded"


def test_a_closure_that_was_changed_or_is_gone_is_found(filled):
    run = filled.client.get_run(filled.model.version(1).run_id)
    path = Path(run.info.artifact_uri.removeprefix("file://")) / "lineage" / "closure.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content, indent=1))
    assert filled.failed() == {}, "its digest is over the content, not over how it is written"
    content["environment"]["python"] = "2.7"
    path.write_text(json.dumps(content))
    assert "closure.json has digest" in filled.failed()["closure"]
    path.write_text("{")
    assert "no valid JSON" in filled.failed()["closure"]
    path.unlink()
    assert filled.failed()["closure"] == "lineage/closure.json is missing"
    shutil.rmtree(path.parent)
    assert "has no folder lineage any more" in filled.failed()["closure"]
    assert filled.found()["inputs"].verdict == "not checked"
    (path.parents[1] / "metrics.json").unlink()
    assert filled.found()["closure"].verdict == "not recorded", "as without log_artifacts"
    filled.client.delete_run(run.info.run_id)
    assert "mlflow runs restore" in filled.failed()["closure"]


def git(filled, *arguments):
    environment = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    command = ["git", "-c", "user.name=a", "-c", "user.email=a@b.c", *arguments]
    done = subprocess.run(
        command, cwd=filled.root, check=True, env=environment, capture_output=True, text=True
    )
    return done.stdout.strip()


def test_the_commit_is_looked_up_and_an_unknown_one_is_told(filled):
    tag(filled, "git_commit", "1" * 40)
    found = filled.found()["commit"]
    assert (found.verdict, found.message[:42]) == ("not known", f"{'1' * 40} i")
    git(filled, "init", "-q")
    git(filled, "commit", "-q", "--allow-empty", "-m", "first")
    assert filled.found()["commit"].verdict == "not known"
    head = git(filled, "rev-parse", "HEAD")
    tag(filled, "git_commit", head)
    assert filled.found()["commit"].verdict == "ok"
    tag(filled, "committed_as", "2" * 40)
    told = filled.found()["commit"].message
    assert told.endswith(f"committed as {'2' * 40}, which is not in the repository here")
    tag(filled, "git_commit", "--help")
    assert filled.found()["commit"].verdict == "not known"


LAST = VERSIONS + 1


@pytest.fixture
def dirty(request, make, monkeypatch):
    """A filled with one more version.

    Its tree has a changed, a new and a deleted file, none of them committed.
    """

    def arrange(filled):
        code = filled.root / "src" / "lockstep"
        (code / "models").mkdir(parents=True)
        for package in (code, code / "models"):
            (package / "__init__.py").touch()
        (code / "models" / "train_multi_model.py").write_text("from lockstep import new, old\n")
        (code / "old.py").write_text("1\n")
        (filled.root / ".gitignore").write_text("/ml*\n/.lockstep\n")
        git(filled, "init", "-q")
        git(filled, "add", "-A")
        git(filled, "commit", "-qm", "first")
        (code / "old.py").unlink()
        (code / "new.py").write_text("2\n")
        with (filled.root / "requirements.lock").open("a") as lock:
            lock.write("# another\n")
        make.training(filled.root, "logistic_regression", seed=VERSIONS)
        publish_training(filled.root, "accidents", "logistic_regression")

    made = stock(request, "dirty", arrange)
    monkeypatch.chdir(made.root)
    return made


def kept_by_run(filled, version):
    run = filled.client.get_run(filled.model.version(version).run_id)
    return Path(run.info.artifact_uri.removeprefix("file://"))


def test_what_a_dirty_tree_had_changed_is_kept_and_each_byte_of_it_checked(dirty):
    found = dirty.found(LAST)
    assert (found["inputs"].verdict, found["inputs"].message) == (
        "ok",
        "3 changed, as kept by the run",
    )
    assert dirty.found(1)["inputs"].message == "none was kept"
    folder = kept_by_run(dirty, LAST) / "lineage"
    names = [name for name in files(folder) if name != "closure.json"]
    assert names == ["changed.json", "inputs/requirements.lock", "inputs/src/lockstep/new.py"]
    for name in names:
        before = (folder / name).read_bytes()
        flip(folder / name)
        told = dirty.failed(LAST)
        assert set(told) == {"inputs"}
        assert name.removeprefix("inputs/") in told["inputs"]
        (folder / name).unlink()
        assert name.removeprefix("inputs/") in dirty.failed(LAST)["inputs"]
        (folder / name).write_bytes(before)
    (folder / "inputs" / "src" / "lockstep" / "old.py").write_text("1\n")
    assert dirty.failed(LAST) == {"inputs": "added: src/lockstep/old.py"}


def test_tags_that_lose_the_changed_inputs_are_found(dirty):
    tag(dirty, "dirty", "false", LAST)
    assert "tag lockstep.dirty says none were changed" in dirty.failed(LAST)["inputs"]
    tag(dirty, "dirty", "true", LAST)
    tag(dirty, "inputs_digest", "0" * 64, LAST)
    assert "the version says 000000000000…" in dirty.failed(LAST)["inputs"]
    dirty.client.delete_model_version_tag(NAME, str(LAST), "lockstep.inputs_digest")
    assert "lost its tag lockstep.inputs_digest" in dirty.failed(LAST)["inputs"]
    shutil.rmtree(kept_by_run(dirty, LAST) / "lineage" / "inputs")
    (kept_by_run(dirty, LAST) / "lineage" / "changed.json").unlink()
    assert dirty.found(LAST)["inputs"].verdict == "not recorded"


def test_the_commit_that_has_the_inputs_by_now_is_shown(dirty, capsys):
    first = git(dirty, "rev-parse", "HEAD")
    assert (
        dirty.found(LAST)["commit"].message == f"{first[:12]}, with changes that its closure holds"
    )
    git(dirty, "add", "-A")
    git(dirty, "commit", "-qm", "now it is committed")
    publish_training(dirty.root, "accidents", "logistic_regression")
    capsys.readouterr()
    assert manage.main(["verify", "--model-name", NAME, "--version", str(LAST)]) == 0
    assert f"committed as {git(dirty, 'rev-parse', 'HEAD')}" in capsys.readouterr().out


def test_a_bundle_s_changed_inputs_are_checked_too(dirty, tmp_path):
    export(dirty.client, dirty.root, NAME, tmp_path / "out", version=LAST)
    assert {f.name: f.verdict for f in verify_folder(tmp_path / "out")}["inputs"] == "ok"
    flip(tmp_path / "out" / "lineage" / "inputs" / "requirements.lock")
    told = {f.name: f.message for f in verify_folder(tmp_path / "out") if f.verdict == "failed"}
    assert told["inputs"] == "changed: requirements.lock"
    flip(kept_by_run(dirty, LAST) / "lineage" / "inputs" / "requirements.lock")
    with pytest.raises(ArtifactError, match=r"its inputs failed \(changed: requirements\.lock\)"):
        export(dirty.client, dirty.root, NAME, tmp_path / "other", version=LAST)


@pytest.fixture
def judged(request, make, monkeypatch):
    """A filled with one version more in Production, by a verdict on it."""

    def arrange(filled):
        monkeypatch.chdir(filled.root)
        # A run of its own: the others are copies, and MLflow remembers in a process
        # where the files of a run go.
        make.training(filled.root, "logistic_regression", seed=VERSIONS)
        publish_training(filled.root, "accidents", "logistic_regression")
        gate = gate_of(filled.client, filled.root, NAME, LAST)
        lifecycle.promote(filled.client, NAME, LAST, gate=replace(gate, forced=True))

    made = stock(request, "judged", arrange)
    monkeypatch.chdir(made.root)
    return made


def test_each_byte_of_a_verdict_is_vouched_for_by_its_event(judged):
    assert judged.found(LAST)["gates"].message == "1 kept as recorded"
    assert judged.found(3)["gates"].message == "no move was judged"
    event = judged.model.record.last
    path = kept_by_run(judged, LAST) / event.gate["file"]
    before = path.read_bytes()
    for place in (0, 0.5, 0.9):
        flip(path, place)
        assert judged.failed(LAST) == {
            "gates": f"changed: {event.gate['file']} of event {event.number}"
        }
    other = {**json.loads(before), "verdict": "passed", "checks": []}
    path.write_text(json.dumps(other))
    assert "gates" in judged.failed(LAST)
    path.unlink()
    assert judged.failed(LAST) == {
        "gates": f"missing: {event.gate['file']} of event {event.number}"
    }
    assert judged.failed(1) == {}


def test_a_verdict_that_could_not_be_kept_is_told(filled):
    gate = gate_of(filled.client, filled.root, NAME, 1)
    lifecycle.promote(filled.client, NAME, 1, gate=replace(gate, file="", forced=True))
    found = filled.found(1)["gates"]
    assert (found.verdict, found.message) == (
        "not recorded",
        "the verdict of event 5 could not be kept",
    )


@given(data=st.data())
@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_whatever_bytes_are_damaged_it_is_a_finding_and_no_crash(filled, data, tmp_path):
    version, kept = filled.model.version(1), filled.folder(1)
    folder = tmp_path / "damaged"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(kept, folder)
    name = data.draw(st.sampled_from(files(folder)))
    before = (folder / name).read_bytes()
    start = data.draw(st.integers(0, len(before) - 1))
    put = data.draw(st.binary(max_size=8))
    after = before[:start] + put + before[start + data.draw(st.integers(0, 8)) :]
    (folder / name).write_bytes(after)
    found = {f.name: f for f in check_artifact(version, folder)}
    assert (found["files"].verdict == "failed") == (after != before)
    assert set(found) == {"files", "digest", "types", "schema", "card", "golden rows"}


@given(
    told=st.dictionaries(st.text(max_size=3), st.sampled_from("ab"), max_size=6),
    found=st.dictionaries(st.text(max_size=3), st.sampled_from("ab"), max_size=6),
)
def test_sums_compare_equal_exactly_where_they_are(told, found):
    assert (compared(told, found) == []) == (told == found)


def test_people_see_a_line_a_version_and_every_fault(filled):
    flip(filled.folder(2) / "MLmodel")
    text = report(verify(filled.client, filled.root))
    assert "changed: MLmodel" in text
    assert (
        text.splitlines()[-1] == f"✗ 1 of {2 + 11 * VERSIONS} checks of {VERSIONS} versions failed"
    )
    assert len(text.splitlines()) == 1 + 1 + 2 * VERSIONS + 1 + 1, (
        "head, model, versions, fault, sum"
    )


def test_the_command_says_by_its_exit_code_too(filled, capsys):
    assert manage.main(["verify", "--model-name", NAME, "--version", "1"]) == 0
    assert "none failed (1 not recorded)" in capsys.readouterr().out
    flip(filled.folder(1) / "MLmodel")
    assert manage.main(["verify", "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert [t["what"] for t in told if t["verdict"] == "failed"] == ["changed: MLmodel"]
    with pytest.raises(RegistryError, match="has no version 9"):
        manage.main(["verify", "--model-name", NAME, "--version", "9"])
    with pytest.raises(UsageError, match="--version needs --model-name"):
        manage.main(["verify", "--version", "1"])
