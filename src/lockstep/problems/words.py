"""What the two classes of a problem, and the decisions about them, are called."""

from __future__ import annotations

from lockstep.problems.schema import Schema


def class_words(schema: Schema) -> tuple[str, str]:
    """Return the meanings of the classes 0 and 1."""
    codes = schema.columns[schema.target].codes
    words = [meaning or str(code) for code, meaning in codes.items()]
    return (words[0], words[1]) if len(words) == 2 else ("0", "1")


def decision_words(schema: Schema) -> tuple[str, str]:
    """Return what is done about the classes 0 and 1: the schema's words, else the meanings."""
    codes, meanings = schema.columns[schema.target].codes, class_words(schema)
    decided = [schema.decisions.get(code, "") for code in codes]
    if len(decided) != 2:
        return meanings
    return decided[0] or meanings[0], decided[1] or meanings[1]
