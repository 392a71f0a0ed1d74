"""One suite of the registry, run against every kind of store.

What holds on sqlite holds on a shared server.
"""

import contextlib
import json

import pytest
from tests.registry.loaded import load_version
from tests.registry.test_lifecycle import Crash, Crashing, add_model, agrees, stages
from tests.shared.conftest import TYPE

from lockstep.commands import manage_registry as manage
from lockstep.errors import ArtifactError, RegistryError
from lockstep.registry.lifecycle import moves as lifecycle
from lockstep.registry.record import locking
from lockstep.registry.record.events import Who
from lockstep.registry.record.registered_models import get_model
from lockstep.registry.store import names, owners, queries
from lockstep.registry.train_stage import publish_training
from lockstep.registry.trained_models import register_models

pytestmark = pytest.mark.timeout(150)


def manage_json(capsys, *arguments):
    manage.main([*arguments, "--json"])
    return json.loads(capsys.readouterr().out)


def test_two_trainings_are_published_loaded_checked_and_served_in_turn(shared, capsys):
    first = publish_training(shared.root, "accidents", TYPE)
    shared.train(seed=1)
    second = publish_training(shared.root, "accidents", TYPE)
    assert [(p.name, p.version, p.new) for p in (first, second)] == [
        (shared.name, n, True) for n in (1, 2)
    ]
    assert [p.version for p in register_models(shared.root)] == [2]
    lifecycle.promote(shared.client, shared.name, 1)
    loaded = load_version(shared.client, shared.root, shared.name, stage="Production")
    assert (loaded.version, loaded.digest) == (1, first.digest)
    lifecycle.promote(shared.client, shared.name)
    capsys.readouterr()
    assert (
        manage_json(capsys, "get-model", "--model-name", shared.name, "--stage", "Production")[
            "version"
        ]
        == 2
    )
    assert sum(file.endswith("model.skops") for file in shared.files()) >= 2
    agrees(shared.client, shared.name)


def test_an_artifact_that_is_not_the_registered_one_is_not_loaded(shared):
    publish_training(shared.root, "accidents", TYPE)
    shared.client.set_model_version_tag(shared.name, "1", "lockstep.model_digest", "0" * 64)
    with pytest.raises(
        ArtifactError, match="changed or swapped after it was registered; not loaded"
    ):
        load_version(shared.client, shared.root, shared.name, version=1)


def test_every_move_is_on_record_and_is_undone(shared, capsys):
    add_model(shared.client, 11, shared.name)
    who = Who("jane", "as planned")
    assert lifecycle.promote(shared.client, shared.name, who=who).step.version == 11
    lifecycle.promote(shared.client, shared.name, 9, who=who)
    lifecycle.transition(shared.client, shared.name, "4", "Staging", who=who)
    lifecycle.archive(shared.client, shared.name, 3, who=who)
    lifecycle.rollback(shared.client, shared.name, who=who)
    moved = {n: stage for n, stage in stages(shared.client, shared.name).items() if stage != "None"}
    assert moved == {3: "Archived", 4: "Staging", 11: "Production"}
    assert get_model(shared.client, shared.name).aliases == {"production": 11, "staging": 4}
    events = manage_json(capsys, "history", "--model-name", shared.name)
    assert [e["action"] for e in events] == [
        "adopt",
        "promote",
        "promote",
        "transition",
        "archive",
        "rollback",
    ]
    assert {e["actor"] for e in events} == {"jane"}
    assert all(e["end"]["outcome"] == "done" for e in events)
    agrees(shared.client, shared.name)


@pytest.mark.parametrize("writes", [1, 6])
def test_what_a_crash_left_is_ended_by_the_next_move(shared, writes):
    add_model(shared.client, 3, shared.name)
    lifecycle.promote(shared.client, shared.name, 1)
    with contextlib.suppress(Crash):
        lifecycle.promote(Crashing(shared.client, writes), shared.name, 2)
    assert len(get_model(shared.client, shared.name).record.open) == 1
    lifecycle.transition(shared.client, shared.name, 3, "Staging")
    assert stages(shared.client, shared.name) == {1: "Archived", 2: "Production", 3: "Staging"}
    agrees(shared.client, shared.name)


def test_two_processes_hold_a_model_in_turn(shared, colleague, monkeypatch):
    add_model(shared.client, 2, shared.name)
    colleague.does("as", shared.uri, *(shared.environment.values() or ("", "")))
    colleague.does("hold", shared.uri, shared.name)
    with monkeypatch.context() as hurried:
        hurried.setattr(locking, "PATIENCE", 0.5)
        with pytest.raises(RegistryError, match=r"(is held by|has been moving versions).*run"):
            lifecycle.promote(shared.client, shared.name, 1)
    assert stages(shared.client, shared.name)[1] == "None"
    assert [lock.name for lock in locking.all_locks(shared.client)] == [shared.name]
    colleague.does("release", shared.uri, shared.name)
    with locking.lock_model(shared.client, shared.name):
        colleague.told("transition", shared.uri, shared.name, 2, "Staging")
        assert stages(shared.client, shared.name)[2] == "None"
    assert colleague.answer() == 2
    lifecycle.promote(shared.client, shared.name, 1)
    assert stages(shared.client, shared.name) == {1: "Production", 2: "Staging"}
    assert locking.all_locks(shared.client) == []
    agrees(shared.client, shared.name)


def test_the_lock_of_a_dead_process_is_broken_at_once(shared):
    add_model(shared.client, 1, shared.name)
    too_large = 2**22 + 1  # no process has such a number
    owner = {**owners.this_process(), "pid": too_large, "started": "1"}
    tags = {"lockstep.token": "f" * 32, "lockstep.owner": json.dumps(owner)}
    shared.client.create_registered_model(f"{names.LOCK_PREFIX}{shared.name}", tags=tags)
    assert lifecycle.promote(shared.client, shared.name).changed
    assert locking.all_locks(shared.client) == []


def test_lists_go_on_over_pages(shared, monkeypatch, capsys):
    monkeypatch.setattr(queries, "PAGE", 4)
    add_model(shared.client, 11, shared.name)
    found = manage_json(capsys, "list-versions", "--model-name", shared.name)
    assert [v["version"] for v in found] == list(range(11, 0, -1))
    assert shared.name in {m["name"] for m in manage_json(capsys, "list-models")}


def test_the_doctor_names_the_store_finds_what_is_wrong_and_mends_it(shared, capsys):
    import mlflow

    publish_training(shared.root, "accidents", TYPE)
    lifecycle.promote(shared.client, shared.name)
    shared.client.delete_registered_model_alias(shared.name, "production")
    shared.client.set_model_version_tag(shared.name, "1", "lockstep.stage", "None")
    with contextlib.suppress(Crash):
        lifecycle.archive(Crashing(shared.client, 1), shared.name, 1)
    told = doctor(capsys)
    assert told["store"]["uri"] == shared.uri
    assert told["store"].get("server", mlflow.__version__) == mlflow.__version__
    found = [f["what"] for f in told["findings"] if f["where"].startswith(shared.name)]
    assert found == ["half-done move", "disagreement", "disagreement"]
    repaired = [
        f["repaired"] for f in doctor(capsys, "--fix")["findings"] if f["where"] == shared.name
    ]
    assert repaired == [True] * 3
    assert stages(shared.client, shared.name) == {1: "Archived"}
    agrees(shared.client, shared.name)


@pytest.mark.parametrize("shared", ["s3"], indirect=True)
def test_pruned_files_are_gone_from_the_bucket_and_the_version_stays(shared, capsys):
    publish_training(shared.root, "accidents", TYPE)
    shared.train(seed=1)
    publish_training(shared.root, "accidents", TYPE)
    lifecycle.archive(shared.client, shared.name, 1)
    lifecycle.promote(shared.client, shared.name, 2)
    old, kept = get_model(shared.client, shared.name).versions
    before = {v.version: keys_of(shared, v) for v in (old, kept)}
    assert any(key.endswith("model.skops") for key in before[1])
    capsys.readouterr()
    done = manage_json(capsys, "prune", "--model-name", shared.name, "--keep", "0", "--yes")
    assert [(one["version"], one["files"]) for one in done["deleted"]] == [(1, len(before[1]))]
    assert keys_of(shared, old) == []
    assert keys_of(shared, kept) == before[2]
    assert any(old.run_id in key and key.endswith("lineage/closure.json") for key in shared.files())
    told = {
        (f["version"], f["check"]): f["verdict"]
        for f in manage_json(capsys, "verify", "--model-name", shared.name)
    }
    assert (told[1, "files"], told[2, "files"]) == ("pruned", "ok")
    assert told[1, "closure"] == told[1, "stage"] == "ok", (
        "the version stays, and what it was made from"
    )
    assert "failed" not in told.values()
    with pytest.raises(RegistryError, match="were pruned"):
        lifecycle.promote(shared.client, shared.name, 1)
    agrees(shared.client, shared.name)


def keys_of(shared, version):
    """Return the keys of the files of a version's artifact in the bucket."""
    model_id = version.source.removeprefix("models:/")
    return [key for key in shared.files() if f"/{model_id}/" in key]


def doctor(capsys, *options):
    """Ask the doctor; in a shared store other tests' versions without files are findings too."""
    manage.main(["doctor", *options, "--json"])
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("shared", ["password"], indirect=True)
@pytest.mark.parametrize(
    "text", ["MLFLOW_TRACKING_USERNAME=jane\nMLFLOW_TRACKING_PASSWORD=wrong\n", ""]
)
def test_wrong_credentials_are_refused_in_one_line(shared, monkeypatch, text):
    add_model(shared.client, 1, shared.name)
    (shared.root / ".env").write_text(text)
    for name in shared.environment:
        monkeypatch.delenv(name)
    with pytest.raises(
        RegistryError, match="MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
    ) as caught:
        manage.main(["archive", "--model-name", shared.name, "--version", "1"])
    assert "\n" not in str(caught.value)
    assert "wrong" not in str(caught.value)
