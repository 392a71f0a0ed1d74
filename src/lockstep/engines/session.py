"""A Spark session: checked before Java starts, quiet, and gone without a trace when it ends."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

from py4j.protocol import Py4JError
from pyspark import SparkConf, SparkContext
from pyspark.sql import SparkSession
from pyspark.sql.utils import is_remote

from lockstep.engines.capacity import check_capacity, check_slots
from lockstep.engines.conf import driver_memory, executor_memory, session_conf
from lockstep.engines.executors import check_executors
from lockstep.engines.faults import in_one_line, one_line_faults
from lockstep.engines.java import check_java
from lockstep.engines.java_process import JavaProcess, java_process
from lockstep.engines.master import Master, check_reachable, find_master, is_local
from lockstep.engines.scratch import scratch_folder
from lockstep.errors import ConfigError, LockstepError

_REGISTERING, _CLOSING = 60, 20
"""Seconds after which a Java is killed whose session neither registers nor closes."""


@contextmanager
def spark_session(
    master: str | None = None, app: str = "lockstep", slots: int = 1
) -> Iterator[SparkSession]:
    """Yield a session that runs ``slots`` tasks at once, or raise one clear line.

    An active session (a notebook's, Databricks') is used and left open. Otherwise one is opened on
    ``master``, else on LOCKSTEP_SPARK_MASTER, else on this machine's cores, and stopped.
    Spark's own errors inside the block are raised as an EngineError of one line.
    """
    _refuse_connect()
    if SparkContext._active_spark_context is not None:
        kind = _adopted(SparkContext._active_spark_context, master, slots)
    elif _is_submitted():
        kind = _submitted(app, slots)
    else:
        kind = _opened(find_master(master), app, slots)
    try:
        with kind as spark:
            yield spark
    except (LockstepError, Py4JError, OSError) as error:
        if _follows_interrupt(error):
            raise KeyboardInterrupt from error
        raise


def _follows_interrupt(error: BaseException | None) -> bool:
    """Return whether Ctrl-C came first: pyspark then calls Java, which is amid another answer."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error is not None


def check_start() -> None:
    """Raise ConfigError for what keeps a session from opening, as far as it is known before Java.

    A command calls it before it writes anything: its stages would find the fault much later.
    """
    _refuse_connect()
    if not _is_submitted():
        _before_java(find_master(None), 1)


def check_room(slots: int) -> None:
    """Raise ConfigError if the master can't run so many tasks at once.

    Where a standalone master's page does not say, a session is opened to count its cores.
    """
    if _is_submitted():
        return
    master = find_master(None)
    if not _count_cores(master, slots) and master.is_standalone:
        with spark_session(app="count the cores", slots=slots):
            pass


def _is_submitted() -> bool:
    """Return whether spark-submit runs this program: its Java and settings are there."""
    return "PYSPARK_GATEWAY_PORT" in os.environ


def _refuse_connect() -> None:
    if is_remote():
        raise ConfigError(
            "the active session is Spark Connect's, which has no barrier tasks; use a cluster "
            "with dedicated access, or unset SPARK_REMOTE"
        )


def _before_java(master: Master, slots: int) -> bool:
    """Raise ConfigError for what is wrong already; return whether the master's cores are known."""
    driver_memory(os.environ)
    executor_memory(os.environ)
    check_java()
    check_reachable(master)
    return _count_cores(master, slots)


def _count_cores(master: Master, slots: int) -> bool:
    """Raise ConfigError if too few cores or too little memory are known; return if they are."""
    if master.is_local and slots > master.slots:
        raise ConfigError(
            f"{slots} tasks must run at once, and {master.url} runs {master.slots}; "
            f"give local[{slots}] or fewer partitions"
        )
    return check_capacity(master, slots, executor_memory(os.environ))


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


def _checked(
    spark: SparkSession, slots: int, counted: bool = False, spent: float = 0.0
) -> SparkSession:
    """Return a session whose slots and executors are right; see ``check_slots``."""
    check_slots(spark, slots, counted, spent)
    if not is_local(str(spark.sparkContext.master)):
        check_executors(spark)
    return spark


@contextmanager
def _submitted(app: str, slots: int) -> Iterator[SparkSession]:
    """Yield the session of a program that spark-submit runs."""
    spark = SparkSession.builder.appName(app).getOrCreate()
    try:
        with one_line_faults():
            yield _checked(spark, slots)
    finally:
        spark.stop()


@contextmanager
def _opened(master: Master, app: str, slots: int) -> Iterator[SparkSession]:
    """Yield a new session on a master, and end its Java afterwards, whatever happened."""
    counted = _before_java(master, slots)
    began = time.monotonic()
    # It holds the secret of the connection to Java.
    with scratch_folder(Path(tempfile.gettempdir()), "lockstep-spark", private=True) as folder:
        conf = session_conf(master, app, slots, folder)
        with _python_of_tasks(master), java_process(conf, folder) as (java, gateway):
            spark = _connected(conf, java, gateway, master)
            try:
                with one_line_faults():
                    yield _checked(spark, slots, counted, time.monotonic() - began)
            finally:
                _stop(spark, java)


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


def _connected(conf: SparkConf, java: JavaProcess, gateway: Any, master: Master) -> SparkSession:
    """Return a session of a new context; a master that never answers ends the waiting."""
    try:
        with java.killed_after(_REGISTERING), _interrupts_kept():
            context = SparkContext(conf=conf, gateway=gateway)
        # It prints what the end of Java cuts off. What fails otherwise fails in Java, too.
        server: Any = context._accumulatorServer
        server.handle_error = lambda *_: None
        return SparkSession(context)
    except (Py4JError, OSError) as error:
        if master.is_local:
            raise in_one_line(error) from error
        raise ConfigError(
            f"the Spark master {master.url} takes no application; compare Spark's version there "
            f"with {version('pyspark')} here, and look into its log"
        ) from None


def _stop(spark: SparkSession, java: JavaProcess) -> None:
    """Stop a session, also one whose Java has ended already."""
    if java.has_ended():
        spark.sparkContext._jsc = None  # there is nothing to be asked to stop
        spark.sparkContext.stop()
        SparkSession._instantiatedSession = SparkSession._activeSession = None
        return
    with java.killed_after(_CLOSING):
        spark.stop()
