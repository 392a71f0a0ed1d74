import errno
import json
import os
import shutil
import time
from datetime import UTC, datetime

import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository
from tests.registry.loaded import load_version
from tests.registry.populated_registry import NAME, VERSIONS, files, stock

from lockstep.audit.findings import healthy
from lockstep.audit.verify import verify
from lockstep.commands import manage_registry as manage
from lockstep.errors import ArtifactError, RegistryError, UsageError
from lockstep.registry.lifecycle import moves as lifecycle
from lockstep.registry.lifecycle import prune as pruning
from lockstep.registry.lifecycle.prune import prune
from lockstep.registry.record import deletions
from lockstep.registry.store import artifact_store as stored
from lockstep.registry.train_stage import publish_training


@pytest.fixture
def archived(request, monkeypatch):
    """A registry with version 4 in Production and 1 to 3 archived, which never stood there."""
    made = stock(request, "archived", _archive)
    monkeypatch.chdir(made.root)
    return made


def _archive(filled):
    for version in (1, 2, 3):
        lifecycle.archive(filled.client, NAME, version)
    lifecycle.promote(filled.client, NAME, 4)


def goes(filled, **options):
    return [c.version.version for c in prune(filled.client, NAME, **{"keep": 0, **options}).going]


def why(filled, version, **options):
    done = prune(filled.client, NAME, **{"keep": 0, **options})
    return next(c.reason for c in done.choices if c.version.version == version)


def has_files(filled, *versions):
    return [bool(stored.sizes(filled.client, filled.model.version(n))) for n in versions]


def test_a_dry_run_shows_what_would_go_and_deletes_nothing(archived):
    done = prune(archived.client, NAME, keep=0)
    folder = archived.folder(1)
    size = sum((folder / name).stat().st_size for name in files(folder))
    one = next(c for c in done.going if c.version.version == 1)
    assert (one.files, one.bytes) == (len(files(folder)), size)
    assert (len(done.going), done.done, done.events) == (3, False, ())
    assert has_files(archived, 1, 2, 3) == [True] * 3
    assert archived.model.record.last.action == "promote"


def test_only_files_go_and_on_record(archived):
    run = archived.client.get_run(archived.model.version(1).run_id)
    before = archived.model
    done = prune(archived.client, NAME, keep=1, yes=True)
    assert [c.version.version for c in done.going] == [2, 1]
    assert has_files(archived, 1, 2, 3, 4) == [False, False, True, True]
    after = archived.model
    event = after.record.last
    assert (event.action, event.done, (event.number,)) == ("prune", True, done.events)
    assert event.details == {str(n): before.version(n).tag("model_digest") for n in (1, 2)}
    assert after.version(1).tags == {**before.version(1).tags, "lockstep.pruned": str(event.number)}
    assert after.record.stages == before.record.stages
    assert archived.client.list_artifacts(run.info.run_id, "lineage"), (
        "lineage stays, to rebuild it by"
    )
    assert {f.verdict for f in verify(archived.client, archived.root, NAME)} <= {
        "ok",
        "pruned",
        "not recorded",
    }
    assert archived.found(1)["files"].verdict == "pruned"
    assert prune(archived.client, NAME, keep=0, yes=True).going[0].version.version == 3
    assert prune(archived.client, NAME, keep=0, yes=True).choices == ()


def test_what_anything_refers_to_stays(archived):
    client = archived.client
    assert goes(archived) == [3, 2, 1]
    client.set_registered_model_alias(NAME, "champion", "1")
    assert why(archived, 1) == "alias champion names it"
    lifecycle.promote(client, NAME, 2)
    assert why(archived, 4) == "what a rollback of Production brings back"
    assert goes(archived) == [3]
    lifecycle.transition(client, NAME, 3, "Staging")
    assert goes(archived) == []


def test_what_left_staging_last_stays_for_a_rollback(archived):
    lifecycle.transition(archived.client, NAME, 1, "Staging")
    lifecycle.archive(archived.client, NAME, 1)
    assert why(archived, 1) == "what a rollback of Staging brings back"


def test_files_of_two_versions_stay(archived):
    made = archived.client.get_model_version(NAME, "1")
    archived.client.create_registered_model("another")
    tags = {"lockstep.model_digest": made.tags["lockstep.model_digest"]}
    archived.client.create_model_version("another", made.source, made.run_id, tags=tags)
    assert why(archived, 1) == "its files are those of another version 1 too"
    assert goes(archived) == [3, 2]


def test_files_of_a_copy_by_mlflow_stay(archived):
    client = archived.client
    client.copy_model_version(f"models:/{NAME}/1", "another")
    client.copy_model_version("models:/another/1", NAME)
    client.copy_model_version(f"models:/{NAME}/3", "m-scores")
    client.copy_model_version("models:/m-scores/1", "another")
    client.create_registered_model("of_a_folder")
    client.create_model_version("of_a_folder", f"file://{archived.folder(2)}/")
    lifecycle.transition(client, NAME, 5, "None")
    assert why(archived, 1) == f"its files are those of {NAME} version 5 too"
    assert why(archived, 2) == "its files are those of of_a_folder version 1 too"
    of_copies = {"another version 2", "m-scores version 1"}
    assert why(archived, 3) in {f"its files are those of {copy} too" for copy in of_copies}
    client.delete_registered_model("m-scores")
    assert why(archived, 3) == "its files are those of another version 2 too"
    client.delete_model_version("another", "2")
    assert goes(archived) == [3]
    prune(client, NAME, keep=0, yes=True)
    assert has_files(archived, 1, 2, 3, 5) == [True, True, False, True]
    client.delete_model_version(NAME, "5")
    client.delete_model_version("another", "1")
    assert goes(archived) == [1]


@pytest.mark.parametrize("for_good", [False, True], ids=["deleted", "removed by mlflow gc"])
def test_a_version_whose_run_is_deleted_keeps_its_files_and_hinders_no_other(archived, for_good):
    client, run_id = archived.client, archived.model.version(2).run_id
    client.delete_run(run_id)
    if for_good:
        client._tracking_client.store._hard_delete_run(run_id)
    assert why(archived, 2) == f"its run {run_id} is deleted, so nothing could rebuild them"
    assert goes(archived) == [3, 1]
    prune(client, NAME, keep=0, yes=True)
    assert has_files(archived, 1, 2, 3) == [False, True, False]


def test_a_parent_and_what_may_hold_more_than_a_model_stay(archived):
    client = archived.client
    run = client.get_run(archived.model.version(1).run_id).info
    child = client.create_run(run.experiment_id, tags={"mlflow.parentRunId": run.run_id})
    assert why(archived, 1) == f"run {child.info.run_id} was made from it"
    tags = {"lockstep.model_digest": "0" * 64}
    foreign = client.create_model_version(NAME, run.artifact_uri, run.run_id, tags=tags)
    lifecycle.archive(client, NAME, foreign.version)
    assert why(archived, 5) == "its files may be more than the model's"
    other = client.create_model_version(NAME, f"{run.artifact_uri}/model", run.run_id)
    lifecycle.archive(client, NAME, other.version)
    assert why(archived, 6) == "not registered by this project"
    assert goes(archived) == [3, 2]


def test_the_newest_and_the_young_stay(archived, monkeypatch):
    assert goes(archived, keep=2) == [1]
    assert goes(archived, keep=3) == []
    assert why(archived, 1, older_than=1) == "archived too recently"
    in_two_days = time.time() + 2 * 86400
    monkeypatch.setattr(pruning.time, "time", lambda: in_two_days)
    assert goes(archived, older_than=1) == [3, 2, 1]
    assert goes(archived, older_than=3) == []


def test_archived_at_is_what_the_record_says(archived):
    model = archived.model
    event = next(e for e in model.record.events if e.action == "archive" and e.version == 2)
    told = datetime.fromtimestamp(pruning.archive_times(model.record)[2], UTC)
    assert told.isoformat(timespec="milliseconds") == event.time.replace("Z", "+00:00")
    assert 4 not in pruning.archive_times(model.record)


def test_a_pruned_version_is_neither_loaded_nor_moved_into_use(archived):
    load_version(archived.client, archived.root, NAME, version=1)
    prune(archived.client, NAME, keep=0, yes=True)
    line = (
        rf"the files of {NAME} version 1 were pruned \(event 9\); "
        "rebuild it: .* reproduce --model-name"
    )
    with pytest.raises(ArtifactError, match=line):
        load_version(archived.client, archived.root, NAME, version=1)
    for move in (
        lambda: lifecycle.promote(archived.client, NAME, 1),
        lambda: lifecycle.transition(archived.client, NAME, 1, "Staging"),
    ):
        with pytest.raises(RegistryError, match=line):
            move()
    assert lifecycle.transition(archived.client, NAME, 1, "None").changed
    assert healthy(verify(archived.client, archived.root, NAME))


def test_a_rollback_to_a_pruned_version_says_so(archived):
    client = archived.client
    lifecycle.promote(client, NAME, 1)
    lifecycle.promote(client, NAME, 2)
    lifecycle.promote(client, NAME, 3)
    assert goes(archived) == [4, 1]
    prune(client, NAME, keep=0, yes=True)
    with pytest.raises(
        RegistryError, match=r"version 1 were pruned .*; it cannot go to Production"
    ):
        lifecycle.rollback(client, NAME, version=1)
    assert lifecycle.rollback(client, NAME).step.version == 2
    with pytest.raises(RegistryError, match=r"version 1 were pruned"):
        lifecycle.rollback(client, NAME)
    assert archived.model.aliases == {"production": 2}
    assert healthy(verify(client, archived.root, NAME))


def test_publishing_a_pruned_model_again_takes_nothing_for_damage(archived, make, capsys):
    make.training(archived.root, "logistic_regression", seed=0)
    prune(archived.client, NAME, keep=0, yes=True)
    published = publish_training(archived.root, "accidents", "logistic_regression")
    assert (published.version, published.new) == (1, False)
    assert "WARNING" not in capsys.readouterr().err


def test_a_pruned_version_that_was_deleted_is_published_anew_with_files(archived, make, capsys):
    make.training(archived.root, "logistic_regression", seed=0)
    old = archived.model.version(1)
    prune(archived.client, NAME, keep=0, yes=True)
    archived.client.delete_model_version(NAME, "1")
    published = publish_training(archived.root, "accidents", "logistic_regression")
    assert (published.version, published.new) == (VERSIONS + 1, True)
    (line,) = (line for line in capsys.readouterr().err.splitlines() if "WARNING run" in line)
    assert f"WARNING run {old.run_id}: its model.skops is missing from " in line
    new = archived.model.version(published.version)
    assert (new.tag("model_digest"), new.pruned) == (old.tag("model_digest"), None)
    assert load_version(archived.client, archived.root, NAME, version=new.version)
    assert healthy(verify(archived.client, archived.root, NAME, new.version))
    archived.client.delete_model_version(NAME, str(new.version))
    again = publish_training(archived.root, "accidents", "logistic_regression")
    assert (again.new, again.run_id) == (True, new.run_id), "its run has the files"


def test_a_version_whose_logged_model_was_deleted_too_is_published_anew(archived, make):
    make.training(archived.root, "logistic_regression", seed=0)
    model_id = archived.model.version(1).source.removeprefix("models:/")
    archived.client.delete_model_version(NAME, "1")
    archived.client.delete_logged_model(model_id)
    published = publish_training(archived.root, "accidents", "logistic_regression")
    assert (published.version, published.new) == (VERSIONS + 1, True)
    assert has_files(archived, published.version) == [True]


def test_files_deleted_without_a_prune_on_record_are_found(archived):
    archived.client.set_model_version_tag(NAME, "1", "lockstep.pruned", "3")
    shutil.rmtree(archived.folder(1))
    assert "which the record doesn't have" in archived.failed(1)["files"]


class Killed(BaseException):
    pass


def test_what_was_taken_into_use_while_it_was_chosen_stays(archived, monkeypatch):
    def slow(*arguments):
        chosen = choose(*arguments)
        lifecycle.transition(archived.client, NAME, 2, "Staging")
        return chosen

    choose = pruning.choose
    monkeypatch.setattr(pruning, "choose", slow)
    with pytest.raises(RegistryError, match=r"version 2 of .* was taken into use meanwhile"):
        prune(archived.client, NAME, keep=0, yes=True)
    assert has_files(archived, 1, 2, 3) == [True] * 3


def test_many_are_deleted_in_parts_each_on_record(archived, monkeypatch):
    monkeypatch.setattr(pruning, "AT_ONCE", 2)
    done = prune(archived.client, NAME, keep=0, yes=True)
    assert len(done.events) == 2
    events = [e for e in archived.model.record.events if e.action == "prune"]
    assert [set(e.details) for e in events] == [{"2", "3"}, {"1"}]
    assert has_files(archived, 1, 2, 3) == [False] * 3


@pytest.mark.parametrize("place", ["mark", "delete", "end"])
def test_a_prune_that_was_killed_is_ended_by_the_next_move(archived, monkeypatch, place):
    def die(*_, **__):
        raise Killed

    with monkeypatch.context() as patch:
        if place == "mark":
            patch.setattr(MlflowClient, "set_model_version_tag", die)
        elif place == "delete":
            patch.setattr(deletions, "delete_files", die)
        else:
            patch.setattr("lockstep.registry.record.journal.Journal.end", die)
        with pytest.raises(Killed):
            prune(archived.client, NAME, keep=1, yes=True)
    assert [e.action for e in archived.model.record.open] == ["prune"]
    assert has_files(archived, 1, 2) == [place != "end"] * 2
    lifecycle.transition(archived.client, NAME, 3, "Staging")
    assert has_files(archived, 1, 2, 3, 4) == [False, False, True, True]
    event = next(e for e in archived.model.record.events if e.action == "prune")
    assert event.done
    assert event.end.mended_by
    assert healthy(verify(archived.client, archived.root, NAME))


def killed_while_it_marks(archived, monkeypatch):
    """Prune all archived versions, and die before the first one's files are deleted."""

    def die(*_, **__):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "set_model_version_tag", die)
        with pytest.raises(Killed):
            prune(archived.client, NAME, keep=0, yes=True)


def test_what_another_tool_took_into_use_since_the_crash_keeps_its_files(archived, monkeypatch):
    killed_while_it_marks(archived, monkeypatch)
    archived.client.set_registered_model_alias(NAME, "champion", "2")
    lifecycle.transition(archived.client, NAME, 3, "None")
    assert has_files(archived, 1, 2, 3) == [False, True, False]
    assert archived.model.version(2).pruned is None


def test_what_was_copied_since_the_crash_keeps_its_files(archived, monkeypatch):
    killed_while_it_marks(archived, monkeypatch)
    archived.client.copy_model_version(f"models:/{NAME}/2", "another")
    lifecycle.transition(archived.client, NAME, 3, "None")
    assert has_files(archived, 1, 2, 3) == [False, True, False]


def test_a_store_that_refuses_keeps_the_files_unmarked_and_hinders_no_move(archived, monkeypatch):
    from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository

    def refuse(*_):
        raise MlflowException("405 not allowed")

    with monkeypatch.context() as patch:
        patch.setattr(LocalArtifactRepository, "delete_artifacts", refuse)
        with pytest.raises(
            RegistryError, match=r"does not delete the files of .* version 1 \(405 not allowed\)"
        ):
            prune(archived.client, NAME, keep=0, yes=True)
    assert archived.model.record.last.end.outcome == "dropped"
    assert [archived.model.version(n).pruned for n in (1, 2, 3)] == [None] * 3
    assert healthy(verify(archived.client, archived.root, NAME))
    prune(archived.client, NAME, keep=0, yes=True)
    assert has_files(archived, 1, 2, 3) == [False] * 3


def test_a_store_that_only_pretends_to_delete_is_found_out(archived, monkeypatch):
    from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository

    monkeypatch.setattr(LocalArtifactRepository, "delete_artifacts", lambda *_: None)
    with pytest.raises(
        RegistryError, match=r"kept files of .* version 1 that it was told to delete"
    ):
        prune(archived.client, NAME, keep=0, yes=True)
    assert archived.model.version(1).pruned is None


def test_files_on_another_machine_are_not_taken_for_deleted(archived):
    shutil.rmtree(archived.folder(1))
    assert why(archived, 1) == "no files of it can be seen from here"


def test_the_command_shows_sizes_and_takes_only_sensible_numbers(archived, capsys):
    manage.main(["prune", "--model-name", NAME, "--keep", "2"])
    text = capsys.readouterr().out
    assert "among the newest that are kept" in text
    assert "nothing was deleted; with --yes: 1 version, " in text
    assert (
        manage.main(
            ["prune", "--model-name", NAME, "--keep", "2", "--yes", "--reason", "room", "--json"]
        )
        == 0
    )
    told = json.loads(capsys.readouterr().out)
    assert [c["version"] for c in told["deleted"]] == [1]
    assert told["bytes"] == told["deleted"][0]["bytes"] > 10_000
    assert archived.model.record.last.who.reason == "room"
    for option, text in (
        ("--keep", "-1"),
        ("--keep", "1.5"),
        ("--older-than", "nan"),
        ("--older-than", "x"),
    ):
        with pytest.raises(UsageError, match=rf"{option} takes a"):
            manage.main(["prune", "--model-name", NAME, option, text])


def test_all_three_over_a_real_server(workspace, make, server, monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
    monkeypatch.chdir(workspace)
    name = "Accident_Prediction_Logistic_Regression"
    numbers = []
    for seed in (70, 71):
        make.training(workspace, "logistic_regression", seed=seed)
        numbers.append(str(publish_training(workspace, "accidents", "logistic_regression").version))
    first, second = numbers
    assert manage.main(["verify", "--model-name", name, "--version", first]) == 0
    output = ["--output", str(tmp_path / "out")]
    assert manage.main(["export", "--model-name", name, "--version", first, *output]) == 0
    assert manage.main(["verify", "--folder", str(tmp_path / "out")]) == 0
    manage.main(["archive", "--model-name", name, "--version", first])
    assert manage.main(["prune", "--model-name", name, "--keep", "0", "--yes"]) == 0
    capsys.readouterr()
    client = MlflowClient(server.uri)
    made = client.get_model_version(name, first)
    assert list(client.list_logged_model_artifacts(made.source.removeprefix("models:/"))) == []
    assert manage.main(["verify", "--model-name", name, "--version", first]) == 0
    assert "pruned" in capsys.readouterr().out
    model_id = client.get_model_version(name, second).source.removeprefix("models:/")
    (golden,) = (server.folder / "artifacts").rglob(f"{model_id}/artifacts/golden.json")
    golden.write_text(golden.read_text() + " ")
    assert manage.main(["verify", "--model-name", name, "--version", second]) == 1
    assert "changed: golden.json" in capsys.readouterr().out


@pytest.mark.parametrize("fault", [errno.ENOSPC, errno.EROFS])
def test_a_disk_that_deletes_nothing_leaves_no_mark_and_no_open_event(archived, monkeypatch, fault):
    def refuse(*_, **__):
        raise OSError(fault, os.strerror(fault), "models")

    with monkeypatch.context() as patch:
        patch.setattr(LocalArtifactRepository, "delete_artifacts", refuse)
        with pytest.raises(RegistryError, match=os.strerror(fault)):
            prune(archived.client, NAME, keep=0, yes=True)
    assert all(version.pruned is None for version in archived.model.versions)
    assert archived.model.record.open == ()
    assert len(prune(archived.client, NAME, keep=0, yes=True).going) == 3
