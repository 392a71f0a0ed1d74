"""What is wrong with a registry, and the repair of what can be repaired: the command ``doctor``."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from lockstep.audit.checkup import Diagnosis, examine
from lockstep.audit.record_checks import abandoned
from lockstep.checks import CheckResult
from lockstep.config.settings import load_settings
from lockstep.console import aligned, visible
from lockstep.errors import LockstepError
from lockstep.registry.lifecycle.moves import leaving
from lockstep.registry.record.events import Step, Who
from lockstep.registry.record.journal import Journal, default_who
from lockstep.registry.record.locking import all_locks, lock_model
from lockstep.registry.record.recovery import ADOPTED_AT_ONCE, adopt, adoptable, finish
from lockstep.registry.record.registered_models import Model, get_model
from lockstep.registry.store import connection
from lockstep.registry.store.connection import Client, translating_mlflow_errors

LONGEST_FAULTS = 2000
OF_MODELS = (
    "damaged record", "half-done move", "no record", "disagreement", "two Productions",
    "description",
)  # fmt: skip
"""Findings that are repaired a model at a time, in one go."""
_FACTS = {
    "schema": "database schema",
    "files_looked_for": "files looked for (`verify` looks into them)",
}
"""Facts of the store whose name for programs says too little."""


def diagnose(root: Path, tracking_uri: str | None = None, fix: bool = False) -> Diagnosis:
    """Look at everything; with ``fix`` repair what can be repaired, and look again.

    Raises nothing that a store can cause.
    """
    before = examine(root, tracking_uri)
    if not fix or not any(finding.repair for finding in before.findings):
        return before
    failed = repair(root, tracking_uri, before.findings)
    after = examine(root, tracking_uri)
    left = {(one.name, one.subject, one.message) for one in after.findings}
    repaired = (f for f in before.findings if (f.name, f.subject, f.message) not in left)
    return replace(after, repaired=tuple(repaired), failed=tuple(failed))


def repair(root: Path, tracking_uri: str | None, findings: Iterable[CheckResult]) -> list[str]:
    """Repair each model by itself; return what could not be repaired, one line each."""
    failed = []
    try:
        with translating_mlflow_errors():
            # Connecting follows a workspace that was moved.
            client = connection.connect(load_settings(root, {"tracking_uri": tracking_uri}), root)
            for lock in filter(abandoned, all_locks(client)):
                with lock_model(client, lock.name):  # who takes a lock left behind breaks it
                    pass
    except LockstepError as error:
        return [str(error)]
    for name in sorted({one.subject for one in findings if one.name in OF_MODELS}):
        try:
            repair_model(client, name)
        except connection.store_errors(LockstepError) as error:
            failed.append(f"{name} could not be repaired: {connection.one_line(error)}")
    return failed


def repair_model(client: Client, name: str) -> None:
    """End what a crash left, accept a damaged record, and align tags and aliases with it."""
    who = Who(default_who().actor, "doctor --fix")
    with lock_model(client, name) as lock:
        book = Journal(client, get_model(client, name), who, lock)
        if book.model.record.faults:
            # Also over what is open: without its end, an old event looks half done.
            accept(book)
        else:
            finish(book)
        adopt(book)
        leave_one(book)
        book.apply([])


def accept(book: Journal) -> None:
    """Write what the tags say into a damaged record, as an event that names its faults.

    One tag may have no room for all. All events but the last only adopt stages, so that a crash
    between them leaves the faults standing.
    """
    steps = steps_to_tags(book.model)
    starts = range(0, len(steps), ADOPTED_AT_ONCE)
    parts = [steps[start : start + ADOPTED_AT_ONCE] for start in starts] or [()]
    details = {"faults": "; ".join(book.model.record.faults)[:LONGEST_FAULTS]}
    for place, part in enumerate(parts, start=1):
        last = place == len(parts)
        book.move("accept" if last else "adopt", part, details=details if last else {})


def steps_to_tags(model: Model) -> tuple[Step, ...]:
    """Return the steps from the record's stages to the tags', with one Production at most."""
    unrecorded = tuple(replace(version, recorded=None) for version in model.versions)
    tagged = replace(model, versions=unrecorded)
    folded = model.record.stages
    now = {v.version: adoptable(v, tagged) for v in unrecorded}
    changed = (number for number in now if folded.get(number) != now[number])
    return tuple(Step(number, folded.get(number, "None"), now[number]) for number in changed)


def leave_one(book: Journal) -> None:
    """Leave one version in Production, the alias's, where a record says that there are two."""
    steps = [Step(v.version, v.stage, "Archived") for v in leaving(book.model, 0, "None")]
    if steps:
        book.move("archive", steps, version=steps[-1].version)


def report(found: Diagnosis) -> str:
    """Return a diagnosis as people read it."""
    settings = [
        {"setting": name, "value": value or "not set", "from": source}
        for name, value, source in found.settings
    ]
    tools = [{"tool": tool, "version": version} for tool, version in found.tools.items()]
    names = {key: _FACTS.get(key, key.replace("_", " ")) for key in found.store}
    facts = [f"{names[key]}: {_fact(value)}" for key, value in found.store.items()]
    lines = [f"✓ repaired: {f.name}, {f.subject}: {f.message}; {f.repair}" for f in found.repaired]
    lines += [f"✗ {line_of(f)}" for f in found.findings]
    lines += [f"✗ {line}" for line in found.failed]
    parts = [aligned(settings) if settings else "", aligned(tools), "\n".join(facts)]
    return "\n\n".join([*filter(None, parts), "\n".join([*lines, _summary(found)])])


def line_of(finding: CheckResult) -> str:
    """Return a finding as one line: what, where, why and the fix."""
    cause = "; ".join(part for part in (finding.message, finding.fix) if part)
    return visible(f"{finding.name}, {finding.subject}: {cause}")


def _fact(value: Any) -> str:
    return ("yes" if value else "no") if isinstance(value, bool) else str(value)


def _summary(found: Diagnosis) -> str:
    left, repaired = len(found.findings) + len(found.failed), len(found.repaired)
    if found.well:
        return f"✓ all is well, {repaired} repaired" if repaired else "✓ all is well"
    repairable = sum(bool(finding.repair) for finding in found.findings)
    if not repairable or repaired:
        return f"{left} to repair"
    return f"{left} to repair; --fix repairs {repairable if repairable < left else 'all'} of them"
