"""Edits of params.yaml, and files like it, that leave comments, order and layout as they are."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from typing import Any

from lockstep.config.params import Params, parse_params
from lockstep.errors import ConfigError
from lockstep.io import parse_yaml

KeyPath = tuple[str, ...]
FILE = "params.yaml"
"""The file that is edited, unless another one is named."""
_TAG = "tag:yaml.org,2002"
_TOP_KEY = re.compile(r"^(?P<key>[A-Za-z_][\w-]*):")


def with_values(text: str, values: Mapping[KeyPath, Any]) -> str:
    """Return the text with each key set to its value; missing mappings on the way are added.

    A text that has these values already stays the same, to the byte. An edit below a YAML anchor
    also reaches the places that name it; one below an alias of it is a ConfigError.
    """
    content = _load(text)
    news = {path: value for path, value in values.items() if not _same(_get(content, path), value)}
    for path in news:
        _check_own(content, path, news)
    for path, value in news.items():
        _set(content, path, value)
    return _dump(content) if news else text


def with_sections(text: str, fragment: str, file: str = FILE) -> str:
    """Return the text of a file with the entries of a fragment (problems:, train:) it lacks."""
    have, more = _load(text, file), _load(fragment, file)
    for section, entries in more.items():
        present = [key for key in entries if key in (have.get(section) or {})]
        if len(present) == len(entries):
            continue
        for key in present:
            del entries[key]
        lines = (_dump(more) if present else fragment).splitlines()
        bounds = _bounds(lines, section)
        text = with_block(text, section, lines[slice(*bounds)] if bounds else [], file)
    return text


def parsed(text: str) -> Params:
    """Return the content of a params.yaml's text; a fault is a ConfigError with its place."""
    return parse_params(parse_yaml(text, FILE))


def _yaml() -> Any:
    from ruamel.yaml import YAML

    yaml = YAML()
    yaml.width = 1 << 16  # never fold a line
    yaml.preserve_quotes = True
    yaml.indent(mapping=2, sequence=4, offset=2)
    add = yaml.representer.add_representer
    add(type(None), lambda writer, _: writer.represent_scalar(f"{_TAG}:null", "null"))
    add(float, lambda writer, value: writer.represent_scalar(f"{_TAG}:float", _float_text(value)))
    return yaml


def _float_text(value: float) -> str:
    """Return a number as every YAML reader reads it: 1e-05 without a point is text in YAML 1.1."""
    special = {float("inf"): ".inf", float("-inf"): "-.inf"}
    text = ".nan" if value != value else special.get(value, repr(value))
    return text.replace("e", ".0e", 1) if "e" in text and "." not in text else text


def _load(text: str, file: str = FILE) -> Any:
    from ruamel.yaml.error import YAMLError

    try:
        content = _yaml().load(text)
    except YAMLError as error:
        fault = " ".join(str(error).split())
        raise ConfigError(f"{file} is no valid YAML: {fault}") from error
    if not isinstance(content, Mapping):
        fix = f"restore it with `git checkout {file}`"
        raise ConfigError(f"{file} holds no sections; {fix}")
    return content


def _dump(content: Any) -> str:
    stream = io.StringIO()
    _yaml().dump(content, stream)
    return stream.getvalue()


def _get(content: Any, path: KeyPath) -> Any:
    for key in path:
        if not isinstance(content, Mapping) or key not in content:
            return None
        content = content[key]
    return content


def _same(one: Any, other: Any) -> bool:
    """Tell whether two values are equal and of one type: in Python, 1 == 1.0 == True."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    return bool(one == other) and _number_type(one) is _number_type(other)


def _number_type(value: Any) -> type | None:
    return next((kind for kind in (bool, int, float) if isinstance(value, kind)), None)


def _check_own(content: Any, path: KeyPath, asked: Mapping[KeyPath, Any]) -> None:
    """Refuse to edit through a YAML alias what is written elsewhere, unless that is asked for."""
    for end in range(1, len(path)):
        here, block = path[:end], _get(content, path[:end])
        written = _place_of(content, block) if isinstance(block, Mapping) else ()
        own = written in ((), here)
        if not own and ((*written, *path[end:]), asked[path]) not in asked.items():
            place = ".".join(map(str, here))
            fault = f"{place} is an alias of {'.'.join(map(str, written))}, which would change, too"
            fix = f"write the block out below {place}, or set the key of the other one"
            raise ConfigError(f"params.yaml: {fault}; {fix}")


def _place_of(content: Mapping[Any, Any], block: Any, above: KeyPath = ()) -> KeyPath:
    """Return the first place of a block, where YAML has its anchor; empty if it is not below."""
    for key, value in content.items():
        if value is block:
            return (*above, key)
        if isinstance(value, Mapping) and (found := _place_of(value, block, (*above, key))):
            return found
    return ()


def _set(content: Any, path: KeyPath, value: Any) -> None:
    for key in path[:-1]:
        if content.get(key) is None:
            content[key] = {}
        content = content[key]
    content[path[-1]] = value


def _bounds(lines: list[str], section: str) -> tuple[int, int] | None:
    """Return the first and last line (exclusive) of a section's indented block, or None."""
    tops = [i for i, line in enumerate(lines) if _TOP_KEY.match(line)]
    start = next((i for i in tops if lines[i].partition(":")[0] == section), None)
    if start is None:
        return None
    stop = next((i for i in tops if i > start), len(lines))
    inside = [i for i in range(start + 1, stop) if lines[i].startswith(" ") and lines[i].strip()]
    return (start + 1, inside[-1] + 1) if inside else None


def with_block(text: str, section: str, body: list[str], file: str = FILE) -> str:
    """Put lines at the end of a section, before blanks and comments of the next one.

    A section that the text lacks altogether is begun at its end.
    """
    lines = text.splitlines()
    bounds = _bounds(lines, section)
    if bounds is None and section not in _load(text, file):
        return "\n".join([*lines, "", f"{section}:", *body]) + "\n"
    if bounds is None:
        fix = "write it as an indented block"
        raise ConfigError(f"{file} has no block `{section}:` to add to; {fix}")
    return "\n".join([*lines[: bounds[1]], *body, *lines[bounds[1] :]]) + "\n"
