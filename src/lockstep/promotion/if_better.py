"""The registration policy ``if_better``: only a model that beats all earlier versions becomes one.

All score the same rows, which none of them has seen, and each decides by its own threshold or
costs. A model that does not win is refused, once, on record.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from lockstep.checks import REFUSED
from lockstep.config.gates import Gates, gates_of
from lockstep.console import warn
from lockstep.decision.policies import costs_in
from lockstep.errors import ArtifactError, LockstepError, RegistryError
from lockstep.evaluation.metrics import best_of, better, evaluate, metric_names
from lockstep.models.scoring.prediction import Model as Loaded
from lockstep.promotion.configured import (
    COMPARED_BY,
    IF_BETTER,
    check_registration_metric,
    check_sections,
)
from lockstep.promotion.gates import summary_line
from lockstep.promotion.holdout import NEW_MODEL, Holdout, check_enough, scored, unseen
from lockstep.promotion.previous_versions import distinct, scores_of, seen_of, unfit
from lockstep.promotion.scoring import check_finite, is_finite
from lockstep.registry.publishing.outputs import Outputs
from lockstep.registry.publishing.registration import Decision, ensure_model
from lockstep.registry.record.recovery import open_journal
from lockstep.registry.record.registered_models import Model, get_model
from lockstep.registry.store.connection import Client
from lockstep.registry.store.versions import Version

FIRST = "the first version of its name"
NONE_ABLE = "no earlier version can score today's rows"
_MOST_SHOWN = 10


@dataclass(frozen=True)
class Answer:
    """Whether a model beats all earlier versions, why, and which of those is best."""

    better: bool
    detail: str
    best: int | None = None
    figures: Mapping[str, float] = field(default_factory=dict)


def metric_of(configured: str | None, task: str) -> str:
    """Return the metric that versions of a task are compared by: F1, or the configured one.

    One of other tasks leaves this task its own; ConfigError for one of no task.
    """
    check_registration_metric(configured)
    return configured if configured in metric_names(task) else COMPARED_BY[task]


def judged(
    client: Client,
    name: str,
    outputs: Outputs,
    run_id: str,
    sections: Mapping[str, Gates],
    configured: str | None = None,
) -> Decision:
    """Judge a trained model against all versions of a name; a refusal is one line, on record.

    A model that lost against a version that still exists is not compared again. One that can't be
    compared is refused too, but compared again the next time. No lock is held meanwhile: who makes
    the version checks, under the lock, that no other version came since. ``configured`` is the
    metric of model_config.yaml.
    """
    metric = metric_of(configured, outputs.schema.task)
    ensure_model(client, name)
    model = get_model(client, name)
    among = frozenset(model.numbers)
    if not among:
        return Decision("", among, FIRST)
    if any(v.tag("model_digest") == outputs.digest for v in model.versions):
        return Decision("", among)
    if known := lost_before(model, outputs.digest, metric):
        return Decision(known, among)
    answer = compare(client, model, outputs, sections, metric)
    detail = summary_line(answer.detail)
    if answer.better:
        return Decision("", among, detail, answer.figures)
    _record(client, name, outputs.digest, run_id, metric, replace(answer, detail=detail))
    return Decision(detail, among, detail, answer.figures)


def lost_before(model: Model, digest: str, metric: str) -> str:
    """Return why a model lost before against a version that still exists; empty where it didn't.

    A comparison by another metric does not count, nor one of which the metric is unknown.
    """
    found = [
        str(event.gate.get("summary", ""))
        for event in model.record.events
        if event.action == "register"
        and event.gate.get("verdict") == REFUSED
        and event.details.get("model_digest") == digest
        and event.gate.get("champion") in model.numbers
        and event.gate.get("metric") == metric
    ]
    return found[-1] if found else ""


def compare(
    client: Client, model: Model, outputs: Outputs, sections: Mapping[str, Gates], metric: str
) -> Answer:
    """Compare a trained model with all versions of a name that can score today's rows."""
    check_sections(sections)
    try:
        return _compared(client, model, outputs, gates_of(sections, outputs.problem), metric)
    except LockstepError as error:
        return Answer(False, f"it can't be compared with the earlier ones: {error}")


def _compared(client: Client, model: Model, outputs: Outputs, gates: Gates, metric: str) -> Answer:
    if outputs.training_rows is None:
        raise RegistryError("its own data are not in this workspace; run `dvc pull`")
    root, versions = outputs.root, distinct(model.versions)
    skipped = {v.version: why for v in versions if (why := unfit(client, root, v, outputs.schema))}
    able = [version for version in versions if version.version not in skipped]
    answer = Answer(True, NONE_ABLE)
    if able:
        named = [(v.title, seen_of(client, root, v)) for v in able]
        rows = unseen(root, outputs.problem, [*named, (NEW_MODEL, outputs.training_rows)])
        check_enough(rows, gates)
        values = _values(client, root, able, rows, metric, skipped)
        own = trained(outputs)
        found = evaluate(check_finite(scored(own, str(own.digest), rows, root), own))
        if values:
            answer = _best_of(values, found[metric], metric, len(rows.target))
    _warn_of_skipped(model.name, skipped)
    return answer


def _values(
    client: Client,
    root: Path,
    versions: Sequence[Version],
    rows: Holdout,
    metric: str,
    skipped: dict[int, str],
) -> dict[int, float]:
    """Return the metric by version; add those that can't be scored to the ``skipped``."""
    found: dict[int, float] = {}
    for version in versions:
        try:
            scores = scores_of(client, root, version, rows)
        except ArtifactError:
            skipped[version.version] = "its files are damaged or missing"
            continue
        if not is_finite(scores):
            skipped[version.version] = "its scores are no finite numbers"
            continue
        found[version.version] = evaluate(scores)[metric]
    return found


def _warn_of_skipped(name: str, skipped: Mapping[int, str]) -> None:
    """Print which versions were not compared, those with the same reason together."""
    for why in dict.fromkeys(skipped.values()):
        numbers = sorted(number for number, reason in skipped.items() if reason == why)
        shown = [*map(str, numbers[:_MOST_SHOWN]), *(["…"] if len(numbers) > _MOST_SHOWN else [])]
        several = "versions" if len(numbers) > 1 else "version"
        warn(f"{name}: {several} {', '.join(shown)} not compared: {why}")


def _best_of(values: Mapping[int, float], own: float, metric: str, rows: int) -> Answer:
    """Compare a model's value with the best of the earlier versions', of equal ones the first."""
    best = best_of(values, metric)
    wins = better(metric, own, values[best])
    detail = (
        f"{metric} {own:.4f} against {values[best]:.4f} of version {best} on {rows:,} rows that "
        f"none of {len(values)} earlier versions has seen"
    )
    figures = {f"registration_{metric}": own, f"registration_best_{metric}": values[best]}
    return Answer(wins, detail if wins else f"{detail}: not better", best, figures)


def trained(outputs: Outputs) -> Loaded:
    """Return a trained model of this workspace, ready to predict."""
    return Loaded(
        pipeline=outputs.load_pipeline(),
        schema=outputs.schema,
        threshold=outputs.card.get("threshold"),
        name=f"the new {outputs.type} model",
        digest=outputs.digest,
        costs=costs_in(outputs.card),
    )


def _record(
    client: Client, name: str, digest: str, run_id: str, metric: str, answer: Answer
) -> None:
    """Record a refusal, unless the model's last event is the same one."""
    gate: dict[str, Any] = {"verdict": REFUSED, "policy": IF_BETTER, "summary": answer.detail}
    gate |= {"champion": answer.best, "metric": metric} if answer.best is not None else {}
    details = {"model_digest": digest, "run_id": run_id}
    with open_journal(client, name) as book:
        events = [e for e in book.model.record.events if e.details.get("model_digest") == digest]
        if events and events[-1].gate == gate:
            return
        event = book.begin("register", gate=gate, details=details)
        book.end(event, REFUSED)
