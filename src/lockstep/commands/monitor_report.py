"""The work of monitor: a log or a table → counts by day → analysis → page, JSON, run."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from lockstep.commands.monitor import MonitorOptions
from lockstep.commands.monitor_actions import (
    commands_for,
    proposal_for,
    retrain_on_new_data,
)
from lockstep.commands.webhook import post
from lockstep.config.monitoring import DAY_MS, METRICS_FILE
from lockstep.config.params import load_params
from lockstep.config.serving import ServingSettings, load_serving
from lockstep.config.settings import environment, load_settings, read_model_config
from lockstep.data.preprocess import tidy
from lockstep.decision.decision_rule import DecisionRule
from lockstep.errors import ArtifactError, DataError
from lockstep.features.matrices import encoded_target
from lockstep.io import read_json, whole_folder, write_json, write_text
from lockstep.models.scoring.prediction import Model
from lockstep.monitoring.alarms import Finding
from lockstep.monitoring.analysis import Analysis, analyse
from lockstep.monitoring.kept_days import with_kept
from lockstep.monitoring.log_files import Key
from lockstep.monitoring.page import page
from lockstep.monitoring.proposal import Proposal
from lockstep.monitoring.reference import Reference, read_reference
from lockstep.monitoring.report import content, prometheus
from lockstep.monitoring.window import Rows, Window, counted_days
from lockstep.problems.schema import Schema
from lockstep.registry.artifact.files import REFERENCE
from lockstep.registry.artifact.loading import card_of, open_version, schema_of
from lockstep.registry.artifact.locating import find_version, locate
from lockstep.registry.artifact.model_cache import Located
from lockstep.registry.publishing.monitor_run import log_analysis
from lockstep.registry.store.connection import Client
from lockstep.registry.store.names import NotRegistered
from lockstep.registry.store.opening import open_registry
from lockstep.serving.loaded_model import words_of
from lockstep.serving.logged_rows import (
    LogReader,
    Notes,
    answered_by,
    read_labels,
    read_pieces,
)
from lockstep.serving.model_source import registered_name

Days = dict[int, Window]
PAGE, REPORT = "page.html", "report.json"


@dataclass(frozen=True)
class Monitored:
    """What the command found, and where it wrote it."""

    analysis: Analysis
    watched: Watched
    summary: str
    folder: Path
    proposal: Proposal | None

    @property
    def alarms(self) -> list[Finding]:
        """The alarms."""
        return self.analysis.alarms


@dataclass(frozen=True)
class Watched:
    """The version that answered, with its reference."""

    located: Located
    schema: Schema
    reference: Reference

    @property
    def classes(self) -> list[Any]:
        """The target's classes in their order; none for a regression."""
        return classes_in(self.located, self.schema)

    @property
    def threshold(self) -> float | None:
        """The threshold of the version itself."""
        return self.located.version.threshold

    @property
    def positive_weight(self) -> float | None:
        """What makes probabilities of scores; None if costs decide, not the most probable class."""
        version = self.located.version
        if version.tag("costs"):
            return None
        return float(version.tag("positive_weight") or 1.0)


def monitor(root: Path, options: MonitorOptions) -> Monitored:
    """Analyse a span of the log, or a table, and write what was found."""
    settings, serving = read_model_config(root)[0].monitoring, load_serving(root)
    client, notes = open_registry(root), Notes()
    if options.input is not None:
        watched = watched_version(client, root, named_version(root, serving, options))
        days, threshold = days_of_table(root, watched, options.input), watched.threshold
    else:
        folder = log_folder(serving)
        key = answering(client, folder, options, notes)
        watched = watched_version(client, root, key)
        days, threshold = days_of_log(folder, watched, key, options, notes)
        kept = kept_folder(serving, key)
        days = in_span(with_kept(kept, watched.reference, days), options)
    if not days:
        raise DataError("no row lies in this span; give another --since or --until")
    found = analyse(watched.reference, days, threshold, settings, watched.positive_weight)
    done = written(client, root, serving.monitoring_folder, watched, found, notes)
    if done.alarms and settings.webhook:
        post(settings.webhook, message(done), variables(root))
    return done


def retrained(root: Path, done: Monitored) -> str:
    """Retrain after an alarm; return the lines for a terminal."""
    if not done.alarms:
        return "no alarm, so nothing is retrained"
    version, problem = done.watched.located.version, done.watched.schema.name
    newest = done.analysis.months[-1].name
    return retrain_on_new_data(open_registry(root), root, version, problem, newest)


def message(done: Monitored) -> dict[str, Any]:
    """Return what a webhook is told: the version, the alarms, what they call for."""
    version = done.watched.located.version
    return {
        "problem": done.watched.schema.name,
        "model": version.name,
        "version": version.version,
        "month": done.analysis.months[-1].name,
        "alarms": [vars(one) for one in done.alarms],
        "proposal": done.proposal and vars(done.proposal),
        "page": str(done.folder / PAGE),
    }


def variables(root: Path) -> dict[str, str]:
    """Return the variables of the environment and .env."""
    return {name: found.value for name, found in environment(root).items()}


# ---------------------------------------------------------------- which version


def classes_in(located: Located, schema: Schema) -> list[Any]:
    """Return the classes of a version's target: a card lists them if there are more than two."""
    if schema.task == "binary":
        return list(schema.columns[schema.target].codes) or [0, 1]
    return list(card_of(located).get("classes", ()))


def decision_words(schema: Schema) -> list[str]:
    """Return what each decision is called; the last one is a person's."""
    return [*words_of(schema), "review"]


def log_folder(serving: ServingSettings) -> Path:
    """Return the folder of the prediction log; DataError if there is none yet."""
    folder = serving.prediction_folder
    if folder is None or not folder.is_dir():
        where = "is off" if folder is None else f"{folder} is missing"
        raise DataError(
            f"the prediction log {where}; start the API with `make serve`, or give --input FILE"
        )
    return folder


def answering(client: Client, folder: Path, options: MonitorOptions, notes: Notes) -> Key:
    """Return the model to analyse: as named, else the newest of the problem's that answered.

    Answers of other problems, and of versions that are gone, are only counted.
    """
    counts = answered_by(folder, options.since, options.until, notes)
    fitting = fitting_models(client, counts, options)
    if not fitting:
        named = options.model_name or f"a version of {options.problem}"
        gone = [
            f"{key[0]} {key[1]}" for key in counts if key[1] and problem_of(client, key) is None
        ]
        also = f"; no longer in the registry: {', '.join(gone)}" if gone else ""
        raise DataError(f"the log holds no answer of {named} in this span{also}")
    chosen = max(fitting, key=lambda key: key[1] or 0)
    notes.others = Counter({key: rows for key, rows in counts.items() if key != chosen})
    return chosen


def fitting_models(client: Client, counts: Iterable[Key], options: MonitorOptions) -> list[Key]:
    """Return the registered models that the options mean, of those that answered."""
    return [
        key
        for key in counts
        if key[1] is not None
        and (options.model_name is None or key[0] == options.model_name)
        and (options.version is None or key[1] == options.version)
        and problem_of(client, key) == options.problem
    ]


def problem_of(client: Client, key: Key) -> str | None:
    """Return the problem of a version that answered; None if it is gone."""
    try:
        return find_version(client, key[0], version=key[1]).tag("problem")
    except NotRegistered:
        return None


def named_version(root: Path, serving: ServingSettings, options: MonitorOptions) -> Key:
    """Return the version that a table is scored with: as named, else the one in Production."""
    name = options.model_name or registered_name(replace(serving, problem=options.problem), root)
    return name, options.version, None


def watched_version(client: Client, root: Path, key: Key) -> Watched:
    """Return a version with its reference; ArtifactError for one that has none."""
    version = find_version(client, key[0], version=key[1])
    located = locate(client, version, root)
    path = located.folder / REFERENCE
    if not path.is_file():
        raise ArtifactError(
            f"{version.title} has no {REFERENCE}: it was registered before monitoring was there, "
            "or without its data; register it again, or retrain"
        )
    schema = schema_of(located)
    return Watched(
        located, schema, read_reference(read_json(path), f"{version.title}: {REFERENCE}")
    )


# ---------------------------------------------------------------- its rows


def days_of_log(
    folder: Path, watched: Watched, key: Key, options: MonitorOptions, notes: Notes
) -> tuple[Days, float | None]:
    """Return the counts by day of the rows that a version answered, and the newest threshold."""
    labels = read_labels(folder, notes)
    reader = LogReader(watched.schema, watched.classes, labels, notes)
    days: Days = {}
    threshold = watched.threshold
    for entries in read_pieces(folder, key, options.since, options.until, notes):
        rows = reader.rows(entries)
        if rows is not None:
            add(days, counted_days(watched.reference, rows))
        threshold = next((e.threshold for e in reversed(entries) if e.threshold), threshold)
    return days, threshold


def kept_folder(serving: ServingSettings, key: Key) -> Path:
    """Return where the counts of a version's days are kept, also when the log deletes them."""
    return serving.monitoring_folder / "kept" / f"{key[0]}-{key[1]}-{str(key[2])[:12]}"


def in_span(days: Days, options: MonitorOptions) -> Days:
    """Return the days that begin in the span, and that in which it begins."""
    first, last = options.since // DAY_MS, (options.until - 1) // DAY_MS
    return {day: window for day, window in days.items() if first <= day <= last}


def add(days: Days, more: Days) -> None:
    """Add the counts of more rows."""
    for day, window in more.items():
        days[day] = days[day] + window if day in days else window


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


def keep_days(root: Path, options: MonitorOptions) -> str:
    """Keep the counts of a span's days, for every version with a reference; return the lines."""
    serving, client, notes = load_serving(root), open_registry(root), Notes()
    folder = log_folder(serving)
    counts = answered_by(folder, options.since, options.until, notes)
    lines = []
    for key in fitting_models(client, counts, options):
        try:
            watched = watched_version(client, root, key)
        except ArtifactError as error:
            lines.append(f"not kept: {error}")
            continue
        days, _ = days_of_log(folder, watched, key, options, notes)
        with_kept(kept_folder(serving, key), watched.reference, days)
        lines.append(f"{watched.located.version.title}: kept the counts of {len(days)} days")
    return "\n".join([*lines, *noted(notes)]) or "the log holds nothing to keep in this span"


# ---------------------------------------------------------------- what is written


def written(
    client: Client,
    root: Path,
    place: Path,
    watched: Watched,
    found: Analysis,
    notes: Notes,
) -> Monitored:
    """Write page, JSON and Prometheus' text, log a run, and return the lines for a terminal."""
    version, now = watched.located.version, time.time()
    folder = place / watched.schema.name
    first, last = found.months[0].name, found.months[-1].name
    span = first if first == last else f"{first} to {last}"
    lines, words = list(noted(notes)), decision_words(watched.schema)
    proposal = proposal_for(client, found, version)
    commands = commands_for(root, proposal, version, watched.schema.name, last)
    title = f"{version.title}, {span}"
    facts = {
        "title": title,
        "about": f"{found.whole.rows:,} rows of {watched.schema.title}",
        "notes": "\n".join(lines),
        "labels": labels_in_words(found, words),
    }
    named = {"model": version.name, "version": version.version, "problem": watched.schema.name}
    with whole_folder(folder) as part:
        codes = {column.name: column.codes for column in watched.schema.features}
        write_text(part / PAGE, page(found, facts, proposal, commands, words, codes))
        told = {**named, "span": span, "proposal": proposal and vars(proposal) | {"run": commands}}
        write_json(part / REPORT, content(found, told, lines), digits=None)
        (part / METRICS_FILE).write_bytes(prometheus(found, version.name, version.version, now))
    experiment = load_settings(root).experiment_name or watched.schema.experiment
    tags = {"lockstep.alarm": str(bool(found.alarms)).lower()}
    if proposal is not None:
        tags["lockstep.proposal"] = proposal.action
    months, ended = metrics_by_month(found), round(now * 1000)
    run_id = log_analysis(client, root, experiment, version, title, months, tags, folder, ended)
    lines = summary(found, title, folder, run_id, proposal, commands)
    return Monitored(found, watched, "\n".join(lines), folder, proposal)


def labels_in_words(found: Analysis, words: list[str]) -> str:
    """Return in a sentence which rows have labels."""
    if not found.selected:
        return "Labels of all decisions are compared with all test rows of the reference."
    return (
        f"Labels exist only for rows decided as “{words[0]}”. They are compared with the test rows "
        "below the same threshold, where ROC AUC is far lower than on all rows."
    )


def noted(notes: Notes) -> Iterable[str]:
    """Yield in words what the log holds besides the rows that were analysed."""
    for name, fault in notes.damaged.items():
        yield f"{name} is damaged, and was read up to there: {fault}"
    if notes.unreadable:
        yield f"{notes.unreadable:,} requests no longer fit the version's schema"
    for (name, version, _), rows in notes.others.items():
        yield f"{rows:,} rows were answered by {name} {version or ''}".rstrip()
    if notes.repeated_labels:
        yield f"labels replaced by a later one: {notes.repeated_labels:,}"
    if notes.repeated_ids:
        yield f"request ids of several answers, whose labels are left out: {notes.repeated_ids:,}"
    if (unknown := notes.labels - notes.matched_labels) > 0:
        yield f"labels of no row of this version in this span: {unknown:,}"


def metrics_by_month(found: Analysis) -> dict[str, dict[str, float]]:
    """Return the figures of each month that a run logs."""
    return {
        month.name: {
            "rows": float(month.window.rows),
            "changed_features": float(len(month.warning)),
            **{n: one.value for n, one in month.performance.figures.items() if one.known},
            **({"score_index": month.score.index} if np.isfinite(month.score.index) else {}),
        }
        for month in found.months
    }


def summary(
    found: Analysis,
    title: str,
    folder: Path,
    run_id: str,
    proposal: Proposal | None,
    commands: list[str],
) -> list[str]:
    """Return the lines for a terminal."""
    newest = found.months[-1]
    lines = [
        title,
        f"{newest.name}: {newest.window.rows:,} rows, {newest.performance.labelled:,} labels",
    ]
    lines += [] if found.alarms else ["no alarm"]
    lines += [f"{one.level}: {one.rule}: {one.message}" for one in found.findings]
    lines += [f"page: {folder / PAGE}", f"run: {run_id}"]
    if proposal is not None:
        lines += [f"What to do next: {proposal.action} ({proposal.why})"]
        lines += [f"  {one}" for one in commands]
    return lines
