"""Micro-batching: simultaneous requests share one scoring call."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from lockstep.models.scoring.scorer import Scorer
from lockstep.serving.request_parsing import Read


class _Part(NamedTuple):
    """The records of one request, and the scores that it waits for."""

    scorer: Scorer
    read: Read
    scores: asyncio.Future[np.ndarray]


class MicroBatcher:
    """Scores the requests of one event loop; none waits for a request that has not arrived."""

    def __init__(self) -> None:
        self._waiting: list[_Part] = []

    async def score(self, scorer: Scorer, read: Read) -> np.ndarray:
        """Return the records' scores, equal to those of a call of ``scorer`` for them alone."""
        loop = asyncio.get_running_loop()
        part = _Part(scorer, read, loop.create_future())
        if not self._waiting:
            loop.call_soon(self._score_all)  # runs after the requests that have arrived by now
        self._waiting.append(part)
        return await part.scores

    def _score_all(self) -> None:
        waiting, self._waiting = self._waiting, []
        by_model: dict[int, list[_Part]] = {}
        for part in waiting:
            by_model.setdefault(id(part.scorer), []).append(part)
        for parts in by_model.values():
            _score(parts)


def _score(parts: Sequence[_Part]) -> None:
    """Score requests of one model in one call; if it fails one by one, so each gets its fault."""
    try:
        scores = parts[0].scorer.score(*_joined(parts))
    except Exception as fault:  # noqa: BLE001  it is raised where the request waits
        if len(parts) > 1:
            for part in parts:
                _score([part])
        elif not parts[0].scores.done():
            parts[0].scores.set_exception(fault)
        return
    end = 0
    for part in parts:
        start, end = end, end + part.read.rows
        if not part.scores.done():  # done where a client disconnected: its future is cancelled
            part.scores.set_result(scores[start:end])


def _joined(parts: Sequence[_Part]) -> tuple[dict[str, np.ndarray], int]:
    first = parts[0].read
    if len(parts) == 1:
        return first.columns, first.rows
    columns = {
        name: np.concatenate([part.read.columns[name] for part in parts]) for name in first.columns
    }
    return columns, sum(part.read.rows for part in parts)
