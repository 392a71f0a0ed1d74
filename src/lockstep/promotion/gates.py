"""The checks between a version and Production, by configuration.

A check that cannot be computed refuses. The first version of a name in Production is not compared
with another. The champion itself, and a version that a rollback brings back, are not judged.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from lockstep.checks import (
    PASSED,
    REFUSED,
    Answer,
    CheckResult,
    computed_once,
    contents,
    failures,
    run_checks,
)
from lockstep.config.gates import Gates, ShadowGate, gates_of
from lockstep.config.params import load_params
from lockstep.config.serving import load_serving
from lockstep.config.settings import load_settings
from lockstep.decision.score_scale import to_probability
from lockstep.errors import RegistryError
from lockstep.evaluation.metrics import LOWER_IS_BETTER, Scored, better, metric_names
from lockstep.evaluation.paired_comparison import Difference, paired_difference
from lockstep.io import rounded, sha256_json
from lockstep.models.scoring.prediction import Model as Loaded
from lockstep.monitoring.log_files import shadowed_days
from lockstep.problems.schema import Schema, load_schema
from lockstep.promotion.champion import champion_of
from lockstep.promotion.configured import check_sections
from lockstep.promotion.holdout import check_enough, holdout, scored
from lockstep.promotion.scoring import check_finite
from lockstep.promotion.signature import input_faults
from lockstep.promotion.slices import IN_TARGETS_UNIT, Sides, judged_slices
from lockstep.registry.artifact.loading import open_version
from lockstep.registry.artifact.locating import locate
from lockstep.registry.record.events import turns
from lockstep.registry.record.registered_models import Model
from lockstep.registry.store.connection import Client
from lockstep.registry.store.json_tags import checked_tag
from lockstep.registry.store.versions import Version

LONGEST_SUMMARY = 400
"""Characters of the line that the record keeps; the artifact has all."""
CHECK_KEYS = {"name": "name", "verdict": "verdict", "detail": "message"}


@dataclass(frozen=True)
class Verdict:
    """All checks of a version that is to replace the champion (None: the first) in a stage."""

    name: str
    version: int
    stage: str
    champion: int | None
    checks: tuple[CheckResult, ...]
    figures: dict[str, Any] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """The version as messages name it."""
        return f"{self.name} version {self.version}"

    @property
    def failed(self) -> list[CheckResult]:
        """The checks that refuse."""
        return failures(self.checks)

    @property
    def verdict(self) -> str:
        """``passed`` or ``refused``."""
        return REFUSED if self.failed else PASSED

    @property
    def summary(self) -> str:
        """One line: the first check that refuses, else the champion's, else the floors'."""
        shown = self.failed or [c for c in self.checks if c.name == "champion"] or self.checks
        return summary_line(f"{shown[0].name}: {shown[0].message}")

    @property
    def content(self) -> dict[str, Any]:
        """Everything as plain JSON values; the same facts give the same content."""
        checks = contents(self.checks, CHECK_KEYS)
        return {**rounded(asdict(self)), "checks": checks, "verdict": self.verdict}

    @property
    def digest(self) -> str:
        """The digest of the content."""
        return sha256_json(self.content)


def summary_line(text: str) -> str:
    """Return text as the record keeps it: at most ``LONGEST_SUMMARY`` characters."""
    return text if len(text) <= LONGEST_SUMMARY else f"{text[: LONGEST_SUMMARY - 1]}…"


def needs_gate(model: Model, version: Version, stage: str) -> bool:
    """Tell whether a move into a stage is judged: into Production, of another than the champion."""
    champion = champion_of(model)
    return stage == "Production" and (champion is None or champion.version != version.version)


def judge(client: Client, root: Path, model: Model, version: Version, stage: str) -> Verdict:
    """Return what the configured checks say of a version that is to go into ``stage``.

    Nothing is moved or written. ConfigError for gates of an unknown problem or metric; whatever
    else keeps a check from being computed is its refusal.
    """
    sections = load_settings(root).gates
    check_sections(sections)
    case = Case(client, root, model, version, gates_of(sections, version.tag("problem") or ""))
    checks = run_checks(_checks_of(case), case)
    champion = case.champion.version if case.champion else None
    return Verdict(model.name, version.version, stage, champion, checks, case.figures)


# ---------------------------------------------------------------- what is judged


@dataclass
class Case:
    """A version that is to go into Production, and what its checks share, each computed once."""

    client: Client
    root: Path
    model: Model
    version: Version
    gates: Gates
    figures: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def champion(self) -> Version | None:
        """The version it is compared with."""
        return champion_of(self.model)

    @property
    def problem(self) -> str:
        """The problem it belongs to."""
        return problem_of(self.version)

    @property
    def schema(self) -> Schema:
        """The problem's declaration of today."""
        return load_schema(self.problem)

    @property
    def metric(self) -> str:
        """What the problem compares models by."""
        return load_params(self.root).problem(self.problem).compare.metric

    @computed_once
    def challenger_model(self) -> Loaded:
        """The challenger, loaded with all checks."""
        return open_version(locate(self.client, self.version, self.root))

    @computed_once
    def champion_model(self) -> Loaded:
        """The champion, loaded with all checks."""
        return open_version(locate(self.client, _champion(self), self.root))

    @computed_once
    def sides(self) -> Sides:
        """Both models' scores of rows that neither has seen; RegistryError for too few."""
        models = (self.challenger_model, self.champion_model)
        rows = holdout(self.client, self.root, self.problem, [self.version, _champion(self)])
        check_enough(rows, self.gates)
        first, second = (
            check_finite(scored(model, str(model.digest), rows, self.root), model)
            for model in models
        )
        return Sides(first, second, rows)


def problem_of(version: Version) -> str:
    """Return a version's problem; RegistryError where another tool registered it."""
    problem = version.tag("problem")
    if not problem:
        untagged = "the version carries no tag lockstep.problem"
        raise RegistryError(f"{untagged}; it was registered by another tool")
    return problem


def _champion(case: Case) -> Version:
    assert case.champion is not None
    return case.champion


# ---------------------------------------------------------------- the checks


def _checks_of(case: Case) -> dict[str, Callable[[Case], Answer]]:
    """Return the checks that the configuration asks for; the last four compare with a champion."""
    gates, compared = case.gates, case.champion is not None
    wanted: list[tuple[str, Callable[[Case], Answer], bool]] = [
        ("floors", floors, True),
        ("golden", golden, gates.golden),
        ("staging", staging, gates.must_have_been_in_staging),
        ("shadow", shadow, compared and gates.must_have_shadowed != ShadowGate()),
        ("champion", champion, compared),
        ("slices", slices, compared),
        ("calibration", calibration, compared),
        ("signature", signature, compared and gates.signature),
    ]
    return {name: check for name, check, is_wanted in wanted if is_wanted}


def floors(case: Case) -> Answer:
    """Check the metrics that were recorded on the test part against their floors."""
    task = case.schema.task
    floors = {
        name: floor for name, floor in case.gates.floors.items() if name in metric_names(task)
    }
    values = {name: case.version.scores.get(f"test_{name}") for name in floors}
    case.figures["floors"] = {
        name: {"value": values[name], "floor": floor} for name, floor in floors.items()
    }
    lines = [_floor_line(name, values[name], floor) for name, floor in floors.items()]
    below = [line for passed, line in lines if not passed]
    shown = below or [line for _, line in lines] or [f"none is set for a {task} problem"]
    return not below, "; ".join(shown)


def _floor_line(name: str, value: float | None, floor: float) -> Answer:
    if value is None:
        return False, f"test_{name} was never recorded with the version"
    if not better(name, floor, value):
        return True, f"test_{name} {value:.4g} (floor {floor:g})"
    side = "above" if name in LOWER_IS_BETTER else "below"
    return False, f"test_{name} {value:.4g} is {side} its floor {floor:g}"


def golden(case: Case) -> Answer:
    """Check that the version loads: its digest, its types, the outputs of its golden rows."""
    digest = str(case.challenger_model.digest)[:12]
    return True, f"digest {digest}, types and golden rows are as registered"


def staging(case: Case) -> Answer:
    """Check that the version was in Staging once."""
    was = any(case.version.version in turn.after for turn in turns(case.model.record, "Staging"))
    return was, "it was in Staging" if was else "it was never in Staging; move it there first"


def shadow(case: Case) -> Answer:
    """Check that the version scored enough live rows, on enough days, beside the champion."""
    gate, against = case.gates.must_have_shadowed, _champion(case).version
    found = _shadowed_days(case)
    rows, days = found.total(), len(found)
    case.figures["shadow"] = {"rows": rows, "days": days}
    enough = rows >= gate.rows and days >= gate.days
    message = f"it scored {rows:,} live rows on {days} days beside version {against}"
    wanted = f"{gate.rows:,} rows on {gate.days} days are needed; put it in Staging and serve"
    return enough, message if enough else f"{message}; {wanted} with SHADOW=Staging"


def _shadowed_days(case: Case) -> Counter[int]:
    """Return the live rows by day; RegistryError where the prediction log can't tell."""
    folder = load_serving(case.root).prediction_folder
    if folder is None:
        raise RegistryError("the prediction log is off, so nothing shows what it scored")
    try:
        return shadowed_days(folder, case.version.key, _champion(case).version)
    except sqlite3.DatabaseError as error:
        raise RegistryError(f"the prediction log in {folder} is damaged: {error}") from error


def champion(case: Case) -> Answer:
    """Check that the challenger beats the champion on the same unseen rows by more than noise."""
    sides, gate = case.sides, case.gates.champion
    challenger, groups = sides.challenger, sides.holdout.groups
    found = paired_difference(challenger, sides.champion, groups, case.metric, gate.resamples)
    case.figures["champion"] = _figures(found)
    case.figures["holdout"] = {"digest": sides.holdout.digest, "read_before": _reads(case)}
    margin = gate.margin * (abs(found.champion) if found.metric in IN_TARGETS_UNIT else 1.0)
    bound = -found.high if found.metric in LOWER_IS_BETTER else found.low
    wins = found.wins and bound > margin
    message = (
        f"{found.metric} {found.challenger:.4f} against {found.champion:.4f} of version "
        f"{_champion(case).version}: {found.estimate:+.4f} [{found.low:+.4f}, {found.high:+.4f}] "
        f"on {found.rows:,} rows in {found.groups:,} groups that neither has seen"
    )
    if reads := _reads(case):
        message += f"; {reads} verdict{'s' * (reads > 1)} of this model read them before"
    return wins, message if wins else message + _why_not(found, margin)


def _reads(case: Case) -> int:
    """Return how many earlier verdicts on versions of this name compared on the same rows.

    The more often rows decide, the likelier a version is chosen that only fits their noise.
    """
    digest = case.sides.holdout.digest
    return sum(event.gate.get("holdout") == digest for event in case.model.record.events)


def _why_not(found: Difference, margin: float) -> str:
    if found.loses:
        return "; it is worse"
    if found.wins:
        return f"; the interval does not clear the margin {margin:.4g}"
    return "; no difference beyond noise, and a tie keeps the champion"


def _figures(found: Difference) -> dict[str, Any]:
    return {**asdict(found), "estimate": found.estimate}


def slices(case: Case) -> Answer:
    """Check that no slice of enough rows is worse by more than allowed, beyond noise."""
    names = case.schema.slices
    if not names:
        return True, "the schema declares none (slice: true)"
    columns = [case.schema.columns[name] for name in names]
    found = judged_slices(case.sides, columns, case.metric, case.gates)
    case.figures["slices"] = [asdict(one) for one in found]
    worse = [one for one in found if one.refuses]
    if worse:
        shown = "; ".join(str(one) for one in sorted(worse, key=lambda one: -one.worse)[:3])
        return False, f"{len(worse)} of {len(found)} slices are worse: {shown}"
    allowed, within = case.gates.slices.worse_by, len({one.column for one in found})
    message = f"none of {len(found)} slices of {within} columns is worse by more than {allowed:g}"
    noise = sum(one.worse > allowed for one in found)
    return True, f"{message}; {noise} within noise" if noise else message


def calibration(case: Case) -> Answer:
    """Check that probabilities are not too far off, and no further than the champion's."""
    if case.schema.task == "regression":
        return True, "a regression gives no probabilities"
    sides, gate, resamples = case.sides, case.gates.calibration, case.gates.champion.resamples
    challenger = as_probabilities(sides.challenger, case.version)
    against = as_probabilities(sides.champion, _champion(case))
    groups = sides.holdout.groups
    found = paired_difference(challenger, against, groups, "calibration_error", resamples)
    case.figures["calibration"] = _figures(found)
    message = f"error {found.challenger:.4f} against {found.champion:.4f} of the champion"
    if found.challenger > gate.max_error:
        return False, f"{message}; at most {gate.max_error:g} is allowed"
    worse = found.estimate > gate.worse_by and found.loses
    return not worse, f"{message}; worse by more than {gate.worse_by:g}" if worse else message


def as_probabilities(rows: Scored, version: Version) -> Scored:
    """Return scored rows with probabilities: scores of a model with class weights are none."""
    weight = float(checked_tag(version, "positive_weight") or 1.0)
    return replace(rows, score=to_probability(rows.score, weight)) if weight != 1.0 else rows


def signature(case: Case) -> Answer:
    """Check that callers of the champion can call the challenger and get the same answer."""
    faults = signature_faults(case.challenger_model, case.champion_model)
    return not faults, "; ".join(faults[:5]) or "every request that the champion takes fits"


def signature_faults(challenger: Loaded, champion: Loaded) -> list[str]:
    """Return why a model can't take another's place, by their schemas: inputs, then answers."""
    old, new = champion.schema, challenger.schema
    faults = input_faults(old, new)
    if new.task != old.task:
        faults.append(f"a {old.task} model became a {new.task} one")
    elif new.task == "multiclass" and challenger.classes != champion.classes:
        faults.append(f"its classes are {challenger.classes}, the champion's {champion.classes}")
    return faults
