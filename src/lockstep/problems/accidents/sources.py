"""The publisher's yearly accident files: names as published, addresses that outlive revisions.

Dataset: "Bases de données annuelles des accidents corporels de la circulation routière" (ONISR,
data.gouv.fr, Licence Ouverte). sources.csv holds each file's resource id. Its address gives the
newest revision, so no sum is fixed here; `source.download.sha256` in params.yaml pins one.
"""

from __future__ import annotations

import csv
from functools import cache
from pathlib import Path

from lockstep.errors import UsageError
from lockstep.problems.accidents.eras import is_ignored_name as is_ignored_name
from lockstep.problems.accidents.eras import kind_of
from lockstep.problems.accidents.twice import refuse_twice as refuse_twice
from lockstep.problems.source_files import RemoteFile

DATASET = (
    "https://www.data.gouv.fr/fr/datasets/bases-de-donnees-annuelles-des-accidents-corporels-"
    "de-la-circulation-routiere-annees-de-2005-a-2023/"
)
CODE_FILES = {"sources.csv": ()}
_RESOURCE = "https://www.data.gouv.fr/fr/datasets/r/{}"


def files_of_year(year: int) -> list[RemoteFile]:
    """Return the four files of one year; an unknown year is a UsageError with the known ones."""
    by_year = files_by_year()
    if year not in by_year:
        raise UsageError(
            f"no addresses are known for the accidents of {year} (known: {min(by_year)} to "
            f"{max(by_year)}); fetch its four files from {DATASET} and run "
            "`make add-data PROBLEM=accidents FROM=FOLDER`"
        )
    return by_year[year]


def is_raw_name(name: str) -> bool:
    """Tell whether a file's name is that of one of the publisher's four tables, of any year."""
    return kind_of(name) is not None


@cache
def files_by_year() -> dict[int, list[RemoteFile]]:
    """Return the four files of each year whose addresses are known."""
    by_year: dict[int, list[RemoteFile]] = {}
    with Path(__file__).with_name("sources.csv").open(encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream):
            file = RemoteFile(row["name"], _RESOURCE.format(row["resource"]))
            by_year.setdefault(int(row["year"]), []).append(file)
    return by_year
