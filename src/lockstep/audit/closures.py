"""What differs between two input closures of one training, or between one and a folder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import permutations
from pathlib import Path
from typing import Any

from lockstep.dvc.graph import Graph, dvc_sum, overlap
from lockstep.dvc.lineage import TRAIN_STAGE, differing_code, differing_params, input_sum, sources

ENVIRONMENT, COMMAND, PARAMETER = "environment", "command", "parameter"
CODE, DATA, OUTPUT = "code", "data", "output"


@dataclass(frozen=True)
class Difference:
    """One difference: stage, kind and name; a side without that name has None."""

    stage: str
    kind: str
    name: str
    recorded: Any
    rebuilt: Any


def differences(recorded: dict[str, Any], rebuilt: dict[str, Any]) -> list[Difference]:
    """Return what differs between two closures: environment, then stages in the graph's order.

    Within a stage: command, parameters, what people wrote, then what it made, but not what it reads
    from an earlier one.
    """
    found = [*_pairs("", ENVIRONMENT, recorded["environment"], rebuilt["environment"])]
    both = {**rebuilt["stages"], **recorded["stages"]}
    for stage in graph_order(both):
        found += _of_stage(stage, recorded["stages"].get(stage), rebuilt["stages"].get(stage), both)
    return [*found, *_of_stage(TRAIN_STAGE, recorded["training"], rebuilt["training"], both)]


def graph_order(stages: Mapping[str, Any]) -> list[str]:
    """Return the stages so that each comes after those whose outputs it reads; ties by name."""
    order: list[str] = []
    left = sorted(stages)
    while left:
        waiting = {a for a, b in permutations(left, 2) if _reads(stages[a], stages[b])}
        ready = [name for name in left if name not in waiting]
        order += ready or left  # a circle, which DVC refuses, would go round for ever
        left = [name for name in left if name not in order]
    return order


def differing_inputs(root: Path, closure: dict[str, Any]) -> list[str]:
    """Return the declared inputs that differ from a closure: files, then parameters."""
    people, training = set(sources(closure)), closure["training"]["deps"].items()
    stages = [dep for entry in closure["stages"].values() for dep in entry["deps"].items()]
    found = {path for path, digest in stages if path in people and digest != dvc_sum(root / path)}
    found |= {
        path for path, digest in training if path in people and digest != input_sum(root, path)
    }
    found |= _differing_code(root, closure)
    return [*sorted(found), *differing_params(root, closure)]


def _differing_code(root: Path, closure: dict[str, Any]) -> set[str]:
    """Return the parts of the code that differ below ``root``, by its stage `code`."""
    graph = Graph.read(root)
    stages = [graph.one(name) for name in graph.names]
    files = {stage.cmd: root / stage.code for stage in stages if stage.code}
    found: set[str] = set()
    for entry in (*closure["stages"].values(), closure["training"]):
        if "code" in entry:
            file = files.get(entry["cmd"])
            text = file.read_text(encoding="utf-8") if file and file.is_file() else ""
            found |= differing_code(entry["code"], text)
    return found


def _of_stage(
    stage: str, one: dict[str, Any] | None, other: dict[str, Any] | None, stages: dict[str, Any]
) -> Iterator[Difference]:
    """Yield what differs in one stage; of a stage that one side lacks the command alone."""
    if one is None or other is None:
        yield Difference(stage, COMMAND, "cmd", one and one["cmd"], other and other["cmd"])
        return
    made = {path for entry in stages.values() for path in entry["outs"]}
    yield from _pairs(stage, COMMAND, {"cmd": one["cmd"]}, {"cmd": other["cmd"]})
    yield from _pairs(stage, PARAMETER, one["params"], other["params"])
    yield from _pairs(stage, CODE, one.get("code", {}), other.get("code", {}))
    for difference in _pairs(stage, CODE, one["deps"], other["deps"]):
        if difference.name.startswith("data/external/"):
            yield replace(difference, kind=DATA)
        elif not any(overlap(difference.name, out) for out in made):
            yield difference
    yield from _pairs(stage, OUTPUT, one.get("outs", {}), other.get("outs", {}))


def _pairs(
    stage: str, kind: str, one: Mapping[str, Any], other: Mapping[str, Any]
) -> Iterator[Difference]:
    for name in sorted({*one, *other}):
        if one.get(name) != other.get(name):
            yield Difference(stage, kind, name, one.get(name), other.get(name))


def _reads(stage: dict[str, Any], before: dict[str, Any]) -> bool:
    return any(overlap(dep, out) for dep in stage["deps"] for out in before["outs"])
