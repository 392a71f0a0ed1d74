"""A session is checked before Java starts, is quiet, and leaves nothing behind."""

import importlib.metadata
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import nullcontext
from pathlib import Path

import joblib
import psutil
import pytest
from py4j.protocol import Py4JNetworkError
from tests.engines import conftest
from tests.engines.cluster import wait_for
from tests.registry_workspace import free_port
from tests.warm import COLD

from lockstep.engines import capacity, class_archive, conf, master, session
from lockstep.engines.executors import differences
from lockstep.engines.faults import EngineError, in_one_line, one_line_faults
from lockstep.engines.master import find_master
from lockstep.engines.session import spark_session
from lockstep.errors import ConfigError, DataError


def opened(*words, **settings):
    """Open a session that must not open."""
    with spark_session(*words, **settings):
        pytest.fail("the session opened")


def alive(processes):
    """Return those that run; what nobody waited for is a zombie."""
    return [p for p in processes if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]


def fake_java(folder: Path, version: str, *, starts: bool = True) -> Path:
    """Write a ``java`` that prints a version, and does nothing else."""
    folder.mkdir(parents=True, exist_ok=True)
    java = folder / "java"
    line = f'[ "$1" = -version ] && {{ echo \'openjdk version "{version}"\' >&2; exit 0; }}'
    fault = "echo 'Error: could not create the Java Virtual Machine.' >&2; exit 1"
    java.write_text(f"#!/bin/sh\n{line if starts else ''}\n{fault}\n")
    java.chmod(0o755)
    return java


# ---- a session that opens -----------------------------------------------------------------------


def test_a_session_works_says_nothing_and_leaves_nothing(tmp_path, monkeypatch, capfd):
    for name in ("work", "temporary"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    monkeypatch.setenv("PYSPARK_PYTHON", "/no/such/python")
    before = signal.getsignal(signal.SIGINT)
    own = set(psutil.Process().children(recursive=True))
    with spark_session("local[2]", app="a test", slots=2) as spark:
        (folder,) = (tmp_path / "temporary").iterdir()
        assert folder.stat().st_mode & 0o777 == 0o700, "it holds the secret of a connection"
        started = set(psutil.Process().children(recursive=True)) - own
        context = spark.sparkContext
        # Java that ends cuts off what it says of its tasks.
        with socket.create_connection(context._accumulatorServer.server_address, 30) as cut_off:
            cut_off.shutdown(socket.SHUT_WR)
            assert cut_off.recv(1) == b""
        barrier = context.parallelize(range(2), 2).barrier()
        assert len(set(barrier.mapPartitions(lambda _: [os.getpid()]).collect())) == 2
        assert spark.sql("select current_timezone()").first()[0] == "UTC"
        assert spark.createDataFrame([(1, 2.5)], ["a", "b"]).toPandas().loc[0, "b"] == 2.5
        with spark_session(slots=2) as same:
            assert same.sparkContext is context
        assert context.parallelize([4]).collect() == [4], "the inner block closed the session"
        with pytest.raises(ConfigError, match=r"on local\[2\] is open, not on local\[3\]"):
            opened("local[3]")

        def refuse(row):
            raise DataError(f"row {row} holds no date")

        with pytest.raises(DataError, match=r"^row 7 holds no date$"), one_line_faults():
            context.parallelize([7], 1).map(refuse).count()
        with pytest.raises(EngineError) as caught, one_line_faults():
            context.parallelize([0], 1).map(lambda row: 1 / row).count()
        assert str(caught.value) == "Spark failed: ZeroDivisionError: division by zero"
        with pytest.raises(EngineError, match="cannot be resolved") as caught, one_line_faults():
            spark.range(1).select("b").count()
        assert "\n" not in str(caught.value)
    assert started
    assert not alive(started)
    assert signal.getsignal(signal.SIGINT) is before
    assert os.environ["PYSPARK_PYTHON"] == "/no/such/python"
    assert list(tmp_path.glob("*/*")) == []
    assert capfd.readouterr() == ("", "")


WAITS = """
import signal, sys
from lockstep.engines.session import spark_session
from lockstep.errors import run_command

def main():
    with spark_session("local[1]") as spark:
        def wait(_):
            open("waits", "w").close()
            signal.pause()
        spark.sparkContext.parallelize([0], 1).map(wait).count()

run_command(main)
"""


def waiting_command(folder):
    """Start a command whose tasks wait, in a folder that is also that of its temporary files."""
    (folder / "waits.py").write_text(WAITS)
    return subprocess.Popen(
        [sys.executable, "waits.py"],
        cwd=folder,
        env={**os.environ, **COLD, "TMPDIR": str(folder)},
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.long
@pytest.mark.parametrize(
    ("number", "to_java", "told"),
    [
        (signal.SIGINT, False, "✗ interrupted; nothing half-written was kept"),
        (signal.SIGKILL, False, ""),
        (
            signal.SIGKILL,
            True,
            "✗ Spark's Java ended: it printed no error; it may have been killed",
        ),
    ],
)
def test_java_never_outlives_its_command(tmp_path, number, to_java, told):
    command = waiting_command(tmp_path)
    wait_for((tmp_path / "waits").exists, "the task")
    started = psutil.Process(command.pid).children(recursive=True)
    (java,) = (process for process in started if process.name() == "java")
    os.kill(java.pid if to_java else command.pid, number)
    _, lines = command.communicate(timeout=60)
    assert lines.startswith(told)
    assert lines.count("\n") == bool(told), lines
    assert command.returncode == (1 if told else -number)
    assert bool(told) != bool(list(tmp_path.glob(".lockstep-spark.*")))
    wait_for(lambda: not alive(started), "the end of Java", 30)


def test_ctrl_c_while_java_starts(tmp_path):
    command = waiting_command(tmp_path)
    process = psutil.Process(command.pid)
    started = wait_for(
        lambda: [p for p in process.children(recursive=True) if p.name() == "java"], "Java"
    )
    command.send_signal(signal.SIGINT)
    _, lines = command.communicate(timeout=60)
    assert (command.returncode, lines[:14]) == (1, "✗ interrupted;"), lines
    assert not alive(started)
    assert not list(tmp_path.glob(".lockstep-spark.*"))


def test_ctrl_c_is_no_fault_of_java(monkeypatch):
    """After an interrupt pyspark calls Java on the connection whose answer was not read."""
    monkeypatch.setattr(session, "_opened", lambda *_: nullcontext())
    with pytest.raises(KeyboardInterrupt), spark_session("local[1]"), one_line_faults():
        try:
            raise KeyboardInterrupt
        finally:
            raise Py4JNetworkError("Answer from Java side is empty")
    with pytest.raises(EngineError, match="is empty"), spark_session("local[1]"), one_line_faults():
        raise Py4JNetworkError("Answer from Java side is empty")


# ---- a session that can't open ------------------------------------------------------------------


def test_without_pyspark_one_line_names_the_fix():
    code = (
        "import sys; sys.modules['pyspark'] = None\n"
        "from lockstep.errors import run_command\n"
        "run_command(lambda: __import__('lockstep.engines.session'))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == "✗ Spark needs pyspark, which is not installed; run `make setup-spark`\n"


def test_no_java(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    with pytest.raises(ConfigError, match=r"no java on PATH; install Java 17 .*, or set JAVA_HOME"):
        opened("local[1]")
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "none"))
    with pytest.raises(ConfigError, match=r"JAVA_HOME is .*none, which holds no bin/java"):
        opened("local[1]")


@pytest.mark.parametrize("version", ["11.0.2", "1.8.0_392"])
def test_an_old_java(tmp_path, monkeypatch, version):
    fake_java(tmp_path, version)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.delenv("JAVA_HOME", raising=False)
    number = {"11.0.2": 11, "1.8.0_392": 8}[version]
    with pytest.raises(ConfigError, match=rf"java is Java {number}, and Spark needs 17 or newer"):
        opened("local[1]")


# What pyspark starts and gives up is a pipe that it does not close.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_java_that_does_not_start(tmp_path, monkeypatch):
    fake_java(tmp_path / "bin", "17.0.1", starts=False)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(ConfigError, match="java -version` names no version"):
        opened("local[1]")
    fake_java(tmp_path / "bin", "17.0.1")
    with pytest.raises(EngineError, match=r"did not start: .*could not create the Java Virtual"):
        opened("local[1]")


@pytest.mark.parametrize(
    "url",
    [
        "lokal", "local[0]", "local[two]", "spark://host", "spark://:7077", "mesos://host:5050",
        "k8s://host:6443", "k8s://https://", "k8s://https://host:port", "sc://host:15002", "",
    ],
)  # fmt: skip
def test_an_unknown_form_of_master(url):
    if url:
        with pytest.raises(ConfigError, match=r"is no Spark master.*give local, local\[2\]"):
            opened(url)
    else:
        assert find_master(url, {}).is_local


def test_the_master_is_the_argument_the_variable_or_this_machine():
    variable = {"LOCKSTEP_SPARK_MASTER": "spark://one:7077,two:7078"}
    assert find_master("yarn", variable).url == "yarn"
    assert find_master(None, variable).url == "spark://one:7077,two:7078"
    assert find_master(None, {}).slots == joblib.cpu_count()
    assert find_master("local[*]", {}).slots == joblib.cpu_count()
    assert find_master("local[3, 2]", {}).slots == 3


def test_a_local_master_with_too_few_slots():
    with pytest.raises(ConfigError, match=r"2 tasks must run at once, and local runs 1; .*\[2\]"):
        opened("local", slots=2)


@pytest.mark.parametrize("scheme", ["spark://", "k8s://https://"])
def test_a_master_where_nothing_listens(scheme):
    port = free_port()
    with pytest.raises(ConfigError, match=f"can't be reached .127.0.0.1:{port}: Connection ref"):
        opened(f"{scheme}127.0.0.1:{port}")


def test_a_master_whose_name_is_unknown():
    with pytest.raises(ConfigError, match=r"can't be reached .no-such-host.invalid:7077: "):
        opened("spark://no-such-host.invalid:7077")
    with pytest.raises(ConfigError, match=r"can't be reached .x+:7077: .*label"):
        opened(f"spark://{'x' * 70}:7077")


def test_a_master_behind_dropped_packets_and_a_name_server_that_hangs(monkeypatch):
    """A full queue of a socket drops packets as a firewall does."""
    look_up, released = socket.getaddrinfo, threading.Event()

    def hanging(host, *words, **settings):
        if host == "hangs":
            released.wait()
        return look_up(host, *words, **settings)

    monkeypatch.setattr(socket, "getaddrinfo", hanging)
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        port = full.getsockname()[1]
        waiting = [socket.socket() for _ in range(4)]
        for client in waiting:
            client.setblocking(False)
            client.connect_ex(("127.0.0.1", port))
        began = time.monotonic()
        fault = f"hangs:7077: no answer .*; 127.0.0.1:{port}: no answer within 4 seconds"
        with pytest.raises(ConfigError, match=fault):
            opened(f"spark://hangs:7077,127.0.0.1:{port}")
        assert time.monotonic() - began < 10
        released.set()
        for client in waiting:
            client.close()


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n"])
def test_a_program_that_is_no_spark_master(answer):
    """It takes the connection and is silent, or says something else."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        closing = threading.Event()

        def serve():
            connection = listening.accept()[0]
            connection.sendall(answer)
            closing.wait()
            connection.close()

        server = threading.Thread(target=serve)
        server.start()
        reason = "what listens there is no Spark master" if answer else "no answer within 4 seconds"
        with pytest.raises(ConfigError, match=rf"can't be reached .127.0.0.1:{port}: {reason}"):
            opened(f"spark://127.0.0.1:{port}")
        closing.set()
        server.join()


def test_a_master_that_answers_and_takes_no_application(monkeypatch):
    """As one of another version does; no time is lost before Java."""
    monkeypatch.setattr(session, "check_reachable", lambda _: None)
    monkeypatch.setattr(session, "_REGISTERING", 5)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        with pytest.raises(ConfigError, match=f"127.0.0.1:{port} takes no application; compare"):
            opened(f"spark://127.0.0.1:{port}")


def test_yarn_needs_its_settings(tmp_path):
    yarn = find_master("yarn", {})
    for settings in ({}, {"HADOOP_CONF_DIR": str(tmp_path / "none")}):
        with pytest.raises(ConfigError, match=r"set one to the folder that holds yarn-site\.xml"):
            master.check_reachable(yarn, settings)
    master.check_reachable(yarn, {"YARN_CONF_DIR": str(tmp_path)})


def test_spark_connect_is_refused(monkeypatch):
    monkeypatch.setenv("SPARK_CONNECT_MODE_ENABLED", "1")
    with pytest.raises(ConfigError, match=r"Spark Connect's, which has no barrier tasks"):
        opened()


def test_make_setup_spark_can_be_repeated():
    root = Path(__file__).parents[2]
    done = subprocess.run(
        ["make", "setup-spark"], cwd=root, capture_output=True, text=True, check=False, timeout=200
    )
    assert (done.returncode, done.stderr) == (0, "")
    version = importlib.metadata.version("pyspark")
    assert re.search(
        rf"^✓ Spark {re.escape(version)} and Java \d+ are installed", done.stdout, re.M
    )
    lock = (root / "requirements-spark.lock").read_text("utf-8")
    assert re.findall(r"^(\S+)==(\S+)", lock, re.M)[1] == ("pyspark", version)
    assert {name for name, _ in re.findall(r"^(\S+)==(\S+)", lock, re.M)} == {"py4j", "pyspark"}


def options_of_java(spark):
    """Return the options that a session's Java was started with."""
    bean = spark._jvm.java.lang.management.ManagementFactory.getRuntimeMXBean()
    return list(bean.getInputArguments())


@pytest.mark.soak
def test_sessions_share_the_archive_of_spark_s_classes(tmp_path, monkeypatch):
    """Without one, with one that Java can't read, and in a folder with spaces."""
    assert class_archive.archive().is_file()
    place = tmp_path / "my project" / "classes.jsa"
    place.parent.mkdir()
    monkeypatch.setattr(class_archive, "archive", lambda: place)
    monkeypatch.setenv("LOCKSTEP_SPARK_CONF", "")
    assert class_archive.java_option() == ""
    place.write_text("no archive")
    with spark_session("local[1]") as spark:
        assert f"-XX:SharedArchiveFile={place}" in options_of_java(spark)
        assert spark.range(3).count() == 3


@pytest.mark.long
def test_a_program_that_spark_can_t_run_leaves_no_archive(tmp_path, monkeypatch):
    monkeypatch.setattr(class_archive, "archive", lambda: tmp_path / "share" / "classes.jsa")
    monkeypatch.setattr(class_archive, "_PROGRAM", "raise ValueError('no')")
    with pytest.raises(
        ConfigError, match=r"^Spark can't run a small program here: ValueError: no$"
    ):
        class_archive.main()
    assert list((tmp_path / "share").iterdir()) == []


@pytest.fixture
def submits(tmp_path, monkeypatch):
    """Return what replaces spark-submit by a shell script."""
    monkeypatch.setattr(class_archive, "archive", lambda: tmp_path / "share" / "classes.jsa")
    monkeypatch.setattr(class_archive, "_find_spark_home", lambda: str(tmp_path))

    def write(line):
        script = tmp_path / "bin" / "spark-submit"
        script.parent.mkdir()
        script.write_text(f"#!/bin/sh\n{line}\n")
        script.chmod(0o755)

    return write


def test_a_java_that_writes_no_archive_is_set_up_all_the_same(submits, tmp_path, capsys):
    submits("exit 0")
    class_archive.main()
    assert capsys.readouterr().err.startswith("note: Java wrote no archive of Spark's classes; ")
    assert list((tmp_path / "share").iterdir()) == []
    assert class_archive.java_option() == ""


def test_a_small_program_that_takes_too_long_is_a_line(submits, tmp_path, monkeypatch):
    submits("exec sleep 60")
    monkeypatch.setattr(class_archive, "_SECONDS", 0.3)
    fault = r"^Spark ran a small program for more than 0\.3 seconds; run `make setup-spark` again"
    with pytest.raises(ConfigError, match=fault):
        class_archive.main()
    assert list((tmp_path / "share").iterdir()) == []


def test_tests_are_skipped_with_the_fix_or_fail_where_services_are_required(tmp_path, monkeypatch):
    assert conftest.missing_for_spark() == ""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.delenv("LOCKSTEP_REQUIRE_SERVICES", raising=False)
    with pytest.raises(pytest.skip.Exception, match=r"run scripts/install_services\.sh"):
        conftest.NoSpark.collect(None)
    monkeypatch.setenv("LOCKSTEP_REQUIRE_SERVICES", "1")
    with pytest.raises(pytest.fail.Exception, match=r"Java is not installed.*forbids to skip"):
        conftest.NoSpark.collect(None)


# ---- settings -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value", "fault"),
    [
        ("LOCKSTEP_SPARK_MEMORY", "much", "is 'much'; write a size such as 512m or 4g"),
        ("LOCKSTEP_SPARK_MEMORY", "0g", "is '0g'; write a size"),
        ("LOCKSTEP_SPARK_MEMORY", "1000t", r"is '1000t', and this machine has \d+m; lower it"),
        ("LOCKSTEP_SPARK_CONF", "spark.ui.enabled", "holds 'spark.ui.enabled'; write spark.KEY"),
        ("LOCKSTEP_SPARK_CONF", "ui=true", "holds 'ui'; write spark.KEY=VALUE"),
        ("LOCKSTEP_SPARK_CONF", "spark.a='b", "has a quote that is not closed"),
    ],
)
def test_a_wrong_setting(monkeypatch, name, value, fault):
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=f"{name} {fault}"):
        opened("local[1]")


@pytest.mark.parametrize("active", ["one", "two", None])
def test_of_several_masters_the_active_one_is_counted_by(monkeypatch, active):
    worker = {"state": "ALIVE", "memory": 4096, "cores": 2}

    def page(address, ports):
        assert ports == {"7077", "7078"}
        host = address.removeprefix("http://").removesuffix(":8080")
        return (
            {"status": "ALIVE", "workers": [worker]}
            if host == active
            else {"status": "STANDBY", "workers": []}
        )

    monkeypatch.setattr(capacity, "_known_page", page)
    master = find_master("spark://one:7077,two:7078", {})
    assert capacity.check_capacity(master, 2, "1g") is (active is not None)


def test_settings_of_ones_own_win_and_options_of_java_are_added(tmp_path, monkeypatch):
    more = "spark.ui.enabled=true spark.driver.extraJavaOptions='-Da=1 -Db=2'"
    monkeypatch.setenv("LOCKSTEP_SPARK_CONF", more)
    monkeypatch.setenv("LOCKSTEP_SPARK_MEMORY", "3g")
    (folder := tmp_path / "a folder").mkdir()
    made = conf.session_conf(find_master("spark://h:7077", {}), "app", 4, folder)
    assert made.get("spark.ui.enabled") == "true"
    assert made.get("spark.driver.memory") == "3g"
    assert made.get("spark.driver.maxResultSize") == "0"
    options = made.get("spark.driver.extraJavaOptions")
    log, temporary, *others = shlex.split(options)
    assert log == f"-Dlog4j2.configurationFile={folder}/log4j2.properties"
    assert temporary == f"-Djava.io.tmpdir={folder}"
    assert others[-2:] == ["-Da=1", "-Db=2"]
    assert made.get("spark.driver.host") is None, "a cluster could not reach this machine"
    assert conf.session_conf(find_master("yarn", {}), "app", 4, tmp_path).get(
        "spark.executor.instances"
    ) == "4"  # fmt: skip


@pytest.mark.parametrize(
    ("size", "megabytes"), [("512m", 512), ("2g", 2048), ("1T", 1024**2), ("7", 7), ("2048kb", 2)]
)
def test_sizes_as_spark_writes_them(size, megabytes):
    assert capacity.check_memory("a size", size) == megabytes


# ---- what is said of faults ---------------------------------------------------------------------


def test_differences_name_the_package_and_both_versions():
    own = {"numpy": "2.4.1", "pandas": "3.0.1", "lightgbm": "4.7.0", "Python": "3.11"}
    there = {"numpy": "2.4.1", "pandas": "2.2.3", "lightgbm": "", "Python": "3.11"}
    assert differences(own, there) == [
        "pandas 2.2.3 (driver: 3.0.1)",
        "no lightgbm (driver: 4.7.0)",
    ]
    assert differences(own, own) == []


CALLING = (
    "An error occurred while calling z:org.apache.spark.api.python.PythonRDD.collectAndServe.\n"
)
ABORTED = f"{CALLING}: org.apache.spark.SparkException: Job aborted due to stage failure: "
BARRIER = f"{ABORTED}Could not recover from a failed barrier ResultStage. Most recent failure reason: Stage failed because barrier task ResultTask(1, 0) finished unsuccessfully.\n"  # noqa: E501
TRACEBACK = """An exception was thrown from the Python worker: Traceback (most recent call last):
  File "worker.py", line 4327, in invoke_udf
    run_process()
{}
 SQLSTATE: 38000
\tat org.apache.spark.api.python.BasePythonRunner.handlePythonException(PythonRunner.scala:9)"""
FAULTS = {
    f'{BARRIER}java.io.IOException: Cannot run program "/opt/python": error=2, No such file': (
        "executors can't start /opt/python; set PYSPARK_PYTHON to the Python there that has"
        " lockstep's packages"
    ),
    f"{BARRIER}ExecutorLostFailure (executor 0 exited caused by one of the running tasks)": (
        "executor 0 was lost while tasks ran; run the command again"
    ),
    f"{ABORTED}Lost task 0.1 in stage 2.0 (TID 7) (10.0.0.7 executor 1): SparkException: "
    "Python worker exited unexpectedly (crashed).\n\tat org": (
        "a Python worker crashed on 10.0.0.7, executor 1, perhaps for lack of memory"
    ),
    f"{CALLING}: [SPARK-24819]: Barrier execution mode does not allow to run a barrier stage": (
        "more tasks must run at once than the executors that are left can run; add workers"
    ),
    TRACEBACK.format("OSError: [Errno 28] No space left on device: '/data/a.parquet'"): (
        "the disk is full: /data/a.parquet; free some space there"
    ),
    f"{ABORTED}java.io.IOException: No space left on device": (
        "the disk is full where Spark works; free some space there, or name another folder by"
        " spark.local.dir in LOCKSTEP_SPARK_CONF"
    ),
    f"{ABORTED}Total size of serialized results of 15 tasks (1030.1 MiB) is bigger than "
    "spark.driver.maxResultSize (1024.0 MiB)": (
        "tasks returned 1030.1 MiB, and the session takes 1024.0 MiB; raise"
        " spark.driver.maxResultSize in LOCKSTEP_SPARK_CONF, or where the session is opened"
    ),
    f"{ABORTED}Lost task 0.0 in stage 0.0 (TID 0) (10.0.0.7 executor driver): TaskResultLost "
    "(result lost from block manager)": (
        "what a task returned was lost before the driver read it, mostly for lack of memory; raise"
        " LOCKSTEP_SPARK_MEMORY, or spark.executor.memory in LOCKSTEP_SPARK_CONF"
    ),
    f"{ABORTED}java.lang.OutOfMemoryError: Java heap space": (
        "Spark's Java ran out of memory; raise LOCKSTEP_SPARK_MEMORY, or spark.executor.memory in"
        " LOCKSTEP_SPARK_CONF"
    ),
    f"{BARRIER}PythonException: [PYTHON_EXCEPTION] {TRACEBACK.format('ValueError: broken')}": (
        "Spark failed: ValueError: broken"
    ),
    TRACEBACK.format("lockstep.errors.DataError: column age: 'x' is no number"): (
        "column age: 'x' is no number"
    ),
    TRACEBACK.format("lockstep.errors.Unknown: a class that this version lacks"): (
        "a class that this version lacks"
    ),
    f"{CALLING}: java.lang.IllegalArgumentException: requirement failed\n\tat scala": (
        "Spark failed: java.lang.IllegalArgumentException: requirement failed"
    ),
    "[PATH_NOT_FOUND] Path does not exist: file:/none. SQLSTATE: 42K03": (
        "Spark failed: [PATH_NOT_FOUND] Path does not exist: file:/none. SQLSTATE: 42K03"
    ),
    "": "Spark failed: ",
}
"""What Spark 4.3 said, shortened, and what we say of it."""


@pytest.mark.parametrize(("text", "line"), FAULTS.items(), ids=range(len(FAULTS)))
def test_an_error_of_spark_in_one_line(text, line):
    assert str(in_one_line(RuntimeError(text))) == line
