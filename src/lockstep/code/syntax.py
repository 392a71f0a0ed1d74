"""A Python file as its syntax tree, in a text that changes only with the file's meaning.

Comments, layout, docstrings and what stands under `if TYPE_CHECKING:` do not count. The text is the
same on every Python version that parses the file. `ast.dump` is not: versions differ in how they
show empty fields.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable
from typing import Any

from lockstep.errors import ConfigError

_SKIPPED = ("ctx", "kind", "type_comment", "type_ignores")


def parse(content: bytes, path: str) -> ast.Module:
    """Return a file's syntax tree; a syntax error is a ConfigError that names the line."""
    try:
        return ast.parse(content)
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None)
        where = f"{path}, line {line}" if line else path
        raise ConfigError(f"{where}: {getattr(error, 'msg', error)}; no stage can run it") from None


def meaning(tree: ast.AST) -> str:
    """Return a syntax tree as a text; a file without code has an empty one."""
    written: list[str] = []
    _write(tree, written)
    text = "".join(written)
    return "" if text == "Module()" else text


def _write(value: Any, written: list[str]) -> None:
    if isinstance(value, ast.AST):
        written.append(f"{type(value).__name__}(")
        for name in value._fields:
            part = None if name in _SKIPPED else _part(value, name)
            if part is not None and part != []:
                written.append(f"{name}=")
                _write(part, written)
        written.append(")")
    elif isinstance(value, list):
        written.append("[")
        for item in value:
            _write(item, written)
            written.append(",")
        written.append("]")
    else:
        written.append(ascii(value))  # repr shows a character by the Unicode version of Python


def _part(node: ast.AST, name: str) -> Any:
    part = getattr(node, name, None)
    if isinstance(part, list) and part and isinstance(part[0], ast.stmt):
        return statements(part)
    if name == "values" and isinstance(node, ast.JoinedStr):
        return _joined(node.values)
    if name == "format_spec" and isinstance(part, ast.JoinedStr) and not _joined(part.values):
        return None
    return part


def statements(body: Iterable[ast.AST]) -> list[ast.AST]:
    """Return the statements that do something when they run."""
    kept: list[ast.AST] = []
    for statement in body:
        if isinstance(statement, ast.If) and _is_type_checking(statement.test):
            kept += statements(statement.orelse)
        elif not _is_text(statement):
            kept.append(statement)
    return kept


def _is_text(statement: ast.AST) -> bool:
    value = statement.value if isinstance(statement, ast.Expr) else None
    return isinstance(value, ast.Constant) and isinstance(value.value, str)


def _is_type_checking(test: ast.expr) -> bool:
    name = test.attr if isinstance(test, ast.Attribute) else getattr(test, "id", None)
    return name == "TYPE_CHECKING"


def _joined(values: list[ast.expr]) -> list[ast.expr]:
    """Return an f-string's parts with neighbouring texts joined: Python versions cut them apart."""
    joined: list[ast.expr] = []
    for value in values:
        last = joined[-1] if joined else None
        if isinstance(value, ast.Constant) and value.value == "":
            continue
        if isinstance(value, ast.Constant) and isinstance(last, ast.Constant):
            joined[-1] = ast.Constant(str(last.value) + str(value.value))
        else:
            joined.append(value)
    return joined
