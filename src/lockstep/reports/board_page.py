"""The board as a page: models by stage, champion and challengers, moves, and what to do next."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from markupsafe import Markup

from lockstep.reports.board import TONES, Away, Board, many, stamp
from lockstep.reports.board_chart import chart_caption, production_chart, production_text
from lockstep.reports.look import render

_UNITS = (("year", 31_557_600), ("month", 2_629_800), ("day", 86_400), ("hour", 3600))


def board_page(board: Board | None, now: datetime, away: Away | None = None) -> str:
    """Return the page; ``away`` where the registry can't be read, also before it ever was."""
    facts: dict[str, Any] = {
        "title": "Board",
        "board": board,
        "now": now,
        "away": away,
        "age": lambda time: age(now, time),
        "stamp": stamp,
        "soft": soft,
        "tones": TONES,
        "chart_spec": None if board is None else production_chart(board, now),
        "chart_caption": "" if board is None else chart_caption(board),
        "chart_text": "" if board is None else production_text(board),
    }
    return render("reports/board.html", facts)


def soft(name: str) -> Markup:
    """Return an escaped name that may break after its underscores."""
    return Markup("_<wbr>").join(name.split("_"))


def age(now: datetime, time: datetime | None) -> str:
    """Return in words how long ago a time was; empty for none."""
    if time is None:
        return ""
    seconds = (now - time).total_seconds()
    for unit, length in _UNITS:
        if seconds >= length:
            return f"{many(int(seconds // length), unit)} ago"
    return f"{many(int(seconds // 60), 'minute')} ago" if seconds >= 60 else "just now"
