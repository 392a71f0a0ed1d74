"""What the executors are: how many tasks they run at once, and which packages they have."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pyspark.errors import PySparkException
from pyspark.sql import SparkSession

from lockstep.engines.faults import EngineError, in_one_line
from lockstep.engines.master import parse_master
from lockstep.errors import ConfigError

PACKAGES = {
    "lockstep": ("lockstep",),
    "numpy": ("numpy",),
    "pandas": ("pandas",),
    "pyarrow": ("pyarrow",),
    "scikit-learn": ("scikit-learn",),
    "xgboost": ("xgboost-cpu", "xgboost"),
    "lightgbm": ("lightgbm",),
}
"""What tasks need, and the distributions that may bring it."""
_PATIENCE = 30.0


@dataclass(frozen=True)
class Executor:
    """A registered executor: its id, its place, and how many tasks it runs at once."""

    id: str
    place: str
    slots: int


def executors(spark: SparkSession) -> list[Executor]:
    """Return the executors that are alive; a local session has none beside its driver."""
    found = spark.sparkContext._jsc.sc().statusStore().executorList(True)
    each = (found.apply(index) for index in range(found.size()))
    return [Executor(e.id(), e.hostPort(), e.maxTasks()) for e in each if e.id() != "driver"]


def check_slots(spark: SparkSession, slots: int, patience: float = _PATIENCE) -> None:
    """Wait until ``slots`` tasks can run at once; ConfigError if they can't in time."""
    master = str(spark.sparkContext.master)
    if master.startswith("local"):
        count = parse_master(master).slots
    else:
        count = _registered(spark, slots, patience)
    if count < slots:
        memory = spark.sparkContext.getConf().get("spark.executor.memory", "1g")
        raise ConfigError(
            f"{slots} tasks must run at once, and {master} gave {count}; other applications hold "
            f"its cores, it has too few, or no worker has the {memory} an executor asks for "
            "(spark.executor.memory in LOCKSTEP_SPARK_CONF): free or add workers, or ask for fewer"
        )


def _registered(spark: SparkSession, slots: int, patience: float) -> int:
    """Return how many tasks the executors run at once, as soon as they are enough."""
    deadline = time.monotonic() + patience
    while True:
        count = sum(executor.slots for executor in executors(spark))
        if count >= slots or time.monotonic() > deadline:
            return count
        time.sleep(0.1)


def check_executors(spark: SparkSession) -> None:
    """Raise ConfigError if an executor's Python or packages differ from the driver's."""
    slots = sum(executor.slots for executor in executors(spark))
    probe = _probe()
    own = next(iter(probe(iter([0]))))[1]
    numbers = spark.sparkContext.parallelize(range(slots), slots)
    try:
        # Barrier tasks run all at once, so every executor gets one.
        found = dict(numbers.barrier().mapPartitions(probe).collect())
    except PySparkException as error:
        raise in_one_line(error) from error
    faults = [line for place in sorted(found) for line in _differences(place, own, found[place])]
    if faults:
        more = f" (and {len(faults) - 1} more)" if faults[1:] else ""
        raise ConfigError(f"{faults[0]}{more}; install the driver's versions there (docs/spark.md)")


def _differences(place: str, own: dict[str, str], there: dict[str, str]) -> Iterator[str]:
    for name, version in own.items():
        if there[name] != version:
            has = f"has {name} {there[name]}" if there[name] else f"has no {name}"
            yield f"the executor on {place} {has}, the driver has {version or 'none'}"


def _probe() -> Any:
    """Return what a task runs; an inner function is sent whole and needs no lockstep there."""
    packages = dict(PACKAGES)

    def probe(_: Iterator[int]) -> Iterator[tuple[str, dict[str, str]]]:
        import os
        import socket
        import sys
        from importlib import metadata

        known = {d.metadata["Name"].lower(): d.version for d in metadata.distributions()}
        versions = {
            name: next((known[d] for d in names if d in known), "")
            for name, names in packages.items()
        }
        versions["Python"] = f"{sys.version_info.major}.{sys.version_info.minor}"
        place = f"{socket.gethostname()} (executor {os.environ.get('SPARK_EXECUTOR_ID', '?')})"
        yield place, versions

    return probe


__all__ = ["EngineError", "check_executors", "check_slots", "executors"]
