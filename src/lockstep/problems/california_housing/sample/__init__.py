"""The embedded sample: Californian districts from a known model, in StatLib's format.

``calibration.json`` holds quantiles of the census table (figures, no rows) and where its people
live. Every column has the table's marginal at any number of units: draws with the wanted rank
correlations are ranked, and the ranks are looked up in the quantiles. Value rises with income and
with the place (prices of cities, of their quarters, and of the coast), which is what a model can
learn; what it cannot is a factor of known distribution. So the expected value, cap included, is
known of every row.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import csv

from lockstep.config.params import Sample
from lockstep.errors import UsageError
from lockstep.io import whole_folder
from lockstep.problems.california_housing.sample.districts import draw_districts
from lockstep.problems.draws import Columns, Draws

FILE = "cal_housing.csv"
BLANKS = 0.01
"""Share of the districts with unknown bedrooms."""


def write_sample(settings: Sample, folder: Path) -> None:
    """Write ``settings.units`` districts and their expected values, the same bytes each time.

    A census has one day: a drift by month is a UsageError.
    """
    if settings.drift:
        raise UsageError(
            "the sample of california_housing is of one day and cannot drift; "
            "set problems.california_housing.source.sample.drift to 0"
        )
    draws = Draws(settings.seed)
    table = _statlib_table(draw_districts(settings.units, draws), draws)
    with whole_folder(folder) as part:
        csv.write_csv(table, part / FILE)


def _statlib_table(districts: Columns, draws: Draws) -> pa.Table:
    """Return the districts in StatLib's columns, and ``true_value`` in 100,000 dollars."""
    people = np.round(districts["Population"]).astype(np.int64)
    households = _whole(people / districts["AveOccup"])
    blank = draws.chance("blank", BLANKS, len(people))
    columns = {
        "longitude": districts["Longitude"],
        "latitude": districts["Latitude"],
        "housing_median_age": np.round(districts["HouseAge"]).astype(np.int64),
        "total_rooms": _whole(districts["AveRooms"] * households),
        "total_bedrooms": pa.array(_whole(districts["AveBedrms"] * households), mask=blank),
        "population": people,
        "households": households,
        "median_income": np.round(districts["MedInc"], 4),
        "median_house_value": districts["value"],
        "true_value": np.round(districts["expected"] / 100_000, 8),
    }
    return pa.table(columns)


def _whole(totals: np.ndarray) -> np.ndarray:
    return np.maximum(1, np.round(totals).astype(np.int64))
