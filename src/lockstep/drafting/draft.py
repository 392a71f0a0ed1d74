"""A draft of a problem from a table's profile: each column's role, and open questions."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from lockstep.data.copies import repeats
from lockstep.drafting.copies import Hashes, count_alike, feature_hashes, why_no_copies
from lockstep.drafting.dates import Dates
from lockstep.drafting.dates import Unit as DateUnit
from lockstep.drafting.draft_task import AS_TOLD, infer_task
from lockstep.drafting.evidence import SAMPLE, Evidence, Target
from lockstep.drafting.identity import (
    COUNT,
    PLACE,
    THING,
    Unit,
    counters,
    one_row_each,
    units,
)
from lockstep.drafting.leaks import leaks
from lockstep.drafting.names import ID_NAME
from lockstep.drafting.positive import positive_class, positive_question
from lockstep.drafting.profile import Column, Profile, profile, whole_code
from lockstep.drafting.stand_ins import class_stand_in, stand_in
from lockstep.drafting.target import read_target, spelling_question
from lockstep.drafting.time_order import (
    MOST_OVERLAP,
    date_of_parts,
    in_order,
    is_year,
    made_dates,
    overlap,
    parts_in_time,
    row_dates,
    why_not_by_time,
    year_dates,
)  # fmt: skip
from lockstep.drafting.wording import both, rows_do, share, with_rows, words_question
from lockstep.errors import DataError, UsageError, listed, nearest
from lockstep.problems.dialects import counted
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
    _check_enough(found.rows, text, "")
    name = target_name(target, found, text.path.name)
    reading = read_target(text, found.columns[name], task)
    chosen, why = infer_task(reading.column, task)
    _check_enough(reading.column.present, text, f" with a target '{name}'")
    return Draft(text, found, Target(reading, chosen), problem, why)


def _check_enough(rows: int, text: TextTable, which: str) -> None:
    if rows < FEWEST_ROWS:
        needed = f"at least {FEWEST_ROWS} are needed to learn from"
        raise DataError(f"{text.path.name} has {counted(rows, 'row')}{which}; {needed}")


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
        self.part_name = self.date_name = ""
        self.not_by_time = ""
        self.years: dict[str, str] = {}
        self.why_positive = ""
        self.why_split = ""
        self.names = self._names()
        self.taken = {name.lower() for name in self.names.values()}
        self.counters = counters(text, found, aim)
        passed = {name for name, counter in self.counters.items() if counter.certain}
        self.units = {unit.name: unit for unit in units(text, found, aim, passed)}
        self.unit = next((unit for unit in self.units.values() if unit.can_part), None)
        self.leaks = self._leaks()
        self.parts = date_of_parts(found)
        self.target = self._target()
        planned = [self._plan(c) for c in found.columns.values() if c.name != aim.name]
        self.columns = [p for p in planned if p]
        made = self._made_date()
        self.columns += [made] if made else []
        read = [c for c in self.columns if c.keys["kind"] in ("categorical", "numeric")]
        if not read:
            raise DataError(self._nothing_to_predict_from())
        self.example = {c.name: c.typical for c in read}  # typical values, no row of the table
        mark_slices(self.columns)
        self.duplicates = self._duplicates()
        self.by_time = "date" in self.roles and "part" not in self.roles
        self.alike, self.undated = False, 0
        self._settle_split(read)

    @property
    def split(self) -> str:
        """How the rows are split."""
        return "given" if "part" in self.roles else "time" if self.by_time else "group"

    @property
    def sample_note(self) -> str:
        """What is judged on some of many rows; empty if all are looked at."""
        is_large = self.rows > SAMPLE
        return f" (leaks and groups are judged on {SAMPLE:,} of them)" if is_large else ""

    @property
    def max_dropped(self) -> float:
        """The share of rows that may be dropped: those that are, and some more."""
        dropped = self.rows - self.kept_rows
        return max(0.2, min(0.99, math.ceil(dropped / self.rows * 20 + 1) / 20))

    @property
    def kept_rows(self) -> int:
        """The rows that training keeps: those with a target and a date, without dropped copies."""
        copies = self.found.copies if self.duplicates == "drop" else 0
        return self.aim.column.present - copies - self.undated

    def _nothing_to_predict_from(self) -> str:
        others = [f"'{c.source}' is the {c.keys['kind']}" for c in self.columns]
        others += [f"'{name}' is left out ({why})" for name, why in self.left_out.items()]
        missing = f"{self.source} has no column to predict '{self.aim.name}' from"
        fix = "add columns that are known before the target is"
        if "date" in self.roles:
            fix += ", such as the target's own values of earlier dates"
        return f"{missing}: {listed(others, 5) or 'it is the only one'}; {fix}"

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
            self._decide(planned, words_question(words, "numbers"))
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
            raise DataError(
                f"the target '{column.name}' is {apart.shown}, far from its other values "
                f"({apart.low:g} … {apart.high:g}); empty these cells if they mean missing, or "
                "give TASK=regression if they are amounts"
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
        shown = with_rows({str(code): rows for code, rows in few.items()})
        if few and (self.task == "binary" or len(planned.codes) - len(few) < 2):
            raise DataError(
                f"the target '{planned.source}' has too few rows of {shown}; a class needs at "
                f"least {FEWEST_OF_CLASS}, as each part of the split needs some; give more rows, "
                "or another TARGET=…"
            )
        if few:
            have = "1 class has" if len(few) == 1 else f"{len(few)} classes have"
            what = f"{have} fewer than {FEWEST_OF_CLASS} rows: {shown}"
            what = f"{what}. Metrics of such a class say little"
            self._decide(planned, f"{what}. Merge such classes in the file, or remove their rows")
        if self.task == "binary":
            positive = list(planned.codes)[-1]
            self._decide(planned, positive_question(positive, self.why_positive, planned.codes))
        self._check_class_stand_in(planned)
        if self.task != "binary" and self.aim.column.numbers:
            what = f"The {len(planned.codes)} different whole numbers are read as classes"
            self._decide(planned, f"{what}. If they are amounts, draft again with TASK=regression")

    def _check_class_stand_in(self, planned: Planned) -> None:
        """Refuse a third code that may mean missing, unless TASK says it is a class."""
        third = class_stand_in(planned.codes)
        if third and not self.is_task_given:
            raise DataError(
                f"the target '{planned.source}' is {third}; empty these cells if they mean "
                "missing, or give TASK=multiclass if it is a class"
            )
        if third:
            what = f"The target is {third}. It is read as a class"
            self._decide(planned, f"{what}. If it means missing, empty these cells in the file")

    def _plan(self, column: Column) -> Planned | None:
        """Return what a column is in the schema, None where it is left out."""
        rules = (
            self._useless, self._row_number, self._group, self._leak, self._part, self._date,
            self._id, self._text, self._number,
        )  # fmt: skip
        for rule in rules:
            planned = rule(column)
            if planned and planned.keys["kind"] in ("categorical", "numeric"):
                self._ask_feature(planned, column)
            if planned or column.name in self.left_out:
                return planned
        raise AssertionError(f"no rule for the column {column.name}")

    def _ask_feature(self, planned: Planned, column: Column) -> None:
        """Ask about a feature that may number rows, name what a row belongs to, or be a date."""
        unit, counter = self.units.get(column.name), self.counters.get(column.name)
        if unit and not self.unit:
            self._decide(planned, unit.question)
        elif counter:
            what = f"The column {counter.words}. It stays a feature, as a count of days or steps"
            self._decide(planned, f"{what}. If it only numbers rows, move it to left_out")
        elif self._is_named_id(column):
            what = f"The column is named as an id is, and has {column.distinct:,} values"
            done = "It stays a feature, so rows of one value may be in training and test"
            fix = "To keep them together, use kind: group"
            self._decide(planned, f"{what}. {done}. {fix}")
        strong = self.leaks.get(column.name)
        if strong:
            what = f"Suspected leak: {strong[1]}. It stays a feature"
            fix = "If it arises after the target, the metrics are too good: move it to left_out"
            self._decide(planned, f"{what}. {fix}")
        if column.name in self.years:
            self._decide(planned, self.years[column.name])

    def _is_named_id(self, column: Column) -> bool:
        """Tell whether a feature is named as an id and has too many values for a property."""
        named = ID_NAME.search(column.name) or THING.search(column.name)
        is_name = column.numbers is None or column.numbers.whole
        is_other = PLACE.search(column.name) or COUNT.match(column.name)
        return bool(named and is_name) and not is_other and column.distinct > MOST_CODES

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
            said = f"{column.name}: Suspected leak: {how}. The column is left out"
            fix = "If its value is known before the target, declare it under columns"
            self._decide(None, f"{said}. {fix}")

    def _part(self, column: Column) -> Planned | None:
        levels = {level.lower() for level in column.levels}
        if levels != {"train", "test"} or column.missing or set(column.levels) != levels:
            return None
        if "part" in self.roles:
            return self._leave(column, "a second column of parts")
        self.roles.add("part")
        self.part_name = column.name
        self.why_split = f"'{column.name}' names the rows for training and for testing"
        return self._planned(column, kind="part")

    def _date(self, column: Column) -> Planned | None:
        if column.dates is None:
            column = self._of_years(column)
        if column.dates is None:
            return None
        span = f"dates from {column.dates.first} to {column.dates.last}"
        if column.dates.others and not column.dates.words:
            self._leave_dates(column, column.dates, span)
            return None
        dates = row_dates(self.text, column)
        why_not = why_not_by_time(self.text, self.aim, column.name, dates, column.dates.unit)
        if why_not or self.roles & {"date", "part"}:
            if why_not:
                self._not_by_time(column.name, why_not)
            elif self.date_name:
                fix = f"use kind: date for it, and move '{self.date_name}' to left_out"
                what = f"The column holds {span} too, but '{self.date_name}' splits the rows"
                self._decide(None, f"{column.name}: {what}. To split by this column, {fix}")
            other = f"'{self.part_name or self.date_name}' splits the rows"
            return self._leave(column, f"{span}; {why_not or other}")
        self.roles.add("date")
        self.date_name, self.dates = column.name, dates
        return self._planned_date(column, column.dates, span)

    def _leave_dates(self, column: Column, dates: Dates, span: str) -> None:
        """Leave a column out many of whose texts are no dates."""
        others = rows_do(dates.others, "holds", "hold")
        self._leave(column, f"{span}, but {others} another text, such as '{_clip(dates.example)}'")
        self._not_by_time(column.name, f"{others} no date")
        what = f"{column.name}: The column holds {self.left_out[column.name]}. It is left out"
        fix = "Once these texts are dates, the column can split the rows by time"
        self._decide(None, f"{what}. {fix}")

    def _planned_date(self, column: Column, dates: Dates, span: str) -> Planned:
        planned = self._planned(column, kind="date")
        planned.keys |= {"format": dates.format} if dates.format else {}
        planned.facts = span
        planned.keys.pop("missing", None)  # rows without a date are dropped
        if dates.words:
            planned.keys["absent"] = list(dates.words)
            self._decide(planned, words_question(dates.words, "dates"))
        if dates.far:
            fix = "If it means missing, empty these cells in the file"
            self._decide(planned, f"{dates.far}. It counts as a date. {fix}")
        if dates.both_ways:
            self._decide(planned, f"{dates.both_ways}. If so, change its format")
        return planned

    def _not_by_time(self, name: str, why: str) -> None:
        """Note why the first column of dates does not split the rows."""
        self.not_by_time = self.not_by_time or f"'{name}' does not split them by time: {why}"

    def _of_years(self, column: Column) -> Column:
        """Return a column of years as dates where the rows stand in their order, else ask."""
        years = year_dates(column)
        others = any(other.dates for other in self.found.columns.values())
        if years is None or others or self.parts or self.roles & {"date", "part"}:
            return column
        what = f"The column holds numbers from {years.first} to {years.last}, which may be years"
        if is_year(column):
            as_dates = replace(column, dates=years)
            dates = row_dates(self.text, as_dates)
            why_not = why_not_by_time(self.text, self.aim, "", dates, years.unit)
            if in_order(dates) and not why_not:
                return as_dates
            self._not_by_time(column.name, why_not or "its years are not in the order of the rows")
            what = f"The column holds years from {years.first} to {years.last}"
        done = "It is a feature, and the test may have years that the training has too"
        fix = 'To test on the newest years, use kind: date and format: "%Y", and split.kind: time'
        self.years[column.name] = f"{what}. {done}. {fix}"
        return column

    def _made_date(self) -> Planned | None:
        """Return the date that columns of year, month and day make together, if it parts rows."""
        if not self.parts or self.roles & {"date", "part"}:
            return None
        dates = made_dates(self.text, self.parts)
        source = ", ".join(self.parts)
        named: DateUnit = "months" if len(self.parts) == 2 else "days"
        why_not = why_not_by_time(self.text, self.aim, self.parts[0], dates, named)
        if why_not:
            self._not_by_time(source, why_not)
            return None
        self.roles.add("date")
        self.dates = dates
        known = {c.source: c.name for c in self.columns}
        name = next(n for n in ("date", "made_date", "row_date") if n not in self.taken)
        self.taken.add(name)
        keys = {"kind": "date", "made_of": [known.get(part, part) for part in self.parts]}
        span = f"dates from {dates.min().date()} to {dates.max().date()}"
        return Planned(source, name, keys, facts=span)

    def _row_number(self, column: Column) -> None:
        counter = self.counters.get(column.name)
        if counter and counter.certain:
            self._leave(column, counter.words)

    def _group(self, column: Column) -> Planned | None:
        unit = self.units.get(column.name)
        if unit is None:
            return None
        if unit is not self.unit:
            self._another_unit(column, unit)
            return None
        self.roles.add("group")
        planned = self._planned(column, kind="group")
        planned.facts = f"{column.distinct:,} groups"
        what = f"The column seems to name what a row belongs to. {unit.words}"
        done = "All rows of one value stay in one part, so the metrics describe new values"
        fix = "If predictions are for known values only, use kind: categorical"
        self._decide(planned, f"{what}. {done}. {fix}")
        return planned

    def _another_unit(self, column: Column, unit: Unit) -> None:
        """Leave out a second name of things."""
        if self.unit and unit.are_enough and not unit.unnamed and not unit.place:
            kept = f"The split keeps the rows of each '{self.unit.name}' together"
            self._leave(column, f"seems to name what a row belongs to. {unit.words}. {kept}")

    def _leaks(self) -> dict[str, Evidence]:
        """Return the leaks; what is constant within a unit is judged by one row of each.

        Within a unit such a column only says which one it is, and so tells the target of others.
        """
        told = leaks(self.text, self.found, self.aim)
        within = {self.unit.name, *self.unit.constant} & told.keys() if self.unit else set()
        if not self.unit or not within:
            return told
        across = leaks(one_row_each(self.text, self.unit.name), self.found, self.aim)
        kept = {n: e for n, e in told.items() if n not in within or n in across}
        kept.pop(self.unit.name, None)
        return kept

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
            shares = f"{column.distinct:,} different values in {column.present:,} rows"
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
        planned.typical = whole_code(top) if as_number else top
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
            what = f"The {levels:,} different whole numbers are read as codes"
            self._decide(planned, f"{what}. If they are amounts, use kind: numeric without codes")
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
            reach = f"The numbers reach from {numbers.low:g} to {numbers.high:g}"
            what = f"Numbers beyond {_HUGE:g} become missing, as some model types reject them"
            self._decide(planned, f"{reach}. {what}")
        if numbers.both_ways:
            example = next((level for level in column.levels if re.search("[.,]", level)), "")
            self._decide(planned, self._ways(example, numbers.decimal))
        if numbers.mixed:
            shown = both(f"'{text}'" for text in numbers.mixed[:3])
            what = f"Not all numbers have the same sign beside them: {shown}"
            fix = "If the signs mean different amounts, convert them in the file"
            self._decide(planned, f"{what}. They are read as plain numbers. {fix}")
        apart = stand_in(column, self._counted(column))
        if apart:
            self._decide(planned, apart.question)
        return planned

    @staticmethod
    def _ways(example: str, decimal: str) -> str:
        """Ask whether a comma or a point separates thousands or starts the decimals."""
        sign = "comma" if "," in example else "point"
        what, other = "starts the decimals", "separates thousands"
        if decimal and ("," in example) != (decimal == ","):
            what, other = other, what
        fix = "," if decimal != "," else "."
        said = f"In '{example}' the {sign} {what}. If it {other} instead"
        return f'{said}, declare decimal: "{fix}"'

    def _counted(self, column: Column) -> dict[str, int]:
        """Return every distinct text of a column with its rows."""
        if len(column.levels) == column.distinct:
            return column.levels
        counted = self.text.columns[column.name].value_counts().to_pylist()
        return {c["values"]: c["counts"] for c in counted if c["values"] not in {None, *MISSING}}

    def _duplicates(self) -> str:
        """Return whether to drop copies of rows: if the same rows are there twice."""
        copies = self.found.copies
        if not copies:
            return "keep"
        why = why_no_copies(self.text, self.found)
        choice = "keep" if why else "drop"
        what = f"{rows_do(copies, 'equals', 'equal')} an earlier row in every column"
        kept = f"Such rows are kept, as they may be different things: {why}"
        done = kept if why else "Such copies are dropped"
        other = "drop" if why else "keep"
        self._decide(None, f"{what}. {done}. To {other} them, set preprocess.duplicates: {other}")
        return choice

    def _settle_split(self, read: list[Planned]) -> None:
        """Decide between time and groups, and whether rows equal in every feature stay together."""
        columns = [self.found.columns[planned.source] for planned in read]
        kinds = feature_hashes(self.text, columns)
        group = (
            feature_hashes(self.text, [self.found.columns[self.unit.name]])
            if self.unit
            else (np.arange(self.rows, dtype=np.uint64))
        )
        if self.split == "given":
            if self.unit:
                self._settle_given(self.unit, group)
            date = next((c for c in self.columns if c.keys["kind"] == "date"), None)
            self._tell_undated(date)
        elif self.by_time:
            self._settle_time(group, kinds)
        elif self.split == "group":
            together = f"all rows of one '{self.unit.name}' stay in one part" if self.unit else ""
            no_time = self.not_by_time or "the table has no column of dates"
            self.why_split = f"{together or 'rows are split at random'}; {no_time}"
            self._settle_alike(group, kinds)

    def _settle_given(self, unit: Unit, group: Hashes) -> None:
        """Leave a unit out that has rows in both parts of the file's own split, and say so."""
        part = next(c.source for c in self.columns if c.keys["kind"] == "part")
        is_test = pc.equal(self.text.columns[part], "test").to_numpy(zero_copy_only=False)
        shared = len(np.intersect1d(group[is_test], group[~is_test]))
        if shared:
            self.columns = [c for c in self.columns if c.source != unit.name]
            self.left_out[unit.name] = f"seems to name what a row belongs to. {unit.words}"
            values = f"{shared:,} of {unit.groups:,} values of '{unit.name}'"
            what = f"{values} have rows in both parts of '{part}'"
            done = f"The metrics describe known values of '{unit.name}'"
            fix = "For new ones, use kind: group for it and set split.kind: group"
            self._decide(None, f"{what}. {done}. {fix}")

    def _settle_time(self, group: Hashes, kinds: Hashes) -> None:
        parts = parts_in_time(self.dates, group)
        later = overlap(self.dates, parts)
        self.by_time = later <= MOST_OVERLAP
        planned = next(c for c in self.columns if c.keys["kind"] == "date")
        name = planned.source
        self._tell_undated(planned)
        if not self.by_time:
            self._keep_groups(planned, later)
            self._settle_alike(group, kinds)
            return
        self.why_split = f"the newest rows by '{name}' are the test"
        if self.unit:
            shares = f"{share(later)} of the training rows are later than the first test row"
            self.why_split = f"the newest '{self.unit.name}' by '{name}' are the test; {shares}"
        newest = f"The newest {share(float((parts == 'test').mean()))} of the rows are the test"
        fix = "If predictions are for the same period, set split.kind: group for a random split"
        self._decide(planned, f"The rows have {planned.facts}. {newest}. {fix}")
        known = np.isin(kinds[parts == "test"], kinds[(parts != "test") & (parts != "")])
        if known.any():
            equal = rows_do(int(known.sum()), "equals", "equal", "test row")
            part = share(float(known.mean()))
            what = f"{equal} an earlier row in every feature ({part} of the test)"
            self._decide(None, f"{what}. Such rows stay in the test, where their dates put them")

    def _tell_undated(self, date: Planned | None) -> None:
        """Count the rows without a date, which are dropped."""
        self.undated = 0 if date is None else int(self.dates.isna().sum())
        if self.undated:
            verbs = ("has", "is") if self.undated == 1 else ("have", "are")
            what = f"{counted(self.undated, 'row')} {verbs[0]} no date and {verbs[1]} dropped"
            self._decide(date, what)

    def _keep_groups(self, date: Planned, later: float) -> None:
        """Explain why rows of one unit stay together rather than in the order of time."""
        name = self.unit.name if self.unit else ""
        overlap = (
            f"in a split by '{date.source}', {share(later)} of the training rows would be later "
            "than the first test row"
        )
        self.why_split = f"all rows of one '{name}' stay in one part; {overlap}"
        done = f"So all rows of one '{name}' stay in one part, whatever their dates"
        fix = f"For the newest rows as the test, move '{name}' to left_out and set split.kind: time"
        self._decide(date, f"I{overlap[1:]}. {done}. {fix}")

    def _settle_alike(self, group: Hashes, kinds: Hashes) -> None:
        """Keep rows equal in every feature in one part, where there are enough kinds of rows."""
        used = self._used_rows()
        labels = self.aim.of(self.text)
        alike = count_alike(kinds[used], labels[used].view(np.uint64), group[used])
        if not alike.twins:
            return
        self.alike = alike.can_part
        label = "target value" if self.task == "regression" else "label"
        self._decide(None, alike.question(label))

    def _used_rows(self) -> NDArray[np.bool_]:
        """Return the rows that training keeps: those with a target, copies dropped if they are."""
        wanted = self.aim.of(self.text)
        used = ~np.isnan(wanted)
        return used & ~repeats(self.found.hashes) if self.duplicates == "drop" else used


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
            code = whole_code(level)
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
