"""A Spark session: checked before Java starts, quiet, and gone without a trace when it ends."""

from __future__ import annotations

import os
import shlex
import signal
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from subprocess import TimeoutExpired
from threading import Timer
from typing import Any

from py4j.protocol import Py4JError
from pyspark import SparkConf, SparkContext
from pyspark.errors import PySparkException
from pyspark.java_gateway import launch_gateway
from pyspark.sql import SparkSession

import lockstep
from lockstep.engines.executors import check_executors, check_slots
from lockstep.engines.faults import EngineError, one_line_faults
from lockstep.engines.java import check_java
from lockstep.engines.master import Master, check_reachable, find_master, parse_master
from lockstep.errors import ConfigError

MEMORY = "LOCKSTEP_SPARK_MEMORY"
MORE = "LOCKSTEP_SPARK_CONF"
_LOG = """
rootLogger.level = error
rootLogger.appenderRef.file.ref = console
appender.console.type = Console
appender.console.name = console
appender.console.target = SYSTEM_ERR
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d{HH:mm:ss} %p %c{1}: %m%n
"""
_STARTING, _STOPPING = 90, 20
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
    with one_line_faults():
        active = SparkContext._active_spark_context
        if active is not None:
            yield _adopted(active, master, slots)
            return
        with _opened(find_master(master), app, slots) as spark:
            yield spark


def _adopted(context: SparkContext, master: str | None, slots: int) -> SparkSession:
    """Return the session that is open already; ConfigError if another master is asked for."""
    if master is not None and master != context.master:
        raise ConfigError(
            f"a Spark session on {context.master} is open, not on {master}; stop it or leave "
            "out the master"
        )
    spark = SparkSession.builder.getOrCreate()
    _check(spark, slots)
    return spark


def _check(spark: SparkSession, slots: int) -> None:
    check_slots(spark, slots)
    if not str(spark.sparkContext.master).startswith("local"):
        check_executors(spark)


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
        with _interrupts_kept(), _python_of_tasks(master), _java(conf, Path(folder)) as gateway:
            spark = _connected(conf, gateway, master)
            try:
                _check(spark, slots)
                yield spark
            finally:
                _stop(spark, gateway)


def session_conf(master: Master, app: str, slots: int, folder: Path) -> SparkConf:
    """Return the settings of a session whose own files lie below ``folder``."""
    log = folder / "log4j2.properties"
    log.write_text(_LOG, encoding="utf-8")
    values = {
        "spark.driver.extraJavaOptions": f"-Dlog4j2.configurationFile={log} "
        f"-Djava.io.tmpdir={folder} -XX:-UsePerfData",
        "spark.driver.memory": os.environ.get(MEMORY) or "2g",
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
        **_asked_for(os.environ),
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


def _asked_for(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the settings that a variable adds, as ``key=value`` separated by spaces."""
    pairs = [part.partition("=") for part in shlex.split(environ.get(MORE, ""))]
    wrong = [key for key, sign, _ in pairs if not sign or not key.startswith("spark.")]
    if wrong:
        raise ConfigError(f"{MORE} holds {wrong[0]!r}; write spark.KEY=VALUE, separated by spaces")
    return {key: value for key, _, value in pairs}


@contextmanager
def _interrupts_kept() -> Iterator[None]:
    """Give Ctrl-C back its meaning: Spark puts a handler of its own in its place."""
    before = signal.getsignal(signal.SIGINT)
    try:
        yield
    finally:
        with suppress(ValueError):  # not the main thread, where Spark puts none
            signal.signal(signal.SIGINT, before)


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
            raise EngineError(f"Spark's Java did not start: {_last_line(log)}") from error
    try:
        yield gateway
    finally:
        _end_java(gateway)


def _last_line(log: Path) -> str:
    lines = [line for line in log.read_text("utf-8", errors="replace").splitlines() if line.strip()]
    faults = [line for line in lines if "Error" in line or "Exception" in line]
    return (faults or lines or ["it printed nothing"])[0].strip()


def _connected(conf: SparkConf, gateway: Any, master: Master) -> SparkSession:
    """Return a session of a new context; a master that never answers ends the waiting."""
    watch = Timer(_STARTING, gateway.proc.kill)
    watch.start()
    try:
        return SparkSession(SparkContext(conf=conf, gateway=gateway))
    except Py4JError as error:
        raise EngineError(
            f"the Spark master {master.url} takes no application; look at its log, and at the "
            f"versions of Spark there and here"
        ) from error
    finally:
        watch.cancel()


def _stop(spark: SparkSession, gateway: Any) -> None:
    """Stop a session; a Java that does not answer is killed."""
    watch = Timer(_STOPPING, gateway.proc.kill)
    watch.start()
    try:
        spark.stop()
    finally:
        watch.cancel()


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


__all__ = ["parse_master", "session_conf", "spark_session"]
