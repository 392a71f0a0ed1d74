"""The embedded sample: applications for a loan, drawn month by month from a known model.

``calibration.json`` holds figures of two public tables (quantiles, shares, default rates by level,
rank correlations; no rows). A month's applications depend on the seed and the month alone, so two
windows of months share the rows of the months they share. Default rises steeply with the share of
income asked for and falls with the credit score; the probability of each application is known.
"""

from __future__ import annotations

from calendar import monthrange
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import csv

from lockstep.config.params import Sample
from lockstep.io import whole_folder
from lockstep.problems.credit_risk.sample.applicants import draw_applicants, draw_gaps
from lockstep.problems.credit_risk.sample.repayment import true_probability
from lockstep.problems.draws import MILLION, Columns, Draws

FILE = "applications.csv"
FIRST = np.datetime64("2024-01")
"""The month from which a drift counts."""


def write_sample(settings: Sample, folder: Path) -> None:
    """Write ``settings.units`` applications of so many months up to ``settings.last_month``.

    The same settings give the same bytes. Where units are a multiple of months, a window that
    begins later has the same rows of the months that both windows hold.
    """
    with whole_folder(folder) as part:
        csv.write_csv(applications(settings), part / FILE)


def applications(settings: Sample) -> pa.Table:
    """Return the applications month by month, with the true probability of default."""
    draws, months = Draws(settings.seed), months_of(settings.last_month, settings.months)
    ends = [settings.units * i // settings.months for i in range(settings.months + 1)]
    sizes = np.diff(ends).tolist()
    sized = [(month, units) for month, units in zip(months, sizes, strict=True) if units]
    tables = [month_table(draws, *one, settings.drift) for one in sized]
    # The amounts of a month of few units can all be whole, and are whole numbers there.
    return pa.concat_tables(tables, promote_options="permissive")


def months_of(last: str, count: int) -> list[str]:
    """Return so many months up to the last one, the earliest first, as YYYY-MM."""
    return [str(month) for month in np.datetime64(last) + np.arange(1 - count, 1)]


def month_table(draws: Draws, month: str, units: int, strength: float) -> pa.Table:
    """Return one month's applications, by seed, month, number of units and drift alone."""
    drift = strength * max(0, int(np.datetime64(month) - FIRST))
    applicants, gaps = draw_applicants(draws, month, units, drift), draw_gaps(draws, month, units)
    truth = true_probability(applicants, gaps, drift)
    defaulted = draws.chance(f"{month} default", truth, units)
    columns = applicants | {"default": defaulted, "true_probability": truth}
    return as_published(draws, month, columns, gaps)


def as_published(draws: Draws, month: str, columns: Columns, gaps: Columns) -> pa.Table:
    """Return the columns as published: numbered by day, unknown values empty, counts whole."""
    units = len(columns["income"])
    in_month = monthrange(*map(int, month.split("-")))[1]
    days = np.sort(draws.uniform(f"{month} day", units) * in_month // MILLION)
    number = int(month.replace("-", "")) * MILLION + np.arange(units)
    own = {"application_id": number, "application_date": pa.array(np.datetime64(month, "D") + days)}
    rest = {name: pa.array(plain(values), mask=gaps.get(name)) for name, values in columns.items()}
    return pa.table(own | rest)


def plain(values: np.ndarray) -> np.ndarray:
    """Return whole numbers as such, answers as 0 and 1, the rest as it is."""
    kind = values.dtype.kind
    is_whole = kind == "b" or (kind == "f" and (np.round(values) == values).all())
    return values.astype(np.int64) if is_whole else values
