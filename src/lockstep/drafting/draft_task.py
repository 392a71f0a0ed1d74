"""The task of a target: two classes, several, or a number; hopeless targets are refused."""

from __future__ import annotations

from lockstep.drafting.profile import Column
from lockstep.errors import DataError
from lockstep.problems.schema import Task

MOST_CLASSES = 100
MOST_WHOLE_CLASSES = 10
"""Different whole numbers up to which a target is taken for classes."""


def infer_task(target: Column, given: str) -> tuple[Task, str]:
    """Return a target's task and why; DataError where nothing can be learned.

    Two values: binary. Text of a few values, or up to 10 whole numbers: multiclass. Other numbers:
    regression.
    """
    name, other = target.name, "give another TARGET=…"
    if not target.distinct:
        raise DataError(f"the target '{name}' is empty in every row; {other}")
    if target.distinct == 1:
        only = next(iter(target.levels))
        alike = f"the target '{name}' is '{only}' in every row"
        raise DataError(f"{alike}: nothing can be learned; {other}")
    if given:
        return _given_task(target, given), "as told by TASK"
    if target.distinct == 2:
        return "binary", "the target has two values"
    if target.dates:
        fix = "give another TARGET=…, or a number of days as a column"
        raise DataError(f"the target '{name}' holds dates; {fix}")
    if target.numbers and not (target.numbers.whole and target.distinct <= MOST_WHOLE_CLASSES):
        return "regression", "the target's values are numbers"
    _check_classes(target, f"{other}, or correct it if numbers were meant")
    kind = f"{target.distinct} different " + ("whole numbers" if target.numbers else "texts")
    return "multiclass", f"the target has {kind}"


def _given_task(target: Column, given: str) -> Task:
    if given == "regression" and target.numbers is None:
        example = next(iter(target.levels))[:40]
        raise DataError(
            f"the target '{target.name}' holds text (e.g. '{example}'), so there is nothing to "
            "regress on; "
            "leave TASK out, or give another TARGET=…"
        )
    if given == "binary" and target.distinct != 2:
        values = f"{target.distinct} different values, not two"
        raise DataError(f"the target '{target.name}' has {values}; leave TASK out")
    if given == "multiclass" and target.distinct == 2:
        fix = "TASK=binary is meant, or leave TASK out"
        raise DataError(f"the target '{target.name}' has two values; {fix}")
    if given == "multiclass":
        _check_classes(target, "TASK=regression if it is an amount, or another TARGET=…")
    return given  # type: ignore[return-value]


def _check_classes(target: Column, fix: str) -> None:
    if target.all_different:
        raise DataError(f"the target '{target.name}' is different in every row: no classes; {fix}")
    if target.distinct > MOST_CLASSES or target.distinct > target.present / 10:
        raise DataError(
            f"the target '{target.name}' has {target.distinct:,} different values in "
            f"{target.present:,} rows, too many for classes (at most {MOST_CLASSES}); {fix}"
        )
