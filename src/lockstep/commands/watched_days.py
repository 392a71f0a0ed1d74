"""The rows that a watched version answered, counted by day: of the log, or of a table."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from lockstep.commands.monitor import MonitorOptions
from lockstep.commands.watched_version import Watched
from lockstep.config.monitoring import DAY_MS
from lockstep.config.params import load_params
from lockstep.config.serving import ServingSettings
from lockstep.data.preprocess import tidy
from lockstep.decision.decision_rule import DecisionRule
from lockstep.features.matrices import encoded_target
from lockstep.models.scoring.prediction import Model
from lockstep.monitoring.kept_days import Places
from lockstep.monitoring.log_files import Key
from lockstep.monitoring.window import Rows, Window, add, counted_days
from lockstep.registry.artifact.loading import open_version
from lockstep.serving.logged_rows import LogReader, read_pieces

Days = dict[int, Window]


def days_of_log(
    watched: Watched, reader: LogReader, folder: Path, options: MonitorOptions
) -> tuple[Places, float | None]:
    """Return the counts by file and day of a version's rows in the log, and its last threshold."""
    found: Places = {}
    threshold, span = watched.threshold, (options.since, options.until)
    for file, entries in read_pieces(folder, watched.key, *span, reader.notes):
        rows = reader.rows(entries)
        days = {} if rows is None else counted_days(watched.reference, rows)
        for day, window in days.items():
            add(found, (file, day), window)
        threshold = next((e.threshold for e in reversed(entries) if e.threshold), threshold)
    return found, threshold


def whole_in(options: MonitorOptions) -> Callable[[int], bool]:
    """Return what tells whether a day lies in the span as a whole."""
    first, after = -(-options.since // DAY_MS), options.until // DAY_MS
    return lambda day: first <= day < after


def kept_folder(serving: ServingSettings, key: Key) -> Path:
    """Return where the counts of a version's days are kept, also when the log deletes them."""
    return serving.monitoring_folder / "kept" / f"{key[0]}-{key[1]}-{str(key[2])[:12]}"


def in_span(days: Days, options: MonitorOptions) -> Days:
    """Return the days that begin in the span, and that in which it begins."""
    first, last = options.since // DAY_MS, (options.until - 1) // DAY_MS
    return {day: window for day, window in days.items() if first <= day <= last}


def days_of_table(root: Path, watched: Watched, path: Path) -> Days:
    """Return the counts by day of a table's rows, scored by the version.

    A folder is read as the problem's own data are. Rows without a date, or all of them where the
    problem has none, are of today.
    """
    model, schema = open_version(watched.located), watched.schema
    section = load_params(root).problem(schema.name)
    if path.is_file():
        with TemporaryDirectory() as alone:
            (Path(alone) / path.name).symlink_to(path.absolute())
            table, _ = tidy(Path(alone), "table", schema, section.preprocess)
    else:
        table, _ = tidy(path, section.source.kind, schema, section.preprocess)
    rows = rows_of_table(model, table, watched.classes)
    return counted_days(watched.reference, rows)


def rows_of_table(model: Model, table: Any, classes: list[Any]) -> Rows:
    """Return a tidy table's rows with their scores, decisions and labels."""
    schema, score = model.schema, model.score(table)
    rule: DecisionRule = model.decision_rule
    decided = np.zeros(len(table), dtype=np.int64)
    if schema.task != "regression":
        decided = rule.apply(score)
    today = np.datetime64("today", "D")
    day = np.full(len(table), today)
    if schema.date is not None and table[schema.date].dtype.kind == "M":
        found = table[schema.date].to_numpy().astype("datetime64[D]")
        day = np.where(np.isnat(found), today, found)
    columns = {name: table[name].to_numpy() for name in schema.feature_names}
    label = encoded_target(table, schema, classes)
    return Rows(columns, score, decided, label, day.astype(np.int64))
