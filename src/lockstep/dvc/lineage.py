"""Where a model comes from: its input closure, the commit, and whether the two agree."""

from __future__ import annotations

import hashlib
import json
import platform
import sys
from collections.abc import Iterable
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lockstep.code.closure import PACKAGE, Code, code_text
from lockstep.code.files import LOCK, SOURCE, SPARK_LOCK, Files
from lockstep.config.layout import ProblemLayout, engine_of
from lockstep.config.params import training_key
from lockstep.dvc.git import GitError, changed_files, read_head
from lockstep.dvc.graph import (
    CODE,
    DECLARED,
    SPARK_DECLARED,
    Graph,
    Lock,
    Stage,
    committed_yaml,
    dvc_sum,
    overlap,
    read_yaml,
    tracked,
    value_at,
)
from lockstep.errors import ConfigError
from lockstep.io import sha256_file, sha256_json

TRAIN_STAGE, SPARK_STAGE = "train_multi_model", "train_spark"
_IGNORED = {"__pycache__", ".DS_Store"}
_MADE = ("data/", "models/", "metrics/")


@dataclass(frozen=True)
class Lineage:
    """What a version records of its origin; ``closure`` is all that its training depended on.

    ``reason`` says, with the fix, why git can't tell the commit or what differs from it.
    """

    closure: dict[str, Any]
    commit: str
    changed: tuple[str, ...]
    reason: str = ""

    @property
    def known(self) -> bool:
        """Whether the commit is known, and what differs from it."""
        return not self.reason

    @property
    def dirty(self) -> str:
        """Whether a declared input differs from the commit: ``true``, ``false`` or ``unknown``."""
        return str(bool(self.changed)).lower() if self.known else "unknown"

    @property
    def closure_digest(self) -> str:
        """The SHA-256 of the closure."""
        return sha256_json(self.closure)

    @property
    def data_digest(self) -> str:
        """The SHA-256 over what earlier stages made for it: split, encoder and matrices."""
        deps = self.closure["training"]["deps"]
        return sha256_json({path: deps[path] for path in deps if path.startswith(_MADE)})

    @property
    def source(self) -> str:
        """The kind of source the raw files came from: sample, download, files or table."""
        sections = filter(None, self._import.get("params", {}).values())
        return next((str(one["kind"]) for one in sections if "kind" in one), "unknown")

    @property
    def raw_hash(self) -> str:
        """DVC's hash of the raw files; ``unknown`` if no stage of this workspace made them."""
        return next(iter(self._import.get("outs", {}).values()), "") or "unknown"

    @property
    def _import(self) -> dict[str, Any]:
        stages: dict[str, dict[str, Any]] = self.closure["stages"]
        return next((entry for name, entry in stages.items() if name.startswith("import_raw")), {})

    @property
    def tags(self) -> dict[str, str]:
        """The tags a version carries."""
        return {
            "git_commit": self.commit,
            "dirty": self.dirty,
            "closure_digest": self.closure_digest,
            "data_digest": self.data_digest,
        }


def lineage(root: Path, problem: str, model_type: str) -> Lineage:
    """Return the lineage of a training; it is the same within its stage and afterwards."""
    closure = input_closure(root, problem, model_type)
    head = read_head(root)
    if head.reason:
        return Lineage(closure, head.commit, (), head.reason)
    try:
        changed = changed_inputs(root, closure, training_stage(problem, model_type))
    except GitError as error:
        return Lineage(closure, head.commit, (), str(error))
    return Lineage(closure, head.commit, changed)


def training_stage(problem: str, model_type: str) -> str:
    """Return the name of the stage that trains a model type of a problem."""
    stage = SPARK_STAGE if engine_of(model_type)[0] else TRAIN_STAGE
    return f"{stage}@{training_key(problem, model_type)}"


def stage_target(problem: str, model_type: str) -> str:
    """Return that stage as `dvc repro` takes it, with the folder of its dvc.yaml."""
    file = f"{SPARK_DECLARED}:" if engine_of(model_type)[0] else ""
    return f"{file}{training_stage(problem, model_type)}"


def is_current(root: Path, problem: str, *model_types: str) -> bool:
    """Tell whether trainings' outputs are of today's parameters, data and code, by dvc.lock."""
    graph, lock = Graph.read(root), Lock.read(root)
    return all(_is_current(root, problem, name, graph, lock) for name in model_types)


def _is_current(root: Path, problem: str, model_type: str, graph: Graph, lock: Lock) -> bool:
    name = training_stage(problem, model_type)
    if not _has_run(graph, lock, name):
        return False
    entry, code = lock.entries[name], graph.one(name).code
    deps = {path: lock.outs[path] for path in entry["deps"] if path in lock.outs}
    if code and (root / code).is_file():
        deps[code] = dvc_sum(root / code)
    model = ProblemLayout(root, problem).model(model_type)
    own = model.relative_to(root).as_posix()
    return all(entry["deps"].get(path) == sum_ for path, sum_ in deps.items()) and (
        entry["outs"].get(own) == dvc_sum(model)
    )


def have_run(root: Path, stages: Iterable[str]) -> bool:
    """Tell whether dvc.lock knows each of these stages with today's parameters."""
    graph, lock = Graph.read(root), Lock.read(root)
    return all(_has_run(graph, lock, name) for name in stages)


def _has_run(graph: Graph, lock: Lock, name: str) -> bool:
    entry = lock.entries.get(name)
    return entry is not None and bool(entry["params"] == graph.values(graph.one(name)))


def is_settled(root: Path, problem: str, model_type: str) -> bool:
    """Tell whether DVC has committed a training's outputs, also while it runs other stages.

    A stage that runs may have written the model that dvc.lock names, but not yet its other outputs.
    While DVC writes dvc.lock, nothing is settled.
    """
    try:
        if not is_current(root, problem, model_type):
            return False
    except ConfigError:
        return False
    layout = ProblemLayout.of(root, problem, model_type)
    made = [layout.model(model_type), layout.type_folder(model_type) / "plots"]
    locked = lock_time(root)
    return all(path.exists() and path.stat().st_mtime_ns <= locked for path in made)


def lock_time(root: Path) -> int:
    """Return when dvc.lock was written, in ns since 1970; 0 where there is none."""
    lock = root / "dvc.lock"
    return lock.stat().st_mtime_ns if lock.is_file() else 0


def input_closure(root: Path, problem: str, model_type: str) -> dict[str, Any]:
    """Return everything a training depends on, as plain values.

    The training itself is resolved from dvc.yaml: dvc.lock has no entry of a stage while it runs.
    The stages before it are dvc.lock's entries, followed through their outputs. Older closures have
    no ``code``: their ``deps`` list the files of code.
    """
    graph, lock = Graph.read(root), Lock.read(root)
    training = graph.one(training_stage(problem, model_type))
    deps = [path for path in training.deps if path != training.code]
    return {
        "training": {
            "cmd": training.cmd,
            "deps": {path: input_sum(root, path, lock.outs) for path in sorted(deps)},
            **_code(root, training.cmd, training.code),
            "params": graph.values(training),
        },
        "stages": {name: _entry(root, entry) for name, entry in lock.before(deps).items()},
        "environment": {
            LOCK: input_sum(root, LOCK),
            "python": platform.python_version(),
            "platform": f"{sys.platform}-{platform.machine()}",
        },
    }


def _entry(root: Path, locked: dict[str, Any]) -> dict[str, Any]:
    """Return a stage's entry of dvc.lock, the file of ``code/`` replaced by its content."""
    deps = dict(locked["deps"])
    path = Stage(locked["cmd"], tuple(deps), ()).code
    code = _code(root, locked["cmd"], path, deps.pop(path, None) if path else None)
    return {**locked, "deps": deps, **code}


def _code(
    root: Path, command: str, path: str | None, md5: str | None = None
) -> dict[str, dict[str, str]]:
    """Return what a stage's code meant when the stage ran; nothing if it lists files of code."""
    if path is None:
        return {}
    text = _code_text(root, command, path)
    if not text or md5 not in (None, _md5(text)):
        return {"code": {path: md5 or "absent"}}
    return {"code": json.loads(text)}


def _code_text(root: Path, command: str, path: str) -> str:
    """Return the text of a stage's file in ``code/``; empty in a folder without any code."""
    if (root / path).is_file():
        return (root / path).read_text(encoding="utf-8")
    if not (root / SOURCE / PACKAGE).is_dir():
        return ""
    # Git ignores the file, so a fresh clone has none before its first `dvc repro`.
    return code_text(Code(Files.of_folder(root)).of_command(command))


def changed_inputs(root: Path, closure: dict[str, Any], training: str) -> tuple[str, ...]:
    """Return the declared inputs that differ from HEAD, and the stages that are declared otherwise.

    Data count by content, code by meaning, parameters by value.
    """
    paths = sources(closure)
    paths += [name for path in paths if (name := tracked(root, path))]
    names = [*closure["stages"], training]
    return (
        *sorted({*changed_files(root, *paths), *_changed_code(root, closure)}),
        *_other_params(committed_yaml(root, "params.yaml"), closure),
        *_changed_stages(root, names),
    )


def _changed_code(root: Path, closure: dict[str, Any]) -> set[str]:
    """Return the parts of the code that mean something else at HEAD."""
    entries = [
        entry for entry in (*closure["stages"].values(), closure["training"]) if "code" in entry
    ]
    if not entries or not changed_files(root, SOURCE, LOCK, SPARK_LOCK):
        return set()
    changed: set[str] = set()
    try:
        committed = Code(Files.of_commit(root, "HEAD"))
        for entry in entries:
            text = code_text(committed.of_command(entry["cmd"]))
            changed |= differing_code(entry["code"], text)
    except ConfigError:  # HEAD has no code that could run these stages
        return {part for entry in entries for part in entry["code"]}
    return changed


def differing_code(recorded: dict[str, str], text: str) -> set[str]:
    """Return the parts of a stage's recorded code that differ from a text of ``code/``."""
    parts = json.loads(text) if text else {}
    if any(name.startswith(f"{CODE}/") for name in recorded):  # known by its sum alone
        parts = dict.fromkeys(recorded, _md5(text))
    return {name for name in {*recorded, *parts} if recorded.get(name) != parts.get(name)}


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def _changed_stages(root: Path, names: list[str]) -> list[str]:
    """Return the stages whose command, dependencies or parameters are declared otherwise at HEAD.

    Both are filled with the workspace's parameters: changed parameters are listed by themselves.
    """
    here = Graph.read(root)
    there = Graph.committed(root, here.params)
    stages = {name: (here.stage(name), there.stage(name)) for name in names}
    changed = (n for n, (one, other) in stages.items() if _unordered(one) != _unordered(other))
    return [f"{here.file_of(name)}:{name}" for name in changed]


def _unordered(stage: Stage | None) -> tuple[Any, ...] | None:
    return None if stage is None else (stage.cmd, sorted(stage.deps), sorted(stage.params))


def kept_inputs(root: Path, found: Lineage) -> dict[str, str | None]:
    """Return the files by which a dirty workspace differs from its commit, with their SHA-256.

    A deleted file has None; a clean workspace has no files. They are the declared inputs, the
    stages' definitions, all parameters, and all of the code: without the parts that change no
    result, the rest may not run.
    """
    if not found.changed:
        return {}
    stages, locks = (DECLARED, SPARK_DECLARED), (LOCK, SPARK_LOCK)
    more = changed_files(root, *stages, "params.yaml", *locks, f"{SOURCE}/{PACKAGE}")
    declared = (name.partition(":")[0] for name in found.changed)
    names = sorted({*more, *declared})
    return {name: sha256_file(root / name) if (root / name).is_file() else None for name in names}


def used_params(closure: dict[str, Any]) -> dict[str, Any]:
    """Return the parameters of a closure's stages by dotted key."""
    used: dict[str, Any] = {}
    for entry in closure["stages"].values():
        used |= entry["params"]
    return used | closure["training"]["params"]


def sources(closure: dict[str, Any]) -> list[str]:
    """Return the paths that stages read and no stage made: what a person wrote or added."""
    made = {path for entry in closure["stages"].values() for path in entry["outs"]}
    read = {path for entry in closure["stages"].values() for path in entry["deps"]}
    read |= set(closure["training"]["deps"]) | {LOCK}
    return sorted(path for path in read if not any(overlap(out, path) for out in made))


def differing_params(root: Path, closure: dict[str, Any]) -> list[str]:
    """Return the parameters of the closure whose value below ``root`` is another."""
    return _other_params(read_yaml(root / "params.yaml"), closure)


def _other_params(content: dict[str, Any], closure: dict[str, Any]) -> list[str]:
    used = sorted(used_params(closure).items())
    return [f"params.yaml:{key}" for key, value in used if value_at(content, key) != value]


def with_params(content: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    """Return parameters with values at dotted keys; equal ones stay as they are."""
    changed = deepcopy(content)
    for dotted, value in values.items():
        if value_at(changed, dotted) == value:
            continue
        *above, last = dotted.split(".")
        place = changed
        for step in above:
            place = place.setdefault(step, {})
        place[last] = value
    return changed


def input_sum(root: Path, path: str, outs: dict[str, str] | None = None) -> str:
    """Return DVC's sum of what a stage made, else the SHA-256 of a file or of a folder's files."""
    if outs and path in outs:
        return outs[path]
    place = root / path
    if place.is_file():
        return sha256_file(place)
    files = sorted(p for p in place.rglob("*") if p.is_file() and _IGNORED.isdisjoint(p.parts))
    if not files:
        return "absent"
    return sha256_json({p.relative_to(place).as_posix(): sha256_file(p) for p in files})
