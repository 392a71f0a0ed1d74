"""A Spark session: checked before Java starts, quiet, and gone without a trace when it ends."""

from __future__ import annotations

import logging
import os
import shlex
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from subprocess import TimeoutExpired
from typing import Any

from py4j.protocol import Py4JError
from pyspark import SparkConf, SparkContext
from pyspark.errors import PySparkException
from pyspark.java_gateway import launch_gateway
from pyspark.sql import SparkSession
from pyspark.sql.utils import is_remote

import lockstep
from lockstep.engines.capacity import check_capacity, check_memory, check_slots
from lockstep.engines.executors import check_executors
from lockstep.engines.faults import EngineError, in_one_line, one_line_faults
from lockstep.engines.java import check_java
from lockstep.engines.master import Master, check_reachable, find_master
from lockstep.errors import ConfigError, LockstepError

MEMORY = "LOCKSTEP_SPARK_MEMORY"
MORE = "LOCKSTEP_SPARK_CONF"
_JAVA_OPTIONS = "spark.driver.extraJavaOptions"
_LOG = """
rootLogger.level = error
rootLogger.appenderRef.file.ref = console
appender.console.type = Console
appender.console.name = console
appender.console.target = SYSTEM_ERR
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d{HH:mm:ss} %p %c{1}: %m%n
"""
_STARTING, _STOPPING = 60, 20
"""Seconds after which a Java that neither registers nor stops is killed."""


@contextmanager
def spark_session(
    master: str | None = None, app: str = "lockstep", slots: int = 1
) -> Iterator[SparkSession]:
    """Yield a session that runs ``slots`` tasks at once, or raise one clear line.

    An active session (a notebook's, Databricks') is used and left open. Otherwise one is opened on
    ``master``, else on LOCKSTEP_SPARK_MASTER, else on this machine's cores, and stopped.
    Spark's own errors inside the block are raised as an EngineError of one line.
    """
    if is_remote():
        raise ConfigError(
            "the active session is Spark Connect's, which has no barrier tasks; use a cluster "
            "with dedicated access, or unset SPARK_REMOTE"
        )
    if SparkContext._active_spark_context is not None:
        kind = _adopted(SparkContext._active_spark_context, master, slots)
    elif "PYSPARK_GATEWAY_PORT" in os.environ:
        kind = _submitted(app, slots)
    else:
        kind = _opened(find_master(master), app, slots)
    with kind as spark:
        yield spark


@contextmanager
def _adopted(context: SparkContext, master: str | None, slots: int) -> Iterator[SparkSession]:
    """Yield the session that is open already; ConfigError if another master is asked for."""
    if master is not None and master != context.master:
        raise ConfigError(
            f"a Spark session on {context.master} is open, not on {master}; stop it or leave "
            "out the master"
        )
    with one_line_faults():
        yield _checked(SparkSession.builder.getOrCreate(), slots)


def _checked(spark: SparkSession, slots: int, counted: bool = False) -> SparkSession:
    """Return a session whose slots and executors are right."""
    check_slots(spark, slots, counted)
    if not str(spark.sparkContext.master).startswith("local"):
        check_executors(spark)
    return spark


@contextmanager
def _submitted(app: str, slots: int) -> Iterator[SparkSession]:
    """Yield the session of a program that spark-submit runs: its Java and settings are there."""
    spark = SparkSession.builder.appName(app).getOrCreate()
    try:
        with one_line_faults():
            yield _checked(spark, slots)
    finally:
        spark.stop()


@contextmanager
def _opened(master: Master, app: str, slots: int) -> Iterator[SparkSession]:
    """Yield a new session on a master, and end its Java afterwards, whatever happened."""
    if master.is_local and slots > master.slots:
        raise ConfigError(
            f"{slots} tasks must run at once, and {master.url} runs {master.slots}; "
            f"give local[{slots}] or fewer partitions"
        )
    check_java()
    check_reachable(master)
    with tempfile.TemporaryDirectory(prefix="lockstep-spark-") as folder:
        conf = session_conf(master, app, slots, Path(folder))
        counted = check_capacity(master, slots, str(conf.get("spark.executor.memory", "1g")))
        with (
            _py4j_unlogged(),
            _python_of_tasks(master),
            _java(conf, Path(folder)) as gateway,
        ):
            spark = _connected(conf, gateway, master)
            try:
                with _lost_java_told(gateway, Path(folder)), one_line_faults():
                    yield _checked(spark, slots, counted)
            finally:
                _stop(spark, gateway)


def session_conf(master: Master, app: str, slots: int, folder: Path) -> SparkConf:
    """Return the settings of a session whose own files lie below ``folder``."""
    memory = os.environ.get(MEMORY) or "2g"
    check_memory(MEMORY, memory)
    log = folder / "log4j2.properties"
    log.write_text(_LOG, encoding="utf-8")
    added = _added(os.environ)
    java = f"-Dlog4j2.configurationFile={log} -Djava.io.tmpdir={folder} -XX:-UsePerfData"
    values = {
        "spark.driver.memory": memory,
        "spark.local.dir": str(folder),
        "spark.scheduler.barrier.maxConcurrentTasksCheck.interval": "5s",
        "spark.scheduler.barrier.maxConcurrentTasksCheck.maxFailures": "4",
        "spark.sql.execution.arrow.pyspark.enabled": "true",
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.warehouse.dir": str(folder / "warehouse"),
        "spark.python.worker.reuse": "true",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        **_of_master(master, slots),
        **added,
        _JAVA_OPTIONS: f"{java} {added.get(_JAVA_OPTIONS, '')}".strip(),
    }
    return SparkConf().setMaster(master.url).setAppName(app).setAll(list(values.items()))


def _of_master(master: Master, slots: int) -> dict[str, str]:
    """Return the settings that depend on where tasks run."""
    loopback = {"spark.driver.bindAddress": "127.0.0.1", "spark.driver.host": "127.0.0.1"}
    if master.is_local:
        return loopback
    # Barrier tasks and executors that come and go exclude each other.
    fixed = {"spark.dynamicAllocation.enabled": "false"}
    if not master.is_standalone:
        return {**fixed, "spark.executor.instances": str(slots)}
    source = {"spark.executorEnv.PYTHONPATH": str(Path(lockstep.__file__).parents[1])}
    return {**fixed, **source, **(loopback if master.is_on_loopback else {})}


def _added(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the settings of LOCKSTEP_SPARK_CONF: ``spark.KEY=VALUE``, separated by spaces."""
    try:
        pairs = [part.partition("=") for part in shlex.split(environ.get(MORE, ""))]
    except ValueError as error:
        raise ConfigError(f"{MORE} has a quote that is not closed") from error
    wrong = [key for key, sign, _ in pairs if not sign or not key.startswith("spark.")]
    if wrong:
        raise ConfigError(f"{MORE} holds {wrong[0]!r}; write spark.KEY=VALUE, separated by spaces")
    return {key: value for key, _, value in pairs}


@contextmanager
def _interrupts_kept() -> Iterator[None]:
    """Keep Ctrl-C as it is: Spark's own handler calls Java, which can't be done in a handler."""
    before = signal.getsignal(signal.SIGINT)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, before)


@contextmanager
def _py4j_unlogged() -> Iterator[None]:
    """Drop what py4j logs as root: it raises the same, and Ctrl-C is no error."""
    root = logging.getLogger()
    # Without a handler, logging would set one up for good.
    added = [] if root.handlers or logging.lastResort is None else [logging.lastResort]

    def foreign(record: logging.LogRecord) -> bool:
        return "py4j" not in Path(record.pathname).parts

    root.addFilter(foreign)
    for handler in added:
        root.addHandler(handler)
    try:
        yield
    finally:
        root.removeFilter(foreign)
        for handler in added:
            root.removeHandler(handler)


@contextmanager
def _python_of_tasks(master: Master) -> Iterator[None]:
    """Let tasks run under this Python, not under the first python3 on PATH."""
    kept = {name: os.environ.get(name) for name in ("PYSPARK_PYTHON", "PYSPARK_DRIVER_PYTHON")}
    if master.is_local or (master.is_standalone and not kept["PYSPARK_PYTHON"]):
        os.environ.update(dict.fromkeys(kept, sys.executable))
    try:
        yield
    finally:
        for name, value in kept.items():
            os.environ.pop(name, None)
            os.environ.update({name: value} if value is not None else {})


@contextmanager
def _java(conf: SparkConf, folder: Path) -> Iterator[Any]:
    """Yield the connection to a Java of our own, whose chatter goes to a file; end it."""
    log = folder / "java.log"
    with log.open("wb") as out:
        shown = {} if os.environ.get("LOCKSTEP_TRACEBACK") else {"stdout": out, "stderr": out}
        try:
            gateway = launch_gateway(conf, dict(shown))
        except PySparkException as error:
            raise EngineError(f"Spark's Java did not start: {_first_fault(log)}") from error
    try:
        yield gateway
    finally:
        _end_java(gateway)


def _first_fault(log: Path) -> str:
    """Return the first line of Java's output that names a fault."""
    lines = log.read_text("utf-8", errors="replace").splitlines()
    faults = [line.strip() for line in lines if "Error" in line or "Exception" in line]
    return (faults or ["it printed no error"])[0]


@contextmanager
def _lost_java_told(gateway: Any, folder: Path) -> Iterator[None]:
    """Raise one line if Java ends inside the block: py4j says it in many ways."""
    try:
        yield
    except (LockstepError, OSError) as error:
        if not isinstance(error.__cause__ or error, OSError | Py4JError) or not _ended(gateway):
            raise
        raise EngineError(
            f"Spark's Java ended: {_first_fault(folder / 'java.log')}; it may have been killed for "
            f"memory (see {MEMORY}): run the command again"
        ) from error


def _ended(gateway: Any) -> bool:
    """Return whether Java has ended; its connections close a moment earlier."""
    try:
        gateway.proc.wait(1)
    except TimeoutExpired:
        return False
    return True


def _connected(conf: SparkConf, gateway: Any, master: Master) -> SparkSession:
    """Return a session of a new context; a master that never answers ends the waiting."""
    try:
        with _watched(gateway, _STARTING), _interrupts_kept():
            return SparkSession(SparkContext(conf=conf, gateway=gateway))
    except Py4JError as error:
        if master.is_local:
            raise in_one_line(error) from error
        raise EngineError(
            f"the Spark master {master.url} takes no application; compare Spark's version there "
            f"with {version('pyspark')} here, and look into its log"
        ) from error


@contextmanager
def _watched(gateway: Any, seconds: float) -> Iterator[None]:
    """Kill Java if the block takes longer: Java's own waiting can't be interrupted."""
    watch = threading.Timer(seconds, gateway.proc.kill)
    watch.start()
    try:
        yield
    finally:
        watch.cancel()


def _stop(spark: SparkSession, gateway: Any) -> None:
    """Stop a session, also one whose Java has ended already."""
    if gateway.proc.poll() is not None:
        spark.sparkContext._jsc = None  # there is nothing to be asked to stop
        spark.sparkContext.stop()
        SparkSession._instantiatedSession = SparkSession._activeSession = None
        return
    with _watched(gateway, _STOPPING):
        spark.stop()


def _end_java(gateway: Any) -> None:
    """End the process of Java, and let the next session start its own."""
    SparkContext._gateway = None
    SparkContext._jvm = None
    gateway.shutdown()
    gateway.proc.stdin.close()
    try:
        gateway.proc.wait(_STOPPING)
    except TimeoutExpired:
        gateway.proc.kill()
        gateway.proc.wait()
