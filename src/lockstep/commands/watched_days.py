"""The rows that a watched version answered, counted by day: of the log, or of a table."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lockstep.commands.monitor import MonitorOptions
from lockstep.commands.watched_version import Watched
from lockstep.config.monitoring import DAY_MS
from lockstep.config.params import Problem, load_params
from lockstep.config.serving import ServingSettings
from lockstep.console import warn
from lockstep.data.preprocess import read_source
from lockstep.data.tables import SUFFIXES
from lockstep.data.values import out_of_range
from lockstep.decision.decision_rule import DecisionRule
from lockstep.errors import DataError, UsageError, listed
from lockstep.models.scoring.prediction import Model
from lockstep.monitoring.kept_days import Places
from lockstep.monitoring.log_files import Key
from lockstep.monitoring.window import Rows, Window, add, counted_days
from lockstep.problems.schema import Column, Schema
from lockstep.problems.text_tables import require_columns
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


def check_input(path: Path) -> None:
    """Raise a UsageError for what is neither a folder nor the file of a table."""
    if path.is_dir():
        return
    if not path.is_file():
        raise UsageError(f"--input {path} is not there; give a table, or a folder of raw files")
    if path.suffix.lower() not in SUFFIXES:
        needed = f"a name that ends in {', '.join(SUFFIXES)} is needed"
        raise UsageError(f"--input {path}: {needed}; convert or rename the file")


def days_of_table(root: Path, watched: Watched, path: Path, notes: list[str]) -> Days:
    """Return the counts by day of a table's rows, scored by the version.

    A folder is read as the problem's own data are. Rows without a date, or all of them where the
    problem has none, are of today. The checks of training data do not apply: rows without a label
    count, and new codes are what monitoring is to find. Rows that lack a value which the model
    needs are left out, with a line in ``notes``.
    """
    model, schema = open_version(watched.located), watched.schema
    table = read_input(path, schema, load_params(root).problem(schema.name))
    needed = [column.name for column in schema.features if not column.missing]
    fits = table[needed].notna().all(axis=1)
    if not fits.any():
        raise DataError(f"{path} holds no row with all of {listed(needed)}; give another --input")
    if many := int((~fits).sum()):
        lacking = listed(name for name in needed if table[name].isna().any())
        notes.append(f"rows left out, as they lack {lacking}: {many:,}")
        warn(notes[-1])
    rows = rows_of_table(model, table[fits], watched.classes)
    return counted_days(watched.reference, rows)


def read_input(path: Path, schema: Schema, section: Problem) -> pd.DataFrame:
    """Return a table or a folder of raw files in tidy columns, every value as it is there."""
    drops = section.preprocess.duplicates == "drop"
    if path.is_dir():
        raw = read_source(path, section.source.kind, schema, drops)
    else:
        with TemporaryDirectory() as alone:
            # Under its own name, X_test.csv would be a part of a table that lacks the others.
            (Path(alone) / f"input {path.name}").symlink_to(path.absolute())
            raw = read_source(Path(alone), "table", schema, drops)
    require_columns([*schema.feature_names, schema.target], raw.table.columns, str(path))
    if not drops:
        return raw.table
    return raw.table[~(raw.table.duplicated() if raw.copies is None else raw.copies)]


def rows_of_table(model: Model, table: pd.DataFrame, classes: list[Any]) -> Rows:
    """Return a table's rows with their scores, decisions and labels."""
    schema, score = model.schema, model.score(table)
    rule: DecisionRule = model.decision_rule
    decided = np.zeros(len(table), dtype=np.int64)
    if schema.task != "regression":
        decided = rule.apply(score)
    today = np.datetime64("today", "D")
    day = np.full(len(table), today)
    dates = None if schema.date is None else table.get(schema.date)
    if dates is not None and dates.dtype.kind == "M":
        found = dates.to_numpy().astype("datetime64[D]")
        day = np.where(np.isnat(found), today, found)
    columns = {name: table[name].to_numpy() for name in schema.feature_names}
    label = labels_of(table[schema.target], schema.columns[schema.target], classes)
    return Rows(columns, score, decided, label, day.astype(np.int64))


def labels_of(values: pd.Series, target: Column, classes: list[Any]) -> NDArray[Any]:
    """Return the labels of rows as ``Rows`` has them; what is no label is an unknown one."""
    if classes:
        return pd.Index(classes).get_indexer(pd.Index(values)).astype(np.int64)
    numbers = values.to_numpy(dtype=np.float64)
    is_one = np.isfinite(numbers) & ~out_of_range(target, numbers)
    return np.where(is_one, numbers, np.nan)
