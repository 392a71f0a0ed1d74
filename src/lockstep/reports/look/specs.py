"""Vega-Lite specifications of the pages' charts, from plain rows.

Every field has a fixed name (``x``, ``y``, ``low``, ``high``, ``name``), since Vega reads dots and
brackets in field names. Lines differ by dash and dots by shape too, not by colour alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Row = Mapping[str, Any]
Spec = dict[str, Any]

SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"
COLOURS = [f"var(--c{number})" for number in range(1, 9)]
DASHES = [[1, 0], [7, 3], [2, 2], [9, 3, 2, 3], [4, 4], [12, 4], [1, 3]]
"""One fewer than colours, so that the ninth line differs from the first by its dash."""
SHAPES = ["circle", "square", "diamond", "triangle-up", "triangle-down", "cross"]
_FONT = "system-ui, sans-serif"
_CONFIG: Spec = {
    "background": "transparent",
    "font": _FONT,
    "aria": False,  # the figure has a text of its own
    "view": {"stroke": None},
    "axis": {
        "labelColor": "var(--quiet)",
        "titleColor": "var(--quiet)",
        "gridColor": "var(--edge)",
        "domainColor": "var(--line)",
        "tickColor": "var(--line)",
        "labelFontSize": 12,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
        "labelLimit": 150,
        "labelOverlap": True,
    },
    "header": {"labelColor": "var(--ink)", "labelFontSize": 12, "title": None, "labelLimit": 240},
    "legend": {
        "labelColor": "var(--ink)",
        "labelFontSize": 12,
        "labelLimit": 180,
        "orient": "bottom",
        "title": None,
        "symbolSize": 120,
    },
    "line": {"strokeWidth": 2},
    "bar": {"color": "var(--accent)"},
    "rule": {"color": "var(--line)"},
    "point": {"color": "var(--accent)", "filled": True, "size": 70},
    "text": {"color": "var(--ink)", "fontSize": 12},
}


def spec(values: Sequence[Row], height: int, **more: Any) -> Spec:
    """Return a specification over some rows, as wide as its place on the page; height in px."""
    return {
        "$schema": SCHEMA,
        "width": "container",
        "height": height,
        "autosize": {"type": "fit", "contains": "padding"},
        "data": {"values": [dict(row) for row in values]},
        "config": _CONFIG,
        **more,
    }


def axis(title: str, kind: str = "quantitative", field: str = "x", **more: Any) -> Spec:
    """Return the encoding of a position; ``scale`` and others go to Vega-Lite as they are."""
    form = more.pop("form", None)
    own: Spec = {"title": title, "tickCount": 6, **({"format": form} if form else {})}
    own |= more.pop("axis", {})
    return {"field": field, "type": kind, "axis": own, **more}


def named(names: Sequence[str], legend: bool = True) -> Spec:
    """Return colour and dash of lines by their name, in the order of ``names``."""
    domain = list(names)
    shown: Spec = {"legend": {"columns": _legend_columns(names)} if legend else None}
    return {
        "color": {
            "field": "name",
            "type": "nominal",
            "scale": {"domain": domain, "range": cycle(COLOURS, len(domain))},
            **shown,
        },
        "strokeDash": {
            "field": "name",
            "type": "nominal",
            "scale": {"domain": domain, "range": cycle(DASHES, len(domain))},
            **shown,
        },
    }


def _legend_columns(names: Sequence[str]) -> int:
    return 5 if max(map(len, names), default=0) <= 4 else 2


def with_legend(height: int, names: Sequence[str]) -> int:
    """Return a chart's height with room for the legend of its lines, if it has more than one."""
    rows = -(-len(names) // _legend_columns(names)) if len(names) > 1 else 0
    return height + 18 * rows


def cycle(values: Sequence[Any], count: int) -> list[Any]:
    """Return so many values, from the first again where there are too few."""
    return [values[place % len(values)] for place in range(count)]


def tooltip(*fields: tuple[str, str, str]) -> list[Spec]:
    """Return what a tooltip shows: field, title and format of each line; "" formats a text."""
    return [
        {"field": f, "title": title, "type": "quantitative" if form else "nominal"}
        | ({"format": form} if form else {})
        for f, title, form in fields
    ]


def lines(
    values: Sequence[Row],
    names: Sequence[str],
    x: Spec,
    y: Spec,
    height: int = 230,
    beside: Sequence[Spec] = (),
    mark: Mapping[str, Any] | None = None,
) -> Spec:
    """Return a line by name, with what ``beside`` draws over the same axes."""
    x_title, y_title = (one["axis"]["title"] for one in (x, y))
    shown = tooltip(("name", "", ""), ("x", x_title, ".4~g"), ("y", y_title, ".4~g"))
    line = {
        "mark": {"type": "line", **(mark or {})},
        "encoding": {"x": x, "y": y, **named(names), "tooltip": shown, "order": {"field": "order"}},
    }
    ordered = [{"order": place, **row} for place, row in enumerate(values)]
    return spec(ordered, with_legend(height, names), layer=[*beside, line])


def diagonal(x: Spec, y: Spec) -> Spec:
    """Return the line from (0, 0) to (1, 1)."""
    return {
        "data": {"values": [{"x": 0, "y": 0}, {"x": 1, "y": 1}]},
        "mark": {"type": "line", "color": "var(--line)", "strokeWidth": 1, "strokeDash": [3, 3]},
        "encoding": {"x": x, "y": y},
    }


def level(value: float, text: str, across: bool = False, before: bool = False) -> Spec:
    """Return a rule at a value of x (``across``: of y), with its text, ``before``: left of it."""
    channel = "y" if across else "x"
    place = {channel: {"datum": value, "type": "quantitative"}}
    at: Spec = {"align": "left", "dx": 4, "y": 8}
    if across:
        at = {"align": "left", "x": 4, "dy": -6}
    elif before:
        at |= {"align": "right", "dx": -4}
    return {
        "data": {"values": [{"text": text}]},
        "layer": [
            {"mark": {"type": "rule", "strokeDash": [5, 4], "color": "var(--ink)"}},
            {
                "mark": {"type": "text", "color": "var(--ink)", **at},
                "encoding": {"text": {"field": "text"}},
            },
        ],
        "encoding": place,
    }


def _names(names: Sequence[str]) -> Spec:
    """Return the encoding of names below each other, in their order."""
    own = {"labelColor": "var(--ink)", "grid": False, "ticks": False, "labelLimit": 190}
    return {"field": "name", "type": "nominal", "sort": list(names), "title": None, "axis": own}


def ranges(
    values: Sequence[Row], names: Sequence[str], x: Spec, rules: Sequence[Spec] = ()
) -> Spec:
    """Return a dot with its interval for each name; a row with ``marked`` is drawn filled."""
    y = _names(names)
    title = x["axis"]["title"]
    shown = tooltip(
        ("name", "", ""), ("x", title, ".4~g"), ("low", "from", ".4~g"), ("high", "to", ".4~g")
    )
    span = {**x, "field": "low"}
    dot = {"condition": {"test": "datum.marked", "value": "var(--accent)"}, "value": "var(--panel)"}
    return spec(
        values,
        stacked(len(names), 34),
        layer=[
            *rules,
            {
                "mark": {"type": "rule", "strokeWidth": 2, "color": "var(--accent)"},
                "encoding": {"y": y, "x": span, "x2": {"field": "high"}, "tooltip": shown},
            },
            {
                "mark": {"type": "point", "size": 90, "filled": True, "stroke": "var(--accent)",
                         "strokeWidth": 2, "opacity": 1},
                "encoding": {"y": y, "x": x, "fill": dot, "tooltip": shown},
            },
        ],
    )  # fmt: skip


def stacked(count: int, step: int) -> int:
    """Return the height of a chart with so many names below each other, and an axis."""
    return count * step + 45


def bars(values: Sequence[Row], x: Spec) -> Spec:
    """Return a horizontal bar for each name, in the order of the rows."""
    names = [row["name"] for row in values]
    y = _names(names)
    shown = tooltip(("name", "", ""), ("x", x["axis"]["title"], ".4~g"))
    return spec(
        values,
        stacked(len(names), 20),
        mark={"type": "bar", "height": {"band": 0.7}},
        encoding={"y": y, "x": x, "tooltip": shown},
    )
