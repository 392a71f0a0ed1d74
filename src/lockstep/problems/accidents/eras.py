"""The publisher's four tables by year: which file is which, and which columns it must have."""

from __future__ import annotations

import re
from pathlib import Path

from lockstep.errors import DataError, listed
from lockstep.problems.accidents.recode import NEW_ERA
from lockstep.problems.source_files import is_leftover

TRUTH = "true_probability.csv"
"""Written by the generator beside its raw files: Num_Acc, id_usager, probability.

2019 and 2020 publish no id_usager: there it is the person's number in the accident, from 1, sorted
by id_vehicule, place, catu, sexe, an_nais, secu1, grav.
"""
KINDS = ("caracteristiques", "lieux", "vehicules", "usagers")
KEYS = ("Num_Acc", "Accident_Id")
"""The accident's id; the second is the publisher's name for it in 2022."""
_NAMES = {
    # carcteristiques-2021 is the publisher's own slip, caract-2023 his abbreviation
    "caracteristiques": re.compile(r"(?<![a-z])(carac|carct)"),
    "lieux": re.compile(r"(?<![a-z])lieux"),
    "vehicules": re.compile(r"(?<![a-z])v[eé]hicules"),
    "usagers": re.compile(r"(?<![a-z])usagers"),
}
# the publisher offers this fifth table, of registrations, beside the four
_OTHER = re.compile(r"immatricul")
_YEAR = re.compile(r"(?<!\d)20\d\d(?!\d)")

_WHEN = ["an", "mois", "jour", "hrmn"]
_WHERE = ["com", "dep", "lat", "long"]
_ALWAYS = {
    "caracteristiques": ["Num_Acc", *_WHEN, "lum", "agg", "int", "atm", "col", *_WHERE],
    "lieux": ["Num_Acc", "catr", "circ", "surf", "situ"],
    "vehicules": ["Num_Acc", "num_veh", "catv", "obsm"],
    "usagers": ["Num_Acc", "num_veh", "place", "catu", "grav", "sexe", "an_nais"],
}
_OLD: dict[str, list[str]] = {"usagers": ["secu"]}
_NEW = {
    "lieux": ["vma"],
    "vehicules": ["id_vehicule", "motor"],
    "usagers": ["id_vehicule", "secu1"],
}


def required_columns(kind: str, year: int | None) -> list[str]:
    """Return the columns a table of ``kind`` must have in ``year``, or (None) in any."""
    if year is None:
        return _ALWAYS[kind]
    return _ALWAYS[kind] + (_NEW if year >= NEW_ERA else _OLD).get(kind, [])


def is_ignored_name(name: str) -> bool:
    """Return whether a file is the publisher's fifth table, the registrations: nothing reads it."""
    return bool(_OTHER.search(name.lower()))


def kind_of(name: str) -> str | None:
    """Return which of the four tables a file name belongs to, or None."""
    lowered = name.lower()
    if not lowered.endswith((".csv", ".txt")) or is_ignored_name(lowered):
        return None
    return next((kind for kind, pattern in _NAMES.items() if pattern.search(lowered)), None)


def year_in(name: str) -> int | None:
    """Return the year in a file's name, if there is one."""
    match = _YEAR.search(name)
    return int(match.group()) if match else None


def raw_files(folder: Path) -> dict[str, list[Path]]:
    """Return the files of each table below ``folder``, sorted; DataError if a table is missing."""
    found: dict[str, list[Path]] = {kind: [] for kind in KINDS}
    for path in sorted(folder.rglob("*"), key=lambda p: p.relative_to(folder).as_posix()):
        is_data = path.is_file() and not any(map(is_leftover, path.relative_to(folder).parts))
        if is_data and (kind := kind_of(path.name)):
            found[kind].append(path)
    _check_complete(found, folder)
    return found


def _check_complete(found: dict[str, list[Path]], folder: Path) -> None:
    names = [path.name for paths in found.values() for path in paths]
    beside = f"beside {listed(names, 8)}" if names else f"(none of {', '.join(KINDS)} is there)"
    for kind, paths in found.items():
        if not paths:
            fix = "add it, all four tables of a year are needed"
            raise DataError(f"{folder}: no {kind} file {beside}; {fix}")
    years = {
        kind: {match.group() for path in paths if (match := _YEAR.search(path.name))}
        for kind, paths in found.items()
    }
    for kind, have in years.items():
        lacking = sorted(set().union(*years.values()) - have) if have else []
        if lacking:
            fix = "add it, or remove that year"
            raise DataError(f"{folder}: no {kind} file of {lacking[0]} {beside}; {fix}")
