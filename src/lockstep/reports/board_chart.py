"""The board's chart: which version of each model was in Production when."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from lockstep.reports.board import Board, BoardModel, many, stamp

MOST_MODELS = 30
"""So many models have a line in the chart."""
MOST_SPANS = 200
"""So many of a model's newest spans in Production are drawn."""
ROW_HEIGHT = 46
"""Pixels of a model's line, its name included."""
_TONES = {"now": "var(--c3)", "even": "var(--c8)", "odd": "var(--shade)"}
"""The colour of the version that is there now, and of earlier ones in turn."""
_CONFIG: dict[str, Any] = {
    "background": "transparent",
    "font": "system-ui, sans-serif",
    "view": {"stroke": None},
    "axis": {
        "labelColor": "var(--quiet)",
        "domainColor": "var(--edge)",
        "tickColor": "var(--edge)",
        "gridColor": "var(--edge)",
        "labelFontSize": 12,
    },
    "text": {"fontSize": 12.5},
}
"""Colours of the page, so that dark mode needs no second drawing."""
_TIME: dict[str, Any] = {
    "field": "from",
    "type": "temporal",
    "title": None,
    "scale": {"type": "utc"},
    "axis": {"tickCount": {"expr": "width < 500 ? 3 : 8"}, "labelOverlap": True},
}
_BAR: dict[str, Any] = {
    "mark": {"type": "bar", "stroke": "var(--panel)", "strokeWidth": 1, "cornerRadius": 3},
    "encoding": {
        "x": _TIME,
        "x2": {"field": "to"},
        "color": {
            "field": "tone",
            "type": "nominal",
            "scale": {"domain": list(_TONES), "range": list(_TONES.values())},
            "legend": None,
        },
        "tooltip": [{"field": name} for name in ("model", "version", "since", "until")],
    },
}
_NUMBER: dict[str, Any] = {
    "mark": {"type": "text", "align": "left", "dx": 5, "fill": "var(--panel)"},
    "transform": [{"filter": "datum.tone == 'now'"}],
    "encoding": {"x": _TIME, "text": {"field": "version"}},
}
_NAME: dict[str, Any] = {
    "mark": {
        "type": "text",
        "align": "left",
        "baseline": "bottom",
        "limit": {"expr": "width - 8"},
        "fill": "var(--ink)",
        "dy": {"expr": "-bandwidth('y') / 2 - 3"},
    },
    "transform": [{"aggregate": [], "groupby": ["model"]}],
    "encoding": {"x": {"value": 0}, "text": {"field": "model"}},
}


def production_chart(board: Board, now: datetime) -> dict[str, Any] | None:
    """Return the chart of versions in Production over time; None where there never was one."""
    drawn = drawn_models(board)
    if not drawn:
        return None
    rows = {
        "field": "model",
        "type": "nominal",
        "sort": [isolated(one.name) for one in drawn],
        "axis": None,
        "scale": {"paddingInner": 0.55, "paddingOuter": 0.5},
    }
    return {
        "width": "container",
        "height": ROW_HEIGHT * len(drawn),
        "data": {"values": [bar for one in drawn for bar in bars(one, now)]},
        "encoding": {"y": rows},
        "layer": [_BAR, _NUMBER, _NAME],
        "config": _CONFIG,
    }


def bars(model: BoardModel, now: datetime) -> list[dict[str, Any]]:
    """Return one bar a span of a model in Production, times in milliseconds since 1970."""
    return [
        {
            "model": isolated(model.name),
            "version": str(span.version),
            "from": round(span.since.timestamp() * 1000),
            "to": round((span.until or now).timestamp() * 1000),
            "since": stamp(span.since),
            "until": "today" if span.until is None else stamp(span.until),
            "tone": "now" if span.until is None else ("even", "odd")[place % 2],
        }
        for place, span in enumerate(model.spans[-MOST_SPANS:])
    ]


def production_text(board: Board) -> str:
    """Return in words what the chart shows: which version is in Production, and since when."""
    standing = [
        f"{one.name}: version {one.spans[-1].version} since {stamp(one.spans[-1].since)}"
        if one.spans[-1].until is None
        else f"{one.name}: none since {stamp(one.spans[-1].until)}"
        for one in drawn_models(board)
    ]
    return f"Versions in Production over time. Now: {'; '.join(standing)}."


def chart_caption(board: Board) -> str:
    """Return how to read the chart, and how much it leaves out."""
    models = sum(bool(one.spans) for one in board.models) - len(drawn_models(board))
    older = sum(len(one.spans[:-MOST_SPANS]) for one in drawn_models(board))
    counts = [many(models, "model")] if models else []
    counts += [many(older, "older bar")] if older else []
    left_out = f" Not drawn: {' and '.join(counts)}." if counts else ""
    return f"Each bar is a version. The coloured one is in Production now.{left_out}"


def drawn_models(board: Board) -> list[BoardModel]:
    """Return the models that ever had a version in Production, at most MOST_MODELS."""
    return [one for one in board.models if one.spans][:MOST_MODELS]


def isolated(text: str) -> str:
    """Return text whose direction does not reach its surroundings, as <bdi> does in HTML."""
    return f"\u2068{text}\u2069"
