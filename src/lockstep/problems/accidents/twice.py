"""A year's table that is there twice under another name: by content, and by the accidents in it."""

from __future__ import annotations

import csv
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lockstep.errors import DataError
from lockstep.problems.accidents.eras import KEYS, kind_of, year_in
from lockstep.problems.text_tables import read_text, whole_numbers

_ENDS = 1 << 14
"""Bytes at either end of a file that are looked at for its years."""
_MOST_SHARED = 0.01
"""The share of a file's accidents that another file of the table may hold as well."""


def refuse_twice(files: Sequence[Path]) -> None:
    """Raise a DataError with both names if two files of one table hold the same accidents.

    Only files that may hold accidents of one year are read.
    """
    by_kind: dict[str, list[Path]] = defaultdict(list)
    for path in files:
        by_kind[kind_of(path.name) or ""].append(path)
    by_kind.pop("", None)
    for kind, paths in by_kind.items():
        years = {path: years_of(path) for path in paths} if len(paths) > 1 else {}
        for pair in combinations(paths, 2):
            first, second = (years[path] for path in pair)
            if first & second or not first or not second:
                refuse_same_accidents(kind, {path: _accidents(path) for path in pair})


def refuse_same_accidents(kind: str, accidents: Mapping[Path, NDArray[np.int64]]) -> None:
    """Raise a DataError with both names if two files hold the same accidents.

    ``accidents`` are the ids in each file, sorted and each once.
    """
    for (first, one), (second, other) in combinations(accidents.items(), 2):
        if not len(one) or not len(other) or one[-1] < other[0] or other[-1] < one[0]:
            continue
        both = np.intersect1d(one, other, assume_unique=True)
        if len(both) > _MOST_SHARED * min(len(one), len(other)):
            what = "accident" if len(both) == 1 else "accidents"
            raise DataError(
                f"two {kind} files of {str(both[0])[:4]}: {_named(first, second)} hold the same "
                f"{len(both):,} {what} (of {len(one):,} and {len(other):,}); keep one of them"
            )


def _named(first: Path, second: Path) -> str:
    """Return both names, with their folders where the names are the same."""
    if first.name != second.name:
        return f"{first.name} and {second.name}"
    return " and ".join(f"{path.parent.name}/{path.name}" for path in (first, second))


def _accidents(path: Path) -> NDArray[np.int64]:
    text = read_text(path)
    name = next((key for key in KEYS if key in text.columns), "")
    text.require([name or KEYS[0]])
    return np.unique(whole_numbers(text, name))


def years_of(path: Path) -> set[int]:
    """Return the years from a file's first to its last accident, none where they can't be seen.

    A file without rows is of the year in its name.
    """
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
    return {year} if year and len(head) < 2 else set()


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
