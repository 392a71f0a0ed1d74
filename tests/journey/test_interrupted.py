"""A key pressed, a process killed or a disk full at any moment leaves nothing half-done.

The next run ends as if it had not happened.
"""

import shutil
import signal
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

import psutil
import pytest
from tests.journey.faults import fault, left_over, mounted, stopped

IMPORT = "python -m lockstep.data.import_raw --problem accidents"
FEATURES = "python -m lockstep.features.build_features --problem accidents"
FOREST = "python -m lockstep.models.train_multi_model --problem accidents --type random_forest"
REGISTER = "python -m lockstep.registry.register_models"
SEARCH = "python -m lockstep.commands.search --models logistic_regression xgboost"
INTERRUPTED = "✗ interrupted; nothing half-written was kept, run the command again to go on"


def rows(database: Path, query: str) -> list[tuple]:
    """Return what a database answers; nothing while it is not there or is being made."""
    if not database.is_file():
        return []
    with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)) as connection:
        try:
            return connection.execute(query).fetchall()
        except sqlite3.OperationalError:
            return []


def has_loaded(library: str, folder: Path, module: str) -> bool:
    """Tell whether a process that runs a module in a folder has loaded a library."""
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if module in process.cmdline() and process.cwd() == str(folder.resolve()):
                return any(library in one.path for one in process.memory_maps())
    return False


# ---- Ctrl-C -------------------------------------------------------------------------------------


@pytest.mark.long
def test_ctrl_c_while_data_are_made(own, tmp_path):
    own.edit("params.yaml", r"units: 1500, seed: 2021", "units: 1500, seed: 7")
    log, data = tmp_path / "terminal.txt", own.folder / "data" / "accidents"
    begun = {
        "import_raw": lambda: any(data.glob(".raw.*")),
        # Before its imports, Python may lose an interrupt in a callback of its own start.
        "features": lambda: has_loaded("pyarrow", own.folder, "lockstep.features.build_features"),
    }
    for stage, ready in begun.items():
        code, output = stopped(own, "python -m lockstep.commands.train", log, ready)
        assert code == 1, output
        assert INTERRUPTED in output
        assert "Traceback" not in output, output
        assert left_over(own.folder) == [], stage
    assert not (data / "features").exists()
    own.run("dvc repro -q features@accidents")


@pytest.mark.parametrize(("command", "output"), [(IMPORT, "raw"), (FEATURES, "features")])
def test_ctrl_c_in_a_stage_by_itself_keeps_what_was_there(own, tmp_path, command, output):
    folder = own.folder / "data" / "accidents" / output
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    begun = [p.name for p in folder.parent.glob(".*")]
    log = tmp_path / "terminal.txt"
    # A slow disk: every file written is followed by a line that waits to be read.
    slow = (
        "import os, pathlib; r = pathlib.Path.replace; "
        "pathlib.Path.replace = lambda *a: (print('writes', "
    )
    slow += "flush=True), __import__('signal').pause(), r(*a))"
    module = command.split()[2]
    code = f"{slow}; import runpy, sys; sys.argv = ['x', '--problem', 'accidents']; "
    code += f"runpy.run_module('{module}', run_name='__main__')"
    ended, told = stopped(own, f'python -c "{code}"', log, lambda: "writes" in log.read_text())
    assert (ended, fault(told)) == (1, INTERRUPTED)
    assert [p.name for p in folder.parent.glob(".*")] == begun
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


@pytest.mark.long
def test_ctrl_c_while_registering(own, tmp_path, empty_store):
    shutil.copyfile(empty_store, own.folder / "mlflow.db")
    shutil.rmtree(own.folder / "mlruns")
    log = tmp_path / "terminal.txt"
    few = f"{REGISTER} --models logistic_regression xgboost"
    logging = lambda: any((own.folder / "mlruns").rglob("metrics.json"))  # noqa: E731
    code, output = stopped(own, few, log, logging)
    assert (code, fault(output)) == (1, INTERRUPTED)
    assert left_over(own.folder) == []
    own.run(few)
    database = own.folder / "mlflow.db"
    assert {version for (version,) in rows(database, "SELECT version FROM model_versions")} == {1}
    assert ("RUNNING",) not in rows(database, "SELECT status FROM runs")
    parents = "SELECT run_uuid FROM tags WHERE key = 'lockstep.parent_of'"
    done = f"SELECT 1 FROM runs WHERE status = 'FINISHED' AND run_uuid {{}} IN ({parents})"
    assert [len(rows(database, done.format(word))) for word in ("NOT", "")] == [2, 1]


# ---- the search ---------------------------------------------------------------------------------


def tiny(project):
    """Give a project two searches of three short trials, the first from a start that is beaten."""
    for kind, trials in (("logistic_regression", 8), ("xgboost", 12)):
        project.edit("params.yaml", rf"(accidents-{kind}:\n    trials: ){trials}", r"\g<1>3")
    project.edit("params.yaml", r"params: \{C: 0.1, bins: 16", "params: {C: 1000.0, bins: 30")
    project.edit("params.yaml", r"n_estimators: 3000", "n_estimators: 10")
    return project


def trials(project) -> list[tuple]:
    """Return the search's own record: each trial that ended, its parameters, value and history."""
    query = """SELECT study_name, number, p.param_name, p.param_value, v.value
        FROM studies s JOIN trials t USING (study_id) JOIN trial_params p USING (trial_id)
        LEFT JOIN trial_values v USING (trial_id) WHERE t.state IN ('COMPLETE', 'PRUNED')
        ORDER BY study_name, t.trial_id, p.param_name"""
    found = rows(project.folder / ".lockstep" / "search.db", query)
    order = {
        number: place for place, number in enumerate(dict.fromkeys((r[0], r[1]) for r in found))
    }
    return [(order[row[:2]], *row[2:]) for row in found]


def logged(project) -> list[tuple]:
    """Return the trials' runs in MLflow, with how many metrics each has."""
    query = """SELECT t.value, r.name, r.status, count(m.key) FROM runs r
        JOIN tags t ON t.run_uuid = r.run_uuid AND t.key = 'lockstep.search'
        LEFT JOIN metrics m ON m.run_uuid = r.run_uuid
        WHERE r.lifecycle_stage = 'active' GROUP BY r.run_uuid ORDER BY t.value, r.name"""
    return rows(project.folder / "mlflow.db", query)


@pytest.mark.long
def test_a_search_killed_twice_ends_like_the_uninterrupted_one(trained, tmp_path):
    whole, own = (tiny(trained.copy(tmp_path / name)) for name in ("whole", "killed"))
    told = whole.run(SEARCH)
    assert told.count("trial 3/3") == 2
    started = (own.folder / "params.yaml").read_text()
    log = tmp_path / "terminal.txt"

    def inside(kind: str, number: int) -> bool:
        going = rows(
            own.folder / ".lockstep" / "search.db", "SELECT 1 FROM trials WHERE state = 'RUNNING'"
        )
        return f"{kind}  trial {number}/3" in log.read_text() and bool(going)

    stops = [
        (signal.SIGINT, lambda: inside("logistic_regression", 1)),
        (signal.SIGKILL, lambda: (own.folder / "params.yaml").read_text() != started),
        (signal.SIGKILL, lambda: inside("xgboost", 2)),
    ]
    for sign, ready in stops:
        code, output = stopped(own, SEARCH, log, ready, sign)
        assert code == (1 if sign == signal.SIGINT else -signal.SIGKILL), output
        assert "Traceback" not in output, output
    again = own.run(SEARCH)
    assert [line for line in again.splitlines() if "best" in line] == [
        line for line in told.splitlines() if "best" in line
    ]
    assert (
        (own.folder / "params.yaml").read_text()
        == (whole.folder / "params.yaml").read_text()
        != started
    )
    assert trials(own) == trials(whole)
    assert logged(own) == logged(whole)
    assert {status for _, _, status, _ in logged(own)} == {"FINISHED"}


# ---- disk ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "folder", "file"),
    [
        (FEATURES, "data/accidents", "data/accidents/features"),
        (FOREST, "models/accidents", "random_forest_model.joblib"),
    ],
)
def test_a_disk_that_fills_while_a_stage_writes(own, command, folder, file):
    place = own.folder / folder
    tidy = (own.folder / "data/accidents/tidy.parquet").read_bytes()
    room = len(tidy) // 1024 + 24 if "features" in command else 16
    with mounted(place, f"size={room}k"):
        if "features" in command:
            (place / "tidy.parquet").write_bytes(tidy)
        told = fault(own.run(command, code=1, DVC_STAGE="by hand"))
        left = {p.name for p in place.iterdir()}
    assert told.startswith("✗ the disk is full: ")
    assert file in told
    assert left <= {"tidy.parquet"}


@pytest.mark.parametrize(
    ("options", "told"),
    [("size=64k", "database or disk is full"), ("ro", "unable to open database file")],
)
def test_a_search_that_cannot_keep_its_trials(own, options, told):
    with mounted(own.folder / ".lockstep", options):
        line = fault(own.run(SEARCH, code=1))
    assert told in line
    assert "search.db" in line
    assert "search again" in line
