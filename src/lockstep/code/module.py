"""One module, read without running it: its meaning, its imports, and what it declares about them.

Every import counts, except under `if TYPE_CHECKING:`. A module declares what its imports don't show
in constants of its own, each a plain literal:

    CODE_MODULES = ("lockstep.problems.{problem}.raw?",)
        The modules that it imports by name (`?`: if there is one).
    CODE_FILES = {"{problem}/schema.yaml": ("columns.*.description",)}
        The files below `src` that it reads; paths start in its own folder. A YAML file counts by
        its values, except those listed; any other file counts by its bytes.
    CODE_LEFT_OUT = ("lockstep.registry",)
        The imports of this module that change no result.

A name in braces is an option of the stage's command (`--problem accidents`). If the command has no
such option, `CODE_MODULES` stands for all modules of that folder.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from lockstep.code.syntax import meaning, parse, statements
from lockstep.errors import ConfigError

_BLOCKS = (ast.stmt, ast.ExceptHandler, ast.match_case)
"""What may hold imports."""
_KINDS: dict[str, type] = {"CODE_MODULES": tuple, "CODE_FILES": dict, "CODE_LEFT_OUT": tuple}


@dataclass(frozen=True)
class Import:
    """One imported name: of a module, or of something inside the module ``within``."""

    name: str
    within: str
    at_start: bool
    """Whether it is imported when the module is, not later by a function."""


@dataclass(frozen=True)
class Module:
    """One module. ``sum`` is the SHA-256 of its meaning, empty if it has no code."""

    name: str
    path: str
    sum: str
    imports: tuple[Import, ...]
    modules: tuple[str, ...]
    files: Mapping[str, tuple[str, ...]]


def read_module(name: str, path: str, content: bytes) -> Module:
    """Read a module from its source."""
    tree = parse(content, path)
    declared = {name: _declared(tree, name, path) for name in _KINDS}
    package = name if path.endswith("/__init__.py") else name.rpartition(".")[0]
    left_out = declared["CODE_LEFT_OUT"]
    text = meaning(tree)
    return Module(
        name,
        path,
        hashlib.sha256(text.encode()).hexdigest() if text else "",
        tuple(i for i in _imports(tree.body, package) if not _is_below(i.name, left_out)),
        declared["CODE_MODULES"],
        declared["CODE_FILES"],
    )


def _declared(tree: ast.Module, constant: str, path: str) -> Any:
    """Return a declaration of a module; empty where it has none."""
    kind = _KINDS[constant]
    for node in tree.body:
        if not isinstance(node, ast.Assign | ast.AnnAssign) or node.value is None:
            continue
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        if [getattr(target, "id", None) for target in targets] != [constant]:
            continue
        try:
            value = ast.literal_eval(node.value)
        except (ValueError, TypeError):
            value = None
        if isinstance(value, kind) and _is_of_texts(value):
            return value
        wanted = f"a plain {kind.__name__} of texts{', each with a tuple' if kind is dict else ''}"
        raise ConfigError(f"{path}: {constant} must be {wanted}; see lockstep/code/module.py")
    return kind()


def _is_of_texts(value: Any) -> bool:
    """Tell whether a tuple, or a dict with a tuple for each key, holds nothing but texts."""
    if isinstance(value, dict):
        values = all(isinstance(one, tuple) and _is_of_texts(one) for one in value.values())
        return values and _is_of_texts(tuple(value))
    return all(isinstance(one, str) for one in value)


def _imports(body: Iterable[ast.AST], package: str, at_start: bool = True) -> Iterator[Import]:
    for node in statements(body):
        if isinstance(node, ast.Import):
            yield from (Import(alias.name, alias.name, at_start) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            within = _absolute(node, package)
            yield from (Import(f"{within}.{alias.name}", within, at_start) for alias in node.names)
        else:
            later = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            inner = (part for part in ast.iter_child_nodes(node) if isinstance(part, _BLOCKS))
            yield from _imports(inner, package, at_start and not later)


def _absolute(node: ast.ImportFrom, package: str) -> str:
    if not node.level:
        return node.module or ""
    above = package.split(".")[: len(package.split(".")) - node.level + 1]
    return ".".join([*above, *([node.module] if node.module else [])])


def _is_below(name: str, tops: tuple[str, ...]) -> bool:
    return any(name == top or name.startswith(f"{top}.") for top in tops)
