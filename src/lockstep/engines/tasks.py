"""Work in Spark tasks: one at a time, or all together; a task's expected error is the driver's."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

from pyspark import BarrierTaskContext
from pyspark.sql import SparkSession

from lockstep.engines.faults import one_line_faults

T = TypeVar("T")
R = TypeVar("R")


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

    def call(_: Iterable[int]) -> list[R]:
        context = BarrierTaskContext.get()
        hosts = [_address(info.address) for info in context.getTaskInfos()]
        return [work(Member(context.partitionId(), hosts, context.allGather))]

    tasks = spark.sparkContext.parallelize(range(members), members)
    return _collected(tasks.barrier().mapPartitions(call))


def _address(place: str) -> str:
    """Return the IP address of a task's host; lightgbm knows its own machine by that."""
    name, _, port = place.rpartition(":")
    return socket.gethostbyname(name if port.isdecimal() else place)


def _collected(work: Any) -> list[Any]:
    """Run the tasks; raise what a task raised as an error of this process, in one line."""
    with one_line_faults():
        return list(work.collect())
