"""The one look of all pages: templates, style, and charts by Vega-Lite.

Vega's scripts are in the package (``vega.js``, written by `make chart-script`), so that a page
fetches nothing. Colours are CSS variables, also inside charts: dark mode needs no second drawing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

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
    }
    return made


@cache
def _text(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")


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


def chart_scripts() -> Markup:
    """Return the scripts that draw the charts of a page, once, after its content."""
    parts = (_text("vega.js"), _text("charts.js"))
    return Markup("".join(f"<script>\n{part}\n</script>\n" for part in parts))
