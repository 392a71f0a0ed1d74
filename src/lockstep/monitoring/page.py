"""The monitoring page: one self-contained HTML file, in the look of the project's other pages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup

from lockstep.monitoring import calibration
from lockstep.monitoring.alarms import ALARM
from lockstep.monitoring.analysis import Analysis, Month
from lockstep.monitoring.charts import FEWEST, distribution, reliability_plot, weeks_chart
from lockstep.monitoring.drift import LEFT_OUT, FeatureDrift
from lockstep.monitoring.histograms import histogram
from lockstep.monitoring.performance import Estimate
from lockstep.monitoring.proposal import Proposal
from lockstep.reports import look

_MOST_WEEKS = 400
_MOST_FOLDED = 150
SCORE = "\0score"
"""The place of the scores among the features, whose names hold no such sign."""

Codes = Mapping[str, Mapping[Any, str]]
"""The meaning of each code, by feature."""


@dataclass(frozen=True)
class PageFacts:
    """What the page says besides the analysis.

    ``words`` are what each decision is called, ``codes`` what the values of features mean,
    ``commands`` those of the proposal. ``shadow`` are the lines about the challenger, and the
    slices in which it decides differently.
    """

    title: str
    about: str
    labels: str
    words: Sequence[str]
    codes: Codes
    notes: Sequence[str] = ()
    proposal: Proposal | None = None
    commands: Sequence[str] = ()
    shadow: tuple[Sequence[str], pd.DataFrame] | None = None


def page(found: Analysis, facts: PageFacts) -> str:
    """Return the page."""
    made = {
        "state": _state(found),
        "actions": _actions(facts.proposal, facts.commands),
        "shadow": _shadow(facts.shadow),
        "chart_of_weeks": _chart(found),
        "calibration": _calibration(found),
        "distributions": _distributions(found, facts.codes),
        "months": _months(found, facts.words),
        "judged": escape(found.judged.name),
        "features": _features(found.judged),
        "notes": _notes(facts.notes),
    }
    texts = {"title": facts.title, "about": facts.about, "labels": facts.labels}
    html = {name: Markup(text) for name, text in made.items()}
    return look.render("monitoring/page.html", texts | html)


def _state(found: Analysis) -> str:
    if not found.findings:
        return '<p class="big good">No alarm</p>'
    head = "Alarm" if found.alarms else "No alarm, but a warning"
    kind = "bad" if found.alarms else "up"
    lines = "".join(
        f'<li class="{"bad" if one.level == ALARM else "up"}"><b>{one.level}: {one.rule}.</b> '
        f"{escape(one.message)}.</li>"
        for one in found.findings
    )
    return f'<p class="big {kind}">{head}</p><ul>{lines}</ul>'


def _notes(lines: Sequence[str]) -> str:
    if not lines:
        return ""
    items = "".join(f"<li>{escape(one)}</li>" for one in lines)
    return f'<section class="panel"><h2>What the log holds besides</h2><ul>{items}</ul></section>'


def _actions(proposal: Proposal | None, commands: Sequence[str]) -> str:
    if proposal is None:
        return ""
    lines = "".join(f"<pre>{escape(one)}</pre>" for one in commands)
    head = f"<h2>What to do next: {proposal.action}</h2><p>{escape(proposal.why)}</p>"
    return f'<section class="panel">{head}{lines}</section>'


def _shadow(shadow: tuple[Sequence[str], pd.DataFrame] | None) -> str:
    if shadow is None:
        return ""
    lines, slices = shadow
    text = "".join(f"<p>{escape(line)}</p>" for line in lines)
    rows = "".join(
        _row(row["slice"], [f"{row['rows']:,}", f"{row['changed']:.1%}"])
        for row in slices.to_dict("records")
    )
    titles = '<tr><th>slice</th><th class="number">rows</th><th class="number">changed</th></tr>'
    table = (
        f"<div {look.scrolls('Changed decisions by slice')}><table>{titles}{rows}</table></div>"
        if rows
        else ""
    )
    return f'<section class="panel"><h2>The challenger in the shadow</h2>{text}{table}</section>'


def _decisions(found: Analysis) -> int:
    """Return how many decisions have a column: a person's only if there are any."""
    if found.reference.task != "binary":
        return 0
    return 3 if found.whole.scores[2].any() else 2


def _months(found: Analysis, words: Sequence[str]) -> str:
    names = list(dict.fromkeys(n for m in found.months for n in m.performance.figures))
    shares = words[: _decisions(found)]
    titles = ["month", "rows", "labels", *names, *shares, "changed features"]
    head = "".join(f"<th{_right(n, 1)}>{escape(t)}</th>" for n, t in enumerate(titles))
    reference = _reference_row(found, names, len(shares))
    rows = "".join(_month_row(month, names, len(shares)) for month in found.months)
    return f"<div {look.scrolls('Months')}><table><tr>{head}</tr>{rows}{reference}</table></div>"


def _right(number: int, first: int) -> str:
    return ' class="number"' if number >= first else ""


def _month_row(month: Month, names: Sequence[str], shares: int) -> str:
    own = month.performance
    cells = [f"{month.window.rows:,}", f"{own.labelled:,}"]
    cells += [_estimate(own.figures.get(name)) for name in names]
    cells += [_share(one) for one in month.decisions[:shares]]
    return _row(month.name, [*cells, escape(", ".join(month.warning)) or "none"])


def _reference_row(found: Analysis, names: Sequence[str], shares: int) -> str:
    newest = reversed(found.months)  # its calibration error is at the newest month's labels
    known = next((m.performance.reference for m in newest if m.performance.reference), {})
    cells = [f"{found.reference.rows['scored']:,}", ""]
    cells += [_estimate(known.get(name)) for name in names]
    cells += [_share(one) for one in found.expected[:shares]] + [""] * (
        shares - len(found.expected)
    )
    return _row("reference", [*cells, ""], "quiet")


def _row(name: str, cells: Sequence[str], kind: str = "") -> str:
    shown = "".join(f'<td class="number">{cell}</td>' for cell in cells)
    return f'<tr class="{kind}"><td>{escape(name)}</td>{shown}</tr>'


def _estimate(one: Estimate | None) -> str:
    if one is None or not np.isfinite(one.value):
        return "–"
    if not one.known:
        return f"{one.value:.4g}"
    low, high = one.interval
    return f'{one.value:.3f} <span class="quiet">{low:.3f} to {high:.3f}</span>'


def _share(one: Estimate) -> str:
    return f"{one.value:.1%}" if np.isfinite(one.value) else "–"


# ---------------------------------------------------------------- features


def _features(month: Month) -> str:
    titles = (
        "feature", "verdict", "compared with", "index", "limit", "gap", "moved by", "missing",
        "not in the reference",
    )  # fmt: skip
    head = "".join(f"<th{_right(n, 3)}>{t}</th>" for n, t in enumerate(titles))
    rows = "".join(_feature_row(one) for one in (month.score, *month.features))
    return f"<div {look.scrolls('Features')}><table><tr>{head}</tr>{rows}</table></div>"


def _feature_row(one: FeatureDrift) -> str:
    kind = "up" if one.warns else ""
    name = f"<td><b>{escape(one.name)}</b></td>" if one.warns else f"<td>{escape(one.name)}</td>"
    verdict = one.why if one.why and one.verdict == LEFT_OUT else one.verdict
    numbers = [
        _number(one.index),
        _number(one.limit),
        _number(one.gap),
        f"{one.moved:.2f} sd" if np.isfinite(one.moved) else "–",
        _change(one.missing),
        escape(_new(one)),
    ]
    cells = "".join(f'<td class="number">{cell}</td>' for cell in numbers)
    against = f'<td class="whole">{escape(one.against or "–")}</td>'
    return f'<tr>{name}<td class="{kind}">{escape(verdict)}</td>{against}{cells}</tr>'


def _number(value: float) -> str:
    return f"{value:.3f}" if np.isfinite(value) else "–"


def _change(pair: tuple[float, float]) -> str:
    return f"{pair[0]:.1%} → {pair[1]:.1%}" if any(pair) else "–"


def _new(one: FeatureDrift, most: int = 3) -> str:
    named = [f"{value:g}" if isinstance(value, float) else str(value) for value in one.new]
    shown = [
        f"{name} ({many:,})" for name, many in zip(named[:most], one.new.values(), strict=False)
    ]
    more = f" and {len(named) - most} more" if len(named) > most else ""
    return ", ".join(shown) + more or _change(one.other)


# ---------------------------------------------------------------- drawings


def _chart(found: Analysis) -> str:
    """Return the chart of the metric that alarms look at, by rolling week."""
    weeks = found.rolling[-_MOST_WEEKS:]
    metric = found.metric
    points = [(n, p.figures[metric]) for n, (_, p) in enumerate(weeks) if metric in p.figures]
    if len(points) < 2:
        return f"<p>No week has enough labels for {metric} yet.</p>"
    known = next(p.reference[metric] for _, p in weeks if metric in p.reference).value
    label = f"{metric} of each week, with 95 % interval; dashed: the reference, {known:.3f}"
    return weeks_chart([day for day, _ in weeks], points, known, label)


def _calibration(found: Analysis) -> str:
    """Return the section about calibration: of the newest month with enough labels."""
    newest = next((m for m in reversed(found.months) if m.performance.calibration), None)
    if newest is None or newest.performance.calibration is None:
        return ""
    own, there = (
        _estimate(side[calibration.NAME])
        for side in (newest.performance.figures, newest.performance.reference)
    )
    seen = "positives" if found.reference.task == "binary" else "right answers"
    label = (
        f"Observed share of {seen} by probability: {newest.name} solid with 95 % intervals, the "
        f"reference dashed. Bins of under {FEWEST} rows are left out."
    )
    rows = newest.performance.calibration.rows
    return (
        f'<section class="panel"><h2>Calibration</h2><p>Calibration error of {newest.name}: {own}; '
        f'of the reference: {there}.</p><p class="quiet">Both at {rows:,} labels, as fewer labels '
        "give a larger error by chance. Class weights are removed from scores.</p>"
        f'<div class="plot">{reliability_plot(newest.performance.calibration, label)}</div>'
        "</section>"
    )


def _distributions(found: Analysis, codes: Codes) -> str:
    """Return the distributions of the score and of changed features, and the others folded in."""
    newest = found.judged
    counts = newest.window.features | {SCORE: newest.window.scores.sum(axis=0)}
    bins = {name: one.bins for name, one in found.reference.features.items()}
    bins[SCORE] = found.reference.score_bins

    def drawn(one: FeatureDrift, name: str) -> str:
        assert one.known is not None
        words = codes.get(name, {})
        shown = histogram(bins[name], one.known, counts[name], lambda v: _value(v, words))
        return distribution(one.name, _about(one), shown)

    first = [drawn(newest.score, SCORE), *(drawn(f, f.name) for f in newest.features if f.warns)]
    others = [one for one in newest.features if not one.warns]
    folded = "".join(drawn(one, one.name) for one in others[:_MOST_FOLDED])
    left = f"; the first {_MOST_FOLDED} are drawn" if len(others) > _MOST_FOLDED else ""
    return (
        f'<p class="quiet"><span class="key ref"></span> the reference '
        f'<span class="key own"></span> {newest.name}</p>'
        f'<div class="charts">{"".join(first)}</div><details><summary>'
        f"The other features ({len(others)}{left})</summary>"
        f'<div class="charts">{folded}</div></details>'
    )


def _about(one: FeatureDrift) -> str:
    index = f"index {one.index:.3f}" if np.isfinite(one.index) else one.verdict
    missing = f", missing {_change(one.missing)}" if any(one.missing) else ""
    against = f", compared with {one.against}" if one.against else ""
    return f"{index}{against}{missing}"


def _value(value: float | str, words: Mapping[float | str, str]) -> str:
    shown = f"{value:g}" if isinstance(value, float) else str(value)
    return f"{shown} {words[value]}" if words.get(value) else shown
