"""Write the sample as the publisher's four tables a year, and the true probabilities."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pyarrow import csv

from lockstep.errors import UsageError
from lockstep.io import whole_folder
from lockstep.problems.accidents.sample.accidents import draw_accidents
from lockstep.problems.accidents.sample.draws import Draws
from lockstep.problems.accidents.sample.people import draw_people, draw_vehicles
from lockstep.problems.accidents.sample.severity import draw_severity
from lockstep.problems.accidents.sample.tables import raw_tables
from lockstep.problems.accidents.sample.world import build_world

if TYPE_CHECKING:
    import pyarrow as pa

    from lockstep.config.params import Sample

YEARS = tuple(range(2019, 2025))
"""Years whose format the generator writes."""

TRUTH = "true_probability.csv"
"""Num_Acc, id_usager, probability: id_usager without spaces in the thousands.

2019 and 2020 publish no id_usager: there it is the person's number in the accident, from 1, sorted
by id_vehicule, place, catu, sexe, an_nais, secu1, grav.
"""


def write_sample(settings: Sample, folder: Path) -> None:
    """Write ``settings.units`` accidents: four tables a year and ``true_probability.csv``.

    The same settings give the same bytes. Years outside 2019-2024 are a UsageError.
    """
    check_years(settings.years)
    world, draws = build_world(), Draws(settings.seed)
    accidents = draw_accidents(settings.units, settings.years, settings.drift, world, draws)
    vehicles = draw_vehicles(accidents, draws)
    people = draw_people(accidents, vehicles, draws)
    people |= draw_severity(accidents, vehicles, people, world, draws)
    with whole_folder(folder) as part:
        for name, table in raw_tables(accidents, vehicles, people, world, draws):
            write_table(part / name, table, truth=name == TRUTH)


def check_years(years: list[int]) -> None:
    """Raise a UsageError for years whose format is not written."""
    other = sorted(set(years) - set(YEARS))
    if other:
        listed = ", ".join(map(str, other))
        raise UsageError(
            f"the sample cannot be of {listed}: source.sample.years may name {YEARS[0]} to "
            f"{YEARS[-1]}; "
            "for other years use source.kind download or files"
        )


def write_table(path: Path, table: pa.Table, truth: bool = False) -> None:
    """Write one table: quoted values and semicolons as published, or the truth as plain CSV."""
    style, separator = ("none", ",") if truth else ("all_valid", ";")
    options = csv.WriteOptions(delimiter=separator, quoting_style=style, quoting_header=style)
    csv.write_csv(table, path, options)
