"""The verdict of the gates on a move into Production, as the move carries and stores it.

Gates run before the lock is taken and are checked again under it. The verdict is an artifact of the
version's run; the record keeps its digest and a line.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lockstep.checks import FORCED, REFUSED, contents, markdown_table
from lockstep.config.gates import check_force
from lockstep.console import aligned, warn
from lockstep.errors import RegistryError
from lockstep.promotion.champion import champion_of
from lockstep.promotion.gates import Verdict, judge, needs_gate
from lockstep.registry.record.registered_models import Model, get_in_use
from lockstep.registry.store.connection import Client, translating_mlflow_errors
from lockstep.registry.store.queries import kept_run

FOLDER = "gates"
"""Where a version's run keeps the verdicts on it."""
TABLE_KEYS = {"check": "name", "verdict": "verdict", "found": "message"}


@dataclass(frozen=True)
class Gate:
    """A verdict and the file that holds it; ``forced`` where a person overrides it."""

    verdict: Verdict
    file: str
    forced: bool = False

    @property
    def outcome(self) -> str:
        """``passed``, ``refused``, or ``forced`` for a refusal that a person overrode."""
        return FORCED if self.forced and self.verdict.failed else self.verdict.verdict

    @property
    def refused(self) -> bool:
        """Whether the move is forbidden."""
        return self.outcome == REFUSED

    @property
    def record(self) -> dict[str, Any]:
        """What the record keeps: the outcome, a line, and the file of the whole verdict."""
        found = self.verdict
        return {
            "verdict": self.outcome,
            "summary": found.summary,
            "digest": found.digest,
            "file": self.file,
            "champion": found.champion,
            "refused": [check.name for check in found.failed],
            **({"holdout": rows["digest"]} if (rows := found.figures.get("holdout")) else {}),
        }

    @property
    def content(self) -> dict[str, Any]:
        """The whole verdict for programs."""
        return {**self.verdict.content, "verdict": self.outcome, "file": self.file}

    @property
    def table(self) -> str:
        """The verdict for people, a line a check."""
        found = self.verdict
        against = f"against version {found.champion}" if found.champion else "the first there"
        head = f"gates of {found.title} into {found.stage}, {against}: {self.outcome}"
        return f"{head}\n{aligned(contents(found.checks, TABLE_KEYS))}"

    @property
    def refusal(self) -> str:
        """One line: the first check that refuses, and how to override."""
        found = self.verdict
        return (
            f"{found.title} does not go into {found.stage}: {found.summary}; "
            "to move it all the same: --force --reason TEXT"
        )

    def check_still(self, model: Model, number: int) -> None:
        """Raise a RegistryError where the version or the champion is another than was judged."""
        champion = champion_of(model)
        now = champion.version if champion else None
        if number != self.verdict.version or now != self.verdict.champion:
            raise RegistryError(
                f"{model.name} changed while version {self.verdict.version} was judged: the "
                f"champion is version {now}, the version asked for {number}; run the command again"
            )


@dataclass(frozen=True)
class Ungated:
    """A move that needs no verdict: into another stage, or of the champion into Production."""

    stage: str
    refused = False
    refusal = ""

    @property
    def record(self) -> dict[str, Any]:
        """Nothing: no check ran."""
        return {}

    def check_still(self, model: Model, number: int) -> None:
        """Raise a RegistryError where the move needs a verdict by now."""
        if needs_gate(model, model.version(number), self.stage):
            raise RegistryError(
                f"{model.name} changed meanwhile: version {number} must pass the gates now; "
                "run the command again"
            )


def gate_of(
    client: Client,
    root: Path,
    name: str,
    version: int | str | None = None,
    stage: str = "Production",
    force: bool = False,
    reason: str = "",
) -> Gate | Ungated:
    """Judge a version (unnamed: the newest) for a stage; Ungated where no gate applies.

    The caller passes the gate to ``lifecycle.promote`` or ``transition``, which refuses and
    records. RegistryError for a verdict that cannot be stored, unless the move is forced.
    """
    check_force(force, reason)
    model = get_in_use(client, name, [] if version is None else [int(version)])
    found = model.newest if version is None else model.version(int(version))
    if not needs_gate(model, found, stage):
        return Ungated(stage)
    verdict = judge(client, root, model, found, stage)
    return Gate(verdict, _store(client, verdict, found.run_id, force), force)


def _store(client: Client, verdict: Verdict, run_id: str | None, force: bool) -> str:
    """Store a verdict with the run and return the file's name; empty for a version without run."""
    if run_id is None:
        return ""
    name = f"{FOLDER}/{verdict.version}-{verdict.digest[:12]}"
    try:
        if kept_run(client, run_id) is None:
            raise RegistryError("MLflow has it no more; register the model anew: `dvc repro`")
        with translating_mlflow_errors():
            content = json.dumps(verdict.content, indent=2, ensure_ascii=False)
            client.log_text(run_id, f"{content}\n", f"{name}.json")
            client.log_text(run_id, page(verdict), f"{name}.md")
    except (RegistryError, OSError) as error:
        message = f"the verdict cannot be stored with run {run_id}: {error}"
        if not force:
            raise RegistryError(message) from error
        warn(f"WARNING {message}")
        return ""
    return f"{name}.json"


def page(verdict: Verdict) -> str:
    """Return a verdict as a page in Markdown: its checks, then the slices that were judged."""
    against = f"version {verdict.champion}" if verdict.champion else "none, it is the first there"
    lines = [
        f"# {verdict.title} into {verdict.stage}: {verdict.verdict}",
        "",
        f"Champion: {against}. Digest of this verdict: `{verdict.digest}`.",
        "",
        *markdown_table(contents(verdict.checks, TABLE_KEYS)),
    ]
    if slices := verdict.figures.get("slices"):
        lines += ["", *markdown_table([_slice_row(one) for one in slices])]
    return "\n".join(lines) + "\n"


def _slice_row(found: dict[str, Any]) -> dict[str, str]:
    return {
        "slice": found["column"],
        "level": found["label"],
        "rows": f"{found['rows']:,}",
        "metric": found["metric"],
        "challenger": f"{found['challenger']:.4f}",
        "champion": f"{found['champion']:.4f}",
        "worse by": f"{found['worse']:+.4f}",
        "": REFUSED if found["refuses"] else "",
    }
