"""The closure of a module: what it may import, which files these read, which packages they need.

Each part of it has a sum or a version that changes only where its meaning does.
"""

from __future__ import annotations

import hashlib
import json
import posixpath
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from graphlib import CycleError, TopologicalSorter
from typing import Any

from lockstep.code.files import LOCK, SOURCE, SPARK_LOCK, Files
from lockstep.code.module import Import, Module, read_module
from lockstep.code.pins import Pins, read_pins
from lockstep.errors import ConfigError, nearest
from lockstep.io import decoded, parse_yaml

PACKAGE = "lockstep"
_COMMAND = re.compile(r"python -m (?P<module>[\w.]+)")
_OPTION = re.compile(r"--(?P<name>[\w-]+)[ =](?P<value>\S+)")
_PLACE = re.compile(r"\{(\w+)\}")


@dataclass
class _Found:
    """What a walk through imports has met so far."""

    modules: dict[str, Module] = field(default_factory=dict)
    packages: set[str] = field(default_factory=set)
    files: dict[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Code:
    """The code of a project; each module is read once, whatever number of stages use it."""

    files: Files
    _modules: dict[str, Module | None] = field(default_factory=dict)
    _sums: dict[tuple[str, tuple[str, ...]], str] = field(default_factory=dict)

    def of_command(self, command: str) -> dict[str, str]:
        """Return what a stage's command runs: a SHA-256 per file, a version per package, by name.

        A missing module or file, a syntax error, an import cycle and a package without a pin are
        ConfigErrors.
        """
        run = _COMMAND.search(command)
        if run is None:
            fault = "a stage depends on its code but runs no module of Python"
            raise ConfigError(f"{fault}: {command}")
        return self.of_module(run["module"], dict(_OPTION.findall(command)))

    def of_module(self, module: str, options: Mapping[str, str]) -> dict[str, str]:
        """Return the same for a module, run with options."""
        found = _Found()
        waiting = [self._known(module, "dvc.yaml")]
        while waiting:
            waiting += self._next(waiting.pop(), options, found)
        check_cycles(found.modules)
        parts = {m.path: m.sum for m in found.modules.values() if m.sum}
        parts |= {path: self._file(path, left_out) for path, left_out in found.files.items()}
        pinned = self._pins.with_needs(found.packages) if found.packages else {}
        parts |= {f"{LOCK}:{name}": version for name, version in pinned.items()}
        return dict(sorted(parts.items()))

    def _next(self, name: str, options: Mapping[str, str], found: _Found) -> list[str]:
        """Add a module to what was found; return the modules that importing it imports."""
        module = self._module(name)
        if module is None or name in found.modules:
            return []
        found.modules[name] = module
        more = [name.rpartition(".")[0]]
        for imported in module.imports:
            root = imported.name.partition(".")[0]
            if _is_own(imported.name):
                more.append(self._inside(imported, module.path))
            elif root not in sys.stdlib_module_names:
                found.packages.add(self._pins.of(root, module.path))
        more += self._declared(module, options, found)
        for path, left_out in module.files.items():
            self._add_file(_filled(path, options), left_out, module, found)
        return more

    def _inside(self, imported: Import, importer: str) -> str:
        """Return the module that an import loads."""
        found = self._module(imported.name)
        return found.name if found else self._known(imported.within, importer)

    def _known(self, name: str, importer: str) -> str:
        if self._module(name) is None:
            above, _, last = name.rpartition(".")
            there = f"{_path(name)}.py{nearest(last, self.files.modules_in(_path(above)))}"
            raise ConfigError(f"{importer} needs the module {name}, and there is no {there}")
        return name

    def _declared(self, module: Module, options: Mapping[str, str], found: _Found) -> list[str]:
        """Add the packages that a module imports by name; return this project's modules."""
        names: list[str] = []
        for declared in module.modules:
            name = _filled(declared.removesuffix("?"), options)
            above, _, last = name.rpartition(".")
            if place := _PLACE.search(above):
                fault = f"the stage's command has no --{place[1]}"
                raise ConfigError(f"{module.path} imports {declared}, but {fault}")
            if _PLACE.fullmatch(last):
                names += [f"{above}.{one}" for one in self.files.modules_in(_path(above))]
            elif not _is_own(name):
                found.packages.add(self._pins.of(name.partition(".")[0], module.path))
            elif not declared.endswith("?") or self._module(name):
                names.append(self._known(name, module.path))
        return names

    def _add_file(
        self, name: str, left_out: tuple[str, ...], module: Module, found: _Found
    ) -> None:
        path = posixpath.normpath(posixpath.join(posixpath.dirname(module.path), name))
        if path not in self.files.content:
            raise ConfigError(f"{module.path} reads {path}, which is missing; restore it with git")
        before = found.files.get(path, left_out)
        found.files[path] = tuple(one for one in left_out if one in before)

    def _file(self, path: str, left_out: tuple[str, ...]) -> str:
        if (path, left_out) not in self._sums:
            content = self.files.content[path]
            if path.endswith((".yaml", ".yml")):
                values = parse_yaml(decoded(content, path), path)
                values = _without(values, [one.split(".") for one in left_out])
                content = ascii(values).encode()
            self._sums[path, left_out] = hashlib.sha256(content).hexdigest()
        return self._sums[path, left_out]

    def _module(self, name: str) -> Module | None:
        if name not in self._modules:
            paths, content = (f"{_path(name)}.py", f"{_path(name)}/__init__.py"), self.files.content
            found = (read_module(name, path, content[path]) for path in paths if path in content)
            self._modules[name] = next(found, None)
        return self._modules[name]

    @cached_property
    def _pins(self) -> Pins:
        if LOCK not in self.files.content:
            raise ConfigError(f"{LOCK} is missing; restore it with `git checkout {LOCK}`")
        # An extra's own pins need the others, so both are read as one lock.
        extra = self.files.content.get(SPARK_LOCK, b"")
        return read_pins(decoded(self.files.content[LOCK] + b"\n" + extra, LOCK))


def code_text(parts: dict[str, str]) -> str:
    """Return what a stage's code means as the text of the file that the stage depends on."""
    return json.dumps(parts, indent=1) + "\n"


def check_cycles(modules: Mapping[str, Module]) -> None:
    """Raise a ConfigError that names the circle, if modules import each other at their start."""
    needed = {name: sorted(_at_start(modules[name], modules)) for name in sorted(modules)}
    try:
        TopologicalSorter(needed).prepare()
    except CycleError as error:
        circle = " → ".join(reversed(error.args[1]))
        raise ConfigError(f"modules import each other in a circle: {circle}") from None


def _at_start(module: Module, modules: Mapping[str, Module]) -> set[str]:
    """Return the modules that a module imports at its start, without the packages it lies in."""
    names = (i.name if i.name in modules else i.within for i in module.imports if i.at_start)
    return {n for n in names if n in modules and not f"{module.name}.".startswith(f"{n}.")}


def _is_own(name: str) -> bool:
    return name.partition(".")[0] == PACKAGE


def _path(module: str) -> str:
    return f"{SOURCE}/{module.replace('.', '/')}"


def _filled(text: str, options: Mapping[str, str]) -> str:
    return _PLACE.sub(lambda place: options.get(place[1], place[0]), text)


def _without(value: Any, paths: list[list[str]]) -> Any:
    """Return YAML values without those at some paths, where `*` stands for every key or item."""
    if isinstance(value, list):
        below = [path[1:] for path in paths if path[0] == "*"]
        return [_without(item, below) for item in value]
    if not isinstance(value, dict) or not paths:
        return value
    kept: dict[Any, Any] = {}
    for key, inner in value.items():
        here = [path for path in paths if path and path[0] in (key, "*")]
        if not any(len(path) == 1 for path in here):
            kept[key] = _without(inner, [path[1:] for path in here])
    return kept
