"""From an alarm to what a person may do: the proposal with its commands, and --retrain."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lockstep.commands.retrain_model import RetrainOptions, report, retrain
from lockstep.config.params import load_params
from lockstep.console import warn
from lockstep.dvc import repro as dvc
from lockstep.dvc.graph import Lock
from lockstep.errors import ConfigError, DataError, LockstepError, RegistryError
from lockstep.monitoring.analysis import Analysis
from lockstep.monitoring.proposal import Proposal, propose
from lockstep.monitoring.proposed_commands import proposed_commands, through
from lockstep.promotion.champion import can_go_back
from lockstep.promotion.gates import judge, needs_gate
from lockstep.registry.record.registered_models import get_model
from lockstep.registry.store.connection import Client
from lockstep.registry.store.versions import Version


def proposal_for(client: Client, found: Analysis, version: Version) -> Proposal | None:
    """Return what the alarms of a version call for; no rollback where the record can't be read."""
    try:
        has_earlier = can_go_back(get_model(client, version.name), version)
    except RegistryError as error:
        warn(f"whether {version.title} can go back is not known: {error}")
        has_earlier = False
    return propose(found, has_earlier)


def commands_for(
    root: Path, proposal: Proposal | None, version: Version, problem: str, newest: str
) -> list[str]:
    """Return the commands of a proposal; ``newest`` is the newest month, as 2026-03."""
    if proposal is None:
        return []
    params = None
    try:
        params = load_params(root)
    except ConfigError as error:  # an alarm must be heard all the same
        warn(f"the commands are those without a problem's settings: {error}")
    return proposed_commands(params, proposal.action, version.name, problem, newest)


def retrain_on_new_data(
    client: Client, root: Path, version: Version, problem: str, newest: str
) -> str:
    """Retrain a version's problem on newer data and judge it; return the lines for a terminal.

    Nothing is promoted. DataError where the data are those that the version was trained on.
    """
    month = through(load_params(root), problem, newest)
    if month is None:
        check_new_data(root, version, problem)
    done = retrain(root, RetrainOptions(problem, through=month))
    lines = [report(root, problem, done)]
    if done.released is None:
        raise LockstepError(f"{lines[0]}\nno model of this retrain passed its checks")
    fitting = [one for one in done.versions.values() if one.name == version.name]
    best = done.versions[done.released_type]
    for one in [best] if best in fitting else fitting:
        lines += verdict_on(client, root, one.name, int(one.version or 0))
    return "\n".join(lines)


def check_new_data(root: Path, version: Version, problem: str) -> None:
    """Bring a problem's raw files up to date; DataError if the version was trained on them."""
    stage = f"import_raw@{problem}"
    dvc.repro(root, stage)
    outs: dict[str, Any] = Lock.read(root).entries[stage]["outs"]
    if version.tag("data_dvc_hash") in outs.values():
        raise DataError(
            f"{version.title} was trained on the data that {problem} has now; bring newer ones "
            f"in with `make add-data PROBLEM={problem} FROM=folder-or-file`, then repeat --retrain"
        )


def verdict_on(client: Client, root: Path, name: str, number: int) -> list[str]:
    """Return in words what the gates before Production say of a version, and what follows."""
    model = get_model(client, name)
    version = model.version(number)
    if not needs_gate(model, version, "Production"):
        return []
    verdict = judge(client, root, model, version, "Production")
    against = "the first there" if verdict.champion is None else f"against {verdict.champion}"
    head = f"gates of {version.title}, {against}: {verdict.verdict}; {verdict.summary}"
    return [head, "  it stays in Staging; promotion is left to a person"]
