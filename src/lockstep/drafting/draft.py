"""A draft of a problem from a table's profile: each column's role, and open questions."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from lockstep.drafting.draft_task import AS_TOLD, infer_task
from lockstep.drafting.evidence import ID_NAME, Target, groups, time_parts
from lockstep.drafting.leaks import leaks
from lockstep.drafting.positive import positive_class, positive_question
from lockstep.drafting.profile import Column, Profile, profile
from lockstep.drafting.stand_ins import class_stand_in, stand_in
from lockstep.drafting.target import read_target, spelling_question
from lockstep.errors import DataError, UsageError, listed, nearest
from lockstep.problems.schema import safe_name
from lockstep.problems.text_tables import MISSING, TextTable

MOST_CODES = 30
"""Levels that are all listed."""
MOST_NATIVE = 100
"""Levels that models see as such; for more, they see the target's rate and the number of rows."""
MOST_OF_SLICE, MOST_SLICES, FEWEST_SLICES = 12, 5, 3
"""Levels of a column that is a slice; how many slices a draft marks at most and at least."""
FEWEST_ROWS, FEWEST_OF_CLASS = 100, 20
_LONGEST_CODE = 60
_HUGE = 1e30
"""Numbers beyond do not fit the float32 of some model types."""
_TINY = 1e-300
"""Powers of ten below lose their digits."""
_CODE_NAME = re.compile(
    r"(?i)(?:^|[\W_])(?:zip|postal|postcode|plz|code|type|kind|class|cat|category|status|region|cluster|segment)(?:$|[\W_])"
)


@dataclass
class Planned:
    """One column of the draft: keys of the schema, codes with counts, facts and questions."""

    source: str
    name: str
    keys: dict[str, Any]
    codes: dict[int | str, int] = field(default_factory=dict)
    facts: str = ""
    decide: list[str] = field(default_factory=list)
    typical: Any = None


def draft(text: TextTable, problem: str, target: str, task: str = "") -> Draft:
    """Draft a problem from a table; DataError where nothing can be learned from it."""
    found = profile(text)
    if found.rows < FEWEST_ROWS:
        needed = f"at least {FEWEST_ROWS} are needed to learn from"
        raise DataError(f"{text.path.name} has {found.rows} rows; {needed}")
    name = target_name(target, found, text.path.name)
    reading = read_target(text, found.columns[name], task)
    chosen, why = infer_task(reading.column, task)
    return Draft(text, found, Target(reading, chosen), problem, why)


def target_name(given: str, found: Profile, where: str) -> str:
    """Return the target's column; none or an unknown one is a UsageError with the nearest."""
    names = list(found.columns)
    shown = listed(names, 12)
    if not given:
        ask = f"say which column of {where} is to be predicted: TARGET=…"
        raise UsageError(f"{ask}; it has {shown}")
    if given in names:
        return given
    safe = [name for name in names if given == safe_name(name)]
    if not safe:
        missing = f"{where} has no column '{given}'{nearest(given, names)}"
        raise UsageError(f"{missing}; it has {shown}; give another TARGET=…")
    return safe[0]


# ---------------------------------------------------------------- the columns


class Draft:
    """A problem as a table suggests it: the role of each column, and open questions."""

    def __init__(
        self, text: TextTable, found: Profile, aim: Target, problem: str, why_task: str
    ) -> None:
        self.text, self.found, self.aim = text, found, aim
        self.problem, self.source = problem, text.path.name
        self.task, self.why_task = aim.task, why_task
        self.is_task_given = why_task == AS_TOLD
        self.rows, self.width = found.rows, len(found.columns)
        self.left_out: dict[str, str] = {}
        self.derived: list[dict[str, Any]] = []
        self.decide: list[str] = [f"{self.source}: {asked}" for asked in text.questions]
        self.roles: set[str] = set()
        self.why_positive = ""
        self.why_split = "no column says when a row came to be"
        self.names = self._names()
        self.taken = {name.lower() for name in self.names.values()}
        self.leaks = leaks(text, found, aim)
        together = groups(text, found, aim)
        self.groups = {name: why for name, why in together.items() if name not in self.leaks}
        self.target = self._target()
        planned = [self._plan(c) for c in found.columns.values() if c.name != aim.name]
        self.columns = [p for p in planned if p]
        read = [c for c in self.columns if c.keys["kind"] in ("categorical", "numeric")]
        if not read:
            missing = f"{self.source} has no column to predict '{aim.name}' from"
            out = listed([f"{name} ({why})" for name, why in self.left_out.items()], 4)
            raise DataError(
                f"{missing}{f': left out are {out}' if out else ''}; give one with more"
            )
        self.example = {c.name: c.typical for c in read}  # typical values, no row of the table
        mark_slices(self.columns)
        self.duplicates = self._duplicates()

    @property
    def split(self) -> str:
        """How the rows are parted."""
        return "given" if "part" in self.roles else "time" if "date" in self.roles else "group"

    @property
    def max_dropped(self) -> float:
        """The share of rows that may be dropped: those that are, and some more."""
        dropped = self.found.rows - self.aim.column.present
        dropped += self.found.copies if self.duplicates == "drop" else 0
        return max(0.2, min(0.99, math.ceil(dropped / self.found.rows * 20 + 1) / 20))

    def _names(self) -> dict[str, str]:
        """Return a safe name for each column, those of good names first, no name twice."""
        names = {n: n for n in self.found.columns if safe_name(n) == n}
        used = {n.lower() for n in names}
        for name in self.found.columns:
            if name not in names:
                base = safe_name(name)
                numbered = (base if number == 1 else f"{base}_{number}" for number in count(1))
                names[name] = next(safe for safe in numbered if safe.lower() not in used)
                used.add(names[name].lower())
        return names

    def _planned(self, column: Column, as_number: bool = False, **keys: Any) -> Planned:
        name = self.names[column.name]
        aliases = {"aliases": [column.name]} if name != column.name else {}
        words = column.numbers.words if column.numbers and as_number else {}
        keys |= aliases | ({"absent": list(words)} if words else {})
        keys |= {"missing": True} if column.missing or words else {}
        planned = Planned(column.name, name, keys)
        if words:
            shown = ", ".join(f"{word!r} ({rows}×)" for word, rows in list(words.items())[:5])
            what = f"among its numbers stand {shown}: read as missing; is that what they mean?"
            self._decide(planned, what)
        return planned

    def _decide(self, planned: Planned | None, what: str) -> None:
        if planned:
            planned.decide.append(what)
        self.decide.append(f"{planned.source}: {what}" if planned else what)

    def _target(self) -> Planned:
        column, reading = self.aim.column, self.aim.reading
        planned = self._planned(column, kind="target")
        keys = {"absent": list(reading.absent), "spellings": reading.spellings}
        planned.keys |= {key: value for key, value in keys.items() if value}
        planned.keys.pop("missing", None)  # rows without a target are dropped
        for note in reading.notes:
            self._decide(planned, note)
        if self.task == "regression":
            planned.keys |= _reading(column)
            planned.facts = _range_facts(column)
            self._check_stand_in(planned, column)
            return planned
        planned.codes = self._classes(column)
        planned.facts = f"{len(planned.codes)} classes"
        self._check_classes(planned)
        return planned

    def _check_stand_in(self, planned: Planned, column: Column) -> None:
        """Refuse an amount where a far-off value may mean missing, unless TASK says it is one."""
        apart = stand_in(column, self.aim.reading.levels)
        if apart and apart.far and not self.is_task_given:
            shown = ", ".join(f"{text} ({rows:,} rows)" for text, rows in apart.texts.items())
            raise DataError(
                f"the target '{column.name}' is {shown}, far from its other values "
                f"({apart.low:g} … {apart.high:g}): empty these cells if it means missing, or say "
                "with TASK=regression that it is an amount"
            )
        if apart:
            self._decide(planned, apart.question)

    def _classes(self, column: Column) -> dict[int | str, int]:
        levels = self.aim.reading.levels
        codes: dict[int | str, int]
        codes = _codes(column, levels) if column.whole_codes else dict(levels.items())
        if self.task != "binary":
            return dict(sorted(codes.items(), key=lambda pair: (str(type(pair[0])), pair[0])))
        positive, self.why_positive = positive_class(codes)
        return {code: codes[code] for code in sorted(codes, key=lambda code: code == positive)}

    def _check_classes(self, planned: Planned) -> None:
        few = {code: count for code, count in planned.codes.items() if count < FEWEST_OF_CLASS}
        shown = ", ".join(f"'{code}' {rows}" for code, rows in list(few.items())[:5])
        if few and (self.task == "binary" or len(planned.codes) - len(few) < 2):
            raise DataError(
                f"the target '{planned.source}' has classes of very few rows ({shown}): each part "
                f"of the split needs some, {FEWEST_OF_CLASS} at least in all; give more rows, or "
                "another TARGET=…"
            )
        fix = "put them together in the file, or leave them out"
        if few:
            self._decide(planned, f"classes of very few rows ({shown}): {fix}")
        if self.task == "binary":
            positive = list(planned.codes)[-1]
            self._decide(planned, positive_question(positive, self.why_positive, planned.codes))
        self._check_class_stand_in(planned)
        if self.task != "binary" and self.aim.column.numbers:
            what = "whole numbers are taken for classes; if it is an amount: TASK=regression"
            self._decide(planned, what)

    def _check_class_stand_in(self, planned: Planned) -> None:
        """Refuse a third code that may mean missing, unless TASK says it is a class."""
        third = class_stand_in(planned.codes)
        if third and not self.is_task_given:
            raise DataError(
                f"the target '{planned.source}' is {third}: empty these cells if it means "
                "missing, or say with TASK=multiclass that it is a class"
            )
        if third:
            self._decide(planned, f"{third}: taken for a class; does it mean missing?")

    def _plan(self, column: Column) -> Planned | None:
        """Return what a column is in the schema, None where it is left out."""
        rules = (
            self._useless, self._leak, self._part, self._date,
            self._group, self._id, self._text, self._number,
        )  # fmt: skip
        for rule in rules:
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
            fix = "if it is known before the target is, declare it under columns"
            self._decide(None, f"{column.name}: {how}: a leak? It is left out; {fix}")

    def _part(self, column: Column) -> Planned | None:
        levels = {level.lower() for level in column.levels}
        if levels != {"train", "test"} or column.missing or set(column.levels) != levels:
            return None
        if "part" in self.roles:
            return self._leave(column, "a second column of parts")
        self.roles.add("part")
        self.why_split = f"'{column.name}' says which rows are for training and which for testing"
        return self._planned(column, kind="part")

    def _date(self, column: Column) -> Planned | None:
        if column.dates is None:
            return None
        span = f"dates from {column.dates.first} to {column.dates.last}"
        if column.dates.others:
            example = f"{column.dates.others} values are none (e.g. {_clip(column.dates.example)})"
            self._leave(column, f"{span}, but {example}")
            fix = "correct them, and it can part the rows by time"
            self._decide(None, f"{column.name}: {self.left_out[column.name]}; {fix}")
            return None
        why_not = time_parts(self.text, column, self.aim)
        if why_not or self.roles & {"date", "part"}:
            return self._leave(column, f"{span}; {why_not or 'another column parts the rows'}")
        self.roles.add("date")
        planned = self._planned(column, kind="date")
        planned.keys |= {"format": column.dates.format} if column.dates.format else {}
        planned.facts = span
        newest = f"the newest rows by '{column.name}' are the test, as in use"
        self.why_split = f"{newest}; kind: group for a random split"
        what = "rows are parted by time; set split.kind: group if new rows won't come after these"
        self._decide(planned, what)
        if column.dates.both_ways:
            what = f"read as {column.dates.format}; day and month could be the other way round"
            self._decide(planned, what)
        return planned

    def _group(self, column: Column) -> Planned | None:
        if column.name not in self.groups or "group" in self.roles:
            return None
        self.roles.add("group")
        planned = self._planned(column, kind="group")
        planned.facts = f"{column.distinct:,} groups"
        self._decide(planned, f"its rows are kept in one part: {self.groups[column.name]}")
        return planned

    def _id(self, column: Column) -> Planned | None:
        whole = bool(column.numbers and column.numbers.whole and not column.numbers.words)
        text = column.numbers is None and column.dates is None
        named = ID_NAME.search(column.name) is not None
        is_name = text or column.long_digits
        if column.all_different and (is_name or (whole and (named or column.runs))):
            if "id" in self.roles or column.missing or column.longest > _LONGEST_CODE:
                return self._leave(column, "different in every row")
            self.roles.add("id")
            planned = self._planned(column, kind="id")
            planned.facts = "different in every row"
            return planned
        mostly = column.distinct > 0.5 * column.present and column.distinct > MOST_NATIVE
        if mostly and (is_name or (named and whole)):
            shares = f"{column.distinct:,} different values in {column.present:,}"
            return self._leave(column, f"{shares}: an id or free text")
        return None

    def _text(self, column: Column) -> Planned | None:
        if column.numbers and not column.long_digits and not self._codes_by_name(column):
            return None
        as_number = column.whole_codes
        words = column.numbers.words if column.numbers and as_number else {}
        planned = self._planned(column, kind="categorical", as_number=as_number)
        levels = column.distinct - len(words)
        planned.facts = f"{'codes' if as_number else 'text'}, {levels:,} levels{_missing(column)}"
        top = next(level for level in column.levels if level not in words)
        planned.typical = int(float(top)) if as_number else top
        if levels <= MOST_CODES and column.longest <= _LONGEST_CODE:
            all_of_few = column.levels
            planned.codes = _codes(column, all_of_few) if as_number else dict(all_of_few.items())
        elif as_number:
            planned.keys["integer"] = True
        if levels > MOST_NATIVE:
            self._derive(planned)
        alike = "" if as_number else spelling_question(column.levels)
        if alike:
            self._decide(planned, alike)
        if as_number and levels > 2:
            what = "whole numbers read as codes; if they are amounts: kind: numeric, without codes"
            self._decide(planned, what)
        return planned

    def _codes_by_name(self, column: Column) -> bool:
        """Tell whether whole numbers are codes: by their number of values, two, or by the name."""
        numbers = column.numbers
        if numbers is None or not numbers.whole or numbers.decimal:
            return False
        if column.distinct - len(numbers.words) <= 2:
            plain = [level for level in column.levels if level not in numbers.words]
            return not any(re.search("[.,eE]", level) for level in plain)
        named = _CODE_NAME.search(column.name) or ID_NAME.search(column.name)
        return bool(named) and column.distinct < self.found.rows / 5

    def _derive(self, planned: Planned) -> None:
        """Let models see rate and number of rows of many levels in place of the levels."""
        planned.keys["encode"] = False
        for kind, what in (("target_encoded", "rate"), ("frequency", "rows")):
            base = f"{planned.name}_{what}"
            names = (base if number == 1 else f"{base}{number}" for number in count(1))
            name = next(n for n in names if not any(t.startswith(n.lower()) for t in self.taken))
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
            what = f"numbers beyond {_HUGE:g} become missing: not every model type takes them"
            self._decide(planned, what)
        if numbers.both_ways:
            example = next((level for level in column.levels if re.search("[.,]", level)), "")
            sign = "part thousands" if numbers.decimal else "begin the decimals"
            self._decide(planned, f"signs as in '{example}' are taken to {sign}")
        apart = stand_in(column, self._counted(column))
        if apart:
            self._decide(planned, apart.question)
        strong = self.leaks.get(column.name)
        if strong:
            self._decide(planned, f"{strong[1]}; is it known before the target is?")
        return planned

    def _counted(self, column: Column) -> dict[str, int]:
        """Return every distinct text of a column with its rows."""
        if len(column.levels) == column.distinct:
            return column.levels
        counted = self.text.columns[column.name].value_counts().to_pylist()
        return {c["values"]: c["counts"] for c in counted if c["values"] not in {None, *MISSING}}

    def _duplicates(self) -> str:
        """Return whether to drop copies of rows: if many-valued numbers make chance unlikely."""
        if not self.found.copies:
            return "keep"
        columns = self.found.columns.values()
        many = [c for c in columns if c.numbers and c.distinct > 0.05 * c.present > 5]
        choice, done = "keep", "they are kept, as chance can make them"
        if len(many) >= 2:
            choice, done = "drop", "all but the first are dropped"
        copies = f"{self.found.copies:,} rows are exact copies of others"
        self._decide(None, f"{copies}; {done} (preprocess.duplicates)")
        return choice


def mark_slices(columns: list[Planned]) -> None:
    """Mark the slices of gates: columns of few levels, else the quartiles of numbers."""
    texts = [c for c in columns if c.keys["kind"] == "categorical"]
    few = [c for c in texts if 2 <= len(c.codes) <= MOST_OF_SLICE]
    numbers = [c for c in columns if c.keys["kind"] == "numeric"]
    for column in [*few[:MOST_SLICES], *numbers[: max(0, FEWEST_SLICES - len(few))]]:
        column.keys["slice"] = True


def _reading(column: Column) -> dict[str, Any]:
    numbers = column.numbers
    keys = {"decimal": numbers.decimal, "unit": numbers.unit} if numbers else {}
    return {key: value for key, value in keys.items() if value}


def _codes(column: Column, levels: Mapping[str, int]) -> dict[int | str, int]:
    """Return whole-number codes with their counts, in their order: 1 and 1.0 are one code."""
    words = column.numbers.words if column.numbers else {}
    found: dict[int | str, int] = {}
    for level, rows in levels.items():
        if level not in words:
            code = int(float(level.replace(",", ".")))
            found[code] = found.get(code, 0) + rows
    return dict(sorted(found.items()))


def bounds(low: float, high: float) -> tuple[float, float]:
    """Return a range around the values seen with room for new ones: from 0 if none is below 0."""
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
    """Refuse a path that is no readable table file, with the fix."""
    if not path.exists():
        raise UsageError(f"{path} is not there; give FILE=… a CSV, TSV or Parquet file")
    if not path.is_file():
        raise UsageError(f"{path} is a folder; give FILE=… one file in it")
    if path.suffix.lower() not in suffixes:
        needed = f"a name that ends in {', '.join(suffixes)} is needed"
        raise UsageError(f"{path.name}: {needed}; rename or convert the file")
