"""What to do next about registered models, with the commands as they can be typed.

It judges nothing: it reads stages, stored verdicts and the newest analysis, all plain values.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace

from lockstep.checks import FORCED, PASSED, REFUSED
from lockstep.config.params import Params
from lockstep.errors import listed
from lockstep.evaluation.metrics import best_of
from lockstep.monitoring.proposed_commands import RETRAIN, ROLLBACK, proposed_commands
from lockstep.registry.store.names import SCRIPT
from lockstep.reports.board import (
    ALARM,
    DECIDE,
    NOTHING,
    REPAIR,
    START,
    BoardModel,
    BoardVersion,
    Moved,
    NextStep,
    Verdict,
    stamp,
)

MOST_CHALLENGERS = 3
"""So many of a model's newest challengers get a step each."""
ADD_REASON = "Add --reason TEXT to promote, for the record."


@dataclass(frozen=True)
class Situation:
    """A model and the others of its problem; ``best`` is the one to begin with."""

    model: BoardModel
    others: Sequence[BoardModel]
    best: BoardModel | None
    params: Params | None

    @property
    def serving(self) -> BoardModel | None:
        """Another model of the problem that has a version in Production."""
        return next((one for one in self.others if one.production is not None), None)


def with_steps(models: Sequence[BoardModel], params: Params | None) -> tuple[BoardModel, ...]:
    """Return models with their next steps."""
    found = []
    for model in models:
        # Models of other tools have no problem, so nothing is known to be an alternative.
        alike = [one for one in models if one.problem == model.problem] if model.problem else []
        others = [one for one in alike if one is not model]
        situation = Situation(model, others, to_begin_with(alike), params)
        found.append(replace(model, steps=tuple(steps_for(situation))))
    return tuple(found)


def to_begin_with(models: Sequence[BoardModel]) -> BoardModel | None:
    """Return the model of a problem whose newest usable version is the best, or the newest.

    Recorded metrics count only where all are of the same rows.
    """
    candidates = {place: one for place, model in enumerate(models) if (one := candidate_of(model))}
    if not candidates:
        return None
    metrics = {place: one.metric for place, one in candidates.items() if one.metric is not None}
    rows = {one.rows for one in candidates.values()}
    if len(metrics) == len(candidates) and len(rows) == 1 and "" not in rows:
        return models[best_of(metrics, models[0].metric)]
    dated = {place: one.created for place, one in candidates.items() if one.created is not None}
    return models[max(dated, key=dated.__getitem__, default=next(iter(candidates)))]


def candidate_of(model: BoardModel) -> BoardVersion | None:
    """Return the version that could go into Production first.

    That is the newest, or the best of those whose recorded metrics are of the same rows as its.
    """
    waiting = [one for one in model.versions if one.stage == "None" and _usable(one)]
    if not waiting:
        return None
    rows = waiting[-1].rows
    alike = [one for one in reversed(waiting) if rows and one.rows == rows]
    metrics = {one.number: one.metric for one in alike if one.metric is not None}
    if not metrics:
        return waiting[-1]
    best = best_of(metrics, model.metric)
    return next(one for one in waiting if one.number == best)


def _usable(one: BoardVersion) -> bool:
    return not one.pruned and one.rolled_back is None


def steps_for(now: Situation) -> list[NextStep]:
    """Return a model's next steps; at least one, which may say that there is nothing to do."""
    model = now.model
    if model.open_events or model.faults:
        return [repair(model)]
    alarm = alarm_of(now)
    waiting = model.challengers[:MOST_CHALLENGERS] if model.problem else ()
    challenges = [challenge(now, one) for one in waiting]
    steps = [*([alarm] if alarm else []), *challenges]
    return steps or [begin(now) or nothing(now)]


def repair(model: BoardModel) -> NextStep:
    """Return the step for a record that a crash left open, or that is damaged."""
    if model.faults:
        why = f"The record is damaged: {model.faults[0]}"
    else:
        numbers = listed(model.open_events)
        why = f"No end is on record of event {numbers}: it is under way, or a crash left it."
    return NextStep(
        REPAIR, "Look closer, then repair", why, (f"{SCRIPT} doctor", f"{SCRIPT} doctor --fix")
    )


def alarm_of(now: Situation) -> NextStep | None:
    """Return the step that the newest analysis calls for; None if a newer challenger waits."""
    model, serving = now.model, now.model.production
    if serving is None or serving.analysis is None or not serving.analysis.alarm:
        return None
    found = serving.analysis
    if any(_is_after(one, serving) and not _rejected(one) for one in model.challengers):
        return None
    goes_back = found.proposal == ROLLBACK and model.can_go_back
    action = ROLLBACK if goes_back else RETRAIN
    title = (
        f"Roll back version {serving.number}"
        if goes_back
        else f"Retrain {model.problem or model.name}"
    )
    commands = proposed_commands(now.params, action, model.name, model.problem, found.newest_month)
    if not goes_back and not model.problem:  # the tool that made it retrains it
        commands = []
    month = f" of {found.newest_month}" if found.newest_month else ""
    why = (
        f"The analysis{month} raised an alarm about version {serving.number} "
        f"({stamp(found.time)} UTC)."
    )
    return NextStep(ALARM, title, why, tuple(commands))


def _is_after(challenger: BoardVersion, serving: BoardVersion) -> bool:
    """Tell whether a challenger was registered after the analysis of the version that serves."""
    made, analysed = challenger.created, serving.analysis and serving.analysis.time
    return bool(made and analysed and made > analysed)


def _rejected(challenger: BoardVersion) -> bool:
    """Tell whether a challenger was rolled back, or refused against today's champion."""
    verdict = challenger.verdict
    refused = verdict is not None and verdict.current and verdict.outcome in (REFUSED, FORCED)
    return refused or challenger.rolled_back is not None


def challenge(now: Situation, one: BoardVersion) -> NextStep:
    """Return the step for a version in Staging, by what became of it and what the gates said."""
    number, verdict = one.number, one.verdict
    if one.rolled_back is not None:
        return after_rollback(now, one, one.rolled_back)
    if verdict is not None and _rejected(one):
        return after_refusal(now.model, number, verdict)
    if verdict is not None and verdict.current and verdict.outcome == PASSED:
        why = f"Its gates passed on {stamp(verdict.time)} UTC: {ended(verdict.summary)}"
        promoted = (promotion(now.model, number),)
        return NextStep(DECIDE, f"Promote version {number}", f"{why} {ADD_REASON}", promoted)
    why = f"{not_judged(verdict)} {ADD_REASON}"
    commands = (check(now.model, number), promotion(now.model, number))
    if compared := comparison(now, number):
        return NextStep(DECIDE, f"Judge version {number}", why, (compared, *commands))
    return NextStep(DECIDE, f"Check version {number}", why, commands)


def after_rollback(now: Situation, one: BoardVersion, back: Moved) -> NextStep:
    """Return the step for a version that went back to Staging: it served, and was taken out."""
    reason = f", {back.reason}" if back.reason else ""
    why = (
        f"Version {one.number} was rolled back on {stamp(back.time)} UTC ({back.actor}{reason}). "
        "A verdict from before does not count any more."
    )
    retrain = proposed_commands(now.params, RETRAIN, now.model.name, now.model.problem, "")
    commands = (archived(now.model, one.number, "rolled back"), *retrain)
    title = f"Version {one.number} was rolled back: archive it, or retrain"
    return NextStep(DECIDE, title, why, commands)


def after_refusal(model: BoardModel, number: int, verdict: Verdict) -> NextStep:
    """Return the step for a version that the gates refused, also if it was forced since."""
    title, why = "refused", verdict.summary
    if verdict.outcome == FORCED:
        title = "refused, then forced"
        why = f"It was forced on {stamp(verdict.time)} UTC. The gates had refused it: {why}"
    commands = (archived(model, number, "refused by gates"),)
    title = f"Version {number} was {title}: archive it, or bring a better one"
    return NextStep(DECIDE, title, why, commands)


def not_judged(verdict: Verdict | None) -> str:
    """Return in a sentence why no verdict on a version counts today."""
    if verdict is None:
        return "It waits in Staging, not compared yet."
    if verdict.current:
        return "It waits in Staging, and its verdict on record is none that the gates give."
    if verdict.against is None:
        return "When it was judged, nothing was in Production."
    return f"It was compared with version {verdict.against}, which is not the champion any more."


def comparison(now: Situation, number: int) -> str:
    """Return the command that compares a challenger; empty where there is no champion."""
    command, champion = f"{_named('compare', now.model)} --version {number}", now.model.champion
    if champion is not None:
        return f"{command} --against {champion.number}"
    other = now.serving
    if other is None or other.production is None:
        return ""
    name = shlex.quote(other.name)
    return f"{command} --against {other.production.number} --against-name {name}"


def begin(now: Situation) -> NextStep | None:
    """Return the step for a problem that has nothing in Production and nothing in Staging."""
    model = now.model
    elsewhere = now.serving is not None or any(one.challengers for one in now.others)
    if not model.problem or model.production is not None or elsewhere or now.best is not model:
        return None
    one = candidate_of(model)
    if one is None:
        return None
    score = "" if one.metric is None else f" (validation {model.metric} {one.metric:.4f})"
    start = f"Version {one.number} is a start{score}. {ADD_REASON}"
    why = f"Nothing of {model.problem} is in Production. {start}"
    commands = (check(model, one.number), promotion(model, one.number))
    return NextStep(START, f"Put version {one.number} into Production", why, commands)


def nothing(now: Situation) -> NextStep:
    """Return the step that says why there is nothing to do."""
    model, serving = now.model, now.model.production
    if not model.versions:
        return NextStep(NOTHING, "Nothing to do", "It has no version yet.")
    if not model.problem:
        why = "Another tool registered it: its versions carry no tag lockstep.problem."
        return NextStep(NOTHING, "Nothing to do", why)
    if serving is not None:
        since = f" since {stamp(serving.moved.time)} UTC" if serving.moved else ""
        why = f"Version {serving.number} is in Production{since}, and no challenger waits."
        return NextStep(NOTHING, "Nothing to do", why)
    why = "None of its versions is in Production, and none waits in Staging."
    if now.serving is not None and now.serving.production is not None:
        why = f"{model.problem} is served by {now.serving.name}, and no version waits here."
    return NextStep(NOTHING, "Nothing to do", why)


def check(model: BoardModel, number: int) -> str:
    """Return the command of the promotion checklist."""
    name = shlex.quote(model.name)
    return f"python scripts/promote_model.py --model-name {name} --version {number} --check"


def promotion(model: BoardModel, number: int) -> str:
    """Return the command that puts a version into Production; its reason is a person's to add."""
    return f"{_named('promote', model)} --version {number}"


def archived(model: BoardModel, number: int, reason: str) -> str:
    """Return the command that archives a version."""
    return f'{_named("archive", model)} --version {number} --reason "{reason}"'


def ended(text: str) -> str:
    """Return text with a full stop at its end."""
    return text if text.endswith(".") else f"{text}."


def _named(command: str, model: BoardModel) -> str:
    return f"{SCRIPT} {command} --model-name {shlex.quote(model.name)}"
