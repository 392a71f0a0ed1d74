"""The metrics of a problem at two revisions: champions, values, and whether a change is noise."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from lockstep.config.layout import ProblemLayout, main_tree
from lockstep.config.params import Compare, validated
from lockstep.dvc.command import cache_folder
from lockstep.dvc.graph import dvc_sum, value_at
from lockstep.dvc.revision import Revision
from lockstep.errors import ConfigError, DataError
from lockstep.evaluation.comparison import Candidate
from lockstep.evaluation.paired_comparison import Difference, measured
from lockstep.features.matrix_columns import GROUP, ROW, TARGET
from lockstep.io import read_parquet

WITHOUT_INTERVAL = ("threshold", "interval_coverage", "interval_width")
"""Columns of a comparison that are shown besides the metrics."""
SAME = "same"
Row = dict[str, str]


@dataclass(frozen=True)
class Change:
    """A metric of one model type at both revisions; None where it has none."""

    model_type: str
    metric: str
    base: float | None
    now: float | None
    verdict: str
    difference: Difference | None = None


@dataclass(frozen=True)
class Trained:
    """What the compare stage wrote of a problem at one revision; empty before its first run."""

    champion: dict[str, Any]
    rows: dict[str, Row]

    @classmethod
    def read(cls, revision: Revision, problem: str) -> Trained:
        """Read both files of a revision."""
        layout = ProblemLayout(Path(), problem)
        text = revision.text(layout.champion.as_posix())
        table = revision.text(layout.comparison.as_posix())
        try:
            champion = json.loads(text) if text else {}
            rows = {row["type"]: row for row in csv.DictReader(io.StringIO(table))}
            _check_numbers(champion, rows)
        except (ValueError, TypeError, KeyError) as error:
            where = f"{layout.metrics.as_posix()} of {revision.name}"
            fault = f"{where} can't be read ({error})"
            raise DataError(
                f"{fault}; restore it with `git checkout`, or run `dvc repro`"
            ) from None
        return cls(champion, rows)

    def test_rows(self) -> str:
        """Return the number of test rows; empty where nothing was trained."""
        return next((row.get("rows", "") for row in self.rows.values()), "")

    def value(self, model_type: str, column: str) -> float | None:
        """Return one cell of the comparison."""
        text = self.rows.get(model_type, {}).get(column)
        return float(text) if text else None

    def columns(self) -> list[str]:
        """Return the metrics with an interval, then what is shown besides."""
        names = next((list(row) for row in self.rows.values()), [])
        metrics = [name for name in names if f"{name}_low" in names and name != "difference"]
        return metrics + [name for name in WITHOUT_INTERVAL if name in names]


def _check_numbers(champion: dict[str, Any], rows: dict[str, Row]) -> None:
    """Raise ValueError, TypeError or KeyError for files that hold something else, as a conflict."""
    if champion:
        float(champion["value"])
        _ = champion["type"], champion["metric"]
    for row in rows.values():
        for column, cell in row.items():
            if column not in ("type", "champion") and cell != "":
                float(cell)


@dataclass(frozen=True)
class ProblemMetrics:
    """A problem's champions and metrics at both revisions.

    ``unpaired`` says by model type why its change can't be compared with noise.
    """

    problem: str
    base: Trained
    now: Trained
    changes: list[Change]
    unpaired: dict[str, str] = field(default_factory=dict)

    @property
    def metric(self) -> str:
        """The metric that the problem compares model types by."""
        return str((self.now.champion or self.base.champion).get("metric", ""))

    @property
    def differs(self) -> bool:
        """Whether champions, model types, test rows or any metric differ."""
        rows = self.base.test_rows() != self.now.test_rows()
        moved = any(change.verdict != SAME for change in self.changes)
        return moved or rows or self.base.champion != self.now.champion


class Scores:
    """The scores of trained types at both revisions, where DVC has them here."""

    def __init__(self, base: Revision, now: Revision) -> None:
        self._base, self._now = base, now

    def differences(
        self, problem: str, model_type: str, thresholds: tuple[float | None, float | None]
    ) -> dict[str, Difference]:
        """Return the paired difference of each metric on the test rows, now minus base.

        DataError, with the reason, where it can't be computed.
        """
        base, now = (
            Candidate(
                model_type, threshold, read_parquet(self._file(revision, problem, model_type))
            )
            for revision, threshold in zip((self._base, self._now), thresholds, strict=True)
        )
        if not _same_rows(base, now):
            raise DataError("the test rows differ")
        section = value_at(self._now.graph.params, f"problems.{problem}.compare") or {}
        settings = validated(Compare, section, "params.yaml: compare")
        groups = now.part("test")[GROUP].to_numpy()
        one, other = now.rows("test"), base.rows("test")
        return measured(one, other, groups, settings.resamples, settings.seed)[1]

    def _file(self, revision: Revision, problem: str, model_type: str) -> Path:
        """Return a file with the scores that the revision's dvc.lock names."""
        path = ProblemLayout(Path(), problem).scores(model_type).as_posix()
        known = revision.lock.outs.get(path, "")
        if not known:
            raise DataError(f"dvc.lock of {revision.name} has no scores")
        for cache in self._caches:
            kept = cache / "files" / "md5" / known[:2] / known[2:]
            if kept.is_file():
                return kept
        own = self._now.root / path
        if own.is_file() and dvc_sum(own) == known:
            return own
        fix = "`dvc fetch` brings them in, if they were pushed"
        raise DataError(f"DVC's cache here lacks the scores of {revision.name} ({fix})")

    @cached_property
    def _caches(self) -> list[Path]:
        """DVC's cache here and, in a worktree of git, that of the main working tree."""
        roots = dict.fromkeys((self._now.root, main_tree(self._now.root)))
        try:
            return [cache_folder(root) for root in roots]
        except ConfigError as error:
            raise DataError(str(error)) from None


def _same_rows(base: Candidate, now: Candidate) -> bool:
    if not {"part", ROW, GROUP, TARGET} <= {*base.scores.columns} & {*now.scores.columns}:
        raise DataError("the scores have other columns")
    one, other = base.part("test"), now.part("test")
    return len(one) == len(other) and all(
        np.array_equal(one[name].to_numpy(), other[name].to_numpy())
        for name in (ROW, GROUP, TARGET)
    )


def compared(base: Revision, now: Revision, problem: str, scores: Scores) -> ProblemMetrics:
    """Return a problem's metrics at both revisions, each change with its verdict."""
    before, after = Trained.read(base, problem), Trained.read(now, problem)
    types = [*after.rows, *(name for name in before.rows if name not in after.rows)]
    columns = after.columns() or before.columns()
    changes: list[Change] = []
    unpaired: dict[str, str] = {}
    for name in types:
        differences: dict[str, Difference] = {}
        if _moved(before, after, name, columns):
            try:
                thresholds = before.value(name, "threshold"), after.value(name, "threshold")
                differences = scores.differences(problem, name, thresholds)
            except DataError as error:
                unpaired[name] = str(error)
        changes += [_change(before, after, name, column, differences) for column in columns]
    return ProblemMetrics(problem, before, after, changes, unpaired)


def _moved(before: Trained, after: Trained, model_type: str, columns: list[str]) -> bool:
    """Return whether both revisions have a type, with other values."""
    both = model_type in before.rows and model_type in after.rows
    return both and any(
        before.value(model_type, name) != after.value(model_type, name) for name in columns
    )


def _change(
    before: Trained, after: Trained, name: str, column: str, differences: dict[str, Difference]
) -> Change:
    old, new = before.value(name, column), after.value(name, column)
    found = differences.get(column)
    if old is None or new is None:
        return Change(name, column, old, new, _one_sided(old, new))
    if old == new:
        return Change(name, column, old, new, SAME)
    if found:
        return Change(name, column, old, new, found.verdict, found)
    return Change(name, column, old, new, _by_interval(before, name, column, new))


def _one_sided(old: float | None, new: float | None) -> str:
    if old is None and new is None:
        return SAME
    return "new" if old is None else "removed"


def _by_interval(before: Trained, name: str, column: str, new: float) -> str:
    """Say where a value lies by the base's interval; empty for a figure without one."""
    low, high = before.value(name, f"{column}_low"), before.value(name, f"{column}_high")
    if low is None or high is None:
        return ""
    return "inside the interval of base" if low <= new <= high else "outside the interval of base"
