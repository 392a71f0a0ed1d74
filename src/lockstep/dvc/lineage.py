"""Where a model comes from: its input closure, the commit, and whether the two agree."""

from __future__ import annotations

import platform
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lockstep.config.params import training_key
from lockstep.errors import ConfigError
from lockstep.io import sha256_file, sha256_json

TRAIN_STAGE = "train_multi_model"
NO_REPOSITORY, NO_COMMIT = "no git repository", "no commit yet"
_IGNORED = ("__pycache__", ".DS_Store")


@dataclass(frozen=True)
class Lineage:
    """What a version records of its origin. ``closure`` holds everything the training depended on."""

    closure: dict[str, Any]
    commit: str
    changed: tuple[str, ...]
    known: bool

    @property
    def dirty(self) -> str:
        """``true`` where a declared input differs from the commit, ``false`` where none does, else ``unknown``."""
        return str(bool(self.changed)).lower() if self.known else "unknown"

    @property
    def closure_digest(self) -> str:
        """The SHA-256 of the closure."""
        return sha256_json(self.closure)

    @property
    def data_digest(self) -> str:
        """The SHA-256 over what the training read from earlier stages: split, encoder and matrices."""
        made = {
            path: sum_ for path, sum_ in self.closure["training"]["deps"].items() if _is_made(path)
        }
        return sha256_json(made)

    @property
    def source(self) -> str:
        """The kind of source the raw files came from: sample, download, files or table."""
        params = self._import.get("params", {})
        return next(
            (str(value["kind"]) for value in params.values() if "kind" in (value or {})), "unknown"
        )

    @property
    def raw_hash(self) -> str:
        """DVC's hash of the raw files, or ``unknown`` where no stage of this workspace brought them in."""
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
    """Return the lineage of one training of the workspace; the same within its stage and after it."""
    closure = input_closure(root, problem, model_type)
    commit = head_commit(root)
    known = commit not in (NO_REPOSITORY, NO_COMMIT)
    training = f"{TRAIN_STAGE}@{training_key(problem, model_type)}"
    changed = changed_inputs(root, closure, training) if known else ()
    return Lineage(closure, commit, changed, known)


def input_closure(root: Path, problem: str, model_type: str) -> dict[str, Any]:
    """Return everything a training depends on, as plain values.

    The training itself is resolved from dvc.yaml, because dvc.lock has no entry of a stage while it runs;
    the stages before it are dvc.lock's entries, followed through their outputs.
    """
    training = stage_definition(root, TRAIN_STAGE, training_key(problem, model_type))
    locked = _read_yaml(root / "dvc.lock").get("stages", {})
    before = _stages_before(training["deps"], locked)
    outputs = {out["path"]: _sum(out) for entry in before.values() for out in entry.get("outs", [])}
    params = _read_yaml(root / "params.yaml")
    return {
        "training": {
            "cmd": training["cmd"],
            "deps": {path: _digest(root, path, outputs) for path in sorted(training["deps"])},
            "params": {key: value_at(params, key) for key in sorted(training["params"])},
        },
        "stages": {name: _entry(before[name]) for name in sorted(before)},
        "environment": {
            "requirements.lock": _digest(root, "requirements.lock", {}),
            "python": platform.python_version(),
            "platform": f"{sys.platform}-{platform.machine()}",
        },
    }


def stage_definition(root: Path, stage: str, key: str) -> dict[str, Any]:
    """Return cmd, deps and params of one instance of a ``foreach`` stage over a section of params.yaml."""
    found = _definition(
        _read_yaml(root / "dvc.yaml"), _read_yaml(root / "params.yaml"), f"{stage}@{key}"
    )
    if found is None:
        raise ConfigError(
            f"dvc.yaml has no stage {stage}@{key}; declare the training in params.yaml"
        )
    return found


def _definition(graph: dict[str, Any], params: dict[str, Any], name: str) -> dict[str, Any] | None:
    """Return cmd, deps and params of a stage, by its name in dvc.lock; None where the graph has none such."""
    stage, _, key = name.partition("@")
    template = value_at(graph, f"stages.{stage}") or {}
    body = template.get("do", {}) if key else template
    section = re.fullmatch(r"\$\{(\w+)\}", str(template.get("foreach", "")))
    items = params.get(section.group(1), {}) if section else {}
    if not body or (key and key not in items):
        return None
    known = {"key": key, "item": items.get(key)}
    return {
        "cmd": _filled(str(body["cmd"]), known),
        "deps": [_filled(path, known) for path in body.get("deps", [])],
        "params": [_filled(str(name), known) for name in body.get("params", [])],
    }


def changed_inputs(root: Path, closure: dict[str, Any], training: str) -> tuple[str, ...]:
    """Return the declared inputs that differ from HEAD: sources by content, params by value, stages as declared."""
    asked = [path for path in sources(closure) if not path.startswith("params.yaml")]
    tracked = [f"{path}.dvc" for path in asked if (root / f"{path}.dvc").is_file()]
    files = _changed_files(root, *asked, *tracked)
    return (
        *files,
        *_changed_params(root, closure),
        *_changed_stages(root, [*closure["stages"], training]),
    )


def kept_inputs(root: Path, found: Lineage) -> dict[str, str | None]:
    """Return the files by which a dirty workspace differs from its commit, each with its SHA-256; None: deleted.

    Besides the declared inputs: the stages' definitions, all parameters, and the package's code that no stage
    declares, as logging does, because the rest may not run without it. Of a clean workspace nothing.
    """
    if not found.changed:
        return {}
    more = _changed_files(
        root, "dvc.yaml", "params.yaml", "src/lockstep/*.py", "src/lockstep/*.yaml"
    )
    names = sorted({name.partition(":")[0] for name in found.changed} | set(more))
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
    read |= set(closure["training"]["deps"]) | {"requirements.lock"}
    return sorted(
        path for path in read if not any(_covers(out, path) or _covers(path, out) for out in made)
    )


def input_sum(root: Path, path: str) -> str:
    """Return the sum by which a closure knows what a person wrote: SHA-256 of a file, or over a folder's files."""
    return _digest(root, path, {})


def head_commit(root: Path) -> str:
    """Return the commit of HEAD, or a word for its absence."""
    if git(root, "rev-parse", "--git-dir") is None:
        return NO_REPOSITORY
    return git(root, "rev-parse", "--verify", "--quiet", "HEAD") or NO_COMMIT


def git(root: Path, *arguments: str) -> str | None:
    """Run git below ``root``; None where it fails or is not installed."""
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=root, capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        return None
    return done.stdout.strip("\n") if done.returncode == 0 else None


def _changed_params(root: Path, closure: dict[str, Any]) -> list[str]:
    """Name the parameters of the closure whose value at HEAD is another."""
    return _other_params(_committed(root, "params.yaml"), closure)


def _changed_stages(root: Path, names: list[str]) -> list[str]:
    """Name the stages whose command, dependencies or parameters are declared otherwise at HEAD.

    Both are filled with the parameters of the workspace, whose changes are told apart.
    """
    here, there = _read_yaml(root / "dvc.yaml"), _committed(root, "dvc.yaml")
    params = _read_yaml(root / "params.yaml")
    return [
        f"dvc.yaml:{name}"
        for name in names
        if _unordered(_definition(here, params, name))
        != _unordered(_definition(there, params, name))
    ]


def _unordered(definition: dict[str, Any] | None) -> dict[str, Any] | None:
    return definition and {
        key: sorted(told) if isinstance(told, list) else told for key, told in definition.items()
    }


def _committed(root: Path, name: str) -> dict[str, Any]:
    """Return a YAML file of HEAD; what is not there, or no YAML, is empty."""
    import yaml

    try:
        content = _parsed(git(root, "show", f"HEAD:./{name}") or "")
    except yaml.YAMLError:
        return {}
    return content if isinstance(content, dict) else {}


def differing_params(root: Path, closure: dict[str, Any]) -> list[str]:
    """Name the parameters of the closure whose value below ``root`` is another."""
    return _other_params(_read_yaml(root / "params.yaml"), closure)


def _other_params(content: dict[str, Any], closure: dict[str, Any]) -> list[str]:
    used = sorted(used_params(closure).items())
    return [f"params.yaml:{key}" for key, value in used if value_at(content, key) != value]


def with_params(content: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    """Return parameters with values at dotted keys; those that have them already stay as they are."""
    from copy import deepcopy

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


def _changed_files(root: Path, *asked: str) -> list[str]:
    """Name the files below these paths that differ from HEAD, deleted and untracked ones too."""
    options = ("--porcelain", "-z", "--no-renames", "--untracked-files=all")
    listed = git(root, "status", *options, "--", *asked) or ""
    return sorted({_from_top(root, entry[3:]) for entry in listed.split("\0") if len(entry) > 3})


def _from_top(root: Path, path: str) -> str:
    """Turn git's path, which starts at the repository's top, into one from ``root``."""
    prefix = git(root, "rev-parse", "--show-prefix") or ""
    return path.removeprefix(prefix)


def _stages_before(deps: list[str], locked: dict[str, Any]) -> dict[str, Any]:
    """Return dvc.lock's entries of all stages that make one of ``deps``, or what they need, and so on."""
    found: dict[str, Any] = {}
    wanted = list(deps)
    while wanted:
        path = wanted.pop()
        for name, entry in locked.items():
            outs = [out["path"] for out in entry.get("outs", [])]
            if name not in found and any(_covers(out, path) or _covers(path, out) for out in outs):
                found[name] = entry
                wanted += [dep["path"] for dep in entry.get("deps", [])]
    return found


def _entry(locked: dict[str, Any]) -> dict[str, Any]:
    params = {
        key: value for group in locked.get("params", {}).values() for key, value in group.items()
    }
    return {
        "cmd": locked.get("cmd", ""),
        "deps": {dep["path"]: _sum(dep) for dep in locked.get("deps", [])},
        "params": dict(sorted(params.items())),
        "outs": {out["path"]: _sum(out) for out in locked.get("outs", [])},
    }


def _sum(item: dict[str, Any]) -> str:
    return str(item.get("md5") or item.get("hash") or "")


def _covers(folder: str, path: str) -> bool:
    return path == folder or path.startswith(f"{folder}/")


def _is_made(path: str) -> bool:
    return path.startswith(("data/", "models/", "metrics/"))


def _digest(root: Path, path: str, outputs: dict[str, str]) -> str:
    """Return DVC's sum of what a stage made, else a SHA-256 over the file or folder."""
    if path in outputs:
        return outputs[path]
    place = root / path
    if place.is_file():
        return sha256_file(place)
    files = sorted(p for p in place.rglob("*") if p.is_file() and not _is_ignored(p))
    if not files:
        return "absent"
    return sha256_json({p.relative_to(place).as_posix(): sha256_file(p) for p in files})


def _is_ignored(path: Path) -> bool:
    return any(part in _IGNORED for part in path.parts)


def _filled(text: str, known: dict[str, Any]) -> str:
    return re.sub(r"\$\{([\w.-]+)\}", lambda found: str(value_at(known, found.group(1))), text)


def value_at(content: Any, dotted: str) -> Any:
    """Return the value at a dotted key; None where there is none."""
    for step in dotted.split("."):
        content = content.get(step) if isinstance(content, dict) else None
    return content


def _read_yaml(path: Path) -> dict[str, Any]:
    import yaml

    if not path.is_file():
        return {}
    try:
        content: dict[str, Any] = _parsed(path.read_text(encoding="utf-8")) or {}
    except yaml.YAMLError as error:
        raise ConfigError(
            f"{path.name} is no valid YAML: {' '.join(str(error).split())}"
        ) from error
    return content


def _parsed(text: str) -> Any:
    import yaml

    return yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
