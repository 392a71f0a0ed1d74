"""The embedded sample: French accidents from a known model, in the publisher's raw format.

``calibration.json`` holds published shares of 2021 (ONISR, Licence Ouverte), each by what it
depends on: figures, no rows. ``effects.json`` holds the severity model in logits. Its effects of
department, road, light, collision, junction, hour, month, sex and age were fitted so that the rates
of accidents that kill or hospitalise come out as published, about a quarter nearer to the mean:
with the full spread people of one accident, drawn one by one, would be hurt together too often.
Those of seats, devices and who met whom, which no published table shows free of selection by
outcome, were set by hand, so that the best reachable ROC AUC is about .88, as far above a good
model's as a sample of this size leaves it.
"""

from __future__ import annotations

from pathlib import Path

from pyarrow import csv

from lockstep.config.params import Sample
from lockstep.errors import UsageError
from lockstep.io import whole_folder
from lockstep.problems.accidents.eras import TRUTH
from lockstep.problems.accidents.sample.accidents import draw_accidents
from lockstep.problems.accidents.sample.draws import Draws
from lockstep.problems.accidents.sample.people import draw_people, draw_vehicles
from lockstep.problems.accidents.sample.severity import draw_severity
from lockstep.problems.accidents.sample.tables import raw_tables
from lockstep.problems.accidents.sample.world import build_world

YEARS = range(2019, 2025)
"""Years whose format the generator writes."""
PLAIN = csv.WriteOptions(quoting_style="none", quoting_header="none")
AS_PUBLISHED = csv.WriteOptions(
    delimiter=";", quoting_style="all_valid", quoting_header="all_valid"
)


def write_sample(settings: Sample, folder: Path) -> None:
    """Write ``settings.units`` accidents: four tables a year and ``true_probability.csv``.

    The same settings give the same bytes. Years outside 2019-2024 are a UsageError.
    """
    _check_years(settings.years)
    world, draws = build_world(), Draws(settings.seed)
    accidents = draw_accidents(settings.units, settings.years, settings.drift, world, draws)
    vehicles = draw_vehicles(accidents, draws)
    people = draw_people(accidents, vehicles, draws)
    people |= draw_severity(accidents, vehicles, people, world, draws)
    with whole_folder(folder) as part:
        for name, table in raw_tables(accidents, vehicles, people, world, draws):
            csv.write_csv(table, part / name, PLAIN if name == TRUTH else AS_PUBLISHED)


def _check_years(years: list[int]) -> None:
    other = ", ".join(str(year) for year in sorted(set(years) - set(YEARS)))
    if other:
        raise UsageError(
            f"the sample cannot be of {other}: source.sample.years may name {YEARS[0]} to "
            f"{YEARS[-1]}; for other years use source.kind download or files"
        )
