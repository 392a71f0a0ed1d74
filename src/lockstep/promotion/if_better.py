"""The registration policy ``if_better``: a model gets a version only when it beats all earlier ones of its name.

All score the same rows, which none of them was fitted or tuned on. Who does not win is refused, once, on record.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lockstep.checks import REFUSED
from lockstep.config.gates import Gates, gates_of
from lockstep.config.params import load_params
from lockstep.decision.policies import costs_in
from lockstep.errors import ArtifactError, LockstepError, RegistryError
from lockstep.evaluation.metrics import better, evaluate
from lockstep.models.scoring.prediction import Model as Loaded
from lockstep.promotion.gates import (
    check_enough,
    check_finite,
    check_sections,
    is_finite,
    summary_line,
)
from lockstep.promotion.holdout import Holdout, scored, unseen
from lockstep.promotion.previous_versions import distinct, scores_of, seen_of, unfit
from lockstep.registry.publishing.registration import Decision, ensure_model
from lockstep.registry.record.recovery import open_journal
from lockstep.registry.record.registered_models import Model, get_model
from lockstep.registry.store.versions import Version

if TYPE_CHECKING:
    from lockstep.models.scoring.prediction import Model as Loaded
    from lockstep.registry.publishing.outputs import Outputs
    from lockstep.registry.store.connection import Client

IF_BETTER = "if_better"
NONE_ABLE = "no earlier version can score today's rows"
_MOST_SHOWN = 10


@dataclass(frozen=True)
class Answer:
    """Whether a model is better than all earlier ones, in words, and the version that is best of those."""

    better: bool
    detail: str
    best: int | None = None


def judged(
    client: Client, name: str, outputs: Outputs, run_id: str, sections: Mapping[str, Gates]
) -> Decision:
    """Judge a trained model against all versions of a name; a refusal is in one line and on record.

    What lost before against a version that is still there is not compared again. Where the comparison can't be
    made the model is refused too, and compared anew the next time. The model is not held meanwhile: whoever makes
    the version checks, while it is, that the versions judged against are still all there are.
    """
    model = _model(client, name)
    among = frozenset(version.version for version in model.versions)
    if not among or any(v.tag("model_digest") == outputs.digest for v in model.versions):
        return Decision("", among)
    if known := lost_before(model, outputs.digest):
        return Decision(known, among)
    answer = compare(client, model, outputs, sections)
    if answer.better:
        return Decision("", among)
    detail = summary_line(answer.detail)
    _record(client, name, outputs.digest, run_id, Answer(False, detail, answer.best))
    return Decision(detail, among)


def _model(client: Client, name: str) -> Model:
    """Return the registered model, made where it is none yet."""
    ensure_model(client, name)
    return get_model(client, name)


def lost_before(model: Model, digest: str) -> str:
    """Return why a model was refused when it lost against a version that still exists; empty where it wasn't."""
    there = {version.version for version in model.versions}
    found = [
        str(event.gate.get("summary", ""))
        for event in model.record.events
        if event.action == "register"
        and event.gate.get("verdict") == REFUSED
        and event.details.get("model_digest") == digest
        and event.gate.get("champion") in there
    ]
    return found[-1] if found else ""


def compare(
    client: Client, model: Model, outputs: Outputs, sections: Mapping[str, Gates]
) -> Answer:
    """Compare a trained model with all versions of a name that can score today's rows."""
    check_sections(sections)
    try:
        return _compared(client, model, outputs, gates_of(sections, outputs.problem))
    except LockstepError as error:
        return Answer(False, f"it can't be compared with the earlier ones: {error}")


def _compared(client: Client, model: Model, outputs: Outputs, gates: Gates) -> Answer:
    if outputs.training_rows is None:
        raise RegistryError("its own data are not in this workspace; run `dvc pull`")
    root, alone = outputs.root, distinct(model.versions)
    skipped = {v.version: why for v in alone if (why := unfit(client, root, v, outputs.schema))}
    able = [version for version in alone if version.version not in skipped]
    answer = Answer(True, NONE_ABLE)
    if able:
        rows = _rows(client, outputs, able, gates)
        metric = load_params(root).problem(outputs.problem).compare.metric
        values = _values(client, root, able, rows, metric, skipped)
        own = _value(trained(outputs), rows, metric, root)
        answer = _best_of(values, own, metric, len(rows.target)) if values else answer
    _tell_skipped(model.name, skipped)
    return answer


def _rows(client: Client, outputs: Outputs, versions: Sequence[Version], gates: Gates) -> Holdout:
    """Return the rows that neither the new model nor any of the versions has seen."""
    named = [(f"{v.name} version {v.version}", seen_of(client, outputs.root, v)) for v in versions]
    rows = unseen(
        outputs.root,
        outputs.problem,
        named,
        also=[outputs.training_rows] if outputs.training_rows else [],
    )
    check_enough(rows, gates)
    return rows


def _values(
    client: Client,
    root: Path,
    versions: Sequence[Version],
    rows: Holdout,
    metric: str,
    skipped: dict[int, str],
) -> dict[int, float]:
    """Return the metric by version; one that turns out to be no use is noted among the ``skipped``."""
    found: dict[int, float] = {}
    for version in versions:
        try:
            told = scores_of(client, root, version, rows)
        except ArtifactError:
            skipped[version.version] = "its files are damaged or gone"
            continue
        if not is_finite(told):
            skipped[version.version] = "its scores are no finite numbers"
            continue
        found[version.version] = evaluate(told)[metric]
    return found


def _tell_skipped(name: str, skipped: Mapping[int, str]) -> None:
    """Say which versions were not compared, those of one reason together."""
    for why in dict.fromkeys(skipped.values()):
        numbers = sorted(number for number, told in skipped.items() if told == why)
        shown = ", ".join(map(str, numbers[:_MOST_SHOWN])) + (
            ", …" if len(numbers) > _MOST_SHOWN else ""
        )
        several = "versions" if len(numbers) > 1 else "version"
        print(f"⚠ {name}: {several} {shown} not compared: {why}", file=sys.stderr)


def _best_of(values: Mapping[int, float], own: float, metric: str, rows: int) -> Answer:
    """Judge a model's value by the best of the earlier ones', of equals the first."""
    best, *others = values
    for number in others:
        best = number if better(metric, values[number], values[best]) else best
    wins = better(metric, own, values[best])
    told = f"{metric} {own:.4f} against {values[best]:.4f} of version {best}"
    rest = f"on {rows:,} rows that none of {len(values)} earlier versions has seen"
    return Answer(wins, f"{told} {rest}{'' if wins else ': not better'}", best)


def trained(outputs: Outputs) -> Loaded:
    """Return a trained model of this workspace as what predicts."""
    return Loaded(
        pipeline=outputs.load_pipeline(),
        schema=outputs.schema,
        threshold=outputs.card.get("threshold"),
        name=f"the new {outputs.type} model",
        digest=outputs.digest,
        costs=costs_in(outputs.card),
    )


def _value(model: Loaded, rows: Holdout, metric: str, root: Path) -> float:
    return evaluate(check_finite(scored(model, str(model.digest), rows, root), model))[metric]


def _record(client: Client, name: str, digest: str, run_id: str, answer: Answer) -> None:
    """Put a refusal on record, unless the same one is there."""
    gate: dict[str, Any] = {"verdict": REFUSED, "policy": IF_BETTER, "summary": answer.detail}
    gate |= {"champion": answer.best} if answer.best is not None else {}
    details = {"model_digest": digest, "run_id": run_id}
    with open_journal(client, name) as book:
        told = [e for e in book.model.record.events if e.details.get("model_digest") == digest]
        if told and told[-1].gate == gate:
            return
        event = book.begin("register", gate=gate, details=details)
        book.end(event, REFUSED)
