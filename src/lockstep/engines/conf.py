"""The settings of a session: ours, those of its master, and those that the user adds."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from pathlib import Path

from pyspark import SparkConf

import lockstep
from lockstep.engines.capacity import check_memory
from lockstep.engines.class_archive import java_option
from lockstep.engines.master import Master
from lockstep.errors import ConfigError

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


def session_conf(master: Master, app: str, slots: int, folder: Path) -> SparkConf:
    """Return the settings of a session whose own files lie below ``folder``."""
    log = folder / "log4j2.properties"
    log.write_text(_LOG, encoding="utf-8")
    added = _added(os.environ)
    # Quoted, as a folder's name may hold spaces.
    own = f'"-Dlog4j2.configurationFile={log}" "-Djava.io.tmpdir={folder}" -XX:-UsePerfData'
    values = {
        "spark.driver.memory": driver_memory(os.environ),
        # The driver's memory is the limit, and has an error line of its own.
        "spark.driver.maxResultSize": "0",
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
        _JAVA_OPTIONS: " ".join(filter(None, [own, java_option(), added.get(_JAVA_OPTIONS)])),
    }
    return SparkConf().setMaster(master.url).setAppName(app).setAll(list(values.items()))


def driver_memory(environ: Mapping[str, str]) -> str:
    """Return the memory of the driver's Java; ConfigError if this machine has less.

    Java itself would start, and be killed when it uses what is not there.
    """
    added = _added(environ).get("spark.driver.memory")
    name = "spark.driver.memory" if added else MEMORY
    value = added or environ.get(MEMORY) or "2g"
    there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 1024**2
    if check_memory(name, value) > there:
        raise ConfigError(f"{name} is {value!r}, and this machine has {there}m; lower it")
    return value


def executor_memory(environ: Mapping[str, str]) -> str:
    """Return the memory that an executor asks for; ConfigError if it is no size."""
    value = _added(environ).get("spark.executor.memory", "1g")
    check_memory("spark.executor.memory", value)
    return value


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
