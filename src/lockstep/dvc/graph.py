"""DVC's files: the stages of dvc.yaml, filled with params.yaml, and their entries in dvc.lock."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property, reduce
from operator import or_
from pathlib import Path
from typing import Any

from lockstep.dvc.git import git
from lockstep.errors import ConfigError
from lockstep.io import parse_yaml, read_utf8, yaml_text

CODE = "code"
"""The stage that writes what the code of each stage means, and the folder that it writes into."""
SPARK_FOLDER = "spark"
"""The folder of the Spark stages' dvc.yaml and dvc.lock, which a plain `dvc repro` leaves alone."""
DECLARED, SPARK_DECLARED = "dvc.yaml", f"{SPARK_FOLDER}/dvc.yaml"
"""The files that declare stages."""
_NO_CONTENT = (".gitignore", "__pycache__", ".DS_Store")


@dataclass(frozen=True)
class Stage:
    """One stage as dvc.yaml declares it, all templates filled."""

    cmd: str
    deps: tuple[str, ...]
    params: tuple[str, ...]

    @property
    def code(self) -> str | None:
        """The file that says what its code means; None for a stage that lists files of code."""
        return next((dep for dep in self.deps if dep.startswith(f"{CODE}/")), None)


@dataclass(frozen=True)
class Graph:
    """The content of dvc.yaml and params.yaml; ``spark`` names the stages of Spark's dvc.yaml."""

    content: dict[str, Any]
    params: dict[str, Any]
    spark: frozenset[str] = frozenset()

    @classmethod
    def read(cls, root: Path) -> Graph:
        """Read both files below ``root``, and Spark's stages; what is not there is empty."""
        content, spark = (read_yaml(root / name) for name in (DECLARED, SPARK_DECLARED))
        return cls.merged(content, spark, read_yaml(root / "params.yaml"))

    @classmethod
    def committed(cls, root: Path, params: dict[str, Any]) -> Graph:
        """Read the stages of HEAD, to be filled with other parameters than those of HEAD."""
        content, spark = (committed_yaml(root, name) for name in (DECLARED, SPARK_DECLARED))
        return cls.merged(content, spark, params)

    @classmethod
    def merged(
        cls, content: dict[str, Any], spark: dict[str, Any], params: dict[str, Any]
    ) -> Graph:
        """Return the graph of both files that declare stages."""
        more = spark.get("stages") or {}
        stages = {**(content.get("stages") or {}), **more}
        return cls({**content, "stages": stages}, params, frozenset(more))

    def file_of(self, name: str) -> str:
        """Return the file that declares a stage."""
        return SPARK_DECLARED if name.partition("@")[0] in self.spark else DECLARED

    @property
    def names(self) -> list[str]:
        """The names of all stages, `stage@key` for each instance of a `foreach` stage."""
        return [
            f"{name}@{key}" if key else name
            for name, template in (self.content.get("stages") or {}).items()
            for key in (self._items(template) if "foreach" in template else ("",))
        ]

    def stage(self, name: str) -> Stage | None:
        """Return a stage by its name in dvc.lock; None where the graph has none of that name."""
        stage, _, key = name.partition("@")
        template = value_at(self.content, f"stages.{stage}") or {}
        body = template.get("do", {}) if key else template
        items = self._items(template)
        if not body or (key and key not in items):
            return None
        known = {"key": key, "item": items.get(key)}
        return Stage(
            _filled(str(body.get("cmd", "")), known),
            tuple(_filled(str(path), known) for path in body.get("deps", [])),
            tuple(_filled(str(name), known) for name in body.get("params", [])),
        )

    def one(self, name: str) -> Stage:
        """Return a stage; ConfigError where the graph has none of that name."""
        found = self.stage(name)
        if found is None:
            raise ConfigError(f"dvc.yaml has no stage {name}; declare the training in params.yaml")
        return found

    def values(self, stage: Stage) -> dict[str, Any]:
        """Return the values of a stage's parameters by dotted key."""
        return {key: value_at(self.params, key) for key in sorted(stage.params)}

    def _items(self, template: dict[str, Any]) -> dict[str, Any]:
        section = re.fullmatch(r"\$\{(\w+)\}", str(template.get("foreach", "")))
        return (self.params.get(section[1]) or {}) if section else {}


@dataclass(frozen=True)
class Lock:
    """The entries of dvc.lock, by stage."""

    entries: dict[str, dict[str, Any]] = field(default_factory=dict)

    @classmethod
    def read(cls, root: Path) -> Lock:
        """Read dvc.lock below ``root``, and that of Spark; without one there are no entries."""
        spark = cls.of(read_yaml(root / SPARK_FOLDER / "dvc.lock"))
        return cls({**cls.of(read_yaml(root / "dvc.lock")).entries, **spark.entries})

    @classmethod
    def of(cls, content: dict[str, Any]) -> Lock:
        """Return the entries of a dvc.lock's content; ConfigError if it is cut off.

        DVC does not write it in one piece, and it may be cut anywhere.
        """
        try:
            stages = content.get("stages") or {}
            return cls({name: _plain_entry(entry) for name, entry in stages.items()})
        except (AttributeError, KeyError, TypeError) as error:
            fix = "run `dvc repro`, which writes it anew"
            raise ConfigError(f"dvc.lock is cut off; {fix}") from error

    def before(self, deps: Iterable[str]) -> dict[str, dict[str, Any]]:
        """Return the entries of all stages that make one of ``deps``, and of those before them."""
        found: dict[str, dict[str, Any]] = {}
        waiting = list(deps)
        while waiting:
            path = waiting.pop()
            for name, entry in self.entries.items():
                makes = any(overlap(out, path) for out in entry["outs"])
                if makes and name != CODE and name not in found:
                    found[name] = entry
                    waiting += entry["deps"]
        return dict(sorted(found.items()))

    @cached_property
    def outs(self) -> dict[str, str]:
        """DVC's sum of every output."""
        return reduce(or_, (entry["outs"] for entry in self.entries.values()), {})


def lock_text(entries: dict[str, dict[str, Any]]) -> str:
    """Return entries as the text of a dvc.lock."""
    stages = {
        name: {
            "cmd": entry["cmd"],
            "deps": _sums(entry["deps"]),
            "params": {"params.yaml": entry["params"]},
            "outs": _sums(entry["outs"]),
        }
        for name, entry in entries.items()
    }
    return yaml_text({"schema": "2.0", "stages": stages})


def tracked(root: Path, path: str) -> str | None:
    """Return the `.dvc` file by which DVC tracks a path; None for what it does not track so."""
    name = f"{path}.dvc"
    return name if (root / name).is_file() else None


def dvc_sum(path: Path) -> str:
    """Return DVC's MD5 of a file or of a folder's list of files; empty if it is missing."""
    if path.is_file():
        return _md5(path)
    files = {file.relative_to(path): file for file in sorted(path.rglob("*")) if file.is_file()}
    listed = [
        {"md5": _md5(file), "relpath": name.as_posix()}
        for name, file in files.items()
        if not any(part in _NO_CONTENT for part in name.parts) and name.suffix != ".pyc"
    ]
    if not listed:
        return ""
    listed.sort(key=lambda entry: entry["relpath"])
    text = json.dumps(listed, sort_keys=True).encode()
    return f"{hashlib.md5(text, usedforsecurity=False).hexdigest()}.dir"


def overlap(one: str, other: str) -> bool:
    """Return whether two paths are the same, or one lies in the other."""
    return one == other or one.startswith(f"{other}/") or other.startswith(f"{one}/")


def value_at(content: Any, dotted: str) -> Any:
    """Return the value at a dotted key; None where there is none."""
    for step in dotted.split("."):
        content = content.get(step) if isinstance(content, dict) else None
    return content


def read_yaml(path: Path) -> dict[str, Any]:
    """Return a YAML file's content; what is not there is empty, no YAML is a ConfigError."""
    if not path.is_file():
        return {}
    return parse_yaml(read_utf8(path), path.name) or {}


def committed_yaml(root: Path, name: str) -> dict[str, Any]:
    """Return a YAML file of HEAD; what is not there, or no YAML, is empty."""
    try:
        content = parse_yaml(git(root, "show", f"HEAD:./{name}") or "", name)
    except ConfigError:
        return {}
    return content if isinstance(content, dict) else {}


def _plain_entry(locked: dict[str, Any]) -> dict[str, Any]:
    params: dict[str, Any] = reduce(or_, locked.get("params", {}).values(), {})
    return {
        "cmd": locked.get("cmd", ""),
        "deps": {str(dep["path"]): _sum(dep) for dep in locked.get("deps", [])},
        "params": dict(sorted(params.items())),
        "outs": {str(out["path"]): _sum(out) for out in locked.get("outs", [])},
    }


def _sum(item: dict[str, Any]) -> str:
    return str(item.get("md5") or item.get("hash") or "")


def _sums(sums: dict[str, str]) -> list[dict[str, str]]:
    return [{"path": path, "hash": "md5", "md5": value} for path, value in sums.items() if value]


def _md5(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _filled(text: str, known: dict[str, Any]) -> str:
    return re.sub(r"\$\{([\w.-]+)\}", lambda found: str(value_at(known, found[1])), text)
