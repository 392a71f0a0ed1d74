"""Whether a master has what a session needs, counted before executors are asked for."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import requests
from pyspark.sql import SparkSession

from lockstep.engines.executors import executors
from lockstep.engines.master import Master, is_local, parse_master
from lockstep.errors import ConfigError

PAGE = "LOCKSTEP_SPARK_MASTER_PAGE"
FEWER = "ask for fewer partitions, or add workers"
_MEGABYTES = {"k": 1 / 1024, "m": 1, "": 1, "g": 1024, "t": 1024**2}
WAIT = "LOCKSTEP_SPARK_WAIT"
_STANDALONE, _LEAST, _CONTAINERS, _COUNTED = 20, 8, 25, 120
"""Seconds that executors get to register. On a standalone cluster the start of Java counts in, up
to a least time. Containers must start; and where the master's page says that there is room, there
is no hurry."""


def check_memory(name: str, value: str) -> float:
    """Return megabytes of a size as Spark writes it (512m, 4g); ConfigError for anything else."""
    found = re.fullmatch(r"(\d+)([kmgt]?)b?", value.strip().lower())
    if not found or not int(found[1]):
        raise ConfigError(f"{name} is {value!r}; write a size such as 512m or 4g")
    return int(found[1]) * _MEGABYTES[found[2]]


def check_capacity(master: Master, slots: int, memory: str) -> bool:
    """Return whether the master's page was there to count by; ConfigError if it has too little."""
    page = _page(master) if master.is_standalone else None
    if page is None:
        return False
    needed = check_memory("spark.executor.memory", memory)
    workers = [worker for worker in page["workers"] if worker["state"] == "ALIVE"]
    fit = [worker for worker in workers if worker["memory"] >= needed]
    cores = sum(worker["cores"] for worker in fit)
    if not workers:
        raise ConfigError(f"{master.url} has no worker; start one")
    if not fit:
        most = max(worker["memory"] for worker in workers)
        raise ConfigError(
            f"an executor asks for {memory} of memory, and the largest worker of {master.url} has "
            f"{most}m; lower spark.executor.memory in LOCKSTEP_SPARK_CONF, or add memory there"
        )
    if cores < slots:
        raise ConfigError(
            f"{slots} tasks must run at once, and the {len(fit)} workers of {master.url} that have "
            f"{memory} of memory have {cores} cores; {FEWER}"
        )
    return True


def _page(master: Master, environ: Mapping[str, str] = os.environ) -> dict[str, Any] | None:
    """Return what the active master's page says as JSON; None if its page is elsewhere or off.

    Of several masters one is ALIVE, and only that one knows the workers.
    """
    places = [place.rpartition(":") for place in urlsplit(master.url).netloc.split(",")]
    given = environ.get(PAGE)
    addresses = [given] if given else [f"http://{host}:8080" for host, _, _ in places]
    ports = {port for _, _, port in places}
    pages = (_known_page(address, ports) for address in dict.fromkeys(addresses))
    return next((page for page in pages if page and page.get("status") == "ALIVE"), None)


def _known_page(address: str, ports: set[str]) -> dict[str, Any] | None:
    with requests.Session() as session:
        session.trust_env = False  # a cluster's own host: no proxy, no .netrc
        try:
            page = session.get(f"{address.rstrip('/')}/json/", timeout=3).json()
        except (requests.RequestException, ValueError):
            return None
    # Another program, or another master, may have the usual port.
    known = isinstance(page, dict) and str(page.get("url", "")).rpartition(":")[2] in ports
    return page if known else None


def check_slots(spark: SparkSession, slots: int, counted: bool = False, spent: float = 0.0) -> None:
    """Wait until ``slots`` tasks can run at once; ConfigError if they can't in time.

    ``spent`` is how many seconds the session took to open.
    """
    master = str(spark.sparkContext.master)
    patience = _patience(master, counted, spent)
    own = parse_master(master).slots if is_local(master) else 0
    found = own or _registered(spark, slots, patience)
    if found < slots:
        memory = spark.sparkContext.getConf().get("spark.executor.memory", "1g")
        raise ConfigError(
            f"{slots} tasks must run at once, and {master} gave cores for {found}: other "
            f"applications hold the rest, or there are no more, or none with the {memory} of "
            f"memory that an executor asks for; {FEWER}, lower spark.executor.memory, or give a "
            f"busy cluster more than {patience:.0f} seconds by {WAIT}"
        )


def _patience(
    master: str, counted: bool, spent: float, environ: Mapping[str, str] = os.environ
) -> float:
    """Return how many seconds executors get to register from now on."""
    asked = environ.get(WAIT)
    if asked and not asked.isdecimal():
        raise ConfigError(f"{WAIT} is {asked!r}; write whole seconds")
    if asked or counted:
        return int(asked or _COUNTED)
    return max(_STANDALONE - spent, _LEAST) if Master(master).is_standalone else _CONTAINERS


def _registered(spark: SparkSession, slots: int, patience: float) -> int:
    """Return how many tasks the executors run at once, as soon as they are enough."""
    deadline = time.monotonic() + patience
    while True:
        count = sum(executor.slots for executor in executors(spark))
        if count >= slots or time.monotonic() > deadline:
            return count
        time.sleep(0.1)
