"""Work in Spark tasks: one at a time, or all together; a task's expected error is the driver's."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from py4j.protocol import Py4JJavaError
from pyspark import BarrierTaskContext
from pyspark.sql import SparkSession

from lockstep import errors
from lockstep.errors import LockstepError

T = TypeVar("T")
R = TypeVar("R")
_FAULT = re.compile(r"lockstep\.errors\.(\w+): (.+)")
_LAST = re.compile(r"^(?:[A-Za-z_]\w*\.)*(?:[A-Z]\w*(?:Error|Exception)): .+$", re.MULTILINE)
_MOST_WORDS = 300


@dataclass(frozen=True)
class Member:
    """One of the tasks that run together: its number, and how it talks to the others."""

    rank: int
    hosts: list[str]
    """IP addresses of all, by rank."""
    tell_all: Callable[[str], list[str]]
    """Send a text to all; return the texts of all, by rank."""


def run_tasks(spark: SparkSession, work: Callable[[T], R], items: Iterable[T]) -> list[R]:
    """Call ``work`` on each item in a task of its own; return the results in order."""
    given = list(items)
    if not given:
        return []
    return _collected(spark.sparkContext.parallelize(given, len(given)).map(work))


def run_together(spark: SparkSession, work: Callable[[Member], R], members: int) -> list[R]:
    """Call ``work`` in tasks that all run at the same time; return the results by rank."""

    def call(_: Iterator[int]) -> list[R]:
        context = BarrierTaskContext.get()
        hosts = [_address(info.address) for info in context.getTaskInfos()]
        return [work(Member(context.partitionId(), hosts, context.allGather))]

    return _collected(
        spark.sparkContext.parallelize(range(members), members).barrier().mapPartitions(call)
    )


def _address(place: str) -> str:
    """Return the IP address of a task's host; lightgbm knows its own machine by that."""
    name, _, port = place.rpartition(":")
    return socket.gethostbyname(name if port.isdecimal() else place)


def _collected(work: Any) -> list[Any]:
    """Run the tasks; raise what a task raised as an error of this process, in one line."""
    try:
        return list(work.collect())
    except Py4JJavaError as error:
        raise task_error(str(error)) from None


def task_error(text: str) -> LockstepError:
    """Return the error that a task's traceback, within Java's, ends with."""
    if found := _FAULT.search(text):
        kind = getattr(errors, found[1], LockstepError)
        return kind(found[2])  # type: ignore[no-any-return]
    last = _LAST.findall(text)
    words = last[0] if last else text.strip().splitlines()[0]
    return LockstepError(f"a task on Spark failed: {words[:_MOST_WORDS]}")
