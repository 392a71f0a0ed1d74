"""The result of one check: of a gate, a file of an artifact, a lock, a step of the checklist."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from lockstep.errors import LockstepError

PASSED, REFUSED, FORCED = "passed", "refused", "forced"
"""Verdicts of gates and of the checklist; ``forced``: a person overrode a refusal."""
OK, FAILED, PRUNED = "ok", "failed", "pruned"
NOT_RECORDED, NOT_KNOWN, NOT_CHECKED = "not recorded", "not known", "not checked"
"""Verdicts on what is stored."""
Answer = tuple[bool, str]
"""Whether a check passes, and what it found."""
_Case = TypeVar("_Case")
_Made = TypeVar("_Made")


@dataclass(frozen=True)
class CheckResult:
    """One check: its verdict and what it found.

    ``subject`` is the model, file or setting; ``version`` is None where the check is about no
    single version. ``fix`` says how to correct a failure, ``repair`` what ``doctor --fix`` does.
    """

    name: str
    verdict: str
    message: str
    subject: str = ""
    version: int | None = None
    fix: str = ""
    repair: str = ""

    @property
    def passed(self) -> bool:
        """Whether the check passed; one that could not tell has neither passed nor failed."""
        return self.verdict in (PASSED, OK)

    @property
    def failed(self) -> bool:
        """Whether the check failed."""
        return self.verdict in (REFUSED, FAILED)

    def content(self, keys: Mapping[str, str]) -> dict[str, Any]:
        """Return plain values under an output's own keys; ``keys`` names the attribute of each."""
        return {key: getattr(self, attribute) for key, attribute in keys.items()}


class computed_once(Generic[_Made]):
    """A property that is computed once; an expected error is kept too, and raised again."""

    def __init__(self, make: Callable[[Any], _Made]) -> None:
        self.make, self.__doc__ = make, make.__doc__

    def __get__(self, instance: Any, owner: type | None = None) -> _Made:
        name, state = self.make.__name__, vars(instance)
        errors: dict[str, LockstepError] = state.setdefault("_errors", {})
        if name in errors:
            raise errors[name]
        try:
            state[name] = self.make(instance)
        except LockstepError as error:
            errors[name] = error
            raise
        return state[name]


def contents(results: Iterable[CheckResult], keys: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return the rows of a table or a JSON list, under an output's own keys."""
    return [result.content(keys) for result in results]


def failures(results: Iterable[CheckResult]) -> list[CheckResult]:
    """Return the checks that failed."""
    return [result for result in results if result.failed]


def run_checks(
    checks: Mapping[str, Callable[[_Case], Answer]], case: _Case
) -> tuple[CheckResult, ...]:
    """Run every check on a case, also after one that failed; an expected error fails its check.

    Checks that share a cause share its error: the first shows it, the others refer to it.
    """
    shown: set[str] = set()
    results = []
    for name, check in checks.items():
        try:
            passed, message = check(case)
        except LockstepError as error:
            passed, message = False, f"cannot be computed: {error}"
            if str(error) in shown:
                message = "cannot be computed, for the reason above"
            shown.add(str(error))
        results.append(CheckResult(name, PASSED if passed else REFUSED, message))
    return tuple(results)


def markdown_table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the lines of a Markdown table, the keys of the first row as its heads."""
    lines = [list(rows[0]), ["---"] * len(rows[0]), *(list(row.values()) for row in rows)]
    cells = ([str(cell).replace("|", "\\|").replace("\n", " ") for cell in line] for line in lines)
    return [f"| {' | '.join(line)} |" for line in cells]
