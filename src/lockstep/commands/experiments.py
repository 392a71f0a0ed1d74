"""DVC's experiments as tables that fit a terminal: one for each model that differs between them.

python -m lockstep.commands.experiments [--problem NAME] [--json]     (make exp-show)

`dvc exp show` has a column for every metric, parameter and dependency, headed by its whole path.
Here, a model's table has its headline metrics and the parameters that differ.
"""

from __future__ import annotations

import argparse
import json
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from lockstep.config.layout import project_root
from lockstep.config.params import load_params, training_key
from lockstep.console import aligned, as_json, documented_parser
from lockstep.dvc.command import dvc_folder, run_dvc
from lockstep.errors import ConfigError, run_command

NOTHING = "no experiment differs from another; make one with `dvc exp run -n NAME -S KEY=VALUE`"
PARAMETERS, PARAMETERS_WIDTH = "parameters that differ", 60
"""With names of 40 characters and the metrics of a task, lines stay below 160."""
_SHA = re.compile(r"\b([0-9a-f]{7})[0-9a-f]{33}\b")
_METRICS = re.compile(r"metrics/(?P<problem>[^/]+)/types/(?P<type>[^/]+)/metrics\.json")


def main() -> None:
    """Parse the command line and print the tables, or JSON."""
    given, root = _arguments(), project_root()
    if given.problem:
        load_params(root).problem(given.problem)
    found = differing_models(listed_states(root), given.problem)
    print(as_json(found) if given.json else "\n\n".join(map(table, found)) or NOTHING)


def _arguments() -> argparse.Namespace:
    parser = documented_parser("python -m lockstep.commands.experiments", __doc__)
    parser.add_argument("--problem", default="", help="only the models of this problem")
    parser.add_argument("--json", action="store_true", help="print JSON for programs")
    return parser.parse_args()


def listed_states(root: Path) -> list[dict[str, Any]]:
    """Return the workspace, the commit and its experiments, as `dvc exp show` lists them.

    Each has its name, its state in the queue, and the project's metrics and parameters.
    """
    baselines = json.loads(run_dvc(root, "exp", "show", "--json"))
    for one in baselines:
        if error := one.get("error"):
            fault = f"DVC can't read {_name(one)}: {error.get('msg') or error.get('type')}"
            raise ConfigError(f"{fault}; see `git diff params.yaml dvc.yaml dvc.lock metrics`")
    above = root.relative_to(dvc_folder(root).resolve().parent)
    prefix = "" if above == Path() else f"{above.as_posix()}/"
    return [_state(one, prefix) for baseline in baselines for one in _with_experiments(baseline)]


def _with_experiments(baseline: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    yield dict(baseline)
    for experiment in baseline["experiments"] or []:
        executor = experiment.get("executor") or {}
        yield {**experiment["revs"][0], "state": executor.get("state", "")}


def _state(listed: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    state = "failed" if listed.get("error") else listed.get("state", "")
    is_done = state in ("", "success")
    return {
        "name": _name(listed),
        "state": "" if is_done else state,
        # What waits, runs or failed still has the metrics of the commit.
        "metrics": _files(listed, "metrics", prefix) if is_done else {},
        "params": _files(listed, "params", prefix),
    }


def _name(listed: Mapping[str, Any]) -> str:
    return listed.get("name") or _SHA.sub(r"\1", listed["rev"])


def _files(listed: Mapping[str, Any], key: str, prefix: str) -> dict[str, Any]:
    """Return the content of the project's own files, by their paths in it."""
    files = (listed.get("data") or {}).get(key) or {}
    return {
        path.removeprefix(prefix): content.get("data") or {}
        for path, content in files.items()
        if path.startswith(prefix)
    }


def differing_models(
    states: Sequence[Mapping[str, Any]], problem: str = ""
) -> list[dict[str, Any]]:
    """Return each model that differs between states: a row for the commit, and for each that does.

    The states are the workspace, the commit and its experiments. One that waits or runs has no
    metrics yet, so its parameters count alone.
    """
    paths = dict.fromkeys(path for state in states for path in state["metrics"])
    models = [found for path in paths if (found := _METRICS.fullmatch(path))]
    rows = {
        training_key(one["problem"], one["type"]): _that_differ(_rows(states, one))
        for one in models
        if problem in ("", one["problem"])
    }
    return [
        {"model": key, "experiments": _without_equal_params(found)}
        for key, found in rows.items()
        if len(found) > 1
    ]


def _that_differ(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    workspace, commit, *experiments = rows
    own = commit["metrics"], commit["parameters"]
    others = (workspace, *experiments)
    return [commit, *(r for r in others if (r["metrics"] or own[0], r["parameters"]) != own)]


def _rows(states: Sequence[Mapping[str, Any]], model: re.Match[str]) -> list[dict[str, Any]]:
    return [
        {
            "experiment": state["name"],
            "state": state["state"],
            "metrics": _numbers(state["metrics"].get(model[0], {})),
            "parameters": _params(state["params"].get("params.yaml", {}), model),
        }
        for state in states
    ]


def _numbers(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Return the headline figures, the one to choose by first; older files have parts besides."""
    flat = {name: float(v) for name, v in metrics.items() if isinstance(v, int | float)}
    return dict(sorted(flat.items(), key=lambda item: not item[0].startswith("val_")))


def _params(params: Mapping[str, Any], model: re.Match[str]) -> dict[str, Any]:
    """Return the parameters of a model's training and of its problem, by their short names."""
    training = params.get("train", {}).get(training_key(model["problem"], model["type"]), {})
    section = params.get("problems", {}).get(model["problem"], {})
    return {**flattened(section), **flattened({**training, **training.get("params", {})})}


def flattened(section: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """Return the values of a section by dotted name, without ``params``, which its caller adds."""
    found: dict[str, Any] = {}
    for name, value in section.items():
        if isinstance(value, dict):
            found |= {} if name == "params" else flattened(value, f"{above}{name}.")
        else:
            found[f"{above}{name}"] = value
    return found


def _without_equal_params(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    names = dict.fromkeys(name for row in rows for name in row["parameters"])
    values = {name: [row["parameters"].get(name) for row in rows] for name in names}
    differ = [name for name, found in values.items() if any(v != found[0] for v in found)]
    return [{**row, "parameters": {n: row["parameters"].get(n) for n in differ}} for row in rows]


def table(model: Mapping[str, Any]) -> str:
    """Return a model's table: an experiment a line, more where its parameters need them."""
    lines: list[dict[str, Any]] = []
    for row in model["experiments"]:
        text = ", ".join(f"{name}={value}" for name, value in row["parameters"].items())
        first, *more = textwrap.wrap(text, PARAMETERS_WIDTH) or [""]
        shown = {"experiment": row["experiment"], "state": row["state"]}
        lines.append({**shown, **row["metrics"], PARAMETERS: first})
        lines += [{PARAMETERS: text} for text in more]
    heads = dict.fromkeys(name for line in lines for name in line)
    ordered = [*(head for head in heads if head != PARAMETERS), PARAMETERS]
    return f"{model['model']}\n{aligned([{h: line.get(h) for h in ordered} for line in lines])}"


if __name__ == "__main__":
    run_command(main)
