"""Records from text: JSON or JSON Lines, as they were written; light, for fast errors."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from lockstep.errors import DataError, listed

_EXAMPLE = "give a record as in src/models/test_features.json"
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class Given:
    """What is to be predicted: records in JSON, or else a table, as a file or its content."""

    where: str
    records: list[dict[str, Any]] | None
    path: Path | None = None
    content: bytes = b""


def given(content: bytes, where: str, path: Path | None = None) -> Given:
    """Return what content is; JSON is parsed at once. ``path`` is where it can be read again."""
    start = content.removeprefix(_BOM).lstrip()[:1]
    if not start:
        raise DataError(f"{where} is empty; {_EXAMPLE}")
    if start in b"[{":
        return Given(where, parse_records(content, where))
    return Given(where, None, path, b"" if path else content)


def parse_records(content: bytes, where: str) -> list[dict[str, Any]]:
    """Read one record, a list of them or JSON Lines; DataError with the line otherwise."""
    try:
        text = content.removeprefix(_BOM).decode().strip()
    except UnicodeDecodeError as error:
        raise DataError(
            f"{where} is not UTF-8 text (byte {error.start}); save it as UTF-8"
        ) from None
    is_list = text[0] == "["
    found = _objects(_json(text, where), where) if is_list else _one_or_lines(text, where)
    if "\\ud" in text.lower():
        _refuse_half_letters(found, where)
    return found


def _refuse_half_letters(records: list[dict[str, Any]], where: str) -> None:
    """Refuse a surrogate without its other half, which no text can hold."""
    try:
        json.dumps(records, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        half = ascii(error.object[error.start])[1:-1]
        raise DataError(f"{where} holds half a letter ({half}); write the whole one") from None


def _one_or_lines(text: str, where: str) -> list[dict[str, Any]]:
    """Read a single object; several objects, one below the other, are JSON Lines."""
    try:
        return _objects([_decode(text)], where)
    except json.JSONDecodeError as error:
        if error.msg != "Extra data":
            raise _broken(error, where) from None
    lines = [(n, line) for n, line in enumerate(text.splitlines(), start=1) if line.strip()]
    return _objects([_json(line, f"{where}, line {number}") for number, line in lines], where)


def _objects(content: list[Any], where: str) -> list[dict[str, Any]]:
    for number, record in enumerate(content, start=1):
        if not isinstance(record, dict):
            raise DataError(
                f"{where}: record {number} is a {type(record).__name__}, "
                "not an object of feature names and values"
            )
    if not content:
        raise DataError(f"{where} holds no record; {_EXAMPLE}")
    return content


def _json(text: str, where: str) -> Any:
    try:
        return _decode(text)
    except json.JSONDecodeError as error:
        raise _broken(error, where) from None


def _decode(text: str) -> Any:
    return json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=unique_names)


def _broken(error: json.JSONDecodeError, where: str) -> DataError:
    return DataError(
        f"{where} is no valid JSON: {error.msg} at line {error.lineno}, column {error.colno}"
    )


def _refuse_constant(name: str) -> NoReturn:
    raise DataError(f"{name} is no JSON value; write null where a value is not known")


def unique_names(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a record of name and value pairs; DataError where a name stands twice."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = sorted({name for name in names if names.count(name) > 1})
        raise DataError(f"a record names {listed(twice, 12)} twice; keep one value")
    return found
