"""What is wrong with a registry, and mending what can be mended: the command ``doctor``."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlflow.exceptions import MlflowException

from lockstep.audit.checkup import Checkup, abandoned, examine
from lockstep.checks import CheckResult
from lockstep.config.settings import load_settings
from lockstep.console import aligned, visible
from lockstep.errors import LockstepError
from lockstep.registry.lifecycle.moves import leaving
from lockstep.registry.record.events import Step, Who
from lockstep.registry.record.journal import Journal, default_who
from lockstep.registry.record.locking import Lock, all_locks, held
from lockstep.registry.record.recovery import ADOPTED_AT_ONCE, adopt, adoptable, finish
from lockstep.registry.record.registered_models import Model, get_model
from lockstep.registry.store import connection
from lockstep.registry.store.connection import translating_mlflow_errors

if TYPE_CHECKING:
    from lockstep.registry.store.connection import Client

KEYS = {"what": "name", "where": "subject", "fault": "message", "mend": "fix", "did": "repair"}
"""The keys of a finding in JSON."""
LONGEST_FAULTS = 2000
OF_MODELS = ("damaged record", "half-done move", "no record", "disagreement", "two Productions")
"""Findings that are mended a model at a time, in one go."""
_FACTS = {
    "schema": "database schema",
    "files_looked_for": "files looked for (`verify` looks into them)",
}
"""Facts of the store whose name for programs says too little."""


@dataclass(frozen=True)
class Diagnosis:
    """What was found, and what of it --fix mended; ``failed`` are its own failures."""

    checkup: Checkup
    mended: tuple[CheckResult, ...] = ()
    failed: tuple[str, ...] = ()

    @property
    def well(self) -> bool:
        """Whether nothing is wrong, or nothing is any more."""
        return not self.checkup.findings and not self.failed

    @property
    def content(self) -> dict[str, Any]:
        """The whole as plain JSON values."""
        settings = [
            dict(zip(("name", "value", "source"), row, strict=True))
            for row in self.checkup.settings
        ]
        left = [{**one.content(KEYS), "mended": False} for one in self.checkup.findings]
        done = [{**one.content(KEYS), "mended": True} for one in self.mended]
        facts = {"settings": settings, "tools": self.checkup.tools, "store": self.checkup.store}
        return {"well": self.well, **facts, "findings": done + left, "failed": list(self.failed)}


def diagnose(root: Path, tracking_uri: str | None = None, fix: bool = False) -> Diagnosis:
    """Look at everything; with ``fix`` mend what can be mended, and look again. Raises nothing a store can cause."""
    before = examine(root, tracking_uri)
    if not fix or not any(finding.repair for finding in before.findings):
        return Diagnosis(before)
    failed = mend(root, tracking_uri, before.findings)
    after = examine(root, tracking_uri)
    left = {(one.name, one.subject, one.message) for one in after.findings}
    mended = (f for f in before.findings if (f.name, f.subject, f.message) not in left)
    return Diagnosis(after, tuple(mended), tuple(failed))


def mend(root: Path, tracking_uri: str | None, findings: Iterable[CheckResult]) -> list[str]:
    """Mend what was found, each model by itself; return what could not be, one line each."""
    failed = []
    try:
        with translating_mlflow_errors():
            # Connecting follows a workspace that was moved.
            client = connection.connect(load_settings(root, {"tracking_uri": tracking_uri}), root)
            break_locks(client, [lock for lock in all_locks(client) if abandoned(lock)])
    except LockstepError as error:
        return [str(error)]
    for name in sorted({one.subject for one in findings if one.name in OF_MODELS}):
        try:
            mend_model(client, name)
        except (LockstepError, MlflowException) as error:
            failed.append(f"{name} could not be mended: {connection.one_line(error)}")
    return failed


def break_locks(client: Client, locks: Iterable[Lock]) -> None:
    """Take away locks whose owners are gone, and marks of breaking one."""
    for lock in locks:
        with held(client, lock.name):  # whoever takes it breaks it, after its time
            pass


def mend_model(client: Client, name: str) -> None:
    """End what a crash left, accept a damaged record as it stands, and bring all that follows from it in line."""
    with held(client, name):
        book = Journal(client, get_model(client, name), Who(default_who().actor, "doctor --fix"))
        if book.model.record.faults:
            accept(
                book
            )  # also over what is open: with its end taken away, an old event looks half-done
        else:
            finish(book)
        adopt(book)
        leave_one(book)
        book.apply([])


def accept(book: Journal) -> None:
    """Take what the tags say over into a record with faults, as an event that names them.

    Several where one tag has no room; all but the last are plain takings over, so that a crash between leaves the
    faults standing.
    """
    steps = steps_to_tags(book.model)
    parts = [
        steps[start : start + ADOPTED_AT_ONCE] for start in range(0, len(steps), ADOPTED_AT_ONCE)
    ] or [()]
    details = {"faults": "; ".join(book.model.record.faults)[:LONGEST_FAULTS]}
    for place, part in enumerate(parts, start=1):
        last = place == len(parts)
        event = book.begin(
            "accept" if last else "adopt", steps=part, details=details if last else {}
        )
        book.apply(part)
        book.end(event)


def steps_to_tags(model: Model) -> tuple[Step, ...]:
    """Return the steps from what a record says to what the tags of its versions say, with one Production at most."""
    told = replace(model, versions=tuple(replace(v, recorded=None) for v in model.versions))
    now = {v.version: adoptable(v, told) for v in told.versions}
    folded = model.record.stages
    return tuple(
        Step(number, folded.get(number, "None"), stage)
        for number, stage in now.items()
        if folded.get(number) != stage
    )


def leave_one(book: Journal) -> None:
    """Leave one version in Production, the alias's, where a record ever says that there are two."""
    steps = tuple(Step(v.version, v.stage, "Archived") for v in leaving(book.model, 0, "None"))
    if steps:
        event = book.begin("archive", version=steps[-1].version, steps=steps)
        book.apply(steps)
        book.end(event)


def report(found: Diagnosis) -> str:
    """Return a diagnosis as people read it."""
    checkup = found.checkup
    settings = [
        {"setting": n, "value": v or "not set", "from": source} for n, v, source in checkup.settings
    ]
    parts = [aligned(settings)] if settings else []
    parts += [
        aligned([{"tool": tool, "version": version} for tool, version in checkup.tools.items()])
    ]
    parts += [
        "\n".join(
            f"{_FACTS.get(key, key.replace('_', ' '))}: {_word(value)}"
            for key, value in checkup.store.items()
        )
    ]
    lines = [f"✓ mended: {f.name}, {f.subject}: {f.message}; {f.repair}" for f in found.mended]
    lines += [f"✗ {line_of(f)}" for f in checkup.findings] + [f"✗ {line}" for line in found.failed]
    return "\n\n".join([part for part in parts if part] + ["\n".join([*lines, _summary(found)])])


def line_of(finding: CheckResult) -> str:
    """Return a finding as one line: what, where, why and the fix."""
    cause = "; ".join(part for part in (finding.message, finding.fix) if part)
    return visible(f"{finding.name}, {finding.subject}: {cause}")


def _word(value: Any) -> str:
    return (
        {True: "yes", False: "no"}.get(value, str(value)) if isinstance(value, bool) else str(value)
    )


def _summary(found: Diagnosis) -> str:
    left, mended = len(found.checkup.findings) + len(found.failed), len(found.mended)
    if found.well:
        return f"✓ all is well, {mended} mended" if mended else "✓ all is well"
    mendable = sum(bool(f.repair) for f in found.checkup.findings)
    hint = (
        f"; --fix mends {mendable if mendable < left else 'all'} of them"
        if mendable and not mended
        else ""
    )
    return f"{left} to mend{hint}"
