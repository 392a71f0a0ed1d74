"""What concerns one version or the versions in use asks as much of a registry of any size."""

import sys
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest
import sqlalchemy

from lockstep.commands import manage_registry as manage
from lockstep.promotion.best_production import production_versions
from lockstep.registry.artifact.locating import find_version
from lockstep.registry.lifecycle import moves as lifecycle
from lockstep.registry.publishing.registration import register_version
from lockstep.registry.record import locking
from lockstep.registry.record.descriptions import outdated
from lockstep.registry.record.registered_models import (
    get_in_use,
    get_model,
    get_same,
    get_version,
    marks_of,
    newest_versions,
)
from lockstep.registry.store import opening, queries, sql_tables
from lockstep.registry.store.connection import fluent
from lockstep.registry.store.names import DIGEST_TAG
from lockstep.registry.store.opening import open_to_read
from lockstep.registry.store.queries import Logged, Queries

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))
import filled_registry

NAME = "Accident_Prediction_XGBoost"
FEW, MANY = 30, 300
STEPS = {
    "find by number": lambda client: find_version(client, NAME, version=7),
    "find in Production": lambda client: find_version(client, NAME),
    "of all models in Production": lambda client: production_versions(client, "accidents"),
    "newest": lambda client: newest_versions(client, NAME, 3),
    "marks of a follower": lambda client: marks_of(client, NAME),
    "stage": lambda client: lifecycle.transition(client, NAME, 2, "Staging"),
    "promote": lambda client: lifecycle.promote(client, NAME, 2),
    "roll back": lambda client: lifecycle.rollback(client, NAME),
    "archive": lambda client: lifecycle.archive(client, NAME, 2),
}


@pytest.fixture(scope="module")
def registries(empty_store, new_home, tmp_path_factory, pipeline):
    """Two registries, with few versions of a model and with ten times as many."""
    small = new_home(tmp_path_factory.mktemp("few") / "made", empty_store)
    for number in range(2):
        small.register(NAME, pipeline, problem="accidents", validation_roc_auc=0.8 + number / 100)
    large = new_home(tmp_path_factory.mktemp("many") / "made", small.root / "mlflow.db")
    for home, versions in ((small, FEW), (large, MANY)):
        filled_registry.fill(f"sqlite:///{home.root / 'mlflow.db'}", NAME, 2, versions)
        lifecycle.archive(home.client, NAME, 1)  # the first move writes the aliases
    return small, large


@pytest.fixture
def asked(monkeypatch):
    """Count the statements that databases get, and the versions that are read from them."""
    counts = Counter()

    def connect(*given, **more):
        connection = sqlite3.connect(*given, **more)
        connection.set_trace_callback(lambda _: counts.update(["queries"]))
        return connection

    def read(make):
        return lambda *given, **more: counts.update(["versions"]) or make(*given, **more)

    sqlite3 = sql_tables.sqlite3
    door = SimpleNamespace(connect=connect, Connection=sqlite3.Connection, Error=sqlite3.Error)
    monkeypatch.setattr(sql_tables, "sqlite3", door)
    monkeypatch.setattr(sql_tables, "Version", read(sql_tables.Version))
    monkeypatch.setattr(queries, "version_from", read(queries.version_from))
    event = (sqlalchemy.Engine, "before_cursor_execute", lambda *_: counts.update(["queries"]))
    sqlalchemy.event.listen(*event)
    yield counts
    sqlalchemy.event.remove(*event)


@pytest.mark.parametrize("by", ["tables", "mlflow"])
def test_ten_times_the_versions_cost_no_more(registries, asked, by, monkeypatch):
    # On a slow machine a move would give signs of life, which are statements of their own.
    monkeypatch.setattr(locking, "LEASE", 1e9)
    if by == "mlflow":  # as of a server, or of a database of another schema
        monkeypatch.setattr(opening, "local_tables", lambda _: None)
    found = []
    for home in registries:
        costs = {}
        for step, run in STEPS.items():
            asked.clear()
            run(home.client)
            costs[step] = dict(asked)
        found.append(costs)
    small, large = found
    assert large == small
    assert {*small} == {*STEPS}
    assert all(0 < one["queries"] < 200 for one in small.values())
    asked.clear()
    get_model(registries[1].client, NAME)
    assert asked["versions"] == MANY  # so that the counting is known to count


@pytest.mark.parametrize("by", ["tables", "mlflow"])
def test_a_registration_costs_no_more_with_ten_times_the_versions(
    registries, asked, new_home, tmp_path, by, monkeypatch
):
    monkeypatch.setattr(locking, "LEASE", 1e9)
    if by == "mlflow":
        monkeypatch.setattr(opening, "local_tables", lambda _: None)
    found = []
    for home in registries:
        own = new_home(tmp_path / home.root.parent.name, home.root / "mlflow.db").client
        run = own.create_run("0").info.run_id
        model = own.create_logged_model("0", name="m", source_run_id=run)
        own.finalize_logged_model(model.model_id, "READY")
        known = get_version(own, NAME, 2).tag("model_digest")
        for digest, new in (("another", True), (known, False)):
            with fluent(own.tracking_uri):
                asked.clear()
                logged = Logged(run, model.model_id)
                version, made = register_version(own, NAME, logged, {DIGEST_TAG: digest})
            assert (made, version.version == 2) == (new, not new)
            found.append(dict(asked))
        assert [v.version > 2 for v in get_same(own, NAME, "another").versions] == [True]
    assert found[2:] == found[:2]


def test_the_copies_are_versions_of_this_project(registries):
    _, large = registries
    for door in (open_to_read(large.root), Queries(large.client)):
        model = get_model(door, NAME)
        assert [v.version for v in model.versions] == [*range(1, MANY + 1)]
        assert not model.record.faults
        assert model.record.stages == {v.version: v.stage for v in model.versions}
        assert outdated(model) == []
        part = get_in_use(door, NAME, [5])
        assert {5, MANY} < part.numbers < model.numbers
        for stage in ("Production", "Staging"):
            assert part.in_stage(stage) == model.in_stage(stage) != ()


def test_a_listing_says_what_it_leaves_out(registries, monkeypatch, capsys):
    _, large = registries
    monkeypatch.chdir(large.root)
    words = ["--model-name", NAME, "--json"]
    assert manage.main(["list-versions", *words]) == 0
    listed = capsys.readouterr()
    assert listed.out.count('"version":') == 100
    assert listed.err == (
        f"only the newest 100 versions of {NAME}; --limit N shows more, --limit 0 all\n"
    )
    assert manage.main(["list-versions", *words, "--limit", "0"]) == 0
    listed = capsys.readouterr()
    assert listed.out.count('"version":') == MANY
    assert listed.err == ""
    assert manage.main(["history", "--model-name", NAME, "--limit", "3"]) == 0
    listed = capsys.readouterr()
    assert len(listed.out.splitlines()) == 4
    assert listed.err.startswith("only the newest 3 of 3")
