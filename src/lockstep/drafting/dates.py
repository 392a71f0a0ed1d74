"""Dates in a column: tried against many ways of writing them; what fits in two ways is asked."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow.compute as pc
from numpy.typing import NDArray

from lockstep.data.dates import EXCEL, in_english, parse_dates
from lockstep.drafting.names import ID_NAME
from lockstep.problems.dialects import counted

Unit = Literal["days", "weeks", "months", "quarters", "years"]
_FULL = (
    "%d/%m/%Y", "%m/%d/%Y", "%d.%m.%Y", "%d-%m-%Y", "%m-%d-%Y", "%Y/%m/%d", "%Y.%m.%d", "%Y-%m-%d",
    "%d/%m/%y", "%m/%d/%y", "%y/%m/%d", "%d.%m.%y", "%d-%m-%y", "%m-%d-%y", "%y-%m-%d",
    "%d %b %Y", "%d %b %y", "%d-%b-%Y", "%d-%b-%y", "%d/%b/%Y", "%d%b%Y", "%d. %b %Y", "%d %b. %Y",
    "%d %b, %Y", "%d. %b. %Y", "%d-%b.-%Y", "%b %d, %Y", "%b %d %Y", "%b. %d, %Y", "%b. %d %Y",
    "%b-%d-%Y", "%Y-%b-%d", "%Y %b %d",
    "%d %B %Y", "%d. %B %Y", "%d-%B-%Y", "%d %B, %Y", "%B %d, %Y", "%B %d %Y", "%Y %B %d",
    "%Y_%m_%d", "%d_%m_%Y", "%Y %m %d", "%d %m %Y", "%Y年%m月%d日", "%Y. %m. %d", "%d.%m.%Y.",
)  # fmt: skip
_MONTHS = (
    "%Y-%m", "%m/%Y", "%Y/%m", "%m-%Y", "%b-%Y", "%b-%y", "%b %Y", "%b %y", "%b/%Y", "%b. %Y",
    "%b, %Y", "%b'%y", "%b %Y", "%Y-%b", "%Y %b", "%B %Y", "%B-%Y", "%B, %Y", "%B %y", "%B-%y",
    "%Y %B", "%Y-%B", "%m.%Y", "%YM%m", "%Y M%m", "%Y-M%m", "%Y年%m月",
)  # fmt: skip
_DIGITS = {8: ("%Y%m%d", "%d%m%Y", "%m%d%Y"), 12: ("%Y%m%d%H%M",), 14: ("%Y%m%d%H%M%S",),
           6: ("%Y%m", "%y%m%d")}  # fmt: skip
_COARSE: dict[str, Unit] = {"quarter": "quarters", "week": "weeks"}
_COARSE_LETTER = re.compile("[QTKW]", re.IGNORECASE)
"""One of these stands in every quarter and week: Q1, 1T, 2e trim., KW 3, W02."""
_SPECIAL = (
    "%a %b %d %H:%M:%S %Y", "%a %b %d %H:%M:%S %z %Y", "%a %b %d %H:%M:%S UTC %Y",
    "%d/%b/%Y:%H:%M:%S %z", "%d%b%Y:%H:%M:%S", "%d%b%Y:%H:%M:%S.%f", "%Y-%m-%dT%H%M%SZ",
    "%Y%m%d-%H%M%S", "%Y%m%d_%H%M%S",
)  # fmt: skip
_SHAPES = {
    "%d": r"\d{1,2}", "%m": r"\d{1,2}", "%y": r"\d{2}", "%Y": r"\d{4}", "%b": r"[A-Za-z]{3}",
    "%B": r"[A-Za-z]{3,9}", "%a": r"[A-Za-z]{3}", "%H": r"\d{1,2}", "%M": r"\d{2}",
    "%S": r"\d{2}", "%z": r"(?:Z|[+-]\d{2}:?\d{2})", "%f": r"\d{1,6}",
}  # fmt: skip
_ISO = (
    r"^\d{4}-\d{2}-\d{2}(?:[T ]\d{2}:\d{2}(?::\d{2}(?:\.\d+)?)?(?:Z|[+-]\d{2}(?::?\d{2})?)?)?$"
    r"|^\d{8}T\d{4}(?:\d{2})?(?:Z|[+-]\d{2}:?\d{2})?$"
)
_WEEKDAY = re.compile(r"(?i)^(mon|tue|wed|thu|fri|sat|sun)(day|sday|nesday|rsday|urday)?(\.?,? )")
_TIME_FIRST = re.compile(r"^\d{1,2}:\d{2}(?P<second>:\d{2})?(?P<gap>,? )")
_TIME = re.compile(
    r"(?P<gap>,? ?T?)(?P<hour>\d{1,2}):\d{2}(?P<second>:\d{2})?(?P<part>\.\d{1,9})?"
    r"(?P<half> ?[AaPp][Mm])?(?P<zone> ?(?:UTC|GMT|Z|[+-]\d{2}:?\d{2}))?$"
)
_NAMED = re.compile(r"(?i)dat|day|jour|tag|fecha|month|mois|monat|mes$|period|when|time|stamp")
_DATE_NAME = re.compile(
    r"(?i)(?<!up)(?<!man)dat(?:e|um|a)?s?(?:$|[\W_])|^d(?:ate|atum|t)|fecha|^when$"
)
_CLOCK = re.compile(
    r"(?i)time|stamp|date|epoch|unix|when|created|updated|posted|(?:^|[\W_])(?:ts|at|on)$"
)
_IDENTITY = re.compile(r"(?i)id$|(?:^|[\W_])(?:id|no|nr|num|number|key|code)s?$")
_EPOCH = (631_152_000, 2_051_222_400)
"""1990 and 2035 in seconds since 1970."""
_YEARS = (1500, 2200)
_EXCEL_DAYS = (21_916, 54_789)
"""1960 and 2050 in days since 1899-12-30."""
_FEWEST_OTHERS, _FEWEST_FAR = 10, 5
"""Different days that show where dates end, and rows that make a date frequent."""
_FEW_LOOKED_AT = 300
_MOST_TRIED = 6
_MOST_WORDS, _MOST_OTHERS = 5, 0.05
"""Different texts that are no dates, and their share of the rows, that are read as missing."""
_FEWEST_COMPACT = 6
"""Different numbers that must all be plausible days before a name is no longer needed."""


@dataclass(frozen=True)
class Dates:
    """How a column's texts are dates; ``format`` is empty for ISO 8601."""

    format: str
    first: str
    last: str
    days: int
    others: int = 0
    example: str = ""
    words: Mapping[str, int] = field(default_factory=dict)
    """All texts that are no dates, with their rows; empty where they are many."""
    both_ways: str = ""
    """An example that reads otherwise in another format, in words."""
    far: str = ""
    """A frequent date that is far from all others, in words."""

    @property
    def unit(self) -> Unit:
        """What they name at least: days, weeks, months, quarters or years."""
        if self.format in _COARSE:
            return _COARSE[self.format]
        if not self.format or re.search("%d|epoch|days", self.format):
            return "days"
        return "months" if re.search("%[mbB]", self.format) else "years"


def find_dates(texts: Any, counts: NDArray[Any], name: str) -> Dates | None:
    """Return how distinct texts are dates, most of them at least; None where they are not.

    The texts stand in the order in which the file first has them.
    """
    few = texts[:_FEW_LOOKED_AT]
    if matches(few, _ISO).mean() > 0.5:
        return _dates(texts, counts, [""])
    if matches(few, r"^\d{6,19}(?:\.0)?$").all():
        return _of_digits(texts, counts, name)
    if matches(few, r"^\d{5}(?:\.\d+)?$").all():
        return _of_excel(texts, counts, name)
    signs = r"[/.\s'_-]|[A-Za-z]\d|\d[A-Za-z年]"
    if not matches(few, r"\d").any() or not matches(few, signs).any():
        return None
    written = few.to_pylist()
    formats = _formats(written) or _formats([in_english(text) for text in written])
    return _dates(texts, counts, formats) if formats else None


def matches(texts: Any, pattern: str) -> NDArray[np.bool_]:
    """Return which texts a pattern (RE2) is found in."""
    return pc.match_substring_regex(texts, pattern).to_numpy(zero_copy_only=False)


def _formats(few: list[str]) -> list[str]:
    """Return the formats whose shape fits most of a few texts and that read most of them."""
    endings = Counter(_ending(text) for text in few)
    found = {}
    texts = pd.Series(few, dtype="str")
    # Most columns are numbers, and reading a column as quarters or weeks takes long.
    if sum(_COARSE_LETTER.search(text) is not None for text in few) > len(few) / 2:
        for name in _COARSE:
            found[name] = parse_dates(texts, name).notna().mean()
    for before, after in (ending for ending, _ in endings.most_common(3)):
        days = (*_FULL, "%Y%m%d") if before or after else _FULL + _MONTHS
        for format in dict.fromkeys([*(before + day + after for day in days), *_SPECIAL]):
            if _fits(format, few):
                found[format] = parse_dates(texts, format).dt.year.between(*_YEARS).mean()
    good = (format for format in found if found[format] > 0.5)
    return sorted(good, key=lambda format: -found[format])[:_MOST_TRIED]


def _fits(format: str, few: list[str]) -> bool:
    """Tell whether more than half of the first texts have the shape of a format."""
    shape = re.escape(format).replace("\\ ", " ").replace("%p", "[AaPp][Mm]")
    shape = shape.replace("%A", "[A-Za-z]+").replace("%I", r"\d{1,2}")
    for sign, digits in _SHAPES.items():
        shape = shape.replace(sign, digits)
    looked_at = few[:40]
    return sum(re.fullmatch(shape, text) is not None for text in looked_at) > len(looked_at) / 2


def _ending(text: str) -> tuple[str, str]:
    """Return what stands before and after the day, as parts of a format: weekday, time and zone."""
    weekday, time = _WEEKDAY.match(text), _TIME.search(text)
    before = ""
    first = _TIME_FIRST.match(text)
    if first:
        return f"%H:%M{':%S' if first['second'] else ''}{first['gap']}", ""
    if weekday:
        before = ("%A" if weekday[2] else "%a") + weekday[3]
    if not time:
        return before, ""
    hour = "%I" if time["half"] else "%H"
    half = re.sub("[AaPp][Mm]", "%p", time["half"] or "")
    second = ":%S" if time["second"] else ""
    part = ".%f" if time["part"] else ""
    zone = time["zone"] or ""
    if zone and zone.strip() not in ("UTC", "GMT"):
        zone = zone.replace(zone.strip(), "%z")
    return before, f"{time['gap']}{hour}:%M{second}{part}{half}{zone}"


def _of_digits(texts: Any, counts: NDArray[Any], name: str) -> Dates | None:
    """Return how whole numbers are dates: compact ones, or seconds since 1970; all or none."""
    bare = pc.replace_substring_regex(texts, r"\.0$", "")
    lengths = set(pc.utf8_length(bare).to_pylist())
    if not matches(bare, r"^\d+$").all():
        return None
    formats = [f for f in _DIGITS.get(lengths.pop(), ()) if f] if len(lengths) == 1 else []
    is_named = _NAMED.search(name) is not None
    if ID_NAME.search(name) and not is_named:
        return None  # the numbers of things may look like days or seconds
    formats = [f for f in formats if is_named or f.startswith("%Y")]
    if not is_named and len(texts) < _FEWEST_COMPACT:
        formats = []
    for chosen in (formats, *([format] for format in formats)):
        found = _dates(texts, counts, chosen)
        if found and not found.others and found.first >= "1900" and found.last < "2100":
            return found
    return _since_1970(texts, counts, name)


def _of_excel(texts: Any, counts: NDArray[Any], name: str) -> Dates | None:
    """Return numbers of five digits as the days of a spreadsheet, if the name is that of dates."""
    low, high = _EXCEL_DAYS
    days = pd.to_numeric(pd.Series(texts.to_pylist()), errors="coerce")
    if not _DATE_NAME.search(name) or not days.between(low, high).all():
        return None
    return _dates(texts, counts, [EXCEL])


def _since_1970(texts: Any, counts: NDArray[Any], name: str) -> Dates | None:
    """Return seconds or milliseconds since 1970, if the name or the order supports it."""
    values = pd.to_numeric(pd.Series(texts.to_pylist()), errors="coerce").to_numpy(np.float64)
    rises = bool((np.diff(values) > 0).all() or (np.diff(values) < 0).all())
    is_clock = _CLOCK.search(name) is not None or (rises and not _IDENTITY.search(name))
    if not is_clock or len(values) < _FEWEST_COMPACT:
        return None
    for format, unit in (
        ("epoch_s", 1),
        ("epoch_ms", 10**3),
        ("epoch_us", 10**6),
        ("epoch_ns", 10**9),
    ):
        low, high = (end * unit for end in _EPOCH)
        if ((values >= low) & (values < high)).all():
            return _dates(texts, counts, [format])
    return None


def _dates(texts: Any, counts: NDArray[Any], formats: list[str]) -> Dates | None:
    """Return the dates by the formats that read all texts, else by the one that reads the most."""
    texts = pd.Series(texts.to_pylist(), dtype="str")
    read = {format: parse_dates(texts, format) for format in formats}
    lost = {format: int(counts[read[format].isna().to_numpy()].sum()) for format in formats}
    if not formats or min(lost.values()) > 0.5 * counts.sum():
        return None
    least = min(lost.values())
    fitting = [format for format in formats if lost[format] == least]
    fitting.sort(key=lambda format: _unlikely(read[format]))
    best = fitting[0]
    found = read[best]
    other = found.isna().to_numpy()
    example = texts[other].iloc[0] if least else ""
    few = other.sum() <= _MOST_WORDS and least <= _MOST_OTHERS * counts.sum()
    words = dict(zip(texts[other], counts[other].tolist(), strict=True)) if few else {}
    days = found.dropna().dt.normalize()
    first, last = str(days.min().date()), str(days.max().date())
    others = islice((_both(texts, found, read[f], best, f) for f in fitting[1:]), 3)
    both = next((words for words in others if words), "") if not least else ""
    far = _far_date(texts, found.dt.normalize(), counts)
    return Dates(best, first, last, days.nunique(), least, example, words, both, far)


def _far_date(texts: pd.Series, days: pd.Series, counts: NDArray[Any]) -> str:
    """Return which frequent first or last day is farther from the others than these are apart."""
    rows = pd.Series(counts).groupby(days.to_numpy()).sum()
    if len(rows) < _FEWEST_OTHERS:
        return ""
    for day, rest in ((rows.index[0], rows.index[1:]), (rows.index[-1], rows.index[:-1])):
        gap = min(abs(day - rest[0]), abs(day - rest[-1]))
        if gap > rest[-1] - rest[0] and rows[day] >= _FEWEST_FAR:
            text, others = texts[days == day].iloc[0], f"{rest[0].date()} to {rest[-1].date()}"
            shown = f"'{text}' ({counted(int(rows[day]), 'row')})"
            return f"{shown} is far from the other dates, {others}"
    return ""


def _unlikely(read: pd.Series) -> tuple[bool, bool, float]:
    """Return how unlikely a reading is: in no order in the file, in the future, in odd steps."""
    values = read.dropna()
    steps = values.diff().dropna().dt.total_seconds()
    in_order = bool((steps >= 0).all() or (steps <= 0).all())
    apart = values.drop_duplicates().sort_values().diff().dropna().dt.total_seconds()
    uneven = float(apart.std() / apart.mean()) if len(apart) > 1 else 0.0
    return not in_order, bool((values.dt.year > 2100).any()), round(uneven, 3)


def _both(texts: pd.Series, one: pd.Series, other: pd.Series, format: str, second: str) -> str:
    """Return the first text that two formats read differently, with both readings."""
    differ = (one != other).to_numpy() & one.notna().to_numpy() & other.notna().to_numpy()
    if not differ.any():
        return ""
    place = int(differ.argmax())
    days = one.iloc[place].date(), other.iloc[place].date()
    return (
        f"'{texts.iloc[place]}' is read as {days[0]} ({format}). It could be {days[1]} ({second})"
    )
