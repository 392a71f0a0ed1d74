"""Write the sample as one table of applications with what became of them."""

from __future__ import annotations

from calendar import monthrange
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from pyarrow import csv

from lockstep.io import whole_folder
from lockstep.problems.credit_risk.sample.applicants import draw_applicants, draw_gaps
from lockstep.problems.credit_risk.sample.repayment import true_probability
from lockstep.problems.draws import Draws

if TYPE_CHECKING:
    from lockstep.config.params import Sample
    from lockstep.problems.draws import Draws

FILE = "applications.csv"
FIRST = "2024-01"
"""The month from which a drift counts."""


def write_sample(settings: Sample, folder: Path) -> None:
    """Write ``settings.units`` applications of ``settings.months`` months up to ``settings.last_month``.

    The same settings give the same bytes. Where units are a multiple of months, a window that begins later has the
    same rows of the months that both windows hold.
    """
    with whole_folder(folder) as part:
        csv.write_csv(applications(settings), part / FILE)


def applications(settings: Sample) -> pa.Table:
    """Return the applications month by month, with the true probability of default."""
    draws, months = Draws(settings.seed), months_of(settings.last_month, settings.months)
    ends = [settings.units * (i + 1) // settings.months for i in range(settings.months)]
    sizes = [end - start for start, end in zip([0, *ends], ends, strict=False)]
    pieces = [
        month_table(draws, month, units, settings.drift)
        for month, units in zip(months, sizes, strict=True)
        if units
    ]
    return pa.concat_tables(pieces)


def months_of(last: str, count: int) -> list[str]:
    """Return so many months up to the last one, the earliest first, as YYYY-MM."""
    end = number_of(last)
    return [f"{number // 12}-{number % 12 + 1:02d}" for number in range(end - count + 1, end + 1)]


def number_of(month: str) -> int:
    """Return a month's number, counted from year 0."""
    year, within = month.split("-")
    return int(year) * 12 + int(within) - 1


def month_table(draws: Draws, month: str, units: int, strength: float) -> pa.Table:
    """Return one month's applications; they depend on the seed, the month, its units and the drift alone."""
    drift = strength * max(0, number_of(month) - number_of(FIRST))
    applicants, gaps = draw_applicants(draws, month, units, drift), draw_gaps(draws, month, units)
    truth = true_probability(applicants, gaps, drift)
    defaulted = draws.chance(f"{month} default", truth, units)
    return told_table(
        draws, month, applicants | {"default": defaulted, "true_probability": truth}, gaps
    )


def told_table(
    draws: Draws, month: str, columns: dict[str, np.ndarray], gaps: dict[str, np.ndarray]
) -> pa.Table:
    """Return the columns as the table tells them: numbered by day, untold values empty, counts whole."""
    units = len(columns["income"])
    days = np.sort(draws.uniform(f"{month} day", units) * days_in(month) // 1_000_000)
    date = np.datetime64(f"{month}-01") + days
    own = {
        "application_id": int(month.replace("-", "")) * 1_000_000 + np.arange(units),
        "application_date": pa.array(date.astype("datetime64[D]")),
    }
    told = {name: pa.array(plain(values), mask=gaps.get(name)) for name, values in columns.items()}
    return pa.table(own | told)


def plain(values: np.ndarray) -> np.ndarray:
    """Return whole numbers as such, answers as 0 and 1, the rest as it is."""
    if values.dtype.kind == "b":
        return values.astype(np.int64)
    if values.dtype.kind == "f" and (np.round(values) == values).all():
        return values.astype(np.int64)
    return values


def days_in(month: str) -> int:
    """Return how many days a month has."""
    year, within = month.split("-")
    return monthrange(int(year), int(within))[1]
