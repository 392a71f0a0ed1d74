"""Rolling back goes one step back each time, to a version that stood there.

It does so also after an archive, all on record.
"""

import json

import pytest
from tests.registry.test_lifecycle import NAME, Crash, Crashing, add_model, agrees, stages

from lockstep.commands.manage_registry import main
from lockstep.errors import RegistryError, UsageError
from lockstep.registry.lifecycle import moves as lifecycle
from lockstep.registry.record.events import Step, Who
from lockstep.registry.record.recovery import open_journal
from lockstep.registry.record.registered_models import get_model


@pytest.fixture
def client(home):
    return home.client


def promoted(client, *versions):
    add_model(client, max(versions))
    for version in versions:
        lifecycle.promote(client, NAME, version)


def test_the_version_before_comes_back_and_what_leaves_goes_where_it_was(client):
    promoted(client, 1)
    lifecycle.archive(client, NAME, 1)
    promoted_from_staging = add_versions(client, 2)
    lifecycle.promote(client, NAME, 1)
    lifecycle.transition(client, NAME, promoted_from_staging, "Staging")
    lifecycle.promote(client, NAME, promoted_from_staging)
    done = lifecycle.rollback(client, NAME)
    assert done.step == Step(1, "Archived", "Production")
    assert done.made_way == (Step(promoted_from_staging, "Production", "Staging"),)
    assert stages(client) == {1: "Production", 2: "Staging"}
    agrees(client)


def add_versions(client, number):
    run = client.create_run("0").info
    client.create_model_version(NAME, run.artifact_uri, run.run_id, tags={"lockstep.stage": "None"})
    return number


def test_again_and_again_it_goes_back_further_until_nothing_is_left(client):
    promoted(client, 1, 2, 3)
    assert lifecycle.rollback(client, NAME).step.version == 2
    assert lifecycle.rollback(client, NAME).step.version == 1
    told = (
        "no version stood in Production of Accident_Prediction_XGBoost before version 1; "
        ".*use archive"
    )
    with pytest.raises(RegistryError, match=told):
        lifecycle.rollback(client, NAME)
    assert stages(client) == {1: "Production", 2: "None", 3: "None"}
    agrees(client)


def test_a_rollback_after_an_archive_brings_it_back(client):
    promoted(client, 1, 2)
    lifecycle.archive(client, NAME, 2)
    assert get_model(client, NAME).aliases == {}
    assert lifecycle.rollback(client, NAME).step == Step(2, "Archived", "Production")
    agrees(client)


def test_moves_elsewhere_do_not_count(client):
    promoted(client, 1, 2)
    add_versions(client, 3)
    lifecycle.transition(client, NAME, 3, "Staging")
    assert lifecycle.rollback(client, NAME).step.version == 1
    assert stages(client)[3] == "Staging"


def test_to_a_version_or_a_run_that_stood_there(client):
    promoted(client, 1, 2, 3)
    assert lifecycle.rollback(client, NAME, version=1).step.version == 1
    run_id = get_model(client, NAME).version(2).run_id
    runs = [v.version for v in get_model(client, NAME).versions if v.run_id == run_id]
    assert lifecycle.rollback(client, NAME, run_id=run_id).step.version == runs[-1]
    assert lifecycle.rollback(client, NAME).made_way[0].version == runs[-1]
    agrees(client)


def test_what_never_stood_there_is_refused_with_those_that_did(client):
    promoted(client, 1)
    add_versions(client, 2)
    told = r"version 2 of .* never stood in Production \(those that did: 1\); use promote"
    with pytest.raises(RegistryError, match=told):
        lifecycle.rollback(client, NAME, version=2)
    with pytest.raises(RegistryError, match="has no version 9"):
        lifecycle.rollback(client, NAME, version=9)
    with pytest.raises(RegistryError, match="has no version of run 'nobody'"):
        lifecycle.rollback(client, NAME, run_id="nobody")
    with pytest.raises(UsageError, match="rollback is of Staging or Production"):
        lifecycle.rollback(client, NAME, "Archived")


def test_of_a_run_the_newest_version_that_stood_there_comes_back(client):
    add_model(client, 3)
    add_versions(client, 4)
    add_versions(client, 5)
    for version in (1, 2, 4):
        lifecycle.promote(client, NAME, version)
    several, none = (get_model(client, NAME).version(n).run_id for n in (3, 5))
    assert lifecycle.rollback(client, NAME, run_id=several).step.version == 2
    told = rf"version 5 of {NAME} never stood in Production \(those that did: 1, 2, 4\)"
    with pytest.raises(RegistryError, match=f"^{told}; use promote$"):
        lifecycle.rollback(client, NAME, run_id=none)
    assert stages(client)[2] == "Production"


def test_a_model_that_was_never_moved_has_nothing_to_go_back_to(client):
    add_model(client, 1)
    with pytest.raises(RegistryError, match="nothing ever stood in Production"):
        lifecycle.rollback(client, NAME)


def test_staging_is_rolled_back_like_production(client):
    add_model(client, 2)
    lifecycle.transition(client, NAME, 1, "Staging")
    lifecycle.archive(client, NAME, 1)
    assert lifecycle.rollback(client, NAME, "Staging").step == Step(1, "Archived", "Staging")
    agrees(client)


def test_a_rollback_of_staging_takes_no_version_out_of_production(client):
    add_model(client, 2)
    lifecycle.promote(client, NAME, 1)
    lifecycle.transition(client, NAME, 2, "Staging")
    lifecycle.promote(client, NAME, 2)
    told = f"version 2 of {NAME} went from Staging into Production; take it out of there first"
    with pytest.raises(RegistryError, match=f"^{told}, by rollback or archive$"):
        lifecycle.rollback(client, NAME, "Staging")
    assert stages(client)[2] == "Production"
    assert lifecycle.rollback(client, NAME).step.version == 1
    assert stages(client)[2] == "Staging"


def test_staging_gives_back_to_production_only_if_that_is_empty(client):
    promoted(client, 1)
    add_versions(client, 2)
    lifecycle.transition(client, NAME, 1, "Staging")
    assert lifecycle.rollback(client, NAME, "Staging").step == Step(1, "Staging", "Production")
    lifecycle.transition(client, NAME, 1, "Staging")
    lifecycle.promote(client, NAME, 2)
    assert lifecycle.rollback(client, NAME, "Staging").step == Step(1, "Staging", "Archived")
    assert stages(client) == {1: "Archived", 2: "Production"}
    agrees(client)


def test_of_two_that_stood_in_production_at_once_the_newest_comes_back(client):
    add_model(client, 3)
    with open_journal(client, NAME) as journal:
        journal.move("transition", [Step(1, "None", "Production"), Step(2, "None", "Production")])
    lifecycle.promote(client, NAME, 3)
    assert lifecycle.rollback(client, NAME).step == Step(2, "Archived", "Production")
    assert stages(client) == {1: "Archived", 2: "Production", 3: "None"}
    agrees(client)


def test_a_version_that_was_deleted_is_named_with_those_to_go_back_to(client):
    promoted(client, 1, 2, 3)
    client.delete_model_version(NAME, "2")
    told = (
        f"MLflow no longer has version 2, which stood in Production of {NAME} before event 4; "
        "go back to another with --to N: 1"
    )
    with pytest.raises(RegistryError, match=f"^{told}$"):
        lifecycle.rollback(client, NAME)
    assert stages(client) == {1: "Archived", 3: "Production"}
    assert lifecycle.rollback(client, NAME, version=1).changed
    client.delete_model_version(NAME, "3")
    with pytest.raises(RegistryError, match=r"no longer has version 3, .*; use promote"):
        lifecycle.rollback(client, NAME)
    assert stages(client) == {1: "Production"}


def test_after_the_version_in_production_was_deleted_rollbacks_go_on(client):
    promoted(client, 1, 2)
    add_versions(client, 3)
    client.delete_model_version(NAME, "2")
    assert lifecycle.rollback(client, NAME).step == Step(1, "Archived", "Production")
    lifecycle.promote(client, NAME, 3)
    assert lifecycle.rollback(client, NAME).step == Step(1, "Archived", "Production")
    assert stages(client) == {1: "Production", 3: "None"}
    assert get_model(client, NAME).aliases == {"production": 1}


def test_a_deleted_version_of_staging_is_left_out(client):
    add_model(client, 3)
    for version in (1, 2):
        lifecycle.transition(client, NAME, version, "Staging")
    lifecycle.archive(client, NAME, 1)
    lifecycle.archive(client, NAME, 2)
    client.delete_model_version(NAME, "1")
    assert lifecycle.rollback(client, NAME, "Staging").step == Step(2, "Archived", "Staging")
    with pytest.raises(RegistryError, match=r"no longer has version 1, .* before event 4; use"):
        lifecycle.rollback(client, NAME, "Staging")
    assert stages(client) == {2: "Staging", 3: "None"}


def test_a_rollback_that_a_deletion_broke_off_is_made_anew(client):
    promoted(client, 1, 2, 3)
    with pytest.raises(Crash):
        lifecycle.rollback(Crashing(client, 1), NAME)
    client.delete_model_version(NAME, "3")
    assert lifecycle.rollback(client, NAME).step == Step(2, "Archived", "Production")
    assert stages(client) == {1: "Archived", 2: "Production"}
    with pytest.raises(Crash):
        lifecycle.rollback(Crashing(client, 1), NAME)
    client.delete_model_version(NAME, "1")
    with pytest.raises(RegistryError, match="MLflow no longer has version 1"):
        lifecycle.rollback(client, NAME)
    assert stages(client) == {2: "Production"}


def test_a_rollback_of_staging_that_broke_off_goes_no_further_either(client):
    add_model(client, 2)
    for version in (1, 2):
        lifecycle.transition(client, NAME, version, "Staging")
    with pytest.raises(Crash):
        lifecycle.rollback(Crashing(client, 1), NAME, "Staging")
    done = lifecycle.rollback(client, NAME, "Staging")
    assert done.made_way == (Step(2, "Staging", "None"),)
    assert stages(client) == {1: "Staging", 2: "None"}
    agrees(client)


def test_every_move_is_on_record_with_who_and_why(client):
    add_model(client, 2)
    lifecycle.promote(client, NAME, 1, who=Who("ada", "first"))
    lifecycle.promote(client, NAME, 2, who=Who("bob", "better"))
    lifecycle.rollback(client, NAME, who=Who("eve", "worse in use"))
    events = get_model(client, NAME).record.events
    assert [(e.action, e.who.actor, e.who.reason) for e in events[1:]] == [
        ("promote", "ada", "first"),
        ("promote", "bob", "better"),
        ("rollback", "eve", "worse in use"),
    ]
    assert events[0].action == "adopt"
    assert events[-1].undoes == 3
    assert events[-1].client.startswith("lockstep ")


def test_the_commands_print_and_record(home, monkeypatch, capsys):
    add_model(home.client, 2)
    monkeypatch.chdir(home.root)
    who = ["--actor", "ada", "--force", "--reason", "a trial"]
    main(["promote", "--model-name", NAME, "--version", "1", *who])
    main(["promote", "--model-name", NAME, "--version", "2", *who])
    capsys.readouterr()
    main(["rollback", "--model-name", NAME])
    out = capsys.readouterr().out
    assert f"✓ {NAME} version 1: Archived → Production" in out
    assert "version 2 made way: Production → None" in out
    main(["history", "--model-name", NAME])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:2] == ["EVENT", "TIME"]
    assert "1: None → Production" in lines[2]
    assert "ada" in lines[2]
    assert "a trial" in lines[2]
    main(["history", "--model-name", NAME, "--json"])
    told = json.loads(capsys.readouterr().out)
    assert [event["action"] for event in told] == ["adopt", "promote", "promote", "rollback"]
    assert told[-1]["end"]["outcome"] == "done"
    assert told[-1]["before"] == told[-2]["digest"]
