"""The process behind ``shadow``: it scores answered requests with the version in Staging.

It reads requests from its standard input, writes scores into the prediction log, and says on its
standard output what it does. It ends with its input.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson

from lockstep.config.layout import project_root
from lockstep.config.serving import ServingSettings, load_serving
from lockstep.errors import ConfigError, LockstepError, run_command
from lockstep.monitoring.log_files import ShadowEntry
from lockstep.serving.http_request import Refusal
from lockstep.serving.loaded_model import ServedModel
from lockstep.serving.model_source import ModelSource
from lockstep.serving.prediction_log import PredictionLog
from lockstep.serving.responses import predictions
from lockstep.serving.shadow import read_message

_NICE = 10
_LOOK_SECONDS, _SAY_SECONDS = 5.0, 1.0


class Challenger:
    """The version in the shadow stage, and how many rows it scored."""

    def __init__(self, settings: ServingSettings, root: Path, log: PredictionLog) -> None:
        self.settings, self.root, self.log = settings, root, log
        self.source = ModelSource(settings, root, stage=settings.shadow)
        self.scored = self.failed = 0
        self.fault = ""
        self.ended = threading.Event()
        self._looked = float("-inf")

    def look(self) -> None:
        """Load the version that is in the stage now; from time to time."""
        if time.monotonic() - self._looked < _LOOK_SECONDS:
            return
        self._looked = time.monotonic()
        try:
            if self.source.served is None:
                self.source.start()
            else:
                self.source.look()
            self.fault = self.source.fault
        except LockstepError as error:
            self.fault = str(error)

    def score(self, known: list[Any], records: bytes) -> None:
        """Score a request and queue its scores for the log."""
        served = self.source.served
        request_id, time_ms, version, digest = known
        if served is None or served.model.digest == digest:
            return
        began = time.perf_counter()
        try:
            read = served.reader.read(records, self.settings.limits.rows)
            answer = predictions(served, read, served.scorer.score(read.columns, read.rows))
        except (Refusal, LockstepError) as error:
            self.failed += 1
            self.fault = f"{served.checked.title} refuses a request: {error}"
            return
        seconds = time.perf_counter() - began
        self.log.add_shadow(_entry(request_id, time_ms, version, served, answer, seconds))
        self.scored += answer.rows

    def keep_saying(self) -> None:
        """Print the state whenever it has changed."""
        last: dict[str, Any] = {}
        while not self.ended.wait(_SAY_SECONDS):
            if (state := self.state) != last:
                self.say(last := state)

    @property
    def state(self) -> dict[str, Any]:
        """Which version scores, how many rows it did, and what is wrong."""
        served = self.source.served
        return {
            "model": served and served.model.name,
            "version": served and served.model.version,
            "rows": self.scored,
            "failed": self.failed,
            "log_dropped": self.log.writer.dropped,
            "fault": self.fault,
        }

    def say(self, state: dict[str, Any]) -> None:
        """Print the state in one line."""
        sys.stdout.buffer.write(orjson.dumps(state) + b"\n")
        sys.stdout.buffer.flush()


def _entry(
    request_id: str, time_ms: int, version: int, served: ServedModel, answer: Any, seconds: float
) -> ShadowEntry:
    model = served.model
    return ShadowEntry(
        request_id,
        time_ms,
        model.name,
        model.version,
        model.digest,
        answer.rows,
        answer.scores,
        answer.decisions,
        version,
        seconds,
        *served.decided_by,
    )


def main() -> None:
    """Score what comes in until the input ends."""
    os.nice(_NICE)
    try:
        root = project_root()
    except ConfigError:  # in a container there is no project
        root = Path.cwd()
    settings = load_serving(root)
    if settings.prediction_folder is None or not settings.shadow:
        raise ConfigError("a challenger needs SHADOW and the prediction log")
    # It follows the stage of the served model's name, never a file.
    # The API alone deletes files: it has the counts of their days kept first.
    endless = settings.prediction_log.model_copy(update={"total_bytes": 2**62})
    log = PredictionLog(settings.prediction_folder, endless)
    log.start()
    challenger = Challenger(replace(settings, model_path=None, model_uri=None), root, log)
    challenger.look()
    threading.Thread(target=challenger.keep_saying, name="status", daemon=True).start()
    while (found := read_message(sys.stdin.buffer)) is not None:
        challenger.look()
        challenger.score(*found)
    challenger.ended.set()
    challenger.say(challenger.state)
    log.writer.close()


if __name__ == "__main__":
    run_command(main)
