"""Spark's errors as one line: a Java stack trace of a hundred lines names its cause somewhere."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from py4j.protocol import Py4JError
from pyspark.errors import PySparkException
from pyspark.logger import PySparkLogger

from lockstep import errors
from lockstep.errors import LockstepError

# They print what is raised as well, as JSON of a hundred lines.
for _name in ("DataFrameQueryContextLogger", "SQLQueryContextLogger"):
    PySparkLogger.getLogger(_name).disabled = True


class EngineError(LockstepError):
    """Spark refused, lacks something, or lost what a job needs."""


_OURS = re.compile(r"^lockstep\.errors\.(\w+): (.+)$", re.MULTILINE)
_TRACEBACK = re.compile(r"Traceback \(most recent call last\):\n(?:[ \t].*\n)+(\S.*)")
_CAUSES = {
    r"Cannot run program \"([^\"]+)\"": (
        "executors can't start {}; set PYSPARK_PYTHON to the Python there that has lockstep's "
        "packages"
    ),
    r"ExecutorLostFailure \((executor \S+) ": (
        "{} was lost while tasks ran; run the command again"
    ),
    r"\((\S+) (executor \S+)\): .*Python worker exited unexpectedly": (
        "a Python worker crashed on {}, {}, perhaps for lack of memory"
    ),
    r"Total size of serialized results of \d+ tasks \((.+?)\) is bigger than \S+ \((.+?)\)": (
        "tasks returned {}, and the session takes {}; raise spark.driver.maxResultSize in "
        "LOCKSTEP_SPARK_CONF, or where the session is opened"
    ),
    r"OutOfMemoryError": (
        "Spark's Java ran out of memory; raise LOCKSTEP_SPARK_MEMORY, or spark.executor.memory in "
        "LOCKSTEP_SPARK_CONF"
    ),
    r"TaskResultLost": (
        "what a task returned was lost before the driver read it, mostly for lack of memory; raise "
        "LOCKSTEP_SPARK_MEMORY, or spark.executor.memory in LOCKSTEP_SPARK_CONF"
    ),
    r"No space left on device: '([^']+)'": "the disk is full: {}; free some space there",
    r"No space left on device": (
        "the disk is full where Spark works; free some space there, or name another folder by "
        "spark.local.dir in LOCKSTEP_SPARK_CONF"
    ),
    r"SPARK-24819": (
        "more tasks must run at once than the executors that are left can run; add workers"
    ),
    r"SparkContext was shut down": "the Spark session was stopped, or its master stopped",
}
"""What Spark's texts hold, and what is said of it."""


@contextmanager
def one_line_faults() -> Iterator[None]:
    """Raise Spark's errors inside the block as one line; an error of ours in a task as itself."""
    try:
        yield
    except (Py4JError, PySparkException) as error:
        raise in_one_line(error) from error


def in_one_line(error: BaseException) -> LockstepError:
    """Return an error of Spark as one of ours, with its cause and no stack trace."""
    text = str(error)
    if ours := _OURS.search(text):
        kind = getattr(errors, ours[1], EngineError)
        return kind(ours[2])
    for pattern, line in _CAUSES.items():
        if found := re.search(pattern, text):
            return EngineError(line.format(*found.groups()))
    # The last of several was raised in the end; Java's own lines follow none.
    cause = (_TRACEBACK.findall(text)[-1:] or _lines(text))[0]
    return EngineError(f"Spark failed: {cause[:300].strip()}")


def _lines(text: str) -> list[str]:
    """Return the lines that may name a cause: py4j's own first line names its object only."""
    lines = [line.removeprefix(": ") for line in text.splitlines() if line.strip()]
    return [line for line in lines if not line.startswith("An error occurred while")] or [text]
