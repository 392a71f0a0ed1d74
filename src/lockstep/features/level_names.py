"""What the codes of encoded columns mean: the text of each level, for people."""

from __future__ import annotations

from collections import Counter
from typing import Any

from lockstep.problems.schema import Schema

MISSING = ""
"""The name of a missing value; no level has an empty name."""
UNKNOWN = "unknown"
"""The name of a level that the training rows have not."""
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


def level_names(encoder: Any, schema: Schema) -> dict[str, dict[float, str]]:
    """Return by encoded column what each of its codes is called; numbers are not among them.

    A level is called by its meaning in the schema, or else as the encoder knows it.
    """
    found = {}
    for name, kind in encoder.feature_kinds_.items():
        texts = _meanings(schema, name)
        if kind == "categorical":
            found[name] = _named([MISSING, UNKNOWN], encoder.levels_[name], texts)
        elif kind == "ordered" and texts:
            found[name] = _named([], list(texts), texts)
    return found


def _meanings(schema: Schema, name: str) -> dict[str, str]:
    """Return the meaning of each declared level of an encoded column."""
    if name in schema.columns:
        return {str(code): text for code, text in schema.columns[name].codes.items()}
    weekdays = {derived.name for derived in schema.derived if derived.kind == "weekday"}
    return {str(day): text for day, text in enumerate(WEEKDAYS)} if name in weekdays else {}


def _named(first: list[str], levels: list[Any], meanings: dict[str, str]) -> dict[float, str]:
    """Return names by code; levels with one meaning have their code before it."""
    texts = [meanings.get(str(level)) or str(level) for level in levels]
    count = Counter([*first, *texts])
    distinct = [
        text if count[text] == 1 else f"{level}: {text}"
        for level, text in zip(levels, texts, strict=True)
    ]
    return {float(code): text for code, text in enumerate([*first, *distinct])}
