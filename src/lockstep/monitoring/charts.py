"""The drawings of the monitoring page: inline SVG, without scripts.

The reference is a grey area or a dashed line, the newest month a solid blue one: both the tone and
the shape tell them apart, in print and for readers who see few colours.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape

import numpy as np
from numpy.typing import NDArray

from lockstep.monitoring.calibration import Calibration, Reliability
from lockstep.monitoring.histograms import Outline, Values
from lockstep.monitoring.performance import Estimate, share

_WIDTH, _HEIGHT, _MARGIN = 720, 180, 34
_SMALL, _LOW, _TOP = 320, 130, 16
_LABELS, _BARS, _ROW = 112, 118, 19
_SIDE = 300
_LONGEST = 17
FEWEST = 10
"""A point of the reliability plot needs so many rows."""


def svg(width: int, height: int, label: str, parts: Sequence[str]) -> str:
    """Return a drawing with its text for those who can't see it."""
    head = f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(label)}">'
    return f"{head}{''.join(parts)}</svg>"


def _text(x: float, y: float, text: str, anchor: str = "start") -> str:
    return f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}">{escape(text)}</text>'


def _titled(x: float, y: float, width: float, height: float, text: str) -> str:
    """Return an invisible area with a text that shows under the pointer."""
    at = f'x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}"'
    return f'<rect class="hit" {at}><title>{escape(text)}</title></rect>'


def _points(pairs: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in pairs)


def percent(value: float) -> str:
    """Return a share for people."""
    return f"{value:.1%}" if value < 0.1 else f"{value:.0%}"


# ---------------------------------------------------------------- a metric over time


def weeks_chart(
    days: Sequence[str], points: Sequence[tuple[int, Estimate]], known: float, label: str
) -> str:
    """Return a metric by week with its interval; ``points`` have the place of their day."""
    lows = [*(one.interval[0] for _, one in points), known]
    highs = [*(one.interval[1] for _, one in points), known]
    low, high = min(lows), max(highs)
    span = (high - low) or 1.0
    step = (_WIDTH - 2 * _MARGIN) / max(len(days) - 1, 1)

    def place(number: int, value: float) -> tuple[float, float]:
        y = _HEIGHT - _MARGIN + (value - low) / span * (2 * _MARGIN - _HEIGHT)
        return _MARGIN + number * step, y

    band = [place(n, one.interval[1]) for n, one in points]
    band += [place(n, one.interval[0]) for n, one in reversed(points)]
    line = [place(n, one.value) for n, one in points]
    ends = [place(0, known), place(len(days) - 1, known)]
    parts = [
        f'<polygon class="band" points="{_points(band)}"/>',
        f'<polyline class="line" points="{_points(line)}"/>',
        f'<polyline class="known" points="{_points(ends)}"/>',
        _text(0, _MARGIN - 8, f"{high:.3f}"),
        _text(0, _HEIGHT - _MARGIN - 4, f"{low:.3f}"),
        _text(_MARGIN, _HEIGHT - 8, days[0]),
        _text(_WIDTH - _MARGIN, _HEIGHT - 8, days[-1], "end"),
    ]
    drawn = svg(_WIDTH, _HEIGHT, label, parts)
    return f'<figure class="wide">{drawn}<figcaption>{escape(label)}</figcaption></figure>'


# ---------------------------------------------------------------- distributions


def distribution(name: str, about: str, shown: Outline | Values) -> str:
    """Return the distribution of a feature in the reference and in the newest month."""
    label = f"{name}: {about}"
    drawn = _outline(shown, label) if isinstance(shown, Outline) else _values(shown, label)
    caption = f'<b>{escape(name)}</b> <span class="quiet">{escape(about)}</span>'
    return f"<figure><figcaption>{caption}</figcaption>{drawn}</figure>"


def _outline(shown: Outline, label: str) -> str:
    edges = shown.edges
    most = float(max(shown.reference.max(), shown.own.max())) or 1.0
    xs = (edges - edges[0]) / (edges[-1] - edges[0]) * _SMALL

    def stairs(heights: NDArray[np.float64]) -> str:
        ys = _LOW - heights / most * (_LOW - _TOP)
        steps = [p for n, y in enumerate(ys) for p in ((xs[n], y), (xs[n + 1], y))]
        return _points([(0, _LOW), *steps, (_SMALL, _LOW)])

    hits = [
        _titled(xs[n], _TOP, xs[n + 1] - xs[n], _LOW - _TOP, f"{_range(edges, n)}: {_pair(a, b)}")
        for n, (a, b) in enumerate(zip(shown.reference, shown.own, strict=True))
        if a or b
    ]
    parts = [
        f'<polygon class="ref" points="{stairs(shown.reference)}"/>',
        f'<polyline class="line" points="{stairs(shown.own)}"/>',
        f'<path class="axis" d="M0 {_LOW}H{_SMALL}"/>',
        _text(0, _TOP - 5, percent(most)),
        _text(0, _LOW + 15, f"{edges[0]:g}"),
        _text(_SMALL, _LOW + 15, f"{edges[-1]:g}", "end"),
        *hits,
    ]
    return svg(_SMALL, _LOW + 20, label, parts)


def _range(edges: NDArray[np.float64], number: int) -> str:
    return f"{edges[number]:g} to {edges[number + 1]:g}"


def _pair(reference: float, own: float) -> str:
    return f"{percent(reference)} → {percent(own)}"


def _values(shown: Values, label: str) -> str:
    most = max(shown.largest, 1e-9)
    parts = []
    for n, (text, a, b) in enumerate(zip(shown.labels, shown.reference, shown.own, strict=True)):
        y, pair = n * _ROW, _pair(a, b)
        parts += [
            _text(0, y + 13, text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"),
            # All other values together may be far more than any of those that are listed.
            *(
                [_bar("ref", y + 2, a / most), _bar("own", y + 9, b / most)]
                if a <= most >= b
                else []
            ),
            _text(_SMALL, y + 13, pair, "end"),
            _titled(0, y, _SMALL, _ROW, f"{text}: {pair}"),
        ]
    return svg(_SMALL, max(len(shown.labels), 1) * _ROW + 2, label, parts)


def _bar(kind: str, y: float, part: float) -> str:
    width = max(part * _BARS, 0.5 if part else 0.0)
    return f'<rect class="{kind}" x="{_LABELS}" y="{y:.0f}" width="{width:.1f}" height="7"/>'


# ---------------------------------------------------------------- reliability


def reliability_plot(both: Calibration, label: str) -> str:
    """Return the observed share against the probability, by bin, of the month and the reference."""
    sides = [("ref", both.reference), ("own", both.own)]
    found = {kind: _observed(side) for kind, side in sides}
    top = _limit([n for points in found.values() for x, y, _, high in points for n in (x, y, high)])

    def place(x: float, y: float) -> tuple[float, float]:
        return 34 + x / top * (_SIDE - 44), _SIDE - 34 - y / top * (_SIDE - 44)

    parts = [
        f'<polyline class="axis" points="{_points([place(0, top), place(0, 0), place(top, 0)])}"/>'
    ]
    parts.append(f'<polyline class="even" points="{_points([place(0, 0), place(top, top)])}"/>')
    for kind, points in found.items():
        parts += _curve(kind, points, place)
    parts += [
        _text(0, 14, percent(top)),
        _text(0, _SIDE - 34, "0%"),
        _text(34, _SIDE - 18, "0"),
        _text(_SIDE - 8, _SIDE - 18, f"{top:g}", "end"),
        _text(_SIDE / 2 + 12, _SIDE - 4, "probability", "middle"),
    ]
    drawn = svg(_SIDE, _SIDE, label, parts)
    return f"<figure>{drawn}<figcaption>{escape(label)}</figcaption></figure>"


def _observed(side: Reliability) -> list[tuple[float, float, float, float]]:
    """Return probability, share of hits and its interval of each bin with enough rows."""
    found = []
    for chance, rows, hits in zip(side.chance, side.bins, side.hits, strict=True):
        if rows >= FEWEST:
            one = share(float(hits), float(rows))
            low, high = one.interval
            found.append((float(chance), one.value, max(low, 0.0), min(high, 1.0)))
    return found


def _curve(
    kind: str,
    points: Sequence[tuple[float, float, float, float]],
    place: Callable[[float, float], tuple[float, float]],
) -> list[str]:
    """Return a line through all points, each with a mark; the month's have intervals."""
    line = {"ref": "known", "own": "line"}[kind]
    parts = [f'<polyline class="{line}" points="{_points([place(x, y) for x, y, *_ in points])}"/>']
    for x, y, low, high in points:
        (left, at), (_, bottom), (_, above) = place(x, y), place(x, low), place(x, high)
        text = f"<title>{escape(f'probability {x:.3f}: {percent(y)} observed')}</title>"
        if kind == "own":
            parts.append(f'<path class="line" d="M{left:.1f} {bottom:.1f}V{above:.1f}"/>')
            parts.append(f'<circle class="own" cx="{left:.1f}" cy="{at:.1f}" r="4">{text}</circle>')
        else:
            box = f'x="{left - 4:.1f}" y="{at - 4:.1f}" width="8" height="8"'
            parts.append(f'<rect class="mark" {box}>{text}</rect>')
    return parts


def _limit(values: Sequence[float]) -> float:
    return min(1.0, float(np.ceil(max(values, default=1.0) * 10) / 10) or 0.1)
