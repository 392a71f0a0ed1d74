import contextlib
import json
import re
import shutil
import sqlite3
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given
from hypothesis import settings as runs
from hypothesis import strategies as st
from tests.registry.test_lifecycle import NAME, Crash, Crashing, add_model, agrees, stages

from lockstep.audit import checkup, record_checks
from lockstep.audit.doctor import diagnose, line_of, report
from lockstep.commands import manage_registry as manage
from lockstep.config.settings import load_settings
from lockstep.io import sha256_file
from lockstep.registry.lifecycle import moves as lifecycle
from lockstep.registry.record import locking
from lockstep.registry.record.events import Step
from lockstep.registry.record.journal import Journal
from lockstep.registry.record.recovery import open_journal
from lockstep.registry.record.registered_models import get_model
from lockstep.registry.store import connection, owners
from lockstep.registry.store.names import LOCK_PREFIX
from lockstep.registry.train_stage import publish_training

LINEAR = "Accident_Prediction_Logistic_Regression"
ADDRESS = "lockstep.event.{:06d}"


@pytest.fixture(scope="module")
def once(tmp_path_factory):
    """Where all tests find a copy of what the first published: publishing takes seconds."""
    return tmp_path_factory.mktemp("published") / "copy"


@pytest.fixture
def published(workspace, make, monkeypatch, once):
    """A workspace whose two models are registered, the linear one in Production."""
    monkeypatch.chdir(workspace.parent)
    if not once.exists():
        for model_type in make.small:
            publish_training(workspace, "accidents", model_type)
        lifecycle.promote(client_of(workspace), LINEAR)
        shutil.copytree(workspace, once)
    else:  # a store that is open here must not be replaced: sqlite then refuses to write to it
        shutil.rmtree(workspace)
        shutil.copytree(once, workspace)
    client_of(workspace)  # the store follows its folder
    monkeypatch.chdir(workspace)
    return workspace


@pytest.fixture
def lifted(home, monkeypatch):
    """A registry of one model without files, after three moves; only its record is looked at."""
    monkeypatch.setattr(checkup, "of_files", lambda *_: iter(()))
    add_model(home.client, 3)
    lifecycle.promote(home.client, NAME, 1)
    lifecycle.promote(home.client, NAME, 2)
    lifecycle.transition(home.client, NAME, 3, "Staging")
    return home


def client_of(root):
    return connection.connect(load_settings(root), root)


def whats(found):
    return [finding.name for finding in found.findings]


def files(root):
    return {
        str(f.relative_to(root)): sha256_file(f) for f in sorted(root.rglob("*")) if f.is_file()
    }


def test_a_registry_that_is_well_is_said_to_be_and_nothing_is_written(published, capsys):
    before = files(published)
    assert manage.main(["doctor"]) == 0
    text = capsys.readouterr().out
    assert text.endswith("✓ all is well\n")
    assert "tracking_uri" in text
    assert "the default" in text
    assert re.search(r"^experiment_name +not set +the default$", text, re.MULTILINE)
    assert "files looked for (`verify` looks into them): 2 of 2 versions" in text
    assert files(published) == before
    assert manage.main(["doctor", "--fix", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["well"], told["findings"], told["store"]["versions"]) == (True, [], 2)
    assert told["store"]["files_looked_for"] == "2 of 2 versions"
    assert set(told["tools"]) == {
        "python",
        "dvc",
        "mlflow",
        "scikit-learn",
        "xgboost",
        "lightgbm",
        "skops",
    }
    assert files(published) == before


def crashed(client):
    with contextlib.suppress(Crash):
        lifecycle.promote(Crashing(client, 2), NAME, 1)


def retagged(client):
    client.set_model_version_tag(NAME, "1", "lockstep.stage", "Production")


def realiased(client):
    client.set_registered_model_alias(NAME, "production", "1")


def unaliased(client):
    client.delete_registered_model_alias(NAME, "staging")


def restaged(client):
    with pytest.warns(FutureWarning):
        client.transition_model_version_stage(NAME, "2", "Archived")


def unrecorded(client):
    client.create_model_version(NAME, "/nowhere", None, tags={"lockstep.stage": "Production"})


def altered(client):
    tags = client.get_registered_model(NAME).tags
    told = json.loads(tags[ADDRESS.format(2)])
    client.set_registered_model_tag(
        NAME, ADDRESS.format(2), json.dumps({**told, "actor": "nobody"})
    )


def removed(client):
    client.delete_registered_model_tag(NAME, ADDRESS.format(3))


def last_removed(client):
    client.delete_registered_model_tag(NAME, ADDRESS.format(4))


def unreadable(client):
    client.set_registered_model_tag(NAME, ADDRESS.format(4), "{")


def of_another_kind(client):
    told = json.loads(client.get_registered_model(NAME).tags[ADDRESS.format(4)])
    forged = json.dumps({**told, "action": "register", "details": []})
    client.set_registered_model_tag(NAME, ADDRESS.format(4), forged)
    ended = json.dumps({"outcome": "done", "time": "t", "version": [3]})
    client.set_registered_model_tag(NAME, "lockstep.ended.000004", ended)


def reopened(client):
    """An old move seems half-done: done again, it would undo what came after."""
    client.delete_registered_model_tag(NAME, "lockstep.ended.000002")


def headless(client):
    client.set_registered_model_tag(NAME, "lockstep.head", "²" * 5)


def all_removed(client):
    for tag in client.get_registered_model(NAME).tags:
        client.delete_registered_model_tag(NAME, tag)


def two_productions(client):
    with open_journal(client, NAME) as book:
        event = book.begin("adopt", steps=(Step(1, "Archived", "Production"),))
        book.apply(event.steps)
        book.end(event)


def locked(client, name=NAME, **changes):
    owner = {**owners.this_process(), "pid": 2**22 + 1, "started": "1", **changes}
    tags = {"lockstep.token": "f" * 32, "lockstep.owner": json.dumps(owner)}
    client.create_registered_model(f"{LOCK_PREFIX}{name}", tags=tags)


def half_broken(client):
    """A process died while it broke the lock of another that had died."""
    locked(client)
    locked(client, f"{locking.MARK}{NAME}")


DAMAGES = {
    crashed: ["half-done move", "disagreement"],
    retagged: ["disagreement"],
    realiased: ["disagreement"],
    unaliased: ["disagreement"],
    restaged: ["disagreement"],
    unrecorded: ["no record"],
    altered: ["damaged record"],
    removed: ["damaged record"],
    last_removed: ["damaged record"],
    unreadable: ["damaged record"],
    of_another_kind: ["damaged record"],
    reopened: ["damaged record"],
    headless: ["damaged record"],
    all_removed: ["no record"],
    two_productions: ["two Productions"],
    locked: ["abandoned lock"],
    half_broken: ["abandoned lock"],
}


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_what_is_wrong_is_found_without_a_write_and_mended_with_fix(lifted, damage):
    damage(lifted.client)
    before = files(lifted.root)
    found = diagnose(lifted.root)
    assert set(DAMAGES[damage]) <= set(whats(found))
    assert not found.well
    assert files(lifted.root) == before
    assert all(
        f.subject in line_of(f) and (f.fix or "; " in f.message) and f.repair
        for f in found.findings
    )
    mended = diagnose(lifted.root, fix=True)
    assert mended.well, report(mended)
    assert [f.name for f in mended.repaired] == whats(found)
    assert report(mended).endswith(f"✓ all is well, {len(mended.repaired)} repaired")
    agrees(lifted.client)
    assert locking.all_locks(lifted.client) == []
    assert diagnose(lifted.root, fix=True).repaired == ()
    lifecycle.archive(lifted.client, NAME, 2)
    agrees(lifted.client)


@pytest.mark.parametrize("damage", [altered, removed, last_removed, unreadable, reopened, headless])
def test_an_accepted_damage_stays_on_record_and_keeps_what_the_tags_say(lifted, damage):
    damage(lifted.client)
    fault = get_model(lifted.client, NAME).record.faults[0]
    diagnose(lifted.root, fix=True)
    assert stages(lifted.client) == {1: "Archived", 2: "Production", 3: "Staging"}
    event = get_model(lifted.client, NAME).record.last
    assert (event.action, event.number, event.who.reason) == ("accept", 5, "doctor --fix")
    assert fault in event.details["faults"]


def test_a_second_event_never_gets_the_number_of_one_that_is_gone(lifted):
    unreadable(lifted.client)
    diagnose(lifted.root, fix=True)
    tags = lifted.client.get_registered_model(NAME).tags
    assert tags[ADDRESS.format(4)] == "{"
    assert "accept" in tags[ADDRESS.format(5)]


def test_a_crash_while_a_damage_is_accepted_is_mended_by_the_next_fix(lifted, monkeypatch):
    last_removed(lifted.client)
    for writes in range(3):
        crashing = Crashing(lifted.client, writes)
        monkeypatch.setattr(connection, "connect", lambda *_, using=crashing: using)
        monkeypatch.setattr("lockstep.audit.doctor.all_locks", lambda _: [])
        with contextlib.suppress(Crash):
            diagnose(lifted.root, fix=True)
    monkeypatch.undo()
    monkeypatch.setattr(checkup, "of_files", lambda *_: iter(()))
    assert diagnose(lifted.root, fix=True).well
    agrees(lifted.client)


def test_a_move_under_way_is_no_finding(lifted):
    with open_journal(lifted.client, NAME) as book:
        book.begin("transition", steps=(Step(3, "Staging", "None"),))
        assert whats(diagnose(lifted.root)) == []
    assert whats(diagnose(lifted.root)) == ["half-done move"]


def test_a_lock_of_another_machine_is_left_alone_until_it_is_old(lifted, monkeypatch):
    locked(lifted.client, host="elsewhere")
    assert whats(diagnose(lifted.root, fix=True)) == []
    assert len(locking.all_locks(lifted.client)) == 1
    monkeypatch.setattr(record_checks, "ABANDONED", -60.0)
    monkeypatch.setattr(locking, "LEASE", 0.2)
    assert whats(diagnose(lifted.root)) == ["abandoned lock"]
    diagnose(lifted.root, fix=True)
    assert locking.all_locks(lifted.client) == []


def test_an_owner_that_another_tool_wrote_is_nobody(lifted):
    lifted.client.create_registered_model(f"{LOCK_PREFIX}x", tags={"lockstep.owner": "{"})
    assert diagnose(lifted.root).well
    assert locking.all_locks(lifted.client)[0].owner_text == "? on ? (pid ?)"


def test_a_fix_that_was_stopped_past_the_lease_writes_no_more(lifted, monkeypatch):
    altered(lifted.client)
    before = get_model(lifted.client, NAME)

    def stopped(client, name):
        locking.break_lock(client, locking.find_lock(client, name))
        monkeypatch.setattr(locking, "LEASE", 0.0)
        return get_model(client, name)

    monkeypatch.setattr("lockstep.audit.doctor.get_model", stopped)
    (failure,) = diagnose(lifted.root, fix=True).failed
    assert failure.startswith(f"{NAME} could not be repaired: this command was stopped for so long")
    assert get_model(lifted.client, NAME) == before


def test_a_long_fix_shows_that_it_goes_on(lifted, monkeypatch):
    altered(lifted.client)
    beats = []

    def seen(book, event):
        beats.append(locking.find_lock(book.client, NAME).beat)
        return noted(book, event)

    noted = Journal._note
    monkeypatch.setattr(Journal, "_note", seen)
    monkeypatch.setattr(locking, "LEASE", 0.0)
    assert diagnose(lifted.root, fix=True).well
    assert len({*beats} - {""}) == len(beats) > 1


tampering = st.lists(
    st.tuples(
        st.sampled_from(["event", "ended", "head", "tag", "alias", "delete"]),
        st.integers(1, 5),
        st.sampled_from(["", "{}", "Production", "Staging", '{"number":2}', "3 abc", "99 abc"]),
    ),
    min_size=1,
    max_size=5,
)


@given(sequence=tampering)
@runs(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_was_tampered_with_a_fix_leaves_all_in_agreement(lifted, sequence):
    tamper(lifted.client, sequence)
    before = {v.version for v in get_model(lifted.client, NAME).versions}
    assert diagnose(lifted.root, fix=True).well
    assert {v.version for v in get_model(lifted.client, NAME).versions} == before
    agrees(lifted.client)


def tamper(client, sequence):
    """Write or delete what only this package should write."""
    for what, number, text in sequence:
        if what == "tag":
            client.set_model_version_tag(NAME, str(1 + number % 3), "lockstep.stage", text)
        elif what == "alias":
            client.set_registered_model_alias(
                NAME, ["production", "staging"][number % 2], str(1 + number % 3)
            )
        elif what == "head":
            client.set_registered_model_tag(NAME, "lockstep.head", text)
        elif what == "delete":
            tags = sorted(client.get_registered_model(NAME).tags)
            client.delete_registered_model_tag(NAME, tags[number % len(tags)])
        else:
            client.set_registered_model_tag(NAME, f"lockstep.{what}.{number:06d}", text)


def no_files(root):
    shutil.rmtree(next(root.glob("mlruns/**/models")))
    return "no files"


def half_the_files(root):
    next(root.glob("mlruns/**/model.skops")).unlink()
    return "no files"


def another_training(root):
    from tests.registry_workspace import write_training

    write_training(root, "logistic_regression", seed=1)
    return "not registered"


def a_broken_card(root):
    (root / "models/accidents/random_forest_model.json").write_text("{")
    return "workspace"


def another_lock(root):
    (root / "requirements.lock").write_text("skops==0.1 \\\n")
    return "tools"


def broken_params(root):
    (root / "params.yaml").write_text("train: [")
    return "configuration"


def broken_settings(root):
    (root / "src/config").mkdir(parents=True)
    (root / "src/config/model_config.yaml").write_text("mlflow: {trackin_uri: x}\n")
    return "configuration"


def a_plain_file_store(root):
    (root / ".env").write_text("MLFLOW_TRACKING_URI=file:./mlruns\n")
    return "store"


def an_old_schema(root):
    with contextlib.closing(sqlite3.connect(root / "mlflow.db")) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = 'ac2c'")
    return f"store, sqlite:///{root}/mlflow.db: its schema is ac2c"


def a_cut_database(root):
    content = (root / "mlflow.db").read_bytes()
    (root / "mlflow.db").write_bytes(content[: len(content) // 2])
    return "store"


def no_database(root):
    (root / "mlflow.db").unlink()
    return "store"


def an_empty_database(root):
    (root / "mlflow.db").write_bytes(b"")
    return "store"


def a_database_that_is_down(root):
    (root / ".env").write_text("MLFLOW_TRACKING_URI=mysql+nothing://u:secret@127.0.0.1:1/x\n")
    return "store"


@pytest.mark.parametrize(
    "damage",
    [
        no_files,
        half_the_files,
        another_training,
        a_broken_card,
        another_lock,
        broken_params,
        broken_settings,
        a_plain_file_store,
        an_old_schema,
        a_cut_database,
        no_database,
        an_empty_database,
        a_database_that_is_down,
    ],
    ids=lambda damage: damage.__name__,
)
def test_what_only_a_person_can_mend_is_told_in_a_line_and_left(published, damage, capsys):
    what = damage(published)
    before = files(published)
    for arguments in ([], ["--fix"]):
        assert manage.main(["doctor", *arguments]) == 1
        text = capsys.readouterr().out
        faults = [line for line in text.splitlines() if line.startswith("✗")]
        assert any(line.startswith(f"✗ {what}") and ";" in line for line in faults), text
        assert "secret" not in text
        assert files(published) == before


def test_a_moved_clone_is_found_and_followed(published, tmp_path, monkeypatch, capsys):
    moved = tmp_path / "elsewhere"
    monkeypatch.chdir(tmp_path)
    published.rename(moved)
    monkeypatch.chdir(moved)
    before = files(moved)
    assert manage.main(["doctor", "--json"]) == 1
    told = [finding["what"] for finding in json.loads(capsys.readouterr().out)["findings"]]
    assert told[0] == "moved clone"
    assert files(moved) == before
    assert manage.main(["doctor", "--fix"]) == 0
    assert "recorded their new place" in capsys.readouterr().out
    assert manage.main(["doctor"]) == 0


class Broken(BaseHTTPRequestHandler):
    """A server that says it is well and then is not."""

    behaviour = "500"

    def do_GET(self):
        if self.path == "/health":
            self._answer(200, b"OK")
        elif self.behaviour == "hangs":
            self.server.released.wait(60)
        elif self.behaviour == "page":
            self._answer(200, b"<html>another service</html>")
        else:
            self._answer(500, b"no")

    do_POST = do_GET

    def _answer(self, status, content):
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        pass


@pytest.fixture
def broken_server():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Broken)
    server.released = threading.Event()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.released.set()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("behaviour", ["500", "page", "hangs"])
@pytest.mark.parametrize("fix", [False, True])
def test_a_server_that_fails_half_way_is_a_finding_in_time(
    home, broken_server, behaviour, fix, monkeypatch
):
    monkeypatch.setattr(Broken, "behaviour", behaviour)
    started = time.monotonic()
    found = diagnose(home.root, broken_server, fix)
    assert time.monotonic() - started < 12
    assert whats(found) == ["store"]
    assert "\n" not in line_of(found.findings[0])


def test_a_server_that_is_down_is_a_finding(home, capsys):
    assert manage.main(["doctor", "--tracking-uri", "http://127.0.0.1:9"]) == 1
    line = capsys.readouterr().out.splitlines()[-2]
    assert line.startswith("✗ store, http://127.0.0.1:9: tracking server")
    assert "start it" in line


def test_a_refused_registration_counts_as_known(published, make):
    make.training(published, "logistic_regression", seed=1)
    assert whats(diagnose(published)) == ["not registered"]
    card = json.loads(Path("models/accidents/logistic_regression_model.json").read_text())
    with open_journal(client_of(published), LINEAR) as book:
        gate = {"verdict": "refused"}
        event = book.begin("register", gate=gate, details={"model_digest": card["model_digest"]})
        book.end(event, "refused")
    assert diagnose(published).well


def test_a_model_of_spark_without_a_version_is_found(published):
    content = yaml.safe_load(Path("params.yaml").read_text())
    content["prepare_spark"] = {"accidents": {"partitions": 2}}
    content["train_spark"] = {"accidents-xgboost": {"problem": "accidents", "type": "xgboost"}}
    Path("params.yaml").write_text(yaml.safe_dump(content))
    assert diagnose(published).well
    card = Path("models/accidents/spark/xgboost_model.json")
    card.parent.mkdir()
    card.write_text(json.dumps({"model_digest": "5" * 64}))
    (finding,) = diagnose(published).findings
    assert (finding.name, finding.subject) == (
        "not registered",
        "Accident_Prediction_Spark_XGBoost",
    )
    fix = "python src/models/train_spark.py --problem accidents --models xgboost"
    assert finding.fix == f"run `{fix}`"
