"""From what a table is like to a draft of its problem: which column is what, and what a person must decide."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lockstep.drafting.draft_task import infer_task
from lockstep.drafting.evidence import ID_NAME, Target, groups, leaks, time_parts
from lockstep.drafting.profile import LARGEST, Column, Profile, profile
from lockstep.errors import DataError, UsageError, nearest
from lockstep.problems.schema import Task, safe_name
from lockstep.problems.text_tables import TextTable

MOST_CODES = 30
"""Levels that are all listed."""
MOST_NATIVE = 100
"""Levels that models see as they are; of more, the target's rate and the number of rows are derived."""
MOST_OF_SLICE, MOST_SLICES, FEWEST_SLICES = 12, 5, 3
"""Levels of a column that gates look at one by one; how many such columns a draft marks, and how many at least."""
FEWEST_ROWS, FEWEST_OF_CLASS = 100, 20
_LONGEST_CODE = 60
_HUGE = 1e30
"""Numbers beyond do not fit the float32 of some model types."""
_TINY = 1e-300
"""Powers of ten below lose their digits."""
_POSITIVE = frozenset(
    """
    1 yes y true t bad default defaulted positive pos churn churned fraud died dead fail failed failure spam malignant
    sick ill late lost cancelled canceled oui ja si sí vrai wahr
    """.split()  # noqa: SIM905
)
_CODE_NAME = re.compile(
    r"(?i)(?:^|[\W_])(?:zip|postal|postcode|plz|code|type|kind|class|cat|category|status|region|cluster|segment)(?:$|[\W_])"
)


@dataclass
class Planned:
    """One column of the draft: its keys in the schema, its codes with their counts, what to say of it."""

    source: str
    name: str
    keys: dict[str, Any]
    codes: dict[int | str, int] = field(default_factory=dict)
    facts: str = ""
    decide: list[str] = field(default_factory=list)
    typical: Any = None


@dataclass
class Draft:
    """A problem as a table suggests it."""

    problem: str
    source: str
    task: Task
    why_task: str
    target: Planned
    columns: list[Planned]
    left_out: dict[str, str]
    derived: list[dict[str, Any]]
    split: str
    why_split: str
    duplicates: str
    copies: int
    rows: int
    width: int
    max_dropped: float
    decide: list[str] = field(default_factory=list)

    @property
    def features(self) -> list[Planned]:
        """The columns that a prediction carries."""
        return [c for c in self.columns if c.keys["kind"] in ("categorical", "numeric")]

    @property
    def example(self) -> dict[str, Any]:
        """A record of typical values, no row of the table."""
        return {c.name: c.typical for c in self.features}


def draft(text: TextTable, problem: str, target: str, task: str = "") -> Draft:
    """Draft a problem from a table; a target or a table that nothing can be learned from is an error."""
    found = profile(text)
    if found.rows < FEWEST_ROWS:
        raise DataError(
            f"{text.path.name} has {found.rows} rows; at least {FEWEST_ROWS} are needed to learn from"
        )
    name = target_name(target, found, text.path.name)
    chosen, why = infer_task(found.columns[name], task)
    return _Drafter(text, found, Target(found.columns[name], chosen), problem, why).draft()


def target_name(told: str, found: Profile, where: str) -> str:
    """Return the target's column in the file; none or an unknown one is a UsageError with the nearest."""
    names = list(found.columns)
    shown = ", ".join(names[:12]) + (" …" if len(names) > 12 else "")
    if not told:
        raise UsageError(
            f"say which column of {where} is to be predicted: TARGET=…; it has {shown}"
        )
    safe = [name for name in names if told in (name, safe_name(name))]
    if not safe:
        raise UsageError(
            f"{where} has no column '{told}'{nearest(told, names)}; it has {shown}; give another TARGET=…"
        )
    return told if told in names else safe[0]


# ---------------------------------------------------------------- the columns


class _Drafter:
    """Goes through a table's columns and decides what each is."""

    def __init__(
        self, text: TextTable, found: Profile, target: Target, problem: str, why: str
    ) -> None:
        self.text, self.found, self.target = text, found, target
        self.problem, self.why = problem, why
        self.taken: set[str] = set()
        self.left_out: dict[str, str] = {}
        self.derived: list[dict[str, Any]] = []
        self.decide: list[str] = []
        self.has: set[str] = set()
        self.why_split = "no column says when a row came to be"

    def draft(self) -> Draft:
        self.names = self._names()
        self.leaks = leaks(self.text, self.found, self.target)
        self.groups = {
            n: e
            for n, e in groups(self.text, self.found, self.target).items()
            if n not in self.leaks
        }
        target = self._target()
        planned = [self._plan(c) for c in self.found.columns.values() if c.name != self.target.name]
        columns = [p for p in planned if p]
        if not any(c.keys["kind"] in ("categorical", "numeric") for c in columns):
            raise DataError(
                f"{self.text.path.name} has no column to predict '{self.target.name}' from; give one with more"
            )
        mark_slices(columns)
        split = "given" if "part" in self.has else "time" if "date" in self.has else "group"
        lost = self.found.rows - self.target.column.present
        duplicates = self._duplicates()
        lost += self.found.copies if duplicates == "drop" else 0
        return Draft(
            self.problem, self.text.path.name, self._task(), self.why, target, columns, self.left_out, self.derived,
            split, self.why_split, duplicates, self.found.copies, self.found.rows, len(self.found.columns),
            max(0.2, min(0.99, math.ceil(lost / self.found.rows * 20 + 1) / 20)), self.decide,
        )  # fmt: skip

    def _task(self) -> Task:
        return self.target.task  # type: ignore[return-value]

    def _names(self) -> dict[str, str]:
        """Return a safe name for each column, those of good names first, none twice."""
        good = {n: n for n in self.found.columns if safe_name(n) == n}
        used = {n.lower() for n in good}
        for name in self.found.columns:
            if name not in good:
                base, number = safe_name(name), 1
                safe = base
                while safe.lower() in used:
                    number += 1
                    safe = f"{base}_{number}"
                used.add(safe.lower())
                good[name] = safe
        self.taken = used
        return good

    def _planned(self, column: Column, as_number: bool = False, **keys: Any) -> Planned:
        name = self.names[column.name]
        aliases = {"aliases": [column.name]} if name != column.name else {}
        words = column.numbers.words if column.numbers and as_number else {}
        absent = {"absent": list(words)} if words else {}
        may_miss = {"missing": True} if column.missing or words else {}
        planned = Planned(column.name, name, {**keys, **aliases, **absent, **may_miss})
        if words:
            told = ", ".join(f"{word!r} ({count}×)" for word, count in list(words.items())[:5])
            self._decide(
                planned, f"among its numbers stand {told}: read as missing; is that what they mean?"
            )
        return planned

    def _decide(self, planned: Planned | None, what: str) -> None:
        if planned:
            planned.decide.append(what)
            self.decide.append(f"{planned.source}: {what}")
        else:
            self.decide.append(what)

    def _target(self) -> Planned:
        column = self.target.column
        if self.target.task == "regression":
            planned = self._planned(column, kind="target", as_number=True, **_reading(column))
            planned.facts = _range_facts(column)
            return planned
        planned = self._planned(column, kind="target", as_number=_whole_codes(column))
        planned.keys.pop("missing", None)
        planned.codes = self._classes(column)
        planned.facts = f"{len(planned.codes)} classes"
        self._check_classes(planned)
        return planned

    def _classes(self, column: Column) -> dict[int | str, int]:
        codes: dict[int | str, int] = (
            _codes(column, int) if _whole_codes(column) else _as_codes(column.levels)
        )
        if len(codes) != column.distinct and not _whole_codes(column):
            codes = _as_codes(self._all_levels(column))
        if self.target.task != "binary":
            return dict(sorted(codes.items(), key=lambda pair: (str(type(pair[0])), pair[0])))
        known = [code for code in codes if str(code).strip().lower() in _POSITIVE]
        rare = min(codes, key=lambda code: (codes[code], str(code)))
        positive = max(codes) if _whole_codes(column) else known[0] if len(known) == 1 else rare
        return {code: codes[code] for code in sorted(codes, key=lambda code: code == positive)}

    def _all_levels(self, column: Column) -> dict[str, int]:
        counted = self.text.columns[column.name].value_counts().to_pylist()
        return {c["values"]: c["counts"] for c in counted if c["values"] is not None}

    def _check_classes(self, planned: Planned) -> None:
        few = {code: count for code, count in planned.codes.items() if count < FEWEST_OF_CLASS}
        told = ", ".join(f"'{code}' {count}" for code, count in list(few.items())[:5])
        if few and (self.target.task == "binary" or len(planned.codes) - len(few) < 2):
            raise DataError(
                f"the target '{planned.source}' has classes of very few rows ({told}): each part of the split needs "
                f"some, {FEWEST_OF_CLASS} at least in all; give more rows, or another TARGET=…"
            )
        if few:
            self._decide(
                planned,
                f"classes of very few rows ({told}): put them together in the file, or leave them out",
            )
        if self.target.task == "binary":
            positive = list(planned.codes)[-1]
            if str(positive) != "1":
                self._decide(
                    planned, f"'{positive}' is taken for the positive class, the one listed last"
                )
        elif self.target.column.numbers:
            self._decide(
                planned, "whole numbers are taken for classes; if it is an amount: TASK=regression"
            )

    def _plan(self, column: Column) -> Planned | None:
        """Return what a column is in the schema, None where it is left out."""
        for rule in (
            self._useless,
            self._leak,
            self._part,
            self._date,
            self._group,
            self._id,
            self._text,
            self._number,
        ):
            planned = rule(column)
            if planned or column.name in self.left_out:
                return planned
        raise AssertionError(f"no rule for the column {column.name}")

    def _leave(self, column: Column, why: str) -> Planned | None:
        self.left_out[column.name] = why
        return None

    def _useless(self, column: Column) -> None:
        if not column.distinct:
            self._leave(column, "empty in every row")
        elif column.distinct == 1 and not column.missing:
            self._leave(column, f"constant: {_clip(next(iter(column.levels)))}")

    def _leak(self, column: Column) -> None:
        wholly, how = self.leaks.get(column.name, (False, ""))
        if wholly:
            self._leave(column, f"suspected leak: {how}")
            what = f"{how}: a leak? It is left out; if it is known before the target is, declare it under columns"
            self._decide(None, f"{column.name}: {what}")

    def _part(self, column: Column) -> Planned | None:
        levels = {level.lower() for level in column.levels}
        if levels != {"train", "test"} or column.missing or set(column.levels) != levels:
            return None
        if "part" in self.has:
            return self._leave(column, "a second column of parts")
        self.has.add("part")
        self.why_split = f"'{column.name}' says which rows are for training and which for testing"
        return self._planned(column, kind="part")

    def _date(self, column: Column) -> Planned | None:
        if column.dates is None:
            return None
        told = f"dates from {column.dates.first} to {column.dates.last}"
        if column.dates.others:
            self._leave(
                column,
                f"{told}, but {column.dates.others} values are none (e.g. {_clip(column.dates.example)})",
            )
            self._decide(
                None,
                f"{column.name}: {self.left_out[column.name]}; correct them, and it can part the rows by time",
            )
            return None
        why_not = time_parts(self.text, column, self.target)
        if why_not or "date" in self.has or "part" in self.has:
            return self._leave(column, f"{told}; {why_not or 'another column parts the rows'}")
        self.has.add("date")
        planned = self._planned(column, kind="date")
        planned.keys |= {"format": column.dates.format} if column.dates.format else {}
        planned.facts = told
        self.why_split = f"the newest rows by '{column.name}' are the test, as in use; kind: group for a random split"
        self._decide(
            planned,
            "rows are parted by time; set split.kind: group if new rows won't come after these",
        )
        if column.dates.both_ways:
            self._decide(
                planned,
                f"read as {column.dates.format}; day and month could be the other way round",
            )
        return planned

    def _group(self, column: Column) -> Planned | None:
        if column.name not in self.groups or "group" in self.has:
            return None
        self.has.add("group")
        planned = self._planned(column, kind="group")
        planned.facts = f"{column.distinct:,} groups"
        self._decide(planned, f"its rows are kept in one part: {self.groups[column.name]}")
        return planned

    def _id(self, column: Column) -> Planned | None:
        whole = bool(
            column.numbers and column.numbers.whole and not column.numbers.words
        ) or _long_digits(column)
        text = column.numbers is None and column.dates is None
        named = ID_NAME.search(column.name) is not None
        if column.all_different and (
            text or (whole and (named or column.runs)) or _long_digits(column)
        ):
            if "id" in self.has or column.missing or column.longest > _LONGEST_CODE:
                return self._leave(column, "different in every row")
            self.has.add("id")
            planned = self._planned(column, kind="id")
            planned.facts = "different in every row"
            return planned
        mostly = column.distinct > 0.5 * column.present and column.distinct > MOST_NATIVE
        if mostly and (text or (named and whole) or _long_digits(column)):
            return self._leave(
                column,
                f"{column.distinct:,} different values in {column.present:,}: an id or free text",
            )
        return None

    def _text(self, column: Column) -> Planned | None:
        numbers = column.numbers
        if numbers and not _long_digits(column) and not self._codes_by_name(column):
            return None
        as_number = bool(
            numbers and numbers.whole and not numbers.decimal and not _long_digits(column)
        )
        planned = self._planned(column, kind="categorical", as_number=as_number)
        levels = column.distinct - (len(numbers.words) if numbers and as_number else 0)
        planned.facts = f"{'codes' if as_number else 'text'}, {levels:,} levels{_missing(column)}"
        top = next(
            level
            for level in column.levels
            if not (as_number and numbers and level in numbers.words)
        )
        planned.typical = int(float(top)) if as_number else top
        if levels <= MOST_CODES and column.longest <= _LONGEST_CODE:
            planned.codes = _codes(column, int) if as_number else _as_codes(column.levels)
        elif as_number:
            planned.keys["integer"] = True
        if levels > MOST_NATIVE:
            self._derive(planned)
        if as_number and levels > 2:
            self._decide(
                planned,
                "whole numbers read as codes; if they are amounts: kind: numeric, without codes",
            )
        return planned

    def _codes_by_name(self, column: Column) -> bool:
        """Tell whether whole numbers are codes: of two values, or called so."""
        numbers = column.numbers
        if numbers is None or not numbers.whole or numbers.decimal:
            return False
        if column.distinct - len(numbers.words) <= 2:
            return not any(
                mark in level
                for level in column.levels
                for mark in ".,eE"
                if level not in numbers.words
            )
        return (
            bool(_CODE_NAME.search(column.name) or ID_NAME.search(column.name))
            and column.distinct < self.found.rows / 5
        )

    def _derive(self, planned: Planned) -> None:
        """Let models see of many levels the target's rate and the number of rows, not the levels."""
        planned.keys["encode"] = False
        for kind, what in (("target_encoded", "rate"), ("frequency", "rows")):
            name, number = f"{planned.name}_{what}", 1
            while any(other.startswith(name.lower()) for other in self.taken):
                number += 1
                name = f"{planned.name}_{what}{number}"
            self.taken.add(name.lower())
            self.derived.append({"name": name, "kind": kind, "of": [planned.name]})

    def _number(self, column: Column) -> Planned:
        numbers = column.numbers
        assert numbers is not None
        planned = self._planned(column, kind="numeric", as_number=True, **_reading(column))
        low, high = bounds(numbers.low, numbers.high)
        planned.keys |= {"integer": True} if numbers.whole else {}
        planned.keys |= {"low": low, "high": high}
        planned.facts = _range_facts(column)
        planned.typical = int(numbers.middle) if numbers.whole else float(f"{numbers.middle:.6g}")
        if max(abs(numbers.low), abs(numbers.high)) > _HUGE:
            self._decide(
                planned, f"numbers beyond {_HUGE:g} become missing: not every model type takes them"
            )
        if numbers.both_ways:
            example = next((level for level in column.levels if re.search("[.,]", level)), "")
            sign = "part thousands" if numbers.decimal else "begin the decimals"
            self._decide(planned, f"signs as in '{example}' are taken to {sign}")
        strong = self.leaks.get(column.name)
        if strong:
            self._decide(planned, f"{strong[1]}; is it known before the target is?")
        return planned

    def _duplicates(self) -> str:
        """Return whether copies of rows are dropped: where numbers of many values make chance unlikely."""
        many = [
            c
            for c in self.found.columns.values()
            if c.numbers and c.distinct > 0.05 * c.present > 5
        ]
        if not self.found.copies:
            return "keep"
        choice = "drop" if len(many) >= 2 else "keep"
        done = (
            "all but the first are dropped"
            if choice == "drop"
            else "they are kept, as chance can make them"
        )
        self._decide(
            None,
            f"{self.found.copies:,} rows are exact copies of others; {done} (preprocess.duplicates)",
        )
        return choice


def mark_slices(columns: list[Planned]) -> None:
    """Mark what gates look at part by part: columns of few levels, and numbers (their quartiles) where they are few."""
    few = [
        c for c in columns if c.keys["kind"] == "categorical" and 2 <= len(c.codes) <= MOST_OF_SLICE
    ]
    numbers = [c for c in columns if c.keys["kind"] == "numeric"]
    for column in [*few[:MOST_SLICES], *numbers[: max(0, FEWEST_SLICES - len(few))]]:
        column.keys["slice"] = True


def _reading(column: Column) -> dict[str, Any]:
    numbers = column.numbers
    if numbers is None:
        return {}
    unit = {"unit": numbers.unit} if numbers.unit else {}
    return {**({"decimal": numbers.decimal} if numbers.decimal else {}), **unit}


def _whole_codes(column: Column) -> bool:
    """Tell whether a target's classes are whole numbers."""
    return bool(
        column.numbers and column.numbers.whole and not column.numbers.decimal
    ) and not _long_digits(column)


def _codes(column: Column, kind: type[int]) -> dict[int | str, int]:
    """Return whole-number codes with their counts, texts of the same number together, in their order."""
    words = column.numbers.words if column.numbers else {}
    found: dict[int | str, int] = {}
    for level, count in column.levels.items():
        if level not in words:
            code = kind(float(level.replace(",", ".")))
            found[code] = found.get(code, 0) + count
    return dict(sorted(found.items()))


def _as_codes(levels: dict[str, int]) -> dict[int | str, int]:
    return dict(levels.items())


def _long_digits(column: Column) -> bool:
    """Tell whether whole numbers are too long for a float64: they are names then, not amounts."""
    numbers = column.numbers
    if numbers is None or max(abs(numbers.low), abs(numbers.high)) < LARGEST:
        return False
    long = [level for level in column.levels if re.fullmatch(r"[+-]?\d{16,40}", level)]
    return len(long) > len(column.levels) / 2


def bounds(low: float, high: float) -> tuple[float, float]:
    """Return a range around the values seen with room for new ones: from 0 where none is below it."""
    span = max(high - low, abs(high), 1.0 if low == high == 0 else 0.0)
    wide = 0.0 if low >= 0 else -_rounded_up(min(-low + span, _HUGE))
    return wide, _rounded_up(min(high + span, _HUGE)) if high > 0 else 0.0


def _rounded_up(value: float) -> float:
    """Return the next number of one significant digit at or above a positive one."""
    if value >= _HUGE:
        return _HUGE
    step = 10.0 ** math.floor(math.log10(max(value, _TINY)))
    return float(f"{math.ceil(value / step * (1 - 1e-12)) * step:.2g}")


def _range_facts(column: Column) -> str:
    numbers = column.numbers
    assert numbers is not None
    return f"{numbers.low:g} … {numbers.middle:g} … {numbers.high:g}{_missing(column)}"


def _missing(column: Column) -> str:
    return f", {column.missing / column.rows:.1%} missing" if column.missing else ""


def _clip(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:40]}…"


def known_file(path: Path, suffixes: tuple[str, ...]) -> None:
    """Refuse what is no readable table file, with the fix."""
    if not path.is_file():
        raise UsageError(f"{path} is not there; give FILE=… a CSV, TSV or Parquet file" if not path.exists() else
                         f"{path} is a folder; give FILE=… one file in it")  # fmt: skip
    if path.suffix.lower() not in suffixes:
        raise UsageError(
            f"{path.name}: a name that ends in {', '.join(suffixes)} is needed; rename or convert the file"
        )
