"""The files that the stages wrote about one problem, as the report reads them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from lockstep.config.layout import ProblemLayout
from lockstep.config.params import Problem, load_params
from lockstep.dvc.lineage import stage_target
from lockstep.errors import DataError
from lockstep.io import read_json, read_parquet
from lockstep.models.type_metrics import read_type_metrics, type_metrics_file
from lockstep.problems.schema import Schema, load_schema

REACHABLE = ("roc_auc", "rmse")
"""The metrics whose best reachable value the generator's truth gives."""
_SAME = 1e-5
"""The relative difference that metrics with six digits may have."""
MOST_CLASSES = 10
"""Classes that plots have a line for."""
TEXTS = {"confusion_matrix": ("actual", "predicted"), "effects": ("feature", "value", "class")}
"""The columns of text of some tables; of others ``class``."""


@dataclass(frozen=True)
class TypeFiles:
    """What one model type's training wrote; ``card`` is empty without the models."""

    name: str
    card: dict[str, Any]
    metrics: dict[str, Any]
    plots: dict[str, pd.DataFrame]

    @property
    def threshold(self) -> float | None:
        """The threshold that its decisions were evaluated with."""
        return self.metrics.get("threshold")


@dataclass(frozen=True)
class ReportFiles:
    """Everything that the report is built from; ``missing`` says what is not there, with the fix.

    ``comparison`` is None where it is missing or of other trainings than ``types``.
    """

    layout: ProblemLayout
    schema: Schema
    section: Problem
    types: tuple[TypeFiles, ...]
    comparison: pd.DataFrame | None
    champion_file: dict[str, Any]
    quality: dict[str, Any]
    parts: dict[str, Any]
    missing: tuple[str, ...]

    @property
    def metric(self) -> str:
        """The metric that the types are compared by."""
        return self.section.compare.metric

    @cached_property
    def champion(self) -> TypeFiles | None:
        """The champion's files; None while the types are not compared."""
        known = self.champion_file.get("type") if self.comparison is not None else None
        return next((one for one in self.types if one.name == known), None)

    @property
    def shown(self) -> TypeFiles:
        """The type whose own figures are shown: the champion, or the first that is trained."""
        return self.champion or self.types[0]

    @property
    def reachable(self) -> dict[str, float]:
        """The best reachable value of the metric by part, where the generator's truth is known."""
        if self.metric not in REACHABLE:
            return {}
        return dict(self.champion_file.get("best_reachable") or {}) if self.champion else {}

    @property
    def classes(self) -> list[str]:
        """The labels of several classes in the order of the model's scores; else none."""
        return [str(label) for label in self.shown.card.get("classes", [])]

    @cached_property
    def has_rows(self) -> bool:
        """Whether this workspace has the tidy table that the stages' figures are about."""
        if not (self.layout.tidy.is_file() and self.layout.label_encoder.is_file()):
            return False
        try:
            rows = len(read_parquet(self.layout.tidy, [self.schema.target]))
            return bool(rows == self.quality["rows"]["out"])
        except (DataError, KeyError):
            return False


def read_report_files(root: Path, problem: str) -> ReportFiles:
    """Read a problem's files; DataError with the fix if no model type is trained."""
    layout, section = ProblemLayout(root, problem), load_params(root).problem(problem)
    found = [_read_type(layout, name) for name in section.model_types]
    types = tuple(one for one in found if one is not None)
    if not types:
        fix = f"make some with `make run-train PROBLEM={problem}`"
        raise DataError(f"{problem} has no metrics yet; {fix}")
    lacking = [n for n, one in zip(section.model_types, found, strict=True) if one is None]
    notes = [f"{n} is not trained: run `dvc repro {stage_target(problem, n)}`" for n in lacking]
    comparison, fault = _read_comparison(layout, types)
    return ReportFiles(
        layout=layout,
        schema=load_schema(problem),
        section=section,
        types=types,
        comparison=comparison,
        champion_file=_json_or_none(layout.champion),
        quality=_json_or_none(layout.data_quality),
        parts=_json_or_none(layout.features_summary),
        missing=(*notes, *([fault] if fault else [])),
    )


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows of a table as plain values by column."""
    return [{str(name): value for name, value in row.items()} for row in table.to_dict("records")]


def read_points(path: Path) -> pd.DataFrame:
    """Read the table of a plot; class labels and categories stay text, also None and NA."""
    texts = TEXTS.get(path.stem, ("class",))
    others = [str(name) for name in pd.read_csv(path, nrows=0) if name not in texts]
    return pd.read_csv(
        path,
        dtype=dict.fromkeys(texts, str),
        keep_default_na=False,
        na_values={name: [""] for name in others},
    )


def _read_type(layout: ProblemLayout, name: str) -> TypeFiles | None:
    if not type_metrics_file(layout, name).is_file():
        return None
    plots = sorted((layout.type_folder(name) / "plots").glob("*.csv"))
    return TypeFiles(
        name,
        _json_or_none(layout.model_card(name)),
        read_type_metrics(layout, name),
        {path.stem: read_points(path) for path in plots},
    )


def _json_or_none(path: Path) -> dict[str, Any]:
    return dict(read_json(path)) if path.is_file() else {}


def _read_comparison(
    layout: ProblemLayout, types: Iterable[TypeFiles]
) -> tuple[pd.DataFrame | None, str]:
    """Return the comparison; without it, or where it is of other trainings, None and why."""
    fix = f"run `dvc repro compare@{layout.problem}`"
    if not layout.comparison.is_file():
        return None, f"the model types are not compared: {fix}"
    table = pd.read_csv(layout.comparison).set_index("type", drop=False)
    if all(_is_of(table, one) for one in types):
        return table.loc[[one.name for one in types]], ""
    return None, f"the comparison is of other trainings than these: {fix}"


def _is_of(table: pd.DataFrame, one: TypeFiles) -> bool:
    """Tell whether the comparison has this training's own test metrics."""
    if one.name not in table.index:
        return False
    row, tested = table.loc[one.name], one.metrics.get("test", {})
    return all(
        name in row and math.isclose(row[name], value, rel_tol=_SAME, abs_tol=1e-12)
        for name, value in tested.items()
    )


def frequent_classes(classes: pd.DataFrame) -> list[str]:
    """Return the classes that plots show, the most frequent first; a row a class with its rows."""
    order = classes.sort_values("rows", ascending=False, kind="stable")["class"]
    return [str(label) for label in order[:MOST_CLASSES]]
