"""The facts of the board, gathered from a registry: read only, without a lock.

Models, versions and records come in two queries, analyses in one more. A stored verdict is a file
of its version's run; only those of the newest challengers and champions are opened. Nothing is
judged here: a challenger without a stored verdict is shown as not compared yet.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lockstep.config.params import Params, load_params
from lockstep.console import without_password
from lockstep.dvc.git import short
from lockstep.errors import ConfigError, LockstepError
from lockstep.io import sha256_json
from lockstep.promotion.champion import can_go_back, champion_of
from lockstep.promotion.next_steps import with_steps
from lockstep.registry.record.event_text import moved_text
from lockstep.registry.record.events import Event, changes, turns
from lockstep.registry.record.registered_models import Model, list_models
from lockstep.registry.store.names import MONTH_TAG
from lockstep.registry.store.run_notes import AnalysisRun, newest_analyses, run_text
from lockstep.registry.store.versions import Version
from lockstep.reports.board import (
    Analysis,
    Board,
    BoardModel,
    BoardVersion,
    GateLine,
    Moved,
    Span,
    TimelineEntry,
    Verdict,
)

if TYPE_CHECKING:
    from lockstep.registry.store.opening import Registry

MOST_MOVES = 100
"""So many of the newest moves are on the timeline; earlier ones are counted."""
MOST_JUDGED = 5
"""So many of a model's newest challengers have their stored verdict read."""
USUAL = ("roc_auc", "macro_roc_auc", "rmse")
"""The metric of a version whose problem has no section in params.yaml."""
RETRY_SECONDS = 300.0
"""So long a verdict that can't be read is not asked for again."""
SLOW_SECONDS = 2.0
"""After a failure that took longer, nothing is asked of the store until it is tried again."""
_FILE = re.compile(r"gates/[0-9]+-[0-9a-f]{12}\.json")
Analyses = Mapping[tuple[str, int], AnalysisRun]


@dataclass(frozen=True)
class Failure:
    """Why a verdict can't be read, and the time (of ``VerdictFiles.clock``) to try again."""

    why: str
    until: float


@dataclass
class VerdictFiles:
    """Stored verdicts, each read once: a file's name holds its digest, so it never changes.

    A failure is remembered for a while, so that a store that is away does not delay every read.
    """

    client: Registry | None = None
    read: dict[tuple[str, str], tuple[GateLine, ...]] = field(default_factory=dict)
    clock: Callable[[], float] = time.monotonic
    failed: dict[tuple[str, str], Failure] = field(default_factory=dict)
    silent: Failure | None = None

    def lines(self, run_id: str | None, gate: Mapping[str, Any]) -> tuple[GateLine, ...]:
        """Return each check of a verdict; LockstepError where its file can't be read."""
        file = str(gate.get("file") or "")
        if run_id is None or self.client is None or not _FILE.fullmatch(file):
            raise LockstepError("no file of it is on record")
        key = (run_id, file)
        if key not in self.read:
            self.check_may_ask(key)
            self.read[key] = self.asked(self.client, key, str(gate.get("digest")))
        return self.read[key]

    def check_may_ask(self, key: tuple[str, str]) -> None:
        """Raise LockstepError with the last failure where it is too early to try again."""
        for failure in (self.failed.get(key), self.silent):
            if failure is not None and self.clock() < failure.until:
                raise LockstepError(failure.why)

    def asked(self, client: Registry, key: tuple[str, str], digest: str) -> tuple[GateLine, ...]:
        """Read a verdict from the store; remember a failure and raise it."""
        began = self.clock()
        try:
            return gate_lines(run_text(client, *key), digest)
        except LockstepError as error:
            now = self.clock()
            self.failed[key] = Failure(str(error), now + RETRY_SECONDS)
            if now - began > SLOW_SECONDS:
                why = f"the store of artifacts did not answer when it was asked last ({error})"
                self.silent = Failure(why, now + RETRY_SECONDS)
            raise


def gate_lines(text: str, digest: str) -> tuple[GateLine, ...]:
    """Return the checks in a stored verdict; LockstepError if it is not the one on record."""
    try:
        content = json.loads(text)
        checks = [(str(c["name"]), str(c["verdict"]), str(c["detail"])) for c in content["checks"]]
    except (ValueError, KeyError, TypeError) as error:
        raise LockstepError(f"its file is no verdict ({error})") from error
    if sha256_json(content) != digest:
        raise LockstepError("its file was altered: the record has another digest")
    return tuple(GateLine(*one) for one in checks)


def board_facts(
    client: Registry, root: Path, place: str, now: datetime, files: VerdictFiles | None = None
) -> Board:
    """Return what the board shows of a registry, which ``place`` names."""
    files = files or VerdictFiles()
    files.client = client
    params, notes = params_of(root)
    models, analyses = list_models(client), newest_analyses(client)
    shown = [board_model(one, params, analyses, files) for one in models]
    moves = [entry for one in models for entry in timeline(one)]
    moves.sort(key=lambda entry: (entry.time or _EARLIEST, entry.number), reverse=True)
    return Board(
        place=without_password(place),
        read=now,
        models=with_steps(shown, params),
        timeline=tuple(moves[:MOST_MOVES]),
        earlier=max(len(moves) - MOST_MOVES, 0),
        notes=notes,
    )


_EARLIEST = datetime.min.replace(tzinfo=UTC)


def params_of(root: Path) -> tuple[Params | None, tuple[str, ...]]:
    """Return params.yaml, and a note where it is faulty; a server may have none."""
    if not (root / "params.yaml").is_file():
        return None, ()
    try:
        return load_params(root), ()
    except ConfigError as error:  # the registry can be read all the same
        return None, (f"The usual metrics are shown: {error}",)


# ---------------------------------------------------------------- one model


def board_model(
    model: Model, params: Params | None, analyses: Analyses, files: VerdictFiles
) -> BoardModel:
    """Return what the board shows of a registered model."""
    problem = next((p for v in reversed(model.versions) if (p := v.tag("problem"))), "")
    metric = metric_of(problem, params, model)
    champion, gated = champion_of(model), gates_of(model)
    last_moves, gone = moves_by_version(model), rolled_back(model)
    known = {
        one.version: replace(
            board_version(one, metric, last_moves.get(one.version), analyses),
            rolled_back=moved_by(event) if (event := gone.get(one.version)) else None,
        )
        for one in model.versions
    }
    judged = [*model.in_stage("Staging")[-MOST_JUDGED:], *([champion] if champion else [])]
    for one in judged:
        if event := gated.get(one.version):
            verdict = verdict_of(event, one, champion, files)
            known[one.version] = replace(known[one.version], verdict=verdict)
    return BoardModel(
        name=model.name,
        problem=problem,
        metric=metric,
        versions=tuple(known.values()),
        champion=None if champion is None else known[champion.version],
        spans=tuple(spans(model)),
        open_events=tuple(event.number for event in model.record.open),
        faults=model.record.faults,
        can_go_back=champion is not None and can_go_back(model, champion),
    )


def metric_of(problem: str, params: Params | None, model: Model) -> str:
    """Return what a problem's models are compared by; without its section, a usual metric."""
    if params is not None and problem in params.problems:
        return params.problem(problem).compare.metric
    scores = model.versions[-1].scores if model.versions else {}
    return next((name for name in USUAL if f"validation_{name}" in scores), USUAL[0])


def board_version(
    version: Version, metric: str, event: Event | None, analyses: Analyses
) -> BoardVersion:
    """Return what the board shows of a version; ``event`` put it into its stage."""
    analysis = analyses.get((version.name, version.version))
    return BoardVersion(
        number=version.version,
        stage=version.stage,
        type=version.tag("type") or "",
        created=datetime.fromtimestamp(version.created / 1000, UTC),
        metric=version.scores.get(f"validation_{metric}"),
        scores=version.scores,
        rows=version.tag("data_digest") or "",
        commit=short(version.tag("git_commit") or ""),
        dirty=version.dirty,
        digest=(version.tag("model_digest") or "")[:12],
        pruned=version.pruned is not None,
        moved=None if event is None else moved_by(event),
        analysis=None if analysis is None else analysis_of(analysis),
    )


def moved_by(event: Event) -> Moved:
    """Return who made a move, when and why."""
    return Moved(time_of(event.time), event.who.actor, event.who.reason)


def analysis_of(run: AnalysisRun) -> Analysis:
    """Return what the board shows of a run of monitoring."""
    return Analysis(
        time=datetime.fromtimestamp(run.time / 1000, UTC),
        alarm=run.tags.get("lockstep.alarm") == "true",
        proposal=run.tags.get("lockstep.proposal", ""),
        newest_month=run.tags.get(MONTH_TAG) or run.tags.get("months", "").rpartition(",")[2],
    )


def moves_by_version(model: Model) -> dict[int, Event]:
    """Return for each version the event that put it into the stage it is in."""
    return {number: event for event in model.record.events for number in changes(event)}


def rolled_back(model: Model) -> dict[int, Event]:
    """Return for each version the rollback that took it out of Production.

    A version that came back, or that the gates judged again, is not among them.
    """
    found: dict[int, Event] = {}
    for event in model.record.events:
        if event.gate and event.version is not None:
            found.pop(event.version, None)
        for step in event.steps if event.done else ():
            if step.now == "Production":
                found.pop(step.version, None)
            elif event.action == "rollback" and step.was == "Production":
                found[step.version] = event
    return found


def gates_of(model: Model) -> dict[int, Event]:
    """Return for each version the last event that carries a verdict of the gates on it."""
    gated = (event for event in model.record.events if event.gate)
    return {event.version: event for event in gated if event.version is not None}


def verdict_of(
    event: Event, version: Version, champion: Version | None, files: VerdictFiles
) -> Verdict:
    """Return the verdict of an event, with each check where its file can be read."""
    gate, note = event.gate, ""
    lines: tuple[GateLine, ...] = ()
    try:
        lines = files.lines(version.run_id, gate)
    except LockstepError as error:
        note = f"Its checks can't be shown: {error}"
    against = gate.get("champion")
    standing = champion.version if champion else None
    return Verdict(
        outcome=str(gate.get("verdict", "")),
        summary=str(gate.get("summary", "")),
        against=against if isinstance(against, int) else None,
        time=time_of(event.time),
        # The champion's own verdict was of the one before it.
        current=version.version == standing or against == standing,
        lines=lines,
        note=note,
    )


def spans(model: Model) -> Iterable[Span]:
    """Yield which version was in Production from when to when, the oldest first."""
    began: dict[int, datetime] = {}
    for turn in turns(model.record, "Production"):
        time = time_of(turn.event.time)
        if time is None:
            continue
        for number in sorted(turn.before - turn.after):
            if since := began.pop(number, None):
                yield Span(number, since, time)
        began |= dict.fromkeys(turn.after - turn.before, time)
    standing = {version.version for version in model.in_stage("Production")}
    for number, since in began.items():
        if number in standing:  # another tool may have deleted it
            yield Span(number, since, None)


# ---------------------------------------------------------------- moves


def timeline(model: Model) -> Iterable[TimelineEntry]:
    """Yield a model's events as the board shows them, without versions that just came."""
    events = model.record.events
    undone = {e.undoes: e.number for e in events if e.done and e.undoes is not None}
    for event in events:
        if event.action == "register" and event.done:
            continue
        gate = event.gate
        yield TimelineEntry(
            model=model.name,
            number=event.number,
            time=time_of(event.time),
            action=event.action,
            moved=moved_text(event),
            actor=event.who.actor,
            reason=event.who.reason,
            outcome=event.end.outcome if event.end else "open",
            verdict=str(gate.get("verdict", "")),
            summary=str(gate.get("summary", "")),
            undoes=event.undoes,
            undone_by=undone.get(event.number),
        )


def time_of(text: str) -> datetime | None:
    """Return the time in a record; None for a text that is none."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
