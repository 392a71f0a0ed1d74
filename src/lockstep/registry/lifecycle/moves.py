"""Moves of versions between stages: one move, in one place, on record before it is done.

A version's stage is what the model's record says; the tag ``lockstep.stage`` repeats it. Many versions may be in
Staging or Archived, one at most in Production. The aliases ``production`` and ``staging`` (the newest in Staging)
follow from the stages, and so do MLflow's own as long as it has them. A move is made while the model is held, and
begins by ending what a crash left open, so the command after a crash mends.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from lockstep.errors import RegistryError, UsageError
from lockstep.registry.record.events import Event, Step, Turn, Who, to_undo, turns
from lockstep.registry.record.journal import REFUSED, Journal
from lockstep.registry.record.pointers import aliases_of
from lockstep.registry.record.recovery import open_journal
from lockstep.registry.record.registered_models import Model
from lockstep.registry.store.names import check_stage, check_version, shortened
from lockstep.registry.store.versions import Version, check_has_files

if TYPE_CHECKING:
    from lockstep.registry.store.connection import Client


class Gate(Protocol):
    """A verdict on a version, as a move takes it along."""

    @property
    def refused(self) -> bool:
        """Whether the move is forbidden."""

    @property
    def refusal(self) -> str:
        """Why, in one line, and how to override it."""

    @property
    def record(self) -> dict[str, Any]:
        """What the move's event keeps."""

    def check_still(self, model: Model, number: int) -> None:
        """Raise RegistryError if the verdict is about another version or champion than the move."""


@dataclass(frozen=True)
class Move:
    """What a command changed: the version asked for, and those that made way. ``event`` is its number, if any."""

    name: str
    step: Step
    made_way: tuple[Step, ...]
    aliases: dict[str, int]
    event: int | None = None

    @property
    def changed(self) -> bool:
        """Whether any stage changed; false where everything stood as asked."""
        return bool(self.made_way) or self.step.was != self.step.now


def transition(
    client: Client,
    name: str,
    version: int | str,
    stage: str,
    who: Who | None = None,
    action: str = "transition",
    gate: Gate | None = None,
) -> Move:
    """Put a version into a stage; a version that stands there already stays. What ``gate`` refuses is on record."""
    check_stage(stage)
    number = check_version(version)
    with open_journal(client, name, who) as book:
        return move(book, action, number, stage, gate)


def promote(
    client: Client,
    name: str,
    version: int | str | None = None,
    stage: str = "Production",
    who: Who | None = None,
    gate: Gate | None = None,
    aside: str = "Archived",
) -> Move:
    """Put a version (unnamed: the newest) into Production or Staging; the previous Production goes to ``aside``.

    ``gate`` is the verdict on that version (``gated.gate_of``); what it refuses is on record and a RegistryError.
    """
    if check_stage(stage) not in ("Staging", "Production"):
        raise UsageError(f"promote goes to Staging or Production; for {stage} use transition")
    number = None if version is None else check_version(version)
    with open_journal(client, name, who) as book:
        wanted = book.model.newest.version if number is None else number
        return move(book, "promote", wanted, stage, gate, aside)


def archive(client: Client, name: str, version: int | str, who: Who | None = None) -> Move:
    """Put a version into Archived; archiving what is archived succeeds."""
    return transition(client, name, version, "Archived", who, action="archive")


def rollback(
    client: Client,
    name: str,
    stage: str = "Production",
    version: int | str | None = None,
    run_id: str | None = None,
    who: Who | None = None,
) -> Move:
    """Bring back who stood in a stage before the last change of it, or a version that once stood there.

    Done again it goes back one change further. What leaves goes where it was before that change.
    """
    if check_stage(stage) not in ("Staging", "Production"):
        raise UsageError(f"rollback is of Staging or Production; for {stage} use transition")
    wanted = None if version is None else check_version(version)
    if wanted is not None and run_id is not None:
        raise UsageError("give the version to go back to by --to N or by --run-id ID, not by both")
    with open_journal(client, name, who) as book:
        if wanted is None and run_id is None:
            return _undo(book, stage)
        number = _of_run(book.model, run_id) if wanted is None else wanted
        _check_stood(book.model, number, stage)
        return move(book, "rollback", number, stage)


def move(
    book: Journal,
    action: str,
    number: int,
    stage: str,
    gate: Gate | None = None,
    aside: str = "Archived",
) -> Move:
    """Make one move: who stands in Production steps down first, then the version moves, pointers last.

    At no moment are two versions in Production. What stands as asked already makes no event.
    """
    moved = book.model.version(number)
    check_has_files(moved, stage)
    steps = [Step(v.version, v.stage, aside) for v in leaving(book.model, number, stage)]
    if moved.stage != stage:
        steps.append(Step(number, moved.stage, stage))
    # What stands as asked, as after a move that a crash broke off and this one ended, needs no leave.
    content = _allowed(book, action, number, stage, gate) if steps else {}
    event = _write(book, action, number, steps, **content)
    made_way = tuple(step for step in steps if step.version != number)
    return Move(
        book.name, Step(number, moved.stage, stage), made_way, aliases_of(book.model), event
    )


def _allowed(
    book: Journal, action: str, number: int, stage: str, gate: Gate | None
) -> dict[str, Any]:
    """Return what a move's event keeps of its gate; one that refuses is put on record and raised."""
    if gate is None:
        return {}
    gate.check_still(book.model, number)
    if gate.refused:
        event = book.begin(action, version=number, gate=gate.record, details={"to": stage})
        book.end(event, REFUSED)
        raise RegistryError(gate.refusal)
    return {"gate": gate.record}


def _write(
    book: Journal, action: str, number: int, steps: list[Step], **content: Any
) -> int | None:
    """Write steps as one event, or none: then only what does not agree with the record is mended."""
    if not steps:
        book.apply([])
        return None
    event = book.begin(action, version=number, steps=tuple(steps), **content)
    book.apply(steps)
    return book.end(event).number


def _undo(book: Journal, stage: str) -> Move:
    if half := _half_undone(book, stage):
        return _undone(book, half.version or 0, stage, half.steps, half.number)
    turn = to_undo(book.model.record, stage)
    if turn is None:
        raise RegistryError(
            f"nothing ever stood in {stage} of {book.name}, so there is nothing to go back to"
        )
    if stage == "Production" and not turn.before:
        raise RegistryError(
            f"no version stood in Production of {book.name} before version {max(turn.after)}; "
            "to have none there, use archive"
        )
    steps = _steps_back(book.model, turn, stage)
    if not steps:
        raise RegistryError(
            f"{stage} of {book.name} stands as it did before event {turn.event.number} already"
        )
    for step in steps:
        check_has_files(book.model.version(step.version), step.now)
    number = max(turn.before, default=steps[-1].version)
    event = _write(book, "rollback", number, steps, undoes=turn.event.number)
    return _undone(book, number, stage, steps, event)


def _half_undone(book: Journal, stage: str) -> Event | None:
    """Return the rollback that a crash broke off and this command ended: it is not to go one change further."""
    rollbacks = (
        e for e in book.mended if e.undoes is not None and stage in {s.now for s in e.steps}
    )
    return next(rollbacks, None)


def _undone(
    book: Journal, number: int, stage: str, steps: Sequence[Step], event: int | None
) -> Move:
    asked = next((step for step in steps if step.version == number), Step(number, stage, stage))
    made_way = tuple(step for step in steps if step is not asked)
    return Move(book.name, asked, made_way, aliases_of(book.model), event)


def _steps_back(model: Model, turn: Turn, stage: str) -> list[Step]:
    """Return the steps that give a stage its versions of before a change; those that leave it come first."""
    was = {step.version: step.was for step in turn.event.steps if step.now == stage}
    there = {v.version for v in model.in_stage(stage)}
    leave = [Step(n, stage, was.get(n, "Archived")) for n in sorted(there - turn.before)]
    back = [model.version(n) for n in sorted(turn.before - there)]
    return [*leave, *(Step(v.version, v.stage, stage) for v in back)]


def _of_run(model: Model, run_id: str | None) -> int:
    found = [v.version for v in model.versions if v.run_id == run_id]
    if not found:
        told = f"{model.name} has no version of run '{shortened(run_id or '')}'"
        raise RegistryError(f"{told}; list-versions shows the runs")
    return found[-1]


def _check_stood(model: Model, number: int, stage: str) -> None:
    model.version(number)
    stood = sorted({n for turn in turns(model.record, stage) for n in turn.after})
    if number not in stood:
        there = ", ".join(map(str, stood)) or "none"
        raise RegistryError(
            f"version {number} of {model.name} never stood in {stage} (those that did: {there}); use promote"
        )


def leaving(model: Model, number: int, stage: str) -> list[Version]:
    """Return the versions that must leave Production when ``number`` goes to ``stage``.

    Where two ever stood there (written by another tool), any move leaves the one the alias names.
    """
    others = [v for v in model.in_stage("Production") if v.version != number]
    if stage == "Production":
        return others
    kept = model.aliases.get("production")
    keep = next((v for v in others if v.version == kept), others[-1] if others else None)
    return [v for v in others if v is not keep]
