"""The work of monitor: a log or a table → counts by day → analysis → page, JSON, run."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lockstep.commands.monitor import MonitorOptions
from lockstep.commands.monitor_actions import (
    commands_for,
    proposal_for,
    retrain_on_new_data,
)
from lockstep.commands.traffic import Shadowed, shadowed
from lockstep.commands.watched_days import (
    check_input,
    days_of_log,
    days_of_table,
    in_span,
    kept_folder,
    whole_in,
)
from lockstep.commands.watched_version import (
    Watched,
    answering,
    decision_words,
    fitting_models,
    log_folder,
    named_version,
    watched_version,
)
from lockstep.commands.webhook import post
from lockstep.config.monitoring import METRICS_FILE
from lockstep.config.serving import load_serving
from lockstep.config.settings import environment, load_settings, read_model_config
from lockstep.console import warn
from lockstep.errors import ArtifactError, DataError, LockstepError, RegistryError
from lockstep.io import whole_folder, write_json, write_text
from lockstep.monitoring.alarms import Finding
from lockstep.monitoring.analysis import Analysis, analyse
from lockstep.monitoring.kept_days import with_kept
from lockstep.monitoring.page import PageFacts, page
from lockstep.monitoring.proposal import Proposal
from lockstep.monitoring.report import content, prometheus
from lockstep.registry.publishing.monitor_run import log_analysis
from lockstep.registry.store import connection
from lockstep.registry.store.connection import Client
from lockstep.registry.store.names import MONTH_TAG
from lockstep.registry.store.opening import open_registry
from lockstep.serving.logged_rows import (
    LogReader,
    Notes,
    answered_by,
    read_labels,
)

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


def monitor(root: Path, options: MonitorOptions) -> Monitored:
    """Analyse a span of the log, or a table, and write what was found."""
    settings, serving = read_model_config(root)[0].monitoring, load_serving(root)
    if options.input is not None:
        check_input(options.input)
    client, notes, shadow = open_registry(root), Notes(), None
    faults: list[str] = []
    if options.input is not None:
        watched = watched_version(client, root, named_version(root, serving, options))
        days = in_span(days_of_table(root, watched, options.input, faults), options)
        threshold = watched.threshold
    else:
        folder = log_folder(serving)
        key = answering(client, folder, options, notes)
        watched = watched_version(client, root, key)
        reader = LogReader(watched.schema, watched.classes, read_labels(folder, notes), notes)
        counted, threshold = days_of_log(watched, reader, folder, options)
        given = kept_folder(serving, key), watched.reference, counted, whole_in(options)
        days = in_span(with_kept(*given), options)
        try:
            shadow = shadowed(client, root, folder, watched, reader.labels, options)
        except LockstepError as error:  # a challenger must not hide the champion's alarms
            faults.append(f"the challenger in the shadow is not compared: {error}")
            warn(faults[-1])
    if not days:
        raise DataError("no row lies in this span; give another --since or --until")
    found = analyse(watched.reference, days, threshold, settings, watched.positive_weight)
    told = [*noted(notes), *faults]
    done = written(client, root, serving.monitoring_folder, watched, found, told, shadow)
    if done.alarms and settings.webhook:
        post(settings.webhook, message(done), variables(root))
    return done


def retrained(root: Path, done: Monitored) -> str:
    """Retrain after an alarm; return the lines for a terminal."""
    if not done.alarms:
        return "no alarm, so nothing is retrained"
    version, problem = done.watched.located.version, done.watched.schema.name
    newest = done.analysis.newest_month
    return retrain_on_new_data(open_registry(root), root, version, problem, newest)


def message(done: Monitored) -> dict[str, Any]:
    """Return what a webhook is told: the version, the alarms, what they call for."""
    version = done.watched.located.version
    return {
        "problem": done.watched.schema.name,
        "model": version.name,
        "version": version.version,
        "month": done.analysis.newest_month,
        "alarms": [vars(one) for one in done.alarms],
        "proposal": done.proposal and vars(done.proposal),
        "page": str(done.folder / PAGE),
    }


def variables(root: Path) -> dict[str, str]:
    """Return the variables of the environment and .env."""
    return {name: found.value for name, found in environment(root).items()}


def keep_days(root: Path, options: MonitorOptions) -> str:
    """Keep the counts of a span's days, for every version with a reference; return the lines.

    Without a problem, those of all problems: the log deletes files of all.
    """
    serving, client, notes = load_serving(root), open_registry(root), Notes()
    folder = log_folder(serving)
    answers, labels = answered_by(folder, options.since, options.until, notes), None
    lines = []
    for key in fitting_models(client, answers, options):
        try:
            watched = watched_version(client, root, key)
        except ArtifactError as error:
            lines.append(f"not kept: {error}")
            continue
        labels = labels or read_labels(folder, notes)
        reader = LogReader(watched.schema, watched.classes, labels, notes)
        counted, _ = days_of_log(watched, reader, folder, options)
        with_kept(kept_folder(serving, key), watched.reference, counted, whole_in(options))
        days = len({day for _, day in counted})
        lines.append(f"{watched.located.version.title}: kept the counts of {days} days")
    return "\n".join([*lines, *noted(notes)]) or "the log holds nothing to keep in this span"


# ---------------------------------------------------------------- what is written


def written(
    client: Client,
    root: Path,
    place: Path,
    watched: Watched,
    found: Analysis,
    lines: list[str],
    shadow: Shadowed | None,
) -> Monitored:
    """Write page, JSON and Prometheus' text, log a run, and return the lines for a terminal.

    What is beside the analysis may fail: an alarm is still written, sent and told.
    """
    version, now = watched.located.version, time.time()
    folder = place / watched.schema.name
    first, last = found.months[0].name, found.months[-1].name
    span = first if first == last else f"{first} to {last}"
    words = decision_words(watched.schema)
    proposal = proposal_for(client, found, version)
    commands = commands_for(root, proposal, version, watched.schema.name, found.newest_month)
    title = f"{version.title}, {span}"
    facts = PageFacts(
        title=title,
        about=f"{found.whole.rows:,} rows of {watched.schema.title}",
        labels=labels_in_words(found, words),
        words=words,
        codes={column.name: column.codes for column in watched.schema.features},
        notes=lines,
        proposal=proposal,
        commands=commands,
        shadow=None if shadow is None else (shadow.lines, shadow.traffic.slices),
    )
    named = {"model": version.name, "version": version.version, "problem": watched.schema.name}
    with whole_folder(folder) as part:
        write_text(part / PAGE, page(found, facts))
        told = {**named, "span": span, "proposal": proposal and vars(proposal) | {"run": commands}}
        told["shadow"] = shadow and shadow.facts
        write_json(part / REPORT, content(found, told, lines), digits=None)
        (part / METRICS_FILE).write_bytes(prometheus(found, version.name, version.version, now))
    run_id = run_of(client, root, watched, found, facts, folder, round(now * 1000))
    lines = summary(found, title, folder, run_id, facts)
    return Monitored(found, watched, "\n".join(lines), folder, proposal)


def run_of(
    client: Client,
    root: Path,
    watched: Watched,
    found: Analysis,
    facts: PageFacts,
    folder: Path,
    ended_ms: int,
) -> str:
    """Log the run of an analysis and return its id; "none", with a warning, if the store fails."""
    experiment = load_settings(root).experiment_name or watched.schema.experiment
    tags = {"lockstep.alarm": str(bool(found.alarms)).lower(), MONTH_TAG: found.newest_month}
    if facts.proposal is not None:
        tags["lockstep.proposal"] = facts.proposal.action
    version, months = watched.located.version, metrics_by_month(found)
    given = (version, facts.title, months, tags, folder, ended_ms)
    try:
        return log_analysis(client, root, experiment, *given)
    except connection.store_errors(RegistryError, OSError) as error:
        connection.raise_interrupt(error)
        warn(f"the analysis is written, but has no complete run: {connection.one_line(error)}")
        return "none"


def labels_in_words(found: Analysis, words: list[str]) -> str:
    """Return in a sentence which rows have labels."""
    if found.selected is None:
        return "Labels of all decisions are compared with all test rows of the reference."
    return (
        f"Labels exist only for rows decided as “{words[found.selected]}”. They are compared with "
        f"the test rows {('below', 'from')[found.selected]} the same threshold"
        f"{('', ' on')[found.selected]}, where ROC AUC is far lower than on all rows."
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
    facts: PageFacts,
) -> list[str]:
    """Return the lines for a terminal."""
    newest = found.months[-1]
    lines = [
        title,
        f"{newest.name}: {newest.window.rows:,} rows, {newest.performance.labelled:,} labels",
    ]
    lines += [] if found.alarms else ["no alarm"]
    lines += [f"{one.level}: {one.rule}: {one.message}" for one in found.findings]
    lines += facts.shadow[0] if facts.shadow else []
    lines += [f"page: {folder / PAGE}", f"run: {run_id}"]
    if facts.proposal is not None:
        lines += [f"What to do next: {facts.proposal.action} ({facts.proposal.why})"]
        lines += [f"  {one}" for one in facts.commands]
    return lines
