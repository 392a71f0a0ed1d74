import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing, suppress
from pathlib import Path

import pytest
from mlflow.exceptions import MlflowException

from lockstep.config.settings import load_settings
from lockstep.errors import ConfigError, RegistryError
from lockstep.registry.store import connection, local_database, uris


def settings_for(root: Path, uri: str = ""):
    return load_settings(root, {"tracking_uri": uri}, {})


def test_the_default_is_sqlite_at_the_main_tree(tmp_path):
    (tmp_path / "dvc.yaml").write_text("stages: {}\n")
    temporary = tmp_path / ".dvc" / "tmp" / "exps" / "tmpx"
    temporary.mkdir(parents=True)
    for root in (tmp_path, temporary):
        assert uris.resolve_uri(settings_for(root), root) == f"sqlite:///{tmp_path}/mlflow.db"
    relative = settings_for(tmp_path, "sqlite:///sub/runs.db")
    assert uris.resolve_uri(relative, temporary) == f"sqlite:///{tmp_path}/sub/runs.db"
    assert (
        uris.artifact_root(f"sqlite:///{tmp_path}/sub/runs.db", tmp_path)
        == tmp_path / "sub" / "mlruns"
    )
    assert uris.artifact_root("http://x", tmp_path) is None


@pytest.mark.parametrize("uri", ["file:./mlruns", "./mlruns", "file:///tmp/x", "C:/mlruns"])
def test_plain_file_stores_are_refused_with_the_way_out(tmp_path, uri):
    with pytest.raises(
        ConfigError, match=r"sqlite:///mlflow\.db.*`mlflow migrate-filestore`"
    ) as caught:
        connection.connect(settings_for(tmp_path, uri), tmp_path)
    assert "--tracking-uri" in str(caught.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("uri", "meant"),
    [
        ("http//host", "http://host"),
        ("https:/host/path", "https://host/path"),
        ("http:host:5000", "http://host:5000"),
        ("http:///host", "http://host"),
        ("127.0.0.1:5000", "http://127.0.0.1:5000"),
        ("localhost:5000/path", "http://localhost:5000/path"),
        ("htp://host", "http://host"),
        ("postgres://host/db", "postgresql://host/db"),
        ("http//jane:secret@host", "http://jane:***@host"),
        ("sqlit:///mlflow.db", "sqlite:///mlflow.db"),
        ("sqllite:////data/mlflow.db", "sqlite:////data/mlflow.db"),
        ('"http://host:5000"', "http://host:5000"),
        (" https://host ", "https://host"),
        ("'localhost:5000'", "http://localhost:5000"),
    ],
)
def test_a_mistyped_uri_comes_with_what_it_means(tmp_path, uri, meant):
    with pytest.raises(ConfigError, match=r"is no URI of a server or database; write ") as caught:
        connection.connect(settings_for(tmp_path, uri), tmp_path)
    assert str(caught.value).endswith(f"write {meant}")
    assert "secret" not in str(caught.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "uri", ["tracking", "http://", "http", "http://host:99999", "http://host:x", "https://:5000"]
)
def test_a_word_that_is_no_uri_comes_with_the_forms_there_are(tmp_path, uri):
    with pytest.raises(
        ConfigError, match=rf"'{uri}' .* is no URI; write http://HOST:PORT .* sqlite:///"
    ):
        connection.connect(settings_for(tmp_path, uri), tmp_path)


@pytest.mark.parametrize("uri", ["http://[::1:5000", "http://::1]:5000"])
def test_a_bracket_without_its_other_one_is_one_line(tmp_path, uri):
    with pytest.raises(ConfigError, match=r"is no URI; write http://HOST:PORT") as caught:
        connection.connect(settings_for(tmp_path, uri), tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("password", "fix"),
    [
        ("ab/cd", "percent-encode / in the password (%2F)"),
        ("a?b#", "percent-encode ? in the password (%3F), # in the password (%23)"),
        ("p[ss", "percent-encode [ in the password (%5B)"),
    ],
)
def test_a_password_that_breaks_a_uri_is_told_how_to_be_written(tmp_path, password, fix):
    uri = f"postgresql://mlflow:{password}@db/mlflow"
    with pytest.raises(ConfigError, match="is no URI; percent-encode") as caught:
        connection.connect(settings_for(tmp_path, uri), tmp_path)
    assert str(caught.value).endswith(f"is no URI; {fix}")
    assert password not in str(caught.value)


@pytest.mark.parametrize(
    "uri",
    [
        "http://host",
        "https://u:p@h:1/x",
        "sqlite:///x.db",
        "mysql+pymysql://h/d",
        "databricks://p",
        "C:/x",
    ],
)
def test_a_uri_that_is_right_or_of_another_kind_is_left_alone(uri):
    assert uris.meant_uri(uri) == ""


@pytest.mark.parametrize("uri", ["sqlite://", "sqlite:///", "sqlite:///:memory:", "nonsense://x"])
def test_a_uri_without_a_database_is_one_line(tmp_path, uri):
    with pytest.raises((ConfigError, RegistryError)) as caught:
        connection.connect(settings_for(tmp_path, uri), tmp_path)
    assert "\n" not in str(caught.value)


def test_initialised_once_by_parallel_processes(tmp_path):
    root = tmp_path / "with space"
    root.mkdir()
    code = (
        "import sys, pathlib; from lockstep.config.settings import load_settings as s;"
        "from lockstep.registry.store.connection import connect, experiment_id as e;"
        "r = pathlib.Path(sys.argv[1]); c = connect(s(r, environ={}), r);"
        "print(e(c, r, 'one'))"
    )
    command = [sys.executable, "-W", "ignore", "-c", code, str(root)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    answers = [process.communicate(timeout=120)[0].strip() for process in running]
    assert [process.returncode for process in running] == [0, 0]
    assert answers == ["1", "1"]


def test_an_interrupted_initialisation_leaves_nothing(tmp_path, monkeypatch):
    from mlflow.store.tracking import sqlalchemy_store

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(sqlalchemy_store.SqlAlchemyStore, "__init__", interrupted)
    with pytest.raises(KeyboardInterrupt):
        connection.connect(settings_for(tmp_path), tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == [".lockstep"]


def test_a_damaged_database_is_named(tmp_path):
    (tmp_path / "mlflow.db").write_bytes(b"no database at all, but not empty")
    with pytest.raises(RegistryError, match=r"no complete MLflow database.*move it aside"):
        connection.connect(settings_for(tmp_path), tmp_path)


def test_a_truncated_database_is_named_and_left_as_it_is(tmp_path, empty_database):
    whole = empty_database.read_bytes()
    for kept in (100, 4096, len(whole) // 2, len(whole) - 1):
        (tmp_path / "mlflow.db").write_bytes(whole[:kept])
        with pytest.raises(
            RegistryError, match=r"no complete MLflow database.*put a backup .*move it"
        ):
            connection.connect(settings_for(tmp_path), tmp_path)
        assert (tmp_path / "mlflow.db").read_bytes() == whole[:kept]
        assert [p.name for p in tmp_path.iterdir()] == ["mlflow.db"]


KILLED = """
import os, signal, sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA cache_size = 1")
connection.execute("BEGIN")
connection.execute("CREATE TABLE half (x)")
for _ in range(300):
    connection.execute("INSERT INTO half VALUES (?)", ("x" * 4000,))
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_process_half_wrote_is_rolled_back(tmp_path, empty_database):
    database = tmp_path / "mlflow.db"
    shutil.copyfile(empty_database, database)
    subprocess.run([sys.executable, "-c", KILLED, str(database)], check=False)
    assert (tmp_path / "mlflow.db-journal").stat().st_size
    assert database.stat().st_size > empty_database.stat().st_size
    assert (
        connection.connect(settings_for(tmp_path), tmp_path).get_experiment("0").name == "Default"
    )
    assert database.stat().st_size == empty_database.stat().st_size


def test_a_locked_database_is_named_as_such(tmp_path, empty_database, monkeypatch):
    monkeypatch.setattr(local_database, "_PATIENCE", 0.05)
    shutil.copyfile(empty_database, tmp_path / "mlflow.db")
    with closing(sqlite3.connect(tmp_path / "mlflow.db", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(RegistryError, match="is locked by another process"):
            connection.connect(settings_for(tmp_path), tmp_path)


def test_an_emptied_database_beside_artifacts_is_no_new_store(tmp_path):
    (tmp_path / "mlflow.db").touch()
    note = tmp_path / "mlruns" / "cars" / "note.txt"
    note.parent.mkdir(parents=True)
    note.write_text("of a run")
    with pytest.raises(
        RegistryError,
        match=r"is empty \(0 bytes\).*backup.*remove it and run `dvc repro -s register`",
    ):
        connection.connect(settings_for(tmp_path), tmp_path)
    assert (tmp_path / "mlflow.db").read_bytes() == b""
    assert note.read_text() == "of a run"


def test_an_empty_database_without_artifacts_is_a_new_store(tmp_path):
    (tmp_path / "mlflow.db").touch()
    (tmp_path / "mlruns" / "cars").mkdir(parents=True)
    client = connection.connect(settings_for(tmp_path), tmp_path)
    assert [e.name for e in client.search_experiments()] == ["Default"]


def test_a_half_initialised_database_is_named(tmp_path):
    with closing(sqlite3.connect(tmp_path / "mlflow.db")) as opened:
        opened.execute("CREATE TABLE experiments (experiment_id INTEGER)")
        opened.commit()
    with pytest.raises(RegistryError, match="no complete MLflow database"):
        connection.connect(settings_for(tmp_path), tmp_path)


def test_a_server_that_refuses_is_named(tmp_path):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        uri = f"http://127.0.0.1:{closed.getsockname()[1]}"
        with pytest.raises(RegistryError, match="refused the connection; start it"):
            connection.connect(settings_for(tmp_path, uri), tmp_path)


def answering(answer: bytes):
    """Return a socket that answers each of some connections with these bytes."""
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    listening.listen()

    def serve():
        with suppress(OSError):  # closed by the test
            while True:
                with listening.accept()[0] as connection:
                    connection.recv(4096)
                    connection.sendall(answer)

    threading.Thread(target=serve, daemon=True).start()
    return listening


@pytest.fixture
def through(monkeypatch):
    """Set a proxy's variable, and no other."""
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    return lambda name, port: monkeypatch.setenv(name, f"http://jane:secret@127.0.0.1:{port}")


@pytest.mark.parametrize("variable", ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"])
def test_a_proxy_that_refuses_is_named_and_not_the_server(tmp_path, through, variable):
    with socket.socket() as closed, answering(b"HTTP/1.1 200 OK\r\n\r\n") as server:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        through(variable, port)
        uri = f"http://127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(RegistryError) as caught:
            connection.connect(settings_for(tmp_path, uri), tmp_path)
    assert str(caught.value) == (
        f"tracking server {uri} (from the option --tracking-uri) cannot be reached: the proxy "
        f"http://jane:***@127.0.0.1:{port} (from the variable {variable}) refused the connection; "
        f"correct or unset {variable}, or add 127.0.0.1 to no_proxy"
    )


def test_a_proxy_that_does_not_apply_is_not_named(tmp_path, through, monkeypatch):
    through("http_proxy", 9)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        uri = f"http://127.0.0.1:{closed.getsockname()[1]}"
        with pytest.raises(RegistryError, match="refused the connection; start it") as caught:
            connection.connect(settings_for(tmp_path, uri), tmp_path)
    assert "proxy" not in str(caught.value)


@pytest.mark.parametrize("status", [403, 407, 502, 503])
def test_a_proxy_may_have_answered_in_the_servers_place(tmp_path, through, status):
    text = f"HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n"
    with answering(text.encode()) as proxy:
        through("http_proxy", proxy.getsockname()[1])
        with pytest.raises(RegistryError, match=f"answers {status} through the proxy ") as caught:
            connection.connect(settings_for(tmp_path, "http://models.example:5000"), tmp_path)
    assert "add models.example to no_proxy" in str(caught.value)


@pytest.mark.parametrize(
    ("status", "fix"),
    [
        (
            "407 Proxy Authentication Required",
            "give its user and password in https_proxy (http://USER:",
        ),
        ("403 Forbidden", "add models.example to no_proxy"),
        ("502 Bad Gateway", "correct or unset https_proxy"),
    ],
)
def test_a_proxy_that_passes_no_request_on_is_one_that_was_reached(tmp_path, through, status, fix):
    with answering(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n".encode()) as proxy:
        through("https_proxy", proxy.getsockname()[1])
        with pytest.raises(
            RegistryError, match=f"does not pass the request on .{status}"
        ) as caught:
            connection.connect(settings_for(tmp_path, "https://models.example"), tmp_path)
    assert fix in str(caught.value)
    assert "cannot be reached (" not in str(caught.value)


PAGE = b"<html><body>Sign in</body></html>"


@pytest.mark.parametrize("variable", ["", "http_proxy"])
@pytest.mark.parametrize("status", ["200 OK", "404 Not Found"])
def test_a_web_page_is_no_answer_of_a_tracking_server(tmp_path, through, status, variable):
    head = f"HTTP/1.1 {status}\r\nContent-Type: text/html\r\nContent-Length: {len(PAGE)}\r\n"
    with answering(head.encode() + b"\r\n" + PAGE) as page:
        port = page.getsockname()[1]
        if variable:
            through(variable, port)
        uri = "http://models.example" if variable else f"http://127.0.0.1:{port}"
        client = connection.connect(settings_for(tmp_path, uri), tmp_path)
        with (
            pytest.raises(RegistryError, match="what answers is no tracking server") as caught,
            connection.translating_mlflow_errors(),
        ):
            client.search_registered_models()
    assert "correct MLFLOW_TRACKING_URI" in str(caught.value)
    assert ("a proxy may answer (http_proxy=" in str(caught.value)) == bool(variable)


@pytest.mark.parametrize(
    ("uri", "says"),
    [
        ("https://127.0.0.1:{port}", r"speaks no TLS; write http://127\.0\.0\.1:\d+$"),
        ("http://models.invalid:5000", "correct the address, or look at the network"),
    ],
)
def test_an_address_that_is_wrong_is_not_a_server_to_start(tmp_path, uri, says, through):
    with answering(b"HTTP/1.1 200 OK\r\n\r\n") as server:
        uri = uri.format(port=server.getsockname()[1])
        with pytest.raises(RegistryError, match=says) as caught:
            connection.connect(settings_for(tmp_path, uri), tmp_path)
    assert "mlflow server" not in str(caught.value)


@pytest.mark.parametrize(
    "uri", ["postgresql://a:secret@127.0.0.1:9/d", "mysql+pymysql://127.0.0.1:9/d"]
)
def test_a_dead_database_is_named_at_once(tmp_path, uri):
    started = time.monotonic()
    with pytest.raises(RegistryError, match=r"cannot be reached at port 9 .*refused") as caught:
        connection.connect(settings_for(tmp_path, uri), tmp_path)
    assert time.monotonic() - started < 5
    assert "secret" not in str(caught.value)


def test_a_proxy_that_hangs_is_named(tmp_path, through):
    with socket.socket() as hanging:
        hanging.bind(("127.0.0.1", 0))
        hanging.listen()
        through("http_proxy", hanging.getsockname()[1])
        with pytest.raises(RegistryError, match="did not answer within 5 s through the proxy"):
            connection.connect(settings_for(tmp_path, "http://models.example:5000"), tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        "HTTPConnectionPool(host='a', port=9): Max retries exceeded (Caused by ProxyError('Unable "
        "to connect to proxy', NewConnectionError('[Errno 111] Connection refused')))",
        'Failed to connect to proxy URL: "http://127.0.0.1:9"',
        "(Caused by ProxyError('Unable to connect to proxy', OSError('Tunnel connection failed: 403"
        " Forbidden')))",
    ],
)
def test_a_proxy_that_dies_later_is_named_in_mlflows_errors(through, text):
    through("https_proxy", 9)
    line = connection.one_line(MlflowException(text))
    assert line.startswith("the proxy that the environment names (https_proxy=http://jane:***@127.")
    assert "no_proxy" in line


def test_a_server_that_hangs_costs_five_seconds_at_most(tmp_path):
    with socket.socket() as hanging:
        hanging.bind(("127.0.0.1", 0))
        hanging.listen()
        uri = f"http://user:secret@127.0.0.1:{hanging.getsockname()[1]}"
        started = time.monotonic()
        with pytest.raises(RegistryError, match="did not answer within 5 s") as caught:
            connection.connect(settings_for(tmp_path, uri), tmp_path)
        assert time.monotonic() - started < 5
        assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("status", "message"), [(500, "answers 500"), (403, "wants other credentials")]
)
def test_a_server_that_answers_wrongly_is_named(tmp_path, status, message):
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()

        def answer():
            with listening.accept()[0] as connection:
                connection.recv(4096)
                connection.sendall(f"HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n".encode())

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(RegistryError, match=message):
            connection.connect(
                settings_for(tmp_path, f"http://127.0.0.1:{listening.getsockname()[1]}"), tmp_path
            )
        thread.join()


def test_artifacts_lie_beside_the_database_also_when_called_from_elsewhere(
    tmp_path, empty_database, make, monkeypatch
):
    root = tmp_path / "project"
    root.mkdir()
    make.new_store(root, empty_database)
    monkeypatch.chdir(tmp_path)
    client = connection.connect(settings_for(root), root)
    number = connection.experiment_id(client, root, "cars")
    assert connection.experiment_id(client, root, "cars") == number
    assert client.get_experiment(number).artifact_location == f"{root}/mlruns/cars"
    client.delete_experiment(number)
    with pytest.raises(RegistryError, match=f"mlflow experiments restore -x {number}"):
        connection.experiment_id(client, root, "cars")


@pytest.mark.parametrize("how", ["moved", "copied"])
def test_a_store_follows_its_folder(tmp_path, empty_database, make, how):
    old, new = tmp_path / "old", tmp_path / "new place"
    old.mkdir()
    make.new_store(old, empty_database)
    client = connection.connect(settings_for(old), old)
    number = connection.experiment_id(client, old, "cars")
    run = client.create_run(number)
    client.log_text(run.info.run_id, "hello", "note.txt")
    {"moved": shutil.move, "copied": shutil.copytree}[how](old, new)
    moved = connection.connect(settings_for(new), new)
    assert moved.get_experiment(number).artifact_location == f"{new}/mlruns/cars"
    assert moved.get_run(run.info.run_id).info.artifact_uri.startswith(f"{new}/mlruns/cars/")
    assert Path(moved.download_artifacts(run.info.run_id, "note.txt")).read_text() == "hello"
    if how == "copied":
        again = connection.connect(settings_for(old), old)
        assert again.get_experiment(number).artifact_location == f"{old}/mlruns/cars"


def test_a_block_within_another_gives_back_the_others_store(tmp_path: Path) -> None:
    import mlflow

    outer, inner = f"sqlite:///{tmp_path}/outer.db", f"sqlite:///{tmp_path}/inner.db"
    with connection.fluent(outer):
        with connection.fluent(inner):
            assert mlflow.get_tracking_uri() == inner
        assert mlflow.get_tracking_uri() == outer
    assert mlflow.get_tracking_uri() not in (outer, inner)


def test_no_trace_in_the_environment_after_the_global_functions(tmp_path, monkeypatch):
    import mlflow

    with connection.fluent(f"sqlite:///{tmp_path}/x.db"):
        assert mlflow.get_tracking_uri().endswith("x.db")
    assert "MLFLOW_TRACKING_URI" not in os.environ
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://before")
    with connection.fluent(f"sqlite:///{tmp_path}/x.db"):
        pass
    assert os.environ["MLFLOW_TRACKING_URI"] == "http://before"


def test_credentials_of_dotenv_reach_the_server(tmp_path, monkeypatch, empty_database, make):
    for name in ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    (tmp_path / ".env").write_text("MLFLOW_TRACKING_USERNAME=jane\nMLFLOW_TRACKING_PASSWORD=pw\n")
    make.new_store(tmp_path, empty_database)
    connection.connect(settings_for(tmp_path), tmp_path)
    assert os.environ["MLFLOW_TRACKING_USERNAME"] == "jane"
    assert os.environ["MLFLOW_TRACKING_PASSWORD"] == "pw"


TELEMETRY = """
from lockstep.registry.publishing.new_versions import publish_new
import mlflow
from mlflow.telemetry import utils
from mlflow.telemetry.client import get_telemetry_client
print(get_telemetry_client(), utils._IS_IN_CI_ENV_OR_TESTING, utils._IS_MLFLOW_DEV_VERSION)
"""


def test_telemetry_is_off_whoever_imports_mlflow_first():
    # MLflow keeps still in tests and CI by itself:
    # without their variables only this package can have told it.
    bare = {
        name: os.environ[name] for name in ("PATH", "HOME", "LD_LIBRARY_PATH") if name in os.environ
    }
    command = [sys.executable, "-W", "ignore", "-c", TELEMETRY]
    done = subprocess.run(command, env=bare, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("None False False\n", "")


def test_a_ctrl_c_that_a_later_failure_hides_is_told():
    def tidied_up_in_vain():
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt:
            raise OSError("database is locked") from None

    with pytest.raises(KeyboardInterrupt):
        try:
            tidied_up_in_vain()
        except OSError as error:
            connection.raise_interrupt(RegistryError("told in one line"))
            connection.raise_interrupt(error)
