"""The registration policy ``if_better``: a model gets a version only when it beats all earlier ones of its name.

All score the same rows, which none of them was fitted or tuned on. Who does not win is refused, once, on record.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lockstep.config.gates import Gates, gates_of
from lockstep.config.params import load_params
from lockstep.errors import LockstepError, RegistryError
from lockstep.models.evaluation import better, evaluate
from lockstep.registry.catalog import Model, Version, get_model
from lockstep.registry.judging.gates import (
    LONGEST_SUMMARY,
    REFUSED,
    check_enough,
    check_finite,
    check_sections,
)

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from lockstep.models.prediction import Model as Loaded
    from lockstep.registry.judging.holdout import Holdout
    from lockstep.registry.publishing.outputs import Outputs

IF_BETTER = "if_better"


@dataclass(frozen=True)
class Answer:
    """Whether a model is better than all earlier ones, in words, and the version that is best of those."""

    better: bool
    detail: str
    best: int | None = None


def refusal(
    client: MlflowClient, name: str, outputs: Outputs, run_id: str, sections: Mapping[str, Gates]
) -> str:
    """Return why a trained model gets no version, in one line and on record; empty where it gets one.

    What lost before against a version that is still there is not compared again. Where the comparison can't be
    made the model is refused too, and compared anew the next time.
    """
    model = _model(client, name)
    if model is None or any(v.tag("model_digest") == outputs.digest for v in model.versions):
        return ""
    if known := lost_before(model, outputs.digest):
        return known
    answer = compare(client, model, outputs, sections)
    if answer.better:
        return ""
    detail = (
        answer.detail if len(answer.detail) <= LONGEST_SUMMARY else f"{answer.detail[: LONGEST_SUMMARY - 1]}…"
    )
    _record(client, name, outputs.digest, run_id, Answer(False, detail, answer.best))
    return detail


def _model(client: MlflowClient, name: str) -> Model | None:
    """Return the registered model; None where it is none yet, or has no version."""
    from lockstep.registry.record.lifecycle import ensure_model

    ensure_model(client, name)
    model = get_model(client, name)
    return model if model.versions else None


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


def compare(client: MlflowClient, model: Model, outputs: Outputs, sections: Mapping[str, Gates]) -> Answer:
    """Compare a trained model with all versions of a name that can score today's rows."""
    check_sections(sections)
    try:
        return _compared(client, model, outputs, gates_of(sections, outputs.problem))
    except LockstepError as error:
        return Answer(False, f"it can't be compared with the earlier ones: {error}")


def _compared(client: MlflowClient, model: Model, outputs: Outputs, gates: Gates) -> Answer:
    from lockstep.registry.judging.holdout import holdout

    if outputs.seen is None:
        raise RegistryError("its own data are not in this workspace; run `dvc pull`")
    opened = [(v, m) for v in distinct(model.versions) if (m := _opened(client, v, outputs)) is not None]
    if not opened:
        return Answer(True, "no earlier version can score today's rows")
    versions = [version for version, _ in opened]
    rows = holdout(client, outputs.root, outputs.problem, versions, also=[outputs.seen])
    check_enough(rows, gates)
    metric = load_params(outputs.root).problem(outputs.problem).compare.metric
    own = _value(trained(outputs), rows, metric, outputs.root)
    values = [_value(loaded, rows, metric, outputs.root) for _, loaded in opened]
    return _best_of(versions, values, own, metric, len(rows.target))


def _best_of(
    versions: Sequence[Version], values: Sequence[float], own: float, metric: str, rows: int
) -> Answer:
    best = 0
    for number in range(1, len(values)):
        best = number if better(metric, values[number], values[best]) else best
    wins = better(metric, own, values[best])
    told = f"{metric} {own:.4f} against {values[best]:.4f} of version {versions[best].version}"
    rest = f"on {rows:,} rows that none of {len(versions)} earlier versions has seen"
    return Answer(wins, f"{told} {rest}{'' if wins else ': not better'}", versions[best].version)


def distinct(versions: Sequence[Version]) -> list[Version]:
    """Return the versions, of those with the same model the newest."""
    found = {version.tag("model_digest") or f"version {version.version}": version for version in versions}
    return list(found.values())


def _opened(client: MlflowClient, version: Version, outputs: Outputs) -> Loaded | None:
    """Return a version that can score today's rows; None for one whose files are gone or that wants other columns."""
    from lockstep.errors import ArtifactError
    from lockstep.registry.artifact.loading import locate, open_version
    from lockstep.registry.catalog import PRUNED_TAG

    if PRUNED_TAG in version.tags:
        return None
    try:
        model = open_version(locate(client, version, outputs.root))
    except ArtifactError:  # damaged, or another tool's: it can score nothing
        return None
    fits = set(model.schema.feature_names) <= set(outputs.schema.columns)
    return model if fits and model.schema.task == outputs.schema.task else None


def trained(outputs: Outputs) -> Loaded:
    """Return a trained model of this workspace as what predicts."""
    from lockstep.models.decisions import costs_in
    from lockstep.models.prediction import Model

    return Model(
        pipeline=outputs.load_pipeline(),
        schema=outputs.schema,
        threshold=outputs.card.get("threshold"),
        name=f"the new {outputs.type} model",
        digest=outputs.digest,
        costs=costs_in(outputs.card),
    )


def _value(model: Loaded, rows: Holdout, metric: str, root: Path) -> float:
    from lockstep.registry.judging.holdout import scored

    return evaluate(check_finite(scored(model, str(model.digest), rows, root), model))[metric]


def _record(client: MlflowClient, name: str, digest: str, run_id: str, answer: Answer) -> None:
    """Put a refusal on record, unless the same one is there."""
    from lockstep.registry.record.journal import journal

    gate: dict[str, Any] = {"verdict": REFUSED, "policy": IF_BETTER, "summary": answer.detail}
    gate |= {"champion": answer.best} if answer.best is not None else {}
    details = {"model_digest": digest, "run_id": run_id}
    with journal(client, name) as book:
        told = [e for e in book.model.record.events if e.details.get("model_digest") == digest]
        if told and told[-1].gate == gate:
            return
        event = book.begin("register", gate=gate, details=details)
        book.end(event, REFUSED)
