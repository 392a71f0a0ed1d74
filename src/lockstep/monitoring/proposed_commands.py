"""The commands that carry out what an alarm calls for."""

from __future__ import annotations

import shlex

from lockstep.config.params import Params

RETRAIN, ROLLBACK = "retrain", "rollback"
"""What an alarm calls for: newer data, or the version that was there before."""


def proposed_commands(
    params: Params | None, action: str, name: str, problem: str, newest: str
) -> list[str]:
    """Return the commands of a proposal on a registered model, as they can be typed.

    ``newest`` is the newest month, as 2026-03. Without ``params``, where a server has none, a
    sample's window is not known.
    """
    if action == ROLLBACK:
        script = "python scripts/manage_model_registry.py"
        return [f'{script} rollback --model-name {shlex.quote(name)} --reason "alarm"']
    command = f"python scripts/retrain_model.py --problem {shlex.quote(problem)}"
    if params is None or problem not in params.problems:
        return [command]
    month = through(params, problem, newest)
    if month is not None:
        return [f"{command} --through {month}"]
    if params.problem(problem).source.kind == "sample":
        return [command]
    return [f"make add-data PROBLEM={shlex.quote(problem)} FROM=folder-or-file", command]


def through(params: Params, problem: str, newest: str) -> str | None:
    """Return the last month of a sample's new window; None where it needs no new one."""
    source = params.problem(problem).source
    if source.kind != "sample" or "last_month" not in source.sample.model_fields_set:
        return None
    return newest if newest > source.sample.last_month else None
