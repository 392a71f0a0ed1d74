"""The report of a problem: one self-contained HTML file, built from what the stages wrote.

Nothing is fitted or scored again. What the registry knows of the models is handed in.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lockstep.config.params import Source
from lockstep.evaluation.paired_comparison import Difference
from lockstep.problems.words import class_words, decision_words
from lockstep.reports import look
from lockstep.reports import report_charts as charts
from lockstep.reports.report_figures import figures_of, slider_of
from lockstep.reports.report_files import ReportFiles, TypeFiles, records
from lockstep.reports.report_rows import slice_rows, target_by_time

PARTS = {"train": "training", "stop": "early stopping", "choose": "selection", "test": "test"}
"""The parts of a split as the page names them."""
MOST_MISSING = 12
MOST_MOVES = 50


@dataclass(frozen=True)
class VersionFacts:
    """What a model's version is made of, as the registry recorded it."""

    type: str
    name: str
    version: int
    stage: str
    made_of: Mapping[str, str]


@dataclass(frozen=True)
class Move:
    """One event of a registered model: what changed, who did it, and why."""

    time: str
    name: str
    action: str
    what: str
    actor: str
    reason: str
    outcome: str


@dataclass(frozen=True)
class Registered:
    """What the registry says of the workspace's models; ``note`` says why it says nothing."""

    versions: Sequence[VersionFacts] = ()
    moves: Sequence[Move] = ()
    note: str = ""


@dataclass(frozen=True)
class Headline:
    """The page's first line: the champion and its metric on the test rows, with the interval."""

    champion: str
    metric: str
    value: float
    low: float
    high: float
    rows: int
    reachable: float | None = field(default=None)


def report(files: ReportFiles, registered: Registered) -> str:
    """Return the page."""
    facts = {
        "title": files.schema.title,
        "files": files,
        "schema": files.schema,
        "target": files.schema.columns[files.schema.target],
        "shown": files.shown,
        "headline": _headline(files),
        "metric_name": metric_name(files.metric),
        "registered": registered,
        "moves": list(registered.moves)[:MOST_MOVES],
        **_data_section(files),
        **_comparison_section(files),
        **_model_section(files),
        "figures": figures_of(files),
        "slider": slider_of(files),
        "words": decision_words(files.schema),
        "classes": class_words(files.schema),
    }
    return look.render("reports/report.html", facts)


def metric_name(metric: str) -> str:
    """Return a metric's name for people."""
    return look.FILTERS["metric_name"](metric)


def _headline(files: ReportFiles) -> Headline | None:
    if files.comparison is None or files.champion is None:
        return None
    table, metric = files.comparison, files.metric
    row = next(one for one in records(table) if one["type"] == files.champion.name)
    ends = float(row[f"{metric}_low"]), float(row[f"{metric}_high"])
    own = (files.champion.name, metric_name(metric), float(row[metric]), *ends, int(row["rows"]))
    return Headline(*own, files.reachable.get("test"))


# ---------------------------------------------------------------- the data


def _data_section(files: ReportFiles) -> dict[str, Any]:
    length, periods = target_by_time(files)
    task = files.schema.task
    title = {"binary": "share of positives", "multiclass": "share of the class"}.get(task, "mean")
    chart = charts.target_chart(periods, title, task != "regression") if len(periods) > 1 else None
    missing, known = files.quality.get("missing", {}), set(files.schema.feature_names)
    own = ((name, count) for name, count in missing.items() if name in known)
    ordered = sorted(own, key=lambda item: (-item[1], item[0]))
    rows, most = files.quality.get("rows", {}), ordered[:MOST_MISSING]
    return {
        "source": source_text(files.section.source),
        "rows": rows,
        "dropped": files.quality.get("dropped", {}),
        "missing": [(n, count, count / max(rows.get("out", 0), 1)) for n, count in most],
        "missing_more": max(len(ordered) - MOST_MISSING, 0),
        "parts": [(PARTS[name], files.parts[name]) for name in PARTS if name in files.parts],
        "dated": "from" in files.parts.get("test", {}),
        "target_chart": chart,
        "target_title": f"{title} by {length}",
    }


def source_text(source: Source) -> str:
    """Return in words where a problem's raw data come from."""
    if source.kind == "sample":
        sample = source.sample
        return f"embedded sample generator: {sample.units:,} units, seed {sample.seed}"
    if source.kind == "download":
        years = ", ".join(map(str, source.download.years))
        return f"the publisher's files, downloaded: {years}"
    what = "raw files" if source.kind == "files" else "a prepared table"
    return f"{what} of your own, in {source.external}"


# ---------------------------------------------------------------- the types side by side


def _comparison_section(files: ReportFiles) -> dict[str, Any]:
    table, label = files.comparison, metric_name(files.metric)
    if table is None or files.champion is None:
        return {"comparison": [], "metrics": [], "metric_chart": None, "difference_chart": None}
    tested = list(files.champion.metrics.get("test", {}))
    rows = [
        {
            "name": row["type"],
            "champion": row["type"] == files.champion.name,
            "verdict": _verdict(files, row),
            "difference": (row["difference"], row["difference_low"], row["difference_high"]),
            "validation": row.get(f"validation_{files.metric}"),
            "values": [(row[m], row.get(f"{m}_low"), row.get(f"{m}_high")) for m in tested],
        }
        for row in records(table)
    ]
    gaps = f"{label}, difference to the champion"
    return {
        "comparison": rows,
        "metrics": [metric_name(m) for m in tested],
        "metric_chart": charts.metric_chart(files, f"{label}, test rows"),
        "difference_chart": charts.difference_chart(files, gaps) if len(rows) > 1 else None,
    }


def _verdict(files: ReportFiles, row: Mapping[str, Any]) -> str:
    """Return in words how a type compares with the champion on the test rows."""
    if files.champion is not None and row["type"] == files.champion.name:
        return "champion"
    low, high = float(row["difference_low"]), float(row["difference_high"])
    if not (math.isfinite(low) and math.isfinite(high)):
        return "not known"
    rows, gap = int(row["rows"]), float(row["difference"])
    found = Difference(files.metric, gap, 0.0, low, high, rows, rows)
    return found.verdict if found.wins or found.loses else "tie"


# ---------------------------------------------------------------- the model


def _model_section(files: ReportFiles) -> dict[str, Any]:
    shown, slices = files.shown, slice_rows(files)
    folds = [(one.name, _folds(one, files.metric)) for one in files.types]
    return {
        "importance_chart": charts.importance_chart(shown) if "importance" in shown.plots else None,
        "effects": charts.effect_charts(shown, _effect_title(files)),
        "descriptions": _descriptions(files),
        "slices": slices,
        "slice_target": {"binary": "positives", "regression": "mean target"}.get(
            files.schema.task, ""
        ),
        "slice_columns": list(dict.fromkeys(one.column for one in slices)),
        "overall": shown.metrics.get("test", {}).get(files.metric),
        "histories": charts.history_charts(files),
        "folds": [one for one in folds if one[1] is not None],
        "trained": [(one, _made_of(one)) for one in files.types if one.card],
    }


def _descriptions(files: ReportFiles) -> dict[str, str]:
    """Return what the columns that a model sees mean, by name, where the schema says it."""
    columns = {name: one.description for name, one in files.schema.columns.items()}
    derived = {one.name: one.description for one in files.schema.derived}
    return {name: text for name, text in (columns | derived).items() if text not in ("", name)}


def _effect_title(files: ReportFiles) -> str:
    names = {"binary": "mean score", "regression": "mean prediction"}
    return names.get(files.schema.task, "mean probability")


def _folds(one: TypeFiles, metric: str) -> tuple[float, float, int] | None:
    """Return a metric's mean and standard deviation over the folds, and their number."""
    table = one.plots.get("folds")
    if table is None or metric not in table:
        return None
    spread = float(table[metric].std()) if len(table) > 1 else math.nan
    return float(table[metric].mean()), spread, len(table)


def _made_of(one: TypeFiles) -> dict[str, Any]:
    """Return what a training's card says of the model, for people."""
    card = one.card
    plain = {
        "model digest": card.get("model_digest"),
        "schema digest": card.get("schema_digest"),
        "seed": card.get("seed"),
        "calibration": card.get("calibration"),
        "score scale": card.get("score_scale"),
        "threshold": card.get("threshold"),
        "best iteration": card.get("best_iteration"),
        "training rows": card.get("rows", {}).get("train"),
    }
    return {key: value for key, value in plain.items() if value is not None}
