"""The one look of all pages: templates, style, and charts by Vega-Lite.

Vega's scripts are in the package (``vega.js``, written by `make chart-script`), so that a page
fetches nothing. Colours are CSS variables, also inside charts: dark mode needs no second drawing.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from lockstep.console import difference_text, number_text

METRICS = {
    "roc_auc": "ROC AUC", "average_precision": "average precision", "f1": "F1", "ks": "KS",
    "log_loss": "log loss", "brier": "Brier score", "calibration_error": "calibration error",
    "rmse": "RMSE", "mae": "MAE", "r2": "R²", "macro_f1": "macro F1",
    "macro_roc_auc": "macro ROC AUC", "balanced_accuracy": "balanced accuracy",
}  # fmt: skip
"""What metrics are called on pages."""
HERE = Path(__file__).parent
ROOM = HERE.parents[1]


@cache
def _environment() -> Environment:
    """Return the templates of the package, named by their place in it; all values are escaped."""
    made = Environment(
        loader=FileSystemLoader(ROOM),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals |= {
        "style": Markup(_text("style.css")),
        "chart": chart,
        "as_json": as_json,
        "chart_scripts": chart_scripts,
        "scrolls": scrolls,
        "script": lambda place: Markup((ROOM / place).read_text(encoding="utf-8")),
    }
    made.filters |= FILTERS
    return made


@cache
def _text(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")


def known(value: float | None) -> bool:
    """Tell whether a number is there and finite."""
    return value is not None and math.isfinite(value)


def figure(value: float | None) -> str:
    """Return a number for people: four digits, large ones with commas; a dash for none."""
    if value is None or not math.isfinite(value):
        return "–"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return number_text(value) if abs(value) < 10 else f"{value:.2f}"


def signed(value: float) -> str:
    """Return a difference for people."""
    return difference_text(value) if known(value) else "–"


FILTERS = {
    "known": known,
    "figure": figure,
    "signed": signed,
    "count": lambda value: f"{value:,}",
    "share": lambda value: f"{value:.1%}" if known(value) else "–",
    "metric_name": lambda name: METRICS.get(name, name.replace("_", " ")),
}
"""What templates show numbers by."""


def render(template: str, facts: Mapping[str, Any]) -> str:
    """Return a page by a template of the package, as ``reports/report.html``."""
    return _environment().get_template(template).render(facts)


def as_json(value: Any) -> Markup:
    """Return a value as JSON that may stand inside a script element, whatever its texts hold."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return Markup(text)


def chart(name: str, spec: Mapping[str, Any], label: str, caption: str = "") -> Markup:
    """Return a figure that ``charts.js`` draws; ``label`` says it to those who can't see it."""
    figure = (
        '<figure class="chart" id="chart-{}"><div role="img" aria-label="{}"></div>'
        '<script type="application/json">{}</script>{}</figure>'
    )
    below = Markup("<figcaption>{}</figcaption>").format(caption) if caption else ""
    return Markup(figure).format(name, label, as_json(spec), below)


def scrolls(label: str) -> Markup:
    """Return the attributes of an element that scrolls sideways, also by keyboard."""
    return Markup('class="scroll" tabindex="0" role="region" aria-label="{}"').format(label)


def chart_scripts() -> Markup:
    """Return the scripts that draw the charts of a page, once, after its content."""
    parts = (_text("vega.js"), _text("charts.js"))
    return Markup("".join(f"<script>\n{part}\n</script>\n" for part in parts))
