"""The one reader of dates: texts by a format, of ISO 8601, or numbers since a day.

Month words of several languages are read as the English ones that a format's %b and %B mean.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from typing import Literal

import pandas as pd

EPOCHS: dict[str, Literal["s", "ms", "us", "ns"]] = {
    "epoch_s": "s", "epoch_ms": "ms", "epoch_us": "us", "epoch_ns": "ns",
}  # fmt: skip
"""Formats of dates that count from 1970, UTC."""
EXCEL = "excel_days"
"""The format of dates that count days from 1899-12-30, as spreadsheets do."""
_NAMES = (
    "january jan janvier janv januar janner enero ene gennaio gen janeiro januari",
    "february feb febr februar fevrier fevr fev febrero febbraio fevereiro februari",
    "march mar mars marz maerz mrz marzo marco maart mrt",
    "april apr avril avr abril abr aprile",
    "may mai mayo maggio mag maio mei",
    "june jun juin junio giugno giu junho juni",
    "july jul juillet juil julio luglio lug julho juli",
    "august aug aout agosto ago augustus",
    "september sep sept septembre septiembre setiembre set settembre sett setembro",
    "october oct octobre octubre ottobre ott outubro out oktober okt",
    "november nov novembre noviembre novembro",
    "december dec decembre diciembre dic dicembre dezembro dezember dez",
)
MONTHS = {word: number for number, words in enumerate(_NAMES, 1) for word in words.split()}
"""Words for months, small and without accents: English, French, German, Spanish and so on."""
_ENGLISH = [words.split()[0].title() for words in _NAMES]
_ORDINAL = re.compile(r"(?<=\d)(?:st|nd|rd|th|er|º|ª)\b", re.IGNORECASE)
_OF = re.compile(r"\b(?:de|del|di|of)\b ?", re.IGNORECASE)
_WORD = re.compile(r"[^\W\d_]{3,}\.?")
_Q = r"(?:Q|T|K|qtr\.?|quarter|trim(?:estre)?\.?|quartal)"
_QUARTERS = (
    rf"(?i)^(?P<year>\d{{4}}|\d\d)[\s/_.-]*{_Q}[\s.-]*(?P<quarter>[1-4])$",
    rf"(?i)^{_Q}[\s.-]*(?P<quarter>[1-4])[\s/_.,'-]*(?P<year>\d{{4}}|\d\d)$",
    rf"(?i)^(?P<quarter>[1-4])(?:st|nd|rd|th|er|e|ème|º|\.)?[\s.-]*{_Q}[\s/_.,'-]*"
    r"(?P<year>\d{4}|\d\d)$",
)
_WEEKS = (
    r"(?i)^(?P<year>\d{4})[\s/_.-]*(?:W|KW|wk|week)[\s.-]*(?P<week>\d{1,2})(?:-?(?P<day>[1-7]))?$",
    r"(?i)^(?:W|KW|wk|week)[\s.-]*(?P<week>\d{1,2})[\s/_.,-]+(?P<year>\d{4})(?P<day>)$",
)


def parse_dates(texts: pd.Series, format: str) -> pd.Series:
    """Return texts as dates without a zone, in UTC where they have one; NaT where they are none.

    ``format`` is strptime's, one of ``EPOCHS`` and ``NAMED``, or empty for ISO 8601.
    """
    if format in EPOCHS:
        counted = pd.to_numeric(texts, errors="coerce")
        return pd.to_datetime(counted, unit=EPOCHS[format], errors="coerce")
    if format in NAMED:
        return NAMED[format](texts)
    read = _by_format(texts, format)
    lost = read.isna() & texts.notna()
    if lost.any() and re.search("%[bB]", format):
        words = {text: in_english(text, is_full="%B" in format) for text in texts[lost].unique()}
        read = read.where(~lost, _by_format(texts[lost].map(words), format))
    return read


def _by_format(texts: pd.Series, format: str) -> pd.Series:
    read = pd.to_datetime(texts, format=format or "ISO8601", errors="coerce", utc=True)
    return read.dt.tz_localize(None)


def in_english(text: str, is_full: bool = False) -> str:
    """Return a date with English month words, without ordinals: 5 janv. 2015 is 5 Jan 2015."""
    return _WORD.sub(lambda found: _english(found[0], is_full), _OF.sub("", _ORDINAL.sub("", text)))


def _english(word: str, is_full: bool) -> str:
    number = month_of(word)
    if number is None:
        return word
    return _ENGLISH[number - 1] if is_full else _ENGLISH[number - 1][:3]


def month_of(word: str) -> int | None:
    """Return the number of a month's name, whole or short, in several languages."""
    signs = unicodedata.normalize("NFKD", word.strip().rstrip(".").casefold())
    return MONTHS.get("".join(sign for sign in signs if not unicodedata.combining(sign)))


def _found(texts: pd.Series, patterns: tuple[str, ...]) -> pd.DataFrame:
    """Return the named parts of texts by the first pattern that each of them has, as numbers."""
    tables = [texts.str.extract(pattern) for pattern in patterns]
    found = tables[0]
    for table in tables[1:]:
        found = found.combine_first(table)
    return found.apply(pd.to_numeric, errors="coerce")


def _quarters(texts: pd.Series) -> pd.Series:
    """Return the first day of each quarter: 2015Q1, Q1 2015, 1T 2015, Q1/15."""
    found = _found(texts.str.strip(), _QUARTERS)
    year = found["year"].mask(found["year"] < 100, (found["year"] - 70) % 100 + 1970)
    parts = {"year": year, "month": found["quarter"] * 3 - 2, "day": found["quarter"] * 0 + 1}
    return pd.to_datetime(pd.DataFrame(parts), errors="coerce")


def _weeks(texts: pd.Series) -> pd.Series:
    """Return the Monday (or the given day) of each week of ISO 8601: 2015-W02, W02 2015."""
    found = _found(texts.str.strip(), _WEEKS)
    known = found[["year", "week"]].notna().all(axis=1)
    numbers = found.assign(day=found["day"].fillna(1)).where(known, 1).astype(int).astype(str)
    written = numbers["year"].str.zfill(4) + "-" + numbers["week"] + "-" + numbers["day"]
    return pd.to_datetime(written.where(known), format="%G-%V-%u", errors="coerce")


def _excel_days(texts: pd.Series) -> pd.Series:
    days = pd.to_numeric(texts, errors="coerce")
    return pd.to_datetime(days, unit="D", origin="1899-12-30", errors="coerce").dt.round("s")


NAMED: dict[str, Callable[[pd.Series], pd.Series]] = {
    "quarter": _quarters, "week": _weeks, EXCEL: _excel_days,
}  # fmt: skip
"""Formats that strptime does not have."""
