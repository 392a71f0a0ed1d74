"""What went into the models at two revisions: parameters, data and code that differ."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lockstep.code.closure import code_text
from lockstep.code.files import SOURCE
from lockstep.config.layout import ProblemLayout
from lockstep.dvc.git import changed_files, git
from lockstep.dvc.graph import Graph, dvc_sum, overlap
from lockstep.dvc.lineage import differing_code
from lockstep.dvc.revision import Revision
from lockstep.errors import ConfigError

ABSENT = object()
"""In place of a value that a revision doesn't have."""
DATA = "data/"
SECTIONS = ("problems", "train", "search")
"""The sections of params.yaml, each with an entry a problem or a training."""


@dataclass(frozen=True)
class Scope:
    """The problems that a report is about."""

    problems: tuple[str, ...]
    trainings: dict[str, str]
    """The problem of each training."""

    @classmethod
    def of(cls, base: Revision, now: Revision, problem: str) -> Scope:
        """Return the scope of one problem, or of all of both revisions if none is named."""
        both = (now.graph.params, base.graph.params)
        names = list(dict.fromkeys(name for one in both for name in one.get("problems") or {}))
        trainings = {
            key: str(entry.get("problem", ""))
            for one in both
            for key, entry in (one.get("train") or {}).items()
        }
        return cls((problem,) if problem else tuple(names), trainings)

    def has_key(self, section: str, key: str) -> bool:
        """Return whether an entry of a section of params.yaml belongs to the scope."""
        named = self.trainings.get(key, "") if section in SECTIONS[1:] else key
        return named in self.problems or section not in SECTIONS

    def has_stage(self, name: str) -> bool:
        """Return whether a stage of dvc.lock belongs to the scope."""
        key = name.partition("@")[2]
        return not key or self.trainings.get(key, key) in self.problems

    def has_data(self, path: str, revisions: tuple[Revision, ...]) -> bool:
        """Return whether a path below data/ belongs to the scope."""
        own = (ProblemLayout(Path(), name).data.as_posix() for name in self.problems)
        sections = (one.graph.params.get("problems", {}) for one in revisions)
        outer = {
            str(((known.get(name) or {}).get("source") or {}).get("external", ""))
            for known in sections
            for name in self.problems
        }
        return any(overlap(folder, path) for folder in {*own, *outer} if folder)


# ---------------------------------------------------------------- parameters


def params_changes(base: Revision, now: Revision, scope: Scope) -> list[tuple[str, Any, Any]]:
    """Return key, old and new value of what differs in params.yaml.

    A section that only one of them has is one entry, with a dictionary for its value.
    """
    found = []
    for section, old, new in _differing("", base.graph.params, now.graph.params, depth=2):
        name, _, key = section.partition(".")
        if scope.has_key(name, key):
            found += list(_leaves(section, old, new))
    return found


def _differing(prefix: str, old: Any, new: Any, depth: int) -> Iterator[tuple[str, Any, Any]]:
    """Yield what differs between two dictionaries, down to some depth."""
    if not (depth and isinstance(old, dict) and isinstance(new, dict)):
        if repr(old) != repr(new):  # 1 and true are equal, .nan and .nan are not
            yield prefix, old, new
        return
    for key in (*new, *(key for key in old if key not in new)):
        inner = f"{prefix}.{key}" if prefix else str(key)
        yield from _differing(inner, old.get(key, ABSENT), new.get(key, ABSENT), depth - 1)


def _leaves(prefix: str, old: Any, new: Any) -> Iterator[tuple[str, Any, Any]]:
    yield from _differing(prefix, old, new, depth=99)


# ---------------------------------------------------------------- data


@dataclass(frozen=True)
class Data:
    """One output or input below data/ at one revision."""

    sum: str
    size: int | None
    files: int | None
    rows: str = ""


@dataclass(frozen=True)
class DataChanges:
    """The data that differ by path; ``scores`` counts the trainings whose scores differ."""

    paths: dict[str, tuple[Data | None, Data | None]]
    scores: int


def data_changes(base: Revision, now: Revision, scope: Scope) -> DataChanges:
    """Return what differs below data/ by dvc.lock and the `.dvc` files."""
    old, new = _data_of(base, scope.problems), _data_of(now, scope.problems)
    both = (base, now)
    paths = [path for path in sorted({*old, *new}) if scope.has_data(path, both)]
    pairs = {path: (old.get(path), new.get(path)) for path in paths}
    differ = {path: pair for path, pair in pairs.items() if _sum(pair[0]) != _sum(pair[1])}
    # They are made by a training, and differ wherever its model does.
    scores = {path for path in differ if Path(path).parts[2:3] == ("scores",)}
    files = sum(path.endswith(".parquet") for path in scores)
    return DataChanges({p: pair for p, pair in differ.items() if p not in scores}, files)


def _sum(data: Data | None) -> str:
    return data.sum if data else ""


def _data_of(revision: Revision, problems: tuple[str, ...]) -> dict[str, Data]:
    stages = (revision.yaml("dvc.lock").get("stages") or {}).values()
    items = [item for kind in ("deps", "outs") for one in stages for item in one.get(kind, [])]
    found = {item["path"]: item for item in items} | revision.tracked()
    rows = _rows_of(revision, problems)
    return {
        path: Data(
            str(item.get("md5", "")), item.get("size"), item.get("nfiles"), rows.get(path, "")
        )
        for path, item in found.items()
        if path.startswith(DATA)
    }


def _rows_of(revision: Revision, problems: tuple[str, ...]) -> dict[str, str]:
    """Return the rows of tidy tables and of the parts of splits, by path, as their stages count."""
    found = {}
    for problem in problems:
        layout = ProblemLayout(Path(), problem)
        counted = _section(_json(revision, layout.data_quality).get("rows"))
        if {"in", "out"} <= counted.keys():
            rows = f"{counted['out']:,} rows of {counted['in']:,}"
            found[layout.tidy.as_posix()] = rows
        parts = _json(revision, layout.features_summary).items()
        held = [f"{name} {one['rows']:,}" for name, one in parts if "rows" in _section(one)]
        if held:
            found[layout.features.as_posix()] = f"{', '.join(held)} rows"
    return found


def _section(content: Any) -> dict[str, Any]:
    return content if isinstance(content, dict) else {}


def _json(revision: Revision, path: Path) -> dict[str, Any]:
    try:
        return _section(json.loads(revision.text(path.as_posix()) or "{}"))
    except ValueError:
        return {}


# ---------------------------------------------------------------- code


@dataclass(frozen=True)
class CodeChanges:
    """The code that differs.

    ``parts`` holds modules, files and packages that mean something else: their value at both
    revisions, and the stages that run them. ``other`` are files that no stage counts, ``declared``
    stages that dvc.yaml declares otherwise. ``unknown`` says why the code can't be compared.
    """

    parts: dict[str, tuple[str | None, str | None, list[str]]] = field(default_factory=dict)
    stages: list[str] = field(default_factory=list)
    other: list[str] = field(default_factory=list)
    declared: list[str] = field(default_factory=list)
    unknown: str = ""

    @property
    def differs(self) -> bool:
        """Whether anything differs."""
        return bool(self.parts or self.other or self.declared or self.unknown)


def code_changes(base: Revision, now: Revision, scope: Scope) -> CodeChanges:
    """Return the differences of the stages' code, by what it means."""
    files, declared = _changed_sources(base, now), _declared_otherwise(base, now, scope)
    if not files:
        return CodeChanges(declared=declared)
    try:
        old, new = _code_of(base, scope), _code_of(now, scope)
    except ConfigError as error:
        return CodeChanges(other=files, declared=declared, unknown=str(error))
    parts: dict[str, tuple[str | None, str | None, list[str]]] = {}
    both = [name for name in new if name in old]
    for name in both:
        for part in differing_code(old[name], code_text(new[name])):
            _, _, stages = parts.get(part, (None, None, []))
            parts[part] = (old[name].get(part), new[name].get(part), [*stages, name])
    stages = [name for name in both if old[name] != new[name]]
    # A stage that only one revision has is listed with the problems and model types.
    single = {part for one in (old, new) for name in one if name not in both for part in one[name]}
    other = [path for path in files if path not in parts and path not in single]
    return CodeChanges(dict(sorted(parts.items())), stages, other, declared)


def _code_of(revision: Revision, scope: Scope) -> dict[str, dict[str, str]]:
    """Return what the code of each stage means, by the stage's name."""
    graph = revision.graph
    stages = {name: graph.one(name) for name in graph.names if scope.has_stage(name)}
    coded = {name: stage for name, stage in stages.items() if stage.code}
    if not coded:
        raise ConfigError(f"no stage of {revision.name} depends on a list of its code")
    return {name: revision.code.of_command(stage.cmd) for name, stage in coded.items()}


def _changed_sources(base: Revision, now: Revision) -> list[str]:
    """Return the files below src/, and the locked requirements, whose bytes differ."""
    paths = (SOURCE, "requirements.lock")
    options = ("--name-only", "--no-renames", "--relative", "-z")
    listed = git(now.root, "diff", *options, base.commit, "--", *paths) or ""
    return sorted({*filter(None, listed.split("\0")), *_untracked(now.root, paths)})


def _untracked(root: Path, paths: tuple[str, ...]) -> list[str]:
    listed = git(root, "ls-files", "--others", "--exclude-standard", "-z", "--", *paths) or ""
    return [name for name in listed.split("\0") if name]


def _declared_otherwise(base: Revision, now: Revision, scope: Scope) -> list[str]:
    """Return the stages whose command, inputs or parameters differ, or that one alone has."""
    # Both are filled with the same parameters: changed parameters are listed by themselves.
    old, new = Graph(base.graph.content, now.graph.params), now.graph
    names = [name for name in new.names if name in base.graph.names and scope.has_stage(name)]
    changed = [name for name in names if old.stage(name) != new.stage(name)]
    return changed + _single_stages(base, now)


def _single_stages(base: Revision, now: Revision) -> list[str]:
    """Return the stages of dvc.yaml that only one revision has, whatever their instances."""
    old, new = (one.graph.content.get("stages") or {} for one in (base, now))
    added = [f"{name} (new)" for name in new if name not in old]
    return added + [f"{name} (removed)" for name in old if name not in new]


# ---------------------------------------------------------------- what is not up to date


def outdated(revision: Revision, scope: Scope) -> list[str]:
    """Return the stages that dvc.lock has with other parameters, code or inputs, or not at all."""
    graph, lock = revision.graph, revision.lock
    try:
        code = _code_of(revision, scope)
    except ConfigError:
        code = {}
    tracked = {path: str(out.get("md5", "")) for path, out in revision.tracked().items()}
    made = lock.outs | tracked
    names = [name for name in graph.names if scope.has_stage(name) and "@" in name]
    found = []
    for name in names:
        stage, entry = graph.one(name), lock.entries.get(name)
        sums = {path: made.get(path) for path in stage.deps}
        if stage.code and name in code:
            sums[stage.code] = _md5(code_text(code[name]))
        if entry is None or entry["params"] != graph.values(stage) or _other_deps(entry, sums):
            found.append(name)
    return found


def _other_deps(entry: dict[str, Any], sums: dict[str, str | None]) -> bool:
    deps = entry["deps"]
    return any(known and deps.get(path) != known for path, known in sums.items())


def replaced_metrics(now: Revision, scope: Scope) -> list[str]:
    """Return the comparisons in the folder that are not those of dvc.lock."""
    files = [ProblemLayout(Path(), name).comparison.as_posix() for name in scope.problems]
    known = {path: now.lock.outs.get(path) for path in files}
    return [p for p, md5 in known.items() if md5 and dvc_sum(now.root / p) not in ("", md5)]


def uncommitted(root: Path) -> list[str]:
    """Return the files of the working tree that matter for a report and are not committed."""
    paths = ("params.yaml", "dvc.yaml", "dvc.lock", "requirements.lock", SOURCE, "metrics", "data")
    return changed_files(root, *paths)


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
