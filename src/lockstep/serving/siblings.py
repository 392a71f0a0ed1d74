"""What the workers of one server tell each other: each writes its state, any of them reads all."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from lockstep.io import write_text

METRICS_FOLDER = "metrics"
WRITE_SECONDS = 1.0
_STALE_SECONDS = 5.0


@dataclass(frozen=True)
class Siblings:
    """This worker's number, how many there are, and the folder that they share."""

    number: int
    of: int
    folder: Path

    def write(self, state: dict[str, Any]) -> None:
        """Replace this worker's state."""
        content = {"worker": self.number, **state, "at": time.time()}
        write_text(self._file(self.number), orjson.dumps(content).decode())

    def forget(self) -> None:
        """Delete the state of this worker: its process has ended."""
        self._file(self.number).unlink(missing_ok=True)

    def read(self, own: dict[str, Any]) -> list[dict[str, Any]]:
        """Return the states of all workers; this one's is ``own``."""
        found = []
        for number in range(1, self.of + 1):
            state = own if number == self.number else self._read(number)
            found.append({"worker": number, **state})
        return found

    def _read(self, number: int) -> dict[str, Any]:
        """Return another worker's state; one that has not written lately does not answer."""
        try:
            state: dict[str, Any] = orjson.loads(self._file(number).read_bytes())
        except FileNotFoundError:  # it starts
            state = {"at": 0.0}
        if time.time() - state.pop("at") > _STALE_SECONDS:
            return {"status": "not answering"}
        return state

    def _file(self, number: int) -> Path:
        return self.folder / f"worker-{number}.json"


def worst(states: list[dict[str, Any]]) -> str:
    """Return the status of a server whose workers have these states."""
    found = {state["status"] for state in states}
    return "ok" if found == {"ok"} else "degraded"
