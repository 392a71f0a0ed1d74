"""A registry with a story: champions, challengers, verdicts, analyses, a rollback; no real models.

Moves are real ones, at times of the test's choice.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

from lockstep.checks import PASSED, REFUSED, CheckResult
from lockstep.errors import RegistryError
from lockstep.promotion.gate_report import Gate, _store
from lockstep.promotion.gates import Verdict
from lockstep.registry.lifecycle import moves as lifecycle
from lockstep.registry.publishing.monitor_run import log_analysis
from lockstep.registry.publishing.registration import register_version
from lockstep.registry.record import journal
from lockstep.registry.record.events import Who
from lockstep.registry.record.registered_models import get_model
from lockstep.registry.store.connection import fluent
from lockstep.registry.store.queries import Logged

CREDIT, XGBOOST, FOREST = (
    "credit-risk-model",
    "Accident_Prediction_XGBoost",
    "Accident_Prediction_Random_Forest",
)
NOW = datetime(2026, 11, 29, 8, 0, tzinfo=UTC)
SCRIPTS = "</script><script>alert(1)</script><img src=x onerror=alert(2)>{{ 7 * 7 }}"
HOSTILE = f"{SCRIPTS}\u202ereversed"
"""A record takes no sign that turns text around; tags and names do."""
RIGHT_TO_LEFT = "نموذج المخاطر הסיכון"
LONG = "x" * 480


class Story:
    """Makes versions, moves and analyses in a registry, each a number of days before NOW."""

    def __init__(self, client: Any, root: Path, experiment: str = "0") -> None:
        self.client, self.root, self.experiment = client, root, experiment
        self.made: dict[str, tuple[str, str]] = {}

    def at(self, days: float, work: Callable[[], Any]) -> Any:
        """Do something, with its events so many days before NOW."""
        time = (NOW - timedelta(days=days)).isoformat().replace("+00:00", "Z")
        with patch.object(journal, "now", lambda: time):
            return work()

    def version(self, name: str, days: float, problem: str = "credit_risk", **tags: Any) -> int:
        """Register a version; its model is empty, as nobody loads it."""
        run = self.client.create_run(self.experiment).info.run_id
        logged = self.client.create_logged_model(self.experiment, name="m", source_run_id=run)
        self.client.finalize_logged_model(logged.model_id, "READY")
        number = len(self.made)
        told = {
            "problem": problem,
            "type": "lightgbm",
            "model_digest": f"{number:02d}" + "ab" * 31,
            "git_commit": f"{number:02d}" + "cd" * 19,
            "dirty": "false",
            "data_digest": "rows",
            **tags,
        }
        written = {f"lockstep.{key}": str(value) for key, value in told.items() if value != ""}

        def register() -> int:
            with fluent(self.client.tracking_uri):
                made, _ = register_version(self.client, name, Logged(run, logged.model_id), written)
            return int(made.version)

        made: int = self.at(days, register)
        self.made[f"{name}/{made}"] = (run, logged.model_id)
        return made

    def gate(
        self, name: str, version: int, passes: bool, champion: int | None, force: bool
    ) -> Gate:
        """Return a stored verdict on a version."""
        gain = "+0.0123 [+0.0051, +0.0190]" if passes else "-0.0022 [-0.0050, +0.0013]"
        message = f"roc_auc 0.7512 against 0.7389: {gain} on 9,123 rows that neither has seen"
        checks = (
            CheckResult("floors", PASSED, "test_roc_auc 0.7512 (floor 0.6)"),
            CheckResult("golden", PASSED, "digest, types and golden rows are as registered"),
            CheckResult("champion", PASSED if passes else REFUSED, message),
            CheckResult("slices", PASSED, "none of 15 slices is worse by more than 0.02"),
        )
        verdict = Verdict(name, version, "Production", champion, checks, {"champion": {"of": 0.5}})
        run_id = self.made[f"{name}/{version}"][0]
        return Gate(verdict, _store(self.client, verdict, run_id, False), force)

    def promote(
        self,
        name: str,
        version: int,
        days: float,
        who: Who,
        passes: bool = True,
        force: bool = False,
    ) -> None:
        """Promote a version; a refusal is recorded."""
        standing = get_model(self.client, name).in_stage("Production")
        champion = standing[-1].version if standing else None
        gate = self.gate(name, version, passes, champion, force)
        try:
            self.at(days, lambda: lifecycle.promote(self.client, name, version, who=who, gate=gate))
        except RegistryError:
            assert not passes
            assert not force

    def stage(self, name: str, version: int, days: float, who: Who, stage: str = "Staging") -> None:
        """Put a version into a stage."""
        self.at(days, lambda: lifecycle.transition(self.client, name, version, stage, who))

    def rollback(self, name: str, days: float, who: Who) -> None:
        """Undo the last change of Production."""
        self.at(days, lambda: lifecycle.rollback(self.client, name, who=who))

    def analysis(
        self, name: str, version: int, days: float, alarm: bool, proposal: str = ""
    ) -> None:
        """Log an analysis of a version."""
        folder = self.root / "written"
        folder.mkdir(exist_ok=True)
        found = get_model(self.client, name).version(version)
        tags = {"lockstep.alarm": str(alarm).lower()}
        tags |= {"lockstep.proposal": proposal} if proposal else {}
        time = round((NOW - timedelta(days=days)).timestamp() * 1000)
        months = {"2026-09": {"rows": 1.0}, "2026-10": {"rows": 2.0}}
        experiment = found.tag("problem") or "other"
        log_analysis(
            self.client, self.root, experiment, found, "analysis", months, tags, folder, time
        )


def tell(story: Story) -> None:
    """Fill a registry: a problem with a refused and a new challenger, one with an alarm."""
    ana, ben = Who("ana@team", "better on the autumn's rows"), Who("ben@team", "weekly retrain")
    for number, days in enumerate((80, 61, 40, 21, 12, 2)):
        auc = 0.72 + number / 200
        story.version(
            CREDIT,
            days,
            validation_roc_auc=auc,
            validation_f1=0.41 + number / 100,
            test_roc_auc=auc - 0.004,
            test_log_loss=0.5123 - number / 100,
            dirty="true" if number == 3 else "false",
        )
    story.promote(CREDIT, 1, 78, ana)
    story.promote(CREDIT, 2, 60, ana)
    story.promote(CREDIT, 3, 39, ben)
    story.rollback(CREDIT, 37, Who("ana@team", "approvals fell by a third"))
    story.promote(CREDIT, 4, 20, ben, passes=False)
    story.promote(
        CREDIT, 4, 19, Who("ana@team", "the law changed: features"), passes=False, force=True
    )
    story.stage(CREDIT, 5, 11, ben)
    story.promote(CREDIT, 5, 10, ben, passes=False)
    story.stage(CREDIT, 6, 1, ben)
    story.analysis(CREDIT, 4, 3, alarm=False)
    for number, days in enumerate((70, 33)):
        story.version(
            XGBOOST, days, "accidents", type="xgboost", validation_roc_auc=0.85 + number / 100
        )
    story.promote(XGBOOST, 1, 69, ana)
    story.promote(XGBOOST, 2, 31, ana)
    story.analysis(XGBOOST, 2, 2, alarm=True, proposal="rollback")
    story.version(FOREST, 70, "accidents", type="random_forest", validation_roc_auc=0.84)


def tell_hostile(story: Story) -> None:
    """Fill a registry with texts that would break a page."""
    name = HOSTILE.replace("/", "")[:150]
    for number in range(3):
        story.version(
            name,
            9 - number,
            problem=HOSTILE,
            type=HOSTILE,
            git_commit=HOSTILE,
            model_digest=HOSTILE + str(number),
            data_digest=HOSTILE,
            **{"validation_roc_auc": 0.7, f"validation_{'y' * 90}": 0.5},
        )
    story.promote(name, 1, 5, Who("<b>ana</b>", SCRIPTS))
    story.stage(name, 2, 4, Who(RIGHT_TO_LEFT, RIGHT_TO_LEFT * 9))
    story.stage(name, 3, 3, Who(LONG[:100], LONG))
    story.promote(name, 2, 2, Who(RIGHT_TO_LEFT, LONG), passes=False)
    for other in (RIGHT_TO_LEFT, "n" * 190):
        story.version(other, 8, problem="")
        story.promote(other, 1, 7, Who("ana", RIGHT_TO_LEFT))
