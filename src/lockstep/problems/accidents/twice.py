"""A year's table that is there twice under another name: by content, and by the accidents in it."""

from __future__ import annotations

import csv
import re
from collections import defaultdict
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

import numpy as np

from lockstep.errors import DataError
from lockstep.problems.accidents.eras import KEYS, kind_of, year_in
from lockstep.problems.text_tables import read_text, whole_numbers

_ENDS = 1 << 14
"""Bytes at either end of a file that are looked at for its years."""
_MOST_SHARED = 0.01
"""The share of a file's accidents that another file of the table may hold as well."""


def refuse_twice(files: Sequence[Path]) -> None:
    """Raise a DataError with both names if two files of one table hold the same accidents."""
    by_kind: dict[str, list[Path]] = defaultdict(list)
    for path in files:
        by_kind[kind_of(path.name) or ""].append(path)
    by_kind.pop("", None)
    for kind, paths in by_kind.items():
        years = {path: years_of(path) for path in paths} if len(paths) > 1 else {}
        for first, second in combinations(paths, 2):
            shared = years[first] & years[second]
            if shared:
                _refuse_shared(kind, first, second, min(shared))


def _refuse_shared(kind: str, first: Path, second: Path, year: int) -> None:
    one, other = _accidents(first), _accidents(second)
    both = len(np.intersect1d(one, other))
    if both > _MOST_SHARED * min(len(one), len(other)):
        raise DataError(
            f"two {kind} files of {year}: {_named(first, second)} hold the same {both:,} accidents "
            f"(of {len(one):,} and {len(other):,}); keep one of them"
        )


def _named(first: Path, second: Path) -> str:
    """Return both names, with their folders where the names are the same."""
    if first.name != second.name:
        return f"{first.name} and {second.name}"
    return " and ".join(f"{path.parent.name}/{path.name}" for path in (first, second))


def _accidents(path: Path) -> np.ndarray:
    text = read_text(path)
    name = next((key for key in KEYS if key in text.columns), "")
    text.require([name or KEYS[0]])
    return np.unique(whole_numbers(text, name))


def years_of(path: Path) -> set[int]:
    """Return the years from a file's first to its last accident; by its name if neither shows."""
    size = path.stat().st_size
    with path.open("rb") as stream:
        head = stream.read(_ENDS).decode("latin-1").splitlines()
        stream.seek(max(0, size - _ENDS))
        tail = stream.read().decode("latin-1").splitlines()
    lines = head[:2] + tail[-1:]
    found = {year for line in lines[1:] if (year := _year_of_row(lines[0], line))}
    if found:
        return set(range(min(found), max(found) + 1))
    year = year_in(path.name)
    return {year} if year else set()


def _year_of_row(header: str, line: str) -> int | None:
    """Return the year that a row's accident id begins with, None where it can't be seen."""
    separator = max(";,\t", key=header.count)
    names, cells = (next(csv.reader([text], delimiter=separator), []) for text in (header, line))
    bare = [re.sub(r"\W", "", name.removeprefix("ï»¿")) for name in names]
    place = next((bare.index(key) for key in KEYS if key in bare), None)
    if place is None or place >= len(cells):
        return None
    digits = re.sub(r"\D", "", cells[place])
    return int(digits[:4]) if re.match(r"(?:19|20)\d{6,}", digits) else None
