"""The promotion checklist: every step run on the version as it would be deployed.

Nothing is moved or recorded. Serving is tried on an exported bundle, by the API's own code and
configuration, so that threshold, scale and both answers are those that callers would get.
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from lockstep.audit.bundle import assemble
from lockstep.audit.bundle_checks import verify_folder
from lockstep.checks import Answer, CheckResult, computed_once, contents, failures, run_checks
from lockstep.config.layout import project_root
from lockstep.config.serving import ServingSettings, load_serving
from lockstep.promotion.gates import judge, needs_gate
from lockstep.promotion.promotion_checks import run_recorded, way_back, winning
from lockstep.registry.record.registered_models import Model, get_model
from lockstep.registry.store.connection import Client
from lockstep.registry.store.queries import kept_run
from lockstep.registry.store.versions import Version
from lockstep.serving.loaded_model import CheckedModel, ServedModel, decision_of, prepare
from lockstep.serving.model_source import open_path
from lockstep.serving.responses import explained, predicted

RATES = ("approval_rate", "reject_rate", "positive_rate_approved", "positive_rate_rejected")
"""The rates of decisions on the test rows, as runs log them after ``test_``."""
STEP_KEYS = {"name": "name", "passed": "passed", "found": "message"}
"""The keys of a step in JSON."""
CLOSE = 1e-4
"""How far contributions may add up from the margin: xgboost's are float32."""


@dataclass
class Deployment:
    """A version, and its bundle as a server opens it."""

    client: Client
    root: Path
    model: Model
    version: Version
    folder: Path

    @cached_property
    def settings(self) -> ServingSettings:
        """What the API is configured to do."""
        return load_serving(self.root)

    @computed_once
    def bundle(self) -> Path:
        """The exported bundle."""
        assemble(self.client, self.root, self.version, self.folder)
        return self.folder

    @computed_once
    def opened(self) -> CheckedModel:
        """The bundle's model, opened with all its checks."""
        return open_path(replace(self.settings, model_path=str(self.bundle)), self.root)

    @computed_once
    def served(self) -> ServedModel:
        """What would answer requests."""
        return prepare(self.opened, self.settings)


def check(client: Client, options: argparse.Namespace) -> tuple[Any, str, int]:
    """Go through the checklist; the exit code is 1 where a step failed."""
    name, number = options.model_name, options.version
    steps = go_through(client, project_root(), name, number)
    passed = not failures(steps)
    found = contents(steps, STEP_KEYS)
    content = {"name": name, "version": number, "passed": passed, "steps": found}
    return content, report(name, number, steps), 0 if passed else 1


def go_through(client: Client, root: Path, name: str, number: int) -> tuple[CheckResult, ...]:
    """Run every step, also after one that failed; return them in the order of the checklist."""
    model = get_model(client, name)
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made) / "bundle"
        return run_checks(STEPS, Deployment(client, root, model, model.version(number), folder))


def gates(case: Deployment) -> Answer:
    """Check that the gates before Production let it in."""
    if not needs_gate(case.model, case.version, "Production"):
        return True, "it stands in Production, or was the last that did"
    verdict = judge(case.client, case.root, case.model, case.version, "Production")
    return not verdict.failed, verdict.summary


def export(case: Deployment) -> Answer:
    """Check that its bundle is complete: sums, artifact, lineage, requirements."""
    findings = failures(verify_folder(case.bundle, case.root))
    wrong = [f"{one.name}: {one.message}" for one in findings]
    files = sum(path.is_file() for path in case.bundle.rglob("*"))
    complete = f"a bundle of {files} files, which names its run, digest, threshold and commit"
    return not wrong, "; ".join(wrong) or complete


def golden_rows(case: Deployment) -> Answer:
    """Check that the bundle's model loads: digest, allowed types, outputs of its golden rows."""
    digest = str(case.opened.model.digest)[:12]
    return True, f"the bundle's model loads, digest {digest}, and repeats its golden rows"


def configuration(case: Deployment) -> Answer:
    """Check that the API's threshold and its scale fit the model."""
    rule = case.settings.decision_for(case.opened.model.schema.name)
    decision = decision_of(case.opened, rule)
    if decision is None:
        return True, f"a {case.opened.model.schema.task} model is decided by no threshold"
    threshold, scale = f"threshold {decision.threshold:g}", f"the {decision.scale.name} scale"
    fits = f"{threshold} on {scale} (from {decision.source}) fits"
    rates = rates_text(logged_rates(case), decision.words, case.opened.model.schema.positive)
    own = case.opened.model.threshold
    if rates and own is not None and own != decision.threshold:
        rates = f"the run logged no rates at it, only at the model's own {own:g}"
    return True, "; ".join(filter(None, (fits, rates)))


def logged_rates(case: Deployment) -> dict[str, float]:
    """Return the rates of decisions on the test rows, as the version's run logged them."""
    run = kept_run(case.client, case.version.run_id) if case.version.run_id else None
    metrics = run.data.metrics if run else {}
    return {name: metrics[f"test_{name}"] for name in RATES if f"test_{name}" in metrics}


def rates_text(rates: Mapping[str, float], words: tuple[str, str], positive: str) -> str:
    """Return the shares of both decisions on the test rows in words, and of positives if known."""
    if not {"approval_rate", "reject_rate"} <= set(rates):
        return ""
    approval, rejection = rates["approval_rate"], rates["reject_rate"]
    decided = f"{words[0]} {approval:.1%} of the test rows, {words[1]} {rejection:.1%}"
    if not set(RATES) <= set(rates):
        return decided
    approved, rejected = rates["positive_rate_approved"], rates["positive_rate_rejected"]
    shares = f"{approved:.1%} of the former, {rejected:.1%} of the latter"
    return f"{decided}; {positive or 'positives'}: {shares}"


def predict(case: Deployment) -> Answer:
    """Ask the packaged model for a prediction as /predict does."""
    answered = predicted(case.served, example_of(case), 1)
    content, scores = answered.content, answered.scores.ravel().tolist()
    finite = answered.rows == 1 and all(map(math.isfinite, scores))
    keys = ("probability", "prediction", "decision", "meaning", "threshold")
    return finite, ", ".join(f"{key} {content[key]}" for key in keys if key in content)


def explain(case: Deployment) -> Answer:
    """Ask the packaged model for an explanation as /explain does; its parts must add up."""
    content = explained(case.served, example_of(case), 1).content
    apart, parts = gap_of(content), content["contributions"]
    first = max(parts, key=lambda name: abs(parts[name]))
    message = f"{len(parts)} contributions add up to the margin within {apart:.1g}"
    return apart <= CLOSE, f"{message}; {first} weighs most ({parts[first]:+.4f})"


def gap_of(content: Mapping[str, Any]) -> float:
    """Return how far base and contributions are from the margin they explain."""
    total = float(content["base"]) + math.fsum(content["contributions"].values())
    return abs(total - float(content["margin"]))


def example_of(case: Deployment) -> bytes:
    """Return the body of a request for one record, typical of the training rows where known."""
    return json.dumps(case.opened.example).encode()


STEPS: dict[str, Callable[[Deployment], Answer]] = {
    "winning run": lambda case: winning(case.client, case.root, case.model, case.version),
    "run id": lambda case: run_recorded(case.client, case.version),
    "gates": gates,
    "export": export,
    "golden rows": golden_rows,
    "threshold": configuration,
    "predict": predict,
    "explain": explain,
    "rollback": lambda case: way_back(case.client, case.root, case.model, case.version),
}
"""The steps by name, in their order."""


def report(name: str, number: int, steps: Sequence[CheckResult]) -> str:
    """Return the checklist as people read it: a line a step, then whether all passed."""
    width = max(len(step.name) for step in steps)
    lines = [
        f"{'✓' if step.passed else '✗'} {step.name:<{width}}  {step.message}" for step in steps
    ]
    failed = [step.name for step in steps if not step.passed]
    end = (
        f"{len(failed)} of {len(steps)} steps failed: {', '.join(failed)}"
        if failed
        else f"all {len(steps)} steps passed"
    )
    return "\n".join([f"promotion checklist of {name} version {number}", *lines, end])
