"""Whether rows can be split by time, and how well that keeps them apart."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lockstep.config.params import Split
from lockstep.data.dates import month_of, parse_dates
from lockstep.data.tables import date_part
from lockstep.drafting.dates import Dates, Unit
from lockstep.drafting.evidence import Target
from lockstep.drafting.profile import Column, Profile
from lockstep.features.split import parts_by_time
from lockstep.problems.dialects import counted
from lockstep.problems.text_tables import TextTable

MOST_UNDATED = 0.05
"""A larger share of rows without a date costs the split by time."""
MOST_OVERLAP = 0.01
"""A larger share of training rows later than the first test row is no order in time."""
_DATE_OF_OTHERS = re.compile(
    r"(?i)birth|born|dob|naiss|geburt|nacim|expir|valid|due|end(?!or)|until"
)
_FEWEST_DAYS, _FEWEST_MONTHS = 20, 10
_FEWEST = 5
_PART_ENDS = (0.64, 0.72, 0.8, 1.0)
_YEAR = re.compile(
    r"(?i)(?<![^\W_])(?:year|yr|jahr|ann[ée]e|an|a[ñn]o|anno|jaar)(?![^\W_])|(?-i:(?<=[a-z])Year$)"
)
_ROWS_OF_A_YEAR = 5
"""Rows that each whole number has on average, at least, to be asked as a year by itself."""
_PARTS = ("year", "month", "day")
_PART_WORDS = {
    "year": "year yr jahr année annee an año ano anno jaar",
    "month": "month mnth mon mo mois monat mes mês mese maand",
    "day": "day_of_month dayofmonth day dy jour tag dia día giorno dag",
}
"""Names of columns that hold a part of a date, in several languages."""


def row_dates(text: TextTable, column: Column) -> pd.Series:
    """Return each row's date; NaT where it has none."""
    assert column.dates is not None
    coded = text.columns[column.name].dictionary_encode()
    texts = pd.Series([*coded.dictionary.to_pylist(), None], dtype="str")
    codes = coded.indices.fill_null(len(texts) - 1).to_numpy(zero_copy_only=False)
    return parse_dates(texts, column.dates.format).iloc[codes].reset_index(drop=True)


def made_dates(text: TextTable, parts: list[str]) -> pd.Series:
    """Return each row's date of year, month and day, the first of the month without a day."""
    named = zip(_PARTS, parts, strict=False)
    values = {part: date_part(text, part, name) for part, name in named}
    table = pd.DataFrame({"day": 1} | values, index=range(text.rows))
    return pd.to_datetime(table, errors="coerce")


def why_not_by_time(text: TextTable, aim: Target, name: str, dates: pd.Series, unit: Unit) -> str:
    """Return why a split by these dates is not possible; empty where it is."""
    if _DATE_OF_OTHERS.search(name):
        return "its name says that it is not the time at which a row arose"
    wanted = aim.of(text)
    used = ~np.isnan(wanted)
    undated = int((dates.isna().to_numpy() & used).sum())
    if undated > MOST_UNDATED * used.sum():
        return f"{undated:,} of {int(used.sum()):,} rows have no date, too many for a split by time"
    needed = _FEWEST_DAYS if unit == "days" else _FEWEST_MONTHS
    different = dates.dt.normalize().nunique()
    if different < needed:
        return f"{different} different {unit}, fewer than the {needed} that a split by time needs"
    if aim.task == "regression":
        return ""
    used &= dates.notna().to_numpy()  # rows without a date are dropped
    order = np.argsort(dates[used].to_numpy(), kind="stable")
    return _part_without_class(wanted[used][order], aim.task == "binary")


def _part_without_class(wanted: NDArray[np.float64], is_binary: bool) -> str:
    """Return which part of a split in this order would lack a class."""
    ends = [round(end * len(wanted)) for end in _PART_ENDS]
    parts = zip(("train", "stop", "choose", "test"), [0, *ends], ends, strict=False)
    for part, start, stop in parts:
        counts = np.unique(wanted[start:stop], return_counts=True)[1]
        is_rare = is_binary and len(counts) and counts.min() < _FEWEST
        if len(counts) < 2 or is_rare:
            least = int(counts.min()) if len(counts) > 1 else 0
            return (
                f"a split by time would give the part '{part}' {counted(least, 'row')} of a class"
            )
    later = len(np.unique(wanted)) - len(np.unique(wanted[: ends[0]]))
    shown = "1 class" if later == 1 else f"{later} classes"
    return f"a split by time would give the part 'train' no row of {shown}" if later else ""


def parts_in_time(dates: pd.Series, group: NDArray[np.uint64]) -> NDArray[np.object_]:
    """Return the parts of a split by time, empty texts for rows without a date."""
    parts = np.full(len(dates), "", dtype=object)
    known = dates.notna().to_numpy()
    dated = dates[known].reset_index(drop=True)
    parts[known] = parts_by_time(dated, group[known], Split(kind="time"))
    return parts


def overlap(dates: pd.Series, parts: NDArray[np.object_]) -> float:
    """Return the share of training rows that are later than the first test row."""
    train, test = dates[parts == "train"], dates[parts == "test"]
    return float((train > test.min()).mean()) if len(train) and len(test) else 0.0


def year_dates(column: Column) -> Dates | None:
    """Return a column of years as dates, by its name and its numbers; None where it is none."""
    named = _YEAR.search(column.name) is not None
    often = 3 <= column.distinct <= column.present / _ROWS_OF_A_YEAR
    if column.longest != 4 or not (named or often):
        return None
    if not _within(column, *((1500, 2100) if named else (1900, 2100)), may_miss=True):
        return None
    assert column.numbers
    return Dates("%Y", f"{column.numbers.low:.0f}", f"{column.numbers.high:.0f}", column.distinct)


def is_year(column: Column) -> bool:
    """Tell whether the whole name of a column says that it holds the years of the rows."""
    return _YEAR.fullmatch(column.name.strip()) is not None and not column.missing


def in_order(dates: pd.Series) -> bool:
    """Tell whether the file's rows stand in the order of time, or the other way round."""
    return dates.is_monotonic_increasing or dates.is_monotonic_decreasing


def date_of_parts(found: Profile) -> list[str]:
    """Return columns that hold year, month and day (or year and month) of one date, or none."""
    named = {part: _stems(found, part) for part in _PARTS}
    for stem, name in named["year"].items():
        month, day = named["month"].get(stem), named["day"].get(stem)
        if not month or not _within(found.columns[name], 1500, 2100):
            continue
        if _within(found.columns[month], 1, 12) or _month_words(found.columns[month]):
            has_days = day and _within(found.columns[day], 1, 31)
            return [name, month, *([day] if day and has_days else [])]
    return []


def _stems(found: Profile, part: str) -> dict[str, str]:
    """Return the columns whose names end in a word for a part, by what stands before it."""
    stems: dict[str, str] = {}
    for name in found.columns:
        for word in _PART_WORDS[part].split():
            stem = name.lower().removesuffix(word)
            is_whole = stem == "" or not stem[-1].isalpha() or word in _PARTS
            if name.lower().endswith(word) and is_whole:
                stems.setdefault(stem, name)
                break
    return stems


def _month_words(column: Column) -> bool:
    """Tell whether all texts of a column are words for months."""
    return 2 <= column.distinct <= 24 and all(month_of(level) for level in column.levels)


def _within(column: Column, low: int, high: int, may_miss: bool = False) -> bool:
    found = column.numbers
    if not found or not found.whole or (not may_miss and (found.words or column.missing)):
        return False
    return low <= found.low and found.high <= high
