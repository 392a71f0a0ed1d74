"""One holder at a time; a dead one is followed at once, a silent one after the lease.

Nothing else is broken.
"""

import json
import multiprocessing
import os
import signal
import threading
import time

import pytest
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST
from tests.registry.test_lifecycle import add_model

from lockstep.errors import RegistryError
from lockstep.registry.lifecycle import moves as lifecycle
from lockstep.registry.record import locking
from lockstep.registry.record.events import Step
from lockstep.registry.record.journal import default_who
from lockstep.registry.record.locking import all_locks, break_lock, find_lock, lock_model
from lockstep.registry.record.recovery import open_journal
from lockstep.registry.record.registered_models import get_model, list_models, model_names
from lockstep.registry.store import owners
from lockstep.registry.store.names import LOCK_PREFIX

NAME = "Toy_XGBoost"


@pytest.fixture
def client(home):
    return home.client


def stranger(client, name=NAME, token="theirs", **owner):
    """Leave a lock as another process would."""
    me = {**owners.this_process(), **owner}
    client.create_registered_model(
        f"{LOCK_PREFIX}{name}", tags={"lockstep.token": token, "lockstep.owner": json.dumps(me)}
    )


def test_a_lock_stands_within_the_block_and_goes_with_it(client):
    with lock_model(client, NAME):
        assert [lock.name for lock in all_locks(client)] == [NAME]
        assert find_lock(client, NAME).owner["pid"] == os.getpid()
    assert all_locks(client) == []


def test_a_lock_goes_with_an_error_too(client):
    with pytest.raises(ZeroDivisionError), lock_model(client, NAME):
        raise ZeroDivisionError
    assert find_lock(client, NAME) is None


def test_locks_are_no_models(client):
    with lock_model(client, NAME):
        assert model_names(client) == []
        assert list_models(client) == []


def test_threads_take_turns(client):
    inside, most = [], []

    def work():
        for _ in range(3):
            with lock_model(client, NAME):
                inside.append(1)
                most.append(len(inside))
                inside.pop()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert most == [1] * 12


def test_a_dead_owner_of_this_machine_is_followed_at_once(client):
    gone = multiprocessing.get_context("fork").Process(target=lambda: None)
    gone.start()
    gone.join()
    stranger(client, pid=gone.pid, started="1")
    assert find_lock(client, NAME).dead
    begun = time.monotonic()
    with lock_model(client, NAME):
        assert find_lock(client, NAME).owner["pid"] == os.getpid()
    assert time.monotonic() - begun < 5


@pytest.fixture
def without_proc(monkeypatch):
    """A system without Linux's /proc, such as macOS."""

    monkeypatch.setattr(owners, "_kernel_text", lambda name: "")
    monkeypatch.setattr(owners, "_process_namespace", lambda: "")


def test_without_proc_only_an_owner_that_has_ended_is_dead(client, without_proc, monkeypatch):
    stranger(client)
    assert not find_lock(client, NAME).dead, "this very process"
    gone = multiprocessing.get_context("spawn").Process(target=print)
    gone.start()
    gone.join()
    stranger(client, "Other", pid=gone.pid)
    assert find_lock(client, "Other").dead
    monkeypatch.setattr(owners.os, "kill", raising(PermissionError))
    assert not find_lock(client, "Other").dead, "a process of another user"


def test_without_proc_a_host_of_the_same_name_is_another_one(client, without_proc, monkeypatch):
    monkeypatch.setattr(owners, "getnode", lambda: 1)
    gone = multiprocessing.get_context("spawn").Process(target=print)
    gone.start()
    gone.join()
    stranger(client, pid=gone.pid)
    assert find_lock(client, NAME).dead
    monkeypatch.setattr(owners, "getnode", lambda: 2)
    assert not find_lock(client, NAME).dead


def raising(error):
    """Return a function that raises."""

    def fail(*_):
        raise error

    return fail


def test_a_process_number_used_again_is_another_process(client):
    stranger(client, started="1")
    assert find_lock(client, NAME).dead


@pytest.mark.parametrize(
    "owner",
    [
        {"host": "elsewhere"},
        {"boot": "another start"},
        {"pids": "another container's"},
        {"pid": "?"},
    ],
)
def test_an_owner_elsewhere_is_followed_after_the_lease_only(client, monkeypatch, owner):
    stranger(client, **{"pid": 1, "started": "1", **owner})
    assert not find_lock(client, NAME).dead
    monkeypatch.setattr(locking, "LEASE", 0.5)
    begun = time.monotonic()
    with lock_model(client, NAME):
        pass
    assert 0.5 < time.monotonic() - begun < 10


def test_a_long_move_shows_that_it_goes_on_and_is_waited_for(client, monkeypatch):
    monkeypatch.setattr(locking, "LEASE", 0.0)
    with lock_model(client, NAME) as lock:
        before = find_lock(client, NAME)
        lock.check()
        after = find_lock(client, NAME)
        assert (after.token, after.beat == before.beat) == (before.token, False)
        monkeypatch.setattr(locking, "LEASE", 10.0)
        assert not break_lock(client, before), "it gave a sign of life since it was looked at"
        assert find_lock(client, NAME) == after
        lock.check()
        assert find_lock(client, NAME).beat == after.beat, "no write where none is due"


def lost_answers(client, monkeypatch, *names):
    """Let the registry's answers to creates of these names be lost once, and MLflow ask again."""
    create, lost = client.create_registered_model, list(names)

    def creating(name, **content):
        create(name, **content)
        if name in lost:
            lost.remove(name)
            create(name, **content)

    monkeypatch.setattr(client, "create_registered_model", creating)
    return lost


def test_a_lock_whose_answer_was_lost_is_held_at_once(client, monkeypatch):
    stranger(client, token="dead", pid=os.getpid(), started="1")
    lost = lost_answers(
        client, monkeypatch, f"{LOCK_PREFIX}{NAME}", f"{LOCK_PREFIX}{locking.MARK}{NAME}"
    )
    begun = time.monotonic()
    with lock_model(client, NAME):
        assert (lost, len(all_locks(client))) == ([], 1)
    assert time.monotonic() - begun < locking.LEASE / 2
    assert all_locks(client) == []


def test_a_registry_that_says_taken_and_shows_no_lock_is_not_asked_for_ever(client, monkeypatch):
    asked = []

    def create(*_, **__):
        asked.append(1)
        raise MlflowException("gone", error_code=RESOURCE_DOES_NOT_EXIST)

    monkeypatch.setattr(client, "create_registered_model", create)
    monkeypatch.setattr(locking, "PATIENCE", 0.5)
    with (
        pytest.raises(RegistryError, match="says its lock is taken, and shows none"),
        lock_model(client, NAME),
    ):
        pass
    assert 3 < len(asked) < 100


def test_a_lock_that_changes_hands_is_not_broken(client, monkeypatch):
    stranger(client, host="elsewhere")
    before = find_lock(client, NAME)
    client.delete_registered_model(f"{LOCK_PREFIX}{NAME}")
    stranger(client, host="elsewhere", token="another's")
    assert not break_lock(client, before)
    assert find_lock(client, NAME).token == "another's"
    assert [lock.token for lock in all_locks(client)] == ["another's"]


def test_only_one_process_may_break_a_lock(client):
    stranger(client, host="elsewhere")
    lock = find_lock(client, NAME)
    client.create_registered_model(f"{LOCK_PREFIX}{locking.MARK}{NAME}")
    assert not break_lock(client, lock)
    assert find_lock(client, NAME) is not None


def die_breaking(client, name, when):
    """Break a lock in a process that is killed once it wants to write as told.

    That is after its mark, or after the lock.
    """

    def work():
        before = locking._delete

        def deadly(client, what):
            if when == "after":
                before(client, what)
            os.kill(os.getpid(), signal.SIGKILL)

        locking._delete = deadly
        break_lock(client, find_lock(client, name))

    one = multiprocessing.get_context("fork").Process(target=work)
    one.start()
    one.join(30)
    assert one.exitcode == -signal.SIGKILL


@pytest.mark.parametrize("when", ["before", "after"])
def test_the_next_command_mends_what_a_process_left_that_died_while_it_broke_a_lock(client, when):
    stranger(client, pid=2**22 + 1, started="1")
    die_breaking(client, NAME, when)
    mark = f"{locking.MARK}{NAME}"
    assert find_lock(client, mark).dead
    assert (find_lock(client, NAME) is None) == (when == "after")
    begun = time.monotonic()
    with lock_model(client, NAME):
        assert find_lock(client, NAME).owner["pid"] == os.getpid()
    assert all_locks(client) == []
    assert time.monotonic() - begun < 10


def test_deaths_amid_breaking_may_follow_each_other(client):
    stranger(client, pid=2**22 + 1, started="1")
    die_breaking(client, NAME, "before")
    die_breaking(client, f"{locking.MARK}{NAME}", "before")
    assert len(all_locks(client)) == 3
    with lock_model(client, NAME):
        pass
    assert all_locks(client) == []


def test_a_mark_of_elsewhere_is_broken_after_the_lease_only(client, monkeypatch):
    stranger(client, pid=2**22 + 1, started="1")
    stranger(client, f"{locking.MARK}{NAME}", token="their mark's", host="elsewhere")
    monkeypatch.setattr(locking, "LEASE", 0.5)
    begun = time.monotonic()
    with lock_model(client, NAME):
        pass
    assert 0.5 < time.monotonic() - begun < 10
    assert all_locks(client) == []


def test_who_was_stopped_amid_breaking_a_lock_breaks_none(client, monkeypatch):
    stranger(client)
    lock = find_lock(client, NAME)
    monkeypatch.setattr(locking, "LEASE", -1.0)
    assert not break_lock(client, lock)
    assert [one.name for one in all_locks(client)] == [NAME]


def test_waiting_ends_with_who_holds_it_and_what_to_do(client, monkeypatch):
    stranger(client, host="elsewhere", user="ada", pid=7)
    monkeypatch.setattr(locking, "PATIENCE", 0.3)
    told = (
        rf"{NAME} is held by ada on elsewhere \(pid 7\) for another move; "
        "run the command again .*doctor --fix"
    )
    with pytest.raises(RegistryError, match=told), lock_model(client, NAME):
        pass


def test_over_a_real_server(server):
    from mlflow import MlflowClient

    client = MlflowClient(server.uri)
    with lock_model(client, NAME):
        assert find_lock(client, NAME).owner["pid"] == os.getpid()
    assert find_lock(client, NAME) is None


def test_who_was_stopped_past_the_lease_writes_no_more_of_a_model_that_another_took(
    client, monkeypatch
):
    add_model(client, 2, NAME)
    with (
        pytest.raises(RegistryError, match="stopped for so long that another took over"),
        open_journal(client, NAME) as book,
    ):
        event = book.begin("promote", version=1, steps=(Step(1, "None", "Production"),))
        break_lock(client, find_lock(client, NAME))
        monkeypatch.setattr(locking, "LEASE", 0.0)
        book.apply(event.steps)
    assert client.get_model_version(NAME, "1").tags["lockstep.stage"] == "None"
    with open_journal(client, NAME):
        pass
    assert get_model(client, NAME).record.stages == {1: "Production", 2: "None"}


def retagged(client):
    client.set_model_version_tag(NAME, "1", "lockstep.stage", "Archived")


def restaged(client):
    with pytest.warns(FutureWarning):
        client.transition_model_version_stage(NAME, "1", "Archived")


def realiased(client):
    client.set_registered_model_alias(NAME, "production", "2")


def with_an_alias_too_many(client):
    client.set_registered_model_alias(NAME, "staging", "2")


def without_its_description(client):
    client.update_model_version(NAME, "1", "")


def without_the_models_description(client):
    client.update_registered_model(NAME, "")


@pytest.mark.parametrize(
    "spoil",
    [
        retagged,
        restaged,
        realiased,
        with_an_alias_too_many,
        without_its_description,
        without_the_models_description,
    ],
)
def test_what_repeats_the_stages_is_not_written_without_the_lock(client, monkeypatch, spoil):
    add_model(client, 2, NAME)
    lifecycle.promote(client, NAME, 1)
    spoil(client)
    spoilt = get_model(client, NAME)
    with (
        pytest.raises(RegistryError, match="another took over"),
        open_journal(client, NAME) as book,
    ):
        break_lock(client, find_lock(client, NAME))
        monkeypatch.setattr(locking, "LEASE", 0.0)
        book.apply([])
    assert get_model(client, NAME) == spoilt


def refusing(client, monkeypatch):
    """Let the store go down once the model is held."""

    def down(*_, **__):
        raise MlflowException("API request failed:\nconnection refused")

    monkeypatch.setattr(client, "get_registered_model", down)


def test_a_store_that_goes_down_before_the_lock_is_let_go_costs_a_warning(
    client, monkeypatch, capsys
):
    with lock_model(client, NAME):
        refusing(client, monkeypatch)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("WARNING the move is done, but its lock stands (the registry refused")
    assert "waits up to 45 s" in line


def test_a_store_that_goes_down_amid_a_move_is_told_once(client, monkeypatch, capsys):
    with pytest.raises(RegistryError, match=r"^the move failed$"), lock_model(client, NAME):
        refusing(client, monkeypatch)
        raise RegistryError("the move failed")
    assert capsys.readouterr().err == ""


def test_a_store_that_is_down_while_a_lock_is_asked_for_is_one_line(client, monkeypatch):
    stranger(client, host="elsewhere")
    refusing(client, monkeypatch)
    with pytest.raises(
        RegistryError, match=r"^the registry refused: API request failed: connection refused"
    ):
        find_lock(client, NAME)


def test_who_acts_may_be_named_in_dotenv(tmp_path, monkeypatch):
    for name in ("dvc.yaml", "params.yaml"):
        (tmp_path / name).touch()
    (tmp_path / ".env").write_text("LOCKSTEP_ACTOR=ann\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LOCKSTEP_ACTOR", raising=False)
    assert default_who().actor == "ann"
    monkeypatch.setenv("LOCKSTEP_ACTOR", "ben")
    assert default_who().actor == "ben"


def test_a_user_without_a_name_holds_and_acts_by_number(client, monkeypatch):
    def nameless():
        raise KeyError("getpwuid(): uid not found: 10001")

    monkeypatch.setattr(owners, "getuser", nameless)
    monkeypatch.delenv("LOCKSTEP_ACTOR", raising=False)
    with lock_model(client, NAME):
        assert find_lock(client, NAME).owner["user"] == f"uid {os.getuid()}"
    assert default_who().actor.startswith(f"uid {os.getuid()}@")
