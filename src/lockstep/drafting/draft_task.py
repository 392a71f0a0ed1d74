"""The task of a target: two classes, several, or a number; hopeless targets are refused."""

from __future__ import annotations

from lockstep.drafting.profile import Column
from lockstep.errors import DataError
from lockstep.problems.dialects import counted
from lockstep.problems.schema import Task

MOST_CLASSES = 100
MOST_WHOLE_CLASSES = 10
"""Different whole numbers up to which a target is taken for classes."""
AS_TOLD = "TASK gives it"
OTHER = "give another TARGET=…"


def infer_task(target: Column, given: str) -> tuple[Task, str]:
    """Return a target's task and why; DataError where nothing can be learned.

    Two values: binary. Text of a few values, or up to 10 whole numbers: multiclass. Other numbers:
    regression.
    """
    numbers, distinct = target.numbers, target.distinct
    if not distinct:
        raise _hopeless(target, f"is empty in every row; {OTHER}")
    if distinct == 1:
        raise _hopeless(target, _only_value(target))
    if given:
        return _given_task(target, given), AS_TOLD
    if distinct == 2:
        return "binary", "the target has two values"
    if target.dates:
        raise _hopeless(target, f"holds dates; {OTHER}, or a number of days as a column")
    if numbers and not (numbers.whole and distinct <= MOST_WHOLE_CLASSES):
        return "regression", "the target's values are numbers"
    _check_classes(target, f"{OTHER}, or correct it if numbers were meant")
    kind = "whole numbers" if numbers else "texts"
    return "multiclass", f"the target has {distinct} different {kind}"


def _only_value(target: Column) -> str:
    only, rows = next(iter(target.levels)), counted(target.present, "row")
    if not target.missing:
        return f"is '{only}' in every row: nothing can be learned; {OTHER}"
    empty = f"is '{only}' in {rows} and missing in {target.missing:,}: nothing can be learned"
    return f"{empty}; if missing means a second class, write its name there, or {OTHER}"


def _given_task(target: Column, given: str) -> Task:
    if given == "regression" and target.numbers is None:
        text = f"holds text (e.g. '{next(iter(target.levels))[:40]}')"
        fix = "leave TASK out, or give another TARGET=…"
        raise _hopeless(target, f"{text}, so there is nothing to regress on; {fix}")
    if given == "binary" and target.distinct != 2:
        raise _hopeless(target, f"has {target.distinct} different values, not two; leave TASK out")
    if given == "multiclass" and target.distinct == 2:
        raise _hopeless(target, "has two values; TASK=binary is meant, or leave TASK out")
    if given == "multiclass":
        _check_classes(target, "TASK=regression if it is an amount, or another TARGET=…")
    return given  # type: ignore[return-value]


def _check_classes(target: Column, fix: str) -> None:
    if target.all_different:
        raise _hopeless(target, f"is different in every row: no classes; {fix}")
    if target.distinct > MOST_CLASSES or target.distinct > target.present / 10:
        values = f"{target.distinct:,} different values in {target.present:,} rows"
        many = f"too many for classes (at most {MOST_CLASSES})"
        raise _hopeless(target, f"has {values}, {many}; {fix}")


def _hopeless(target: Column, why: str) -> DataError:
    return DataError(f"the target '{target.name}' {why}")
