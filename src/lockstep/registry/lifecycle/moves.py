"""Moves of versions between stages, each on record before it is made.

A version's stage is what the model's record says; the tag ``lockstep.stage`` repeats it. Many
versions may be in Staging or Archived, one at most in Production. The aliases ``production`` and
``staging`` (the newest in Staging) follow from the stages, and so do MLflow's own as long as they
exist. A move locks the model and first ends what a crash left open, so the command after a crash
repairs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from lockstep.errors import RegistryError, UsageError, listed
from lockstep.registry.record.events import Event, Step, Turn, Who, to_undo, turns
from lockstep.registry.record.journal import REFUSED, Journal
from lockstep.registry.record.recovery import open_journal
from lockstep.registry.record.registered_models import Model, aliases_of, brought_back, get_model
from lockstep.registry.store.connection import Client
from lockstep.registry.store.names import check_stage, check_version, shortened
from lockstep.registry.store.opening import source_of
from lockstep.registry.store.versions import Version, check_has_files


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
        """Raise RegistryError if the verdict is about another version or champion."""


@dataclass(frozen=True)
class Move:
    """What a command changed (``event`` None: nothing), and the versions that made way for it."""

    name: str
    step: Step
    made_way: tuple[Step, ...]
    aliases: dict[str, int]
    event: int | None = None

    @property
    def changed(self) -> bool:
        """Whether any stage changed."""
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
    """Put a version into a stage; a refusal by ``gate`` is recorded and raised."""
    check_stage(stage)
    number = check_version(version)
    with open_journal(client, name, who, [number]) as journal:
        return move(journal, action, number, stage, gate)


def promote(
    client: Client,
    name: str,
    version: int | str | None = None,
    stage: str = "Production",
    who: Who | None = None,
    gate: Gate | None = None,
    aside: str = "Archived",
) -> Move:
    """Put a version (default: the newest) into Production or Staging.

    The previous Production goes to ``aside``; a refusal by ``gate`` is recorded and raised.
    """
    if check_stage(stage) not in ("Staging", "Production"):
        raise UsageError(f"promote goes to Staging or Production; for {stage} use transition")
    number = None if version is None else check_version(version)
    with open_journal(client, name, who, [] if number is None else [number]) as journal:
        wanted = journal.model.newest.version if number is None else number
        _refuse_demotion(journal.model.version(wanted), stage)
        return move(journal, "promote", wanted, stage, gate, aside)


def _refuse_demotion(version: Version, stage: str) -> None:
    """Raise UsageError for a version that would leave Production: `promote` moves upwards."""
    if version.stage == "Production" != stage:
        down = f"transition --model-name {version.name} --version {version.version} --stage {stage}"
        raise UsageError(f"{version.title} is in Production; `{down}` moves it down")


def archive(client: Client, name: str, version: int | str, who: Who | None = None) -> Move:
    """Put a version into Archived, if it is not there."""
    return transition(client, name, version, "Archived", who, action="archive")


def rollback(
    client: Client,
    name: str,
    stage: str = "Production",
    version: int | str | None = None,
    run_id: str | None = None,
    who: Who | None = None,
) -> Move:
    """Undo the last change of a stage, or bring back a version that was once in it.

    Repeated, it goes one change further. A version that leaves goes where it was before, or to
    Archived where another one stands in Production by now.
    """
    if check_stage(stage) not in ("Staging", "Production"):
        raise UsageError(f"rollback is of Staging or Production; for {stage} use transition")
    number = None if version is None else check_version(version)
    if number is not None and run_id is not None:
        raise UsageError("give the version to go back to by --to N or by --run-id ID, not by both")
    asked = [] if number is None else [number]
    if run_id is not None and run_id.isalnum():
        asked = [v.version for v in source_of(client).versions_of_run(run_id) if v.name == name]
    with open_journal(client, name, who, asked) as journal:
        if run_id is not None:
            found = _of_run(journal.model, run_id)
        elif number is not None:
            found = [journal.model.version(number).version]
        else:
            return _undo(journal, stage)
        return move(journal, "rollback", _newest_that_stood(journal.model, found, stage), stage)


def move(
    journal: Journal,
    action: str,
    number: int,
    stage: str,
    gate: Gate | None = None,
    aside: str = "Archived",
) -> Move:
    """Make one move: the versions that leave Production, then the version, then the pointers."""
    moved = journal.model.version(number)
    check_has_files(moved, stage)
    steps = [Step(v.version, v.stage, aside) for v in leaving(journal.model, number, stage)]
    if moved.stage != stage:
        steps.append(Step(number, moved.stage, stage))
    if not steps:  # as for a move that a crash interrupted and this one ended: no permission needed
        journal.apply([])
        return _made(journal, number, stage, steps, None)
    content = _permitted(journal, action, number, stage, gate)
    event = journal.move(action, steps, version=number, **content)
    return _made(journal, number, stage, steps, event.number)


def _permitted(
    journal: Journal, action: str, number: int, stage: str, gate: Gate | None
) -> dict[str, Any]:
    """Return what a move's event keeps of its gate; record and raise a refusal."""
    if gate is None:
        return {}
    gate.check_still(journal.model, number)
    if gate.refused:
        event = journal.begin(action, version=number, gate=gate.record, details={"to": stage})
        journal.end(event, REFUSED)
        raise RegistryError(gate.refusal)
    return {"gate": gate.record}


def _undo(journal: Journal, stage: str) -> Move:
    model = journal.model
    if half := _half_undone(journal, stage):
        return _made(journal, half.version or 0, stage, half.steps, half.number)
    turn = to_undo(model.record, stage)
    if turn is None:
        never = f"nothing ever stood in {stage} of {model.name}"
        raise RegistryError(f"{never}, so there is nothing to go back to")
    before = brought_back(model, stage)
    steps = _steps_back(model, turn, stage, before)
    if not steps or (stage == "Production" and not before):
        raise RegistryError(_why_not_back(journal, turn, stage))
    if stage != "Production" and (gone := [s.version for s in steps if s.was == "Production"]):
        went = f"version {listed(gone)} of {model.name} went from {stage} into Production"
        raise RegistryError(f"{went}; take it out of there first, by rollback or archive")
    for step in steps:
        check_has_files(model.version(step.version), step.now)
    number = max(before, default=steps[-1].version)
    undone = {"undoes": turn.event.number, "stage": stage}
    event = journal.move("rollback", steps, version=number, **undone)
    return _made(journal, number, stage, steps, event.number)


def _why_not_back(journal: Journal, turn: Turn, stage: str) -> str:
    """Return why undoing a change brings nothing back, and what to do instead."""
    place, event = f"{stage} of {journal.name}", turn.event.number
    if missing := sorted(turn.before - journal.model.numbers):
        lost = f"MLflow no longer has version {listed(missing)}"
        return f"{lost}, which stood in {place} before event {event}; {_others(journal, stage)}"
    if stage == "Production" and not turn.before:
        none = f"no version stood in {place} before version {max(turn.after)}"
        return f"{none}; to have none there, use archive"
    return f"{place} stands as it did before event {event} already"


def _others(journal: Journal, stage: str) -> str:
    """Return how to bring back a version that stood in a stage, but not at the last change."""
    model = get_model(journal.client, journal.name)  # the journal's may be a part
    stood = _stood_in(model, stage)
    there = [v for v in model.versions if v.version in stood and v.pruned is None]
    found = [v.version for v in there if v.stage != stage]
    return f"go back to another with --to N: {listed(found)}" if found else "use promote"


def _half_undone(journal: Journal, stage: str) -> Event | None:
    """Return the rollback that a crash interrupted and that was just ended: it is not repeated."""
    undone = (e for e in journal.repaired if e.done and e.undoes is not None)
    return next((e for e in undone if _is_of(e, stage)), None)


def _is_of(event: Event, stage: str) -> bool:
    """Tell whether a rollback was one of this stage; older events do not say it."""
    of_steps = any(stage in (step.was, step.now) for step in event.steps)
    return event.stage == stage if event.stage else of_steps


def _made(
    journal: Journal, number: int, stage: str, steps: Sequence[Step], event: int | None
) -> Move:
    """Return what steps did: that of the version asked for, and those that made way for it."""
    main = next((step for step in steps if step.version == number), Step(number, stage, stage))
    made_way = tuple(step for step in steps if step is not main)
    return Move(journal.name, main, made_way, aliases_of(journal.model), event)


def _steps_back(model: Model, turn: Turn, stage: str, before: Sequence[int]) -> list[Step]:
    """Return the steps that undo a change of a stage; versions that leave it come first."""
    was = {step.version: step.was for step in turn.event.steps if step.now == stage}
    if model.in_stage("Production"):  # another version took the place that one may have had there
        was = {number: left for number, left in was.items() if left != "Production"}
    there = {v.version for v in model.in_stage(stage)}
    leave = [Step(n, stage, was.get(n, "Archived")) for n in sorted(there.difference(before))]
    back = [model.version(n) for n in before if n not in there]
    return [*leave, *(Step(v.version, v.stage, stage) for v in back)]


def _of_run(model: Model, run_id: str) -> list[int]:
    found = [v.version for v in model.versions if v.run_id == run_id]
    if not found:
        run = f"run '{shortened(run_id)}'"
        raise RegistryError(f"{model.name} has no version of {run}; list-versions shows the runs")
    return found


def _newest_that_stood(model: Model, numbers: Sequence[int], stage: str) -> int:
    """Return the newest of some versions that ever was in a stage; RegistryError if none was."""
    stood = _stood_in(model, stage)
    if back := stood.intersection(numbers):
        return max(back)
    those = ", ".join(map(str, sorted(stood))) or "none"
    never = f"version {listed(numbers)} of {model.name} never stood in {stage}"
    raise RegistryError(f"{never} (those that did: {those}); use promote")


def _stood_in(model: Model, stage: str) -> set[int]:
    """Return the versions that were ever in a stage, also those that were deleted since."""
    return {number for turn in turns(model.record, stage) for number in turn.after}


def leaving(model: Model, number: int, stage: str) -> list[Version]:
    """Return the versions that must leave Production when ``number`` goes to ``stage``.

    If another tool ever put two there, any move leaves the one that the alias names.
    """
    others = [v for v in model.in_stage("Production") if v.version != number]
    if stage == "Production":
        return others
    pointed = model.aliases.get("production")
    keep = next((v for v in others if v.version == pointed), others[-1] if others else None)
    return [v for v in others if v is not keep]
