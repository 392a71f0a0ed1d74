"""A server falls silent while a model is published, or a disk fills.

That is told in time, and healed without a double.
"""

import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest
from tests.journey.faults import mounted
from tests.registry.tcp_proxy import PassingOn

from lockstep.config.layout import ProblemLayout
from lockstep.config.settings import load_settings
from lockstep.errors import RegistryError
from lockstep.io import read_json
from lockstep.registry.store import connection
from lockstep.registry.train_stage import publish_training
from lockstep.registry.trained_models import register_models

LINEAR = "Accident_Prediction_Logistic_Regression"
ONE = ["logistic_regression"]


class Between(ThreadingHTTPServer):
    """Stands before a real server; silent from the first write to a path with ``falls_silent``.

    With ``hears`` what comes then is still passed on, only not answered: a server that is slow.
    """

    daemon_threads = True

    def __init__(self, port: int, falls_silent: str, hears: bool = False) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.port, self.falls_silent, self.hears = port, falls_silent, hears
        self.silent, self.ended = threading.Event(), threading.Event()
        self.uri = f"http://127.0.0.1:{self.server_port}"


class _Handler(PassingOn):
    server: Between

    def _pass_on(self) -> None:
        body = self.body()
        if self.command != "GET" and self.server.falls_silent in self.path:
            self.server.silent.set()
        silent = self.server.silent.is_set()
        if not silent or self.server.hears:
            status, content = self.ask(body)
        if silent:
            self.server.ended.wait()
            return
        self.reply(status, content)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _pass_on


@pytest.fixture
def between(server, monkeypatch) -> Iterator[Callable[..., Between]]:
    """Return what puts a server that falls silent before the real one, the workspace onto it."""
    made: list[Between] = []

    def begin(falls_silent: str, hears: bool = False) -> Between:
        made.append(Between(server.port, falls_silent, hears))
        threading.Thread(target=made[-1].serve_forever, kwargs={"poll_interval": 0.01}).start()
        monkeypatch.setenv("MLFLOW_TRACKING_URI", made[-1].uri)
        return made[-1]

    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    yield begin
    for one in made:
        one.ended.set()
        one.shutdown()
        one.server_close()


def digest(root: Path) -> str:
    return read_json(ProblemLayout(root, "accidents").model_card("logistic_regression"))[
        "model_digest"
    ]


def told_by_register(root: Path) -> list[str]:
    """Run the stage's command, which fails, and return the lines of its stderr."""
    command = [sys.executable, "-m", "lockstep.registry.register_models", "--models", *ONE]
    done = subprocess.run(
        command, cwd=root, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 1, done.stdout
    return done.stderr.splitlines()


def made_of(root: Path, uri: str, monkeypatch) -> tuple[list[str], set[str]]:
    """Return the versions that hold the workspace's model, and the states of its runs."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    client = connection.connect(load_settings(root), root)
    tagged = f"tags.`lockstep.model_digest` = '{digest(root)}'"
    versions = client.search_model_versions(tagged)
    experiment = client.get_experiment_by_name("accident_prediction").experiment_id
    return [str(v.version) for v in versions], {
        run.info.status for run in client.search_runs([experiment], tagged)
    }


@pytest.mark.parametrize(("seed", "path"), [(21, "runs/log-batch"), (22, "mlflow-artifacts")])
def test_a_server_that_falls_silent_costs_a_warning_and_no_training(
    workspace, make, server, between, monkeypatch, capsys, seed, path
):
    make.training(workspace, "logistic_regression", seed=seed)
    silent = between(path)
    started = time.monotonic()
    assert publish_training(workspace, "accidents", "logistic_regression") is None
    assert time.monotonic() - started < 15
    assert silent.silent.is_set()
    told = [line for line in capsys.readouterr().err.splitlines() if "WARNING" in line]
    assert len(told) == 1
    assert "is trained and kept, but not in the registry: it stopped answering" in told[0]
    assert "the next `dvc repro` registers it" in told[0]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
    for new in (True, False):
        assert [one.new for one in register_models(workspace, "accidents", ONE)] == [new]
    versions, states = made_of(workspace, server.uri, monkeypatch)
    assert len(versions) == 1
    assert states == {"FAILED", "FINISHED"}


def test_register_says_it_in_one_line_and_the_next_one_goes_on(
    workspace, make, server, between, monkeypatch
):
    make.training(workspace, "logistic_regression", seed=23)
    silent = between("runs/log-inputs")
    told = told_by_register(workspace)
    assert silent.silent.is_set()
    assert told == [
        "✗ the tracking store failed: it stopped answering; "
        "look at the server's log, or start it again; "
        "then run the command again, which goes on from here"
    ]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
    register_models(workspace, "accidents", ONE)
    assert len(made_of(workspace, server.uri, monkeypatch)[0]) == 1


def test_a_version_made_too_slowly_is_not_made_twice(workspace, make, server, between, monkeypatch):
    make.training(workspace, "logistic_regression", seed=24)
    between("model-versions/create", hears=True)
    assert "it stopped answering" in "".join(told_by_register(workspace))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
    assert [one.new for one in register_models(workspace, "accidents", ONE)] == [False]
    assert len(made_of(workspace, server.uri, monkeypatch)[0]) == 1


def test_a_server_that_hangs_is_left_within_half_a_minute():
    code = "import lockstep.registry, os; print(os.environ['MLFLOW_HTTP_REQUEST_TIMEOUT'], "
    code += "os.environ['MLFLOW_HTTP_REQUEST_MAX_RETRIES'])"
    plain = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
    told = subprocess.run(
        [sys.executable, "-c", code], env=plain, capture_output=True, text=True, check=True
    )
    timeout, retries = map(int, told.stdout.split())
    assert timeout * (retries + 1) <= 30


def test_a_full_disk_under_the_store(workspace, empty_database, tmp_path, monkeypatch, capsys):
    disk = tmp_path / "disk"
    database = disk / "mlflow.db"
    with mounted(disk, "size=20m"):
        shutil.copyfile(empty_database, database)
        filler = disk / "other files"
        filler.write_bytes(bytes(shutil.disk_usage(disk).free - 8192))
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{database}")
        assert publish_training(workspace, "accidents", "logistic_regression") is None
        told = capsys.readouterr().err
        assert (
            "is trained and kept, but not in the registry: the disk of its database is full" in told
        )
        assert "Traceback" not in told
        with pytest.raises(
            RegistryError, match="the disk of its database is full; free some space"
        ):
            register_models(workspace, "accidents", ONE)
        filler.unlink()
        assert [(one.version, one.new) for one in register_models(workspace, "accidents", ONE)] == [
            (1, True)
        ]
        versions, states = made_of(workspace, f"sqlite:///{database}", monkeypatch)
        assert (versions, states) == (["1"], {"FINISHED"})
        monkeypatch.delenv("MLFLOW_TRACKING_URI")


def test_a_full_disk_under_the_artifacts(workspace, monkeypatch, capsys):
    with mounted(workspace / "mlruns", "size=16k"):
        assert publish_training(workspace, "accidents", "logistic_regression") is None
        told = capsys.readouterr().err
    assert "is trained and kept, but not in the registry" in told
    assert "No space left on device" in told
    assert [(one.version, one.new) for one in register_models(workspace, "accidents", ONE)] == [
        (1, True)
    ]
