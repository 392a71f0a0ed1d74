"""The process behind ``shadow``: it scores answered requests with the version in Staging.

It reads requests from its standard input, scores those that have arrived in one call, writes the
scores into the prediction log, and says on its standard output what it does. It ends with its
input.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
import orjson

from lockstep.config.layout import project_root
from lockstep.config.serving import ServingSettings, load_serving
from lockstep.errors import ArtifactError, ConfigError, LockstepError, run_command
from lockstep.monitoring.log_files import ShadowEntry
from lockstep.registry.store.names import EmptyStage
from lockstep.registry.store.versions import Version
from lockstep.serving.http_request import Refusal
from lockstep.serving.loaded_model import ServedModel, prepare
from lockstep.serving.model_source import RegistrySource, registry_source
from lockstep.serving.prediction_log import PredictionLog
from lockstep.serving.responses import outcomes_of
from lockstep.serving.shadow import COUNTS, LENGTH
from lockstep.serving.table_parsing import LoggedReader
from lockstep.serving.version_identity import identity_of

_LOOK_SECONDS, _RETRY_SECONDS, _SAY_SECONDS, _TIME_SECONDS = 2.0, 60.0, 1.0, 1.0
_READ_BYTES = 1024 * 1024


class Request(NamedTuple):
    """An answered request: which version answered it, and its records as the log keeps them."""

    request_id: str
    time_ms: int
    version: int | None
    digest: str | None
    rows: int
    records: bytes


class Challenger:
    """The version in the shadow stage, and what it scored."""

    def __init__(self, registry: RegistrySource, settings: ServingSettings) -> None:
        self.registry, self.settings = registry, settings
        self.served: ServedModel | None = None
        self.fault = self.refusal = ""
        """Why there is no version to score with, and why the last request was not scored."""
        self.counts = dict.fromkeys(COUNTS, 0)
        self._looked = self._failed = self._timed = float("-inf")
        self._row_seconds = 0.0
        self._identity = ""

    def look(self) -> None:
        """Load the version that is in the stage now; from time to time."""
        now = time.monotonic()
        if now - self._looked < _LOOK_SECONDS:
            return
        self._looked = now
        again = bool(self.fault) and now - self._failed > _RETRY_SECONDS
        try:
            version = self.registry.find_moved(again)
            if version is not None:
                self._take(version)
        except EmptyStage as error:
            self.served, self.fault = None, str(error)
        except (ArtifactError, ConfigError) as error:
            self._refuse(str(error))
        except LockstepError as error:  # the registry does not answer: the last version goes on
            self.registry.forget()
            self.fault = str(error)
        except Exception as error:  # noqa: BLE001  a model's own code can raise anything
            self._refuse(f"{type(error).__name__}: {error}")

    def _take(self, version: Version) -> None:
        """Load a version, unless it is the one that scores."""
        identity = identity_of(version)
        if self.served is None or identity != self._identity:
            self.served = None
            self.served = prepare(self.registry.open(version), self.settings)
            self._identity, self._row_seconds, self.refusal = identity, 0.0, ""
        self.fault = ""

    def _refuse(self, fault: str) -> None:
        self.served, self.fault, self._failed = None, fault, time.monotonic()

    def score(self, requests: Sequence[Request], log: PredictionLog) -> None:
        """Score requests in one call and queue their scores for the log."""
        served = self.served
        digest = None if served is None else served.model.digest
        own = [one for one in requests if served is not None and one.digest != digest]
        self.counts["skipped"] += len(requests) - len(own)
        if served is None or not own:
            return
        try:
            self._time(served, own[0])
            entries = self._entries(served, own)
        except Exception as error:  # noqa: BLE001  a model's own code can raise anything
            if len(own) > 1:
                for one in own:
                    self.score([one], log)
                return
            self.counts["failed"] += 1
            reason = str(error) if isinstance(error, Refusal | LockstepError) else repr(error)
            self.refusal = f"{served.checked.title} does not score a request: {reason}"
            return
        for entry in entries:
            log.add_shadow(entry)
        self.counts["requests"] += len(entries)
        self.counts["rows"] += sum(entry.rows for entry in entries)

    def _time(self, served: ServedModel, request: Request) -> None:
        """Measure, once a second, the processor time of a request that is scored alone."""
        now = time.monotonic()
        if self._row_seconds and now - self._timed < _TIME_SECONDS:
            return
        began = time.thread_time()
        scores_of(served, [request])
        self._row_seconds, self._timed = (time.thread_time() - began) / request.rows, now

    def _entries(self, served: ServedModel, requests: Sequence[Request]) -> list[ShadowEntry]:
        scores, decisions = scores_of(served, requests)
        model, entries, end = served.model, [], 0
        for one in requests:
            start, end = end, end + one.rows
            origin = (one.request_id, one.time_ms, model.name, model.version, model.digest)
            given = (one.rows, scores[start:end], decisions[start:end], one.version)
            seconds = one.rows * self._row_seconds
            entries.append(ShadowEntry(*origin, *given, seconds, *served.decided_by))
        return entries

    def state(self) -> dict[str, Any]:
        """Which version scores, how many requests it did, and what is wrong."""
        model = None if self.served is None else self.served.model
        return {
            "model": model and model.name,
            "version": model and model.version,
            **self.counts,
            "fault": self.fault or self.refusal,
        }


def scores_of(served: ServedModel, requests: Sequence[Request]) -> tuple[np.ndarray, list[Any]]:
    """Return scores (rows,) or (rows, classes) and decisions of all records of requests."""
    records, rows = [one.records for one in requests], [one.rows for one in requests]
    columns = LoggedReader(served.reader).columns(records, rows)
    scores = served.scorer.score(columns, sum(rows))
    return scores, [one.get("decision") for one in outcomes_of(served, scores)]


class Speaker:
    """Prints the state as a line whenever it has changed."""

    def __init__(self, challenger: Challenger, log: PredictionLog, stream: IO[bytes]) -> None:
        self.challenger, self.log, self.stream = challenger, log, stream
        self.ended = threading.Event()
        self._last: dict[str, Any] = {}
        self.thread = threading.Thread(target=self._work, name="status", daemon=True)
        self.thread.start()

    def _work(self) -> None:
        while not self.ended.wait(_SAY_SECONDS):
            self.say()

    def say(self) -> None:
        """Print the state if it has changed."""
        self.challenger.counts["log_dropped"] = self.log.writer.dropped
        state = self.challenger.state()
        if state != self._last:
            self._last = state
            self.stream.write(orjson.dumps(state) + b"\n")
            self.stream.flush()

    def close(self) -> None:
        """Print the last state."""
        self.ended.set()
        self.thread.join()
        self.say()


def arriving(handle: int) -> Iterator[list[Request]]:
    """Yield the requests that have arrived, also none, every few seconds until the input ends.

    A request that is cut off there is left out.
    """
    waiting = bytearray()
    while True:
        if not select.select([handle], [], [], _LOOK_SECONDS)[0]:
            yield []
            continue
        piece = os.read(handle, _READ_BYTES)
        if not piece:
            return
        waiting += piece
        found, end = taken(waiting)
        del waiting[:end]
        yield found


def taken(waiting: bytearray) -> tuple[list[Request], int]:
    """Return the requests of a buffer's complete messages, and how many bytes those took."""
    found: list[Request] = []
    start = 0
    while (known := _part(waiting, start)) is not None:
        records = _part(waiting, start + LENGTH.size + len(known))
        if records is None:
            break
        place = 0
        for request_id, time_ms, version, digest, rows, size in orjson.loads(known):
            own = records[place : place + size]
            found.append(Request(request_id, time_ms, version, digest, rows, own))
            place += size
        start += 2 * LENGTH.size + len(known) + len(records)
    return found, start


def _part(waiting: bytearray, start: int) -> bytes | None:
    """Return the part of a message that begins at ``start``; None if it has not all arrived."""
    begin = start + LENGTH.size
    if len(waiting) < begin:
        return None
    end = begin + LENGTH.unpack_from(waiting, start)[0]
    return bytes(waiting[begin:end]) if len(waiting) >= end else None


def main() -> None:
    """Score what comes in until the input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to the server, too
    said = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what libraries print is no state
    try:
        root = project_root()
    except ConfigError:  # in a container there is no project
        root = Path.cwd()
    settings = load_serving(root)
    registry = registry_source(settings, root, settings.shadow) if settings.shadow else None
    if settings.prediction_folder is None or registry is None:
        raise ConfigError("a challenger needs SHADOW, a registered model and the prediction log")
    # The API alone deletes files: it has the counts of their days kept first.
    endless = settings.prediction_log.model_copy(update={"total_bytes": 2**62})
    log = PredictionLog(settings.prediction_folder, endless)
    log.start()
    challenger = Challenger(registry, settings)
    challenger.look()
    speaker = Speaker(challenger, log, said)
    for requests in arriving(sys.stdin.fileno()):
        challenger.look()
        challenger.score(requests, log)
    log.writer.close()
    speaker.close()


if __name__ == "__main__":
    run_command(main)
