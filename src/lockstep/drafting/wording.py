"""Words that several sentences of a draft share: lists, singular and plural."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from lockstep.errors import listed
from lockstep.problems.dialects import counted


def both(items: Iterable[str]) -> str:
    """Return items as in a sentence: ``a``, ``a and b``, ``a, b and c``."""
    *first, last = items
    return f"{', '.join(first)} and {last}" if first else last


def rows_do(rows: int, one: str, several: str, what: str = "row") -> str:
    """Return a number of rows with its verb: ``1 row has``, ``2 rows have``."""
    return f"{counted(rows, what)} {one if rows == 1 else several}"


def share(part: float) -> str:
    """Return a share in percent; what is neither none nor all is not rounded to it."""
    if 0 < part < 0.0005:
        return "under 0.1%"
    return "over 99.9%" if 0.9995 <= part < 1 else f"{part:.1%}"


def at_least(lower: float) -> str:
    """Return the lower end of a 95% interval of a share, rounded down."""
    return f"95% interval: at least {math.floor(lower * 1000) / 10:.1f}%"


def with_rows(texts: Mapping[str, int], most: int = 5) -> str:
    """Return texts with the rows that hold them: ``'a' (2 rows), 'b' (1 row)``."""
    return listed((f"'{text}' ({counted(rows, 'row')})" for text, rows in texts.items()), most)


def words_question(words: Mapping[str, int], among: str) -> str:
    """Return the question about words that are read as missing, with their rows."""
    verb, meaning = ("is", "it means") if len(words) == 1 else ("are", "they mean")
    return (
        f"{with_rows(words)} among the {among} {verb} read as missing. "
        f"If {meaning} something else, correct the file"
    )
