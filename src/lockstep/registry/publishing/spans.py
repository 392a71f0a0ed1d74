"""When a model was trained, and how long: DVC's outputs hold no timings, so a file here does.

A run may be logged later than its training, because a server was down or a retrain registers all
models at the end.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lockstep.errors import DataError
from lockstep.io import read_json, write_json
from lockstep.registry.publishing.outputs import Outputs

FOLDER = Path(".lockstep") / "trainings"


@dataclass(frozen=True)
class Span:
    """Start and end in milliseconds since 1970."""

    start: int
    end: int


def note_span(outputs: Outputs, timings: dict[str, float]) -> None:
    """Note that a model's training ended now and took the seconds of its steps.

    A disk without room for the note costs a run only its time.
    """
    end = int(time.time() * 1000)
    span = Span(end - int(sum(timings.values()) * 1000), end)
    with suppress(OSError):
        _file(outputs).parent.mkdir(parents=True, exist_ok=True)
        noted = {"model_digest": outputs.digest, **asdict(span), "seconds": timings}
        write_json(_file(outputs), noted, digits=None)


def span_of(outputs: Outputs) -> Span | None:
    """Return when a model was trained; None for one that came from elsewhere, as by `dvc pull`."""
    noted = _noted(outputs)
    try:
        return Span(int(noted["start"]), int(noted["end"]))
    except (KeyError, TypeError, ValueError):
        return None


def seconds_of(outputs: Outputs) -> dict[str, float]:
    """Return the seconds of each step of a model's training; none where they are not known."""
    try:
        return {str(step): float(value) for step, value in _noted(outputs)["seconds"].items()}
    except (AttributeError, KeyError, TypeError, ValueError):
        return {}


def span_over(several: Iterable[Outputs]) -> Span | None:
    """Return the time from the first start to the last end of the trainings that are known."""
    spans = [span for one in several if (span := span_of(one))]
    if not spans:
        return None
    return Span(min(span.start for span in spans), max(span.end for span in spans))


def _noted(outputs: Outputs) -> dict[str, Any]:
    """Return what was noted of this very model; nothing of another one."""
    try:
        noted: dict[str, Any] = read_json(_file(outputs))
        return noted if noted["model_digest"] == outputs.digest else {}
    except (DataError, OSError, KeyError, TypeError, ValueError):
        return {}


def _file(outputs: Outputs) -> Path:
    return outputs.root / FOLDER / f"{outputs.problem}-{outputs.type}.json"
