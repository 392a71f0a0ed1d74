"""What a listing reads past MLflow is what MLflow answers.

Where that is not sure MLflow is asked.
"""

import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest

from lockstep.commands import manage_registry as manage
from lockstep.errors import RegistryError
from lockstep.registry.artifact.files import files_below
from lockstep.registry.artifact.locating import locate
from lockstep.registry.lifecycle import moves as lifecycle
from lockstep.registry.record.locking import lock_model
from lockstep.registry.record.registered_models import (
    get_in_use,
    get_model,
    get_record,
    get_version,
    list_in_stage,
    list_models,
    marks_of,
    model_names,
    newest_in,
    newest_versions,
)
from lockstep.registry.store.names import STAGES, NotRegistered
from lockstep.registry.store.opening import open_to_read, source_of
from lockstep.registry.store.queries import Queries
from lockstep.registry.store.sql_tables import Tables, local_tables

NAME, OTHER = "Accident_Prediction_XGBoost", "another 100 %_forest"


@pytest.fixture(scope="module")
def made(empty_store, new_home, tmp_path_factory, pipeline):
    """A registry with moves, a person's alias, a version deleted by hand, and an empty model."""
    home = new_home(tmp_path_factory.mktemp("tables") / "made", empty_store)
    for number in range(4):
        home.register(NAME, pipeline, validation_roc_auc=0.8 + number / 100)
    home.register(OTHER, pipeline)
    home.client.create_registered_model("empty")
    lifecycle.promote(home.client, NAME, 2)
    lifecycle.transition(home.client, NAME, 3, "Staging")
    lifecycle.archive(home.client, OTHER, 1)
    home.client.set_registered_model_alias(NAME, "best-so-far", 1)
    home.client.delete_model_version(NAME, "4")
    home.client.set_registered_model_tag("empty", "owner", "")
    return home


@pytest.fixture
def filled(made, home_like):
    return home_like(made)


def test_the_tables_say_what_mlflow_says(filled):
    tables, client = open_to_read(filled.root), Queries(filled.client)
    assert isinstance(tables, Tables)
    assert list_models(tables) == list_models(client) != []
    assert model_names(tables) == model_names(client)
    for name in model_names(client):
        assert get_model(tables, name) == get_model(client, name)
        assert get_record(tables, name) == get_record(client, name)
    assert [v.version for v in get_model(tables, NAME).versions] == [1, 2, 3]


def test_a_part_is_read_alike(filled):
    tables, client = open_to_read(filled.root), Queries(filled.client)
    assert get_in_use(tables, NAME, [1]) == get_in_use(client, NAME, [1])
    assert list_in_stage(tables, "Production") == list_in_stage(client, "Production") != []
    assert marks_of(tables, NAME) == marks_of(client, NAME) == ({}, {"production": 2, "staging": 3})
    with lock_model(filled.client, NAME):
        assert marks_of(tables, NAME) == marks_of(client, NAME)
        assert marks_of(tables, NAME)[0].keys() == {"lockstep.owner", "lockstep.token"}
    for most in (1, 2, 5):
        assert newest_versions(tables, NAME, most) == newest_versions(client, NAME, most)
    assert [v.version for v in newest_versions(tables, NAME, 2).versions] == [2, 3]
    for door in (tables, client):
        assert get_version(door, NAME, 2) == get_model(door, NAME).version(2)
        with pytest.raises(NotRegistered, match="no version 4; there are: 1, 2, 3"):
            get_version(door, NAME, 4)


def test_a_stage_is_read_alike(filled):
    tables, client = open_to_read(filled.root), Queries(filled.client)
    for stage in STAGES:
        assert get_model(tables, NAME, stage) == get_model(client, NAME, stage)
    filled.client.set_model_version_tag(
        NAME, "1", "lockstep.stage", "Archived"
    )  # by hand: the record knows better
    filled.client.delete_model_version_tag(NAME, "2", "lockstep.stage")
    for stage in STAGES:
        assert get_model(tables, NAME, stage) == get_model(client, NAME, stage)
    assert newest_in(tables, NAME, "Production") == newest_in(client, NAME, "Production")
    assert newest_in(tables, NAME, "Production")[1].version == 2


def test_runs_are_read_alike(filled):
    tables, client = source_of(open_to_read(filled.root)), source_of(filled.client)
    unnamed = filled.client.create_run("0").info.run_id
    filled.client.delete_tag(unnamed, "mlflow.runName")
    deleted = filled.client.create_run("0", run_name="gone").info.run_id
    filled.client.delete_run(deleted)
    runs = {version.run_id for version in get_model(filled.client, NAME).versions}
    for run in [*runs, unnamed, deleted, "f" * 32]:
        assert tables.versions_of_run(run) == client.versions_of_run(run)
        assert tables.run_name(run) == client.run_name(run)
    assert [tables.run_name(run) for run in (unnamed, deleted, "f" * 32)] == [
        "this run",
        "gone",
        None,
    ]


def test_files_are_fetched_alike(filled, tmp_path):
    tables, version = open_to_read(filled.root), get_model(filled.client, NAME).version(1)
    contents = []
    for number, door in enumerate((tables, filled.client)):
        folder = locate(door, version, tmp_path / f"{number}").folder
        contents.append({name: path.read_bytes() for name, path in files_below(folder).items()})
    assert contents[0] == contents[1] != {}


def test_files_that_are_gone_or_elsewhere_are_left_to_mlflow(filled):
    tables, version = open_to_read(filled.root), get_model(filled.client, NAME).version(1)
    folder = tables.folder_of(version)
    assert folder == filled.artifact(NAME, 1)
    with closing(sqlite3.connect(filled.root / "mlflow.db")) as connection, connection:
        connection.execute("UPDATE model_versions SET storage_location = 's3://bucket/models'")
    assert tables.folder_of(version) is None
    shutil.rmtree(folder)
    assert tables.folder_of(version) is None


def test_a_version_in_production_that_was_deleted_by_hand_is_not_there(filled):
    filled.client.delete_model_version(NAME, "2")
    for door in (open_to_read(filled.root), Queries(filled.client)):
        with pytest.raises(RegistryError, match="no version in Production; versions: 1"):
            newest_in(door, NAME, "Production")


def test_a_name_that_is_not_there(filled):
    with pytest.raises(RegistryError, match=f"did you mean '{NAME}'"):
        get_model(open_to_read(filled.root), NAME[:-1])


def test_a_lock_is_no_model(filled):
    with lock_model(filled.client, NAME):
        assert model_names(open_to_read(filled.root)) == sorted([NAME, OTHER, "empty"])


def unknown_schema(home):
    with closing(sqlite3.connect(home.root / "mlflow.db")) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = 'another'")


def a_prompt(home):
    home.client.set_registered_model_tag("empty", "mlflow.prompt.is_prompt", "true")


def another_workspace(home):
    with closing(sqlite3.connect(home.root / "mlflow.db")) as connection, connection:
        connection.execute("UPDATE registered_models SET workspace = 'theirs' WHERE name = 'empty'")


@pytest.mark.parametrize("change", [unknown_schema, a_prompt, another_workspace])
def test_what_mlflow_may_read_in_another_way_is_left_to_it(filled, change):
    assert local_tables(filled.root / "mlflow.db") is not None
    change(filled)
    assert local_tables(filled.root / "mlflow.db") is None


def test_a_registry_elsewhere_is_left_to_mlflow(filled, monkeypatch):
    monkeypatch.setenv("MLFLOW_REGISTRY_URI", f"sqlite:///{filled.root / 'other.db'}")
    assert local_tables(filled.root / "mlflow.db") is None


def test_a_prompt_is_no_model_of_a_listing(filled, capsys):
    a_prompt(filled)
    assert not isinstance(open_to_read(filled.root), Tables)
    manage.main(["list-models"])
    assert "empty" not in capsys.readouterr().out


def test_a_table_that_is_gone_is_one_line(filled):
    tables = open_to_read(filled.root)
    with closing(sqlite3.connect(filled.root / "mlflow.db")) as connection, connection:
        connection.execute("DROP TABLE registered_model_aliases")
    with pytest.raises(RegistryError, match=r"cannot be read: no such table.*doctor"):
        list_models(tables)


def test_listings_of_a_local_registry_do_not_import_mlflow(filled):
    code = (
        "import sys; from lockstep.commands.manage_registry import main; "
        "[main(a.split()) for a in sys.argv[1:]]; "
    )
    code += "print('mlflow' in sys.modules)"
    lines = ("list-versions", "history", "get-model --stage Production")
    commands = ["list-models", *(f"{line} --model-name {NAME}" for line in lines)]
    done = subprocess.run(
        [sys.executable, "-c", code, *commands], capture_output=True, text=True, check=False
    )
    assert done.stdout.splitlines()[-1:] == ["False"], done.stderr
