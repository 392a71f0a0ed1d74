"""Requests that arrive at the same moment are scored in one call: a call costs more than a row that goes with it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lockstep.models.scoring.scorer import Scorer
    from lockstep.serving.request_parsing import Read


class _Part(NamedTuple):
    """What one request waits for."""

    scorer: Scorer
    read: Read
    scores: asyncio.Future[np.ndarray]


class Together:
    """Scores for requests of one event loop; nobody waits for a request that is not there yet."""

    def __init__(self) -> None:
        self._waiting: list[_Part] = []

    async def score(self, scorer: Scorer, read: Read) -> np.ndarray:
        """Return the records' scores, as ``scorer`` alone would give them, with those of others that are there now."""
        loop = asyncio.get_running_loop()
        part = _Part(scorer, read, loop.create_future())
        if not self._waiting:
            loop.call_soon(
                self._score_all
            )  # after the steps of the requests that have arrived with this one
        self._waiting.append(part)
        return await part.scores

    def _score_all(self) -> None:
        waiting, self._waiting = self._waiting, []
        of_model: dict[int, list[_Part]] = {}
        for part in waiting:
            of_model.setdefault(id(part.scorer), []).append(part)
        for parts in of_model.values():
            _score(parts)


def _score(parts: Sequence[_Part]) -> None:
    """Score requests of one model in one call; where that fails, one by one, so that each has its own fault."""
    try:
        scored = _split(parts[0].scorer.score(*_joined(parts)), parts)
    except Exception as fault:  # noqa: BLE001  it is raised where the request waits
        if len(parts) > 1:
            for part in parts:
                _score([part])
        elif not parts[0].scores.done():
            parts[0].scores.set_exception(fault)
        return
    for part, scores in zip(parts, scored, strict=True):
        if not part.scores.done():  # one whose client went away is cancelled
            part.scores.set_result(scores)


def _joined(parts: Sequence[_Part]) -> tuple[dict[str, np.ndarray], int]:
    first = parts[0].read
    if len(parts) == 1:
        return first.columns, first.rows
    columns = {
        name: np.concatenate([part.read.columns[name] for part in parts]) for name in first.columns
    }
    return columns, sum(part.read.rows for part in parts)


def _split(scores: np.ndarray, parts: Sequence[_Part]) -> list[np.ndarray]:
    ends = 0
    found = []
    for part in parts:
        found.append(scores[ends : ends + part.read.rows])
        ends += part.read.rows
    return found
