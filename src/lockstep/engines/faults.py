"""Spark's errors as one line: a Java stack trace of a hundred lines names its cause somewhere."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from py4j.protocol import Py4JError
from pyspark.errors import PySparkException

from lockstep import errors
from lockstep.errors import LockstepError


class EngineError(LockstepError):
    """Spark refused, lacks something, or lost what a job needs."""


_OURS = re.compile(r"^lockstep\.errors\.(\w+): (.+)$", re.MULTILINE)
_PYTHON = re.compile(r"^(?:\w+\.)*\w*(?:Error|Exception|Interrupt|Exit)\b.*$", re.MULTILINE)
_LOST = re.compile(r"ExecutorLostFailure.*|Could not recover from a failed barrier.*")
_GONE = ("Connection refused", "Answer from Java side is empty", "SparkContext was shut down")
_CAUSES = {
    "All masters are unresponsive": "the Spark master is gone",
    "Job aborted because SparkContext was shut down": "the Spark session was stopped",
    "OutOfMemoryError": "Java ran out of memory; raise LOCKSTEP_SPARK_MEMORY",
    "No space left on device": "the disk is full on an executor; free some space there",
}


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
    ours = _OURS.search(text)
    if ours:
        kind = getattr(errors, ours[1], EngineError)
        return kind(ours[2])
    known = [line for sign, line in _CAUSES.items() if sign in text]
    lost = _LOST.search(text)
    if known:
        return EngineError(known[0])
    if lost:
        return EngineError(f"an executor was lost while tasks ran ({lost[0][:200].strip()})")
    python = _PYTHON.findall(text) if "Traceback (most recent call last)" in text else []
    return EngineError(f"Spark failed: {(python or text.splitlines() or [''])[0][:300].strip()}")
